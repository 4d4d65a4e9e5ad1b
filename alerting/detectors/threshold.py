"""A metric over its level: several severities, a clear level, delays in event time.

Each severity has its own on-delay clock: the value must stay beyond that level
without a break. Within an episode severity only rises (it latches to the
worst); it ends when the value stays on the safe side of the clear level for the
off-delay. Rows that are late, or not newer than the newest of their device, are
skipped, so that a redelivered block changes nothing. State does not know wall
time: silence neither raises nor clears.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alerting.detectors.rows import NEVER, Rows, Rows64, grown, is_late, rounds
from alerting.rules import Rule, ThresholdSettings
from domain.alerts import Detection
from domain.readings import Float64, Int32, Int64, Readings


@dataclass(frozen=True, slots=True)
class _Step:
    """One round: each row at most once, all newer than their newest."""

    row: Rows64
    time_us: Int64
    value: Float64
    received_us: Int64


class Threshold:
    """One rule over all devices that send its metric."""

    def __init__(self, rule: Rule) -> None:
        assert isinstance(rule.settings, ThresholdSettings)
        self.rule = rule
        self.settings = rule.settings
        s = self.settings
        self._severity = sorted(s.levels, reverse=True)  # mildest first
        self._signed = np.array([s.sign * s.levels[k] for k in self._severity])
        self._on_us, self._off_us = round(s.on_delay_s * 1e6), round(s.off_delay_s * 1e6)
        self._gap_us = round(s.gap_s * 1e6)
        self.rows = Rows()
        self._newest: Int64 = np.zeros(0, np.int64)
        self._since: Int64 = np.zeros((0, len(self._severity)), np.int64)
        self._safe_since: Int64 = np.zeros(0, np.int64)
        self._level: NDArray[np.int8] = np.zeros(0, np.int8)  # 0 = inactive, else levels held
        self._episode: Int64 = np.zeros(0, np.int64)
        self._peak: Float64 = np.zeros(0)
        self._told: Float64 = np.zeros(0)

    def restore(self, device: int, episode_us: int, newest_us: int, severity: int, value: float) -> None:
        """Take up an episode that was active before a restart."""
        r = self._rows_of(np.array([device], np.int32))
        held = max(1, sum(s >= severity for s in self._severity))
        self._newest[r] = newest_us
        self._since[r, :held] = episode_us
        self._level[r], self._episode[r] = held, episode_us
        self._peak[r] = self._told[r] = self.settings.sign * value

    def feed(self, readings: Readings, metric: int) -> list[Detection]:
        """Judge the rows of one metric key; detections are in event order per device."""
        mine = np.flatnonzero((readings.metric == metric) & ~readings.late)
        if len(mine) == 0:
            return []
        row = self._rows_of(readings.device[mine])
        time_us = readings.time_us[mine]
        value = self._signed_value(readings.value[mine])
        hot = (value >= self._signed[0]) | (self._level[row] > 0) | (self._since[row, 0] != NEVER)
        if not hot.any():
            np.maximum.at(self._newest, row, time_us)
            return []
        busy = np.zeros(len(self.rows), bool)
        busy[row[hot]] = True
        slow = busy[row]
        np.maximum.at(self._newest, row[~slow], time_us[~slow])
        row, time_us, value = row[slow], time_us[slow], value[slow]
        received_us = readings.received_us[mine][slow]
        found: list[Detection] = []
        for part in rounds(row):
            keep = part[time_us[part] > self._newest[row[part]]]
            if len(keep):
                found += self._step(_Step(row[keep], time_us[keep], value[keep], received_us[keep]))
        return found

    def _signed_value(self, value: Float64) -> Float64:
        return np.abs(value) if self.settings.direction == "magnitude" else self.settings.sign * value

    def _rows_of(self, keys: Int32) -> Rows64:
        row = self.rows.of(keys)
        n = len(self.rows)
        if n > len(self._newest):
            self._newest = grown(self._newest, n, NEVER)
            self._since = grown(self._since, n, NEVER)
            self._safe_since = grown(self._safe_since, n, NEVER)
            self._level, self._episode = grown(self._level, n), grown(self._episode, n)
            self._peak, self._told = grown(self._peak, n), grown(self._told, n)
        return row

    def _step(self, at: _Step) -> list[Detection]:
        r, t, v = at.row, at.time_us, at.value
        gap = t - self._newest[r] > self._gap_us
        self._newest[r] = t
        beyond = v[:, None] >= self._signed
        since = self._since[r]
        since = np.where(beyond, np.where((since == NEVER) | gap[:, None], t[:, None], since), NEVER)
        level = self._level[r]
        begins = beyond[:, 0] & (level == 0) & (since[:, 0] == t)
        self._peak[r] = np.where(begins, v, np.maximum(self._peak[r], v))
        self._since[r] = since
        held = (beyond & (t[:, None] - since >= self._on_us)).sum(axis=1).astype(np.int8)

        active = level > 0
        safe = active & ~beyond[:, 0] & (v <= self.settings.sign * self.settings.clear)
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
                      "on_delay_s": s.on_delay_s, "off_delay_s": s.off_delay_s},
        )  # fmt: skip
