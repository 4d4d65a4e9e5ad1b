"""Stored data as blocks again, in event-time order per device: for detectors that start late, or twice.

Series come as two byte strings each, made by the database (8 bytes a value), so that a
million readings are a few arrays here and never a million rows. Late rows are left
out: detectors skip them. When a row arrived is not stored; ``received_us`` says what
to take for it. Refuses to write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, LiteralString

import numpy as np

from db.pool import Connection
from domain.clock import US_PER_S, from_us, to_us
from domain.readings import Block, CameraEvent, DeviceStatus, Float64, Int32, Int64, Position, Readings, Waveforms

PG_EPOCH_US = 946_684_800_000_000
SERIES_AT_ONCE = 1000
READINGS_AT_ONCE = 500_000
PACKETS_AT_ONCE = 500
PACKET_DEVICES_AT_ONCE = 200
STEPS_MAX = 600
DTYPES = {"f4": "<f4", "i2": "<i2"}

Received = Callable[[Int32, Int64], Int64]
"""(device, event time) → when the rows count as received, microseconds."""

TIMES_VALUES: LiteralString = """
string_agg(timestamptz_send(x.time), ''::bytea ORDER BY x.time),
string_agg(float8send(x.value), ''::bytea ORDER BY x.time)
"""
READINGS_BEHIND: LiteralString = (
    "SELECT s.device, s.metric, r.* "
    "FROM unnest(%s::int[], %s::int[], %s::timestamptz[]) AS s (device, metric, after)"
    " CROSS JOIN LATERAL (SELECT " + TIMES_VALUES + """
    FROM (SELECT time, value FROM reading
          WHERE device = s.device AND metric = s.metric AND time > s.after AND NOT late ORDER BY time LIMIT %s) AS x
) AS r (times, values) WHERE r.times IS NOT NULL"""
)
READINGS_WITHIN: LiteralString = (
    "SELECT x.device, x.metric, " + TIMES_VALUES + """
FROM reading AS x WHERE x.device = ANY(%s) AND x.metric = ANY(%s) AND x.time >= %s AND x.time < %s AND NOT x.late
GROUP BY x.device, x.metric"""
)
PACKET_COLUMNS: LiteralString = "time, device, rate_hz, unit, n, axes, encoding, scale, samples"
PACKETS_BEHIND: LiteralString = f"""
SELECT w.* FROM unnest(%s::int[], %s::timestamptz[]) AS s (device, after)
CROSS JOIN LATERAL (SELECT {PACKET_COLUMNS} FROM waveform
    WHERE device = s.device AND time > s.after AND NOT late ORDER BY time LIMIT %s) AS w ORDER BY w.time"""
PACKETS_WITHIN: LiteralString = f"""
SELECT {PACKET_COLUMNS} FROM waveform
WHERE device = ANY(%s) AND time >= %s AND time < %s AND NOT late ORDER BY time"""
POSITION_COLUMNS: LiteralString = "time, device, lon, lat, speed_kmh, heading_deg, bed, cover, seq"
POSITIONS_BEHIND: LiteralString = f"""
SELECT p.* FROM unnest(%s::int[], %s::timestamptz[]) AS s (device, after)
CROSS JOIN LATERAL (SELECT {POSITION_COLUMNS} FROM position
    WHERE device = s.device AND time > s.after AND NOT late ORDER BY time LIMIT %s) AS p ORDER BY p.time"""
POSITIONS_WITHIN: LiteralString = f"""
SELECT {POSITION_COLUMNS} FROM position
WHERE device = ANY(%s) AND time >= %s AND time < %s AND NOT late ORDER BY time"""
EVENT_COLUMNS: LiteralString = (
    "time, device, event_id, phase, type, score, box, objects, snapshot_url, clip_url, text"
)
# At one time a start comes before an update, and both before an end.
EVENT_ORDER: LiteralString = "time, array_position(ARRAY['start', 'update', 'end'], phase)"
EVENTS_BEHIND: LiteralString = f"""
SELECT {EVENT_COLUMNS} FROM (
    SELECT e.*, s.after FROM unnest(%s::int[], %s::timestamptz[]) AS s (device, after)
    JOIN camera_event e USING (device) WHERE e.time >= s.after AND NOT e.late) AS e
ORDER BY {EVENT_ORDER} LIMIT %s"""
EVENTS_WITHIN: LiteralString = f"""
SELECT {EVENT_COLUMNS} FROM camera_event
WHERE device = ANY(%s) AND time >= %s AND time < %s AND NOT late ORDER BY {EVENT_ORDER}"""

STATUS_COLUMNS: LiteralString = "time, device, online, battery_pct, rssi_dbm, firmware"
STATUSES_BEHIND: LiteralString = f"""
SELECT d.* FROM unnest(%s::int[], %s::timestamptz[]) AS s (device, after)
CROSS JOIN LATERAL (SELECT {STATUS_COLUMNS} FROM device_status
    WHERE device = s.device AND time > s.after ORDER BY time LIMIT %s) AS d ORDER BY d.time"""
STATUSES_WITHIN: LiteralString = f"""
SELECT {STATUS_COLUMNS} FROM device_status WHERE device = ANY(%s) AND time >= %s AND time < %s ORDER BY time"""
WITHIN: LiteralString = "time >= %s AND time < %s"
WITH_DATA: Mapping[str, LiteralString] = {
    "readings": "SELECT d FROM unnest(%s::int[]) AS d WHERE EXISTS ("
    "SELECT FROM reading WHERE device = d AND metric = ANY(%s) AND " + WITHIN + ")",
    **{
        stream: "SELECT d FROM unnest(%s::int[]) AS d WHERE EXISTS (SELECT FROM "
        + table
        + " WHERE device = d AND "
        + WITHIN
        + ")"
        for stream, table in (
            ("waveforms", "waveform"), ("positions", "position"), ("camera_events", "camera_event"),
            ("statuses", "device_status"),
        )
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Behind:
    """Series with rows that were not fed: per series (metric key or stream) the devices and after when."""

    device: Int32
    after_us: Int64

    def of(self, devices: Int32) -> Behind:
        """Those of some devices."""
        mine = np.isin(self.device, devices)
        return Behind(self.device[mine], self.after_us[mine])


def sampled(device: Int32, time_us: Int64) -> Int64:
    """Rows count as received when they were sampled."""
    return time_us


# ---------------------------------------------------------------- behind a checkpoint


async def readings_behind(
    conn: Connection, series: Mapping[int, Behind], received_us: Received, each_max: int
) -> AsyncIterator[Block]:
    """Readings after each series' time, at most ``each_max`` a series, in blocks."""
    pairs = [
        (device, metric, after)
        for metric, behind in series.items()
        for device, after in zip(behind.device.tolist(), behind.after_us.tolist(), strict=True)
    ]
    for at in range(0, len(pairs), SERIES_AT_ONCE):
        device, metric, after = zip(*pairs[at : at + SERIES_AT_ONCE], strict=True)
        asked = [list(device), list(metric), [from_us(us) for us in after], each_max]
        rows = await (await conn.execute(READINGS_BEHIND, asked)).fetchall()
        for readings in _readings(rows, received_us):
            yield block(readings=readings)


async def packets_behind(
    conn: Connection, behind: Behind, received_us: Received, each_max: int
) -> AsyncIterator[Block]:
    """Packets after each device's time, at most ``each_max`` a device."""
    step = PACKET_DEVICES_AT_ONCE
    for at in range(0, len(behind.device), step):
        asked = _asked(behind, at, step, each_max)
        rows = await (await conn.execute(PACKETS_BEHIND, asked)).fetchall()
        for part in range(0, len(rows), PACKETS_AT_ONCE):
            yield block(waveforms=_packets(rows[part : part + PACKETS_AT_ONCE], received_us))


async def positions_behind(
    conn: Connection, behind: Behind, received_us: Received, each_max: int
) -> AsyncIterator[Block]:
    """Positions after each vehicle's time."""
    for at in range(0, len(behind.device), SERIES_AT_ONCE):
        asked = _asked(behind, at, SERIES_AT_ONCE, each_max)
        rows = await (await conn.execute(POSITIONS_BEHIND, asked)).fetchall()
        yield block(positions=_positions(rows, received_us))


async def events_behind(
    conn: Connection, behind: Behind, received_us: Received, each_max: int
) -> AsyncIterator[Block]:
    """Camera events from each camera's time on (several messages share a time; a second time is harmless)."""
    for at in range(0, len(behind.device), SERIES_AT_ONCE):
        asked = _asked(behind, at, SERIES_AT_ONCE, each_max)
        rows = await (await conn.execute(EVENTS_BEHIND, asked)).fetchall()
        yield block(events=_events(rows, received_us))


async def statuses_behind(
    conn: Connection, behind: Behind, received_us: Received, each_max: int
) -> AsyncIterator[Block]:
    """What devices said of themselves after each one's time."""
    for at in range(0, len(behind.device), SERIES_AT_ONCE):
        asked = _asked(behind, at, SERIES_AT_ONCE, each_max)
        rows = await (await conn.execute(STATUSES_BEHIND, asked)).fetchall()
        yield block(statuses=_statuses(rows))


def _asked(behind: Behind, at: int, step: int, each_max: int) -> list[Any]:
    times = [from_us(us) for us in behind.after_us[at : at + step].tolist()]
    return [behind.device[at : at + step].tolist(), times, each_max]


# ---------------------------------------------------------------- within a window


async def readings_within(
    conn: Connection, devices: Sequence[int], metrics: Sequence[int], begin: datetime, end: datetime
) -> AsyncIterator[Block]:
    """Readings of some devices and metrics with begin <= time < end."""
    rows = await (await conn.execute(READINGS_WITHIN, [list(devices), list(metrics), begin, end])).fetchall()
    for readings in _readings(rows, sampled):
        yield block(readings=readings)


async def packets_within(
    conn: Connection, devices: Sequence[int], begin: datetime, end: datetime
) -> AsyncIterator[Block]:
    """Packets of some devices."""
    rows = await (await conn.execute(PACKETS_WITHIN, [list(devices), begin, end])).fetchall()
    for at in range(0, len(rows), PACKETS_AT_ONCE):
        yield block(waveforms=_packets(rows[at : at + PACKETS_AT_ONCE], sampled))


async def positions_within(
    conn: Connection, devices: Sequence[int], begin: datetime, end: datetime
) -> AsyncIterator[Block]:
    """Positions of some vehicles."""
    rows = await (await conn.execute(POSITIONS_WITHIN, [list(devices), begin, end])).fetchall()
    yield block(positions=_positions(rows, sampled))


async def events_within(
    conn: Connection, devices: Sequence[int], begin: datetime, end: datetime
) -> AsyncIterator[Block]:
    """Events of some cameras."""
    rows = await (await conn.execute(EVENTS_WITHIN, [list(devices), begin, end])).fetchall()
    yield block(events=_events(rows, sampled))


async def statuses_within(
    conn: Connection, devices: Sequence[int], begin: datetime, end: datetime
) -> AsyncIterator[Block]:
    """What some devices said of themselves."""
    rows = await (await conn.execute(STATUSES_WITHIN, [list(devices), begin, end])).fetchall()
    yield block(statuses=_statuses(rows))


async def with_data(
    conn: Connection, stream: str, devices: Sequence[int], metrics: Sequence[int], begin: datetime, end: datetime
) -> set[int]:
    """Which of these devices have anything of a stream within the window."""
    keys = list(devices)
    asked = [keys, list(metrics), begin, end] if stream == "readings" else [keys, begin, end]
    return {row[0] for row in await (await conn.execute(WITH_DATA[stream], asked)).fetchall()}


def merged(blocks: Sequence[Block], *, across_devices: bool = False) -> Iterator[Block]:
    """The same rows by the second in which each was complete, as they arrive live; at most ``STEPS_MAX`` steps.

    A detector that looks at two streams of a device must not see one of them whole before the
    other; what comes in one stream only is in order already, unless devices are compared.
    """
    readings = joined([b.readings for b in blocks if len(b.readings)])
    waveforms = [w for b in blocks for w in b.waveforms if len(w)]
    others: list[list[Any]] = [
        [p for b in blocks for p in b.positions],
        [e for b in blocks for e in b.camera_events],
        [s for b in blocks for s in b.statuses],
    ]
    if not across_devices and bool(len(readings)) + bool(waveforms) + sum(map(bool, others)) < 2:
        yield from blocks
        return
    for rows in others:
        rows.sort(key=lambda row: int(row.time_us))  # several queries, each in order
    seconds = [readings.time_us // US_PER_S, *(w.end_us // US_PER_S for w in waveforms)]
    seconds += [np.array([row.time_us // US_PER_S for row in rows], np.int64) for rows in others]
    steps = np.unique(np.concatenate(seconds))
    steps = np.append(steps[:: -(-len(steps) // STEPS_MAX) or 1], 1 << 62)
    for begin, end in pairwise(steps.tolist()):
        spans = [slice(*np.searchsorted(column, (begin, end)).tolist()) for column in seconds]
        packets = (_packets_of(w, span) for w, span in zip(waveforms, spans[1:], strict=False))
        positions, events, statuses = (tuple(rows[span]) for rows, span in zip(others, spans[-3:], strict=True))
        yield block(
            readings.take(spans[0]), tuple(w for w in packets if len(w)), events, positions, statuses
        )


def joined(parts: Sequence[Readings]) -> Readings:
    """Readings of several blocks as one, in the order of time."""
    if not parts:
        return NO_READINGS
    columns = [
        np.concatenate(column)
        for column in zip(*((p.device, p.metric, p.time_us, p.value, p.seq, p.received_us, p.late) for p in parts),
                          strict=True)
    ]  # fmt: skip
    order = np.argsort(columns[2], kind="stable")
    return Readings(*(column[order] for column in columns))


def _packets_of(w: Waveforms, take: slice) -> Waveforms:
    return Waveforms(
        w.device[take], w.start_us[take], w.rate_hz, w.unit, w.samples[take], w.axes[take], w.seq[take],
        w.received_us[take], w.late[take],
    )  # fmt: skip


# ---------------------------------------------------------------- rows to columns


def block(
    readings: Readings | None = None,
    waveforms: tuple[Waveforms, ...] = (),
    events: tuple[CameraEvent, ...] = (),
    positions: tuple[Position, ...] = (),
    statuses: tuple[DeviceStatus, ...] = (),
) -> Block:
    """A block of what is given."""
    return Block(NO_READINGS if readings is None else readings, waveforms, statuses, events, positions, 0)


def rows_of(block: Block) -> int:
    """Rows of all streams."""
    packets = sum(len(w) for w in block.waveforms)
    others = len(block.positions) + len(block.camera_events) + len(block.statuses)
    return len(block.readings) + packets + others


def _readings(rows: Sequence[Sequence[Any]], received_us: Received) -> Iterator[Readings]:
    """Series as columns in the order of time, at most READINGS_AT_ONCE a piece."""
    if not rows:
        return
    time_us = [np.frombuffer(times, ">i8").astype(np.int64) + PG_EPOCH_US for _, _, times, _ in rows]
    count = [len(times) for times in time_us]
    device = np.repeat(np.array([row[0] for row in rows], np.int32), count)
    metric = np.repeat(np.array([row[1] for row in rows], np.int32), count)
    values = [np.frombuffer(v, ">f8").astype(np.float64) for _, _, _, v in rows]
    times, value = np.concatenate(time_us), np.concatenate(values)
    order = np.argsort(times, kind="stable")
    for at in range(0, len(order), READINGS_AT_ONCE):
        yield _columns(device, metric, times, value, order[at : at + READINGS_AT_ONCE], received_us)


def _columns(
    device: Int32, metric: Int32, time_us: Int64, value: Float64, take: Any, received_us: Received
) -> Readings:
    d, t = device[take], time_us[take]
    seq, late = np.full(len(d), -1, np.int64), np.zeros(len(d), np.bool_)
    return Readings(d, metric[take], t, value[take], seq, received_us(d, t), late)


NO_READINGS = _columns(
    np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.intp), sampled
)


def _packets(rows: Sequence[Sequence[Any]], received_us: Received) -> tuple[Waveforms, ...]:
    """Rows of PACKET_COLUMNS as blocks of one shape; a device's packets stay in the order of time."""
    groups: list[list[Sequence[Any]]] = []
    newest_of_shape: dict[tuple[float, int, str], int] = {}
    newest_of_device: dict[int, int] = {}
    for row in rows:
        _, device, rate_hz, unit, n, *_ = row
        at = newest_of_shape.get((rate_hz, n, unit), -1)
        if at < newest_of_device.get(device, 0):
            at = newest_of_shape[rate_hz, n, unit] = len(groups)
            groups.append([])
        groups[at].append(row)
        newest_of_device[device] = at
    return tuple(_shape(group, received_us) for group in groups)


def _shape(rows: Sequence[Sequence[Any]], received_us: Received) -> Waveforms:
    device = np.array([row[1] for row in rows], np.int32)
    start_us = np.array([to_us(row[0]) for row in rows], np.int64)
    samples = np.stack(
        [
            np.multiply(np.frombuffer(body, DTYPES[encoding]).reshape(3, n), scale, dtype=np.float32)
            for _, _, _, _, n, _, encoding, scale, body in rows
        ]
    )
    axes = np.array([[bool(row[5] >> bit & 1) for bit in range(3)] for row in rows], np.bool_)
    ones = np.ones(len(rows), np.int64)
    return Waveforms(
        device, start_us, rows[0][2], rows[0][3], samples, axes, -ones, received_us(device, start_us),
        np.zeros(len(rows), np.bool_),
    )  # fmt: skip


def _when(device: int, time_us: int, received_us: Received) -> int:
    return int(received_us(np.array([device], np.int32), np.array([time_us], np.int64))[0])


def _positions(rows: Sequence[Sequence[Any]], received_us: Received) -> tuple[Position, ...]:
    return tuple(
        Position(
            device, us := to_us(time), seq, _when(device, us, received_us), False, lon, lat, speed, heading,
            bed, cover,
        )
        for time, device, lon, lat, speed, heading, bed, cover, seq in rows
    )  # fmt: skip


def _statuses(rows: Sequence[Sequence[Any]]) -> tuple[DeviceStatus, ...]:
    return tuple(DeviceStatus(device, to_us(time), *said) for time, device, *said in rows)


def _events(rows: Sequence[Sequence[Any]], received_us: Received) -> tuple[CameraEvent, ...]:
    return tuple(
        CameraEvent(
            device, event_id, phase, us := to_us(time), _when(device, us, received_us), False, kind, score,
            tuple(box) if box else None, tuple(objects), snapshot, clip, text,
        )
        for time, device, event_id, phase, kind, score, box, objects, snapshot, clip, text in rows
    )  # fmt: skip
