"""A sensor that has become noisy: its values jump about much more than they used to.

The measure is the mean size of the step from one value to the next, over windows
of ``window_n`` values; a level that shifts, or a curve that climbs, moves it little.
A window counts against a mean of the windows before it (``memory_n`` of them,
exponentially forgotten), learnt from at least ``learn_n`` and not taught by noisy
ones; noisy is ``ratio`` times that and over ``floor_share`` of the value's size,
``windows_n`` windows in a row. Three windows below half the ratio end it.

The step as a measure of noise is von Neumann's (1941, mean square successive
difference), with sizes for squares because one spike should not decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from alerting.detectors.base import Positive, Rule, RuleSettings, Words
from alerting.detectors.faults import SeriesFaults, Sign, names_of
from alerting.detectors.rows import NEVER, Rows64, newer, places
from domain.alerts import Alert, Detection
from domain.readings import Block, Bool, Float64, Int64, Readings
from domain.sorting import begins

_Windows = tuple[Rows64, Float64, Float64]
"""Full windows ``(k,)``: the place of the last value, mean step, mean size."""


class NoisySettings(RuleSettings):
    """How much rougher a series must have become, and for how long."""

    READS: ClassVar = frozenset({"readings"})

    window_n: Annotated[int, Field(ge=4)] = 32
    memory_n: Annotated[int, Field(ge=2)] = 50
    learn_n: Annotated[int, Field(ge=2)] = 20
    ratio: Annotated[float, Field(gt=1)] = 6.0
    windows_n: Annotated[int, Field(ge=1)] = 3
    floor_share: Positive = 1e-4

    def words(self) -> Words:
        """The rule in words."""
        watches = (
            f"steps from value to value {self.ratio:g} × as large, {self.windows_n} windows of {self.window_n}"
        )
        return Words(watches, "4", f"{self.windows_n} windows below {self.ratio / 2:g} ×")


class Noisy(SeriesFaults):
    """One rule over all series."""

    FIELDS: ClassVar = {
        "_newest": NEVER, "_last": np.nan, "_sum": 0, "_size": 0, "_n": 0, "_usual": 0, "_windows": 0,
        "_against": 0, "_noisy": 0, "_active": 0, "_episode": 0,
    }  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        assert isinstance(rule.settings, NoisySettings)
        self.settings = rule.settings
        self._newest: Int64 = np.zeros(0, np.int64)
        self._last: Float64 = np.zeros(0)
        self._sum: Float64 = np.zeros(0)  # of steps in the window under way
        self._size: Float64 = np.zeros(0)  # of |value| in it
        self._n: NDArray[np.int32] = np.zeros(0, np.int32)
        self._usual: Float64 = np.zeros(0)
        self._windows: NDArray[np.int32] = np.zeros(0, np.int32)
        self._against: NDArray[np.int8] = np.zeros(0, np.int8)
        self._noisy: Bool = np.zeros(0, bool)

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart."""
        super().resume(alert, episode_us, newest_us)
        self._noisy |= self._active

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's readings."""
        series = block.readings.by_series
        row = self.rows_of(series)
        fresh = newer(series.first, series.time_us, self._newest[row])
        live, t, v = series.at, series.time_us, series.value
        take = places(fresh)
        row, live, t, v = row[take], live[take], t[take], v[take]
        if len(row) == 0:
            return []
        judged = self._once(row, t, v) if series.once else self._windowed(row, t, v)
        turns = [
            (int(live[at[i]]), int(row[at[i]]), sign)
            for at, steps, sizes in judged
            for i, sign in self._judge(block.readings, live[at], row[at], steps, sizes)
        ]
        # As received: a device's metrics share its episode, so their order matters.
        names = names_of(metrics) if turns else {}
        return [
            (self.end if self._active[which] else self.begin)(which, sign, names)
            for _, which, sign in sorted(turns, key=lambda turn: turn[0])
        ]

    def _once(self, row: Rows64, t: Int64, v: Float64) -> Iterator[_Windows]:
        """A value of each series, all new, into its window; the windows that are full."""
        w = self.settings.window_n
        step = np.abs(v - self._last[row])
        step[np.isnan(step)] = 0.0
        steps, sizes, n = self._sum[row] + step, self._size[row] + np.abs(v), self._n[row] + 1
        full = n == w
        self._last[row], self._newest[row] = v, t
        at = np.flatnonzero(full)
        if len(at):
            yield at, steps[at] / w, sizes[at] / w
            steps[at], sizes[at], n[at] = 0.0, 0.0, 0
        self._sum[row], self._size[row], self._n[row] = steps, sizes, n

    def _windowed(self, row: Rows64, t: Int64, v: Float64) -> Iterator[_Windows]:
        """Rows sorted by series, all new, into windows; the full ones, no series twice at a time."""
        w = self.settings.window_n
        first = begins(row)
        last = np.where(first, self._last[row], np.concatenate([[0], v[:-1]]))
        step = np.nan_to_num(np.abs(v - last))
        start = np.maximum.accumulate(np.where(first, np.arange(len(row)), 0))
        number = np.arange(len(row)) - start + self._n[row]  # place of the row, counted from its series' window
        window = number // w
        cut = first | np.concatenate([[True], window[1:] != window[:-1]])
        at = np.flatnonzero(cut)
        steps, sizes = np.add.reduceat(step, at), np.add.reduceat(np.abs(v), at)
        ends = np.concatenate([at[1:], [len(row)]]) - 1
        opens = first[at]
        steps[opens] += self._sum[row[at[opens]]]
        sizes[opens] += self._size[row[at[opens]]]
        full = number[ends] % w == w - 1
        final = np.concatenate([first[1:], [True]])
        owner = row[ends[final[ends]]]
        open_now = ~full[final[ends]]
        self._sum[owner] = np.where(open_now, steps[final[ends]], 0)
        self._size[owner] = np.where(open_now, sizes[final[ends]], 0)
        self._n[owner] = (number[ends[final[ends]]] + 1) % w
        self._last[owner], self._newest[owner] = v[ends[final[ends]]], t[ends[final[ends]]]
        rank = window[ends]
        for k in range(int(rank.max()) + 1):
            which = np.flatnonzero(full & (rank == k))
            yield ends[which], steps[which] / w, sizes[which] / w

    def _judge(
        self, r: Readings, take: Rows64, row: Rows64, step: Float64, size: Float64
    ) -> Iterator[tuple[int, Sign]]:
        """One full window of each series; who turns noisy, or quiet again: number here, and sign."""
        s = self.settings
        usual, known = self._usual[row], self._windows[row]
        active = self._noisy[row]
        ratio = step / np.maximum(usual, 1e-300)
        ready = (known >= s.learn_n) & (usual > 0)
        noisy = ready & (ratio >= s.ratio) & (step >= s.floor_share * size)
        against = np.where(active, ratio < s.ratio / 2, noisy)
        self._against[row] = np.where(against, self._against[row] + 1, 0)
        turns = self._against[row] >= s.windows_n
        learns = ~noisy & ~active & (step > 0)  # a dry gauge that stands still teaches nothing about rain
        weight = 1.0 / np.minimum(known + 1, s.memory_n)
        self._usual[row] = np.where(learns, usual + weight * (step - usual), usual)
        self._windows[row] = known + learns
        self._against[row[turns]] = 0
        self._noisy[row[turns]] = ~active[turns]
        for i in np.flatnonzero(turns):
            t, received = int(r.time_us[take[i]]), int(r.received_us[take[i]])
            features = {"step_mean": float(step[i]), "step_usual": float(usual[i]), "ratio": float(ratio[i])}
            sign = Sign(t, t, received, float(step[i]), float(usual[i] * s.ratio), "", features)
            yield int(i), sign
