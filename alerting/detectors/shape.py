"""A stretch of values whose shape was not seen before: streaming k-means on lag windows.

The last ``LAGS`` values, less their mean and in units of the sensor's own scatter,
are a point; ``CENTRES`` centres follow the points (MacQueen 1967, with a constant
step). The statistic is the distance to the nearest centre over its mean. It speaks
only for sensors that earn it: where the centres explain at least half of what the
windows hold, that is, where shapes repeat. One window is looked at each ``STRIDE``
values; it is by far the dearest of the scalar detectors, so no default rule uses it.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from alerting.detectors.base import Rule
from alerting.detectors.kernel import TINY, Judged, Kernel, KernelOwn, ew_rate
from alerting.detectors.rows import Rows64
from alerting.detectors.scalar import Days, ScalarSettings, zeros
from alerting.detectors.steps import Steps
from domain.readings import Float64

LAGS = 16
CENTRES = 8
STRIDE = 4
PULL = 0.02
EXPLAINED = 0.5
WINDOWS = 200
"""Windows before it may speak."""


class ShapeSettings(ScalarSettings):
    """A shape not seen before; ``memory_s``: how long the scatter is remembered."""

    memory_s: Days = Field(172_800.0, gt=0)


class Shape(Kernel[KernelOwn]):
    """See the module."""

    FIELDS: ClassVar = {
        **Kernel.FIELDS, "_lags": 0, "_filled": 0, "_count": 0, "_mean": 0, "_dev": 0, "_centres": 0,
        "_windows": 0, "_near": 0, "_energy": 0,
    }  # fmt: skip

    def __init__(self, *rules: Rule) -> None:
        super().__init__(*rules)
        assert isinstance(self.common, ShapeSettings)
        self.settings = self.common
        self._lags: Float64 = zeros(0, LAGS)
        self._filled: NDArray[np.int32] = np.zeros(0, np.int32)  # values since the last gap
        self._count: NDArray[np.float32] = np.zeros(0, np.float32)
        self._mean: Float64 = zeros(0)
        self._dev: Float64 = zeros(0)
        self._centres: NDArray[np.float32] = np.zeros((0, CENTRES, LAGS), np.float32)
        self._windows: NDArray[np.int32] = np.zeros(0, np.int32)
        self._near: Float64 = zeros(0)  # mean distance² to the nearest centre
        self._energy: Float64 = zeros(0)  # mean length² of a window

    def judge(self, own: KernelOwn, at: Steps) -> Judged:
        """Distance to the nearest centre / its root mean square, once in ``STRIDE`` values; NaN in between."""
        value, gap_s = at.laid(at.value), at.laid(at.gap_s)
        z, mean, scale = np.empty(len(at)), np.empty(len(at)), np.empty(len(at))
        for part in at.rounds():
            r = own.row[: part.stop - part.start]
            z[part], mean[part], scale[part] = self._learn(r, value[part], gap_s[part])
        return Judged(at.back(z), at.back(mean), at.back(scale))

    def _learn(self, r: Rows64, value: Float64, gap_s: Float64) -> tuple[Float64, Float64, Float64]:
        """The statistic of a value of each row, the mean and the scatter before it."""
        count = self._count[r].astype(np.float64)
        mean, dev = np.where(count > 0, self._mean[r], value), self._dev[r]
        rate = ew_rate(gap_s, self.settings.memory_s, count)
        apart = value - mean
        self._mean[r], self._dev[r] = mean + rate * apart, dev + rate * (np.abs(apart) - dev)
        self._count[r] = count + 1
        gap = ~(gap_s <= self.settings.gap_s)  # NaN, before the first value, is one
        filled = np.where(gap, 0, self._filled[r]) + 1
        self._filled[r] = filled
        lags = np.roll(self._lags[r], -1, axis=1)
        lags[:, -1] = value
        self._lags[r] = lags
        z = np.full(len(r), np.nan)
        ready = np.flatnonzero((filled >= LAGS) & (filled % STRIDE == 0) & (dev > 0))
        if len(ready):
            window = lags[ready] - lags[ready].mean(axis=1, keepdims=True)
            z[ready] = self._windowed(r[ready], np.clip(window / dev[ready, None], -20.0, 20.0))
        return z, mean, np.maximum(dev, TINY)

    def _windowed(self, r: Rows64, window: Float64) -> Float64:
        """The statistic of one window each; the nearest centre follows it."""
        number = self._windows[r]
        centres = self._centres[r].astype(np.float64)
        distance = ((centres - window[:, None, :]) ** 2).sum(axis=2)
        unused = np.arange(CENTRES) >= (number // 5)[:, None]  # a centre begins at every fifth window
        distance = np.where(unused, np.inf, distance)
        nearest = distance.argmin(axis=1)
        away = distance[np.arange(len(r)), nearest]
        begins = (number % 5 == 4) & (number // 5 < CENTRES)
        chosen = np.where(begins, np.minimum(number // 5, CENTRES - 1), nearest)
        own = centres[np.arange(len(r)), chosen]
        self._centres[r, chosen] = np.where(begins[:, None], window, own + PULL * (window - own))
        near, energy = self._near[r], self._energy[r]
        judged = number >= 5 * CENTRES
        rate = np.maximum(0.01, 1.0 / (np.maximum(number - 5 * CENTRES, 0) + 1.0))
        capped = np.where(number >= WINDOWS, np.minimum(away, 9.0 * near), np.where(np.isfinite(away), away, 0.0))
        self._near[r] = np.where(judged, near + rate * (capped - near), near)
        self._energy[r] = np.where(judged, energy + rate * ((window**2).sum(axis=1) - energy), energy)
        self._windows[r] = number + 1
        earned = (number >= WINDOWS) & (near <= (1.0 - EXPLAINED) * energy) & (near > 0)
        return np.where(earned, np.sqrt(away / np.maximum(near, 1e-12)), np.nan)
