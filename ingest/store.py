"""The transaction that makes a batch, or a part of a large one, durable, and what it found stored already.

Rows go in by binary COPY straight into the tables. Only when that meets a row
that is there already (or the broker said it delivers again) does it go the
second way: COPY into staging tables, INSERT … ON CONFLICT DO NOTHING. Quarantine
rows and the ledger are in the same transaction, so the account is exact whatever
is killed when. Retrying is the caller's business; all writes may be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg

from db.copy import copy_columns, copy_rows
from db.pool import Connection, connect, unavailable
from domain.clock import from_us
from domain.errors import DatabaseUnavailable, PayloadError
from domain.readings import Bool, Int64
from ingest.batching import CAMERA_EVENTS, PACKETS, POSITIONS, READINGS_SERIES_OFFSET, Rows
from ingest.ledger import Account, LedgerColumns
from ingest.messages import Refusal
from ingest.rollup.horizon import Horizon, Marks

STAGING = (
    "CREATE TEMP TABLE staging_reading (LIKE reading) ON COMMIT DELETE ROWS",
    "CREATE TEMP TABLE staging_waveform (LIKE waveform) ON COMMIT DELETE ROWS",
    "CREATE TEMP TABLE staging_position (LIKE position) ON COMMIT DELETE ROWS",
)
TIME_US = "(extract(epoch FROM time) * 1000000)::bigint"
MERGE_READINGS = (
    f"INSERT INTO reading SELECT * FROM staging_reading ON CONFLICT DO NOTHING RETURNING device, metric, {TIME_US}"
)
MERGE_WAVEFORMS = (
    f"INSERT INTO waveform SELECT * FROM staging_waveform ON CONFLICT DO NOTHING RETURNING device, {TIME_US}"
)
MERGE_POSITIONS = (
    f"INSERT INTO position SELECT * FROM staging_position ON CONFLICT DO NOTHING RETURNING device, {TIME_US}"
)

WAVEFORM_COLUMNS = (
    ("time", "timestamptz"), ("device", "int4"), ("rate_hz", "float8"), ("unit", "text"), ("n", "int4"),
    ("axes", "int2"), ("encoding", "text"), ("scale", "float8"), ("seq", "int8"), ("late", "bool"),
    ("samples", "bytea"),
)  # fmt: skip
POSITION_COLUMNS = (
    ("time", "timestamptz"), ("device", "int4"), ("lon", "float8"), ("lat", "float8"), ("speed_kmh", "float8"),
    ("heading_deg", "float8"), ("bed", "text"), ("cover", "text"), ("seq", "int8"), ("late", "bool"),
)  # fmt: skip

INSERT_STATUS = """
INSERT INTO device_status (time, device, online, battery_pct, rssi_dbm, firmware)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
UPDATE_STATUS = """
UPDATE device SET online = coalesce(%s, online), battery_pct = coalesce(%s, battery_pct),
    rssi_dbm = coalesce(%s, rssi_dbm), firmware = coalesce(%s, firmware) WHERE key = %s
"""
INSERT_CAMERA_EVENT = """
INSERT INTO camera_event (device, event_id, phase, time, type, score, box, objects,
                          snapshot_url, clip_url, text, late)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
INSERT_QUARANTINE = """
INSERT INTO quarantine (received_at, topic, device_id, run, reason, detail, payload, clock, digest)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (digest) DO UPDATE SET count = quarantine.count + %s,
    reason = excluded.reason, detail = excluded.detail, replayed_at = NULL
"""
MERGE_LEDGER = """
INSERT INTO ledger_minute (minute, device, received, stored, duplicate, rejected, quarantined)
SELECT to_timestamp(minute * 60), device, received, stored, duplicate, rejected, quarantined
FROM unnest(%s::bigint[], %s::int[], %s::int[], %s::int[], %s::int[], %s::int[], %s::int[])
    AS batch (minute, device, received, stored, duplicate, rejected, quarantined)
ON CONFLICT (minute, device) DO UPDATE SET
    received = ledger_minute.received + excluded.received, stored = ledger_minute.stored + excluded.stored,
    duplicate = ledger_minute.duplicate + excluded.duplicate,
    rejected = ledger_minute.rejected + excluded.rejected,
    quarantined = ledger_minute.quarantined + excluded.quarantined
"""

# One index probe a series and chunk; two days bound the chunks. What is older than
# that and comes again is found by the unique index.
FLOORS = {
    "readings": """
SELECT s.device, s.metric, (SELECT (extract(epoch FROM max(r.time)) * 1000000)::bigint FROM reading r
    WHERE r.device = s.device AND r.metric = s.metric AND r.time > now() - INTERVAL '2 days')
FROM unnest(%s::int[], %s::int[]) AS s (device, metric)""",
    "waveform": """
SELECT s.device, s.series, (SELECT (extract(epoch FROM max(r.time)) * 1000000)::bigint FROM waveform r
    WHERE r.device = s.device AND r.time > now() - INTERVAL '2 days')
FROM unnest(%s::int[], %s::int[]) AS s (device, series)""",
    "position": """
SELECT s.device, s.series, (SELECT (extract(epoch FROM max(r.time)) * 1000000)::bigint FROM position r
    WHERE r.device = s.device AND r.time > now() - INTERVAL '2 days')
FROM unnest(%s::int[], %s::int[]) AS s (device, series)""",
}

INSERT_SERIES = "INSERT INTO series SELECT * FROM unnest(%s::int[], %s::int[]) ON CONFLICT DO NOTHING"
INSERT_METRICS = "INSERT INTO metric (name) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"
SELECT_METRICS = "SELECT key, name FROM metric"
UPDATE_LAST_SEEN = """
UPDATE device SET last_seen = greatest(device.last_seen, seen.at)
FROM unnest(%s::int[], %s::timestamptz[]) AS seen (key, at) WHERE device.key = seen.key
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a commit did: message ``stored (n,)`` or already there, and rows written."""

    message_stored: Bool
    readings: int
    packets: int
    positions: int
    staged: bool


class IngestStore:
    """A dedicated connection of the writer; it is replaced when it breaks.

    ``horizon``: up to where readings are rolled up; a commit marks what it adds before that.
    """

    def __init__(self, url: str, horizon: Horizon | None = None) -> None:
        self._url = url
        self._horizon = horizon or Horizon()
        self._conn: Connection | None = None

    async def close(self) -> None:
        """Give the connection back."""
        if self._conn is not None:
            await self._conn.close()
            self._conn = None

    async def connection(self) -> Connection:
        """The connection, opened when there is none. Raises: DatabaseUnavailable."""
        if self._conn is not None and (self._conn.closed or self._conn.broken):
            await self.close()
        if self._conn is None:
            conn = await connect(self._url, name="gridpulse-ingest")
            try:
                with unavailable("preparing the ingest connection"):
                    # Redelivery is normal; its plan must not change with the statistics of an empty table.
                    for statement in STAGING:
                        await conn.execute(statement.encode())
            except BaseException:
                await conn.close()
                raise
            self._conn = conn
        return self._conn

    async def write(self, rows: Rows, refused: Sequence[Refusal], account: Account) -> Stored:
        """Commit rows, refusals and their ledger; returns once it is durable.

        Raises: DatabaseUnavailable (repeat the same call); PayloadError ``store_error`` when
        the database will never take one of the rows.
        """
        conn = await self.connection()
        try:
            async with self._horizon.standing():
                marks = self._horizon.marks(rows.readings)
                with unavailable("storing a batch"):
                    stored = await self._either_way(conn, rows, refused, account, marks)
                self._horizon.committed(marks)
                return stored
        except DatabaseUnavailable:
            await self.close()
            raise
        except psycopg.Error as error:
            raise PayloadError("store_error", str(error).splitlines()[0]) from error

    async def _either_way(
        self, conn: Connection, rows: Rows, refused: Sequence[Refusal], account: Account, marks: Marks
    ) -> Stored:
        if not rows.redelivered:
            # A violation: some of it is stored already, and the second way finds out what.
            with suppress(psycopg.errors.UniqueViolation):
                return await self._commit(conn, rows, refused, account, marks, staged=False)
        return await self._commit(conn, rows, refused, account, marks, staged=True)

    async def _commit(
        self,
        conn: Connection,
        rows: Rows,
        refused: Sequence[Refusal],
        account: Account,
        marks: Marks,
        *,
        staged: bool,
    ) -> Stored:
        async with conn.transaction(), conn.cursor() as cursor:
            prefix = "staging_" if staged else ""
            await self._copy(cursor, rows, prefix)
            stored = np.zeros(len(rows.decoded), dtype=np.bool_)
            counts = await self._merge(cursor, rows, stored) if staged else all_stored(rows, stored)
            for index, status in rows.statuses:
                at = from_us(status.time_us)
                said = (status.online, status.battery_pct, status.rssi_dbm, status.firmware)
                await cursor.execute(INSERT_STATUS, [at, status.device, *said])
                stored[index] = cursor.rowcount > 0
                await cursor.execute(UPDATE_STATUS, [*said, status.device])
            for index, e in rows.camera_events:
                box = list(e.box) if e.box is not None else None
                await cursor.execute(
                    INSERT_CAMERA_EVENT,
                    [e.device, e.event_id, e.phase, from_us(e.time_us), e.type, e.score, box, list(e.objects),
                     e.snapshot_url, e.clip_url, e.text, e.late],
                )  # fmt: skip
                stored[index] = cursor.rowcount > 0
            if len(marks):
                await copy_columns(
                    cursor,
                    "rollup_dirty",
                    {"device": ("int4", marks.device), "hour": ("timestamptz", marks.hour_us)},
                )
            await self._quarantine(cursor, refused)
            await self._ledger(cursor, account.columns(rows, stored, refused))
        return Stored(stored, *counts, staged)

    async def _copy(self, cursor: psycopg.AsyncCursor[tuple[Any, ...]], rows: Rows, prefix: str) -> None:
        r = rows.readings
        if len(r):
            await copy_columns(
                cursor,
                f"{prefix}reading",
                {
                    "time": ("timestamptz", r.time_us), "device": ("int4", r.device), "metric": ("int4", r.metric),
                    "value": ("float8", r.value), "seq": ("int8", r.seq), "late": ("bool", r.late),
                },
            )  # fmt: skip
        if rows.packets:
            await copy_rows(cursor, f"{prefix}waveform", WAVEFORM_COLUMNS, waveform_rows(rows))
        if rows.positions:
            await copy_rows(cursor, f"{prefix}position", POSITION_COLUMNS, position_rows(rows))

    async def _merge(
        self, cursor: psycopg.AsyncCursor[tuple[Any, ...]], rows: Rows, stored: Bool
    ) -> tuple[int, int, int]:
        """From staging into the tables; marks the messages of which something was new."""
        r = rows.readings
        counts = [0, 0, 0]
        if len(r):
            await cursor.execute(MERGE_READINGS)
            keys = zip(r.device.tolist(), r.metric.tolist(), r.time_us.tolist(), strict=True)
            counts[0] = mark_first(stored, rows.readings_message.tolist(), list(keys), await cursor.fetchall())
        if rows.packets:
            await cursor.execute(MERGE_WAVEFORMS)
            packet_keys = [(device, packet.start_us) for _, device, packet, _ in rows.packets]
            counts[1] = mark_first(stored, [m for m, *_ in rows.packets], packet_keys, await cursor.fetchall())
        if rows.positions:
            await cursor.execute(MERGE_POSITIONS)
            position_keys = [(p.device, p.time_us) for _, p in rows.positions]
            counts[2] = mark_first(stored, [m for m, _ in rows.positions], position_keys, await cursor.fetchall())
        return counts[0], counts[1], counts[2]

    async def _quarantine(self, cursor: psycopg.AsyncCursor[tuple[Any, ...]], refused: Sequence[Refusal]) -> None:
        for refusal in refused:
            m = refusal.message
            again = 0 if m.redelivered else 1
            await cursor.execute(
                INSERT_QUARANTINE,
                [from_us(m.received_us), printable(m.topic), refusal.device_id, refusal.run, refusal.reason,
                 printable(refusal.detail)[:500], m.payload, m.clock and printable(m.clock)[:100], m.digest, again],
            )  # fmt: skip

    async def _ledger(self, cursor: psycopg.AsyncCursor[tuple[Any, ...]], ledger: LedgerColumns) -> None:
        if len(ledger.device):
            await cursor.execute(MERGE_LEDGER, [array_text(column) for column in ledger])

    async def floors(self, wanted: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
        """(device, series, newest time in microseconds) of the series the database has data of.

        Series of readings are noted in ``series``, before the first of their rows is written.
        Raises: DatabaseUnavailable.
        """
        found: list[tuple[int, int, int]] = []
        groups = {
            "readings": [(d, s - READINGS_SERIES_OFFSET) for d, s in wanted if s >= READINGS_SERIES_OFFSET],
            "waveform": [(d, s) for d, s in wanted if s == PACKETS],
            "position": [(d, s) for d, s in wanted if s == POSITIONS],
        }
        assert CAMERA_EVENTS not in {PACKETS, POSITIONS}, "camera events have no floor: their key is the event"
        conn = await self.connection()
        with unavailable("asking for the newest readings"):
            for name, pairs in groups.items():
                if not pairs:
                    continue
                offset = READINGS_SERIES_OFFSET if name == "readings" else 0
                columns = [list(column) for column in zip(*pairs, strict=True)]
                if name == "readings":
                    await conn.execute(INSERT_SERIES, columns)
                cursor = await conn.execute(FLOORS[name].encode(), columns)
                for device, series, newest in await cursor.fetchall():
                    if newest is not None:
                        found.append((int(device), int(series) + offset, int(newest)))
        return found


async def load_metrics(conn: Connection, names: Sequence[str] = ()) -> dict[str, int]:
    """All metrics by name, after ``names`` were added. Raises psycopg's errors."""
    if names:
        await conn.execute(INSERT_METRICS, [sorted(names)])
    rows = await (await conn.execute(SELECT_METRICS)).fetchall()
    return {str(name): int(key) for key, name in rows}


def all_stored(rows: Rows, stored: Bool) -> tuple[int, int, int]:
    """The straight COPY went through: every row is new."""
    stored[rows.readings_message] = True
    stored[[index for index, *_ in rows.packets]] = True
    stored[[index for index, _ in rows.positions]] = True
    return len(rows.readings), len(rows.packets), len(rows.positions)


def mark_first(
    stored: Bool, messages: Sequence[int], keys: Sequence[tuple[int, ...]], written: Sequence[tuple[Any, ...]]
) -> int:
    """Mark the message of the first row with each written key; returns the rows written."""
    new = set(written)
    for message, key in zip(messages, keys, strict=True):
        if key in new:
            new.discard(key)
            stored[message] = True
    return len(written)


def waveform_rows(rows: Rows) -> list[tuple[Any, ...]]:
    """Packets as rows of WAVEFORM_COLUMNS."""
    return [
        (
            from_us(packet.start_us), device, packet.rate_hz, packet.unit, packet.samples.shape[1],
            sum(1 << bit for bit, there in enumerate(packet.axes) if there),
            "f4" if packet.raw is None else "i2",
            1.0 if packet.raw is None else packet.scale,
            packet.seq, late,
            packet.samples.astype("<f4").tobytes() if packet.raw is None else packet.raw,
        )
        for _, device, packet, late in rows.packets
    ]  # fmt: skip


def position_rows(rows: Rows) -> list[tuple[Any, ...]]:
    """Positions as rows of POSITION_COLUMNS."""
    return [
        (from_us(p.time_us), p.device, p.lon, p.lat, p.speed_kmh, p.heading_deg, p.bed, p.cover, p.seq, p.late)
        for _, p in rows.positions
    ]


def array_text(column: Int64) -> str:
    """An array of integers as PostgreSQL writes it: six times faster than a list through psycopg (measured)."""
    return "{" + ",".join(map(str, column.tolist())) + "}"


def printable(text: str) -> str:
    """Text PostgreSQL can hold."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
