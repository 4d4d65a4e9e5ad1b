"""The new values of some rows, and how a detector takes them: each row's next one, all rows at a time. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from alerting.detectors.rows import NEVER, Rows64, rounds_of
from alerting.detectors.values import Column, Values
from domain.readings import Bool, Float64, Int64
from domain.sorting import begins


class Steps:
    """Values of some rows as columns ``(n,)``: row by row, each row's in event order and newer than all before.

    ``row (m,)``: the rows, those with most values first; ``length``: how many each has;
    ``once``: all have one; ``gap_s (n,)``: since the value before, NaN at a row's very first;
    ``judged``: not a companion's, None = all.

    What does not depend on the value before is worked out for all at once. What does is taken in
    ``rounds``: each row's first value, then each one's second. A column that was ``laid``
    holds a round in one piece, and a round is that of the first rows; ``back`` puts such
    a column into the order of the others.
    """

    gap_s: Float64

    def __init__(self, values: Values) -> None:
        self.time_us, self.value, self.received_us = values.time_us, values.value, values.received_us
        self.first, self.judged = values.first, values.judged
        n = len(values.row)
        self._place: Rows64 | None = None
        self.once = values.once()
        if self.once:
            self.row, self._heads = values.row, [n]
            self.length: Rows64 | int = 1
            return
        start = np.flatnonzero(values.first)
        length = np.diff(np.append(start, n))
        order = np.argsort(-length, kind="stable")
        place = np.empty(len(order), np.intp)
        place[order] = np.arange(len(order))
        self._of, self._rank = np.repeat(place, length), np.arange(n) - np.repeat(start, length)
        start, length = start[order], length[order]
        self.length = length
        self.row = values.row[start]
        heads = len(order) - np.searchsorted(length[::-1], np.arange(1, length[0] + 1))
        ends = np.cumsum(heads)
        self._heads = heads.tolist()
        self._place = start[np.arange(n) - np.repeat(ends - heads, heads)] + np.repeat(np.arange(len(heads)), heads)

    def __len__(self) -> int:
        return len(self.value)

    def per(self, column: Column) -> Column:
        """A column of the rows ``(m, …)`` for each value: ``(n, …)``."""
        return column if self.once else column[self._of]  # type: ignore[return-value]

    def of(self, which: Rows64) -> Rows64:
        """The places in ``row`` of the rows of some values."""
        return which if self.once else self._of[which]

    def counted(self, column: Column, which: Rows64 | slice = slice(None)) -> Column:
        """A count of each row ``(m,)``, and so many more as there are values of it before one; of some values."""
        if self.once:
            return column[which]  # type: ignore[return-value]
        return column[self._of[which]] + self._rank[which]  # type: ignore[return-value]

    def before(self, column: Column, rows: Column) -> Column:
        """What stands before each value in its row: of ``column (n,)``, at first of ``rows (m,)``."""
        if self.once:
            return rows
        out = np.empty(len(column), np.result_type(column, rows))
        out[1:] = column[:-1]
        out[self.first] = rows[self._of[self.first]]
        return out  # type: ignore[return-value]

    def so_far(self, mask: Bool) -> Int64:
        """How many of the values before each in its row are in the mask ``(n,)``."""
        if self.once:
            return np.zeros(len(mask), np.int64)
        before: Int64 = np.cumsum(mask) - mask
        return np.asarray(before - before[np.arange(len(mask)) - self._rank])

    def held(self, column: Float64, moved: Float64) -> Float64:
        """A column in which a number in ``moved (n,)`` holds for the later values of its row, until the next."""
        if self.once:
            return column
        after = np.empty(len(moved))
        after[1:] = moved[:-1]
        after[self.first] = np.nan
        stays = np.isnan(after)
        source = np.maximum.accumulate(np.where(stays & ~self.first, 0, np.arange(len(moved))))
        return np.where(stays, column, after)[source]

    def all_newer(self, newest_us: Int64) -> bool:
        """Whether each value is newer than the one before; ``newest_us (m,)``: before the first ones."""
        if self.judged is not None:
            return False  # not known
        return bool((self.time_us > self.before(self.time_us, newest_us)).all())

    def last(self, column: Column) -> Column:
        """The last of each row of ``column (n,)``: ``(m,)``."""
        if self.once:
            return column
        out = np.empty(len(self.row), column.dtype)
        ends = np.append(self.first[1:], True)
        out[self._of[ends]] = column[ends]
        return out  # type: ignore[return-value]

    def laid(self, column: Column) -> Column:
        """A column ``(n,)`` round by round."""
        return column if self._place is None else column[self._place]  # type: ignore[return-value]

    def back(self, laid: Column) -> Column:
        """A column that was made round by round, as the others stand."""
        if self._place is None:
            return laid
        out = np.empty_like(laid)
        out[self._place] = laid
        return out  # type: ignore[no-any-return]

    def rounds(self) -> Iterator[slice]:
        """Each round, as the part of a laid column that it is; so many of the first rows are in it."""
        for begin, end in pairwise(np.cumsum([0, *self._heads]).tolist()):
            yield slice(begin, end)

    def turns(self, which: Rows64) -> Iterator[Rows64 | slice]:
        """Parts of ``which (k,)``, places of values: each row's first, then each one's second."""
        if self.once:
            yield slice(None)
        else:
            yield from rounds_of(begins(self._of[which]))

    def some(self, which: Rows64) -> Steps:
        """Some of the values, of those that are judged; ``row`` of it are places in ``row``."""
        of = self.of(which)
        columns = self.time_us[which], self.value[which], self.received_us[which]
        return Steps(Values(of, *columns, begins(of), None))


def gaps(time_us: Int64, before_us: Int64) -> Float64:
    """Seconds since the value before, NaN where there was none."""
    gap_s: Float64 = (time_us - before_us) / 1e6
    never: Bool = before_us == NEVER
    if np.count_nonzero(never):
        gap_s[never] = np.nan
    return gap_s
