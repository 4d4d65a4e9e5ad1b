"""A sensor that always says the same: its value does not move any more, though it used to.

What is normal differs: a dry road says 0.00 for weeks, a thermometer of 0.1 °C
repeats itself for an hour at night. So each series teaches its own measure: it is
stuck when one value has come ``factor`` times as often in a row as ever before,
and at least ``n_min`` times over ``s_min``; and only after it has moved
``changes_min`` times, because a series that never moved says nothing about itself.
A flat accelerometer is ``flatline.py``'s.

Crude on purpose: the longest run is never forgotten, so a sensor that once stood
still in a power cut is trusted with that ever after (until a restart without state).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from alerting.detectors.base import Positive, Rule, RuleSettings, Words
from alerting.detectors.faults import SeriesFaults, Sign, names_of
from alerting.detectors.rows import NEVER, Rows64
from domain.alerts import Detection
from domain.readings import Block, Bool, Float64, Int64, Readings, SeriesRows


class StuckSettings(RuleSettings):
    """How long the same value is suspicious."""

    READS: ClassVar = frozenset({"readings"})

    n_min: Annotated[int, Field(ge=2)] = 30
    s_min: Positive = 3600.0
    factor: Annotated[float, Field(ge=1)] = 4.0
    changes_min: Annotated[int, Field(ge=1)] = 20

    def words(self) -> Words:
        """The rule in words."""
        watches = f"one value {self.n_min} times over {self.s_min:g} s, {self.factor:g} × its longest run before"
        return Words(watches, "4", "the value moves again")


class Stuck(SeriesFaults):
    """One rule over all series."""

    FIELDS: ClassVar = {
        "_newest": NEVER, "_last": np.nan, "_run": 0, "_since": NEVER, "_longest": 0, "_changes": 0,
        "_active": 0, "_episode": 0,
    }  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        assert isinstance(rule.settings, StuckSettings)
        self.settings = rule.settings
        self._us_min = round(rule.settings.s_min * 1e6)
        self._newest: Int64 = np.zeros(0, np.int64)
        self._last: Float64 = np.zeros(0)
        self._run: Int64 = np.zeros(0, np.int64)
        self._since: Int64 = np.zeros(0, np.int64)
        self._longest: Int64 = np.zeros(0, np.int64)
        self._changes: Int64 = np.zeros(0, np.int64)

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's readings."""
        series = block.readings.by_series
        row = self.rows_of(series)
        careful = np.flatnonzero((self._learn_once if series.once else self._learn)(row, series))
        if not len(careful):
            return []
        # As received: a device's metrics share its episode, so their order matters.
        careful = careful[np.argsort(series.at[careful])]
        return list(self._judge(block.readings, series.at[careful], row[careful], names_of(metrics)))

    def _learn_once(self, row: Rows64, series: SeriesRows) -> Bool:
        """As ``_learn``, of one value a series."""
        t, v, last, before = series.time_us, series.value, self._last[row], self._run[row]
        same = v == last
        run, since = np.where(same, before, 0) + 1, np.where(same, self._since[row], t)
        slow = (run >= self.settings.n_min) & (t - since >= self._us_min)
        slow |= self._active[row] | (t <= self._newest[row])
        ends = ~(same | np.isnan(last) | slow)
        longer = np.flatnonzero(ends & (before > self._longest[row]))
        self._longest[row[longer]] = before[longer]
        changes = self._changes[row]
        moves = np.flatnonzero(ends & (changes < self.settings.changes_min))  # more need not be known
        self._changes[row[moves]] = changes[moves] + 1
        if slow.any():
            fine = ~slow
            row, v, t, run, since = row[fine], v[fine], t[fine], run[fine], since[fine]
        self._last[row], self._newest[row], self._run[row], self._since[row] = v, t, run, since
        return slow

    def _learn(self, row: Rows64, series: SeriesRows) -> Bool:
        """Take up rows sorted by series; the mask of rows of series that need to be judged one by one.

        Series that are, or within this block may be, stuck or out of order are left as they were.
        """
        n, first, t, v = len(row), series.first, series.time_us, series.value
        last = np.concatenate([[0], v[:-1]])
        before = np.concatenate([[0], t[:-1]])
        last[first], before[first] = self._last[row[first]], self._newest[row[first]]
        same = v == last
        at = np.arange(n)
        start = np.maximum.accumulate(np.where(first | ~same, at, 0))
        goes_on = same[start]  # the run began before this block
        run = at - start + 1 + np.where(goes_on, self._run[row], 0)
        since = np.where(goes_on, self._since[row], t[start])
        suspect = (run >= self.settings.n_min) & (t - since >= self._us_min)
        busy = np.zeros(len(self), bool)
        busy[row[suspect | self._active[row] | (t <= before)]] = True
        slow = busy[row]
        ends = ~same & ~np.isnan(last) & ~slow  # a run has ended here
        ended = np.where(first, self._run[row], np.concatenate([[0], run[:-1]]))
        np.maximum.at(self._longest, row[ends], ended[ends])
        np.add.at(self._changes, row[ends], 1)
        self._changes[row[ends]] = np.minimum(self._changes[row[ends]], self.settings.changes_min)
        final = np.concatenate([first[1:], [True]]) & ~slow
        r = row[final]
        self._last[r], self._newest[r], self._run[r], self._since[r] = v[final], t[final], run[final], since[final]
        return slow

    def _judge(
        self, readings: Readings, take: Rows64, row: Rows64, names: Mapping[int, str]
    ) -> Iterator[Detection]:
        """Rows in the order received, one by one, by the definition."""
        for i, r in zip(take.tolist(), row.tolist(), strict=True):
            t, v, received = int(readings.time_us[i]), float(readings.value[i]), int(readings.received_us[i])
            if t <= self._newest[r]:
                continue
            same = v == self._last[r]
            if not same and not np.isnan(self._last[r]):
                self._changes[r] = min(self._changes[r] + 1, self.settings.changes_min)
                if not self._active[r]:
                    self._longest[r] = max(self._longest[r], self._run[r])
            self._run[r] = self._run[r] + 1 if same else 1
            self._since[r] = self._since[r] if same else t
            self._last[r], self._newest[r] = v, t
            limit = max(self.settings.n_min, self.settings.factor * float(self._longest[r]))
            long = int(self._run[r]) >= limit and t - int(self._since[r]) >= self._us_min
            stuck_s = (t - int(self._since[r])) / 1e6
            features = {"value": v, "stuck_s": stuck_s, "longest_run": int(self._longest[r])}
            sign = Sign(int(self._since[r]), t, received, float(self._run[r]), limit, "times", features)
            if not self._active[r] and long and self._changes[r] >= self.settings.changes_min:
                yield self.begin(r, sign, names)
            elif self._active[r] and not same:
                yield self.end(r, Sign(t, t, received, 1.0, limit, "times", {"value": v}), names)
