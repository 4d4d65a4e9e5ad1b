"""Where in the city's day a reading lies, for many readings at once: slot of the day, workday or holiday.

Zone and holidays are those of the duty calendar. Within a quarter of an hour of
UTC neither the offset nor the local day changes in any zone in use, so that only
quarters are converted, and each once.
"""

from __future__ import annotations

import numpy as np

from alerting.detectors.rows import Rows64
from alerting.dispatch.windows import Calendar
from domain.readings import Int64

QUARTER_US = 900_000_000
DAY_US = 86_400_000_000
KEPT = 4096
"""Quarters remembered; about six weeks."""


class CityClock:
    """The clock of one detector; its calendar may be replaced at any time."""

    def __init__(self, calendar: Calendar | None = None) -> None:
        self._calendar = calendar or Calendar()
        self._known: dict[int, tuple[int, int]] = {}

    def use(self, calendar: Calendar) -> None:
        """From now on by this calendar."""
        self._calendar = calendar
        self._known.clear()

    def slots(self, time_us: Int64, count: int) -> tuple[Rows64, Rows64]:
        """Of each time: which of ``count`` slots of the city's day, and 0 on a workday, 1 on a holiday."""
        quarter = time_us // QUARTER_US
        first = int(quarter[0]) if len(quarter) else 0
        if len(quarter) and (len(quarter) == 1 or (quarter == first).all()):  # nearly always, live
            offset, holiday = self._quarter(first)
            one = (time_us + offset) % DAY_US
            return (one * count // DAY_US).astype(np.intp), np.full(len(quarter), holiday, np.intp)
        few, place = np.unique(quarter, return_inverse=True)
        known = np.array([self._quarter(int(q)) for q in few], np.int64).reshape(-1, 2)[place]
        within = (time_us + known[:, 0]) % DAY_US
        return (within * count // DAY_US).astype(np.intp), known[:, 1].astype(np.intp)

    def _quarter(self, quarter: int) -> tuple[int, int]:
        """Offset from UTC in µs, and whether the day is a holiday."""
        found = self._known.get(quarter)
        if found is None:
            if len(self._known) >= KEPT:
                self._known.clear()
            local = self._calendar.local(quarter * QUARTER_US)
            offset = local.utcoffset()
            assert offset is not None, "the calendar's times have a zone"
            found = (round(offset.total_seconds() * 1e6), int(not self._calendar.workday(local.date())))
            self._known[quarter] = found
        return found
