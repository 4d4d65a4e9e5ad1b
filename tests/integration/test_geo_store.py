from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import typer
from typer.testing import CliRunner, Result

from db.devices import load_devices
from db.pool import Connection, Pool, connect
from domain.errors import ImportFileError
from geo.addresses import AddressColumns
from geo.grids import Cell, Region
from geo.store import CHANNEL, load_locator, write_city
from server.commands.imports import Options, import_command, import_file
from simulators.city import build_city, city_version, seed_demo

pytestmark = pytest.mark.stack

TOWN, VILLAGE, CELL = "441900003", "441900003001", "441900003001001"
SQUARE = shapely.box(113.70, 23.00, 113.71, 23.01)
REAL_TOWNS = Path(__file__).parents[2] / "../shared/data/dongguan/towns33_wgs84.geojson"


async def count(conn: Connection, table: str) -> int:
    row = await (await conn.execute(f"SELECT count(*) FROM {table}".encode())).fetchone()
    assert row is not None
    return int(str(row[0]))


def small_city() -> tuple[list[Region], list[Cell], AddressColumns]:
    regions = [
        Region("441900", "city", "东莞市", SQUARE, "Dongguan", "地级市"),
        Region(TOWN, "town", "东城街道", SQUARE, "Dongcheng", "街道"),
        Region(VILLAGE, "village", "岗贝社区", SQUARE, "", "社区"),
    ]
    ids = ["4419000030010100001000000", "4419000030010100002000000"]
    lon, lat = np.array([113.705, 113.706]), np.array([23.005, 23.005])
    houses = AddressColumns(ids, ["新兴路1号", "新兴路2号"], ["新兴路"] * 2, ["1号", "2号"], [CELL] * 2, lon, lat)
    return regions, [Cell(CELL, SQUARE)], houses


async def put_small_city(conn: Connection) -> None:
    await write_city(conn, *small_city(), version="small", generated=True)


async def run_import(conn: Connection, what: str, path: Path, **options: Any) -> Any:
    return await import_file(conn, what, path, Options(**options))


async def test_what_is_written_is_what_is_loaded(pool: Pool) -> None:
    async with pool.connection() as conn:
        await put_small_city(conn)
        locator = await load_locator(conn)
    (place,) = locator.points(np.array([113.7051]), np.array([23.005]))
    assert (place.grid, place.address, place.method) == (CELL, "新兴路1号", "nearest")
    assert place.names == {
        "city": "东莞市", "city_en": "Dongguan", "town": "东城街道", "town_en": "Dongcheng", "village": "岗贝社区",
    }  # fmt: skip
    assert place.data_version == "small"


async def test_outlines_are_geojson_with_six_decimals(pool: Pool) -> None:
    async with pool.connection() as conn:
        regions, cells, houses = small_city()
        odd = shapely.box(113.7000000004, 23.0, 113.71, 23.01)
        await write_city(conn, regions, [Cell(cells[0].code, odd)], houses, version="v", generated=True)
        row = await (await conn.execute("SELECT outline FROM grid_cell")).fetchone()
    assert row is not None
    outline: Any = row[0]
    assert outline["type"] == "Polygon"
    assert min(x for x, _ in outline["coordinates"][0]) == 113.7


async def test_an_empty_database_gives_a_locator_that_knows_nothing(pool: Pool) -> None:
    async with pool.connection() as conn:
        locator = await load_locator(conn)
    assert not locator.points(np.array([113.7]), np.array([23.0]))[0].known


async def test_the_demo_city_is_seeded_once(pool: Pool) -> None:
    steps: list[str] = []
    async with pool.connection() as conn:
        first = await seed_demo(conn, steps.append)
    assert first.written
    assert len(steps) == 3
    async with pool.connection() as conn:
        counts = [await count(conn, table) for table in ("region", "grid_cell", "address", "device", "camera")]
        again = await seed_demo(conn, steps.append)
        assert not again.written
        assert again.version == first.version == city_version()
        assert len(steps) == 3
        assert counts == [await count(conn, t) for t in ("region", "grid_cell", "address", "device", "camera")]
        assert counts[0] == 640
        assert counts[2:] == [100_000, 420, 30]
        for table in ("region", "grid_cell", "address", "device"):
            row = await (await conn.execute(f"SELECT bool_and(generated) FROM {table}".encode())).fetchone()
            assert row == (True,), table
        locator = await load_locator(conn)
        devices = await load_devices(conn)
    built = build_city()
    sensor = next(device for device in devices if device.id == "VB-0001")
    place = locator.device(sensor.address_id, sensor.lon, sensor.lat)
    assert place == built.devices[0].place
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(113.5, 114.3, 2000), rng.uniform(22.6, 23.2, 2000)
    assert locator.points(lon, lat) == built.locator.points(lon, lat)


async def test_an_older_demo_city_is_replaced(pool: Pool) -> None:
    async with pool.connection() as conn:
        await put_small_city(conn)
        assert (await seed_demo(conn)).written
        assert await count(conn, "region") == 640


async def test_imported_places_keep_the_demo_city_out_and_displace_it(pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "towns.geojson"
    path.write_text(features({"code": "441900004", "name": "南城街道"}), encoding="utf-8")
    async with pool.connection() as conn:
        await put_small_city(conn)
        report = await run_import(conn, "regions", path, datum="wgs84")
        assert report.written
        seeded = await seed_demo(conn)
        assert not seeded.written
        assert "imported" in seeded.because
        locator = await load_locator(conn)
    (place,) = locator.points(np.array([113.7051]), np.array([23.005]))
    assert (place.town, place.grid, place.method) == ("441900004", None, "town only")
    assert place.data_version.startswith("import-")


def features(*properties: dict[str, object], box: Any = SQUARE) -> str:
    geometry = json.loads(shapely.to_geojson(box))
    listed = [{"type": "Feature", "properties": p, "geometry": geometry} for p in properties]
    return json.dumps({"type": "FeatureCollection", "features": listed}, ensure_ascii=False)


async def test_regions_new_changed_and_the_same(pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "towns.geojson"
    path.write_text(features({"code": TOWN, "name": "东城"}), encoding="utf-8")
    async with pool.connection() as conn:
        first = await run_import(conn, "regions", path, datum="wgs84")
    path.write_text(
        features({"code": TOWN, "name": "东城街道"}, {"code": "441900004", "name": "南城街道"}), encoding="utf-8"
    )
    async with pool.connection() as conn:
        dry = await run_import(conn, "regions", path, datum="wgs84", dry_run=True)
        assert await count(conn, "region") == 1
    async with pool.connection() as conn:
        wet = await run_import(conn, "regions", path, datum="wgs84")
    async with pool.connection() as conn:
        again = await run_import(conn, "regions", path, datum="wgs84")
        names = await (await conn.execute("SELECT name, parent, generated FROM region ORDER BY code")).fetchall()
    assert first.summary() == "regions: 1 new, 0 changed, 0 the same, 0 bad"
    assert dry.summary() == "regions: 1 new, 1 changed, 0 the same, 0 bad; dry run, nothing written"
    assert dry.difference == wet.difference
    assert again.summary() == "regions: 0 new, 0 changed, 2 the same, 0 bad"
    assert names == [("东城街道", "441900", False), ("南城街道", "441900", False)]
    assert wet.notes == [
        "note: 1 pairs of outlines overlap, most of all 441900003 and 441900004;"
        " a point in both is given to the lower code"
    ]


async def test_grids_and_addresses(pool: Pool, tmp_path: Path) -> None:
    grids, addresses = tmp_path / "grids.geojson", tmp_path / "addresses.csv"
    grids.write_text(features({"code": CELL}), encoding="utf-8")
    addresses.write_text(
        "id,text,lon,lat\n4419000030010100001000000,新兴路1号,113.705,23.005\nnonsense,x,1,2\n", encoding="utf-8"
    )
    async with pool.connection() as conn:
        await run_import(conn, "grids", grids, datum="cgcs2000")
        report = await run_import(conn, "addresses", addresses, datum="wgs84")
        locator = await load_locator(conn)
    assert report.exit_code == 0
    assert [str(problem) for problem in report.problems] == [
        "line 3: an address code 'nonsense' must consist of the digits 0-9"
    ]
    (place,) = locator.points(np.array([113.705]), np.array([23.005]))
    assert (place.address, place.grid) == ("新兴路1号", CELL)


async def test_devices_are_placed_and_bad_rows_left_out(pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text(
        "id,kind,lon,lat,datum,address_id\n"
        "A,vibration,113.7051,23.005,wgs84,4419000030010100001000000\n"
        "B,tilt,113.7059,23.005,,\n"
        "C,tilt,113.7059,23.005,wgs84,\n",
        encoding="utf-8",
    )
    async with pool.connection() as conn:
        await put_small_city(conn)
        dry = await run_import(conn, "devices", path, dry_run=True)
        assert await count(conn, "device") == 0
        report = await run_import(conn, "devices", path)
        again = await run_import(conn, "devices", path)
        rows = await (await conn.execute("SELECT id, grid, town FROM device ORDER BY id")).fetchall()
    assert dry.difference == report.difference
    assert report.summary() == "devices: 2 new, 0 changed, 0 the same, 1 bad"
    assert again.summary() == "devices: 0 new, 0 changed, 2 the same, 1 bad"
    assert rows == [("A", CELL, TOWN), ("C", CELL, TOWN)]


async def test_cameras(pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "cameras.csv"
    path.write_text("id,name,bearing_deg,fov_deg\nCM-1,门口,90,70\n", encoding="utf-8")
    async with pool.connection() as conn:
        report = await run_import(conn, "cameras", path)
        again = await run_import(conn, "cameras", path)
        row = await (await conn.execute("SELECT bearing_deg, fov_deg FROM camera")).fetchone()
    assert report.written
    assert again.summary() == "cameras: 0 new, 0 changed, 1 the same, 0 bad"
    assert row == (90.0, 70.0)


async def test_strict_writes_nothing_when_a_row_is_bad(pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text("id,kind\nA,tilt\nB!,tilt\n", encoding="utf-8")
    async with pool.connection() as conn:
        report = await run_import(conn, "devices", path, strict=True)
        assert await count(conn, "device") == 0
    assert report.exit_code == 1
    assert report.summary() == "devices: nothing imported: 1 bad rows and --strict"
    assert len(report.problems) == 1


@pytest.mark.parametrize("content", ["id,kind\n", "id,kind\nA!,tilt\n"])
async def test_a_file_without_a_good_row_is_refused(pool: Pool, tmp_path: Path, content: str) -> None:
    path = tmp_path / "devices.csv"
    path.write_text(content, encoding="utf-8")
    async with pool.connection() as conn:
        assert (await run_import(conn, "devices", path)).exit_code == 1


async def test_a_missing_file_says_so(pool: Pool, tmp_path: Path) -> None:
    async with pool.connection() as conn:
        with pytest.raises(ImportFileError, match="cannot be read: No such file"):
            await run_import(conn, "devices", tmp_path / "none.csv")


async def test_a_change_of_places_is_told(database_url: str, pool: Pool) -> None:
    async with await connect(database_url, name="listener") as listener:
        await listener.execute(f"LISTEN {CHANNEL}".encode())
        async with pool.connection() as conn:
            await put_small_city(conn)
        heard = [notice.channel async for notice in listener.notifies(timeout=10, stop_after=1)]
    assert heard == [CHANNEL]


@pytest.mark.skipif(not REAL_TOWNS.exists(), reason="needs ../shared/data/dongguan/towns33_wgs84.geojson")
async def test_real_outlines_import_and_locate(pool: Pool, tmp_path: Path) -> None:
    document = json.loads(REAL_TOWNS.read_text(encoding="utf-8"))
    for number, feature in enumerate(document["features"], 101):
        feature["properties"]["code"] = f"441900{number}"
    path = tmp_path / "towns.geojson"
    path.write_text(json.dumps(document), encoding="utf-8")
    async with pool.connection() as conn:
        report = await run_import(conn, "regions", path, datum="wgs84")
        locator = await load_locator(conn)
    assert (report.difference.new, len(report.problems)) == (33, 0)
    (place,) = locator.points(np.array([113.5549]), np.array([23.0345]))
    assert place.names["town"] == "麻涌镇"


@pytest.fixture
def command(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr("server.commands.imports.database_url", lambda: database_url)
    app = typer.Typer()
    app.command()(import_command)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_lists_bad_rows_and_imports_the_good(command: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text("id,kind,lon,lat\nA,tilt,,\nB,tilt,113.7,23.0\n", encoding="utf-8")
    result = command("devices", path)
    assert result.exit_code == 0
    assert result.stdout == "devices: 1 new, 0 changed, 0 the same, 1 bad\n"
    assert result.stderr == (
        f"{path}: line 3: lon and lat without a datum; fill the column datum, or add --datum to the command\n"
    )
    result = command("devices", path, "--datum", "gcj02", "--strict", "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "devices: 1 new, 0 changed, 1 the same, 0 bad; dry run, nothing written\n"


def test_the_command_fails_with_one(command: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text("id,kind\nA,tilt\nB!,tilt\n", encoding="utf-8")
    strict = command("devices", path, "--strict")
    assert (strict.exit_code, strict.stdout) == (1, "")
    assert strict.stderr.endswith("devices: nothing imported: 1 bad rows and --strict\n")
    missing = command("devices", tmp_path / "none.csv")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert missing.stderr == f"{tmp_path / 'none.csv'}: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("arguments", [("planets", "x.csv"), ("devices",), ("devices", "x.csv", "--datum", "mars")])
def test_wrong_usage_is_two(command: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    assert command(*arguments).exit_code == 2
