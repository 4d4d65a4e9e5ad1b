"""A device whose clock is wrong: behind, ahead, drifting or stopped. Its data is stored; its maintainer is told.

Arrival minus event time is the transport's delay plus the clock's error. Delay
varies and is never negative; a clock's error stands still, or creeps. So the rule
looks at one message in ``every_s`` of arrival:

- **off**: the last eight all lie ``limit_s`` or more from zero and within
  ``spread_s`` of each other. A device that sends what it kept while it was
  offline catches up, so its error shrinks from message to message.
- **drifting**: the smallest delay of each hour, over at least ``drift_hours`` of
  them, lies on a line steeper than ``drift_s_per_day`` (least squares), and within
  two seconds of it.
- **stopped**: messages keep coming for ``stopped_s``, and all carry the newest time again.

A clock more than 300 s ahead never comes here: its messages are quarantined as
``future_time``, which names the device too. Crude: a gateway that always forwards
with the same delay of more than ``limit_s`` looks like a clock; give its devices
their own limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alerting.detectors.base import Positive, Rule, RuleSettings, Words
from alerting.detectors.faults import MAINTAINER_SEVERITY
from alerting.detectors.rows import NEVER, DeviceState, Rows64, is_late, rounds
from domain.alerts import Alert, Detection
from domain.readings import Block, Bool, Float64, Int32, Int64

KEPT = 8
HOURS = 24
HOUR_US = 3_600_000_000
FIT_S = 2.0
FINE, OFF, DRIFTING, STOPPED = 0, 1, 2, 3
WORDS = ("right", "off", "drifting", "stopped")


class ClockSkewSettings(RuleSettings):
    """See the module; ``limit_s`` from zero, ``spread_s`` among the last eight."""

    limit_s: Positive = 60.0
    spread_s: Positive = 10.0
    every_s: Positive = 10.0
    drift_s_per_day: Positive = 30.0
    drift_hours: int = 6
    stopped_s: Positive = 300.0

    def words(self) -> Words:
        """The rule in words."""
        watches = (
            f"arrival minus event time: {self.limit_s:g} s off, creeping {self.drift_s_per_day:g} s a day, "
            f"or the same time again for {self.stopped_s:g} s"
        )
        return Words(watches, "4", f"within {self.limit_s / 2:g} s again")


class _Heard(NamedTuple):
    """Messages as columns: whose, the newest event time in each, and its arrival."""

    device: Int32
    time_us: Int64
    received_us: Int64


class ClockSkew(DeviceState):
    """One rule over all devices that send readings or waveforms."""

    FIELDS: ClassVar = {
        "_newest": NEVER, "_moved": NEVER, "_repeats": 0, "_looked": NEVER, "_skew": 0, "_n": 0, "_hour": NEVER,
        "_least": 0, "_hours": NEVER, "_mins": 0, "_hours_n": 0, "_state": 0, "_episode": 0,
    }  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        assert isinstance(rule.settings, ClockSkewSettings)
        self.rule = rule
        self.settings = s = rule.settings
        self._every_us, self._stopped_us = round(s.every_s * 1e6), round(s.stopped_s * 1e6)
        self._newest: Int64 = np.zeros(0, np.int64)
        self._moved: Int64 = np.zeros(0, np.int64)  # arrival of the first message with the newest time
        self._repeats: NDArray[np.int32] = np.zeros(0, np.int32)
        self._looked: Int64 = np.zeros(0, np.int64)
        self._skew: Float64 = np.zeros((0, KEPT))  # s
        self._n: Int64 = np.zeros(0, np.int64)
        self._hour: Int64 = np.zeros(0, np.int64)
        self._least: Float64 = np.zeros(0)
        self._hours: Int64 = np.zeros((0, HOURS), np.int64)
        self._mins: Float64 = np.zeros((0, HOURS))
        self._hours_n: Int64 = np.zeros(0, np.int64)
        self._state: NDArray[np.int8] = np.zeros(0, np.int8)
        self._episode: Int64 = np.zeros(0, np.int64)

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart."""
        row = self.rows_of(np.array([alert.device], np.int32))
        said = alert.evidence.get("features", {}).get("clock")
        self._state[row] = WORDS.index(said) if said in WORDS else OFF
        self._episode[row] = episode_us

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's readings and packets, a message at a time."""
        heard = messages(block)
        if len(heard.device) == 0:
            return []
        row = self.rows_of(heard.device)
        return [d for part in rounds(row) for d in self._judge(heard, part, row[part])]

    def _judge(self, heard: _Heard, take: Rows64, row: Rows64) -> Iterator[Detection]:
        t, received = heard.time_us[take], heard.received_us[take]
        again = t == self._newest[row]
        moves = t > self._newest[row]
        self._moved[row] = np.where(moves, received, self._moved[row])
        self._repeats[row] = np.where(again, self._repeats[row] + 1, np.where(moves, 0, self._repeats[row]))
        self._newest[row] = np.maximum(self._newest[row], t)
        stopped = again & (self._repeats[row] >= 5) & (received - self._moved[row] >= self._stopped_us)
        look = (moves & (received - self._looked[row] >= self._every_us)) | (stopped & (self._state[row] == FINE))
        if look.any():
            yield from self._look(heard, take[look], row[look], stopped[look])

    def _look(self, heard: _Heard, take: Rows64, row: Rows64, stopped: Bool) -> Iterator[Detection]:
        s = self.settings
        t, received = heard.time_us[take], heard.received_us[take]
        skew = (received - t) / 1e6
        self._looked[row] = received
        self._skew[row, self._n[row] % KEPT] = skew
        self._n[row] += 1
        slope = self._hourly(row, received, skew)
        kept = self._skew[row]
        full = self._n[row] >= KEPT
        far = np.abs(kept).min(axis=1) >= s.limit_s
        together = kept.max(axis=1) - kept.min(axis=1) <= s.spread_s
        state = np.select(
            [stopped, full & far & together, np.abs(slope) >= s.drift_s_per_day], [STOPPED, OFF, DRIFTING], FINE
        )
        was = self._state[row]
        right = (was == OFF) & (np.abs(skew) <= s.limit_s / 2)
        right |= (was == DRIFTING) & (np.abs(slope) < s.drift_s_per_day / 2)
        right |= (was == STOPPED) & ~stopped
        begins, ends = (was == FINE) & (state != FINE), right & (state != was)
        self._state[row] = np.where(begins, state, np.where(ends, FINE, was))
        self._episode[row[begins]] = t[begins]
        for i in np.flatnonzero(begins | ends):
            word = WORDS[int(state[i] if begins[i] else was[i])]
            features = {"clock": word, "skew_s": float(skew[i]), "drift_s_per_day": round(float(slope[i]), 2)}
            phase = "onset" if begins[i] else "clear"
            yield self._say(phase, int(row[i]), (int(t[i]), int(received[i])), features)

    def _hourly(self, row: Rows64, received: Int64, skew: Float64) -> Float64:
        """Take up delays; the slope in s/day of the hours' smallest, 0 where it is not known or no line."""
        hour = received // HOUR_US
        turns = (self._hour[row] != hour) & (self._hour[row] != NEVER)
        r = row[turns]
        at = self._hours_n[r] % HOURS
        self._hours[r, at], self._mins[r, at] = self._hour[r], self._least[r]
        self._hours_n[r] += 1
        new = self._hour[row] != hour
        self._least[row] = np.where(new, skew, np.minimum(self._least[row], skew))
        self._hour[row] = hour
        slope = np.zeros(len(row))
        enough = np.flatnonzero(self._hours_n[row] >= self.settings.drift_hours)
        for i in enough[turns[enough]]:
            n = min(int(self._hours_n[row[i]]), HOURS)
            x, y = self._hours[row[i], :n] / 24.0, self._mins[row[i], :n]
            x = x - x.mean()
            fit = float((x * y).sum() / max((x * x).sum(), 1e-12))
            if np.abs(y - y.mean() - fit * x).max() <= FIT_S:
                slope[i] = fit
        # Between turns of the hour a drift that was told goes on.
        told = (self._state[row] == DRIFTING) & ~turns
        slope[told] = self.settings.drift_s_per_day
        return slope

    def _say(self, phase: str, row: int, at: tuple[int, int], features: dict[str, Any]) -> Detection:
        t, received = at
        episode_us = int(self._episode[row])
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=int(self.rows.keys[row]),
            episode_us=episode_us, at_us=t, sampled_us=t, received_us=received, severity=MAINTAINER_SEVERITY,
            metric="clock_skew_s", value=round(features["skew_s"], 3), limit=self.settings.limit_s, unit="s",
            late=is_late(received, t), title=self.rule.title, window_us=(episode_us, t), features=features,
        )  # fmt: skip


def messages(block: Block) -> _Heard:
    """The block's messages of readings and packets, by device in the order received.

    Rows of one device that arrived at one time are one message; a later part of a
    block counts after an earlier one.
    """
    r = block.readings
    device = np.concatenate([r.device, *(w.device for w in block.waveforms)])
    time_us = np.concatenate([r.time_us, *(w.end_us for w in block.waveforms)])
    received = np.concatenate([r.received_us, *(w.received_us for w in block.waveforms)])
    if len(device) == 0:
        return _Heard(device, time_us, received)
    order = np.lexsort((received, device))
    device, time_us, received = device[order], time_us[order], received[order]
    cut = np.concatenate([[True], (device[1:] != device[:-1]) | (received[1:] != received[:-1])])
    at = np.flatnonzero(cut)
    return _Heard(device[at], np.maximum.reduceat(time_us, at), received[at])
