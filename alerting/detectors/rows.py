"""Row numbers for devices, and the order in which a block's rows are taken.

A detector keeps one array row for each device it has seen, not one for each
device of the city: a city has a hundred thousand readings devices and a
thousand accelerometers. Pure: numpy only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from domain.readings import Int32, Int64

NEVER = -(1 << 62)
"""A time before all times; far enough from the int64 limit that differences do not overflow."""

Rows64 = NDArray[np.intp]


class Rows:
    """Dense row numbers, given out in the order in which devices first appear."""

    def __init__(self) -> None:
        self._row: NDArray[np.int32] = np.full(1024, -1, np.int32)
        self.keys: NDArray[np.int32] = np.zeros(0, np.int32)

    def __len__(self) -> int:
        return len(self.keys)

    def of(self, keys: Int32) -> Rows64:
        """The rows of these device keys ``(n,)``; unseen devices get the next free rows."""
        if len(keys) == 0:
            return np.zeros(0, np.intp)
        top = int(keys.max())
        if top >= len(self._row):
            self._row = np.concatenate([self._row, np.full(top + 1024, -1, np.int32)])
        rows = self._row[keys]
        if rows.min() < 0:
            fresh = np.unique(keys[rows < 0])
            self._row[fresh] = np.arange(len(self.keys), len(self.keys) + len(fresh), dtype=np.int32)
            self.keys = np.concatenate([self.keys, fresh.astype(np.int32)])
            rows = self._row[keys]
        return rows.astype(np.intp)


def grown(array: NDArray[Any], count: int, fill: float = 0) -> NDArray[Any]:
    """``array`` with at least ``count`` rows, doubled when too short, new rows ``fill``."""
    if len(array) >= count:
        return array
    size = max(count, 2 * len(array), 64)
    out = np.full((size, *array.shape[1:]), fill, array.dtype)
    out[: len(array)] = array
    return out


class _Memory:
    """Arrays with one row each for something, grown together, saved and loaded together.

    A detector names its arrays in ``FIELDS`` with what a new row holds, and makes
    them with no rows in ``__init__``; their further dimensions are its own affair.
    """

    FIELDS: ClassVar[Mapping[str, float]]

    def _grow(self, count: int) -> None:
        if count > len(getattr(self, next(iter(self.FIELDS)))):
            for name, fill in self.FIELDS.items():
                setattr(self, name, grown(getattr(self, name), count, fill))

    def _saved(self, count: int) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name)[:count].copy() for name in self.FIELDS}

    def _put(self, rows: Rows64, saved: Mapping[str, NDArray[Any]]) -> None:
        for name in self.FIELDS:
            mine = getattr(self, name)
            if name not in saved or saved[name].shape[1:] != mine.shape[1:]:
                raise ValueError(f"saved state does not fit: {name}")
            mine[rows] = saved[name]


class DeviceState(_Memory):
    """A detector's memory with one row per device."""

    def __init__(self) -> None:
        self.rows = Rows()

    def rows_of(self, keys: Int32) -> Rows64:
        """The rows of these device keys ``(n,)``; unseen devices get new ones."""
        row = self.rows.of(keys)
        self._grow(len(self.rows))
        return row

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """All that is remembered, as copies: ``keys`` and each field, one row per device."""
        return {"keys": self.rows.keys.copy(), **self._saved(len(self.rows))}

    def load(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take up what ``snapshot`` gave; only into a detector that has seen nothing.

        Raises ValueError when it is another kind of state (a field is missing or has another shape).
        """
        self._put(self.rows_of(saved["keys"]), saved)


class SeriesState(_Memory):
    """A detector's memory with one row per series: a device's metric.

    ``device`` and ``metric`` say whose a row is. Rows are looked up through one
    table per metric, so that a block of few metrics costs one indexing each.
    """

    def __init__(self) -> None:
        self._tables: dict[int, Rows] = {}
        self._row: dict[int, Rows64] = {}
        self.device: NDArray[np.int32] = np.zeros(0, np.int32)
        self.metric: NDArray[np.int32] = np.zeros(0, np.int32)

    def __len__(self) -> int:
        return len(self.device)

    def series_of(self, device: Int32, metric: Int32) -> Rows64:
        """The rows of these (device, metric) pairs ``(n,)``; unseen ones get the next free rows."""
        out = np.empty(len(device), np.intp)
        for key in np.flatnonzero(np.bincount(metric)) if len(metric) else ():
            mine = metric == key
            out[mine] = self._of_metric(int(key), device[mine])
        self._grow(len(self.device))
        return out

    def _of_metric(self, key: int, device: Int32) -> Rows64:
        table = self._tables.setdefault(key, Rows())
        known = len(table)
        within = table.of(device)
        fresh = table.keys[known:]
        if len(fresh):
            first = len(self.device)
            rows = np.arange(first, first + len(fresh), dtype=np.intp)
            self._row[key] = np.concatenate([self._row.get(key, np.zeros(0, np.intp)), rows])
            self.device = np.concatenate([self.device, fresh])
            self.metric = np.concatenate([self.metric, np.full(len(fresh), key, np.int32)])
        return self._row[key][within]

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """All that is remembered, as copies: ``device``, ``metric`` and each field, one row per series."""
        return {"device": self.device.copy(), "metric": self.metric.copy(), **self._saved(len(self.device))}

    def load(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take up what ``snapshot`` gave; only into a detector that has seen nothing. Raises ValueError."""
        self._put(self.series_of(saved["device"], saved["metric"]), saved)


def rounds(rows: Rows64) -> Iterator[Rows64]:
    """Split positions ``0..n-1`` into rounds in which no row occurs twice.

    Round 0 holds the first occurrence of every row, round 1 the second, and so
    on: each round can be taken in one vector step and order within a device is
    kept. In the common case there is one round.
    """
    if len(rows) == 0:
        return
    if len(rows) == 1:
        yield np.zeros(1, np.intp)
        return
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    if len(first) == len(rows):
        yield np.arange(len(rows))
        return
    rank = np.arange(len(rows)) - np.repeat(first, np.diff(np.append(first, len(rows))))
    by_rank = np.argsort(rank, kind="stable")
    cuts = np.cumsum(np.bincount(rank))[:-1]
    for part in np.split(order[by_rank], cuts):
        yield np.sort(part)


def firsts(row: Rows64) -> NDArray[np.bool_]:
    """Where a new series begins, in rows sorted by series."""
    return np.concatenate([[True], row[1:] != row[:-1]]) if len(row) else np.zeros(0, bool)


def newer(row: Rows64, time_us: Int64, newest_us: Int64) -> NDArray[np.bool_]:
    """Which rows, sorted by series, are newer than ``newest_us (n,)`` and all before them of their series."""
    fresh = time_us > newest_us
    first = firsts(row)
    if (first[1:] | (time_us[1:] > time_us[:-1])).all():
        return np.asarray(fresh)
    rank = np.searchsorted(np.unique(time_us), time_us)
    top = np.maximum.accumulate(np.cumsum(first) * (len(row) + 1) + rank)
    return np.asarray(fresh & (first | np.concatenate([[False], top[1:] > top[:-1]])))


def is_late(received_us: Int64 | int, sampled_us: Int64 | int) -> bool:
    """Whether a sample in order nevertheless arrived more than 300 s after it was taken."""
    return int(received_us) - int(sampled_us) > 300_000_000
