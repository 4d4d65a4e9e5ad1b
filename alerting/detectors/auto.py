"""The recommended detector for a scalar series nobody knows anything about: no settings, any scale, any rate.

Four kinds of statistics of the same value, each compared with its own past
(``surprise.py``), so that neither unit nor noise nor season need be known:

- the error of the nearest of four forecasts (last value, short mean, time of day on this kind of
  day and on the other), both ways: a value that any of them expects is no surprise, such as the
  edge at which a shift begins each day, or a holiday that no calendar here knows;
- means over some lengths of what the season, or the slow level, leaves over;
- the range: how far the value lies outside all before, against how far such records
  usually go (after the spatial rule of the Numenta benchmark's own detector, Ahmad et
  al., Neurocomputing 262, 2017);
- sameness: how often the value has stood still.

Errors are measured in what is usual at this time of day, so that a quiet night is no less
watched than a busy noon; the forecast's also a little in how rough it is just now.

The strongest surprise and a share of the second make the evidence. It fires when that
passes some nats, more of them the more rows were seen, and then holds off for a stretch that
grows likewise, unless something much stronger comes. Everything is known from rows before
and counted in rows, except the time of day, so that irregular sampling does no harm.
What was tried and left out stands in docs/decisions.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alerting.detectors.base import Positive, Rule, Words
from alerting.detectors.city_clock import CityClock
from alerting.detectors.rows import Rows64
from alerting.detectors.scalar import Own, ScalarDetector, ScalarSettings, Strength
from alerting.detectors.steps import Steps
from alerting.detectors.surprise import EXCESS_MAX, FORGET, MEMORY, TAIL_PRIOR, surprise
from domain.readings import Bool, Float64, Int64

EVIDENCE = 2.7
"""Nats that make an alarm."""
EVIDENCE_ROWS = 5_000.0
"""From so many rows on, one nat more each time they grow by a factor e: fewer alarms a row, as rows grow."""
SECOND = 0.2
WARM = 60
SILENT = 180
"""Rows before it may speak."""
CAUTION = 100
"""Rows that halve the evidence when it has just begun: what is usual is not known well yet."""
REST_LENGTHS = np.array([5.0, 20.0, 80.0])
ROUGH_LENGTHS = np.array([80.0, 1500.0])
ROUGH_COUNTS = 0.3
SLOW = 600
ERROR_LENGTH = 500
SLOT_LENGTH = 50
SLOTS = 48
SLOT_KNOWN = 3
SEASON_EARNS = 0.8
"""Season is used once its error is below this share of the slow level's."""
ERROR_REACH = 5.0
"""An error counts at most so many times the usual one in what is learnt of errors."""
QUIET = 0.05
"""A time of day, or a stretch, is taken as no quieter than this share of the usual."""
RANGE_MIN = 0.02
RANGE_GAIN = 2.0
RANGE_TAIL_MIN = 0.1
RANGE_MAX = 8.0
STILL_MIN = 5
HOLD_ROWS, HOLD_SHARE, HOLD_ROWS_MAX = 50, 0.02, 500
FORECAST_WEIGHT = 0.8
"""A statistic that is often large for a moment weighs less."""
NEVER_LOUD = -1e9
DAY_US = 86_400_000_000
TINY = 1e-300

CHANNELS = 2 * (1 + len(REST_LENGTHS)) + 1
WEIGHTS = np.concatenate([np.full(2, FORECAST_WEIGHT), np.ones(CHANNELS - 2)])
NAMES = (
    *(f"{name}{sign}" for name in ("forecast", *(f"rest-{n:g}" for n in REST_LENGTHS)) for sign in "+-"),
    "still", "range",
)  # fmt: skip


class AutoSettings(ScalarSettings):
    """Nothing needs to be set; ``evidence``: how much it takes to alarm, in nats beyond the usual."""

    evidence: Positive = EVIDENCE

    def words(self) -> Words:
        """The rule in words."""
        unit = f" ({self.unit})" if self.unit else ""
        return Words(f"`{self.metric}`{unit}", f"{self.severity}: evidence ≥ {self.evidence:g}", "usual again")


def _both(a: Float64) -> Float64:
    """Positive and negative parts side by side, ``(k, m)`` to ``(k, 2 m)``."""
    out = np.empty((len(a), 2 * a.shape[1]))
    np.maximum(a, 0.0, out=out[:, 0::2])
    np.maximum(-a, 0.0, out=out[:, 1::2])
    return out


def _capped(size: Float64, usual: Float64, known: Bool) -> Float64:
    """Sizes, at most so many times the usual one where that is known."""
    return np.minimum(size, np.where(known & (usual > 0), ERROR_REACH * usual, np.inf))


class Auto(ScalarDetector[Own]):
    """See the module; about 3 KB a sensor."""

    FIELDS: ClassVar = {
        **ScalarDetector.FIELDS, "_last": 0, "_short": 0, "_short_rest": 0, "_slow": 0, "_error_slow": 0,
        "_error_season": 0, "_usual": 0, "_slot_usual": 0, "_slot_count": 0, "_high": -np.inf, "_low": np.inf,
        "_still": 0, "_profile": 0, "_profile_count": 0, "_rest_means": 0, "_rough": 0, "_records": TAIL_PRIOR,
        "_memory": 0, "_loud_at": NEVER_LOUD,
    }  # fmt: skip

    def __init__(self, *rules: Rule) -> None:
        super().__init__(*rules)
        assert isinstance(self.common, AutoSettings)
        self.settings = self.common
        self.clock = CityClock()
        for name in ("_last", "_slow", "_error_slow", "_error_season", "_short", "_high", "_low", "_still"):
            setattr(self, name, np.zeros(0))
        self._short_rest: Float64 = np.zeros((0, 2))  # of what this kind of day's profile leaves, and the other's
        self._usual: Float64 = np.zeros((0, 2))  # size of the forecast's error and of the rest
        self._slot_usual: Float64 = np.zeros((0, SLOTS, 2))
        self._slot_count: NDArray[np.float32] = np.zeros((0, SLOTS), np.float32)
        self._profile: Float64 = np.zeros((0, 2, SLOTS))
        self._profile_count: NDArray[np.float32] = np.zeros((0, 2, SLOTS), np.float32)
        self._rest_means: Float64 = np.zeros((0, len(REST_LENGTHS)))
        self._rough: Float64 = np.zeros((0, len(ROUGH_LENGTHS)))
        self._records: Float64 = np.zeros((0, 2))  # usual size of a record in widths of the range, and how many
        self._loud_at = np.zeros(0)
        self._memory: Float64 = np.zeros((0, len(MEMORY), CHANNELS))
        self.strongest: Rows64 = np.zeros(0, np.intp)
        """Which statistic spoke loudest in the last step, as an index of ``NAMES``."""

    _last: Float64
    _short: Float64
    _slow: Float64
    _error_slow: Float64
    _error_season: Float64
    _high: Float64
    _low: Float64
    _still: Float64
    _loud_at: Float64

    def measure(self, own: Own, at: Steps) -> Strength:
        """Evidence over what makes an alarm; learns from the value."""
        value, time_us = at.laid(at.value), at.laid(at.time_us)
        slots, kinds = self.clock.slots(time_us, SLOTS)
        strength, expected, scale, limit = (np.empty(len(at)) for _ in range(4))
        rests = np.empty(len(at), bool)
        for part in at.rounds():
            some = own.some(slice(part.stop - part.start))
            found = self._learn(some, time_us[part], value[part], slots[part], kinds[part])
            strength[part], expected[part], scale[part], limit[part], rests[part] = found
        return Strength(at.back(strength), at.back(expected), at.back(scale), at.back(limit), at.back(rests))

    def _learn(
        self, own: Own, time_us: Int64, v: Float64, slot: Rows64, kind: Rows64
    ) -> tuple[Float64, Float64, Float64, Float64, Bool]:
        """Of a value of each row: strength, what was expected, scale, limit, and whether an episode may end."""
        r, seen = own.row, own.seen.astype(np.float64)
        self._begin(r[seen == 0], v[seen == 0])
        error, rest = self._forecast(r, time_us - own.begun, v, seen, slot, kind)
        still = self._stands_still(r, v, seen)
        own_error, own_rest = self._by_time_of_day(r, slot, error, rest, seen)
        rest_means = self._rest_means[r]
        rest_means += np.maximum(1.0 / (seen + 1.0)[:, None], 1.0 / REST_LENGTHS) * (own_rest[:, None] - rest_means)
        self._rest_means[r] = rest_means
        both = _both(np.concatenate([own_error[:, None], rest_means], axis=1))
        h = np.concatenate([both, np.log1p(still)[:, None]], axis=1)
        nats, self._memory[r] = surprise(h, self._memory[r], seen, WARM, WEIGHTS)
        nats[:, -1] = np.where(still >= STILL_MIN, nats[:, -1], 0.0)
        evidence = self._evidence(np.concatenate([nats, self._record(r, v, seen)[:, None]], axis=1))
        own.seen += 1
        self._last[r] = v
        limit = self.settings.evidence + np.log(np.maximum((seen + 1.0) / EVIDENCE_ROWS, 1.0))
        limit *= 1.0 + CAUTION / (seen + 1.0)
        scale = np.maximum(self._usual[r, 0], TINY)
        strength = np.where(seen >= SILENT, evidence / limit, 0.0)
        self._loud_at[r] = np.where(strength >= 1.0, seen, self._loud_at[r])
        # It holds for so many rows since the last loud one, whatever time they take.
        rows = np.minimum(HOLD_ROWS + HOLD_SHARE * seen, HOLD_ROWS_MAX)
        return strength, v - error, scale, limit, seen - self._loud_at[r] >= rows

    # ------------------------------------------------------------ statistics

    def _begin(self, r: Rows64, v: Float64) -> None:
        """The first value of a sensor is its level."""
        self._last[r] = self._short[r] = self._slow[r] = v
        self._memory[r] = np.array(list(MEMORY.values()))[:, None]

    def _forecast(
        self, r: Rows64, watched_us: Int64, v: Float64, seen: Float64, slot: Rows64, kind: Rows64
    ) -> tuple[Float64, Float64]:
        """The value's error against the nearest forecast, and what season or slow level leave of the value."""
        count, others = self._profile_count[r, kind, slot], self._profile_count[r, 1 - kind, slot]
        other = np.where(others > 0, self._profile[r, 1 - kind, slot], self._slow[r])
        profile = np.where(count > 0, self._profile[r, kind, slot], other)
        from_profile, from_slow = v - profile, v - self._slow[r]
        season = (count + others > 0) & (watched_us > 2 * DAY_US)
        season &= self._error_season[r] < SEASON_EARNS * self._error_slow[r]
        short_rest, rests = self._short_rest[r], np.stack([from_profile, v - other], axis=1)
        errors = np.concatenate(
            [(v - self._last[r])[:, None], (v - self._short[r])[:, None], rests - short_rest], axis=1
        )
        size = np.abs(errors)
        size[~season, 2] = np.inf
        size[~(season & (count > 0) & (others > 0)), 3] = np.inf
        error = errors[np.arange(len(r)), size.argmin(axis=1)]
        fresh = 1.0 / (seen + 1.0)
        rate = np.maximum(fresh, 1.0 / ERROR_LENGTH)
        self._compare_seasons(r, from_profile, from_slow, rate, watched_us > DAY_US)
        self._short[r] += np.maximum(fresh, 0.25) * (v - self._short[r])
        self._short_rest[r] += 0.25 * (rests - short_rest)
        self._follow(r, v, kind, slot, profile, count.astype(np.float64), seen)
        return error, np.where(season, from_profile, from_slow)

    def _compare_seasons(
        self, r: Rows64, from_profile: Float64, from_slow: Float64, rate: Float64, judged: Bool
    ) -> None:
        """Mean errors of the profile and of the slow level, from the second day on."""
        for name, error in (("_error_slow", from_slow), ("_error_season", from_profile)):
            usual = getattr(self, name)[r]
            capped = _capped(np.abs(error), usual, np.ones(len(r), bool))
            getattr(self, name)[r] = np.where(judged, usual + rate * (capped - usual), usual)

    def _follow(
        self, r: Rows64, v: Float64, kind: Rows64, slot: Rows64, profile: Float64, count: Float64, seen: Float64
    ) -> None:
        """Slow level and profile learn the value, clipped."""
        reach = 4.0 * self._error_slow[r]
        off = v - self._slow[r]
        clipped = np.where((seen > 50) & (reach > 0), np.clip(off, -reach, reach), off)
        self._slow[r] += np.maximum(1.0 / (seen + 1.0), 1.0 / SLOW) * clipped
        reach = np.where((count > 6) & (self._error_season[r] > 0), 4.0 * self._error_season[r], np.inf)
        rate = np.maximum(1.0 / (count + 1.0), 0.06)
        learnt = profile + rate * np.clip(v - profile, -reach, reach)
        self._profile[r, kind, slot] = np.where(count == 0, v, learnt)
        self._profile_count[r, kind, slot] = count + 1

    def _by_time_of_day(
        self, r: Rows64, slot: Rows64, error: Float64, rest: Float64, seen: Float64
    ) -> tuple[Float64, Float64]:
        """Error and rest in what is usual now, as if every time of day were alike; learns what is usual."""
        size = np.abs(np.stack([error, rest], axis=1))
        usual, here, count = self._usual[r], self._slot_usual[r, slot], self._slot_count[r, slot].astype(np.float64)
        known = (seen > 20)[:, None] & (usual > 0)
        told = known & known[:, :1] & (count >= SLOT_KNOWN)[:, None]
        own = np.ones_like(size)
        np.divide(np.maximum(here, QUIET * usual), usual, out=own, where=told)
        rough = self._rough[r]
        now, long = rough.T
        near = ((now + QUIET * long + TINY) / ((1.0 + QUIET) * long + TINY)) ** ROUGH_COUNTS
        own[:, 0] *= np.where(seen > 100, near, 1.0)
        fresh = 1.0 / (seen + 1.0)[:, None]
        self._rough[r] = rough + np.maximum(fresh, 1.0 / ROUGH_LENGTHS) * (size[:, :1] - rough)
        size = _capped(size, usual, known)
        self._usual[r] = usual + np.maximum(fresh, 1.0 / ERROR_LENGTH) * (size - usual)
        rate = np.maximum(1.0 / (count + 1.0), 1.0 / SLOT_LENGTH)[:, None]
        self._slot_usual[r, slot] = here + rate * (size - here)
        self._slot_count[r, slot] = count + 1
        return error / own[:, 0], rest / own[:, 1]

    def _record(self, r: Rows64, v: Float64, seen: Float64) -> Float64:
        """Nats of a value outside the range so far, in widths of it; the range forgets slowly."""
        high, low = self._high[r], self._low[r]
        known = high > low
        width = np.where(known, high - low, 0.0)
        out = np.maximum(np.maximum(v - high, low - v), 0.0)
        beyond = np.divide(out, width, out=np.zeros(len(r)), where=known)
        self._high[r] = np.maximum(v, high - 1e-4 * width)
        self._low[r] = np.minimum(v, low + 1e-4 * width)
        usual, count = self._records[r].T
        nats = np.minimum(RANGE_GAIN * beyond / np.maximum(usual, RANGE_TAIL_MIN), RANGE_MAX)
        learns = (beyond > 0) & (seen >= WARM)
        rate = np.where(learns, np.maximum(1.0 / (count + 1.0), FORGET), 0.0)
        usual = usual + rate * (np.minimum(beyond, EXCESS_MAX) - usual)
        self._records[r] = np.stack([usual, count + learns], axis=1)
        return np.where((beyond > RANGE_MIN) & (seen >= WARM), nats, 0.0)

    def _stands_still(self, r: Rows64, v: Float64, seen: Float64) -> Float64:
        """How many times in a row the value was the one before."""
        still = np.where((v == self._last[r]) & (seen > 0), self._still[r] + 1, 0.0)
        self._still[r] = still
        return still

    def _evidence(self, nats: Float64) -> Float64:
        """The strongest surprise and a share of the second."""
        self.strongest = nats.argmax(axis=1)
        top = np.partition(nats, -2, axis=1)
        return np.asarray(top[:, -1] + SECOND * top[:, -2])
