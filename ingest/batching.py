"""From messages to columns: what one commit will make durable. Pure.

Two steps with the registry between them: ``decode`` turns every message into a
checked value or a refusal, ``assemble`` lays the values out as columns once all
devices and metrics have keys. Nothing is dropped: each message ends up as rows or
as a refusal, and ``assemble`` can be called on any part of a batch, so that a
message the database will not take can be found and put aside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo

import numpy as np

from domain.errors import PayloadError
from domain.readings import Block, CameraEvent, DeviceStatus, Int32, Position, Readings, Waveforms
from geo.datum import to_wgs84
from ingest.codec import (
    CameraEventMessage,
    Decoding,
    Packet,
    PositionMessage,
    Reading,
    StatusMessage,
    check_seq,
    decode_camera_event,
    decode_position,
    decode_readings,
    decode_status,
    decode_waveform,
)
from ingest.timeliness import Timeliness
from ingest.topics import Topic, parse_topic

CLOCK_PROPERTY = "gridpulse-clock"

READINGS_SERIES_OFFSET = 4
"""Series numbers 1..3 of a device are its packets, positions and camera events; metrics follow."""

PACKETS, POSITIONS, CAMERA_EVENTS = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery: ``clock`` is the run's clock as sent, ``redelivered`` MQTT's DUP flag."""

    topic: str
    payload: bytes
    received_us: int
    clock: str | None
    redelivered: bool
    epoch: int
    packet_id: int | None

    @property
    def digest(self) -> bytes:
        """SHA-256 over topic and payload: the same message in quarantine once."""
        return hashlib.sha256(self.topic.encode() + b"\0" + self.payload).digest()


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator allows; zone of zone-less times."""

    zone: tzinfo
    auto_register: bool
    runs_as_live: bool


Content = list[Reading] | Packet | StatusMessage | CameraEventMessage | PositionMessage


@dataclass(frozen=True, slots=True)
class Decoded:
    """A message that keeps all rules: ``clock_us`` its arrival (wall or run clock), ``time_us`` its own."""

    message: Message
    topic: Topic
    clock_us: int
    time_us: int
    content: Content

    @property
    def identity(self) -> tuple[str, str | None]:
        """The device's id and run."""
        return self.topic.device_id, self.topic.run


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that goes to quarantine, and why."""

    message: Message
    device_id: str | None
    run: str | None
    reason: str
    detail: str


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
        mask = np.isin(self.readings_message, np.array(wanted, dtype=np.int32))
        return Rows(
            decoded=[self.decoded[index] for index in wanted],
            device=self.device[list(wanted)],
            readings=Readings(
                r.device[mask], r.metric[mask], r.time_us[mask], r.value[mask], r.seq[mask], r.received_us[mask],
                r.late[mask],
            ),
            readings_message=np.array([place[m] for m in self.readings_message[mask].tolist()], dtype=np.int32),
            packets=[(place[m], *row) for m, *row in self.packets if m in place],  # type: ignore[misc]
            statuses=[(place[m], status) for m, status in self.statuses if m in place],
            camera_events=[(place[m], event) for m, event in self.camera_events if m in place],
            positions=[(place[m], position) for m, position in self.positions if m in place],
        )  # fmt: skip

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
        """The packets as blocks of one rate, length and unit each."""
        groups: dict[tuple[float, int, str], list[tuple[int, int, Packet, bool]]] = {}
        for row in self.packets:
            packet = row[2]
            groups.setdefault((packet.rate_hz, packet.samples.shape[1], packet.unit), []).append(row)
        return tuple(self._waveform_block(rate_hz, unit, rows) for (rate_hz, _, unit), rows in groups.items())

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


def decode(messages: Sequence[Message], rules: Rules) -> tuple[list[Decoded], list[Refusal]]:
    """Check every message; messages that are not for us (commands to devices) are in neither list."""
    decoded: list[Decoded] = []
    refused: list[Refusal] = []
    for message in messages:
        topic: Topic | None = None
        try:
            topic = parse_topic(message.topic)
            if topic is not None:
                decoded.append(decode_one(message, topic, rules))
        except PayloadError as error:
            device_id, run = (topic.device_id, topic.run) if topic else (None, None)
            refused.append(Refusal(message, device_id, run, error.reason, error.detail))
    return decoded, refused


def decode_one(message: Message, topic: Topic, rules: Rules) -> Decoded:
    """One message by its topic's kind. Raises: PayloadError."""
    if topic.live and not rules.runs_as_live:
        raise PayloadError("live_run", "runs may not act as live traffic here (GRIDPULSE_RUNS_AS_LIVE)")
    clock_us = arrival_clock_us(message, topic)
    decoding = Decoding(clock_us, rules.zone)
    content, time_us = DECODERS[topic.kind](message.payload, decoding)
    return Decoded(message, topic, clock_us, time_us, content)


def arrival_clock_us(message: Message, topic: Topic) -> int:
    """The run's clock where a run states one, else the arrival. Raises: PayloadError ``bad_clock``."""
    if message.clock is None or not (topic.live or topic.run):
        return message.received_us
    try:
        clock_us = round(float(message.clock) * 1e6)
    except (ValueError, OverflowError) as error:
        raise PayloadError("bad_clock", f"{CLOCK_PROPERTY} is not epoch seconds: {message.clock[:40]!r}") from error
    if not 0 < clock_us < 2**55:
        raise PayloadError("bad_clock", f"{CLOCK_PROPERTY} lies outside all calendars: {message.clock[:40]!r}")
    return clock_us


def _readings(payload: bytes, decoding: Decoding) -> tuple[Content, int]:
    readings = decode_readings(payload, decoding)
    return readings, readings[-1].time_us


def _waveform(payload: bytes, decoding: Decoding) -> tuple[Content, int]:
    packet = decode_waveform(payload, decoding)
    return packet, packet.start_us


def _status(payload: bytes, decoding: Decoding) -> tuple[Content, int]:
    status = decode_status(payload)
    return status, decoding.clock_us if status.t is None else decoding.time(status.t)


def _camera_event(payload: bytes, decoding: Decoding) -> tuple[Content, int]:
    event = decode_camera_event(payload)
    return event, decoding.time(event.t)


def _position(payload: bytes, decoding: Decoding) -> tuple[Content, int]:
    position = decode_position(payload)
    check_seq(position.seq)
    return position, decoding.time(position.t)


DECODERS: Mapping[str, Callable[[bytes, Decoding], tuple[Content, int]]] = {
    "readings": _readings,
    "waveform": _waveform,
    "status": _status,
    "camera_event": _camera_event,
    "position": _position,
}


def metric_names(decoded: Sequence[Decoded]) -> set[str]:
    """All metrics the readings name."""
    return {
        name
        for d in decoded
        if isinstance(d.content, list)
        for reading in d.content
        for name in reading.values
    }


def series_of(
    decoded: Sequence[Decoded], keys: Mapping[tuple[str, str | None], int], metrics: Mapping[str, int]
) -> set[tuple[int, int]]:
    """The (device, series) pairs whose lateness these messages ask for."""
    wanted: set[tuple[int, int]] = set()
    for d in decoded:
        key = keys[d.identity]
        if isinstance(d.content, list):
            names = {name for reading in d.content for name in reading.values}
            wanted.update((key, metrics[name] + READINGS_SERIES_OFFSET) for name in names)
        elif isinstance(d.content, Packet):
            wanted.add((key, PACKETS))
        elif isinstance(d.content, PositionMessage):
            wanted.add((key, POSITIONS))
    return wanted


def assemble(
    decoded: Sequence[Decoded],
    keys: Mapping[tuple[str, str | None], int],
    metrics: Mapping[str, int],
    timeliness: Timeliness,
) -> Rows:
    """Columns of messages whose devices (``keys``) and metrics all have keys.

    ``timeliness`` learns what is newest; late marks what is not newer.
    """
    device = np.fromiter((keys[d.identity] for d in decoded), dtype=np.int32, count=len(decoded))
    readings, message = readings_columns(decoded, device, metrics, timeliness)
    rows = Rows(decoded, device, readings, message)
    for index, d in enumerate(decoded):
        key = int(device[index])
        match d.content:
            case Packet() as packet:
                late = timeliness.one(key, PACKETS, packet.start_us, d.message.redelivered)
                rows.packets.append((index, key, packet, late))
            case StatusMessage() as status:
                rows.statuses.append((index, device_status(key, d.time_us, status)))
            case CameraEventMessage() as event:
                late = timeliness.one(key, CAMERA_EVENTS, d.time_us - 1, d.message.redelivered)
                rows.camera_events.append((index, camera_event(key, d, event, late)))
            case PositionMessage() as position:
                late = timeliness.one(key, POSITIONS, d.time_us, d.message.redelivered)
                rows.positions.append((index, vehicle_position(key, d, position, late)))
            case _:
                pass  # readings: done above, as columns
    return rows


def readings_columns(
    decoded: Sequence[Decoded], device: Int32, metrics: Mapping[str, int], timeliness: Timeliness
) -> tuple[Readings, Int32]:
    """All scalar readings of the batch, and the message each row came from."""
    message: list[int] = []
    metric: list[int] = []
    time_us: list[int] = []
    value: list[float] = []
    seq: list[int] = []
    for index, d in enumerate(decoded):
        if not isinstance(d.content, list):
            continue
        for reading in d.content:
            n = len(reading.values)
            message += [index] * n
            time_us += [reading.time_us] * n
            seq += [reading.seq] * n
            metric += [metrics[name] for name in reading.values]
            value += reading.values.values()
    rows = np.array(message, dtype=np.int32)
    redelivered = np.fromiter((d.message.redelivered for d in decoded), dtype=np.bool_, count=len(decoded))
    clock = np.fromiter((d.clock_us for d in decoded), dtype=np.int64, count=len(decoded))
    metric_key = np.array(metric, dtype=np.int32)
    times = np.array(time_us, dtype=np.int64)
    late = timeliness.many(
        device[rows], metric_key.astype(np.int64) + READINGS_SERIES_OFFSET, times, redelivered[rows]
    )
    readings = Readings(
        device=device[rows],
        metric=metric_key,
        time_us=times,
        value=np.array(value, dtype=np.float64),
        seq=np.array(seq, dtype=np.int64),
        received_us=clock[rows],
        late=late,
    )
    return readings, rows


def device_status(key: int, time_us: int, status: StatusMessage) -> DeviceStatus:
    """The domain's word for a status message."""
    return DeviceStatus(key, time_us, status.online, status.battery_pct, status.rssi_dbm, status.firmware)


def camera_event(key: int, decoded: Decoded, event: CameraEventMessage, late: bool) -> CameraEvent:
    """The domain's word for a camera's message."""
    return CameraEvent(
        device=key, event_id=event.event_id, phase=event.phase, time_us=decoded.time_us,
        received_us=decoded.clock_us, late=late, type=event.type, score=event.score, box=event.box,
        objects=event.objects, snapshot_url=event.snapshot_url, clip_url=event.clip_url, text=event.text,
    )  # fmt: skip


def vehicle_position(key: int, decoded: Decoded, position: PositionMessage, late: bool) -> Position:
    """The domain's word for a position, now in WGS-84."""
    lon, lat = to_wgs84(position.lon, position.lat, position.datum)
    return Position(
        device=key, time_us=decoded.time_us, seq=check_seq(position.seq), received_us=decoded.clock_us,
        late=late, lon=float(lon), lat=float(lat), speed_kmh=position.speed_kmh,
        heading_deg=position.heading_deg, bed=position.bed, cover=position.cover,
    )  # fmt: skip
