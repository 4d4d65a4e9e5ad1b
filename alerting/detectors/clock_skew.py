"""A device whose clock is wrong: behind, ahead, drifting or stopped. Its data is stored; its maintainer is told.

Arrival minus event time is the transport's delay plus the clock's error. Delay
varies and is never negative; a clock's error stands still, or creeps. So the rule
looks at one message in ``every_s`` of arrival:

- **off**: the last eight all lie ``limit_s`` or more from zero and within
  ``spread_s`` of each other. A device that sends what it kept while it was
  offline catches up, so its error shrinks from message to message.
- **drifting**: the smallest delay of each hour, taken at the moment it was seen, over
  at least ``drift_hours`` of them, lies on a line steeper than ``drift_s_per_day``
  (least squares), and within two seconds of it.
- **stopped**: for ``stopped_s`` messages keep coming that all carry the newest time again.

A clock more than 300 s ahead never comes here: its messages are quarantined as
``time_ahead``, which names the device too. Crude: a gateway that always forwards
with the same delay of more than ``limit_s`` looks like a clock; give its devices
their own limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alerting.detectors.base import Positive, Rule, RuleSettings, Words
from alerting.detectors.faults import MAINTAINER_SEVERITY
from alerting.detectors.rows import NEVER, DeviceState, Rows64, is_late, places, rounds_of
from domain.alerts import Alert, Detection
from domain.readings import Block, Bool, Float32, Float64, Int64

KEPT = 8
HOURS = 24
HOUR_US = 3_600_000_000
DAY_S = 86_400.0
FIT_S = 2.0
LINES = 512
"""So many lines are fitted at once: more would not stay in the processor's cache."""
NOBODY = np.zeros(0, np.intp)
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


class ClockSkew(DeviceState):
    """One rule over all devices that send readings or waveforms."""

    FIELDS: ClassVar = {
        "_newest": NEVER, "_repeats": 0, "_repeated": NEVER, "_since": NEVER, "_looked": NEVER,
        "_far": 0, "_skew": 0, "_least": 0, "_least_at": NEVER, "_hour": NEVER // HOUR_US, "_leasts": 0,
        "_times": 0, "_hours_n": 0, "_state": 0, "_episode": 0,
    }  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        assert isinstance(rule.settings, ClockSkewSettings)
        self.rule = rule
        self.settings = s = rule.settings
        self._every_us, self._stopped_us = round(s.every_s * 1e6), round(s.stopped_s * 1e6)
        self._newest: Int64 = np.zeros(0, np.int64)
        self._repeats: NDArray[np.int32] = np.zeros(0, np.int32)  # of the time that was last repeated
        self._repeated: Int64 = np.zeros(0, np.int64)
        self._since: Int64 = np.zeros(0, np.int64)  # arrival of the first that repeated it
        self._looked: Int64 = np.zeros(0, np.int64)
        self._far: NDArray[np.int32] = np.zeros(0, np.int32)  # so many in a row lay far from zero
        self._skew: Float64 = np.zeros((0, KEPT))  # s, of the last of those
        self._least: Float64 = np.zeros(0)  # s, of this hour
        self._least_at: Int64 = np.zeros(0, np.int64)  # arrival
        self._hour: NDArray[np.int32] = np.zeros(0, np.int32)  # of that, since 1970
        self._leasts: Float32 = np.zeros((0, HOURS), np.float32)  # s, of the hours before, in turn
        self._times: NDArray[np.uint32] = np.zeros((0, HOURS), np.uint32)  # s since 1970
        self._hours_n: NDArray[np.int32] = np.zeros(0, np.int32)
        self._state: NDArray[np.int8] = np.zeros(0, np.int8)
        self._episode: Int64 = np.zeros(0, np.int64)

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart."""
        row = self.rows_of(np.array([alert.device], np.int32))
        said = alert.evidence.get("features", {}).get("clock")
        self._state[row] = WORDS.index(said) if said in WORDS else OFF
        self._episode[row] = episode_us

    def load(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take up what ``snapshot`` gave; an old one has the arrival before the first repeat."""
        if "_moved" in saved:
            saved = {**saved, "_since": saved["_moved"], "_hour": saved["_least_at"] // HOUR_US}
        super().load(saved)

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's readings and packets, a message at a time."""
        heard = block.messages
        row = self.rows_of(heard.device)
        found: list[Detection] = []
        for part in rounds_of(heard.first):
            found += self._judge(row[part], heard.time_us[part], heard.received_us[part])
        return found

    def _judge(self, row: Rows64, t: Int64, received: Int64) -> Iterator[Detection]:
        newest = self._newest[row]
        moves, again = t > newest, np.flatnonzero(t == newest)
        forth = places(moves)
        r = row[forth]
        self._newest[r] = t[forth]
        stopped = np.zeros(len(row), bool)
        if len(again):
            r = row[again]
            goes_on = self._repeated[r] == t[again]
            self._repeats[r] = np.where(goes_on, self._repeats[r], 0) + 1
            self._since[r] = np.where(goes_on, self._since[r], received[again])
            self._repeated[r] = t[again]
            stopped[again] = (self._repeats[r] >= 5) & (received[again] - self._since[r] >= self._stopped_us)
        look = moves & (received - self._looked[row] >= self._every_us)
        if len(again):
            look |= stopped & (self._state[row] == FINE)
        if np.count_nonzero(look):
            take = places(look)
            yield from self._look(row[take], t[take], received[take], stopped[take])

    def _look(self, row: Rows64, t: Int64, received: Int64, stopped: Bool) -> Iterator[Detection]:
        skew = (received - t) / 1e6
        self._looked[row] = received
        state = self._state[row]
        slope = self._hourly(row, received, skew, state)
        # Whose error is small and was small before, and who has neither stopped nor drifts, is right and stays so.
        odd = (np.abs(skew) >= self.settings.limit_s) | stopped | (slope != 0.0)
        odd |= (state != FINE) | (self._far[row] != 0)
        i = np.flatnonzero(odd)
        if len(i):
            yield from self._decide(row[i], t[i], received[i], stopped[i], skew[i], slope[i])

    def _decide(
        self, row: Rows64, t: Int64, received: Int64, stopped: Bool, skew: Float64, slope: Float64
    ) -> Iterator[Detection]:
        s = self.settings
        off = self._off(row, skew)
        state = np.select([stopped, off, np.abs(slope) >= s.drift_s_per_day], [STOPPED, OFF, DRIFTING], FINE)
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

    def _off(self, row: Rows64, skew: Float64) -> Bool:
        """Note these errors; whose last ``KEPT`` are all far from zero, and near each other."""
        far = np.abs(skew) >= self.settings.limit_s
        count = self._far[row]
        self._skew[row[far], count[far] % KEPT] = skew[far]
        self._far[row] = count = np.where(far, count + 1, 0)
        kept = self._skew[row]
        together = kept.max(axis=1) - kept.min(axis=1) <= self.settings.spread_s
        return np.asarray((count >= KEPT) & together)

    def _hourly(self, row: Rows64, received: Int64, skew: Float64, state: NDArray[np.int8]) -> Float64:
        """Take up delays; the slope in s/day of the hours' smallest, 0 where it is not known or no line."""
        hour, before = received // HOUR_US, self._hour[row]
        new = hour != before
        turned = np.flatnonzero(new & (before != NEVER // HOUR_US)) if np.count_nonzero(new) else NOBODY
        if len(turned):
            r = row[turned]
            at = self._hours_n[r] % HOURS
            self._leasts[r, at], self._times[r, at] = self._least[r], self._least_at[r] // 1_000_000
            self._hours_n[r] += 1
        least = np.flatnonzero(new | (skew < self._least[row]))
        r = row[least]
        self._least[r], self._least_at[r], self._hour[r] = skew[least], received[least], hour[least]
        # Between turns of the hour a drift that was told goes on.
        slope = np.where(state == DRIFTING, self.settings.drift_s_per_day, 0.0)
        if len(turned):
            slope[turned] = 0.0
            fits = turned[self._hours_n[row[turned]] >= self.settings.drift_hours]
            fits = fits[self._may_drift(row[fits])]
            for some in np.split(fits, range(LINES, len(fits), LINES)):
                slope[some] = self._line(row[some])
        return slope

    def _may_drift(self, row: Rows64) -> Bool:
        """Whose first and last hour lie so far apart that a steep line may pass within ``FIT_S`` of both."""
        n = self._hours_n[row]
        last, first = (n - 1) % HOURS, np.where(n > HOURS, n % HOURS, 0)
        days = (self._times[row, last].astype(np.float64) - self._times[row, first]) / DAY_S
        apart = self._leasts[row, last].astype(np.float64) - self._leasts[row, first]
        least = self.settings.drift_s_per_day * np.abs(days) - 2.0 * FIT_S
        return np.asarray((np.abs(apart) >= least) | (self._state[row] == DRIFTING))

    def _line(self, row: Rows64) -> Float64:
        """The slope in s/day through the smallest delays of each row's hours, 0 where they lie on no line."""
        count = np.minimum(self._hours_n[row], HOURS)
        unknown = np.arange(HOURS)[:, None] >= count
        some_unknown = bool(unknown.any())
        # An hour a line: many times faster to go through.
        x = np.ascontiguousarray(self._times.take(row, axis=0).T) / DAY_S
        y = np.ascontiguousarray(self._leasts.take(row, axis=0).T, np.float64)
        for line in (x, y):
            if some_unknown:
                line[unknown] = 0.0
            line -= line.sum(axis=0) / count
            if some_unknown:
                line[unknown] = 0.0
        slope = (x * y).sum(axis=0) / np.maximum((x * x).sum(axis=0), 1e-12)
        y -= slope * x
        off = np.maximum(y.max(axis=0), -y.min(axis=0))
        return np.where(off <= FIT_S, slope, 0.0)

    def _say(self, phase: str, row: int, at: tuple[int, int], features: dict[str, Any]) -> Detection:
        t, received = at
        episode_us = int(self._episode[row])
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=int(self.rows.keys[row]),
            episode_us=episode_us, at_us=t, sampled_us=t, received_us=received, severity=MAINTAINER_SEVERITY,
            metric="clock_skew_s", value=round(features["skew_s"], 3), limit=self.settings.limit_s, unit="s",
            late=is_late(received, t), title=self.rule.title, window_us=(episode_us, t), features=features,
        )  # fmt: skip
