"""``auto.py`` for one series in plain numbers: the same answers, some times faster than arrays of one row.

An array step costs the same for one sensor as for a hundred; a file holds one. This is
also the kernel's naive reference: ``test_auto_series.py`` holds the two against each
other value by value. Whoever changes one changes both.
"""

from __future__ import annotations

import math

from alerting.detectors import auto
from alerting.detectors.surprise import (
    ALIKE,
    EXCESS_MAX,
    FORGET,
    MEMORY,
    NEW_AFTER,
    NOTABLE,
    RECORD,
    SHARE,
    STEP,
    TAIL_MIN,
    TAIL_PRIOR,
    TIMES_FREE,
    TIMES_WEIGH,
    UNKNOWN,
)

REST_LENGTHS = [float(n) for n in auto.REST_LENGTHS]
ROUGH_LENGTHS = [float(n) for n in auto.ROUGH_LENGTHS]
WEIGHTS = [float(w) for w in auto.WEIGHTS]
DOWN = -SHARE / (1.0 - SHARE)
SEASON_RATE = 1.0 / auto.ERROR_LENGTH
SLOT_RATE = 1.0 / auto.SLOT_LENGTH


class AutoSeries:
    """What one series taught; ``strength`` is to be called with each of its values in order."""

    def __init__(self, evidence: float = auto.EVIDENCE) -> None:
        self.evidence = evidence
        self.seen = 0
        self.begun_us = 0
        self._last = self._short = self._slow = self._short_rest = self._short_other = 0.0
        self._error_slow = self._error_season = 0.0
        self._high, self._low = -math.inf, math.inf
        self._still = 0
        self._loud_at = auto.NEVER_LOUD
        self._profile = [[0.0] * auto.SLOTS, [0.0] * auto.SLOTS]
        self._days = [[0] * auto.SLOTS, [0] * auto.SLOTS]
        self._usual_error = self._usual_rest = 0.0
        self._slot_error, self._slot_rest = [0.0] * auto.SLOTS, [0.0] * auto.SLOTS
        self._slot_count = [0] * auto.SLOTS
        self._rest_means = [0.0] * len(REST_LENGTHS)
        self._rough = [0.0] * len(ROUGH_LENGTHS)
        self._quantile, self._tail, self._count, self._peak, self._times, self._came = (
            [start] * auto.CHANNELS for start in MEMORY.values()
        )
        self._record_size, self._records = TAIL_PRIOR, TAIL_PRIOR

    def strength(self, time_us: int, v: float, slot: int, kind: int) -> float:
        """The evidence over what makes an alarm; ``slot``, ``kind``: the city's half hour, 1 on a holiday."""
        seen = self.seen
        if seen == 0:
            self.begun_us = time_us
            self._last = self._short = self._slow = v
        error, rest = self._forecast(time_us, v, slot, kind)
        self._still = self._still + 1 if seen > 0 and v == self._last else 0
        error, rest = self._by_time_of_day(slot, error, rest)
        first, second = self._surprises(self._statistics(error, rest))
        record = self._record(v)
        if record > first:
            first, second = record, first
        elif record > second:
            second = record
        self.seen = seen + 1
        self._last = v
        if seen < auto.SILENT:
            return 0.0
        limit = self.evidence + math.log(max((seen + 1.0) / auto.EVIDENCE_ROWS, 1.0))
        strength = (first + auto.SECOND * second) / (limit * (1.0 + auto.CAUTION / (seen + 1.0)))
        if strength >= 1.0:
            self._loud_at = seen
        return strength

    def holds(self) -> bool:
        """Whether it still holds off: so many rows since the last loud one, whatever time they take."""
        seen = self.seen - 1
        return seen - self._loud_at < min(auto.HOLD_ROWS + auto.HOLD_SHARE * seen, auto.HOLD_ROWS_MAX)

    def _forecast(self, time_us: int, v: float, slot: int, kind: int) -> tuple[float, float]:
        """The error of the nearest forecast, and what season or slow level leave of the value."""
        count, others = self._days[kind][slot], self._days[1 - kind][slot]
        other = self._profile[1 - kind][slot] if others else self._slow
        profile = self._profile[kind][slot] if count else other
        from_profile, from_other, from_slow = v - profile, v - other, v - self._slow
        watched_us = time_us - self.begun_us
        season = count + others > 0 and watched_us > 2 * auto.DAY_US
        season = season and self._error_season < auto.SEASON_EARNS * self._error_slow
        error, short = v - self._last, v - self._short
        if abs(short) < abs(error):
            error = short
        if season:
            if abs(from_profile - self._short_rest) < abs(error):
                error = from_profile - self._short_rest
            if count and others and abs(from_other - self._short_other) < abs(error):
                error = from_other - self._short_other
        if watched_us > auto.DAY_US:
            rate = max(1.0 / (self.seen + 1.0), SEASON_RATE)
            self._error_slow = _capped_mean(self._error_slow, abs(from_slow), rate)
            self._error_season = _capped_mean(self._error_season, abs(from_profile), rate)
        self._short += max(1.0 / (self.seen + 1.0), 0.25) * (v - self._short)
        self._short_rest += 0.25 * (from_profile - self._short_rest)
        self._short_other += 0.25 * (from_other - self._short_other)
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

    def _by_time_of_day(self, slot: int, error: float, rest: float) -> tuple[float, float]:
        """Error and rest in what is usual now, as if every time of day were alike; learns what is usual."""
        fresh, count = 1.0 / (self.seen + 1.0), self._slot_count[slot]
        usual_error, usual_rest = self._usual_error, self._usual_rest
        own_error = own_rest = 1.0
        if self.seen > 20 and usual_error > 0 and count >= auto.SLOT_KNOWN:
            own_error = max(self._slot_error[slot], auto.QUIET * usual_error) / usual_error
            if usual_rest > 0:
                own_rest = max(self._slot_rest[slot], auto.QUIET * usual_rest) / usual_rest
        now, long = self._rough
        if self.seen > 100:
            near = (now + auto.QUIET * long + auto.TINY) / ((1.0 + auto.QUIET) * long + auto.TINY)
            own_error *= near**auto.ROUGH_COUNTS
        sizes, sizer = abs(error), abs(rest)
        for i, n in enumerate(ROUGH_LENGTHS):
            self._rough[i] += max(fresh, 1.0 / n) * (sizes - self._rough[i])
        if self.seen > 20:
            sizes = min(sizes, auto.ERROR_REACH * usual_error) if usual_error > 0 else sizes
            sizer = min(sizer, auto.ERROR_REACH * usual_rest) if usual_rest > 0 else sizer
        rate = max(fresh, SEASON_RATE)
        self._usual_error += rate * (sizes - usual_error)
        self._usual_rest += rate * (sizer - usual_rest)
        rate = max(1.0 / (count + 1.0), SLOT_RATE)
        self._slot_error[slot] += rate * (sizes - self._slot_error[slot])
        self._slot_rest[slot] += rate * (sizer - self._slot_rest[slot])
        self._slot_count[slot] = count + 1
        return error / own_error, rest / own_rest

    def _statistics(self, error: float, rest: float) -> list[float]:
        """All but the range, each that has two ways as both its parts."""
        fresh, means = 1.0 / (self.seen + 1.0), self._rest_means
        out = [error, 0.0] if error > 0 else [0.0, -error]
        for i, n in enumerate(REST_LENGTHS):
            means[i] = mean = means[i] + max(fresh, 1.0 / n) * (rest - means[i])
            out += (mean, 0.0) if mean > 0 else (0.0, -mean)
        out.append(math.log1p(self._still))
        return out

    def _surprises(self, h: list[float]) -> tuple[float, float]:
        """The two largest surprises, weighted; each statistic's memory learns."""
        seen, quantile = self.seen, self._quantile
        if seen < auto.WARM:
            self._quantile = [max(q, each) for q, each in zip(quantile, h, strict=True)]
            return 0.0, 0.0
        step = max(STEP, 1.0 / (1.0 + SHARE * seen))
        up, down = math.exp(step), math.exp(step * DOWN)
        first = second = 0.0
        for i, each in enumerate(h):
            if each <= quantile[i] or each <= 0:
                quantile[i] *= down
                continue
            nats = self._beyond(i, each, up)
            if i == auto.CHANNELS - 1 and self._still < auto.STILL_MIN:
                continue
            if nats > first:
                first, second = nats, first
            elif nats > second:
                second = nats
        return first, second

    def _beyond(self, i: int, each: float, up: float) -> float:
        """Nats of a statistic beyond its quantile; its memory learns."""
        q, tail, times = self._quantile[i], self._tail[i], self._times[i]
        excess = math.log(each / q) if q > 0 else UNKNOWN
        nats = excess / max(tail, TAIL_MIN) * WEIGHTS[i]
        self._quantile[i] = min(q * up, each) if q > 0 else 0.5 * each
        rate = max(1.0 / (self._count[i] + 1.0), FORGET)
        self._tail[i] = tail + rate * (min(excess, max(EXCESS_MAX, 2.0 * tail)) - tail)
        self._count[i] += 1.0
        if nats <= NOTABLE:
            return nats
        if each > RECORD * self._peak[i]:
            self._peak[i], times = each, 0.0
        if times >= TIMES_FREE:
            nats /= 1.0 + TIMES_WEIGH * (times - TIMES_FREE + 1.0)
        if each > ALIKE * self._peak[i]:
            times += self.seen - self._came[i] > NEW_AFTER
            self._came[i] = float(self.seen)
        self._times[i] = times
        return nats

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
