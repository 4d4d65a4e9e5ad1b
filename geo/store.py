"""Regions, cells and addresses in the database, and the Locator made of them.

Only rows in force at a time (now, unless said) go into a Locator. Where somebody has imported regions or cells,
generated ones (and generated addresses) are left out of it, because invented
borders must not decide beside real ones. Every write ends with a notification on
``place_changed``, so that a process that holds a Locator loads a new one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import shapely

from db import locks
from db.address_rule import stored_rule
from db.copy import copy_rows
from db.devices import DeviceRow
from db.pool import Connection
from geo.addresses import AddressColumns
from geo.grids import Cell, Region
from geo.locate import Locator
from geo.packed_rows import AddressPacker, Part
from geo.search import Alias

CHANNEL = "place_changed"
PART_ROWS = 25_000
"""Addresses read at once: a few MB, which the event loop takes over in some milliseconds."""

Table = Literal["region", "grid_cell", "address"]

SELECT_REGIONS = """
SELECT code, level, name, outline::text, name_en, kind FROM region
WHERE (NOT generated OR NOT %(real)s) AND valid_from <= %(at)s AND (valid_to IS NULL OR valid_to > %(at)s)
ORDER BY code
"""
SELECT_CELLS = """
SELECT code, outline::text FROM grid_cell
WHERE (NOT generated OR NOT %(real)s) AND valid_from <= %(at)s AND (valid_to IS NULL OR valid_to > %(at)s)
ORDER BY code
"""
SELECT_PART = f"""
SELECT string_agg(convert_to(id, 'UTF8'), ''), convert_to(string_agg(text, ''), 'UTF8'),
       string_agg(int4send(octet_length(text)), ''), string_agg(convert_to(rpad(grid, 15), 'UTF8'), ''),
       string_agg(float8send(lon), ''), string_agg(float8send(lat), '')
FROM (SELECT id, text, grid, lon, lat FROM address
      WHERE id > %(after)s AND (NOT generated OR NOT %(real)s) ORDER BY id LIMIT {PART_ROWS}) AS part
"""
SELECT_ALIASES = """
SELECT address_alias.address_id, address_alias.text, address_alias.kind
FROM address_alias JOIN address ON address.id = address_alias.address_id
WHERE (NOT address.generated OR NOT %(real)s) AND address_alias.text <> address.text
ORDER BY address_alias.key
"""
SELECT_VERSIONS = """
SELECT version FROM region
WHERE (NOT generated OR NOT %(real)s) AND valid_from <= %(at)s AND (valid_to IS NULL OR valid_to > %(at)s)
UNION SELECT version FROM grid_cell
WHERE (NOT generated OR NOT %(real)s) AND valid_from <= %(at)s AND (valid_to IS NULL OR valid_to > %(at)s)
UNION SELECT version FROM address WHERE NOT generated OR NOT %(real)s
ORDER BY version
"""
SELECT_VERSION = "SELECT 1 FROM region WHERE version = %s LIMIT 1"
SELECT_REAL = """
SELECT 1 FROM region WHERE NOT generated UNION ALL SELECT 1 FROM grid_cell WHERE NOT generated LIMIT 1
"""
SELECT_REAL_AT = """
SELECT 1 FROM region
WHERE NOT generated AND valid_from <= %(at)s AND (valid_to IS NULL OR valid_to > %(at)s)
UNION ALL SELECT 1 FROM grid_cell
WHERE NOT generated AND valid_from <= %(at)s AND (valid_to IS NULL OR valid_to > %(at)s) LIMIT 1
"""
COUNT_CHANGE = "UPDATE place_state SET changes = changes + 1"
SELECT_STAMP = """
SELECT (SELECT changes FROM place_state), (SELECT max(at) FROM (
    SELECT valid_from AS at FROM region UNION ALL SELECT valid_to FROM region
    UNION ALL SELECT valid_from FROM grid_cell UNION ALL SELECT valid_to FROM grid_cell
) AS times WHERE at <= %s)
"""
SELECT_DEVICES = """
SELECT device.id, device.kind, device.name, device.lon, device.lat, device.address_id, device.building_class,
       device.mount, device.period_s, device.product, device.building, device.floor, device.calibration,
       camera.bearing_deg, camera.fov_deg, camera.range_m, camera.height_m, camera.gb28181_id
FROM device LEFT JOIN camera ON camera.device = device.key
WHERE device.run IS NULL AND NOT device.disabled AND device.id = ANY(%s)
"""
DELETE_GENERATED = (
    "DELETE FROM address WHERE generated",
    "DELETE FROM grid_cell WHERE generated",
    "DELETE FROM region WHERE generated",
)

# What an import compares and replaces: its key, and each column with its type.
REGION_COLUMNS = (
    ("code", "text"), ("level", "text"), ("name", "text"), ("name_en", "text"), ("parent", "text"),
    ("kind", "text"), ("outline", "jsonb"), ("generated", "bool"), ("version", "text"),
)  # fmt: skip
CELL_COLUMNS = (
    ("code", "text"), ("village", "text"), ("town", "text"), ("outline", "jsonb"), ("generated", "bool"),
    ("version", "text"),
)  # fmt: skip
ADDRESS_COLUMNS = (
    ("id", "text"), ("text", "text"), ("road", "text"), ("number", "text"), ("grid", "text"),
    ("lon", "float8"), ("lat", "float8"), ("generated", "bool"), ("version", "text"),
)  # fmt: skip

UPSERTS: dict[Table, tuple[tuple[tuple[str, str], ...], str]] = {
    "region": (REGION_COLUMNS, "code, valid_from"),
    "grid_cell": (CELL_COLUMNS, "code, valid_from"),
    "address": (ADDRESS_COLUMNS, "id"),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """What a file would change: rows the database lacks, has otherwise, has just so, and would end."""

    new: int
    changed: int
    same: int
    ended: int = 0


async def load_locator(conn: Connection, at: datetime | None = None) -> Locator:
    """A Locator of all in force at a time (now, unless said); its version names every data version in it.

    It is made in a thread, out of columns: the event loop goes on meanwhile.
    """
    at = at or datetime.now(UTC)
    real = await real_places(conn, at)
    regions, cells = await _load_outlines(conn, real, at)
    packer = await _load_addresses(conn, real)
    cursor = await conn.execute(SELECT_VERSIONS, {"real": real, "at": at})
    version = "+".join(str(row[0]) for row in await cursor.fetchall())
    return await asyncio.to_thread(lambda: Locator.build(regions, cells, packer.done(), version))


async def load_aliases(conn: Connection) -> list[Alias]:
    """Other texts of the addresses a Locator has now: what they were called before, and are by some."""
    real = await real_places(conn, datetime.now(UTC))
    rows: list[Any] = await (await conn.execute(SELECT_ALIASES, {"real": real})).fetchall()
    return [Alias(address_id, text, kind) for address_id, text, kind in rows]


async def places_stamp(conn: Connection, at: datetime) -> str:
    """A text that is another one whenever a Locator for that time would be another one."""
    row = await (await conn.execute(SELECT_STAMP, [at])).fetchone()
    assert row is not None
    return f"{row[0]} {row[1]}"


async def load_outlines(conn: Connection, at: datetime) -> tuple[list[Region], list[Cell]]:
    """Imported regions and cells in force at a time; generated ones only where nothing is imported."""
    return await _load_outlines(conn, await real_places(conn, at), at)


async def write_city(
    conn: Connection,
    regions: Sequence[Region],
    cells: Sequence[Cell],
    addresses: AddressColumns,
    *,
    version: str,
    generated: bool,
) -> None:
    """COPY a whole city into tables that do not have it; all or nothing."""
    async with conn.transaction(), conn.cursor() as cursor:
        await copy_rows(cursor, "region", REGION_COLUMNS, list(region_rows(regions, version, generated)))
        await copy_rows(cursor, "grid_cell", CELL_COLUMNS, list(cell_rows(cells, version, generated)))
        await copy_rows(cursor, "address", ADDRESS_COLUMNS, list(address_rows(addresses, version, generated)))
        await notify_places(conn)


async def lock_places(conn: Connection) -> None:
    """Hold off other writers of places until this transaction ends."""
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", [locks.PLACES])


async def has_version(conn: Connection, version: str) -> bool:
    """Whether the regions of this data version are there."""
    return await (await conn.execute(SELECT_VERSION, [version])).fetchone() is not None


async def real_places(conn: Connection, at: datetime | None = None) -> bool:
    """Whether somebody imported regions or cells that are not generated; ``at``: in force at that time."""
    if at is None:
        return await (await conn.execute(SELECT_REAL)).fetchone() is not None
    return await (await conn.execute(SELECT_REAL_AT, {"at": at})).fetchone() is not None


async def remove_generated(conn: Connection) -> None:
    """Take generated regions, cells and addresses out, to make room for another version."""
    for statement in DELETE_GENERATED:
        await conn.execute(statement)


async def stage_rows(conn: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> Difference:
    """Copy rows into a temporary table and compare them with what is there, all but the version.

    To be used within one transaction, with ``put_staged`` (addresses) or one of ``divisions`` after it.
    """
    columns, key = UPSERTS[table]
    names = ", ".join(name for name, _ in columns)
    compared = [name for name, _ in columns if name != "version"]
    ours, theirs = (", ".join(f"{side}.{name}" for name in compared) for side in ("staged", "there"))
    first = columns[0][0]
    await conn.execute("DROP TABLE IF EXISTS pg_temp.staged")
    await conn.execute(f"CREATE TEMP TABLE staged ON COMMIT DROP AS SELECT {names} FROM {table} LIMIT 0".encode())
    async with conn.cursor() as cursor:
        await copy_rows(cursor, "staged", columns, rows)
    in_force = "AND there.valid_from <= now() AND (there.valid_to IS NULL OR there.valid_to > now())"
    current = "" if key == first else in_force
    cursor = await conn.execute(
        f"""SELECT count(*) FILTER (WHERE there.{first} IS NULL),
                   count(*) FILTER (WHERE there.{first} IS NOT NULL AND ({ours}) IS DISTINCT FROM ({theirs})),
                   count(*) FILTER (WHERE there.{first} IS NOT NULL AND ({ours}) IS NOT DISTINCT FROM ({theirs}))
            FROM staged LEFT JOIN {table} AS there ON there.{first} = staged.{first} {current}""".encode()
    )
    row = await cursor.fetchone()
    assert row is not None
    new, changed, same = (int(str(count)) for count in row)
    return Difference(new, changed, same)


async def put_staged(conn: Connection, table: Table) -> None:
    """Write what ``stage_rows`` compared: new rows are added, others replaced (layers in time: ``divisions``)."""
    columns, key = UPSERTS[table]
    names = ", ".join(name for name, _ in columns)
    keys = key.split(", ")
    taken = ", ".join(f"{name} = excluded.{name}" for name, _ in columns if name not in keys)
    await conn.execute(
        f"INSERT INTO {table} ({names}) SELECT {names} FROM staged"
        f" ON CONFLICT ({key}) DO UPDATE SET {taken}".encode()
    )
    await notify_places(conn)


async def compare_devices(conn: Connection, rows: Sequence[DeviceRow]) -> Difference:
    """What writing these devices would change; a disabled device counts as new."""
    cursor = await conn.execute(SELECT_DEVICES, [[row.id for row in rows]])
    there = {row[0]: row for row in await cursor.fetchall()}
    ours = [
        (r.id, r.kind, r.name, r.lon, r.lat, r.address_id, r.building_class, r.mount, r.period_s,
         r.product, r.building, r.floor, dict(r.calibration), *(r.camera or (None,) * 5))
        for r in rows
    ]  # fmt: skip
    new = sum(row[0] not in there for row in ours)
    same = sum(there.get(row[0]) == row for row in ours)
    return Difference(new, len(ours) - new - same, same)


def region_rows(regions: Sequence[Region], version: str, generated: bool) -> Iterator[tuple[Any, ...]]:
    """Rows of ``REGION_COLUMNS``."""
    for r, outline in zip(regions, _outlines([r.outline for r in regions]), strict=True):
        yield (r.code, r.level, r.name, r.name_en, r.parent, r.kind, outline, generated, version)


def cell_rows(cells: Sequence[Cell], version: str, generated: bool) -> Iterator[tuple[Any, ...]]:
    """Rows of ``CELL_COLUMNS``."""
    for c, outline in zip(cells, _outlines([c.outline for c in cells]), strict=True):
        yield (c.code, c.village, c.town, outline, generated, version)


def address_rows(addresses: AddressColumns, version: str, generated: bool) -> Iterator[tuple[Any, ...]]:
    """Rows of ``ADDRESS_COLUMNS``."""
    a = addresses
    for row in zip(a.id, a.text, a.road, a.number, a.grid, a.lon.tolist(), a.lat.tolist(), strict=True):
        yield (*row, generated, version)


def _outlines(shapes: Sequence[Any]) -> list[Any]:
    """GeoJSON geometries with six decimals (0.1 m), which generated outlines have exactly."""
    rounded = shapely.transform(np.array(shapes, dtype=object), lambda xy: np.round(xy, 6))
    return [json.loads(text) for text in shapely.to_geojson(rounded).tolist()]


async def _load_outlines(conn: Connection, real: bool, at: datetime) -> tuple[list[Region], list[Cell]]:
    rows: list[Any] = await (await conn.execute(SELECT_REGIONS, {"real": real, "at": at})).fetchall()
    grid: list[Any] = await (await conn.execute(SELECT_CELLS, {"real": real, "at": at})).fetchall()
    return await asyncio.to_thread(_drawn, rows, grid)


def _drawn(rows: list[Any], grid: list[Any]) -> tuple[list[Region], list[Cell]]:
    shapes = shapely.from_geojson(np.array([row[3] for row in rows], dtype=object))
    regions = [
        Region(code, level, name, shape, english, kind)
        for (code, level, name, _, english, kind), shape in zip(rows, shapes.tolist(), strict=True)
    ]
    shapes = shapely.from_geojson(np.array([row[1] for row in grid], dtype=object))
    return regions, [Cell(row[0], shape) for row, shape in zip(grid, shapes.tolist(), strict=True)]


async def _load_addresses(conn: Connection, real: bool) -> AddressPacker:
    """Ids, texts, cells and points; roads and numbers are parts of the text and stay out of memory.

    Part by part along the primary key, so that nobody sorts ten million rows.
    """
    packer, after = AddressPacker((await stored_rule(conn)).length), ""
    async with conn.cursor(binary=True) as cursor:
        while True:
            await cursor.execute(SELECT_PART, {"real": real, "after": after}, prepare=False)
            row: Any = await cursor.fetchone()
            if row[0] is None:
                return packer
            part = Part(*row)
            packer.add(part)
            after = part.last_id


async def notify_places(conn: Connection) -> None:
    """Tell every process that holds a Locator, once this transaction commits."""
    await conn.execute(COUNT_CHANGE)
    await conn.execute("SELECT pg_notify(%s, '')", [CHANNEL])
