"""Payloads of the contract, section 4: bytes in, checked values out, or PayloadError.

Units, limits, NaN, zones and datums are settled here; below this module types are
the proof. JSON and MessagePack carry the same keys; the first byte tells them
apart (no JSON text begins with a byte that begins a MessagePack map or array).

    readings        {"t": T, "seq": 17, "values": {"tilt_x_deg": 0.12}} or a list of such
    waveform        {"t": T, "seq": 17, "rate_hz": 100, "unit": "m/s2"|"gal"|"mm/s", "x": […], "y": […], "z": […]}
                    MessagePack: x, y, z may be little-endian int16 bytes with "scale"
    status          {"online": true, "battery_pct": 88, "rssi_dbm": -71, "firmware": "1.4.2"}
    camera_event    {"event_id", "phase", "t", "type", "score", "box", "objects", "snapshot_url", …}
    position        {"t": T, "seq": 3, "lon", "lat", "datum", "speed_kmh", "heading_deg", "bed", "cover"}
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from domain.errors import PayloadError
from domain.readings import NO_SEQ, Float32
from ingest.times import check_plausible, parse_time, parse_times

PAYLOAD_BYTES_MAX = 256 * 1024
VALUES_MAX = 10_000
PACKED_FROM = 0x80
"""First bytes from here on begin a MessagePack map or array, lower ones JSON."""
METRIC = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
RATE_HZ_MIN, RATE_HZ_MAX = 1e-4, 20_000.0
SEQ_MAX = 2**62
GAL_IN_M_S2 = 0.01
AXES = ("x", "y", "z")

UNITS = {"m/s2": ("m/s2", 1.0), "gal": ("m/s2", GAL_IN_M_S2), "mm/s": ("mm/s", 1.0)}
"""Unit given → (unit kept, factor)."""

# PostgreSQL's text cannot hold a NUL, so none gets in.
ShortText = Annotated[str, msgspec.Meta(max_length=128, pattern="^[^\\x00]*$")]
LongText = Annotated[str, msgspec.Meta(max_length=1000, pattern="^[^\\x00]*$")]


class ReadingsMessage(msgspec.Struct, gc=False):
    """One reading of several metrics at one time."""

    t: float | int | str
    values: dict[str, float]
    seq: int | None = None


class WaveformMessage(msgspec.Struct, gc=False):
    """One packet of samples; ``t`` is the time of the first."""

    t: float | int | str
    rate_hz: float
    unit: Literal["m/s2", "gal", "mm/s"]
    seq: int | None = None
    scale: float | None = None
    x: Any = None
    y: Any = None
    z: Any = None


class StatusMessage(msgspec.Struct, gc=False):
    """A device's word about itself; the last will has only ``online``."""

    online: bool | None = None
    battery_pct: float | None = None
    rssi_dbm: float | None = None
    firmware: ShortText | None = None
    t: float | int | str | None = None


class CameraEventMessage(msgspec.Struct, gc=False):
    """One message of a camera's event."""

    event_id: ShortText
    phase: Literal["start", "update", "end"]
    t: float | int | str
    type: ShortText
    score: float | None = None
    box: tuple[float, float, float, float] | None = None
    objects: tuple[ShortText, ...] = ()
    snapshot_url: LongText | None = None
    clip_url: LongText | None = None
    text: LongText | None = None


class PositionMessage(msgspec.Struct, gc=False):
    """One vehicle position in a stated datum."""

    t: float | int | str
    lon: float
    lat: float
    datum: Literal["wgs84", "gcj02", "bd09", "cgcs2000"]
    seq: int | None = None
    speed_kmh: float | None = None
    heading_deg: float | None = None
    bed: Literal["loaded", "empty"] | None = None
    cover: Literal["closed", "open"] | None = None


class Values(msgspec.Struct, frozen=True, gc=False):
    """The values of one message as columns of one length, in the order given.

    ``time_us``, ``seq``, ``metric`` (its name) and ``value`` of each.
    """

    time_us: list[int]
    seq: list[int]
    metric: list[str]
    value: list[float]


@dataclass(frozen=True, slots=True)
class Packet:
    """One waveform packet. ``samples (3, n)`` in ``unit``; ``raw`` are the int16 samples as sent, if so sent."""

    start_us: int
    seq: int
    rate_hz: float
    unit: str
    samples: Float32
    axes: tuple[bool, bool, bool]
    raw: bytes | None
    scale: float


class Decoding(msgspec.Struct, frozen=True, gc=False):
    """What decoding needs besides the bytes: the arrival clock and the zone of zone-less times."""

    clock_us: int
    zone: tzinfo

    def time(self, value: float | int | str) -> int:
        """A checked event time in microseconds. Raises: PayloadError."""
        time_us = parse_time(value, self.zone)
        check_plausible(time_us, self.clock_us)
        return time_us

    def times(self, values: list[float | int | str]) -> list[int]:
        """The same for many at once. Raises: PayloadError."""
        times_us = parse_times(values, self.zone)
        check_plausible(max(times_us), self.clock_us)
        check_plausible(min(times_us), self.clock_us)
        return times_us


class _Format:
    """The two decoders of one message type."""

    def __init__(self, type_: Any) -> None:
        self.json: Callable[[bytes], Any] = msgspec.json.Decoder(type_).decode
        self.msgpack: Callable[[bytes], Any] = msgspec.msgpack.Decoder(type_).decode

    def __call__(self, payload: bytes) -> Any:
        if not payload:
            raise PayloadError("empty", "the payload has no bytes")
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise PayloadError("too_large", f"{len(payload)} bytes, more than {PAYLOAD_BYTES_MAX}")
        packed = payload[0] >= PACKED_FROM
        try:
            return self.msgpack(payload) if packed else self.json(payload)
        except msgspec.ValidationError as error:
            raise PayloadError("wrong_type", str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = "not_msgpack" if packed else "not_json"
            raise PayloadError(reason, str(error)) from error


READINGS = _Format(ReadingsMessage | list[ReadingsMessage])
WAVEFORM = _Format(WaveformMessage)
STATUS = _Format(StatusMessage)
CAMERA_EVENT = _Format(CameraEventMessage)
POSITION = _Format(PositionMessage)


def decode_readings(payload: bytes, decoding: Decoding) -> Values:
    """One or more readings. Raises: PayloadError; one bad item refuses the whole message."""
    decoded = READINGS(payload)
    if isinstance(decoded, list):
        return many_readings(decoded, decoding)
    message: ReadingsMessage = decoded
    n = len(message.values)
    metric, value = list(message.values), list(message.values.values())
    check_values(metric, value)
    time_us = decoding.time(message.t)
    seq = NO_SEQ if message.seq is None else check_seq(message.seq)
    return Values([time_us] * n, [seq] * n, metric, value)


def many_readings(messages: list[ReadingsMessage], decoding: Decoding) -> Values:
    """The columns of a list of readings. Raises: PayloadError."""
    metric = [name for message in messages for name in message.values]
    value = [v for message in messages for v in message.values.values()]
    check_values(metric, value)
    times = decoding.times([message.t for message in messages])
    seqs = [NO_SEQ if message.seq is None else check_seq(message.seq) for message in messages]
    counts = [len(message.values) for message in messages]
    if len(metric) != len(messages) or 0 in counts:
        times = [t for t, n in zip(times, counts, strict=True) for _ in range(n)]
        seqs = [seq for seq, n in zip(seqs, counts, strict=True) for _ in range(n)]
    return Values(times, seqs, metric, value)


def check_values(metric: list[str], value: list[float]) -> None:
    """One to VALUES_MAX finite values under proper metric names. Raises: PayloadError."""
    if not metric:
        raise PayloadError("empty", "values is empty")
    if len(metric) > VALUES_MAX:
        raise PayloadError("too_many_values", f"{len(metric)} values in one message, more than {VALUES_MAX}")
    if not all(map(math.isfinite, value)):
        name, bad = next((n, v) for n, v in zip(metric, value, strict=True) if not math.isfinite(v))
        raise PayloadError("not_finite", f"values.{name[:64]} is {bad}")
    for name in metric:
        if name not in _proper_names:
            check_name(name)


def improper_names(names: set[str]) -> set[str]:
    """Those of the names that no metric may have."""
    return {name for name in names - _proper_names if not is_proper(name)}


_proper_names: set[str] = set()
"""Names that were checked before: the few metrics of a city, so the pattern is not matched for every value."""

PROPER_NAMES_MAX = 20_000


def check_name(name: str) -> None:
    """A metric's name. Raises: PayloadError."""
    if not is_proper(name):
        raise PayloadError("bad_metric", f"values.{name[:70]!r}: a metric is a letter, then letters, digits, _")


def is_proper(name: str) -> bool:
    """Whether a metric may have this name; proper ones are remembered."""
    if not METRIC.fullmatch(name):
        return False
    if len(_proper_names) < PROPER_NAMES_MAX:
        _proper_names.add(name)
    return True


def check_seq(seq: int | None) -> int:
    """A sequence number or NO_SEQ. Raises: PayloadError."""
    if seq is None:
        return NO_SEQ
    if not 0 <= seq < SEQ_MAX:
        raise PayloadError("bad_seq", f"seq {seq} is not in 0..2^62")
    return seq


def decode_waveform(payload: bytes, decoding: Decoding) -> Packet:
    """One packet. Raises: PayloadError."""
    message: WaveformMessage = WAVEFORM(payload)
    if not RATE_HZ_MIN <= message.rate_hz <= RATE_HZ_MAX:
        raise PayloadError("bad_rate", f"rate_hz {message.rate_hz} is not in {RATE_HZ_MIN}..{RATE_HZ_MAX:.0f}")
    given = [getattr(message, axis) for axis in AXES]
    present = [axis for axis in given if axis is not None]
    if not present:
        raise PayloadError("empty", "none of x, y, z is there")
    binary = [isinstance(axis, bytes) for axis in present]
    if any(binary) and not all(binary):
        raise PayloadError("wrong_type", "x, y, z must all be lists or all be int16 bytes")
    unit, factor = UNITS[message.unit]
    scale = check_scale(message.scale) * factor
    columns = [
        None if axis is None else (int16_axis if binary[0] else float_axis)(name, axis)
        for name, axis in zip(AXES, given, strict=True)
    ]
    lengths = {len(column) for column in columns if column is not None}
    if len(lengths) > 1:
        raise PayloadError("bad_length", f"x, y, z have different lengths: {sorted(lengths)}")
    n = lengths.pop()
    if not 0 < n <= VALUES_MAX:
        raise PayloadError("too_many_values" if n else "empty", f"{n} samples; 1 to {VALUES_MAX} are allowed")
    stacked = np.zeros((3, n), dtype=np.int16 if binary[0] else np.float32)
    for row, column in enumerate(columns):
        if column is not None:
            stacked[row] = column
    samples = np.multiply(stacked, scale, dtype=np.float32)
    if not np.isfinite(samples).all():
        raise PayloadError("not_finite", "a sample is not a finite number")
    axes = (columns[0] is not None, columns[1] is not None, columns[2] is not None)
    raw = stacked.astype("<i2").tobytes() if binary[0] else None
    start_us = decoding.time(message.t)
    check_plausible(start_us + round((n - 1) / message.rate_hz * 1e6), decoding.clock_us)
    return Packet(start_us, check_seq(message.seq), message.rate_hz, unit, samples, axes, raw, scale)


def check_scale(scale: float | None) -> float:
    """The factor of the samples, 1 where none is given. Raises: PayloadError."""
    if scale is None:
        return 1.0
    if not math.isfinite(scale) or scale == 0:
        raise PayloadError("bad_scale", f"scale {scale} is not a finite number other than 0")
    return scale


def float_axis(name: str, axis: Any) -> Any:
    """A list of numbers as float32. Raises: PayloadError."""
    if not isinstance(axis, list):
        raise PayloadError("wrong_type", f"{name} is not a list of numbers")
    if len(axis) > VALUES_MAX:
        raise PayloadError("too_many_values", f"{name} has {len(axis)} samples, more than {VALUES_MAX}")
    for value in axis:
        if type(value) not in (float, int):
            raise PayloadError("wrong_type", f"{name} holds something that is not a number")
    try:
        with np.errstate(over="ignore"):
            return np.array(axis, dtype=np.float64).astype(np.float32)
    except OverflowError as error:
        raise PayloadError("not_finite", f"{name} holds a number beyond all bounds") from error


def int16_axis(name: str, axis: bytes) -> Any:
    """Little-endian int16 bytes. Raises: PayloadError."""
    if len(axis) % 2:
        raise PayloadError("bad_length", f"{name} has an odd number of bytes; int16 samples take two each")
    return np.frombuffer(axis, dtype="<i2")


def decode_status(payload: bytes) -> StatusMessage:
    """A status. Raises: PayloadError."""
    message: StatusMessage = STATUS(payload)
    for name in ("battery_pct", "rssi_dbm"):
        value = getattr(message, name)
        if value is not None and not math.isfinite(value):
            raise PayloadError("not_finite", f"{name} is {value}")
    return message


def decode_camera_event(payload: bytes) -> CameraEventMessage:
    """A camera's event; its time is checked by the caller. Raises: PayloadError."""
    message: CameraEventMessage = CAMERA_EVENT(payload)
    return check_camera_event(message)


def check_camera_event(message: CameraEventMessage) -> CameraEventMessage:
    """The bounds that types do not say. Raises: PayloadError."""
    if message.score is not None and not 0 <= message.score <= 1:
        raise PayloadError("bad_score", f"score {message.score} is not in 0..1")
    if message.box is not None and not all(0 <= corner <= 1 for corner in message.box):
        raise PayloadError("bad_box", "box is x0, y0, x1, y1, each in 0..1")
    if not message.event_id or not message.type:
        raise PayloadError("empty", "event_id and type must not be empty")
    return message


def decode_position(payload: bytes) -> PositionMessage:
    """A position in its own datum; its time is checked by the caller. Raises: PayloadError."""
    message: PositionMessage = POSITION(payload)
    if not (-180 <= message.lon <= 180 and -90 <= message.lat <= 90):
        raise PayloadError("bad_position", f"lon {message.lon}, lat {message.lat} is not on the earth")
    for name in ("speed_kmh", "heading_deg"):
        value = getattr(message, name)
        if value is not None and not math.isfinite(value):
            raise PayloadError("not_finite", f"{name} is {value}")
    return message
