"""Divisions in time: a correction changes the one in force, a new division ends it and begins another.

A correction (no time given) replaces what is in force under the same code and adds
what is new. A new division takes effect at a time: the file then says all there is
below each parent it names. Rows that it changes end and begin anew, rows that it leaves
out end, and whatever lay below those ends with them; what stays the same stays one
row. A village that is merged into another is thus left out of the file of its town.

Both work on what ``store.stage_rows`` has put into the table ``staged``, within
one transaction, and end with a notification.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from db.pool import Connection
from geo.locate import Locator
from geo.store import UPSERTS, Difference, notify_places

Layer = Literal["region", "grid_cell"]

_IN_FORCE = "there.valid_from <= %(at)s AND (there.valid_to IS NULL OR there.valid_to > %(at)s)"
# The rows among which a file says all there is: those below the parents it names.
_SCOPE = {
    "region": "EXISTS (SELECT FROM staged s WHERE s.level = there.level"
    " AND s.parent IS NOT DISTINCT FROM there.parent)",
    "grid_cell": "there.village IN (SELECT village FROM staged)",
}
_LEFT_OUT = "NOT EXISTS (SELECT FROM staged s WHERE s.code = there.code)"
_FUTURE = (
    "(SELECT min(later.valid_from) FROM {table} later WHERE later.code = staged.code AND later.valid_from > %(at)s)"
)

NEXT_CHANGE = """
SELECT min(at) FROM (
    SELECT valid_from AS at FROM region UNION ALL SELECT valid_to FROM region
    UNION ALL SELECT valid_from FROM grid_cell UNION ALL SELECT valid_to FROM grid_cell
) AS times WHERE at > %s"""

SELECT_PLACED = """
SELECT key, address_id, lon, lat, town, village, grid FROM device
WHERE run IS NULL AND NOT disabled AND (address_id IS NOT NULL OR lon IS NOT NULL) ORDER BY key"""
UPDATE_PLACED = """
UPDATE device SET town = n.town, village = n.village, grid = n.grid
FROM unnest(%s::int[], %s::text[], %s::text[], %s::text[]) AS n (key, town, village, grid)
WHERE device.key = n.key"""


async def compare_division(conn: Connection, layer: Layer, at: datetime) -> Difference:
    """What ``begin_division`` would do, with how many rows would end for being left out."""
    names = [name for name, _ in UPSERTS[layer][0] if name != "version"]
    ours, theirs = (", ".join(f"{side}.{name}" for name in names) for side in ("staged", "there"))
    cursor = await conn.execute(
        f"""SELECT count(*) FILTER (WHERE there.code IS NULL),
                   count(*) FILTER (WHERE there.code IS NOT NULL AND ({ours}) IS DISTINCT FROM ({theirs})),
                   count(*) FILTER (WHERE there.code IS NOT NULL AND ({ours}) IS NOT DISTINCT FROM ({theirs})),
                   (SELECT count(*) FROM {layer} there WHERE {_IN_FORCE} AND {_SCOPE[layer]} AND {_LEFT_OUT})
            FROM staged LEFT JOIN {layer} there ON there.code = staged.code AND {_IN_FORCE}""".encode(),
        {"at": at},
    )
    row = await cursor.fetchone()
    assert row is not None
    new, changed, same, ended = (int(str(count)) for count in row)
    return Difference(new, changed, same, ended)


async def begin_division(conn: Connection, layer: Layer, at: datetime) -> None:
    """Let the staged rows take effect at a time; the rows they replace end there."""
    columns, _ = UPSERTS[layer]
    names = [name for name, _ in columns]
    compared = [name for name in names if name != "version"]
    ours, theirs = (", ".join(f"{side}.{name}" for name in compared) for side in ("staged", "there"))
    same = (
        f"DELETE FROM staged USING {layer} there WHERE there.code = staged.code AND {_IN_FORCE}"
        f" AND ({ours}) IS NOT DISTINCT FROM ({theirs})"
    )
    await conn.execute("DROP TABLE IF EXISTS pg_temp.left_out")
    # Kept apart, because rows that stay the same still belong to what the file says there is.
    await conn.execute(f"CREATE TEMP TABLE left_out ON COMMIT DROP AS SELECT code FROM {layer} there"
                       f" WHERE {_IN_FORCE} AND {_SCOPE[layer]} AND {_LEFT_OUT}".encode(), {"at": at})  # fmt: skip
    await conn.execute(same.encode(), {"at": at})
    for table in ("region", "grid_cell"):
        below = f"EXISTS (SELECT FROM left_out WHERE starts_with({table}.code, left_out.code))"
        await _end(conn, table, below, at)
    # A division planned for the same moment is replaced, not ended: it never was in force.
    await _end(conn, layer, f"EXISTS (SELECT FROM staged WHERE staged.code = {layer}.code)", at)
    listed = ", ".join(names)
    await conn.execute(
        f"""INSERT INTO {layer} ({listed}, valid_from, valid_to)
            SELECT {listed}, %(at)s, {_FUTURE.format(table=layer)} FROM staged""".encode(),
        {"at": at},
    )
    await notify_places(conn)


async def correct_division(conn: Connection, layer: Layer, now: datetime) -> None:
    """Replace what is in force under the staged codes and add what is not."""
    names = [name for name, _ in UPSERTS[layer][0]]
    taken = ", ".join(f"{name} = staged.{name}" for name in names if name != "code")
    await conn.execute(
        f"UPDATE {layer} there SET {taken} FROM staged WHERE there.code = staged.code AND {_IN_FORCE}".encode(),
        {"at": now},
    )
    listed = ", ".join(names)
    # What has no past holds since ever; what ended before begins again now.
    await conn.execute(
        f"""INSERT INTO {layer} ({listed}, valid_from, valid_to)
            SELECT {listed},
                   CASE WHEN EXISTS (SELECT FROM {layer} there
                                     WHERE there.code = staged.code AND there.valid_from <= %(at)s)
                        THEN %(at)s ELSE '1970-01-01Z'::timestamptz END,
                   {_FUTURE.format(table=layer)}
            FROM staged
            WHERE NOT EXISTS (SELECT FROM {layer} there WHERE there.code = staged.code AND {_IN_FORCE})""".encode(),
        {"at": now},
    )
    await notify_places(conn)


async def villages_with_cells(conn: Connection, at: datetime) -> set[str]:
    """Villages that have cells in force at a time."""
    query = f"SELECT DISTINCT village FROM grid_cell there WHERE {_IN_FORCE}"
    cursor = await conn.execute(query.encode(), {"at": at})
    return {str(row[0]) for row in await cursor.fetchall()}


async def next_division(conn: Connection, after: datetime) -> datetime | None:
    """When the division changes next; None while no change is planned."""
    row = await (await conn.execute(NEXT_CHANGE, [after])).fetchone()
    assert row is not None
    found = row[0]
    assert found is None or isinstance(found, datetime)
    return found


async def relocate_devices(conn: Connection, locator: Locator) -> Sequence[int]:
    """Give devices the town, village and cell they lie in now; returns the keys of those that changed."""
    rows: list[Any] = await (await conn.execute(SELECT_PLACED)).fetchall()
    moved = await asyncio.to_thread(_moved, rows, locator)  # ten thousand devices take seconds
    if moved:
        await conn.execute(UPDATE_PLACED, [list(column) for column in zip(*moved, strict=True)])
    return [key for key, *_ in moved]


def _moved(rows: list[Any], locator: Locator) -> list[tuple[Any, ...]]:
    """Key, town, village and cell of the devices that lie elsewhere by this locator."""
    moved: list[tuple[Any, ...]] = []
    for key, address_id, lon, lat, *before in rows:
        place = locator.device(address_id, lon, lat)
        now = [place.town, place.village, place.grid]
        if place.known and now != before:
            moved.append((int(key), *now))
    return moved


async def _end(conn: Connection, table: str, which: str, at: datetime) -> None:
    await conn.execute(f"DELETE FROM {table} WHERE valid_from = %(at)s AND {which}".encode(), {"at": at})
    await conn.execute(
        f"UPDATE {table} SET valid_to = %(at)s WHERE valid_from < %(at)s"
        f" AND (valid_to IS NULL OR valid_to > %(at)s) AND {which}".encode(),
        {"at": at},
    )
