"""A value unusual for the time of day: 48 half hours, workdays and holidays apart, on the city's clock.

Each slot keeps a mean that follows over the days; what remains is compared with its
own mean absolute deviation, which is worth more than a deviation for each slot with
few days behind it. Seasonal exponential smoothing with additive season (Winters,
Management Science 6, 1960), without trend, updates clipped (Huber 1964). A holiday is
what the duty calendar says; a slot of holidays not yet seen borrows the workday's.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from alerting.detectors.base import Rule
from alerting.detectors.city_clock import CityClock
from alerting.detectors.kernel import TINY, Judged, Kernel, KernelOwn, steady_rate
from alerting.detectors.rows import Rows64
from alerting.detectors.scalar import Days, ScalarSettings, zeros
from alerting.detectors.steps import Steps
from domain.readings import Bool, Float32, Float64

SLOTS = 48
SLOT_S = 86_400 / SLOTS
CLIP = 3.0
FREE_DAYS = 2
"""Days of which a slot takes values unclipped."""
FLOOR = 1e-9


class SeasonSettings(ScalarSettings):
    """Unusual for the time of day; ``memory_days``: how many days a slot remembers; ``memory_s``: the scatter."""

    memory_days: Annotated[float, Field(ge=1, le=365)] = 10.0
    memory_s: Days = Field(172_800.0, gt=0)
    learn_s: Days = 604_800.0


class _Own(KernelOwn):
    NAMES = (*KernelOwn.NAMES, "count", "dev")

    count: Float32
    dev: Float64


class Season(Kernel[_Own]):
    """See the module."""

    OWN = _Own
    FIELDS: ClassVar = {**Kernel.FIELDS, "_count": 0, "_dev": 0, "_mean": 0, "_days": 0}

    def __init__(self, *rules: Rule) -> None:
        super().__init__(*rules)
        assert isinstance(self.common, SeasonSettings)
        self.settings = self.common
        self.clock = CityClock()
        self._count: Float32 = np.zeros(0, np.float32)
        self._dev: Float64 = zeros(0)
        self._mean: Float32 = np.zeros((0, 2, SLOTS), np.float32)
        self._days: Float32 = np.zeros((0, 2, SLOTS), np.float32)  # slot-days of values seen

    def judge(self, own: _Own, at: Steps) -> Judged:
        """|value - the slot's mean| / mean absolute deviation of that, both from before the value."""
        value, row = at.laid(at.value), at.per(own.row)
        slot, kind = self.clock.slots(at.time_us, SLOTS)
        cell, beside = at.laid((2 * row + kind) * SLOTS + slot), at.laid((2 * row + 1 - kind) * SLOTS + slot)
        # One value stands for its share of the slot: a day of the slot counts one, however many values.
        # A first value, whose gap is NaN, stands for the slot.
        share = at.laid(np.fmin(np.maximum(at.gap_s, 1e-3), SLOT_S) / SLOT_S)
        steady = at.laid(steady_rate(at.gap_s, self.settings.memory_s))
        means, devs, usable = np.empty(len(value)), np.empty(len(value)), np.empty(len(value), bool)
        for part in at.rounds():
            some = own.some(slice(part.stop - part.start))
            devs[part] = some.dev
            means[part], usable[part] = self._learn(
                some, cell[part], beside[part], value[part], share[part], steady[part]
            )
        mean, dev = at.back(means), at.back(devs)
        scale = np.maximum(np.maximum(dev, FLOOR * np.abs(mean)), TINY)
        return Judged(np.where(at.back(usable), np.abs(at.value - mean) / scale, np.nan), mean, scale)

    def _learn(
        self, own: _Own, cell: Rows64, beside: Rows64, value: Float64, share: Float64, steady: Float64
    ) -> tuple[Float64, Bool]:
        """The slots' means before a value of each row, and where they say something; learns the values."""
        count, dev = own.count.astype(np.float64), own.dev
        means, seen = self._mean.reshape(-1), self._days.reshape(-1)  # the same memory
        days, known = seen[cell].astype(np.float64), seen[beside] > 0
        mean = np.where(days > 0, means[cell], np.where(known, means[beside], value))
        usable, apart = (days + known > 0) & (count > 0), value - mean
        reach = np.where((days >= FREE_DAYS) & (dev > 0), CLIP * np.maximum(dev, FLOOR * np.abs(mean)), np.inf)
        pulled = np.minimum(np.maximum(apart, -reach), reach)
        rate = np.where(days > 0, share / np.minimum(days + share, self.settings.memory_days), 1.0)
        means[cell], seen[cell] = mean + rate * pulled, days + share
        learns = (usable & (days + known >= 1)) | (days > 0)
        dev += np.where(learns, np.fmax(steady, 1.0 / (count + 1.0)) * (np.abs(pulled) - dev), 0.0)
        own.count += learns
        return mean, usable
