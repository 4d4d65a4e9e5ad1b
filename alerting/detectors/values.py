"""The values of a block that a detector of one metric judges: chosen, and in order. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from alerting.detectors.rows import Rows64, newer
from domain.readings import Bool, Float64, Int64, SeriesRows
from domain.sorting import begins, order_by

Column = TypeVar("Column", bound=NDArray[Any])


class Values(NamedTuple):
    """Values of a detector's rows, ``(n,)`` each, the rows sorted and each in the order received.

    ``first``: where another row begins; ``judged``: not a companion's, None = all.
    """

    row: Rows64
    time_us: Int64
    value: Float64
    received_us: Int64
    first: Bool
    judged: Bool | None

    def take(self, which: Rows64 | slice) -> Values:
        """Some of them."""
        return Values(
            self.row[which], self.time_us[which], self.value[which], self.received_us[which], self.first[which],
            None if self.judged is None else self.judged[which],
        )  # fmt: skip

    def once(self) -> bool:
        """Whether no row has two."""
        return bool(np.count_nonzero(self.first) == len(self.first))

    def newer(self, newest_us: Int64) -> Values:
        """Without what is not newer than all before it of its row; ``newest_us (n,)``: before the block.

        A companion's values stay.
        """
        if self.judged is None:
            fresh = newer(self.first, self.time_us, newest_us)
        else:
            fresh, own = ~self.judged, np.flatnonzero(self.judged)
            fresh[own] = newer(begins(self.row[own]), self.time_us[own], newest_us[own])
        if np.count_nonzero(fresh) == len(fresh):
            return self
        some = self.take(np.flatnonzero(fresh))
        return some._replace(first=begins(some.row))


def alone(rows: SeriesRows, row: Rows64, spans: Sequence[slice]) -> Values | None:
    """The finite values of some spans, one after the other, of the rows ``row``; None = none."""
    if not len(row):
        return None
    time_us, received_us = spanned(rows.time_us, spans), spanned(rows.received_us, spans)
    values = Values(row, time_us, spanned(rows.value, spans), received_us, spanned(rows.first, spans), None)
    finite = np.isfinite(values.value)
    if np.count_nonzero(finite) == len(finite):  # nearly always: nothing is copied
        return values
    values = values.take(np.flatnonzero(finite))
    return values._replace(first=begins(values.row)) if len(values.row) else None


def spanned(column: Column, spans: Sequence[slice]) -> Column:
    """These spans of a column, one after the other; of one span a view."""
    if len(spans) == 1:
        return column[spans[0]]  # type: ignore[return-value]
    return np.concatenate([column[span] for span in spans])  # type: ignore[return-value]


def joined(parts: Sequence[Values]) -> Values | None:
    """One after the other; no row is in two of them."""
    if len(parts) < 2:
        return parts[0] if parts else None
    row, time_us, value, received_us, first, judged = zip(*parts, strict=True)
    own = None
    if any(column is not None for column in judged):
        own = np.concatenate([np.ones(len(p.row), bool) if p.judged is None else p.judged for p in parts])
    return Values(
        np.concatenate(row), np.concatenate(time_us), np.concatenate(value), np.concatenate(received_us),
        np.concatenate(first), own,
    )  # fmt: skip


def beside(rows: SeriesRows, mine: slice, other: slice, known: Bool) -> tuple[Int64, Bool]:
    """Places of a metric's finite values and its companion's, device by device; which are the metric's.

    A companion's counts from its device's first value of the metric on, whatever the block's
    cuts; ``known``: for which of the companion's values there was one before the block.
    """
    place = np.concatenate([np.arange(mine.start, mine.stop), np.arange(other.start, other.stop)])
    counts = np.concatenate([np.ones(mine.stop - mine.start, bool), known])
    finite = np.isfinite(rows.value[place])
    place, counts = place[finite], counts[finite]
    order = order_by(rows.device[place], rows.at[place])
    place, counts = place[order], counts[order]
    judged = (place >= mine.start) & (place < mine.stop)
    so_far = np.cumsum(judged)
    before = np.maximum.accumulate(np.where(begins(rows.device[place]), so_far - judged, 0))
    counts |= so_far > before
    return place[counts], judged[counts]
