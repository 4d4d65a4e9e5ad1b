"""Which part of an asked time comes from rollups and which from readings, so that both say the same. Pure.

Rollups answer whole minutes or hours that are rolled and have no late readings waiting;
the edges of the asked time, hours that wait, and what is not rolled yet come from
readings. Where retention has taken the readings, the edges are widened to whole units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.clock import from_us, to_us

MINUTE_S, HOUR_S = 60, 3600
HOUR_US = HOUR_S * 1_000_000

Window = tuple[int, int]
"""From and to, microseconds since 1970, half open."""


@dataclass(frozen=True, slots=True)
class Rolled:
    """How far rollups go, from where on readings are all there (None: always), and one device's dirty hours."""

    through: datetime
    raw_from: datetime | None
    dirty: Sequence[datetime]


@dataclass(frozen=True, slots=True)
class Parts:
    """Windows answered by rollups and windows answered by readings; none of them overlap."""

    rolled: Sequence[Window]
    raw: Sequence[Window]

    def sql_parameters(self) -> dict[str, Any]:
        """For ``READINGS_BY_UNIT``."""
        named: dict[str, Any] = {}
        for name, windows in (("rolled", self.rolled), ("raw", self.raw)):
            named[f"{name}_from"] = [from_us(start) for start, _ in windows]
            named[f"{name}_to"] = [from_us(end) for _, end in windows]
            # Nothing asked: an empty time, which no chunk can hold.
            named[f"{name}_first"] = from_us(min((start for start, _ in windows), default=0))
            named[f"{name}_last"] = from_us(max((end for _, end in windows), default=0))
        return named


def unit_of(step_s: float) -> int | None:
    """Seconds of the largest rollup that a step is made of; None: only readings will do."""
    for unit_s in (HOUR_S, MINUTE_S):
        if step_s % unit_s == 0:
            return unit_s
    return None


def parts_of(start: datetime, end: datetime, unit_s: int | None, rolled: Rolled | None) -> Parts:
    """How ``start`` .. ``end`` is answered."""
    start_us, end_us = to_us(start), to_us(end)
    if unit_s is None or rolled is None:
        return Parts([], [(start_us, end_us)])
    unit_us = unit_s * 1_000_000
    through_us = to_us(rolled.through) // unit_us * unit_us
    raw_from_us = to_us(rolled.raw_from) if rolled.raw_from else 0
    first_us = (start_us if start_us < raw_from_us else start_us + unit_us - 1) // unit_us * unit_us
    last_us = (end_us + unit_us - 1 if end_us < raw_from_us else end_us) // unit_us * unit_us
    last_us = min(last_us, through_us)
    if last_us <= first_us:
        return Parts([], [(start_us, end_us)])
    dirty = [
        (max(hour_us, first_us), min(hour_us + HOUR_US, last_us))
        for hour_us in sorted({to_us(hour) for hour in rolled.dirty})
        if first_us < hour_us + HOUR_US and hour_us < last_us and hour_us >= raw_from_us
    ]
    raw = [(start_us, first_us), *dirty, (last_us, end_us)]
    return Parts(between(first_us, last_us, dirty), joined([w for w in raw if w[0] < w[1]]))


def between(first_us: int, last_us: int, windows: Sequence[Window]) -> list[Window]:
    """What of first..last lies in none of ``windows``, which are sorted and do not overlap."""
    edges = [first_us, *(edge for window in windows for edge in window), last_us]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(start, end) for start, end in pairs if start < end]


def joined(windows: Sequence[Window]) -> list[Window]:
    """Sorted windows, those that touch as one."""
    out: list[Window] = []
    for start, end in windows:
        if out and out[-1][1] == start:
            out[-1] = out[-1][0], end
        else:
            out.append((start, end))
    return out
