"""Blocks with calibrations put on: what detectors, pages and back-tests see of raw values. Pure.

Readings are stored as they were sent, so a calibration that was wrong is mended by writing
the right one. A block of devices that have none goes through as it is, after one look at an
array of flags; rows of the others are changed in columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.calibration import AXES, NEVER_US, Calibration
from domain.devices import Device
from domain.readings import Block, Bool, Float64, Int32, Int64, Readings, Waveforms

RAW_MAX = 1e290
"""What a calibration is put on is bounded, as in rollups: the largest scale must not make it infinite."""


class Calibrations:
    """The calibrations of some devices; ``metrics``: metric name to key."""

    def __init__(self, devices: Iterable[Device], metrics: Mapping[str, int]) -> None:
        calibrated = [device for device in devices if device.calibration]
        flags = np.zeros(max((d.key for d in calibrated), default=-1) + 1, np.bool_)
        flags[[d.key for d in calibrated]] = True
        self._calibrated = flags
        named = [(d.key, metrics[c.metric], c) for d in calibrated for c in d.calibration if c.metric in metrics]
        self._values = _Table(named)
        self._axes = [_Table([(d.key, 0, c) for d in calibrated for c in d.calibration if c.metric == axis])
                      for axis in AXES]  # fmt: skip

    def block(self, raw: Block) -> Block:
        """The block as its devices' calibrations say; the same one where none has any."""
        if not len(self._calibrated):
            return raw
        readings = self.readings(raw.readings)
        waveforms = tuple(self.packets(w) for w in raw.waveforms)
        return replace(raw, readings=readings, waveforms=waveforms)

    def readings(self, raw: Readings) -> Readings:
        """Scalar readings with their values calibrated."""
        rows = np.flatnonzero(self._of_calibrated(raw.device))
        if not len(rows):
            return raw
        value = raw.value.copy()
        value[rows] = self._values.values(raw.device[rows], raw.metric[rows], raw.time_us[rows], value[rows])
        return replace(raw, value=value)

    def packets(self, raw: Waveforms) -> Waveforms:
        """Packets with each axis taken, scaled and shifted; a packet is of the time of its first sample."""
        rows = np.flatnonzero(self._of_calibrated(raw.device))
        if not len(rows):
            return raw
        samples, axes = raw.samples.copy(), raw.axes.copy()
        none = np.zeros(len(rows), np.int32)
        for axis, table in enumerate(self._axes):
            found = table.find(raw.device[rows], none, raw.start_us[rows])
            at = rows[found.rows]
            there = raw.axes[at, found.axis]
            new = raw.samples[at, found.axis] * found.scale[:, None] + found.offset[:, None]
            with np.errstate(over="ignore"):
                samples[at, axis] = np.where(there[:, None], new, 0.0).astype(np.float32)
            axes[at, axis] = there
        return replace(raw, samples=np.nan_to_num(samples, copy=False), axes=axes)

    def _of_calibrated(self, device: Int32) -> Bool:
        known = device < len(self._calibrated)
        return known & self._calibrated[np.where(known, device, 0)]


def calibrated(
    given: Sequence[Calibration], value: Float64, time_us: Int64, metric: NDArray[Any], names: Sequence[str]
) -> Float64:
    """Raw values ``(n,)`` of one device, calibrated; ``metric (n,)`` says which of ``names`` each is."""
    table = _Table([(0, names.index(c.metric), c) for c in given if c.metric in names])
    return table.values(np.zeros(len(value), np.int32), metric, time_us, value)


def one_packet(
    given: Sequence[Calibration], start_us: int, samples: Float64, axes: Sequence[bool]
) -> tuple[Float64, list[bool]]:
    """``Calibrations.packets`` for a single packet: ``samples (3, m)`` and which of its axes are there."""
    new, there = samples.copy(), list(axes)
    for c in given:
        if c.metric in AXES and c.from_us <= start_us < c.until_us:
            to, source = AXES.index(c.metric), AXES.index(c.axis or c.metric)
            there[to] = axes[source]
            new[to] = samples[source] * c.scale + c.offset if axes[source] else 0.0
    return new, there


@dataclass(frozen=True, slots=True)
class _Found:
    """Which of the rows asked for have a calibration, and what it is, ``(found,)`` each."""

    rows: Int64
    scale: Float64
    offset: Float64
    axis: NDArray[np.intp]


class _Table:
    """Calibrations of (device, metric) pairs: one row a pair, one column for each in a row."""

    def __init__(self, given: Sequence[tuple[int, int, Calibration]]) -> None:
        spans: dict[int, list[Calibration]] = {}
        for device, metric, calibration in given:
            spans.setdefault(device << 32 | metric, []).append(calibration)
        self._pairs = np.array(sorted(spans), np.int64)
        shape = len(spans), max(map(len, spans.values()), default=0)
        self._from_us, self._until_us = np.full(shape, NEVER_US, np.int64), np.full(shape, NEVER_US, np.int64)
        self._scale, self._offset = np.ones(shape), np.zeros(shape)
        self._axis = np.zeros(shape, np.intp)
        for row, pair in enumerate(self._pairs.tolist()):
            for at, c in enumerate(spans[pair]):
                self._from_us[row, at], self._until_us[row, at] = c.from_us, c.until_us
                self._scale[row, at], self._offset[row, at] = c.scale, c.offset
                axis = c.axis or c.metric
                self._axis[row, at] = AXES.index(axis) if axis in AXES else 0

    def values(self, device: Int32, metric: NDArray[Any], time_us: Int64, raw: Float64) -> Float64:
        """Raw values ``(n,)`` and those of them calibrated that have a calibration at their time."""
        found = self.find(device, metric, time_us)
        value = raw.copy()
        value[found.rows] = np.clip(raw[found.rows], -RAW_MAX, RAW_MAX) * found.scale + found.offset
        return value

    def find(self, device: Int32, metric: NDArray[Any], time_us: Int64) -> _Found:
        """What holds for each of these rows at its time."""
        if not len(self._pairs):
            nothing = np.zeros(0, np.int64)
            return _Found(nothing, np.zeros(0), np.zeros(0), nothing.astype(np.intp))
        wanted = device.astype(np.int64) << 32 | metric
        pair = np.minimum(np.searchsorted(self._pairs, wanted), len(self._pairs) - 1)
        inside = (self._from_us[pair] <= time_us[:, None]) & (time_us[:, None] < self._until_us[pair])
        rows = np.flatnonzero(inside.any(axis=1) & (self._pairs[pair] == wanted))
        at = pair[rows], inside[rows].argmax(axis=1)
        return _Found(rows, self._scale[at], self._offset[at], self._axis[at])
