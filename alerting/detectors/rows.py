"""Row numbers for devices, and the order in which a block's rows are taken.

A detector keeps one array row for each device it has seen, not one for each
device of the city: a city has a hundred thousand readings devices and a
thousand accelerometers. Pure: numpy only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from domain.readings import Bool, Int32, Int64, SeriesRows
from domain.sorting import begins

NEVER = -(1 << 62)
"""A time before all times; far enough from the int64 limit that differences do not overflow."""

Rows64 = NDArray[np.intp]
NO_KEYS = np.zeros(0, np.int32)


class Rows:
    """Dense row numbers, given out in the order in which devices first appear."""

    def __init__(self) -> None:
        self._row: NDArray[np.int32] = np.full(1024, -1, np.int32)
        self.keys: NDArray[np.int32] = np.zeros(0, np.int32)

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: int) -> bool:
        return key < len(self._row) and bool(self._row[key] >= 0)

    def of(self, keys: Int32 | Int64) -> Rows64:
        """The rows of these device keys ``(n,)``; unseen devices get the next free rows."""
        if len(keys) == 0:
            return np.zeros(0, np.intp)
        self._row, rows, fresh = numbered(self._row, keys, len(self.keys))
        if len(fresh):
            self.keys = np.concatenate([self.keys, fresh])
        return rows


def numbered(table: NDArray[np.int32], keys: Int32 | Int64, count: int) -> tuple[NDArray[np.int32], Rows64, Int32]:
    """Look keys ``(n > 0,)`` up in a table of row by key, -1 = none; those not there get ``count`` and up.

    Returns the table, longer where it had to be, the rows, and the new keys in the order of their rows.
    """
    try:
        rows = table[keys]
    except IndexError:
        table = np.concatenate([table, np.full(int(keys.max()) + 1024 - len(table), -1, np.int32)])
        rows = table[keys]
    if rows.min() >= 0:
        return table, rows.astype(np.intp), NO_KEYS
    fresh = np.unique(keys[rows < 0]).astype(np.int32)
    table[fresh] = np.arange(count, count + len(fresh), dtype=np.int32)
    return table, table[keys].astype(np.intp), fresh


def grown(array: NDArray[Any], count: int, fill: float = 0) -> NDArray[Any]:
    """``array`` with at least ``count`` rows, doubled when too short, new rows ``fill``."""
    if len(array) >= count:
        return array
    size = max(count, 2 * len(array), 64)
    out = np.full((size, *array.shape[1:]), fill, array.dtype)
    out[: len(array)] = array
    return out


class Lent:
    """An array ``(rows, …)`` of which few rows hold anything at a time; only those take memory, the others are 0.

    ``held (places, …)`` is what there is. A row that is written gets a place, one that is set to 0 gives it back.
    """

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.held: NDArray[Any] = np.zeros((0, *shape), dtype)
        self._place: NDArray[np.int32] = np.zeros(0, np.int32)
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._place)

    @property
    def shape(self) -> tuple[int, ...]:
        """As if every row had a place."""
        return len(self._place), *self.held.shape[1:]

    @property
    def nbytes(self) -> int:
        """Of what there is."""
        return self.held.nbytes + self._place.nbytes

    def grow(self, count: int) -> None:
        """So many rows at least."""
        self._place = grown(self._place, count, -1)

    def places(self, rows: Rows64) -> Rows64:
        """The places of these rows ``(n,)`` in ``held``, each row once; those without get one, all 0.

        Ask before you touch ``held``: it may be made anew.
        """
        place = self._place[rows]
        fresh = np.flatnonzero(place < 0)
        if len(fresh):
            if len(self._free) < len(fresh):
                size = len(self.held)
                self.held = grown(self.held, size - len(self._free) + len(fresh))
                self._free = [*range(len(self.held) - 1, size - 1, -1), *self._free]
            given = [self._free.pop() for _ in range(len(fresh))]
            self.held[given] = 0
            self._place[rows[fresh]] = place[fresh] = given
        return place.astype(np.intp)

    def __getitem__(self, rows: Rows64 | slice) -> NDArray[Any]:
        place = self._place[rows]
        out = np.zeros((len(place), *self.held.shape[1:]), self.held.dtype)
        there = np.flatnonzero(place >= 0)
        out[there] = self.held[place[there]]
        return out

    def __setitem__(self, rows: Rows64, values: NDArray[Any] | float) -> None:
        if not isinstance(values, np.ndarray):
            assert values == 0
            place = self._place[rows]
            self._free += place[place >= 0].tolist()
            self._place[rows] = -1
            return
        holds = values.any(axis=tuple(range(1, values.ndim)))
        self[rows[~holds]] = 0
        places = self.places(rows[holds])
        self.held[places] = values[holds]


class _Memory:
    """Arrays with one row each for something, grown together, saved and loaded together.

    A detector names its arrays in ``FIELDS`` with what a new row holds, and makes
    them with no rows in ``__init__``; their further dimensions are its own affair.
    """

    FIELDS: ClassVar[Mapping[str, float]]

    def _grow(self, count: int) -> None:
        if count > len(getattr(self, next(iter(self.FIELDS)))):
            for name, fill in self.FIELDS.items():
                array = getattr(self, name)
                if isinstance(array, Lent):
                    array.grow(count)
                else:
                    setattr(self, name, grown(array, count, fill))

    def _saved(self, count: int) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name)[:count].copy() for name in self.FIELDS}

    def _put(self, rows: Rows64, saved: Mapping[str, NDArray[Any]]) -> None:
        for name in self.FIELDS:
            if name not in saved or saved[name].shape[1:] != getattr(self, name).shape[1:]:
                raise ValueError(f"saved state does not fit: {name}")
        for name in self.FIELDS:
            getattr(self, name)[rows] = saved[name]


class DeviceState(_Memory):
    """A detector's memory with one row per device."""

    def __init__(self) -> None:
        self.rows = Rows()

    def rows_of(self, keys: Int32 | Int64) -> Rows64:
        """The rows of these device keys ``(n,)``; unseen devices get new ones."""
        row = self.rows.of(keys)
        self._grow(len(self.rows))
        return row

    def forget(self, device: int) -> None:
        """Begin anew with this device, as if nothing had been seen of it."""
        if device in self.rows:
            row = self.rows.of(np.array([device], np.int32))
            for name, fill in self.FIELDS.items():
                getattr(self, name)[row] = fill

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

    ``device`` and ``metric`` say whose a row is. Rows are looked up in one table of
    metrics by devices, so that a block costs one indexing.
    """

    def __init__(self) -> None:
        self._line: dict[int, int] = {}  # metric → line of the table
        self._table: NDArray[np.int32] = np.full((4, 1024), -1, np.int32)  # row by device key, -1 = none
        self.device: NDArray[np.int32] = np.zeros(0, np.int32)
        self.metric: NDArray[np.int32] = np.zeros(0, np.int32)

    def __len__(self) -> int:
        return len(self.device)

    def series_of(self, device: Int32, metric: Int32) -> Rows64:
        """The rows of these (device, metric) pairs ``(n,)``; unseen ones get the next free rows."""
        out = np.empty(len(device), np.intp)
        for key in np.unique(metric).tolist():
            mine = metric == key
            out[mine] = self._of_metric(key, device[mine])
        self._grow(len(self.device))
        return out

    def rows_of(self, series: SeriesRows) -> Rows64:
        """The rows of a block's readings, as they stand there; unseen series get the next free rows."""
        return self.rows_in(list(series.spans), list(series.spans.values()), series.device)

    def rows_in(self, metrics: Sequence[int], spans: Sequence[slice], device: Int32 | Int64) -> Rows64:
        """The rows of some spans of ``device``, one after the other, each of a metric's series."""
        rows = self.known_rows(metrics, spans, device)
        if rows is not None:
            return rows
        parts = [self._of_metric(key, device[span]) for key, span in zip(metrics, spans, strict=True)]
        self._grow(len(self.device))
        return np.concatenate(parts)

    def known_rows(self, metrics: Sequence[int], spans: Sequence[slice], device: Int32 | Int64) -> Rows64 | None:
        """As ``rows_in``, None when a series is unseen."""
        if not spans:
            return np.zeros(0, np.intp)
        lengths = [span.stop - span.start for span in spans]
        mine = device if sum(lengths) == len(device) else np.concatenate([device[span] for span in spans])
        width = self._table.shape[1]
        lines = [self._line.get(key, -1) for key in metrics]
        if not len(mine) or min(lines) < 0 or int(mine.max()) >= width:
            return None
        rows: NDArray[np.int32] = self._table.reshape(-1)[np.repeat(np.array(lines) * width, lengths) + mine]
        return rows.astype(np.intp) if rows.min() >= 0 else None

    def _of_metric(self, key: int, device: Int32 | Int64) -> Rows64:
        if not len(device):
            return np.zeros(0, np.intp)
        line = self._line.setdefault(key, len(self._line))
        lines, width = self._table.shape
        if line >= lines or int(device.max()) >= width:
            more = np.full((max(line + 1, lines), max(int(device.max()) + 1024, width)), -1, np.int32)
            more[:lines, :width] = self._table
            self._table = more
        _, rows, fresh = numbered(self._table[line], device, len(self.device))
        if len(fresh):
            self.device = np.concatenate([self.device, fresh])
            self.metric = np.concatenate([self.metric, np.full(len(fresh), key, np.int32)])
        return rows

    def _seen_at_all(self, device: Int32 | Int64) -> bool:
        """Whether any of these devices has any series."""
        there = device[device < self._table.shape[1]]
        return bool((self._table[: len(self._line), there] >= 0).any())

    def _seen_of(self, key: int, device: Int32 | Int64) -> Bool:
        """Which of these devices have a series of this metric."""
        there: Bool = device < self._table.shape[1]
        line = self._line.get(key)
        if line is None:
            return np.zeros(len(device), bool)
        there[there] = self._table[line][device[there]] >= 0
        return there

    def forget(self, device: int) -> None:
        """Begin anew with all series of this device."""
        rows = np.flatnonzero(self.device == device)
        for name, fill in self.FIELDS.items():
            getattr(self, name)[rows] = fill

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """All that is remembered, as copies: ``device``, ``metric`` and each field, one row per series."""
        return {"device": self.device.copy(), "metric": self.metric.copy(), **self._saved(len(self.device))}

    def load(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take up what ``snapshot`` gave; only into a detector that has seen nothing. Raises ValueError."""
        self._put(self.series_of(saved["device"], saved["metric"]), saved)


class RuleState(SeriesState):
    """The memory of rules that are alike and judged in one go: one row per rule and device.

    In ``SeriesState`` the rule's number stands for the metric.
    """

    def row_of(self, keys: Int32 | Int64, number: int = 0) -> Rows64:
        """The rows of these device keys ``(n,)`` of one rule; unseen devices get new ones."""
        row = self._of_metric(number, keys)
        self._grow(len(self))
        return row

    def forget(self, device: int, number: int = 0) -> None:
        """Begin anew with this device of one rule, as if nothing had been seen of it."""
        row = np.flatnonzero((self.device == device) & (self.metric == number))
        for name, fill in self.FIELDS.items():
            getattr(self, name)[row] = fill

    def snapshot(self, number: int = 0) -> dict[str, NDArray[Any]]:
        """All that is remembered of one rule, as copies: ``keys`` and each field, one row per device."""
        row = np.flatnonzero(self.metric == number)
        return {"keys": self.device[row], **{name: getattr(self, name)[row] for name in self.FIELDS}}

    def load(self, saved: Mapping[str, NDArray[Any]], number: int = 0) -> None:
        """Take up what ``snapshot`` gave, for a rule that has seen nothing; ValueError when it does not fit."""
        self._put(self.row_of(saved["keys"], number), saved)


def packed(memory: Any) -> NDArray[np.uint8]:
    """What a detector of few devices remembers in objects, as an array: JSON."""
    return np.frombuffer(json.dumps(memory, ensure_ascii=False).encode(), np.uint8).copy()


def unpacked(saved: Mapping[str, NDArray[Any]]) -> Any:
    """What ``packed`` was given; raises ValueError when there is none."""
    if "json" not in saved:
        raise ValueError("saved state does not fit: json")
    return json.loads(saved["json"].tobytes())


def rounds(rows: Rows64) -> Iterator[Rows64]:
    """Split positions ``0..n-1`` into rounds in which no row occurs twice.

    Round 0 holds the first occurrence of every row, round 1 the second, and so
    on: each round can be taken in one vector step and order within a device is
    kept. In the common case there is one round.
    """
    order = np.argsort(rows, kind="stable")
    for part in rounds_of(begins(rows[order])):
        yield np.sort(order[part])


def rounds_of(first: Bool) -> Iterator[Rows64]:
    """As ``rounds``, of rows that are sorted; ``first (n,)``: where another row begins."""
    n = len(first)
    if np.count_nonzero(first) == n:  # faster than ``all``
        if n:
            yield np.arange(n)
        return
    start = np.flatnonzero(first)
    rank = np.arange(n) - np.repeat(start, np.diff(np.append(start, n)))
    yield from np.split(np.argsort(rank, kind="stable"), np.cumsum(np.bincount(rank))[:-1])


def places(mask: Bool) -> Rows64 | slice:
    """Where it is true, to index with; where it always is, a slice, which copies nothing."""
    return slice(None) if np.count_nonzero(mask) == len(mask) else np.flatnonzero(mask)


def newer(first: Bool, time_us: Int64, newest_us: Int64) -> Bool:
    """Which rows are newer than ``newest_us (n,)`` and all before them of their series.

    Rows are sorted by series; ``first``: where a series begins.
    """
    fresh = time_us > newest_us
    if (first[1:] | (time_us[1:] > time_us[:-1])).all():
        return np.asarray(fresh)
    rank = np.searchsorted(np.unique(time_us), time_us)
    top = np.maximum.accumulate(np.cumsum(first) * (len(first) + 1) + rank)
    return np.asarray(fresh & (first | np.concatenate([[False], top[1:] > top[:-1]])))


def is_late(received_us: Int64 | int, sampled_us: Int64 | int) -> bool:
    """Whether a sample in order nevertheless arrived more than 300 s after it was taken."""
    return int(received_us) - int(sampled_us) > 300_000_000
