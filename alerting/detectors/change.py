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
from alerting.detectors.scalar import Days, ScalarSettings, Step, Strength, zeros
from alerting.detectors.tail import WARM, YEAR_S
from domain.readings import Float32, Float64, Int64

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

    def judge(self, own: _Own, at: Step) -> Judged:
        """|value - last value| / mean absolute difference, from before the value."""
        count, last, size = own.count.astype(np.float64), own.last.copy(), own.size
        near = at.gap_s <= self.settings.gap_s  # not NaN, which a first value has
        settled = count >= FREE
        jump = np.where(near, np.abs(at.value - last), 0.0)
        least = np.maximum(size, FLOOR * np.abs(last))
        scale = np.maximum(least, TINY)
        z = np.where(near & settled, jump / scale, np.nan)
        self._learn_events(own, at, np.where(count >= WARM, z, 0.0))
        reach = np.where(settled, CLIP * least, np.inf)
        rate = ew_rate(at.gap_s, self.settings.memory_s, count)
        own.size += np.where(near, rate * (np.minimum(jump, reach) - size), 0.0)
        own.count += near
        own.last[:] = at.value
        return Judged(z, last, scale)

    def measure(self, own: _Own, at: Step) -> Strength:
        """Strength against what the events of this sensor have been."""
        had = np.flatnonzero(self._events[own.row])
        of_events = self._event_limit(own.row[had], at.time_us[had] - own.begun[had])
        found = super().measure(own, at)
        higher = of_events > found.limit[had]
        if not higher.any():
            return found
        had, limit, strength = had[higher], found.limit.copy(), found.strength.copy()
        limit[had] = of_events[higher]
        strength[had] *= found.limit[had] / limit[had]
        return Strength(strength, found.expected, found.scale, limit)

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

    def _learn_events(self, own: _Own, at: Step, z: Float64) -> None:
        """An event begins at ``limit_min``, and ends and is learnt when ``hold_off_s`` was below it."""
        loud = z >= self.common.limit_min
        under_way = own.event != NEVER
        if not np.count_nonzero(loud | under_way):
            return
        over = np.flatnonzero(under_way & ~loud & (at.time_us - own.event >= self._hold_us))
        if len(over):
            r = own.row[over]
            usual = EVENT_TEACHES * self._event_limit(r, at.time_us[over] - own.begun[over])
            size = np.minimum(self._event_peak[r], np.where(self._events[r] >= EVENTS_SURE, usual, np.inf))
            rate = 1.0 / (np.minimum(self._events[r], EVENTS_KEPT) + 1.0)
            self._event_mean[r] += rate * (size - self._event_mean[r])
            self._event_square[r] += rate * (size * size - self._event_square[r])
            self._events[r] += 1
            own.event[over], self._event_peak[r] = NEVER, 0
        if loud.any():
            r = own.row[loud]
            own.event[loud] = at.time_us[loud]
            self._event_peak[r] = np.maximum(self._event_peak[r], z[loud])
