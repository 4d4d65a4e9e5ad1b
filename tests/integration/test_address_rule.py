"""Address ids of another rule than Shenzhen's: into the real database, found again, and never mixed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
import typer
from typer.testing import CliRunner, Result

from api.queries.places import ADDRESSES_OF_BUILDING
from api.schemas import DeviceBody
from db.address_rule import settle_rule, stored_rule
from db.pool import Connection, Pool
from domain.addresses import SHENZHEN, AddressRule, address_rule, use_address_rule
from domain.errors import SettingsError
from geo.addresses import AddressColumns
from geo.grids import Cell, Region
from geo.store import load_locator, write_city
from server.commands.imports import import_command
from server.commands.up import migrate

pytestmark = pytest.mark.stack

VILLAGE = "441900003001"
CELL = VILLAGE + "123"
RULE = AddressRule(3, 3, 4)
HOUSE, ROOM, OTHER = CELL + "042" + "0000", CELL + "042" + "0101", CELL + "043" + "0000"
SHENZHENS = "4419000030010100001000000"
SQUARE = shapely.box(113.70, 23.00, 113.71, 23.01)
ADDRESSES = f"""id,text,lon,lat,datum
{HOUSE},新兴路42号,113.705,23.005,wgs84
{ROOM},新兴路42号101室,113.705,23.005,wgs84
{OTHER},新兴路43号,113.707,23.005,wgs84
{SHENZHENS},新兴路1号,113.706,23.005,wgs84
"""


@pytest.fixture(autouse=True)
def rule_of_this_process() -> Iterator[None]:
    yield
    use_address_rule(SHENZHEN)


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """A command as a process of its own would run it: the rule of before is forgotten."""
    monkeypatch.setenv("GRIDPULSE_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command("import")(import_command)
    app.command("migrate")(migrate)

    def command(*arguments: object, digits: str = "") -> Result:
        monkeypatch.setenv("GRIDPULSE_ADDRESS_DIGITS", digits)
        use_address_rule(SHENZHEN)
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return command


def addresses_file(folder: Path) -> Path:
    path = folder / "addresses.csv"
    path.write_text(ADDRESSES, encoding="utf-8")
    return path


async def put_ground(conn: Connection) -> None:
    regions = [
        Region("441900", "city", "东莞市", SQUARE, "Dongguan", "地级市"),
        Region("441900003", "town", "东城街道", SQUARE, "Dongcheng", "街道"),
        Region(VILLAGE, "village", "岗贝社区", SQUARE, "", "社区"),
    ]
    none = AddressColumns([], [], [], [], [], np.empty(0), np.empty(0))
    await write_city(conn, regions, [Cell(CELL, SQUARE)], none, version="small", generated=False)


async def test_addresses_of_another_rule(pool: Pool, run: Callable[..., Result], tmp_path: Path) -> None:
    async with pool.connection() as conn:
        await put_ground(conn)
        await conn.commit()
        assert await stored_rule(conn) == SHENZHEN
        await conn.commit()
    file = addresses_file(tmp_path)
    made = await in_thread(run, "migrate", digits=str(RULE))
    assert made.exit_code == 0, made.output
    done = await in_thread(run, "import", "addresses", file)  # the database knows its rule by itself
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("addresses: 3 new, 0 changed, 0 the same, 1 bad")
    assert f"{SHENZHENS!r} has 25 digits; it needs 22" in done.stderr
    assert address_rule() == RULE
    async with pool.connection() as conn:
        locator = await load_locator(conn)
        within = {"id": HOUSE, "building": RULE.building(HOUSE), "length": RULE.length}
        others = await (await conn.execute(ADDRESSES_OF_BUILDING.encode(), within)).fetchall()
    assert [row[0] for row in others] == [ROOM]
    (place,) = locator.points(np.array([113.70701]), np.array([23.005]))
    assert (place.address_id, place.grid, place.method) == (OTHER, CELL, "nearest")
    assert locator.device(ROOM, None, None).method == "device"
    unknown_room = locator.device(CELL + "042" + "0999", None, None)
    assert (unknown_room.address_id, unknown_room.method) == (HOUSE, "building")
    assert DeviceBody(address_id=ROOM).address_id == ROOM
    with pytest.raises(ValueError, match="an address id has 22 digits here"):
        DeviceBody(address_id=SHENZHENS)


async def test_buildings_by_another_rule(pool: Pool, run: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "owners.csv"
    rows = f"{RULE.building(HOUSE)},owner-1,业主\n{'1' * 19},owner-2,业主\n"
    path.write_text(f"building,unit,name\n{rows}", encoding="utf-8")
    assert (await in_thread(run, "migrate", digits=str(RULE))).exit_code == 0
    done = await in_thread(run, "import", "owners", path)
    assert "first 18 digits" in done.stderr, done.output
    devices = tmp_path / "devices.csv"
    devices.write_text(f"id,kind,address_id\nA,tilt,{ROOM}\n", encoding="utf-8")
    assert (await in_thread(run, "import", "devices", devices)).exit_code == 0
    async with pool.connection() as conn:
        (owner,) = await (await conn.execute("SELECT building FROM building_owner")).fetchall()
        (device,) = await (await conn.execute("SELECT building FROM device WHERE id = 'A'")).fetchall()
    assert owner[0] == device[0] == RULE.building(HOUSE)


async def test_ids_of_two_rules_are_never_in_one_database(
    pool: Pool, run: Callable[..., Result], tmp_path: Path
) -> None:
    async with pool.connection() as conn:
        await put_ground(conn)
    file = addresses_file(tmp_path)
    early = await in_thread(run, "import", "addresses", file, digits=str(RULE))
    assert (early.exit_code, early.stderr.count("\n")) == (1, 1)
    assert "GRIDPULSE_ADDRESS_DIGITS is 3,3,4, but this database's addresses follow 2,5,6" in early.stderr
    async with pool.connection() as conn:
        assert await settle_rule(conn, RULE, may_change=True) == RULE  # nothing is there yet
        assert await settle_rule(conn, SHENZHEN, may_change=True) == SHENZHEN
    assert (await in_thread(run, "import", "addresses", file, "--datum", "wgs84")).exit_code == 0
    async with pool.connection() as conn:
        with pytest.raises(SettingsError, match="the database holds ids of the rule 2,5,6"):
            await settle_rule(conn, RULE, may_change=True)
        assert await stored_rule(conn) == SHENZHEN


async def in_thread(run: Callable[..., Result], *arguments: object, digits: str = "") -> Result:
    """The commands have an event loop of their own."""
    return await asyncio.to_thread(lambda: run(*arguments, digits=digits))
