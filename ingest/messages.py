"""From deliveries to checked values, one message at a time. Pure.

``decode`` turns every message into a checked value or a refusal; nothing is
dropped. Which device and metric have which key is the registry's business, laying
values out as columns is ``batching``'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

import msgspec

from domain.errors import PayloadError
from ingest.codec import (
    CameraEventMessage,
    Decoding,
    Packet,
    PositionMessage,
    StatusMessage,
    Values,
    check_seq,
    decode_camera_event,
    decode_position,
    decode_readings,
    decode_status,
    decode_waveform,
)
from ingest.topics import Topic, parse_topic

CLOCK_PROPERTY = "gridpulse-clock"

Content = Values | Packet | StatusMessage | CameraEventMessage | PositionMessage


# msgspec structs where there is one for each message: they are made four times faster than dataclasses.
class Message(msgspec.Struct, frozen=True, gc=False):
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


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """A message that keeps all rules: ``clock_us`` its arrival (wall or run clock), ``time_us`` its own."""

    message: Message
    topic: Topic
    clock_us: int
    time_us: int
    content: Content


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that goes to quarantine, and why."""

    message: Message
    device_id: str | None
    run: str | None
    reason: str
    detail: str


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
            refused.append(refusal(message, topic, error))
        except Exception as error:  # noqa: BLE001  ours to mend, but one message must not stop the stream
            ours = PayloadError("decoder_error", f"{type(error).__name__}: {error}")
            refused.append(refusal(message, topic, ours))
    return decoded, refused


def refusal(message: Message, topic: Topic | None, why: PayloadError) -> Refusal:
    """A message refused before its device was looked up."""
    device_id, run = (topic.device_id, topic.run) if topic else (None, None)
    return Refusal(message, device_id, run, why.reason, why.detail)


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
    values = decode_readings(payload, decoding)
    return values, values.time_us[-1]


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
    return {name for d in decoded if isinstance(d.content, Values) for name in d.content.metric}
