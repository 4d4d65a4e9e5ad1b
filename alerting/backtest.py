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

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from alerting.detectors.auto import SLOTS, Auto
from alerting.detectors.auto_series import AutoSeries
from alerting.detectors.base import Rule
from alerting.detectors.catalogue import DETECTORS
from alerting.detectors.city_clock import CityClock
from alerting.detectors.rows import NEVER
from alerting.detectors.scalar import ScalarDetector, ScalarSettings
from alerting.detectors.threshold import MINUTE_S, Threshold, ThresholdSettings
from alerting.detectors.values import Values
from alerting.dispatch.windows import Calendar
from alerting.rules import parse_rule
from domain.errors import SettingsError
from domain.readings import Bool, Float64, Int64

HELD_SCORE = 0.45


class Described(NamedTuple):
    """What a person who chooses a detector wants to know."""

    words: str
    cost_us: float


SCALARS: Mapping[str, Described] = {
    "auto": Described("the recommended one for an unknown series, no settings", 14),
    "threshold": Described("levels, delays, n of m, rate of rise; needs --rules", 1),
    "level": Described("far from its usual level", 30),
    "change": Described("an unusual jump", 45),
    "season": Described("unusual for the time of day and kind of day", 55),
    "drift": Described("a slow drift, temperature taken out", 15),
    "shape": Described("a shape not seen before, for series that repeat", 65),
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
        return ThresholdSeries(made.settings)
    if isinstance(made, Auto):
        return UnknownSeries(made)
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

    def __init__(self, detector: ScalarDetector[Any]) -> None:
        self.detector = detector
        self._row = detector.row_of(np.ones(1, np.int32))
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
        at = np.flatnonzero(judged | (beside & finite))
        if len(at):
            row, own, first = np.repeat(self._row, len(at)), judged[at], np.arange(len(at)) == 0
            columns = row, time_us[at], value[at], time_us[at], first
            taken = self.detector.take_in(Values(*columns, None if own.all() else own))
            assert taken is not None
            told = [d.sampled_us for d in taken.said if d.phase != "clear"]
            alert[at] = np.isin(time_us[at], told) & own
            strength = taken.found.strength
            held = (strength >= 1.0) & ~alert[at]
            score[at] = np.where(held, HELD_SCORE, strength / (1.0 + strength))
        if judged.any():
            self._newest_us = int(time_us[judged].max())
        return Scored(score, alert, judged)


class UnknownSeries:
    """The detector for unknown series, in plain numbers; says what ``ScalarSeries`` of ``Auto`` would say."""

    def __init__(self, detector: Auto) -> None:
        self._clock = detector.clock
        self._settings = detector.settings
        self._series = AutoSeries(detector.settings.evidence)
        self._newest_us = NEVER
        self._told = 0.0  # 0 = no episode

    def run(self, time_us: Int64, value: Float64, companion: Bool | None = None) -> Scored:
        """See ``Series``."""
        n = len(time_us)
        score, alert, judged = np.zeros(n), np.zeros(n, bool), np.zeros(n, bool)
        own = np.isfinite(value) if companion is None else np.isfinite(value) & ~companion
        judged[own] = newer(time_us[own], self._newest_us)
        at = np.flatnonzero(judged)
        if len(at) == 0:
            return Scored(score, alert, judged)
        self._newest_us = int(time_us[at[-1]])
        slot, kind = self._clock.slots(time_us[at], SLOTS)
        columns = (at.tolist(), time_us[at].tolist(), value[at].tolist(), slot.tolist(), kind.tolist())
        for i, t, v, s, k in zip(*columns, strict=True):
            strength = self._series.strength(t, v, s, k)
            if strength > 0.0 or self._told:
                alert[i] = self._tells(strength)
                score[i] = HELD_SCORE if strength >= 1.0 and not alert[i] else strength / (1.0 + strength)
        return Scored(score, alert, judged)

    def _tells(self, strength: float) -> bool:
        """Whether somebody is told; episodes begin and end as in ``ScalarDetector.tell``."""
        loud = strength >= 1.0
        if self._told:
            if strength >= self._settings.again * self._told:
                self._told = strength
                told = True
            else:
                told = False
                if not loud and not self._series.holds():
                    self._told = 0.0
        else:
            told = loud
            self._told = strength if loud else 0.0
        return told


class ThresholdSeries:
    """A threshold on one series, in plain numbers; says what ``Threshold`` says (the tests hold them together).

    An array step costs the same for one row as for a hundred, and while a series is in
    alarm each row is a step.
    """

    def __init__(self, settings: ThresholdSettings) -> None:
        self.settings = s = settings
        self._steps = sorted(s.sign * level for level in s.levels.values())
        self._on_us, self._off_us = round(s.on_delay_s * 1e6), round(s.off_delay_s * 1e6)
        self._gap_us, self._bits = round(s.gap_s * 1e6), (1 << s.of) - 1
        self._newest_us = NEVER
        self._since: list[int | None] = [None] * len(self._steps)
        self._past = [0] * len(self._steps)
        self._safe_us: int | None = None
        self._level = 0
        self._mean = 0.0

    def run(self, time_us: Int64, value: Float64, companion: Bool | None = None) -> Scored:
        """See ``Series``."""
        finite = np.isfinite(value)
        judged = np.zeros(len(time_us), bool)
        judged[finite] = newer(time_us[finite], self._newest_us)
        before = self._level > 0
        times = time_us[judged].tolist()
        measured = self._rates(times, value[judged].tolist()) if self.settings.rise_over_s else value[judged]
        signed = np.abs(measured) if self.settings.direction == "magnitude" else self.settings.sign * measured
        passed = np.searchsorted(self._steps, signed, side="right")
        safe = signed <= self.settings.sign * self.settings.clear
        holds = [self._holds(t, k, s) for t, k, s in zip(times, passed.tolist(), safe.tolist(), strict=True)]
        states = np.array([before, *holds], bool)
        score = np.zeros(len(time_us))
        score[judged] = self._score(signed)
        return Scored(score, states[np.cumsum(judged)], judged)

    def _holds(self, time_us: int, passed: int, safe: bool) -> bool:
        """Whether the condition holds after a value that passed so many levels."""
        newest, self._newest_us = self._newest_us, time_us
        if passed == 0 and self._level == 0 and self._since[0] is None and self._past[0] == 0:
            return False
        gap = time_us - newest > self._gap_us
        held = 0
        for j, since in enumerate(self._since):
            past = 0 if gap else self._past[j]
            self._past[j] = past = (past << 1 | (passed > j)) & self._bits
            if past.bit_count() < self.settings.n:
                self._since[j] = None
                continue
            begun = self._since[j] = time_us if since is None or gap else since
            held += time_us - begun >= self._on_us
        if self._level and passed == 0 and safe:
            self._safe_us = time_us if self._safe_us is None or gap else self._safe_us
            if time_us - self._safe_us >= self._off_us:
                self._level, self._safe_us = 0, None
                return False
        else:
            self._safe_us = None
        self._level = max(self._level, held)
        return self._level > 0

    def _rates(self, times: list[int], values: list[float]) -> Float64:
        """Rates of rise per minute, as ``Threshold.rates``."""
        over_s, newest = self.settings.rise_over_s, self._newest_us
        reach_us = max(self._gap_us, round(over_s * 1e6))
        out = []
        for t, v in zip(times, values, strict=True):
            known = t - newest <= reach_us
            gap_s = (t - newest) / 1e6 if known else 0.0
            mean = self._mean if known else v
            out.append((v - mean) / max(gap_s, over_s) * MINUTE_S)
            self._mean = mean - math.expm1(-gap_s / over_s) * (v - mean)
            newest = t
        return np.array(out)

    def _score(self, signed: Float64) -> Float64:
        """0 at the clear level, 0.5 at the mildest level, 1 at the worst (or as far again, when there is one)."""
        steps, clear = self._steps, self.settings.sign * self.settings.clear
        worst = steps[-1] if len(steps) > 1 else steps[0] + max(steps[0] - clear, 1e-9)
        return np.where(
            signed >= steps[0],
            0.5 + 0.5 * np.clip((signed - steps[0]) / (worst - steps[0]), 0.0, 1.0),
            0.49 * np.clip((signed - clear) / max(steps[0] - clear, 1e-9), 0.0, 1.0),
        )
