"""The recommended detector for a scalar series nobody knows anything about: no settings, any scale, any rate.

Six kinds of statistics of the same value, each compared with its own past
(``surprise.py``), so that neither unit nor noise nor season need be known:

- the error of the nearest of three forecasts (last value, short mean, time of day), both ways: a
  value that any of them expects is no surprise, such as the edge at which a shift begins each day;
- means over some lengths of what the season, or the slow level, leaves over;
- differences of means of growing length, a Haar-like cascade for steps and drifts
  (Mallat 1989 has the idea; ours is exponentially weighted and costs one number a length);
- roughness: short means of the forecast's error over a long one, both ways;
- the range: how far the value lies outside all before, against how far such records
  usually go (after the spatial rule of the Numenta benchmark's own detector, Ahmad et
  al., Neurocomputing 262, 2017);
- sameness: how often the value has stood still.

The strongest surprise and a share of the second make the evidence. It fires when that
passes a fixed number of nats, and then holds off for a stretch that grows with what it
has seen, unless something much stronger comes. Everything is known from rows before
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
from alerting.detectors.scalar import ScalarDetector, ScalarSettings, Step, Strength
from alerting.detectors.surprise import EXCESS_MAX, FORGET, TAIL_PRIOR, TAIL_PRIOR_COUNT, surprise
from domain.readings import Bool, Float64, Int64

EVIDENCE = 3.0
"""Nats that make an alarm."""
SECOND = 0.3
WARM = 60
SILENT = 180
"""Rows before it may speak."""
CAUTION = 150
"""Rows that halve the evidence when it has just begun: what is usual is not known well yet."""
LENGTHS = np.array([5.0, 20.0, 80.0, 320.0])
REST_LENGTHS = np.array([5.0, 20.0, 80.0])
ROUGH_LENGTHS = np.array([20.0, 80.0, 1500.0])
SLOW = 600
ERROR_LENGTH = 200
SEASON_LENGTH = 500
SLOTS = 48
SEASON_EARNS = 0.9
"""Season is used once its error is below this share of the slow level's."""
RANGE_MIN = 0.02
RANGE_GAIN = 2.0
RANGE_TAIL_MIN = 0.1
RANGE_MAX = 8.0
STILL_MIN = 6
HOLD_ROWS, HOLD_SHARE, HOLD_ROWS_MAX = 50, 0.02, 500
FORECAST_WEIGHT, ROUGH_WEIGHT = 0.8, 0.4
"""Statistics that are often large for a moment weigh less."""
DAY_US = 86_400_000_000
TINY = 1e-300

_PAIRS = 1 + len(REST_LENGTHS) + len(LENGTHS) - 1 + len(ROUGH_LENGTHS) - 1
CHANNELS = 2 * _PAIRS + 1
WEIGHTS = np.concatenate([
    np.full(2, FORECAST_WEIGHT), np.ones(2 * (len(REST_LENGTHS) + len(LENGTHS) - 1)),
    np.full(2 * (len(ROUGH_LENGTHS) - 1), ROUGH_WEIGHT), np.ones(1),
])  # fmt: skip
NAMES = (
    *(f"{name}{sign}" for name in (
        "forecast", *(f"rest-{n:g}" for n in REST_LENGTHS), *(f"step-{n:g}" for n in LENGTHS[:-1]),
        *(f"rough-{n:g}" for n in ROUGH_LENGTHS[:-1])) for sign in "+-"),
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


class Auto(ScalarDetector):
    """One rule over all devices that send its metric; about 2 KB a sensor."""

    FIELDS: ClassVar = {
        **ScalarDetector.FIELDS, "_last": 0, "_short": 0, "_short_rest": 0, "_slow": 0, "_error": 0,
        "_error_slow": 0, "_error_season": 0, "_high": -np.inf, "_low": np.inf, "_still": 0, "_profile": 0,
        "_profile_count": 0, "_means": 0, "_rest_means": 0, "_rough": 0, "_quantile": 0, "_pareto": TAIL_PRIOR,
        "_pareto_count": TAIL_PRIOR_COUNT, "_records": TAIL_PRIOR,
    }  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        assert isinstance(rule.settings, AutoSettings)
        self.settings = rule.settings
        self.clock = CityClock()
        for name in ("_last", "_short", "_short_rest", "_slow", "_high", "_low", "_still"):
            setattr(self, name, np.zeros(0))
        self._error_slow = self._error_season = np.zeros(0)
        self._error: Float64 = np.zeros((0, 3))
        self._profile: Float64 = np.zeros((0, 2, SLOTS))
        self._profile_count: NDArray[np.float32] = np.zeros((0, 2, SLOTS), np.float32)
        self._means: Float64 = np.zeros((0, len(LENGTHS)))
        self._rest_means: Float64 = np.zeros((0, len(REST_LENGTHS)))
        self._rough: Float64 = np.zeros((0, len(ROUGH_LENGTHS)))
        self._quantile: Float64 = np.zeros((0, CHANNELS))
        self._pareto: NDArray[np.float32] = np.zeros((0, CHANNELS), np.float32)
        self._pareto_count: NDArray[np.float32] = np.zeros((0, CHANNELS), np.float32)
        self._records: Float64 = np.zeros((0, 2))  # usual size of a record in widths of the range, and how many
        self.strongest: Rows64 = np.zeros(0, np.intp)
        """Which statistic spoke loudest in the last step, as an index of ``NAMES``."""

    _last: Float64
    _short: Float64
    _short_rest: Float64
    _slow: Float64
    _error_slow: Float64
    _error_season: Float64
    _high: Float64
    _low: Float64
    _still: Float64

    def measure(self, at: Step) -> Strength:
        """Evidence over what makes an alarm; learns from the value."""
        r, v = at.row, at.value
        seen = self._seen[r].astype(np.float64)
        self._begin(r[seen == 0], v[seen == 0])
        expected, error, rest = self._forecast(at, seen)
        still = self._stands_still(r, v, seen)
        averages = self._averages(r, v, rest, error, seen)
        h = np.concatenate([_both(error[:, None]), averages, np.log1p(still)[:, None]], axis=1)
        past = (self._quantile[r], self._pareto[r].astype(np.float64), self._pareto_count[r].astype(np.float64))
        nats, self._quantile[r], self._pareto[r], self._pareto_count[r] = surprise(h, *past, seen, WARM)
        nats *= WEIGHTS
        nats[:, -1] = np.where(still >= STILL_MIN, nats[:, -1], 0.0)
        evidence = self._evidence(np.concatenate([nats, self._record(r, v, seen)[:, None]], axis=1))
        self._seen[r] = seen + 1
        self._last[r] = v
        scale = np.maximum(self._error[r].min(axis=1), TINY)
        limit = np.full(len(r), self.settings.evidence)
        limit *= 1.0 + CAUTION / (seen + 1.0)
        return Strength(np.where(seen >= SILENT, evidence / limit, 0.0), expected, scale, limit)

    def hold_us(self, at: Step) -> Int64:
        """So many rows at the usual distance."""
        seen = self._seen[at.row].astype(np.float64)
        rows = np.minimum(HOLD_ROWS + HOLD_SHARE * seen, HOLD_ROWS_MAX)
        return ((at.time_us - self._begun[at.row]) / np.maximum(seen - 1, 1) * rows).astype(np.int64)

    # ------------------------------------------------------------ statistics

    def _begin(self, r: Rows64, v: Float64) -> None:
        """The first value of a sensor is its level."""
        self._last[r] = self._short[r] = self._slow[r] = v
        self._means[r] = v[:, None]

    def _forecast(self, at: Step, seen: Float64) -> tuple[Float64, Float64, Float64]:
        """The best forecast, the value's error against it, and what season or slow level leave of the value."""
        r, v = at.row, at.value
        slot, kind = self.clock.slots(at.time_us, SLOTS)
        count, other = self._profile_count[r, kind, slot], self._profile_count[r, 1 - kind, slot]
        borrowed = (count == 0) & (other > 0)
        profile = np.where(borrowed, self._profile[r, 1 - kind, slot], self._profile[r, kind, slot])
        profile = np.where(count + other > 0, profile, self._slow[r])
        from_profile, from_slow = v - profile, v - self._slow[r]
        watched_us = at.time_us - self._begun[r]
        season = (count + other > 0) & (watched_us > 2 * DAY_US)
        season &= self._error_season[r] < SEASON_EARNS * self._error_slow[r]
        errors = np.stack([v - self._last[r], v - self._short[r], from_profile - self._short_rest[r]], axis=1)
        usual, size = self._error[r], np.abs(errors)
        size[~season, 2] = np.inf
        error = errors[np.arange(len(r)), size.argmin(axis=1)]
        rest = np.where(season, from_profile, from_slow)
        fresh = 1.0 / (seen + 1.0)
        reach = np.where(seen[:, None] > 20, 5.0 * usual + TINY, np.inf)
        rate = np.maximum(fresh, 1.0 / ERROR_LENGTH)[:, None]
        self._error[r] = usual + rate * (np.minimum(np.abs(errors), reach) - usual)
        rate = np.maximum(fresh, 1.0 / SEASON_LENGTH)
        self._compare_seasons(r, from_profile, from_slow, rate, watched_us > DAY_US)
        self._short[r] += np.maximum(fresh, 0.25) * (v - self._short[r])
        self._short_rest[r] += 0.25 * (from_profile - self._short_rest[r])
        self._follow(r, v, kind, slot, profile, count.astype(np.float64), seen)
        return v - error, error, rest

    def _compare_seasons(
        self, r: Rows64, from_profile: Float64, from_slow: Float64, rate: Float64, judged: Bool
    ) -> None:
        """Mean errors of the profile and of the slow level, from the second day on."""
        for name, error in (("_error_slow", from_slow), ("_error_season", from_profile)):
            usual = getattr(self, name)[r]
            capped = np.minimum(np.abs(error), np.where(usual > 0, 5.0 * usual, np.inf))
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

    def _averages(self, r: Rows64, v: Float64, rest: Float64, error: Float64, seen: Float64) -> Float64:
        """Means of the rest, steps between means of the value, and roughness, each both ways."""
        fresh = 1.0 / (seen + 1.0)[:, None]
        means, rest_means, rough = self._means[r], self._rest_means[r], self._rough[r]
        means += np.maximum(fresh, 1.0 / LENGTHS) * (v[:, None] - means)
        rest_means += np.maximum(fresh, 1.0 / REST_LENGTHS) * (rest[:, None] - rest_means)
        rough += np.maximum(fresh, 1.0 / ROUGH_LENGTHS) * (np.abs(error)[:, None] - rough)
        self._means[r], self._rest_means[r], self._rough[r] = means, rest_means, rough
        floor = 0.01 * rough[:, -1:] + TINY
        roughness = np.log((rough[:, :-1] + floor) / (rough[:, -1:] + floor))
        return np.concatenate([_both(rest_means), _both(means[:, :-1] - means[:, 1:]), _both(roughness)], axis=1)

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
