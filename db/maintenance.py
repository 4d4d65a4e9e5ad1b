"""Chunks made ahead and dropped in time, by our own scheduler on both editions.

One process does it at a time (an advisory lock), each table on its own, with a
short lock timeout so that ingest never waits for a drop: what could not be
locked now is tried again on the next round.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from db import locks
from db.pool import Connection

log = logging.getLogger(__name__)

LOCK_TIMEOUT = "2s"
EVERY_S = 3600.0

TRY_LOCK = "SELECT pg_try_advisory_lock(%s)"
UNLOCK = "SELECT pg_advisory_unlock(%s)"
DROP_CHUNKS = "SELECT drop_chunks(%s::regclass, older_than => %s::timestamptz)"
DELETE_OLD = {
    "quarantine": "DELETE FROM quarantine WHERE received_at < %s",
    "ledger_minute": "DELETE FROM ledger_minute WHERE minute < %s",
    "camera_event": "DELETE FROM camera_event WHERE time < %s",
    "seq_gap": "DELETE FROM seq_gap WHERE opened_at < %s",
}
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
PREMAKE_STEP = {"reading": timedelta(days=1), "waveform": timedelta(hours=6), "position": timedelta(days=1)}
PREMAKE_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days each table keeps."""

    readings_days: float
    waveforms_days: float
    positions_days: float

    def older_than(self, now: datetime) -> dict[str, datetime]:
        """Table → everything before this time goes."""
        readings = now - timedelta(days=self.readings_days)
        return {
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
            await make_ahead(conn, table, now)
        return removed
    finally:
        await conn.execute(UNLOCK, [locks.MAINTENANCE])


async def drop_older(conn: Connection, table: str, before: datetime) -> int:
    """Remove what is older than ``before``; a table that is locked now waits for the next round."""
    try:
        if statement := DELETE_OLD.get(table):
            return (await conn.execute(statement.encode(), [before])).rowcount
        return len(await (await conn.execute(DROP_CHUNKS, [table, before])).fetchall())
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        log.info("retention of %s waits for the next round: %s", table, error)
        return 0


async def make_ahead(conn: Connection, table: str, now: datetime) -> None:
    """Make the chunks of now and the next intervals before traffic reaches them."""
    for step in range(PREMAKE_AHEAD + 1):
        async with conn.transaction():
            await conn.execute(PREMAKE[table].encode(), [now + step * PREMAKE_STEP[table]])
            await conn.execute(f"DELETE FROM {table} WHERE device = 0".encode())
