"""A slow drift of tilt or crack, after the temperature has been taken out: a two-sided cumulative sum.

Page, "Continuous Inspection Schemes" (Biometrika 41, 1954). Values are averaged over
whole hours. The hourly mean is regressed on the companion's (usually the device's own
temperature) by exponentially weighted moments, so that a wall that leans to the sun
is not a wall that leans. What remains, standardised, goes into the two sums with
allowance ``slack``; the larger one is the statistic, whose limit comes from the wanted
number of alarms as everywhere, so the classical constants for independent normal
values are not relied on. Crude: the reference follows over ``memory_s``, so a drift
slower than its scatter in that time is learnt as normal; one level for that is a
threshold rule.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from alerting.detectors.base import Rule
from alerting.detectors.kernel import TINY, Judged, Kernel, KernelOwn
from alerting.detectors.rows import NEVER, Rows64
from alerting.detectors.scalar import METRIC, Days, ScalarSettings, zeros
from alerting.detectors.steps import Steps
from domain.readings import Float64, Int64

HOUR_S = 3600.0
HOUR_US = 3_600_000_000
FREE = 48
"""Hours before anything is standardised."""
NOWHERE, NOTHING = np.zeros(0, np.intp), (np.zeros(0), np.zeros(0), np.zeros(0))
Z_MAX = 4.0
SUM_MAX = 200.0


class DriftSettings(ScalarSettings):
    """A slow drift; ``compensate``: the companion metric, empty = none; ``slack``: allowance in deviations."""

    compensate: str = Field("temperature_c", pattern=rf"^$|{METRIC}")
    memory_s: Days = Field(30 * 86_400.0, gt=0)
    slack: Annotated[float, Field(ge=0, le=5)] = 1.0
    learn_s: Days = 14 * 86_400.0
    hold_off_s: Days = 2 * 86_400.0


class _Own(KernelOwn):
    NAMES = (*KernelOwn.NAMES, "hour", "sums", "beside", "beside_newest")

    hour: Int64
    sums: Float64  # of this hour: values, companion's values, count
    beside: Float64
    beside_newest: Int64


class Drift(Kernel[_Own]):
    """See the module."""

    OWN = _Own
    FIELDS: ClassVar = {
        **Kernel.FIELDS, "_hour": NEVER, "_sums": 0, "_hours": 0, "_moments": 0, "_dev": 0,
        "_up": 0, "_down": 0, "_beside": np.nan, "_beside_newest": NEVER,
    }  # fmt: skip

    def __init__(self, *rules: Rule) -> None:
        super().__init__(*rules)
        assert isinstance(self.common, DriftSettings)
        self.settings = self.common
        self._hour: Int64 = np.zeros(0, np.int64)
        self._sums: Float64 = zeros(0, 3)
        self._hours: Float64 = zeros(0)
        self._moments: Float64 = zeros(0, 4)  # mean, companion's mean, covariance, companion's variance
        self._dev: Float64 = zeros(0)
        self._up: Float64 = zeros(0)
        self._down: Float64 = zeros(0)
        self._beside: Float64 = zeros(0)
        self._beside_newest: Int64 = np.zeros(0, np.int64)

    def companion(self) -> str | None:
        """The metric whose effect is taken out."""
        return self.settings.compensate or None

    def judge(self, own: _Own, at: Steps) -> Judged:
        """The larger of the two sums at the first value of a new hour; NaN within the hour, and for a companion."""
        time_us, value = at.laid(at.time_us), at.laid(at.value)
        hour, judged = time_us // HOUR_US, None if at.judged is None else at.laid(at.judged)
        z, expected, scale = np.full(len(at), np.nan), value.copy(), np.ones(len(at))
        for part in at.rounds():
            some, which = own.some(slice(part.stop - part.start)), np.arange(part.start, part.stop)
            if judged is None:
                i, found = self._learn(some, hour[part], value[part])
            else:
                mine, others = np.flatnonzero(judged[part]), np.flatnonzero(~judged[part])
                self._learn_companion(some, others, time_us[part], value[part])
                which = which[mine]
                few = some.some(mine)
                i, found = self._learn(few, hour[which], value[which])
                some.put(mine, few)
            if len(i):
                z[which[i]], expected[which[i]], scale[which[i]] = found
        return Judged(at.back(z), at.back(expected), at.back(scale))

    def _learn_companion(self, own: _Own, o: Rows64, time_us: Int64, value: Float64) -> None:
        """The newest value holds until the next; the first is taken to have held from the beginning."""
        first = o[np.isnan(own.beside[o])]
        if len(first):
            own.sums[first, 1] = value[first] * own.sums[first, 2]
            self._moments[own.row[first], 1] = value[first]
        new = o[time_us[o] > own.beside_newest[o]]
        own.beside[new], own.beside_newest[new] = value[new], time_us[new]

    def _learn(self, own: _Own, hour: Int64, value: Float64) -> tuple[Rows64, tuple[Float64, Float64, Float64]]:
        """A value of each row into its hour; where one has ended, and the statistic, its reference, its scale."""
        i, found = NOWHERE, NOTHING
        turns = hour != own.hour
        if np.count_nonzero(turns):
            i = np.flatnonzero(turns & (own.hour != NEVER))
            found = self._close(own.row[i], own.sums[i])
            own.sums[turns] = 0.0
            own.hour[:] = hour
        own.sums[:, 0] += value
        own.sums[:, 1] += np.where(np.isnan(own.beside), 0.0, own.beside)
        own.sums[:, 2] += 1.0
        return i, found

    def _close(self, r: Rows64, sums: Float64) -> tuple[Float64, Float64, Float64]:
        """Take the hour that ended into the sums and the moments; the statistic, its reference, its scale."""
        total, other, count = sums.T
        value, beside = total / count, other / count
        hours = self._hours[r]
        mean, mean_beside, covariance, variance = self._moments[r].T
        first = hours == 0
        mean, mean_beside = np.where(first, value, mean), np.where(first, beside, mean_beside)
        slope = np.where((variance > 1e-9) & (hours >= FREE), covariance / np.maximum(variance, 1e-9), 0.0)
        off, off_beside = value - mean, beside - mean_beside
        rest = off - slope * off_beside
        dev = self._dev[r]
        scale = np.maximum(np.maximum(dev, 1e-9 * np.abs(mean)), TINY)
        standard = np.clip(rest / scale, -Z_MAX, Z_MAX)
        judged = hours >= FREE
        slack = self.settings.slack
        self._up[r] = np.where(judged, np.clip(self._up[r] + standard - slack, 0.0, SUM_MAX), 0.0)
        self._down[r] = np.where(judged, np.clip(self._down[r] - standard - slack, 0.0, SUM_MAX), 0.0)
        rate = np.maximum(-np.expm1(-HOUR_S / self.settings.memory_s), 1.0 / (hours + 1.0))
        # What the companion explains is learnt whole, what remains is clipped.
        pulled = np.where(judged, off - rest + np.clip(rest, -Z_MAX * scale, Z_MAX * scale), off)
        self._moments[r] = np.stack(
            [mean + rate * pulled, mean_beside + rate * off_beside,
             covariance + rate * (pulled * off_beside - covariance),
             variance + rate * (off_beside * off_beside - variance)], axis=1,
        )  # fmt: skip
        self._dev[r] = dev + rate * (np.where(judged, np.minimum(np.abs(rest), Z_MAX * scale), np.abs(rest)) - dev)
        self._hours[r] = hours + 1
        larger = np.maximum(self._up[r], self._down[r])
        return np.where(judged, larger, np.nan), mean + slope * off_beside, scale
