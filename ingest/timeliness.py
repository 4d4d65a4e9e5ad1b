"""Which data is late: not newer than the newest already received of its series.

A series is one device's metric (or its packets, positions, camera events). Two
memories decide: what this process received (``newest``) and, for a series it has
not met before, what the database had at the start (``floor``). A message the
broker delivers again is measured against the first only: it may have been
committed without ever having been looked at by a detector.

What is remembered as newest never lies after the arrival of its message: a device
whose clock ran ahead and was put right is not taken for late until the time it
claimed has come (decision 0015).
"""

from __future__ import annotations

import numpy as np

from domain.readings import Bool, Int32, Int64

NEVER = np.iinfo(np.int64).min
SERIES_BITS = 24
SERIES_MASK = (1 << SERIES_BITS) - 1


class Timeliness:
    """The newest event time of each series, grown as series are met."""

    def __init__(self) -> None:
        # Codes in ascending order, and at the same places the row each has in the other arrays.
        self._codes: Int64 = np.zeros(0, dtype=np.int64)
        self._rows: Int64 = np.zeros(0, dtype=np.int64)
        self._newest: Int64 = np.full(1024, NEVER, dtype=np.int64)
        self._floor: Int64 = np.full(1024, NEVER, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._codes)

    def unknown(self, device: Int32, series: Int64) -> list[tuple[int, int]]:
        """Which (device, series) pairs were not met before: their floors are worth asking for."""
        codes = series_codes(device, series)
        new = np.unique(codes[~self._met(codes, np.searchsorted(self._codes, codes))])
        return [(code >> SERIES_BITS, code & SERIES_MASK) for code in new.tolist()]

    def set_floor(self, device: int, series: int, newest_us: int) -> None:
        """What the database had of a series before this process began."""
        row = self._row(device, series)  # first: it may replace the array
        self._floor[row] = newest_us

    def one(self, device: int, series: int, time_us: int, clock_us: int, redelivered: bool) -> bool:
        """Whether one row is late; it becomes the newest if it is not. ``clock_us``: its arrival."""
        row = self._row(device, series)
        if time_us <= self._newest[row] or (not redelivered and time_us <= self._floor[row]):
            return True
        self._newest[row] = max(self._newest[row], min(time_us, clock_us))
        return False

    def many(self, device: Int32, series: Int64, time_us: Int64, clock_us: Int64, redelivered: Bool) -> Bool:
        """The same for rows in the order received, ``(n,)`` each."""
        if not len(device):
            return np.zeros(0, dtype=np.bool_)
        rows = self._rows_of(series_codes(device, series))
        known_us = np.minimum(time_us, clock_us)
        before = newest_before(rows, known_us, self._newest)
        late: Bool = (time_us <= before) | (~redelivered & (time_us <= self._floor[rows]))
        # What is late by the floor alone is not newest either, but it is older than the floor forever.
        np.maximum.at(self._newest, rows, known_us)
        return late

    def _row(self, device: int, series: int) -> int:
        return int(self._rows_of(np.array([device << SERIES_BITS | series], dtype=np.int64))[0])

    def _met(self, codes: Int64, at: Int64) -> Bool:
        """Whether each code stands where it was searched."""
        if not len(self._codes):
            return np.zeros(len(codes), dtype=np.bool_)
        met: Bool = self._codes[np.minimum(at, len(self._codes) - 1)] == codes
        return met

    def _rows_of(self, codes: Int64) -> Int64:
        """The row of each code; new ones get the next free rows."""
        at = np.searchsorted(self._codes, codes)
        met = self._met(codes, at)
        if not met.all():
            self._add(np.unique(codes[~met]))
            at = np.searchsorted(self._codes, codes)
        return self._rows[at]

    def _add(self, new: Int64) -> None:
        count = len(self._codes)
        at = np.searchsorted(self._codes, new)
        self._codes = np.insert(self._codes, at, new)
        self._rows = np.insert(self._rows, at, np.arange(count, count + len(new)))
        if count + len(new) > len(self._newest):
            more = np.full(max(count, len(new)), NEVER, dtype=np.int64)
            self._newest = np.concatenate([self._newest, more])
            self._floor = np.concatenate([self._floor, more])


def series_codes(device: Int32, series: Int64) -> Int64:
    """One number for each (device, series)."""
    return (device.astype(np.int64) << SERIES_BITS) | series


def newest_before(group: Int64, time_us: Int64, newest: Int64) -> Int64:
    """For each row, the newest time of its group before it: ``newest[group]`` or an earlier row's.

    ``group (n,)``: index into ``newest (g,)``; rows in the order received.
    """
    order = np.argsort(group, kind="stable")
    grouped, times = group[order], time_us[order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = grouped[1:] != grouped[:-1]
    previous = np.empty(len(order), dtype=np.int64)
    if ((times[1:] >= times[:-1]) | first[1:]).all():
        previous[1:] = times[:-1]  # in order, as nearly always
    else:
        # Running maximum within each group: times become ranks so that group * n + rank cannot overflow.
        ranked, rank = np.unique(times, return_inverse=True)
        running = np.maximum.accumulate(grouped * len(ranked) + rank)
        previous[1:] = ranked[running[:-1] % len(ranked)]
    previous[first] = NEVER
    before = np.empty_like(previous)
    before[order] = np.maximum(previous, newest[grouped])
    return before
