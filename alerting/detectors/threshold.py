"""A metric over its level: several severities, a clear level, delays in event time.

Each severity has its own on-delay clock: the value must stay beyond that level
without a break. Within an episode severity only rises (it latches to the
worst); it ends when the value stays on the safe side of the clear level for the
off-delay. Rows that are late, or not newer than the newest of their device, are
skipped, so that a redelivered block changes nothing. State does not know wall
time: silence neither raises nor clears. Instead of each value, ``n`` of the last
``of`` may be asked to be beyond; instead of the value, its rate of rise may be
judged: (value - exponentially weighted mean over ``rise_over_s``) / ``rise_over_s``,
which on a ramp is its slope, and costs one number a sensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from alerting.detectors.base import Positive, Rule, RuleSettings, Seconds, Severity, Words
from alerting.detectors.rows import NEVER, Rows64, RuleState, is_late, rounds_of
from alerting.detectors.values import spanned
from domain.alerts import Alert, Detection
from domain.readings import Block, Bool, Float64, Int64, Readings
from domain.sorting import begins

OF_MAX = 32
MINUTE_S = 60.0


class ThresholdSettings(RuleSettings):
    """Levels of one metric, with hysteresis and delays in event time.

    ``levels``: severity to level, e.g. ``{3: 60, 2: 75}``; ``direction``: above,
    below, or magnitude (the sign does not matter, as with tilt); ``clear``: the value
    at or beyond which (on the safe side) the condition ends; ``on_delay_s``: how
    long a level must be exceeded without a break; ``off_delay_s``: how long the
    value must stay safe; ``gap_s``: silence after which both delays start anew;
    ``peak_step``: a new peak is reported when it passes the last reported one by
    this share of the level; ``n``, ``of``: so many of the last so many values must be
    beyond a level (a gap forgets them); ``rise_over_s``: not 0 = levels and clear are
    rates of rise per minute, averaged over about that time.
    """

    READS: ClassVar = frozenset({"readings"})
    KEEPS: ClassVar = frozenset({"title", "unit", "clear", "on_delay_s", "off_delay_s", "gap_s", "peak_step"})

    metric: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")
    unit: str = ""
    direction: Literal["above", "below", "magnitude"] = "above"
    levels: dict[Severity, float] = Field(min_length=1)
    clear: float
    on_delay_s: Seconds = 0.0
    off_delay_s: Seconds = 0.0
    gap_s: Positive = 600.0
    peak_step: Positive = 0.1
    n: Annotated[int, Field(ge=1, le=OF_MAX)] = 1
    of: Annotated[int, Field(ge=1, le=OF_MAX)] = 1
    rise_over_s: Seconds = 0.0

    @property
    def sign(self) -> int:
        """-1 when low values are bad, else 1."""
        return -1 if self.direction == "below" else 1

    @model_validator(mode="after")
    def _levels_make_sense(self) -> ThresholdSettings:
        steps = [self.sign * self.levels[s] for s in sorted(self.levels, reverse=True)]
        if any(b <= a for a, b in pairwise(steps)):
            raise ValueError(f"levels {self.levels}: a worse severity (1 is worst) needs a more extreme level")
        if self.direction == "magnitude" and steps[0] <= 0:
            raise ValueError("levels must be above zero when direction is magnitude")
        if self.sign * self.clear > steps[0]:
            mildest = self.sign * steps[0]
            raise ValueError(f"clear {self.clear} must not lie beyond the mildest level {mildest}")
        if self.n > self.of:
            raise ValueError(f"n {self.n} must not be more than of {self.of}")
        return self

    def words(self) -> Words:
        """The rule in words."""
        how = {"above": "≥", "below": "≤", "magnitude": "size ≥"}[self.direction]
        levels = ", ".join(f"{k}: {how} {level:g}" for k, level in sorted(self.levels.items(), reverse=True))
        wait = f" for {self.on_delay_s:g} s" if self.on_delay_s else ""
        off = f" for {self.off_delay_s:g} s" if self.off_delay_s else ""
        unit = f" ({self.unit})" if self.unit else ""
        many = f" {self.n} of {self.of} times" if self.of > 1 else ""
        rise = f" rising over {self.rise_over_s:g} s" if self.rise_over_s else ""
        return Words(f"`{self.metric}`{unit}{rise}{many}{wait}", levels, f"{self.clear:g} or less{off}")


@dataclass(frozen=True, slots=True)
class _Step:
    """One round: each row of one rule at most once, all newer than their newest."""

    row: Rows64
    time_us: Int64
    value: Float64
    received_us: Int64


class _Levels:
    """What a rule asks, as numbers: of values with their sign turned so that more is worse."""

    def __init__(self, rule: Rule) -> None:
        assert isinstance(rule.settings, ThresholdSettings)
        self.rule, self.settings = rule, rule.settings
        s = rule.settings
        self.severity = sorted(s.levels, reverse=True)  # mildest first
        self.signed = np.array([s.sign * s.levels[k] for k in self.severity])
        self.on_us, self.off_us = round(s.on_delay_s * 1e6), round(s.off_delay_s * 1e6)
        self.gap_us = round(s.gap_s * 1e6)
        self.bits = (1 << s.of) - 1


class Threshold(RuleState):
    """Rules over all devices that send their metrics, one or several; only a single one may judge rates of rise.

    Values that are below all levels, of sensors without an episode or a delay under way, are nearly
    all there are: those of all rules are compared at once, and no more is done with them.
    """

    FIELDS: ClassVar = {
        "_newest": NEVER, "_since": NEVER, "_safe_since": NEVER, "_level": 0, "_episode": 0, "_peak": 0, "_told": 0,
        "_beyond": 0, "_mean": 0, "_mean_newest": NEVER, "_busy": 0,
    }  # fmt: skip

    def __init__(self, *rules: Rule) -> None:
        super().__init__()
        self.rule, self.rules = rules[0], rules
        self._levels = [_Levels(rule) for rule in rules]
        self.settings = self._levels[0].settings
        assert len(rules) == 1 or not any(levels.settings.rise_over_s for levels in self._levels)
        self._mildest = np.array([levels.signed[0] for levels in self._levels])
        most = max(len(levels.signed) for levels in self._levels)
        self._newest: Int64 = np.zeros(0, np.int64)
        self._since: Int64 = np.zeros((0, most), np.int64)
        self._safe_since: Int64 = np.zeros(0, np.int64)
        self._level: NDArray[np.int8] = np.zeros(0, np.int8)  # 0 = inactive, else levels held
        self._episode: Int64 = np.zeros(0, np.int64)
        self._peak: Float64 = np.zeros(0)
        self._told: Float64 = np.zeros(0)
        self._beyond: Int64 = np.zeros((0, most), np.int64)  # bits of the last ``of`` values
        self._mean: Float64 = np.zeros(0)
        self._mean_newest: Int64 = np.zeros(0, np.int64)
        self._busy: Bool = np.zeros(0, bool)  # is or was lately beyond a level: else there is no state
        self._stirred = False  # whether anybody is

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's readings of the rules' metrics."""
        return self.feed(block.readings, metrics) if len(block.readings) else []

    def resume(self, alert: Alert, episode_us: int, newest_us: int, number: int = 0) -> None:
        """Take up an alert's episode after a restart."""
        r = self.row_of(np.array([alert.device], np.int32), number)
        levels = self._levels[number]
        held = max(1, sum(severity >= alert.severity for severity in levels.severity))
        self._busy[r] = self._stirred = True
        self._newest[r] = newest_us
        self._since[r, :held] = episode_us
        self._level[r], self._episode[r] = held, episode_us
        self._peak[r] = self._told[r] = levels.settings.sign * alert.value

    def snapshot(self, number: int = 0) -> dict[str, NDArray[Any]]:
        """All that is remembered of one rule, as copies."""
        count = len(self._levels[number].signed)
        saved = super().snapshot(number)
        return saved | {name: saved[name][:, :count] for name in ("_since", "_beyond")}

    def load(self, saved: Mapping[str, NDArray[Any]], number: int = 0) -> None:
        """Take up what ``snapshot`` gave; ValueError when it does not fit."""
        count, most = len(self._levels[number].signed), self._since.shape[1]
        filled = dict(saved)
        for name in ("_since", "_beyond"):
            if saved[name].shape[1:] != (count,):
                raise ValueError(f"saved state does not fit: {name}")
            filled[name] = np.pad(saved[name], ((0, 0), (0, most - count)), constant_values=self.FIELDS[name])
        filled["_busy"] = _has_state(filled["_level"], filled["_since"], filled["_beyond"])
        super().load(filled, number)
        self._stirred = bool(self._busy.any())

    def feed(self, readings: Readings, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the rows of the rules' metrics; detections are in event order per device and rule."""
        rows = readings.by_series
        wanted = enumerate(levels.settings.metric for levels in self._levels)
        spans = {number: span for number, of in wanted if (span := rows.spans.get(metrics.get(of, -1)))}
        if not spans:
            return []
        parts = list(spans.values())
        lengths = [part.stop - part.start for part in parts]
        row = self.rows_in(list(spans), parts, rows.device)
        time_us, value = spanned(rows.time_us, parts), spanned(rows.value, parts)
        if self.settings.rise_over_s:
            value = self.rates(row, time_us, value)
        value = self._signed(value, list(spans), lengths)
        hot = value >= np.repeat(self._mildest[list(spans)], lengths)
        if self._stirred:
            hot |= self._busy[row]
        if not np.count_nonzero(hot):
            np.maximum.at(self._newest, row, time_us)
            return []
        busy = np.zeros(len(self), bool)
        busy[row[hot]] = True
        slow = busy[row]
        calm = ~slow
        np.maximum.at(self._newest, row[calm], time_us[calm])
        received_us = spanned(rows.received_us, parts)[slow]
        return self._judge(_Step(row[slow], time_us[slow], value[slow], received_us))

    def _signed(self, value: Float64, numbers: Sequence[int], lengths: Sequence[int]) -> Float64:
        """The values of some rules, one after the other, turned so that more is worse."""
        directions = [self._levels[number].settings.direction for number in numbers]
        if all(direction == "above" for direction in directions):
            return value
        value, end = value.copy(), 0
        for direction, length in zip(directions, lengths, strict=True):
            part = value[end : end + length]
            if direction != "above":
                (np.abs if direction == "magnitude" else np.negative)(part, out=part)
            end += length
        return value

    def _judge(self, at: _Step) -> list[Detection]:
        """Values of sensors that are beyond a level, or were; rule by rule, each row's in the order received."""
        number = self.metric[at.row]
        found: list[Detection] = []
        for begin, end in pairwise([*np.flatnonzero(begins(number)).tolist(), len(number)]):
            levels, row = self._levels[number[begin]], at.row[begin:end]
            for part in rounds_of(begins(row)):
                i = begin + part[at.time_us[begin:end][part] > self._newest[row[part]]]
                if len(i):
                    step = _Step(at.row[i], at.time_us[i], at.value[i], at.received_us[i])
                    found += self._step(levels, step)
        self._stirred = bool(self._busy.any())
        return found

    def rates(self, row: Rows64, time_us: Int64, value: Float64) -> Float64:
        """Rates of rise per minute; 0 for a first value, after a gap, and for what is not newer. Rows by device."""
        over_s, gap_us = self.settings.rise_over_s, self._levels[0].gap_us
        out = np.zeros(len(row))
        for part in rounds_of(begins(row)):
            take = part[(time_us[part] > self._mean_newest[row[part]]) & np.isfinite(value[part])]
            r, v = row[take], value[take]
            since_us = time_us[take] - self._mean_newest[r]
            known = since_us <= max(gap_us, round(over_s * 1e6))
            gap_s = np.where(known, since_us / 1e6, 0.0)
            mean = np.where(known, self._mean[r], v)
            out[take] = (v - mean) / np.maximum(gap_s, over_s) * MINUTE_S
            self._mean[r] = mean - np.expm1(-gap_s / over_s) * (v - mean)
            self._mean_newest[r] = time_us[take]
        return out

    def _step(self, levels: _Levels, at: _Step) -> list[Detection]:
        r, t, v, s, count = at.row, at.time_us, at.value, levels.settings, len(levels.signed)
        gap = t - self._newest[r] > levels.gap_us
        self._newest[r] = t
        passed = v[:, None] >= levels.signed
        beyond = self._often(levels, r, passed, gap)
        since = self._since[r, :count]
        since = np.where(beyond, np.where((since == NEVER) | gap[:, None], t[:, None], since), NEVER)
        level = self._level[r]
        begins = beyond[:, 0] & (level == 0) & (since[:, 0] == t)
        self._peak[r] = np.where(begins, v, np.maximum(self._peak[r], v))
        self._since[r, :count] = since
        held = (beyond & (t[:, None] - since >= levels.on_us)).sum(axis=1).astype(np.int8)

        active = level > 0
        safe = active & ~passed[:, 0] & (v <= s.sign * s.clear)
        safe_since = self._safe_since[r]
        safe_since = np.where(safe, np.where((safe_since == NEVER) | gap, t, safe_since), NEVER)
        clear = safe & (t - safe_since >= levels.off_us)
        self._safe_since[r] = np.where(clear, NEVER, safe_since)

        onset = ~active & (held > 0)
        rise = active & (held > level)
        step = s.peak_step * np.abs(levels.signed[np.maximum(level, 1) - 1])
        peak = active & ~rise & (self._peak[r] > self._told[r]) & (self._peak[r] - self._told[r] >= step)
        self._level[r] = np.where(clear, 0, np.maximum(level, held))
        self._episode[r[onset]] = since[onset, 0]
        self._busy[r] = _has_state(self._level[r], since, self._beyond[r])
        speaks = onset | rise | peak
        self._told[r[speaks]] = self._peak[r[speaks]]
        out: list[Detection] = []
        for i in np.flatnonzero(speaks | clear):
            phase = "onset" if onset[i] else "clear" if clear[i] else "update"
            at_us = since[i, 0] if onset[i] else safe_since[i] if clear[i] else t[i]
            now_held = int(level[i] if clear[i] else self._level[r[i]])
            out.append(self._say(levels, at, int(i), phase, int(at_us), now_held))
        return out

    def _often(self, levels: _Levels, r: Rows64, passed: Bool, gap: Bool) -> Bool:
        """Whether ``n`` of the last ``of`` values were beyond each level."""
        s, count = levels.settings, len(levels.signed)
        if s.of == 1:
            return passed
        past = np.where(gap[:, None], 0, self._beyond[r, :count])
        past = (past << 1 | passed) & levels.bits
        self._beyond[r, :count] = past
        return np.asarray(np.bitwise_count(past) >= s.n)

    def _say(self, levels: _Levels, at: _Step, i: int, phase: str, at_us: int, held: int) -> Detection:
        r, t, s, rule = int(at.row[i]), int(at.time_us[i]), levels.settings, levels.rule
        severity = levels.severity[held - 1]
        received = int(at.received_us[i])
        episode = int(self._episode[r])
        return Detection(
            rule=rule.id, kind=rule.kind, phase=phase, device=int(self.device[r]),
            episode_us=episode, at_us=at_us, sampled_us=t, received_us=received, severity=severity,
            metric=s.metric, value=s.sign * float(self._peak[r]), limit=s.levels[severity], unit=s.unit,
            late=is_late(received, t), title=rule.title, window_us=(episode, t),
            features={"now": s.sign * float(at.value[i]), "direction": s.direction, "clear": s.clear,
                      "on_delay_s": s.on_delay_s, "off_delay_s": s.off_delay_s,
                      "n": s.n, "of": s.of, "rise_over_s": s.rise_over_s},
        )  # fmt: skip


def _has_state(level: NDArray[np.int8], since: Int64, beyond: Int64) -> Bool:
    """Who is or was lately beyond a level."""
    return np.asarray((level > 0) | (since[:, 0] != NEVER) | (beyond[:, 0] != 0))
