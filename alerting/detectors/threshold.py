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

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from alerting.detectors.base import Positive, Rule, RuleSettings, Seconds, Severity, Words
from alerting.detectors.rows import NEVER, DeviceState, Rows64, is_late, rounds_of
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
    """One round: each row at most once, all newer than their newest."""

    row: Rows64
    time_us: Int64
    value: Float64
    received_us: Int64


class Threshold(DeviceState):
    """One rule over all devices that send its metric."""

    FIELDS: ClassVar = {
        "_newest": NEVER, "_since": NEVER, "_safe_since": NEVER, "_level": 0, "_episode": 0, "_peak": 0, "_told": 0,
        "_beyond": 0, "_mean": 0, "_mean_newest": NEVER,
    }  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        assert isinstance(rule.settings, ThresholdSettings)
        self.rule = rule
        self.settings = rule.settings
        s = self.settings
        self._severity = sorted(s.levels, reverse=True)  # mildest first
        self._signed = np.array([s.sign * s.levels[k] for k in self._severity])
        self._on_us, self._off_us = round(s.on_delay_s * 1e6), round(s.off_delay_s * 1e6)
        self._gap_us = round(s.gap_s * 1e6)
        self._newest: Int64 = np.zeros(0, np.int64)
        self._since: Int64 = np.zeros((0, len(self._severity)), np.int64)
        self._safe_since: Int64 = np.zeros(0, np.int64)
        self._level: NDArray[np.int8] = np.zeros(0, np.int8)  # 0 = inactive, else levels held
        self._episode: Int64 = np.zeros(0, np.int64)
        self._peak: Float64 = np.zeros(0)
        self._told: Float64 = np.zeros(0)
        self._beyond: Int64 = np.zeros((0, len(self._severity)), np.int64)  # bits of the last ``of`` values
        self._mean: Float64 = np.zeros(0)
        self._mean_newest: Int64 = np.zeros(0, np.int64)
        self._bits = (1 << s.of) - 1
        self._stirred = False  # whether anybody is or was lately beyond a level: else nobody has a state

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's readings of the rule's metric."""
        metric = metrics.get(self.settings.metric)
        return [] if metric is None or not len(block.readings) else self.feed(block.readings, metric)

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart."""
        self.restore(alert.device, episode_us, newest_us, alert.severity, alert.value)

    def restore(self, device: int, episode_us: int, newest_us: int, severity: int, value: float) -> None:
        """Take up an episode that was active before a restart."""
        r = self.rows_of(np.array([device], np.int32))
        held = max(1, sum(s >= severity for s in self._severity))
        self._stirred = True
        self._newest[r] = newest_us
        self._since[r, :held] = episode_us
        self._level[r], self._episode[r] = held, episode_us
        self._peak[r] = self._told[r] = self.settings.sign * value

    def load(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take up what ``snapshot`` gave."""
        super().load(saved)
        self._stirred = True

    def feed(self, readings: Readings, metric: int) -> list[Detection]:
        """Judge the rows of one metric key; detections are in event order per device."""
        rows = readings.by_series
        mine = rows.spans.get(metric)
        if mine is None:
            return []
        row = self.rows_of(rows.device[mine])
        time_us, value = rows.time_us[mine], rows.value[mine]
        if self.settings.rise_over_s:
            value = self.rates(row, time_us, value)
        value = self._signed_value(value)
        hot = value >= self._signed[0]
        if self._stirred:
            hot |= (self._level[row] > 0) | (self._since[:, 0][row] != NEVER)
            if self.settings.of > 1:
                hot |= self._beyond[:, 0][row] != 0
        if not hot.any():
            np.maximum.at(self._newest, row, time_us)
            return []
        busy = np.zeros(len(self.rows), bool)
        busy[row[hot]] = True
        slow = busy[row]
        calm = ~slow
        np.maximum.at(self._newest, row[calm], time_us[calm])
        row, time_us, value, received_us = row[slow], time_us[slow], value[slow], rows.received_us[mine][slow]
        found: list[Detection] = []
        for part in rounds_of(begins(row)):
            keep = part[time_us[part] > self._newest[row[part]]]
            if len(keep):
                found += self._step(_Step(row[keep], time_us[keep], value[keep], received_us[keep]))
        self._stirred = bool(self._level.any() or (self._since[:, 0] != NEVER).any() or self._beyond.any())
        return found

    def rates(self, row: Rows64, time_us: Int64, value: Float64) -> Float64:
        """Rates of rise per minute; 0 for a first value, after a gap, and for what is not newer. Rows by device."""
        over_s = self.settings.rise_over_s
        out = np.zeros(len(row))
        for part in rounds_of(begins(row)):
            take = part[(time_us[part] > self._mean_newest[row[part]]) & np.isfinite(value[part])]
            r, v = row[take], value[take]
            gap_us = time_us[take] - self._mean_newest[r]
            known = gap_us <= max(self._gap_us, round(over_s * 1e6))
            gap_s = np.where(known, gap_us / 1e6, 0.0)
            mean = np.where(known, self._mean[r], v)
            out[take] = (v - mean) / np.maximum(gap_s, over_s) * MINUTE_S
            self._mean[r] = mean - np.expm1(-gap_s / over_s) * (v - mean)
            self._mean_newest[r] = time_us[take]
        return out

    def _signed_value(self, value: Float64) -> Float64:
        return np.abs(value) if self.settings.direction == "magnitude" else self.settings.sign * value

    def _step(self, at: _Step) -> list[Detection]:
        r, t, v = at.row, at.time_us, at.value
        gap = t - self._newest[r] > self._gap_us
        self._newest[r] = t
        passed = v[:, None] >= self._signed
        beyond = self._often(r, passed, gap)
        since = self._since[r]
        since = np.where(beyond, np.where((since == NEVER) | gap[:, None], t[:, None], since), NEVER)
        level = self._level[r]
        begins = beyond[:, 0] & (level == 0) & (since[:, 0] == t)
        self._peak[r] = np.where(begins, v, np.maximum(self._peak[r], v))
        self._since[r] = since
        held = (beyond & (t[:, None] - since >= self._on_us)).sum(axis=1).astype(np.int8)

        active = level > 0
        safe = active & ~passed[:, 0] & (v <= self.settings.sign * self.settings.clear)
        safe_since = self._safe_since[r]
        safe_since = np.where(safe, np.where((safe_since == NEVER) | gap, t, safe_since), NEVER)
        clear = safe & (t - safe_since >= self._off_us)
        self._safe_since[r] = np.where(clear, NEVER, safe_since)

        onset = ~active & (held > 0)
        rise = active & (held > level)
        step = self.settings.peak_step * np.abs(self._signed[np.maximum(level, 1) - 1])
        peak = active & ~rise & (self._peak[r] > self._told[r]) & (self._peak[r] - self._told[r] >= step)
        self._level[r] = np.where(clear, 0, np.maximum(level, held))
        self._episode[r[onset]] = since[onset, 0]
        speaks = onset | rise | peak
        self._told[r[speaks]] = self._peak[r[speaks]]
        out: list[Detection] = []
        for i in np.flatnonzero(speaks | clear):
            phase = "onset" if onset[i] else "clear" if clear[i] else "update"
            at_us = since[i, 0] if onset[i] else safe_since[i] if clear[i] else t[i]
            out.append(self._say(at, int(i), phase, int(at_us), int(level[i] if clear[i] else self._level[r[i]])))
        return out

    def _often(self, r: Rows64, passed: Bool, gap: Bool) -> Bool:
        """Whether ``n`` of the last ``of`` values were beyond each level."""
        if self.settings.of == 1:
            return passed
        past = np.where(gap[:, None], 0, self._beyond[r])
        past = (past << 1 | passed) & self._bits
        self._beyond[r] = past
        return np.asarray(np.bitwise_count(past) >= self.settings.n)

    def _say(self, at: _Step, i: int, phase: str, at_us: int, held: int) -> Detection:
        r, t, s = int(at.row[i]), int(at.time_us[i]), self.settings
        severity = self._severity[held - 1]
        received = int(at.received_us[i])
        episode = int(self._episode[r])
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=int(self.rows.keys[r]),
            episode_us=episode, at_us=at_us, sampled_us=t, received_us=received, severity=severity,
            metric=s.metric, value=s.sign * float(self._peak[r]), limit=s.levels[severity], unit=s.unit,
            late=is_late(received, t), title=self.rule.title, window_us=(episode, t),
            features={"now": s.sign * float(at.value[i]), "direction": s.direction, "clear": s.clear,
                      "on_delay_s": s.on_delay_s, "off_delay_s": s.off_delay_s,
                      "n": s.n, "of": s.of, "rise_over_s": s.rise_over_s},
        )  # fmt: skip
