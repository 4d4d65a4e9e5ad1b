"""Rollups in PostgreSQL: recomputed and replaced, each step one transaction. Refuses to decide anything.

``reading`` has no index by time, so rows are found by probes of its index, one a series.
Every transaction here first locks the one row of ``rollup_progress``: retention and the
purge of runs do the same, ingest never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from db.pool import Connection, Pool, unavailable
from domain.clock import from_us, to_us
from ingest.rollup.horizon import HOUR_US, floor_us

# Bounded, because a sum that overflows is an error in PostgreSQL, and a device may send 1e308 twice.
OF_READINGS = """count(*)::int, sum(least(greatest(r.value, -1e290), 1e290)), min(r.value), max(r.value),
           last(r.value, r.time), max(r.time)"""
OF_MINUTES = "sum(r.n)::int, sum(r.sum), min(r.min), max(r.max), last(r.last, r.last_at), max(r.last_at)"
COLUMNS = "(device, metric, bucket, n, sum, min, max, last, last_at)"
REPLACE = """
ON CONFLICT (device, metric, bucket) DO UPDATE SET n = excluded.n, sum = excluded.sum, min = excluded.min,
    max = excluded.max, last = excluded.last, last_at = excluded.last_at"""

ROLL_MINUTES = f"""
INSERT INTO reading_1m {COLUMNS}
SELECT s.device, s.metric, part.* FROM series AS s CROSS JOIN LATERAL (
    SELECT time_bucket('1 minute', r.time), {OF_READINGS} FROM reading AS r
    WHERE r.device = s.device AND r.metric = s.metric AND r.time >= %(from)s AND r.time < %(to)s
    GROUP BY 1) AS part
WHERE s.device = ANY (%(devices)s) {REPLACE}"""
ROLL_HOURS = f"""
INSERT INTO reading_1h {COLUMNS}
SELECT s.device, s.metric, part.* FROM series AS s CROSS JOIN LATERAL (
    SELECT time_bucket('1 hour', r.bucket), {OF_MINUTES} FROM reading_1m AS r
    WHERE r.device = s.device AND r.metric = s.metric AND r.bucket >= %(from)s AND r.bucket < %(to)s
    GROUP BY 1) AS part
WHERE s.device = ANY (%(devices)s) {REPLACE}"""

# The constant bounds let the planner leave chunks out.
REDO_MINUTES = f"""
INSERT INTO reading_1m {COLUMNS}
SELECT s.device, s.metric, part.*
FROM unnest(%(device)s::int[], %(hour)s::timestamptz[]) AS dirty (device, hour)
JOIN series AS s ON s.device = dirty.device CROSS JOIN LATERAL (
    SELECT time_bucket('1 minute', r.time), {OF_READINGS} FROM reading AS r
    WHERE r.device = s.device AND r.metric = s.metric
      AND r.time >= dirty.hour AND r.time < dirty.hour + INTERVAL '1 hour'
      AND r.time >= %(from)s AND r.time < %(to)s
    GROUP BY 1) AS part
{REPLACE}"""
REDO_HOURS = f"""
INSERT INTO reading_1h {COLUMNS}
SELECT s.device, s.metric, part.*
FROM unnest(%(device)s::int[], %(hour)s::timestamptz[]) AS dirty (device, hour)
JOIN series AS s ON s.device = dirty.device CROSS JOIN LATERAL (
    SELECT dirty.hour, {OF_MINUTES} FROM reading_1m AS r
    WHERE r.device = s.device AND r.metric = s.metric
      AND r.bucket >= dirty.hour AND r.bucket < dirty.hour + INTERVAL '1 hour'
      AND r.bucket >= %(from)s AND r.bucket < %(to)s
    HAVING count(*) > 0) AS part
{REPLACE}"""

# Without progress yet (a new database, or one from before there were rollups): from its oldest readings on.
BEGIN = """
UPDATE rollup_progress SET through = coalesce(through, least(%s, (
    SELECT date_trunc('hour', min(range_start), 'UTC') FROM timescaledb_information.chunks
    WHERE hypertable_schema = current_schema() AND hypertable_name = 'reading')))
RETURNING through
"""
NEWEST = """
SELECT s.device, max(part.newest) FROM series AS s CROSS JOIN LATERAL (
    SELECT max(r.time) AS newest FROM reading AS r
    WHERE r.device = s.device AND r.metric = s.metric AND r.time >= %s) AS part
WHERE part.newest IS NOT NULL GROUP BY s.device
"""
LOCK_PROGRESS = "SELECT through, raw_from FROM rollup_progress FOR UPDATE"
SET_THROUGH = "UPDATE rollup_progress SET through = %s"
# An hour that is still open is left until it has closed: one recomputation instead of sixty.
DIRTY = """
SELECT id, device, hour FROM rollup_dirty
WHERE hour + INTERVAL '1 hour' <= (SELECT through FROM rollup_progress) ORDER BY id LIMIT %s
"""
DELETE_DIRTY = "DELETE FROM rollup_dirty WHERE id = ANY (%s)"
COUNT_DIRTY = "SELECT count(*) FROM (SELECT DISTINCT device, hour FROM rollup_dirty LIMIT 1000000) AS hours"

Mark = tuple[int, int, int]
"""(id, device, hour_us) of one mark."""


class RollupStore:
    """What the rollup service asks of the database."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(self, now_us: int) -> int:
        """Up to where everything is rolled. Raises: DatabaseUnavailable."""
        with unavailable("reading how far readings are rolled up"):
            async with self._pool.connection() as conn:
                row = await (await conn.execute(BEGIN, [from_us(now_us)])).fetchone()
        assert row is not None, "the migration made the row"
        return to_us(row[0])

    async def newest(self, since_us: int) -> list[tuple[int, int]]:
        """(device, newest time) of all that have readings from ``since_us`` on. Raises: DatabaseUnavailable."""
        with unavailable("looking for readings not rolled up"):
            async with self._pool.connection() as conn:
                rows = await (await conn.execute(NEWEST, [from_us(since_us)], prepare=False)).fetchall()
        return [(int(device), to_us(newest)) for device, newest in rows]

    async def roll(self, from_us_: int, to_us_: int, devices: Sequence[int], hour_devices: Sequence[int]) -> int:
        """Roll the minutes from..to of ``devices`` and the hours that closed of ``hour_devices``.

        Returns how far everything is rolled now; another than ``to_us_`` when somebody else moved it.
        Raises: DatabaseUnavailable.
        """
        with unavailable("rolling up readings"):
            async with self._pool.connection() as conn, conn.transaction():
                through, _ = await lock_progress(conn)
                if through is None or through != from_us_:
                    return from_us_ if through is None else through
                if devices:
                    await insert(conn, ROLL_MINUTES, from_us_, to_us_, devices=list(devices))
                hours = floor_us(from_us_, HOUR_US), floor_us(to_us_, HOUR_US)
                if hour_devices and hours[0] < hours[1]:
                    await insert(conn, ROLL_HOURS, *hours, devices=list(hour_devices))
                await conn.execute(SET_THROUGH, [from_us(to_us_)])
        return to_us_

    async def dirty(self, limit: int) -> list[Mark]:
        """The oldest marks of closed hours. Raises: DatabaseUnavailable."""
        with unavailable("reading the hours to roll up again"):
            async with self._pool.connection() as conn:
                rows = await (await conn.execute(DIRTY, [limit])).fetchall()
        return [(int(id_), int(device), to_us(hour)) for id_, device, hour in rows]

    async def redo(self, marks: Sequence[Mark]) -> int:
        """Recompute the hours of these marks from readings and remove the marks; returns hours recomputed.

        Hours that lost readings to retention stay as they are. Raises: DatabaseUnavailable.
        """
        with unavailable("rolling up hours again"):
            async with self._pool.connection() as conn, conn.transaction():
                _, raw_from = await lock_progress(conn)
                pairs = sorted({(d, h) for _, d, h in marks if raw_from is None or h >= raw_from})
                if pairs:
                    hours = [hour_us for _, hour_us in pairs]
                    given = {"device": [device for device, _ in pairs], "hour": [from_us(h) for h in hours]}
                    await insert(conn, REDO_MINUTES, min(hours), max(hours) + HOUR_US, **given)
                    await insert(conn, REDO_HOURS, min(hours), max(hours) + HOUR_US, **given)
                await conn.execute(DELETE_DIRTY, [[id_ for id_, _, _ in marks]])
        return len(pairs)

    async def count_dirty(self) -> int:
        """Hours marked, those still open too. Raises: DatabaseUnavailable."""
        with unavailable("counting the hours to roll up again"):
            async with self._pool.connection() as conn:
                row = await (await conn.execute(COUNT_DIRTY)).fetchone()
        assert row is not None
        return int(row[0])


async def lock_progress(conn: Connection) -> tuple[int | None, int | None]:
    """(through, raw_from), held to the end of the transaction."""
    row = await (await conn.execute(LOCK_PROGRESS)).fetchone()
    assert row is not None, "the migration made the row"
    through, raw_from = row
    return through and to_us(through), raw_from and to_us(raw_from)


async def insert(conn: Connection, statement: str, from_us_: int, to_us_: int, **given: Any) -> None:
    """One of the statements above; planned for its own times, so that other chunks are left out."""
    bounds = {"from": from_us(from_us_), "to": from_us(to_us_)}
    await conn.execute(statement.encode(), {**bounds, **given}, prepare=False)
