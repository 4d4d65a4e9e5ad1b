"""From checked messages to columns: what one commit will make durable. Pure.

``assemble`` and ``lay_out`` make the columns once all devices and metrics have keys;
``mark_late`` compares them with what came before. ``part`` makes the same columns
for some of the messages, so that one the database will not take can be found and
put aside, and ``lanes`` for several transactions at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from domain.readings import (
    Block,
    CameraEvent,
    DeviceStatus,
    Int32,
    Int64,
    Position,
    Readings,
    Waveforms,
)
from geo.datum import to_wgs84
from ingest.codec import CameraEventMessage, Packet, PositionMessage, StatusMessage, Values, check_seq
from ingest.columns import ReadingColumns
from ingest.messages import Decoded
from ingest.timeliness import Timeliness

PACKETS, POSITIONS, CAMERA_EVENTS = 1, 2, 3
EVENT_TYPE_SERIES = 1 << 23
EVENT_TYPE_MASK = 0x3FF
"""A camera's events of one type are a series of their own, as its detector takes them: a tracked car
must not make a fire late. Types are hashed to so many series, so that senders cannot grow them without end."""

READINGS_SERIES_OFFSET = 4
"""Series numbers 1..3 of a device are its packets, positions and camera events; its metrics follow."""

LANE_ROWS = 4_000
"""Readings of a part that is worth a transaction of its own."""

Keys = Mapping[tuple[str, str | None], int]
"""(id, run) of a device → its key."""


@dataclass(slots=True)
class Rows:
    """The columns of one commit; ``*_message`` name the row of ``decoded`` each row came from."""

    decoded: Sequence[Decoded]
    device: Int32
    readings: Readings
    readings_message: Int32
    packets: list[tuple[int, int, Packet, bool]] = field(default_factory=list)
    statuses: list[tuple[int, DeviceStatus]] = field(default_factory=list)
    camera_events: list[tuple[int, CameraEvent]] = field(default_factory=list)
    positions: list[tuple[int, Position]] = field(default_factory=list)

    @property
    def redelivered(self) -> bool:
        """Whether some of it may be stored already."""
        return any(d.message.redelivered for d in self.decoded)

    def part(self, wanted: Sequence[int]) -> Rows:
        """The rows of some messages only (indices into ``decoded``), with their lateness as it was found."""
        place = {old: new for new, old in enumerate(wanted)}
        r = self.readings
        message = np.full(len(self.decoded), -1, dtype=np.int32)
        message[list(wanted)] = np.arange(len(wanted), dtype=np.int32)
        message = message[self.readings_message]
        mask = message >= 0
        return Rows(
            decoded=[self.decoded[index] for index in wanted],
            device=self.device[list(wanted)],
            readings=r.take(mask),
            readings_message=message[mask],
            packets=[(place[m], *row) for m, *row in self.packets if m in place],  # type: ignore[misc]
            statuses=[(place[m], status) for m, status in self.statuses if m in place],
            camera_events=[(place[m], event) for m, event in self.camera_events if m in place],
            positions=[(place[m], position) for m, position in self.positions if m in place],
        )  # fmt: skip

    def lanes(self, count: int) -> list[Rows]:
        """Itself, or when it is large up to ``count`` parts, each with all messages of its devices."""
        count = min(count, len(self.readings) // LANE_ROWS)
        if count < 2:
            return [self]
        wanted = [np.flatnonzero(self.device % count == lane).tolist() for lane in range(count)]
        return [self.part(messages) for messages in wanted if messages]

    def block(self, committed_us: int) -> Block:
        """What detectors and live feeds see of this commit."""
        return Block(
            readings=self.readings,
            waveforms=self.waveforms(),
            statuses=tuple(status for _, status in self.statuses),
            camera_events=tuple(event for _, event in self.camera_events),
            positions=tuple(position for _, position in self.positions),
            committed_us=committed_us,
        )

    def waveforms(self) -> tuple[Waveforms, ...]:
        """The packets as blocks of one rate, length and unit each.

        A device's packets stay in the order received across blocks: when its shape
        changes, the packet goes into a block that comes after its last one.
        """
        blocks: list[list[tuple[int, int, Packet, bool]]] = []
        newest_of_shape: dict[tuple[float, int, str], int] = {}
        newest_of_device: dict[int, int] = {}
        for row in self.packets:
            _, device, packet, _ = row
            shape = (packet.rate_hz, packet.samples.shape[1], packet.unit)
            at = newest_of_shape.get(shape, -1)
            if at < newest_of_device.get(device, 0):
                at = newest_of_shape[shape] = len(blocks)
                blocks.append([])
            blocks[at].append(row)
            newest_of_device[device] = at
        return tuple(self._waveform_block(rows[0][2].rate_hz, rows[0][2].unit, rows) for rows in blocks)

    def _waveform_block(self, rate_hz: float, unit: str, rows: list[tuple[int, int, Packet, bool]]) -> Waveforms:
        return Waveforms(
            device=np.array([device for _, device, _, _ in rows], dtype=np.int32),
            start_us=np.array([packet.start_us for _, _, packet, _ in rows], dtype=np.int64),
            rate_hz=rate_hz,
            unit=unit,
            samples=np.stack([packet.samples for _, _, packet, _ in rows]),
            axes=np.array([packet.axes for _, _, packet, _ in rows], dtype=np.bool_),
            seq=np.array([packet.seq for _, _, packet, _ in rows], dtype=np.int64),
            received_us=np.array([self.decoded[m].clock_us for m, _, _, _ in rows], dtype=np.int64),
            late=np.array([late for _, _, _, late in rows], dtype=np.bool_),
        )


def assemble(decoded: Sequence[Decoded], keys: Keys, metrics: Mapping[str, int]) -> Rows:
    """Columns of messages checked one by one, whose devices (``keys``) and metrics all have keys."""
    device = np.fromiter(
        (keys[d.topic.device_id, d.topic.run] for d in decoded), dtype=np.int32, count=len(decoded)
    )
    return lay_out(decoded, device, metrics, ReadingColumns.none())


def lay_out(decoded: Sequence[Decoded], device: Int32, metrics: Mapping[str, int], columns: ReadingColumns) -> Rows:
    """The rows of messages with device keys ``device (messages,)``; nothing is late yet.

    ``columns``: the readings that are columns already; the contents of ``decoded`` come to them.
    """
    others = [(index, d) for index, d in enumerate(decoded) if d.content is not None]
    if others:
        values = [(index, d.content) for index, d in others if type(d.content) is Values]
        columns = ReadingColumns.of_values(values).merged(columns) if values else columns
    rows = Rows(decoded, device, readings_of(decoded, device, metrics, columns), columns.message)
    for index, d in others:
        key = int(device[index])
        match d.content:
            case Packet() as packet:
                rows.packets.append((index, key, packet, False))
            case StatusMessage() as status:
                rows.statuses.append((index, device_status(key, d.time_us, status)))
            case CameraEventMessage() as event:
                rows.camera_events.append((index, camera_event(key, d, event)))
            case PositionMessage() as position:
                rows.positions.append((index, vehicle_position(key, d, position)))
    return rows


def readings_of(
    decoded: Sequence[Decoded], device: Int32, metrics: Mapping[str, int], columns: ReadingColumns
) -> Readings:
    """All scalar readings of the batch, with keys."""
    clock = np.fromiter((d.clock_us for d in decoded), dtype=np.int64, count=len(decoded))
    return Readings(
        device=device[columns.message],
        metric=np.fromiter(map(metrics.__getitem__, columns.metric), dtype=np.int32, count=len(columns)),
        time_us=columns.time_us,
        value=columns.value,
        seq=columns.seq,
        received_us=clock[columns.message],
        late=np.zeros(len(columns), dtype=np.bool_),
    )


def series_of(rows: Rows) -> tuple[Int32, Int64]:
    """The (device, series) of every row whose lateness is asked: readings, packets, positions."""
    packets = [device for _, device, _, _ in rows.packets]
    positions = [position.device for _, position in rows.positions]
    device = np.concatenate([rows.readings.device, np.array(packets + positions, dtype=np.int32)])
    series = np.concatenate([
        rows.readings.metric.astype(np.int64) + READINGS_SERIES_OFFSET,
        np.array([PACKETS] * len(packets) + [POSITIONS] * len(positions), dtype=np.int64),
    ])  # fmt: skip
    return device.astype(np.int32), series


def mark_late(rows: Rows, timeliness: Timeliness) -> None:
    """Mark what is not newer than the newest of its series; ``timeliness`` learns what is newest now."""
    n = len(rows.decoded)
    again = np.fromiter((d.message.redelivered for d in rows.decoded), dtype=np.bool_, count=n)
    r = rows.readings
    series = r.metric.astype(np.int64) + READINGS_SERIES_OFFSET
    r.late[:] = timeliness.many(r.device, series, r.time_us, r.received_us, again[rows.readings_message])

    clock = np.fromiter((d.clock_us for d in rows.decoded), dtype=np.int64, count=n)

    def late(found: Sequence[tuple[int, int, int, int]]) -> list[bool]:
        """Of (message, device, series, event time) rows of one kind."""
        message, device, series, time_us = np.array(found, dtype=np.int64).reshape(-1, 4).T
        marks = timeliness.many(device.astype(np.int32), series, time_us, clock[message], again[message])
        return list(map(bool, marks))

    marks = late([(m, device, PACKETS, packet.start_us) for m, device, packet, _ in rows.packets])
    rows.packets = [(*row[:3], mark) for row, mark in zip(rows.packets, marks, strict=True)]
    marks = late([(m, p.device, POSITIONS, p.time_us) for m, p in rows.positions])
    rows.positions = [(m, replace(p, late=mark)) for (m, p), mark in zip(rows.positions, marks, strict=True)]
    # The phases of one event may share a time, so only an earlier one is late.
    marks = late([(m, e.device, event_series(e.type), e.time_us - 1) for m, e in rows.camera_events])
    rows.camera_events = [
        (m, replace(e, late=mark)) for (m, e), mark in zip(rows.camera_events, marks, strict=True)
    ]


def event_series(type_: str) -> int:
    """The series of a camera's events of this type."""
    return EVENT_TYPE_SERIES + (zlib.crc32(type_.encode()) & EVENT_TYPE_MASK)


def device_status(key: int, time_us: int, status: StatusMessage) -> DeviceStatus:
    """The domain's word for a status message."""
    return DeviceStatus(key, time_us, status.online, status.battery_pct, status.rssi_dbm, status.firmware)


def camera_event(key: int, decoded: Decoded, event: CameraEventMessage) -> CameraEvent:
    """The domain's word for a camera's message."""
    return CameraEvent(
        device=key, event_id=event.event_id, phase=event.phase, time_us=decoded.time_us,
        received_us=decoded.clock_us, late=False, type=event.type, score=event.score, box=event.box,
        objects=event.objects, snapshot_url=event.snapshot_url, clip_url=event.clip_url, text=event.text,
    )  # fmt: skip


def vehicle_position(key: int, decoded: Decoded, position: PositionMessage) -> Position:
    """The domain's word for a position, now in WGS-84."""
    lon, lat = to_wgs84(position.lon, position.lat, position.datum)
    return Position(
        device=key, time_us=decoded.time_us, seq=check_seq(position.seq), received_us=decoded.clock_us,
        late=False, lon=float(lon), lat=float(lat), speed_kmh=position.speed_kmh,
        heading_deg=position.heading_deg, bed=position.bed, cover=position.cover,
    )  # fmt: skip
