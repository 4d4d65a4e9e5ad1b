"""Key places (schools, hospitals, old people's homes…): their rows, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from db.copy import copy_rows
from db.pool import Connection
from domain.places import Place
from geo.locate import Locator
from geo.store import Difference

KINDS = (
    "school", "kindergarten", "hospital", "nursing_home", "market", "fuel_station", "transport", "government",
    "other",
)  # fmt: skip

COLUMNS = (
    ("id", "text"), ("kind", "text"), ("name", "text"), ("name_en", "text"), ("lon", "float8"), ("lat", "float8"),
    ("address_id", "text"), ("people", "int4"), ("town", "text"), ("village", "text"), ("grid", "text"),
    ("generated", "bool"), ("version", "text"),
)  # fmt: skip

SELECT_THERE = """
SELECT id, kind, name, name_en, lon, lat, address_id, people FROM key_place WHERE id = ANY (%s)
"""
SELECT_VERSION = "SELECT 1 FROM key_place WHERE version = %s LIMIT 1"
STAGE = "CREATE TEMP TABLE staged_key_place (LIKE key_place) ON COMMIT DROP"
UNSTAGE = "DROP TABLE staged_key_place"
PUT = """
INSERT INTO key_place SELECT * FROM staged_key_place
ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, name = excluded.name, name_en = excluded.name_en,
    lon = excluded.lon, lat = excluded.lat, address_id = excluded.address_id, people = excluded.people,
    town = excluded.town, village = excluded.village, grid = excluded.grid, generated = excluded.generated,
    version = excluded.version
"""
DELETE_GENERATED = "DELETE FROM key_place WHERE generated"


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """One key place; ``lon``, ``lat`` WGS-84; ``people``: who may be inside, None = not known."""

    id: str
    kind: str
    name: str
    lon: float
    lat: float
    name_en: str = ""
    address_id: str | None = None
    people: int | None = None
    place: Place | None = None
    generated: bool = False


async def put_key_places(
    conn: Connection, rows: Sequence[KeyPlace], locator: Locator, *, version: str, dry_run: bool = False
) -> Difference:
    """Compare with what is there and (unless ``dry_run``) write, placed by ``locator``; all or nothing."""
    async with conn.transaction():
        found = await (await conn.execute(SELECT_THERE, [[row.id for row in rows]])).fetchall()
        there = {row[0]: row for row in found}
        ours = [(r.id, r.kind, r.name, r.name_en, r.lon, r.lat, r.address_id, r.people) for r in rows]
        new = sum(row[0] not in there for row in ours)
        same = sum(there.get(row[0]) == row for row in ours)
        if not dry_run and same < len(rows):
            placed = [replace(r, place=locator.device(r.address_id, r.lon, r.lat)) for r in rows]
            await write_key_places(conn, placed, version=version)
    return Difference(new, len(ours) - new - same, same)


async def write_key_places(conn: Connection, rows: Sequence[KeyPlace], *, version: str) -> None:
    """Write placed rows, replacing those of the same id, in one transaction."""
    async with conn.transaction(), conn.cursor() as cursor:
        await cursor.execute(STAGE)
        await copy_rows(cursor, "staged_key_place", COLUMNS, [_stored(row, version) for row in rows])
        await cursor.execute(PUT)
        await cursor.execute(UNSTAGE)


async def replace_generated(conn: Connection, rows: Sequence[KeyPlace], *, version: str) -> None:
    """Put generated key places in place of older generated ones, in one transaction."""
    async with conn.transaction():
        await conn.execute(DELETE_GENERATED)
        await write_key_places(conn, rows, version=version)


async def has_key_places(conn: Connection, version: str) -> bool:
    """Whether the key places of this data version are there."""
    return await (await conn.execute(SELECT_VERSION, [version])).fetchone() is not None


def _stored(row: KeyPlace, version: str) -> tuple[object, ...]:
    place = row.place
    codes = (place.town, place.village, place.grid) if place else (None, None, None)
    return (
        row.id, row.kind, row.name, row.name_en, row.lon, row.lat, row.address_id, row.people, *codes,
        row.generated, version,
    )  # fmt: skip
