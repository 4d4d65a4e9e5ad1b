"""``auto.py`` for one series in plain numbers: the same answers, some times faster than arrays of one row.

An array step costs the same for one sensor as for a hundred; a file holds one. This is
also the kernel's naive reference: ``test_auto_series.py`` holds the two against each
other value by value. Whoever changes one changes both.
"""

from __future__ import annotations

import math

from alerting.detectors import auto
from alerting.detectors.surprise import (
    EXCESS_MAX,
    FORGET,
    SHARE,
    STEP,
    TAIL_MIN,
    TAIL_PRIOR,
    TAIL_PRIOR_COUNT,
    UNKNOWN,
)

LENGTHS = [float(n) for n in auto.LENGTHS]
REST_LENGTHS = [float(n) for n in auto.REST_LENGTHS]
ROUGH_LENGTHS = [float(n) for n in auto.ROUGH_LENGTHS]
WEIGHTS = [float(w) for w in auto.WEIGHTS]
UP, DOWN = 1.0, -SHARE / (1.0 - SHARE)


class AutoSeries:
    """What one series taught; ``strength`` is to be called with each of its values in order."""

    def __init__(self, evidence: float = auto.EVIDENCE) -> None:
        self.evidence = evidence
        self.seen = 0
        self.begun_us = 0
        self._last = self._short = self._short_rest = self._slow = 0.0
        self._error = [0.0, 0.0, 0.0]
        self._error_slow = self._error_season = 0.0
        self._high, self._low = -math.inf, math.inf
        self._still = 0
        self._profile = [[0.0] * auto.SLOTS, [0.0] * auto.SLOTS]
        self._days = [[0] * auto.SLOTS, [0] * auto.SLOTS]
        self._means = [0.0] * len(LENGTHS)
        self._rest_means = [0.0] * len(REST_LENGTHS)
        self._rough = [0.0] * len(ROUGH_LENGTHS)
        self._quantile = [0.0] * auto.CHANNELS
        self._tail = [TAIL_PRIOR] * auto.CHANNELS
        self._count = [TAIL_PRIOR_COUNT] * auto.CHANNELS
        self._record_size, self._records = TAIL_PRIOR, TAIL_PRIOR

    def strength(self, time_us: int, v: float, slot: int, kind: int) -> float:
        """The evidence over what makes an alarm; ``slot``, ``kind``: the city's half hour, 1 on a holiday."""
        seen = self.seen
        if seen == 0:
            self.begun_us = time_us
            self._last = self._short = self._slow = v
            self._means = [v] * len(LENGTHS)
        error, rest = self._forecast(time_us, v, slot, kind)
        self._still = self._still + 1 if seen > 0 and v == self._last else 0
        h = self._statistics(v, error, rest)
        first, second = self._surprises(h)
        record = self._record(v)
        if record > first:
            first, second = record, first
        elif record > second:
            second = record
        self.seen = seen + 1
        self._last = v
        if seen < auto.SILENT:
            return 0.0
        return (first + auto.SECOND * second) / (self.evidence * (1.0 + auto.CAUTION / (seen + 1.0)))

    def hold_us(self, time_us: int) -> int:
        """So many rows at the usual distance."""
        rows = min(auto.HOLD_ROWS + auto.HOLD_SHARE * self.seen, auto.HOLD_ROWS_MAX)
        return int((time_us - self.begun_us) / max(self.seen - 1, 1) * rows)

    def _forecast(self, time_us: int, v: float, slot: int, kind: int) -> tuple[float, float]:
        """The error of the nearest forecast, and what season or slow level leave of the value."""
        count, other = self._days[kind][slot], self._days[1 - kind][slot]
        known = count + other > 0
        profile = self._profile[kind][slot] if count else self._profile[1 - kind][slot] if known else self._slow
        from_profile, from_slow = v - profile, v - self._slow
        watched_us = time_us - self.begun_us
        season = known and watched_us > 2 * auto.DAY_US
        season = season and self._error_season < auto.SEASON_EARNS * self._error_slow
        errors = (v - self._last, v - self._short, from_profile - self._short_rest)
        error = errors[1] if abs(errors[1]) < abs(errors[0]) else errors[0]
        if season and abs(errors[2]) < abs(error):
            error = errors[2]
        if watched_us > auto.DAY_US:
            rate = max(1.0 / (self.seen + 1.0), 1.0 / auto.SEASON_LENGTH)
            self._error_slow = _capped_mean(self._error_slow, abs(from_slow), rate)
            self._error_season = _capped_mean(self._error_season, abs(from_profile), rate)
        self._short += max(1.0 / (self.seen + 1.0), 0.25) * (v - self._short)
        self._short_rest += 0.25 * (from_profile - self._short_rest)
        self._follow(v, slot, kind, profile, count)
        return error, from_profile if season else from_slow

    def _follow(self, v: float, slot: int, kind: int, profile: float, count: int) -> None:
        reach, off = 4.0 * self._error_slow, v - self._slow
        if self.seen > 50 and reach > 0:
            off = min(max(off, -reach), reach)
        self._slow += max(1.0 / (self.seen + 1.0), 1.0 / auto.SLOW) * off
        off, reach = v - profile, 4.0 * self._error_season
        if count > 6 and reach > 0:
            off = min(max(off, -reach), reach)
        self._profile[kind][slot] = profile + max(1.0 / (count + 1.0), 0.06) * off if count else v
        self._days[kind][slot] = count + 1

    def _statistics(self, v: float, error: float, rest: float) -> list[float]:
        """All but the range, each that has two ways as both its parts."""
        fresh = 1.0 / (self.seen + 1.0)
        both = [error]
        means, rests, rough = self._means, self._rest_means, self._rough
        for i, n in enumerate(REST_LENGTHS):
            rests[i] += max(fresh, 1.0 / n) * (rest - rests[i])
            both.append(rests[i])
        for i, n in enumerate(LENGTHS):
            means[i] += max(fresh, 1.0 / n) * (v - means[i])
            if i:
                both.append(means[i - 1] - means[i])
        size = abs(error)
        for i, n in enumerate(ROUGH_LENGTHS):
            rough[i] += max(fresh, 1.0 / n) * (size - rough[i])
        floor = 0.01 * rough[-1] + auto.TINY
        both += [math.log((each + floor) / (rough[-1] + floor)) for each in rough[:-1]]
        out: list[float] = []
        for each in both:
            out += (each, 0.0) if each > 0 else (0.0, -each)
        out.append(math.log1p(self._still))
        return out

    def _surprises(self, h: list[float]) -> tuple[float, float]:
        """The two largest surprises, weighted; each statistic's memory learns."""
        seen, quantile = self.seen, self._quantile
        if seen < auto.WARM:
            self._quantile = [max(q, each) for q, each in zip(quantile, h, strict=True)]
            return 0.0, 0.0
        step = max(STEP, 1.0 / (1.0 + SHARE * seen))
        up, down = math.exp(step * UP), math.exp(step * DOWN)
        first = second = 0.0
        for i, each in enumerate(h):
            q = quantile[i]
            if each <= q or each <= 0:
                quantile[i] = q * down
                continue
            excess = math.log(each / q) if q > 0 else UNKNOWN
            tail = self._tail[i]
            nats = excess / max(tail, TAIL_MIN) * WEIGHTS[i]
            quantile[i] = min(q * up, each) if q > 0 else 0.5 * each
            count = self._count[i]
            self._tail[i] = tail + max(1.0 / (count + 1.0), FORGET) * (
                min(excess, max(EXCESS_MAX, 2.0 * tail)) - tail
            )
            self._count[i] = count + 1
            if i == auto.CHANNELS - 1 and self._still < auto.STILL_MIN:
                continue
            if nats > first:
                first, second = nats, first
            elif nats > second:
                second = nats
        return first, second

    def _record(self, v: float) -> float:
        """Nats of a value outside the range so far."""
        high, low = self._high, self._low
        width = high - low if high > low else 0.0
        beyond = max(v - high, low - v, 0.0) / width if width > 0 else 0.0
        self._high, self._low = max(v, high - 1e-4 * width), min(v, low + 1e-4 * width)
        nats = min(auto.RANGE_GAIN * beyond / max(self._record_size, auto.RANGE_TAIL_MIN), auto.RANGE_MAX)
        if beyond <= 0 or self.seen < auto.WARM:
            return 0.0
        rate = max(1.0 / (self._records + 1.0), FORGET)
        self._record_size += rate * (min(beyond, EXCESS_MAX) - self._record_size)
        self._records += 1.0
        return nats if beyond > auto.RANGE_MIN else 0.0


def _capped_mean(usual: float, size: float, rate: float) -> float:
    """The mean after one more error, which counts at most five times the usual."""
    return usual + rate * ((min(size, 5.0 * usual) if usual > 0 else size) - usual)
