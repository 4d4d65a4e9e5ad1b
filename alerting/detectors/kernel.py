"""A kernel says how far a value lies from what it expected, in units of that sensor's own scatter.

This module learns how large that statistic usually gets and sets the limit from the
wanted number of alarms per sensor and year (``tail.py``). It says nothing before it has
seen ``learn_s`` of event time. Kernels are ``level.py``, ``change.py``, ``season.py``,
``drift.py``, ``shape.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from alerting.detectors.base import Rule
from alerting.detectors.rows import Rows64
from alerting.detectors.scalar import Own, ScalarDetector, Strength
from alerting.detectors.steps import Steps
from alerting.detectors.tail import (
    PRIOR_COUNT,
    PRIOR_EXCESS,
    WARM,
    YEAR_S,
    excess_step,
    fallen,
    quantile_step,
    tail_limit,
)
from domain.readings import Bool, Float32, Float64, Int64

TEACHES = 3.0
"""An event teaches at most so many limits. It does raise the limit, for about a hundred values beyond the
quantile: what comes every few days is no event; with 1 here rain was told twice as often."""
TINY = float(np.finfo(float).tiny)


class Judged(NamedTuple):
    """A kernel's word on values ``(n,)``.

    ``z``: how unusual, at least 0, NaN = it cannot say; ``expected`` and ``scale`` in
    the metric's unit, for people; ``least``: what the limit is not below, None = 0.
    """

    z: Float64
    expected: Float64
    scale: Float64
    least: Float64 | None = None


def steady_rate(gap_s: Float64, memory_s: float) -> Float64:
    """The weight of a new value in an average over ``memory_s``. A gap weighs as one step; NaN after none."""
    return np.minimum(-np.expm1(gap_s / -memory_s), 0.5)


def ew_rate(gap_s: Float64, memory_s: float, count: Float64) -> Float64:
    """As ``steady_rate``, but 1/n of the first values."""
    return np.fmax(steady_rate(gap_s, memory_s), 1.0 / (count + 1.0))


class KernelOwn(Own):
    """What every value of any kernel reads and writes."""

    NAMES = (*Own.NAMES, "limit", "tail_q", "since")

    limit: Float32
    tail_q: Float32
    since: NDArray[np.int32]  # values since the quantile was passed


OwnT = TypeVar("OwnT", bound=KernelOwn)


class Kernel(ScalarDetector[OwnT]):
    """A statistic against its own past; a kernel derives, gives ``judge`` and its part of the memory."""

    FIELDS: ClassVar[Mapping[str, float]] = {
        **ScalarDetector.FIELDS, "_limit": np.inf, "_tail_q": 0, "_since": 0, "_tail_mean": PRIOR_EXCESS,
        "_tail_square": 2 * PRIOR_EXCESS**2, "_tail_count": PRIOR_COUNT,
    }  # fmt: skip
    OWN: ClassVar[type[Own]] = KernelOwn

    def __init__(self, *rules: Rule) -> None:
        super().__init__(*rules)
        self._learn_us = round(self.common.learn_s * 1e6)
        for name in ("_limit", "_tail_q", "_tail_mean", "_tail_square", "_tail_count"):
            setattr(self, name, np.zeros(0, np.float32))
        self._since: NDArray[np.int32] = np.zeros(0, np.int32)

    _tail_mean: Float32
    _tail_square: Float32
    _tail_count: Float32

    def load(self, saved: Mapping[str, NDArray[Any]], number: int = 0) -> None:
        """Take up what ``snapshot`` gave; an old one lacks ``_since``: each value touched the quantile."""
        super().load({"_since": np.zeros(len(saved["keys"]), np.int32), **saved}, number)

    @abstractmethod
    def judge(self, own: OwnT, at: Steps) -> Judged:
        """How unusual each value is; learns from it."""

    def measure(self, own: OwnT, at: Steps) -> Strength:
        """The kernel's statistic over its limit; learns the tail."""
        z, expected, scale, least = self.judge(own, at)
        known = np.isfinite(z)
        count = np.count_nonzero(known)
        if count == len(known):
            limit, ready = self._learn_tail(own, at, z)
        else:
            limit, ready = np.full(len(known), np.nan), np.zeros(len(known), bool)
            if count:
                which = np.flatnonzero(known)
                some = at.some(which)
                part = own.some(some.row)
                limit[which], ready[which] = self._learn_tail(part, some, z[which])
                own.put(some.row, part)
        if least is not None:
            limit = np.maximum(limit, least)
        return Strength(np.where(ready, z / limit, 0.0), expected, scale, limit)

    def _learn_tail(self, own: OwnT, at: Steps, z: Float64) -> tuple[Float64, Bool]:
        """Learn these values of the statistic; the limit before each, and where it may be relied on.

        Few values pass their quantile. Only those are taken one after the other.
        """
        seen, since = at.counted(own.seen.astype(np.float64)), own.since.astype(np.int64)
        limit = at.per(own.limit).astype(np.float64)
        quantile = fallen(at.per(own.tail_q).astype(np.float64), seen, at.counted(since))
        passes = np.flatnonzero((z > quantile) | (seen <= WARM))
        watched_us = at.time_us - at.per(own.begun)
        if len(passes):
            moved = np.full(len(z), np.nan)
            for number, part in enumerate(at.turns(passes)):
                i = passes[part]
                q = quantile[i]
                if number:  # the value before has moved it
                    q = fallen(own.tail_q[at.of(i)].astype(np.float64), seen[i], at.counted(since, i))
                    still = (z[i] > q) | (seen[i] <= WARM)
                    i, q = i[still], q[still]
                o = at.of(i)
                since[o] -= at.counted(since, i) + 1
                moved[i] = self._pass(own, o, q, z[i], seen[i], watched_us[i])
            limit = at.held(limit, moved)
        own.since[:] = since + at.length
        own.seen += at.length
        return limit, (seen > WARM) & (watched_us >= self._learn_us)

    def _pass(self, own: OwnT, o: Rows64, q: Float64, z: Float64, seen: Float64, watched_us: Int64) -> Float64:
        """A value of each of the rows ``o`` that passes its quantile ``q``; the limit after it, NaN if not warm."""
        warm = seen >= WARM
        # An event is not what is usual.
        taught = np.where(warm, np.minimum(z, TEACHES * own.limit[o].astype(np.float64)), z)
        own.tail_q[o] = quantile_step(q, taught, seen)
        after = np.full(len(o), np.nan)
        i = np.flatnonzero(warm)
        if len(i):
            o, n = o[i], seen[i] + 1
            k, excess = own.row[o], np.maximum(taught[i] - q[i], 0.0)
            columns = self._tail_mean, self._tail_square, self._tail_count
            mean, square, count = (column[k].astype(np.float64) for column in columns)
            moments = excess_step(mean, square, count, excess)
            self._tail_mean[k], self._tail_square[k], self._tail_count[k] = moments
            every_s = np.minimum(watched_us[i] / 1e6 / n, self.common.gap_s)
            share = np.maximum(self.common.alarms_per_year * every_s / YEAR_S, 1e-12)
            limit = tail_limit(own.tail_q[o].astype(np.float64), *moments[:2], share)
            own.limit[o] = np.maximum(limit, self.common.limit_min)
            after[i] = own.limit[o]
        return after
