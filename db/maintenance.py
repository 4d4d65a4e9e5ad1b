"""Chunks sized, made ahead and dropped in time, by our own scheduler on both editions.

One process does it at a time (an advisory lock), each table on its own. A drop first
keeps writers away from its table, for as long as it takes: TimescaleDB's own catalogue
is otherwise locked in one order by who drops a chunk and in another by who makes one.
A short lock timeout bounds that wait; what could not be locked now is tried again on
the next round.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from db import locks
from db.chunks import MEASURED, Chunk, chunk_length, rate_bytes_s
from db.edition import compress_old
from db.pool import Connection

log = logging.getLogger(__name__)

LOCK_TIMEOUT = "2s"
DROP_LOCK_TIMEOUT = "500ms"
EVERY_S = 3600.0

TRY_LOCK = "SELECT pg_try_advisory_lock(%s)"
UNLOCK = "SELECT pg_advisory_unlock(%s)"
OLD_CHUNKS = "SELECT count(*) FROM show_chunks(%s::regclass, older_than => %s::timestamptz)"
KEEP_WRITERS_AWAY = "LOCK TABLE ONLY {table} IN SHARE ROW EXCLUSIVE MODE"
DROP_CHUNKS = "SELECT drop_chunks(%s::regclass, older_than => %s::timestamptz)"
DELETE_OLD = {
    "quarantine": "DELETE FROM quarantine WHERE received_at < %s",
    "ledger_minute": "DELETE FROM ledger_minute WHERE minute < %s",
    "camera_event": "DELETE FROM camera_event WHERE time < %s",
    "seq_gap": "DELETE FROM seq_gap WHERE opened_at < %s",
}
# Readings go once they are in the rollups, and from then on their hours are not computed again.
# Whoever recomputes holds the row; what waits for it too long is tried again on the next round.
LET_READINGS_GO = """
UPDATE rollup_progress SET raw_from = greatest(raw_from, date_trunc('hour', least(%s, through, (
    SELECT min(hour) FROM rollup_dirty
    WHERE hour >= coalesce(rollup_progress.raw_from, '-infinity'))), 'UTC'))
RETURNING raw_from
"""
DELETE_SESSIONS = "DELETE FROM app_session WHERE expires_at < %s"

# create_chunk() belongs to the community edition, so a sentinel row of the
# reserved device 0 makes the chunk of a time on both, and goes at once.
PREMAKE = {
    "reading": "INSERT INTO reading (time, device, metric, value, seq, late) VALUES (%s, 0, 0, 0, -1, false)",
    "waveform": (
        "INSERT INTO waveform (time, device, rate_hz, unit, n, axes, encoding, scale, seq, late, samples) "
        "VALUES (%s, 0, 1, 'mm/s', 0, 0, 'f4', 1, -1, false, '')"
    ),
    "position": "INSERT INTO position (time, device, lon, lat, seq, late) VALUES (%s, 0, 0, 0, -1, false)",
}
PREMAKE_AHEAD = timedelta(hours=12)
"""Far enough for maintenance to miss some rounds; no further, because a chunk once made keeps its length."""
LONGEST = {"reading": timedelta(days=1), "waveform": timedelta(hours=6), "position": timedelta(days=1)}
SELECT_LENGTH = """
SELECT time_interval FROM timescaledb_information.dimensions
WHERE hypertable_schema = current_schema() AND hypertable_name = %s
"""
SELECT_CHUNKS = """
SELECT range_start, range_end, pg_total_relation_size(format('%%I.%%I', chunk_schema, chunk_name)::regclass)
FROM timescaledb_information.chunks
WHERE hypertable_schema = current_schema() AND hypertable_name = %s AND range_start < %s AND range_end > %s
"""
SET_LENGTH = "SELECT set_chunk_time_interval(%s::regclass, %s::interval)"


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days each table keeps."""

    readings_days: float
    waveforms_days: float
    positions_days: float
    minutes_days: float = 400.0
    hours_days: float | None = None
    """Rollups by minute and by hour; ``None`` = for good. Never shorter than the readings themselves."""

    def older_than(self, now: datetime) -> dict[str, datetime]:
        """Table → everything before this time goes."""
        readings = now - timedelta(days=self.readings_days)
        rollups = {"reading_1m": now - timedelta(days=max(self.minutes_days, self.readings_days))}
        if self.hours_days is not None:
            rollups["reading_1h"] = now - timedelta(days=max(self.hours_days, self.readings_days))
        return rollups | {
            "reading": readings,
            "device_status": readings,
            "waveform": now - timedelta(days=self.waveforms_days),
            "position": now - timedelta(days=self.positions_days),
            "quarantine": readings,
            "ledger_minute": readings,
            "camera_event": readings,
            "seq_gap": readings,
        }


async def maintain(conn: Connection, retention: Retention, now: datetime) -> dict[str, int]:
    """One round; returns table → chunks (or rows) removed. Another process at it: nothing is done.

    ``conn`` is a dedicated connection in autocommit mode.
    """
    row = await (await conn.execute(TRY_LOCK, [locks.MAINTENANCE])).fetchone()
    if row is None or not row[0]:
        return {}
    try:
        await conn.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
        removed = {
            table: await drop_older(conn, table, before) for table, before in retention.older_than(now).items()
        }
        await conn.execute(DELETE_SESSIONS, [now])
        for table in PREMAKE:
            await make_ahead(conn, table, now, await fit_length(conn, table, now))
        if compressed := await compress_old(conn, now):
            log.info("%d chunks compressed", compressed)
        return removed
    finally:
        await conn.execute(UNLOCK, [locks.MAINTENANCE])


async def drop_older(conn: Connection, table: str, before: datetime) -> int:
    """Remove what is older than ``before``; a table that is locked now waits for the next round."""
    try:
        if statement := DELETE_OLD.get(table):
            return (await conn.execute(statement.encode(), [before])).rowcount
        async with conn.transaction():
            return await drop_chunks(conn, table, before)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        log.info("retention of %s waits for the next round: %s", table, error)
        return 0


async def drop_chunks(conn: Connection, table: str, before: datetime) -> int:
    """Drop the chunks that lie wholly before a time, in the transaction that is open."""
    if table == "reading":
        row = await (await conn.execute(LET_READINGS_GO, [before])).fetchone()
        assert row is not None, "the migration made the row"
        before = row[0]
    old = await (await conn.execute(OLD_CHUNKS, [table, before])).fetchone()
    if old is None or not old[0]:
        return 0
    await conn.execute("SELECT set_config('lock_timeout', %s, true)", [DROP_LOCK_TIMEOUT])
    await conn.execute(KEEP_WRITERS_AWAY.format(table=table).encode())
    return len(await (await conn.execute(DROP_CHUNKS, [table, before])).fetchall())


async def fit_length(conn: Connection, table: str, now: datetime) -> timedelta:
    """Let the next chunks be as long as the traffic of the last day allows; returns their length."""
    row = await (await conn.execute(SELECT_LENGTH, [table])).fetchone()
    assert row is not None, "the migration made the hypertable"
    current: timedelta = row[0]
    rows = await (await conn.execute(SELECT_CHUNKS, [table, now, now - MEASURED])).fetchall()
    rate = rate_bytes_s([Chunk(*row) for row in rows], now)
    if rate is None or (length := chunk_length(rate, LONGEST[table], current)) == current:
        return current
    try:
        await conn.execute(SET_LENGTH, [table, length])
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        log.info("the length of %s's chunks stays for now: %s", table, error)
        return current
    log.info("chunks of %s are %s long from now on, before %s", table, length, current)
    return length


async def make_ahead(conn: Connection, table: str, now: datetime, length: timedelta) -> None:
    """Make the chunks of now and the next hours before traffic reaches them."""
    ahead = [now + step * length for step in range(PREMAKE_AHEAD // length + 1)]
    for at in [*ahead, now + PREMAKE_AHEAD]:
        async with conn.transaction():
            await conn.execute(PREMAKE[table].encode(), [at])
            await conn.execute(f"DELETE FROM {table} WHERE device = 0 AND time = %s".encode(), [at])
