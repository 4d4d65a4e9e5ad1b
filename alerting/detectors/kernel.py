"""A kernel says how far a value lies from what it expected, in units of that sensor's own scatter.

This module learns how large that statistic usually gets and sets the limit from the
wanted number of alarms per sensor and year (``tail.py``). It says nothing before it has
seen ``learn_s`` of event time. Kernels are ``level.py``, ``change.py``, ``season.py``,
``drift.py``, ``shape.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np

from alerting.detectors.base import Rule
from alerting.detectors.scalar import Own, ScalarDetector, Step, Strength
from alerting.detectors.tail import PRIOR_COUNT, PRIOR_EXCESS, WARM, YEAR_S, excess_step, quantile_step, tail_limit
from domain.readings import Bool, Float32, Float64, Int64

TEACHES = 3.0
"""An event teaches at most so many limits. It does raise the limit, for about a hundred values beyond the
quantile: what comes every few days is no event; with 1 here rain was told twice as often."""
TINY = float(np.finfo(float).tiny)


class Judged(NamedTuple):
    """A kernel's word on the values of a step ``(n,)``.

    ``z``: how unusual, at least 0, NaN = it cannot say; ``expected`` and ``scale`` in
    the metric's unit, for people.
    """

    z: Float64
    expected: Float64
    scale: Float64


def ew_rate(gap_s: Float64, memory_s: float, count: Float64) -> Float64:
    """The weight of a new value in an average over ``memory_s``: 1/n at first. A gap weighs as one step."""
    steady = -np.expm1(gap_s / -memory_s)
    return np.fmax(np.minimum(steady, 0.5), 1.0 / (count + 1.0))  # a first gap is NaN


class KernelOwn(Own):
    """What a step of any kernel reads and writes."""

    NAMES = (*Own.NAMES, "limit", "tail_q")

    limit: Float32
    tail_q: Float32


OwnT = TypeVar("OwnT", bound=KernelOwn)


class Kernel(ScalarDetector[OwnT]):
    """A statistic against its own past; a kernel derives, gives ``judge`` and its part of the memory."""

    FIELDS: ClassVar[Mapping[str, float]] = {
        **ScalarDetector.FIELDS, "_limit": np.inf, "_tail_q": 0, "_tail_mean": PRIOR_EXCESS,
        "_tail_square": 2 * PRIOR_EXCESS**2, "_tail_count": PRIOR_COUNT,
    }  # fmt: skip
    OWN: ClassVar[type[Own]] = KernelOwn

    def __init__(self, *rules: Rule) -> None:
        super().__init__(*rules)
        self._learn_us = round(self.common.learn_s * 1e6)
        for name in ("_limit", "_tail_q", "_tail_mean", "_tail_square", "_tail_count"):
            setattr(self, name, np.zeros(0, np.float32))

    _tail_mean: Float32
    _tail_square: Float32
    _tail_count: Float32

    @abstractmethod
    def judge(self, own: OwnT, at: Step) -> Judged:
        """How unusual each value is; learns from it."""

    def measure(self, own: OwnT, at: Step) -> Strength:
        """The kernel's statistic over its limit; learns the tail."""
        judged = self.judge(own, at)
        known = np.isfinite(judged.z)
        count = np.count_nonzero(known)
        if count == len(known):
            limit = own.limit.astype(np.float64)
            ready = self._learn_tail(own, at.time_us, judged.z, limit)
            return Strength(np.where(ready, judged.z / limit, 0.0), judged.expected, judged.scale, limit)
        strength, limit = np.zeros(len(known)), np.full(len(known), np.nan)
        if count:
            which = np.flatnonzero(known)
            part, z = own.some(which), judged.z[which]
            limit[which] = part.limit
            ready = self._learn_tail(part, at.time_us[which], z, limit[which])
            strength[which] = np.where(ready, z / limit[which], 0.0)
            own.put(which, part)
        return Strength(strength, judged.expected, judged.scale, limit)

    def _learn_tail(self, own: OwnT, time_us: Int64, z: Float64, limit: Float64) -> Bool:
        """Learn these values of the statistic; returns where the limit before them may be relied on."""
        seen, q = own.seen.astype(np.float64), own.tail_q.astype(np.float64)
        warm = seen >= WARM
        taught = np.where(warm, np.minimum(z, TEACHES * limit), z)  # an event is not what is usual
        watched_us = time_us - own.begun
        own.tail_q[:] = quantile_step(q, taught, seen)
        own.seen[:] = seen + 1
        over = ((taught > q) & warm | (seen == WARM)).nonzero()[0]
        if len(over):
            k, n = own.row[over], seen[over] + 1
            excess = np.maximum(taught[over] - q[over], 0.0)
            moments = excess_step(self._tail_mean[k], self._tail_square[k], self._tail_count[k], excess)
            self._tail_mean[k], self._tail_square[k], self._tail_count[k] = moments
            every_s = np.minimum(watched_us[over] / 1e6 / n, self.common.gap_s)
            share = np.maximum(self.common.alarms_per_year * every_s / YEAR_S, 1e-12)
            own.limit[over] = np.maximum(
                tail_limit(own.tail_q[over].astype(np.float64), *moments[:2], share), self.common.limit_min
            )
        return (seen > WARM) & (watched_us >= self._learn_us)
