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
QUARTERS = 96
"""Of a day."""
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
        """Of each time: which of ``count`` slots of the city's day, and 0 on a workday, 1 on a holiday.

        ``count`` divides 96: a slot is some quarters of an hour.
        """
        n = len(time_us)
        first, last = (int(time_us.min()) // QUARTER_US, int(time_us.max()) // QUARTER_US) if n else (0, 0)
        if first == last:  # nearly always, live
            slot, holiday = self._quarter(first)
            return np.full(n, slot * count // QUARTERS, np.intp), np.full(n, holiday, np.intp)
        few, place = np.unique(time_us // QUARTER_US, return_inverse=True)
        known = np.array([self._quarter(quarter) for quarter in few.tolist()], np.intp).reshape(-1, 2)[place]
        return known[:, 0] * count // QUARTERS, known[:, 1]

    def _quarter(self, quarter: int) -> tuple[int, int]:
        """Which quarter of an hour of the city's day it is, and whether the day is a holiday."""
        found = self._known.get(quarter)
        if found is None:
            if len(self._known) >= KEPT:
                self._known.clear()
            local = self._calendar.local(quarter * QUARTER_US)
            found = (4 * local.hour + local.minute // 15, int(not self._calendar.workday(local.date())))
            self._known[quarter] = found
        return found
