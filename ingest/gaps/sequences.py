"""Which numbers of a device's own count have not come: gaps, found from what was committed. Pure.

A device numbers its messages (``seq``), whatever their kind. A number that is
skipped opens a gap; numbers that come later close it, all or in part. A smaller
number with a newer time means that the device began to count anew: what it had
not sent by then it no longer has, so its gaps are lost. Numbers met for the first
time begin the count; what was before is not ours to miss.

Devices that go on counting (within a block in any order) are taken in columns, and so
are those that skip; one that repeats, fills or begins anew is taken message by message,
in the order received.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.readings import Block, Bool, Int32, Int64

UNKNOWN = -1
JUMP_MAX = 100_000
"""A greater leap is another count, not so many lost messages."""
GAPS_OF_DEVICE_MAX = 200
"""Open gaps of one device; the oldest is given up for a newer one."""

FILLED, LOST, GIVEN_UP = "filled", "lost", "given_up"
"""How a gap ended: all came, the device counts anew, or it was asked often enough."""
OPEN = None

Range = tuple[int, int]


class Gap(NamedTuple):
    """Numbers ``first`` to ``last`` of a device that were skipped; ``missing``: what of them has not come yet.

    ``after_us``, ``before_us``: event times of the messages around it; ``opened_us``: arrival
    of the one that showed it. A tuple, as a device that skips at every message makes thousands a second.
    """

    device: int
    first: int
    last: int
    missing: tuple[Range, ...]
    after_us: int
    before_us: int
    opened_us: int
    asks: int = 0
    ask_at_us: int = 0
    outcome: str | None = OPEN

    @property
    def key(self) -> tuple[int, int, int]:
        """What names it in the table."""
        return self.device, self.first, self.opened_us

    @property
    def numbers(self) -> int:
        """How many numbers are missing."""
        return sum(last - first + 1 for first, last in self.missing)

    def without(self, seq: int) -> Gap | None:
        """The gap once ``seq`` has come; None when it was not missing."""
        at = bisect_right(self.missing, (seq, sys.maxsize)) - 1
        if at < 0 or seq > self.missing[at][1]:
            return None
        first, last = self.missing[at]
        parts = [part for part in ((first, seq - 1), (seq + 1, last)) if part[0] <= part[1]]
        left = (*self.missing[:at], *parts, *self.missing[at + 1 :])
        return self._replace(missing=left, outcome=OPEN if left else FILLED)

    def ended(self, outcome: str) -> Gap:
        """The gap when nothing of it is expected any more."""
        return Gap._make((*self[:-1], outcome))


@dataclass(slots=True)
class Sequences:
    """The counts of all devices; arrays are indexed by device key.

    ``gaps``: the open ones of each device, by their numbers; they do not overlap.
    """

    highest: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    newest_us: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    counted: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))  # since last asked
    gaps: dict[int, list[Gap]] = field(default_factory=dict)
    restarts: int = 0
    turn: int = 0

    def begin(self, counts: Iterable[tuple[int, int, int]], gaps: Iterable[Gap]) -> None:
        """Take up (device, highest, newest_us) and open gaps from before."""
        for device, highest, newest_us in counts:
            self._room(device)
            self.highest[device], self.newest_us[device] = highest, newest_us
        for gap in gaps:
            self.gaps.setdefault(gap.device, []).append(gap)
        for of_device in self.gaps.values():
            of_device.sort(key=_first)

    def take(self, block: Block) -> list[Gap]:
        """Count the block's messages; returns the gaps that opened, shrank or ended."""
        n = numbered(block)
        if len(n.device) == 0:
            return []
        self._room(int(n.device.max()))
        known = self.highest[n.device]
        before = np.where(n.first, known, np.concatenate([[0], n.seq[:-1]]))
        odd = (n.seq != before + 1) & ~(n.first & (known == UNKNOWN))
        self.counted[n.device] = True
        if not odd.any():
            self._count_on(n)
            return []
        earlier = np.concatenate([[-1], n.order[:-1]])
        back = np.where(n.first, n.seq <= known, n.order < earlier)
        alone = self._flags(n.device[odd]) & self._flags(n.device[back])
        onward = ~alone[n.device]
        changed = {gap.key: gap for gap in self._skip(n, before, odd & onward)}
        self._count_on(n.take(onward))
        rest = n.take(~onward)
        by_arrival = np.argsort(rest.order)
        columns = (rest.device, rest.seq, rest.time_us, rest.received_us)
        for row in zip(*(column[by_arrival].tolist() for column in columns), strict=True):
            changed.update((gap.key, gap) for gap in self._one(*row))
        return list(changed.values())

    def counts(self) -> list[tuple[int, int, int]]:
        """(device, highest, newest_us) of devices that have counted since the last call."""
        devices = np.flatnonzero(self.counted)
        self.counted[devices] = False
        highest, newest_us = self.highest[devices].tolist(), self.newest_us[devices].tolist()
        return list(zip(devices.tolist(), highest, newest_us, strict=True))

    def replace(self, gap: Gap) -> None:
        """Put a gap in the place of the one with its key; one that has ended goes."""
        gaps = self.gaps.get(gap.device, [])
        at = _at(gaps, gap.first)
        there = at >= 0 and gaps[at].key == gap.key
        if not (there or gap.outcome):
            self.gaps.setdefault(gap.device, []).insert(at + 1, gap)
        elif there:
            self._put(gap, at)

    def current(self, gap: Gap) -> Gap | None:
        """The gap as it stands now, or None when it has ended."""
        gaps = self.gaps.get(gap.device, [])
        at = _at(gaps, gap.first)
        return gaps[at] if at >= 0 and gaps[at].key == gap.key else None

    def open(self, at_most: int = sys.maxsize) -> list[Gap]:
        """Gaps that have not ended: all, or those of so many devices that ``at_most`` is reached, in turns."""
        devices = list(self.gaps)
        turn = self.turn if self.turn < len(devices) else 0
        found: list[Gap] = []
        self.turn = turn
        for device in devices[turn:] + devices[:turn]:
            if len(found) >= at_most:
                break
            found += self.gaps[device]
            self.turn = (self.turn + 1) % len(devices)
        return found

    def count_open(self) -> int:
        """How many gaps have not ended."""
        return sum(map(len, self.gaps.values()))

    def _count_on(self, n: Numbered) -> None:
        ends = np.concatenate([n.first[1:], [True]])[: len(n.seq)]
        self.highest[n.device[ends]] = n.seq[ends]
        np.maximum.at(self.newest_us, n.device, n.time_us)

    def _skip(self, n: Numbered, before: Int64, skips: Bool) -> list[Gap]:
        """What ``_one`` does, for devices whose numbers come in order; ``skips``: rows before which some miss."""
        rows = np.flatnonzero(skips)
        device, leap = n.device[rows], n.seq[rows] - before[rows] > JUMP_MAX
        begin, end = runs_of(device, leap)
        new = new_gaps(n, before, rows, newest_before(n, self.newest_us), leap, end)
        coming = (end[begin] - begin + 1 - leap[end[begin]]).tolist()
        counts = np.add.reduceat(~leap, begin, dtype=np.int64).tolist() if len(rows) else []
        leaps = np.logical_or.reduceat(leap, begin).tolist() if len(rows) else []
        changed: list[Gap] = []
        at = 0
        for key, more, count, leaped in zip(device[begin].tolist(), coming, counts, leaps, strict=True):
            changed += self._behind(key, more, leaped)
            mine = new[at : at + count]
            at += count
            if leaped or count > GAPS_OF_DEVICE_MAX:
                mine = [gap for gap in mine if gap.outcome is OPEN]
            if mine:
                self.gaps.setdefault(key, []).extend(mine)
        return changed + new

    def _behind(self, device: int, coming: int, leaps: bool = False) -> list[Gap]:
        """What becomes of open gaps when ``coming`` more open behind them, and then the count leaps or does not."""
        gaps = self.gaps.get(device, ())
        too_many = len(gaps) + coming - GAPS_OF_DEVICE_MAX
        if not gaps or not (leaps or too_many > 0):
            return []
        given_up = [gap.ended(GIVEN_UP) for gap in gaps[: max(0, too_many)]]
        del self.gaps[device][: len(given_up)]
        return [*given_up, *self._lose_all(device)] if leaps else given_up

    def _one(self, device: int, seq: int, time_us: int, received_us: int) -> list[Gap]:
        highest, newest_us = int(self.highest[device]), int(self.newest_us[device])
        newer = time_us > newest_us
        if newer:
            self.newest_us[device] = time_us
        if highest == UNKNOWN or seq == highest + 1:
            self.highest[device] = seq
            return []
        if seq > highest:
            self.highest[device] = seq
            if seq - highest > JUMP_MAX:
                return self._lose_all(device)
            gap = Gap(device, highest + 1, seq - 1, ((highest + 1, seq - 1),), newest_us, time_us, received_us)
            given_up = self._behind(device, 1)
            self.gaps.setdefault(device, []).append(gap)
            return [*given_up, gap]
        gaps = self.gaps.get(device, [])
        at = _at(gaps, seq)
        if at >= 0 and (smaller := gaps[at].without(seq)) is not None:
            self._put(smaller, at)
            return [smaller]
        if newer and seq < highest:
            self.restarts += 1
            self.highest[device] = seq
            return self._lose_all(device)
        return []  # it came before

    def _put(self, gap: Gap, at: int) -> None:
        gaps = self.gaps[gap.device]
        if gap.outcome is OPEN:
            gaps[at] = gap
            return
        del gaps[at]
        if not gaps:
            del self.gaps[gap.device]

    def _lose_all(self, device: int) -> list[Gap]:
        return [gap.ended(LOST) for gap in self.gaps.pop(device, [])]

    def _flags(self, devices: Int32) -> Bool:
        flags = np.zeros(len(self.highest), np.bool_)
        flags[devices] = True
        return flags

    def _room(self, device: int) -> None:
        if device >= len(self.highest):
            more = device + 1024 - len(self.highest)
            self.highest = np.concatenate([self.highest, np.full(more, UNKNOWN, np.int64)])
            self.newest_us = np.concatenate([self.newest_us, np.full(more, -(1 << 62), np.int64)])
            self.counted = np.concatenate([self.counted, np.zeros(more, bool)])


def _first(gap: Gap) -> int:
    return gap.first


def _at(gaps: Sequence[Gap], seq: int) -> int:
    """Which of a device's gaps begins last at or before a number; -1 for none."""
    return bisect_right(gaps, seq, key=_first) - 1


def newest_before(n: Numbered, known_us: Int64) -> Int64:
    """The newest event time of each row's device before that row, ``(n,)``; ``known_us`` before the block."""
    by_time = np.argsort(n.time_us, kind="stable")
    rank = np.empty(len(n.seq), np.int64)
    rank[by_time] = np.arange(len(n.seq))
    # Ranks, lifted for each device above all of the one before: a running maximum begins anew with each.
    lift = np.cumsum(n.first) * len(n.seq)
    newest = n.time_us[by_time[np.maximum.accumulate(rank + lift) - lift]]
    known = known_us[n.device]
    return np.where(n.first, known, np.maximum(known, np.concatenate([[0], newest[:-1]])))


def runs_of(device: Int32, leap: Bool) -> tuple[Int64, Int64]:
    """Of skips by device and number: where each device begins, and for each skip where its gaps end.

    That is the next leap of its device, itself included, or else the device's last skip.
    """
    n = len(device)
    begins = np.concatenate([[True], device[1:] != device[:-1]])[:n]
    ends = np.where(leap | np.concatenate([begins[1:], [True]])[:n], np.arange(n), n)
    return np.flatnonzero(begins), np.minimum.accumulate(ends[::-1])[::-1]


def new_gaps(n: Numbered, before: Int64, rows: Int64, newest_us: Int64, leap: Bool, end: Int64) -> list[Gap]:
    """The gaps of skips ``rows`` that are no leaps, with what has become of them at the block's end.

    Of those between two leaps all but the newest ``GAPS_OF_DEVICE_MAX`` are given up, and these are lost
    by the leap.
    """
    later = end - np.arange(len(rows)) - leap[end]
    lost, given_up = leap[end], later >= GAPS_OF_DEVICE_MAX
    ended = np.array([OPEN, LOST, GIVEN_UP], object)[np.where(given_up, 2, lost.astype(np.int64))]
    rows, ended = rows[~leap], ended[~leap]
    first, last = (before[rows] + 1).tolist(), (n.seq[rows] - 1).tolist()
    missing = [(one,) for one in zip(first, last, strict=True)]
    times = (newest_us[rows].tolist(), n.time_us[rows].tolist(), n.received_us[rows].tolist())
    zeros = [0] * len(rows)
    columns = (n.device[rows].tolist(), first, last, missing, *times, zeros, zeros, ended.tolist())
    return [Gap._make(row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True, slots=True)
class Numbered:
    """A block's numbered messages by device and number, each once; ``order``: their place as received."""

    device: Int32
    seq: Int64
    time_us: Int64
    received_us: Int64
    order: Int64
    first: Bool

    def take(self, which: Bool) -> Numbered:
        """Some of the rows; all or none of a device."""
        return Numbered(
            self.device[which], self.seq[which], self.time_us[which], self.received_us[which], self.order[which],
            self.first[which],
        )  # fmt: skip


def numbered(block: Block) -> Numbered:
    """The messages that carry a number. Rows of one message share it; the earliest row stands for it."""
    r, positions = block.readings, block.positions
    device = np.concatenate([
        r.device, *(w.device for w in block.waveforms), np.array([p.device for p in positions], np.int32),
    ])  # fmt: skip
    seq = np.concatenate([r.seq, *(w.seq for w in block.waveforms), np.array([p.seq for p in positions], np.int64)])
    time_us = np.concatenate([
        r.time_us, *(w.start_us for w in block.waveforms), np.array([p.time_us for p in positions], np.int64),
    ])  # fmt: skip
    received = np.concatenate([
        r.received_us, *(w.received_us for w in block.waveforms),
        np.array([p.received_us for p in positions], np.int64),
    ])  # fmt: skip
    # Readings, packets and positions of a device share its count, so their order is by arrival.
    with_number = np.flatnonzero(seq >= 0)
    place = np.empty(len(seq), np.int64)
    place[np.argsort(received, kind="stable")] = np.arange(len(seq))
    order = with_number[np.lexsort((place[with_number], seq[with_number], device[with_number]))]
    device, seq = device[order], seq[order]
    once = np.concatenate([[True], (device[1:] != device[:-1]) | (seq[1:] != seq[:-1])])[: len(order)]
    order, device, seq = order[once], device[once], seq[once]
    first = np.concatenate([[True], device[1:] != device[:-1]])[: len(order)]
    return Numbered(device, seq, time_us[order], received[order], place[order], first)


# ---------------------------------------------------------------- asking

ASK_AFTER_S = (3.0, 10.0, 60.0, 600.0, 3600.0)
"""Waits before each time a device is asked: what is merely out of order comes by itself first."""
ASK_NUMBERS_MAX = 1000
"""Numbers asked for at once: a device's answer must not be a storm."""


def due(gaps: Sequence[Gap], now_us: int, at_most: int) -> tuple[list[Gap], list[Gap]]:
    """Gaps to ask for now (those that waited longest first), and those that were asked often enough."""
    waiting = [gap for gap in gaps if gap.asks < len(ASK_AFTER_S) and _ask_at(gap) <= now_us]
    waiting.sort(key=_ask_at)
    over = [gap for gap in gaps if gap.asks >= len(ASK_AFTER_S) and gap.ask_at_us <= now_us]
    return waiting[:at_most], [gap.ended(GIVEN_UP) for gap in over]


def asked(gap: Gap, now_us: int) -> Gap:
    """The gap once its device has been asked."""
    wait_s = ASK_AFTER_S[min(gap.asks + 1, len(ASK_AFTER_S) - 1)]
    return gap._replace(asks=gap.asks + 1, ask_at_us=now_us + round(wait_s * 1e6))


def question(gap: Gap) -> Range:
    """The numbers to ask for: from the first that is missing, at most ``ASK_NUMBERS_MAX`` of them."""
    first = gap.missing[0][0]
    return first, min(gap.missing[-1][1], first + ASK_NUMBERS_MAX - 1)


def _ask_at(gap: Gap) -> int:
    return gap.ask_at_us or gap.opened_us + round(ASK_AFTER_S[0] * 1e6)
