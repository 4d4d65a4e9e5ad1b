"""The values of a block that a detector of one metric judges: chosen, in order, and split into rounds. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from alerting.detectors.rows import Rows64
from domain.readings import Bool, Float64, Int64, SeriesRows
from domain.sorting import begins, order_by


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

    def rounds(self) -> Iterator[Values]:
        """Each row's first value, then each one's second, and so on.

        Rows stand by how many values they have, most first: a round's are the first of those of the one before.
        """
        start = np.flatnonzero(self.first)
        length = np.diff(np.append(start, len(self.first)))
        order = np.argsort(-length, kind="stable")
        start, length = start[order], length[order]
        heads = len(length) - np.searchsorted(length[::-1], np.arange(1, length[0] + 1))
        ends = np.cumsum(heads)
        place = start[np.arange(ends[-1]) - np.repeat(ends - heads, heads)]
        laid = self.take(place + np.repeat(np.arange(len(heads)), heads))
        for end, n in zip(ends.tolist(), heads.tolist(), strict=True):
            yield laid.take(slice(end - n, end))


def joined(parts: Sequence[Values]) -> Values:
    """One after the other; no row is in two of them."""
    if len(parts) == 1:
        return parts[0]
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
