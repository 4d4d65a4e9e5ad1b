"""A detector over one series, row by row in event time, with a score for every row.

What a row's score is depends on that row and those before it, never on what follows
or on how the rows were cut into chunks. Rows that are blank, or not newer than the
newest before them, are not judged: score 0, as in live operation. Pure.

``score``: 0.5 is where the detector would speak. ``alert``: for a threshold 1 while
its condition holds; for detectors of unusual values 1 on the row that tells somebody,
which is once an episode (or again, when it becomes much stronger), and their score
stays below 0.5 while they hold off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from alerting.detectors.base import Rule
from alerting.detectors.catalogue import DETECTORS
from alerting.detectors.city_clock import CityClock
from alerting.detectors.rows import NEVER
from alerting.detectors.scalar import ScalarDetector, ScalarSettings
from alerting.detectors.threshold import Threshold, ThresholdSettings
from alerting.dispatch.windows import Calendar
from alerting.rules import parse_rule
from domain.errors import SettingsError
from domain.readings import Bool, Float64, Int64, Readings

HELD_SCORE = 0.45
PIECE = 32
"""Rows given to a threshold at once: a quiet piece costs one comparison, a loud one a step for each row."""


class Described(NamedTuple):
    """What a person who chooses a detector wants to know."""

    words: str
    cost_us: float


SCALARS: Mapping[str, Described] = {
    "auto": Described("the recommended one for an unknown series, no settings", 190),
    "threshold": Described("levels, delays, n of m, rate of rise; needs --rules", 0.8),
    "level": Described("far from its usual level", 70),
    "change": Described("an unusual jump", 65),
    "season": Described("unusual for the time of day and kind of day", 95),
    "drift": Described("a slow drift, temperature taken out", 45),
    "shape": Described("a shape not seen before, for series that repeat", 60),
}
"""Detectors of a single scalar series, with what a value costs here, in µs; many sensors at once cost far less."""


class Scored(NamedTuple):
    """Columns ``(n,)`` for the rows given."""

    score: Float64
    alert: Bool
    judged: Bool


class Series(Protocol):
    """A detector at work on one series; call with chunk after chunk."""

    def run(self, time_us: Int64, value: Float64, companion: Bool | None = None) -> Scored:
        """Score the next rows; ``companion`` marks rows of the companion metric, which are only learnt from."""
        ...


def default_rule(detector: str, metric: str = "value") -> Rule:
    """A rule of this detector without any settings. Raises: SettingsError when it cannot work without."""
    if detector not in SCALARS:
        raise SettingsError(f"no detector {detector!r} for a series of values; use one of {', '.join(SCALARS)}")
    settings: dict[str, Any] = {"metric": metric, "title": {"zh": "数值异常", "en": "Unusual value"}}
    if detector == "threshold":
        raise SettingsError("a threshold needs levels: give them with --rules FILE, see docs/howto/backtest.md")
    return parse_rule({"id": detector, "detector": detector, "kind": "anomaly.value", "settings": settings})


def chosen_rule(rules: list[Rule], name: str | None) -> Rule:
    """The rule that is meant by the name of its detector or its own. Raises: SettingsError."""
    fitting = [rule for rule in rules if rule.detector in SCALARS and name in (None, rule.id, rule.detector)]
    exact = [rule for rule in fitting if rule.id == name]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    known = ", ".join(f"{rule.id} ({rule.detector})" for rule in rules) or "none"
    which = "several rules judge" if fitting else "no rule judges"
    meant = f" for --detector {name}" if name else ""
    raise SettingsError(f"{which} a series of values{meant}: name one by its id; there are {known}")


def series_of(rule: Rule, calendar: Calendar | None = None) -> Series:
    """The rule's detector at work on one series, on this calendar's clock.

    Raises: SettingsError when it judges something else.
    """
    made = DETECTORS[rule.detector].make(rule, lambda key: None)
    clock = getattr(made, "clock", None)
    if calendar is not None and isinstance(clock, CityClock):
        clock.use(calendar)
    if isinstance(made, Threshold):
        return ThresholdSeries(made)
    if isinstance(made, ScalarDetector):
        return ScalarSeries(made)
    raise SettingsError(f"rule {rule.id}: {rule.detector} does not judge a series of values")


def companion_of(rule: Rule) -> str | None:
    """The metric a rule wants to see beside its own."""
    return getattr(rule.settings, "compensate", "") or None


def metric_of(rule: Rule) -> str:
    """The metric a rule judges."""
    assert isinstance(rule.settings, ThresholdSettings | ScalarSettings)
    return rule.settings.metric


def newer(time_us: Int64, newest_us: int) -> Bool:
    """Which rows are newer than all before them."""
    before = np.maximum.accumulate(np.concatenate([[newest_us], time_us]))[:-1]
    return np.asarray(time_us > before)


class ScalarSeries:
    """A detector of unusual values on one series."""

    def __init__(self, detector: ScalarDetector) -> None:
        self.detector = detector
        self._row = detector.rows_of(np.ones(1, np.int32))
        self._newest_us = NEVER

    def run(self, time_us: Int64, value: Float64, companion: Bool | None = None) -> Scored:
        """See ``Series``."""
        n = len(time_us)
        score, alert = np.zeros(n), np.zeros(n, bool)
        beside = np.zeros(n, bool) if companion is None else companion
        finite = np.isfinite(value)
        own = finite & ~beside
        judged = np.zeros(n, bool)
        judged[own] = newer(time_us[own], self._newest_us)
        for i in np.flatnonzero(judged | (beside & finite)).tolist():
            one = slice(i, i + 1)
            if beside[i]:
                self.detector.learn_companion(self._row, time_us[one], value[one])
                continue
            step = self.detector.step_of(self._row, time_us[one], value[one], time_us[one])
            found = self.detector.measure(step)
            strength = float(found.strength[0])
            if strength > 0.0 or self.detector.active(step)[0]:
                alert[i] = self.detector.speaks(step, found)[0]
                score[i] = strength / (1.0 + strength)
                if strength >= 1.0 and not alert[i]:
                    score[i] = HELD_SCORE
                self.detector.tell(step, found)
        if judged.any():
            self._newest_us = int(time_us[judged].max())
        return Scored(score, alert, judged)


class ThresholdSeries:
    """A threshold on one series."""

    def __init__(self, detector: Threshold) -> None:
        self.detector = detector
        self._rates = Threshold(detector.rule)  # of the same rates of rise, for the score alone
        self._rates.rows_of(np.ones(1, np.int32))
        self._newest_us = NEVER
        self._active = False

    def run(self, time_us: Int64, value: Float64, companion: Bool | None = None) -> Scored:
        """See ``Series``."""
        n = len(time_us)
        finite = np.isfinite(value)
        judged = np.zeros(n, bool)
        judged[finite] = newer(time_us[finite], self._newest_us)
        if judged.any():
            self._newest_us = int(time_us[judged].max())
        at = np.flatnonzero(judged)
        ones, none = np.ones(len(at), np.int32), np.full(len(at), -1, np.int64)
        t, v, fresh = time_us[at], value[at], np.zeros(len(at), bool)
        holds = np.zeros(n, bool)
        changes: list[tuple[int, bool]] = [(0, self._active)]
        for first in range(0, len(at), PIECE):
            cut = slice(first, first + PIECE)
            rows = Readings(ones[cut], ones[cut], t[cut], v[cut], none[cut], t[cut], fresh[cut])
            changes += [
                (int(at[np.searchsorted(t, found.sampled_us)]), found.phase != "clear")
                for found in self.detector.feed(rows, 1)
            ]
        for (begin, active), (end, _) in zip(changes, [*changes[1:], (n, False)], strict=True):
            holds[begin:end] = active
        self._active = changes[-1][1]
        measured = value
        if self.detector.settings.rise_over_s:
            measured = np.zeros(n)
            measured[at] = self._rates.rates(np.zeros(len(at), np.intp), t, v)
        return Scored(np.where(judged, self._score(measured), 0.0), holds, judged)

    def _score(self, value: Float64) -> Float64:
        """0 at the clear level, 0.5 at the mildest level, 1 at the worst (or as far again, when there is one)."""
        s = self.detector.settings
        signed = np.abs(value) if s.direction == "magnitude" else s.sign * value
        steps = sorted(s.sign * level for level in s.levels.values())
        clear = s.sign * s.clear
        worst = steps[-1] if len(steps) > 1 else steps[0] + max(steps[0] - clear, 1e-9)
        return np.where(
            signed >= steps[0],
            0.5 + 0.5 * np.clip((signed - steps[0]) / (worst - steps[0]), 0.0, 1.0),
            0.49 * np.clip((signed - clear) / max(steps[0] - clear, 1e-9), 0.0, 1.0),
        )
