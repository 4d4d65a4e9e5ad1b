"""The score of the Numenta Anomaly Benchmark, written from its paper, for series with anomaly windows.

Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms" (ICMLA 2015):
the first detection inside a window earns up to 1, more when earlier; each
detection outside costs 0.11, less just after a window; a missed window costs 1;
the first 15 % of a series (at most 750 rows) do not count. 0 is a detector that
never speaks, 100 one that speaks at the first row of each window and nowhere else.
The benchmark's second profile, in which a false alarm costs twice as much, stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from domain.readings import Bool

FALSE_POSITIVE_COST = 0.11


def probation_rows(n: int) -> int:
    """How many rows at the beginning do not count."""
    return min(int(0.15 * n), 750)


def sigmoid(place: float) -> float:
    """1 long before the window's end (``place`` -1), 0 at it, -1 long after."""
    return -1.0 if place > 3 else 2.0 / (1.0 + math.exp(5.0 * place)) - 1.0


@dataclass(slots=True)
class Tally:
    """Sums over series; add them up and ask for the score."""

    windows: int = 0
    found: int = 0
    false: int = 0
    rows: int = 0
    gain: float = 0.0
    paid: float = 0.0
    delay: float = 0.0

    def __iadd__(self, other: Tally) -> Tally:
        for name in ("windows", "found", "false", "rows", "gain", "paid", "delay"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    @property
    def score(self) -> float:
        """0 for silence, 100 for perfection."""
        return 100 * (self.gain + self.windows) / (2 * self.windows) if self.windows else math.nan

    @property
    def quiet_score(self) -> float:
        """The same with false alarms at twice the cost."""
        return 100 * (self.gain - self.paid + self.windows) / (2 * self.windows) if self.windows else math.nan

    @property
    def recall(self) -> float:
        return self.found / max(self.windows, 1)

    @property
    def precision(self) -> float:
        return self.found / max(self.found + self.false, 1)


def tally(alert: Bool, windows: Sequence[tuple[int, int]]) -> Tally:
    """One series' part of the score; ``alert (n,)`` where the detector speaks."""
    n = len(alert)
    out = Tally(windows=len(windows), rows=n)
    fired = [int(i) for i in np.flatnonzero(alert) if i >= probation_rows(n)]
    top = sigmoid(-1.0)
    seen: set[int] = set()
    for i in fired:
        inside = next((k for k, (a, b) in enumerate(windows) if a <= i <= b), None)
        if inside is None:
            before = [(a, b) for a, b in windows if b < i]
            place = (i - before[-1][1]) / max(before[-1][1] - before[-1][0], 1) if before else 9.0
            out.paid -= FALSE_POSITIVE_COST * sigmoid(place)
            out.false += 1
        elif inside not in seen:
            seen.add(inside)
            a, b = windows[inside]
            out.gain += sigmoid(-(b - i + 1) / (b - a + 1)) / top
            out.found += 1
            out.delay += (i - a) / max(b - a, 1)
    out.gain -= out.paid + len(windows) - len(seen)
    return out
