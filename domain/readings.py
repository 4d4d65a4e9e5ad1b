"""Blocks: what was received, as columns.

A block is a batch of rows over many sensors; detectors and the store see blocks
and never single messages. ``device`` columns hold ``device.key`` of the
database (a small positive integer), which doubles as the row number of every
detector's state arrays. Rows are in the order received; event times of one
sensor may therefore go backwards, and ``late`` says so. Orders that several
detectors need (by series, by message) are worked out when first asked for, once a
block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.sorting import begins, order_by

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

NO_SEQ = -1
"""``seq`` of a message that carried none."""


@dataclass(frozen=True, slots=True)
class SeriesRows:
    """Readings that are not late, by metric, then device, then as received: each series in one piece.

    ``at (n,)``: their places in the block; ``first``: where another series begins;
    ``once``: no series has two; ``spans``: metric key to its part of the columns.
    """

    at: Int64
    device: Int64
    time_us: Int64
    value: Float64
    received_us: Int64
    first: Bool
    once: bool
    spans: Mapping[int, slice]


class Messages(NamedTuple):
    """Messages, each device's together in the order received: the newest event time in each, and its arrival.

    ``(n,)`` each; ``first``: where another device begins.
    """

    device: Int64
    time_us: Int64
    received_us: Int64
    first: Bool


@dataclass(frozen=True)
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

    def take(self, which: Bool | Int64 | slice) -> Readings:
        """Some of the rows, by mask, position or span."""
        return Readings(
            self.device[which], self.metric[which], self.time_us[which], self.value[which], self.seq[which],
            self.received_us[which], self.late[which],
        )  # fmt: skip

    @cached_property
    def by_series(self) -> SeriesRows:
        """Those that are not late, series by series."""
        live = np.flatnonzero(~self.late)
        at = live[order_by(self.metric[live], self.device[live])]
        metric, device = self.metric[at], self.device[at]
        first, cuts = begins(metric, device), np.flatnonzero(begins(metric)).tolist()
        spans = {int(metric[a]): slice(a, b) for a, b in pairwise([*cuts, len(at)])}
        return SeriesRows(
            at, device.astype(np.int64), self.time_us[at], self.value[at], self.received_us[at],
            first, bool(first.all()), spans,
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


@dataclass(frozen=True)
class Block:
    """Everything one commit made durable, in the order received within each part."""

    readings: Readings
    waveforms: tuple[Waveforms, ...]
    statuses: tuple[DeviceStatus, ...]
    camera_events: tuple[CameraEvent, ...]
    positions: tuple[Position, ...]
    committed_us: int

    @cached_property
    def messages(self) -> Messages:
        """The messages of readings and packets, late ones too.

        Rows of one device that arrived at one time are one message; a later part of
        a block counts after an earlier one.
        """
        r = self.readings
        device = np.concatenate([r.device, *(w.device for w in self.waveforms)])
        time_us = np.concatenate([r.time_us, *(w.end_us for w in self.waveforms)])
        received_us = np.concatenate([r.received_us, *(w.received_us for w in self.waveforms)])
        device = device.astype(np.int64)
        once = np.sort(device)
        if np.count_nonzero(once[1:] == once[:-1]) == 0:  # nearly always, in a city
            return Messages(device, time_us, received_us, np.ones(len(device), bool))
        order = order_by(device, received_us)
        device, time_us, received_us = device[order], time_us[order], received_us[order]
        at = np.flatnonzero(begins(device, received_us))
        if len(at) < len(order):
            device, time_us, received_us = device[at], np.maximum.reduceat(time_us, at), received_us[at]
        return Messages(device, time_us, received_us, begins(device))
