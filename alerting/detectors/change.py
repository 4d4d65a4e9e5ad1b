"""A jump between two values, compared with how this sensor usually moves: |difference| / its mean.

Exponentially weighted like ``level.py`` (Huber 1964 for the clipping). For water,
gas and temperature, where the speed of the rise is the danger and the level says it
late. After a silence of ``gap_s`` the first value is not compared.

What causes jumps (rain, a pump, a door) comes seldom and is far larger than the noise, so
that the values' own tail never learns it. Its events are therefore remembered for as long as
the sensor is known: how many, and the mean and deviation of their largest jumps. Only an event
larger than what comes ``alarms_per_year`` times is told: exponential excesses over a
threshold at Poisson times (Todorovic and Zelenhasic, Water Resources Research 6, 1970).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from alerting.detectors.base import Rule
from alerting.detectors.kernel import TINY, Judged, Kernel, KernelOwn, ew_rate
from alerting.detectors.rows import NEVER, Rows64
from alerting.detectors.scalar import Days, ScalarSettings, zeros
from alerting.detectors.steps import Steps
from alerting.detectors.tail import WARM, YEAR_S
from domain.readings import Bool, Float32, Float64, Int64

CLIP = 3.0
FREE = 10
FLOOR = 1e-9
EVENT_SPREAD, EVENT_PRIOR_COUNT = 0.3, 2.0
"""Deviation of the events' sizes as a share of their mean, until there are some."""
EVENTS_KEPT = 100.0
EVENTS_SURE = 3
EVENT_TEACHES = 2.0
"""An event teaches at most so many times the size that would be told."""


class ChangeSettings(ScalarSettings):
    """An unusual jump; ``memory_s``: how long usual jumps are remembered."""

    memory_s: Days = Field(86_400.0, gt=0)


class _Own(KernelOwn):
    NAMES = (*KernelOwn.NAMES, "count", "last", "size", "event")

    count: Float32
    last: Float64
    size: Float64
    event: Int64  # when it was last loud


class Change(Kernel[_Own]):
    """See the module."""

    OWN = _Own
    FIELDS: ClassVar = {**Kernel.FIELDS, "_count": 0, "_last": 0, "_size": 0, "_event": NEVER,
                        "_event_peak": 0, "_events": 0, "_event_mean": 0, "_event_square": 0}  # fmt: skip

    def __init__(self, *rules: Rule) -> None:
        super().__init__(*rules)
        assert isinstance(self.common, ChangeSettings)
        self.settings = self.common
        self._count: Float32 = np.zeros(0, np.float32)
        self._last: Float64 = zeros(0)
        self._size: Float64 = zeros(0)
        self._event: Int64 = np.zeros(0, np.int64)
        for name in ("_event_peak", "_events", "_event_mean", "_event_square"):
            setattr(self, name, np.zeros(0, np.float32))

    _event_peak: Float32
    _events: Float32
    _event_mean: Float32
    _event_square: Float32

    def judge(self, own: _Own, at: Steps) -> Judged:
        """|value - last value| / mean absolute difference, from before the value."""
        last, near = at.before(at.value, own.last), at.gap_s <= self.settings.gap_s  # not NaN: a first value is not
        before = at.so_far(near)
        count = at.per(own.count).astype(np.float64) + before
        settled = count >= FREE
        jump, floor = np.where(near, np.abs(at.value - last), 0.0), FLOOR * np.abs(last)
        rate = np.where(near, ew_rate(at.gap_s, self.settings.memory_s, count), 0.0)
        size = self._sizes(own, at, jump, floor, settled, rate)
        own.count += at.last(before + near)
        own.last[:] = at.last(at.value)
        scale = np.maximum(np.maximum(size, floor), TINY)
        z = np.where(near & settled, jump / scale, np.nan)
        return Judged(z, last, scale, self._learn_events(own, at, np.where(count >= WARM, z, 0.0)))

    def _sizes(self, own: _Own, at: Steps, jump: Float64, floor: Float64, settled: Bool, rate: Float64) -> Float64:
        """The usual size of a jump before each value; learns them."""
        jump, floor, rate = at.laid(jump), at.laid(floor), at.laid(rate)
        free = None if settled.all() else ~at.laid(settled)
        sizes = np.empty(len(jump))
        for part in at.rounds():
            size = own.size[: part.stop - part.start]
            sizes[part] = size
            reach = CLIP * np.maximum(size, floor[part])
            if free is not None:
                reach[free[part]] = np.inf
            size += rate[part] * (np.minimum(jump[part], reach) - size)
        return at.back(sizes)

    def _event_limit(self, r: Rows64, watched_us: Int64) -> Float64:
        """The size of event that comes as often as wanted: of an exponential tail with the events' moments.

        0 while there was none.
        """
        events, mean = self._events[r].astype(np.float64), self._event_mean[r].astype(np.float64)
        a_year = events / np.maximum(watched_us, max(self._learn_us, 1)) * (YEAR_S * 1e6)
        times = np.log(np.maximum(a_year / self.common.alarms_per_year, 1.0))
        variance = np.maximum(self._event_square[r] - mean * mean, 0.0)
        prior = (EVENT_SPREAD * mean) ** 2
        spread = np.sqrt((events * variance + EVENT_PRIOR_COUNT * prior) / (events + EVENT_PRIOR_COUNT))
        return np.asarray(mean + spread * (times - 1.0))

    def _learn_events(self, own: _Own, at: Steps, z: Float64) -> Float64 | None:
        """The size of event before each value that comes as often as wanted, None = there was none; learns them.

        An event begins at ``limit_min``, and ends and is learnt when ``hold_off_s`` was below it.
        """
        loud = z >= self.common.limit_min
        busy, had = own.event != NEVER, self._events[own.row] > 0
        eventful = np.count_nonzero(loud) or np.count_nonzero(busy)
        if not eventful and not np.count_nonzero(had):
            return None
        least, watched_us = np.zeros(len(z)), at.time_us - at.per(own.begun)
        which = np.flatnonzero(at.per(had))
        least[which] = self._event_limit(at.per(own.row)[which], watched_us[which])
        if eventful:
            busy[at.of(np.flatnonzero(loud))] = True
            which = np.flatnonzero(at.per(busy))
            for part in at.turns(which):
                i = which[part]
                least[i] = self._learn_some(own, at.of(i), at.time_us[i], z[i], watched_us[i])
        return least

    def _learn_some(self, own: _Own, o: Rows64, time_us: Int64, z: Float64, watched_us: Int64) -> Float64:
        """A value of each of the rows ``o``."""
        r, loud = own.row[o], z >= self.common.limit_min
        least = self._event_limit(r, watched_us)
        over = (own.event[o] != NEVER) & ~loud & (time_us - own.event[o] >= self._hold_us)
        if over.any():
            k = r[over]
            usual = EVENT_TEACHES * least[over]
            size = np.minimum(self._event_peak[k], np.where(self._events[k] >= EVENTS_SURE, usual, np.inf))
            rate = 1.0 / (np.minimum(self._events[k], EVENTS_KEPT) + 1.0)
            self._event_mean[k] += rate * (size - self._event_mean[k])
            self._event_square[k] += rate * (size * size - self._event_square[k])
            self._events[k] += 1
            own.event[o[over]], self._event_peak[k] = NEVER, 0
        own.event[o[loud]] = time_us[loud]
        self._event_peak[r[loud]] = np.maximum(self._event_peak[r[loud]], z[loud])
        return least
