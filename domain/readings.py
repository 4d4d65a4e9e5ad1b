"""Blocks: what was received, as columns.

A block is a batch of rows over many sensors; detectors and the store see blocks
and never single messages. ``device`` columns hold ``device.key`` of the
database (a small positive integer), which doubles as the row number of every
detector's state arrays. Rows are in the order received; event times of one
sensor may therefore go backwards, and ``late`` says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

NO_SEQ = -1
"""``seq`` of a message that carried none."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Scalar readings as columns, each of shape ``(n,)``.

    ``time_us``: event time; ``received_us``: arrival (the run's own clock for a
    run); ``late``: older than the newest already received from that sensor and
    metric, so it is stored but never raises an alarm as if it were live.
    """

    device: Int32
    metric: Int32
    time_us: Int64
    value: Float64
    seq: Int64
    received_us: Int64
    late: Bool

    def __len__(self) -> int:
        return len(self.device)

    def take(self, which: Bool | Int64) -> Readings:
        """Some of the rows, by mask or position."""
        return Readings(
            self.device[which], self.metric[which], self.time_us[which], self.value[which], self.seq[which],
            self.received_us[which], self.late[which],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Waveforms:
    """Packets of one sampling rate, length and unit.

    ``start_us (n,)``: time of the first sample; ``samples (n, 3, m)``: x, y, z in
    ``unit`` (``m/s2`` or ``mm/s``; gal is converted at the door); an axis the
    packet lacked is all zero and not set in ``axes (n, 3)``.
    """

    device: Int32
    start_us: Int64
    rate_hz: float
    unit: str
    samples: Float32
    axes: Bool
    seq: Int64
    received_us: Int64
    late: Bool

    def __len__(self) -> int:
        return len(self.device)

    @property
    def end_us(self) -> Int64:
        """Time of each packet's last sample, ``(n,)``."""
        span_us = round((self.samples.shape[2] - 1) / self.rate_hz * 1e6)
        return np.asarray(self.start_us + span_us, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """One status message: whether the device says it is there, and how it is."""

    device: int
    time_us: int
    online: bool | None
    battery_pct: float | None
    rssi_dbm: float | None
    firmware: str | None


@dataclass(frozen=True, slots=True)
class CameraEvent:
    """One message of a camera's event; several share ``event_id``.

    ``phase``: start, update or end; ``box``: x0, y0, x1, y1 in 0..1.
    """

    device: int
    event_id: str
    phase: str
    time_us: int
    received_us: int
    late: bool
    type: str
    score: float | None = None
    box: tuple[float, float, float, float] | None = None
    objects: tuple[str, ...] = ()
    snapshot_url: str | None = None
    clip_url: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """One vehicle position, already in WGS-84."""

    device: int
    time_us: int
    seq: int
    received_us: int
    late: bool
    lon: float
    lat: float
    speed_kmh: float | None
    heading_deg: float | None
    bed: str | None
    cover: str | None


@dataclass(frozen=True, slots=True)
class Block:
    """Everything one commit made durable, in the order received within each part."""

    readings: Readings
    waveforms: tuple[Waveforms, ...]
    statuses: tuple[DeviceStatus, ...]
    camera_events: tuple[CameraEvent, ...]
    positions: tuple[Position, ...]
    committed_us: int
