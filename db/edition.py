"""Which edition of TimescaleDB this is, and what of the community edition is used: compression of old chunks.

Nobody outside ``db`` asks. Our own maintenance compresses, chunk by chunk, not a policy of
TimescaleDB's: its jobs would take their locks beside ours while we drop chunks. Rollups are
our own on both editions, so continuous aggregates are not made (decision 0032).

Coded by the documentation of TimescaleDB 2.14 to 2.19. The statements were run on the Apache
edition only, which refuses them; a refusal is said in the log and changes nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from db.pool import Connection

log = logging.getLogger(__name__)

SELECT_EDITION = "SELECT current_setting('timescaledb.license', true)"
SELECT_ENABLED = """
SELECT compression_enabled FROM timescaledb_information.hypertables
WHERE hypertable_schema = current_schema() AND hypertable_name = %s
"""
SELECT_OLD = """
SELECT format('%%I.%%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks
WHERE hypertable_schema = current_schema() AND hypertable_name = %s AND NOT is_compressed AND range_end < %s
ORDER BY range_start LIMIT %s
"""
COMPRESS = "SELECT compress_chunk(%s::regclass, if_not_compressed => true)"
LOCK_TIMEOUT = "SELECT set_config('lock_timeout', '500ms', true)"

COMPRESSED_AFTER = timedelta(days=7)
"""Late data mostly comes within hours; into a compressed chunk it goes all the same, only slower."""
CHUNKS_A_ROUND = 8
"""Of each table and hour: a database that has just got the edition is worked off in a day, not at once."""
SEGMENTS: Mapping[str, str] = {"reading": "device, metric", "waveform": "device", "position": "device"}
"""What rows of one compressed segment share: how they are asked for, and what their unique index begins with."""


@dataclass(frozen=True, slots=True)
class Edition:
    """An edition by the name of its licence: ``apache`` or ``timescale``."""

    license: str

    @classmethod
    def of(cls, row: Sequence[object] | None) -> Edition:
        """From the answer to SELECT_EDITION; what is not named has no more than the Apache edition."""
        return cls(str(row[0]) if row and row[0] else "apache")

    @property
    def compresses(self) -> bool:
        """Whether old chunks are compressed."""
        return self.license == "timescale"

    @property
    def words(self) -> str:
        """For people: which edition, and what that means here."""
        if self.compresses:
            return f"community edition: chunks older than {COMPRESSED_AFTER.days} days are compressed"
        return f"{self.license} edition: everything works, but old chunks are not compressed and take more disk"


def enabling(table: str) -> str:
    """The statement that lets chunks of a table be compressed."""
    return (
        f"ALTER TABLE {table} SET (timescaledb.compress, timescaledb.compress_segmentby = '{SEGMENTS[table]}', "
        "timescaledb.compress_orderby = 'time DESC')"
    )


async def compress_old(conn: Connection, now: datetime) -> int:
    """Compress chunks that have become old, where the edition can; returns how many.

    ``conn`` is in autocommit mode.
    """
    edition = Edition.of(await (await conn.execute(SELECT_EDITION)).fetchone())
    if not edition.compresses:
        return 0
    return sum([await compress_table(conn, table, now - COMPRESSED_AFTER) for table in SEGMENTS])


async def compress_table(conn: Connection, table: str, before: datetime) -> int:
    """Compress some chunks of one table; what cannot be now waits for the next round."""
    done = 0
    try:
        row = await (await conn.execute(SELECT_ENABLED, [table])).fetchone()
        if row is None or not row[0]:
            await conn.execute(enabling(table).encode())
        for (chunk,) in await (await conn.execute(SELECT_OLD, [table, before, CHUNKS_A_ROUND])).fetchall():
            async with conn.transaction():
                await conn.execute(LOCK_TIMEOUT)
                await conn.execute(COMPRESS, [chunk])
            done += 1
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        log.info("compression of %s waits for the next round: %s", table, error)
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFunction) as error:
        log.warning("chunks of %s are not compressed: %s", table, str(error).splitlines()[0])
    return done
