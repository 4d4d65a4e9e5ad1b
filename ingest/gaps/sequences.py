"""Which numbers of a device's own count have not come: gaps, found from what was committed. Pure.

A device numbers its messages (``seq``), whatever their kind. A number that is
skipped opens a gap; numbers that come later close it, all or in part. A smaller
number with a newer time means that the device began to count anew: what it had
not sent by then it no longer has, so its gaps are lost. Numbers met for the first
time begin the count; what was before is not ours to miss.

Most blocks only go on counting and are taken in columns; a device that skips,
repeats or begins anew is taken by itself, in the order received.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from domain.readings import Block, Int32, Int64

UNKNOWN = -1
JUMP_MAX = 100_000
"""A greater leap is another count, not so many lost messages."""
GAPS_OF_DEVICE_MAX = 200
"""Open gaps of one device; the oldest is given up for a newer one."""

FILLED, LOST, GIVEN_UP = "filled", "lost", "given_up"
"""How a gap ended: all came, the device counts anew, or it was asked often enough."""

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers ``first`` to ``last`` of a device that were skipped; ``missing``: what of them has not come yet.

    ``after_us``, ``before_us``: event times of the messages around it; ``opened_us``: arrival
    of the one that showed it.
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
    outcome: str | None = None

    @property
    def key(self) -> tuple[int, int, int]:
        """What names it in the table."""
        return self.device, self.first, self.opened_us

    @property
    def count(self) -> int:
        """How many numbers are missing."""
        return sum(last - first + 1 for first, last in self.missing)

    def without(self, seq: int) -> Gap:
        """The gap once ``seq`` has come."""
        left: list[Range] = []
        for first, last in self.missing:
            if first <= seq <= last:
                left += [part for part in ((first, seq - 1), (seq + 1, last)) if part[0] <= part[1]]
            else:
                left.append((first, last))
        return replace(self, missing=tuple(left), outcome=None if left else FILLED)


@dataclass(slots=True)
class Sequences:
    """The counts of all devices; arrays are indexed by device key."""

    highest: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    newest_us: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    counted: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))  # since last asked
    gaps: dict[int, list[Gap]] = field(default_factory=dict)
    begun: list[tuple[int, int, int]] = field(default_factory=list)  # (device, seq, time_us) met for the first time
    restarts: int = 0
    turn: int = 0

    def begin(self, counts: Iterable[tuple[int, int, int]], gaps: Iterable[Gap]) -> None:
        """Take up (device, highest, newest_us) and open gaps from before."""
        for device, highest, newest_us in counts:
            self._room(device)
            self.highest[device], self.newest_us[device] = highest, newest_us
        for gap in gaps:
            self.gaps.setdefault(gap.device, []).append(gap)

    def take(self, block: Block) -> list[Gap]:
        """Count the block's messages; returns the gaps that opened, shrank or ended."""
        n = numbered(block)
        if len(n.device) == 0:
            return []
        self._room(int(n.device.max()))
        known = self.highest[n.device]
        before = np.where(n.first, known, np.concatenate([[0], n.seq[:-1]]))
        new = n.first & (known == UNKNOWN)
        self.begun += zip(n.device[new].tolist(), n.seq[new].tolist(), n.time_us[new].tolist(), strict=True)
        odd = (n.seq != before + 1) & ~new
        apart = np.zeros(len(self.highest), bool)
        apart[n.device[odd]] = True
        plain = ~apart[n.device]
        ends = plain & np.concatenate([n.first[1:], [True]])
        self.highest[n.device[ends]] = n.seq[ends]
        np.maximum.at(self.newest_us, n.device[plain], n.time_us[plain])
        self.counted[n.device] = True
        changed: dict[tuple[int, int, int], Gap] = {}
        if odd.any():
            rest = np.flatnonzero(~plain)
            for i in rest[np.argsort(n.order[rest], kind="stable")].tolist():
                for gap in self._one(int(n.device[i]), int(n.seq[i]), int(n.time_us[i]), int(n.received_us[i])):
                    changed[gap.key] = gap
        return list(changed.values())

    def counts(self) -> list[tuple[int, int, int]]:
        """(device, highest, newest_us) of devices that have counted since the last call."""
        devices = np.flatnonzero(self.counted)
        self.counted[devices] = False
        highest, newest_us = self.highest[devices].tolist(), self.newest_us[devices].tolist()
        return list(zip(devices.tolist(), highest, newest_us, strict=True))

    def replace(self, gap: Gap) -> None:
        """Put a gap in the place of the one with its key; one that has ended goes."""
        kept = [g for g in self.gaps.get(gap.device, []) if g.key != gap.key]
        self.gaps[gap.device] = kept if gap.outcome else [*kept, gap]
        if not self.gaps[gap.device]:
            del self.gaps[gap.device]

    def current(self, gap: Gap) -> Gap | None:
        """The gap as it stands now, or None when it has ended."""
        return next((g for g in self.gaps.get(gap.device, []) if g.key == gap.key), None)

    def open(self, at_most: int = sys.maxsize) -> list[Gap]:
        """Gaps that have not ended: all, or of so many devices that ``at_most`` is reached, which take turns."""
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

    def _one(self, device: int, seq: int, time_us: int, received_us: int) -> list[Gap]:
        highest, newest_us = int(self.highest[device]), int(self.newest_us[device])
        newer = time_us > newest_us
        self.newest_us[device] = max(newest_us, time_us)
        if highest == UNKNOWN or seq == highest + 1:
            self.highest[device] = seq
            return []
        if seq > highest:
            self.highest[device] = seq
            if seq - highest > JUMP_MAX:
                return self._lose_all(device)
            missing = self._not_missed_yet(device, (highest + 1, seq - 1))
            if not missing:
                return []
            return self._open(Gap(device, highest + 1, seq - 1, missing, newest_us, time_us, received_us))
        for gap in self.gaps.get(device, []):
            if gap.first <= seq <= gap.last and any(first <= seq <= last for first, last in gap.missing):
                smaller = gap.without(seq)
                self.replace(smaller)
                return [smaller]
        if newer and seq < highest:
            self.restarts += 1
            self.highest[device] = seq
            return self._lose_all(device)
        return []  # it came before

    def _not_missed_yet(self, device: int, skipped: Range) -> tuple[Range, ...]:
        """What of these no open gap misses yet: after a crash the count is behind the gaps that were written."""
        left, (start, stop) = [], skipped
        for first, last in sorted(part for gap in self.gaps.get(device, []) for part in gap.missing):
            if start < first <= stop:
                left.append((start, first - 1))
            start = max(start, last + 1) if first <= stop else start
        if start <= stop:
            left.append((start, stop))
        return tuple(left)

    def _open(self, gap: Gap) -> list[Gap]:
        gaps = self.gaps.setdefault(gap.device, [])
        gaps.append(gap)
        if len(gaps) <= GAPS_OF_DEVICE_MAX:
            return [gap]
        return [replace(gaps.pop(0), outcome=GIVEN_UP), gap]

    def _lose_all(self, device: int) -> list[Gap]:
        return [replace(gap, outcome=LOST) for gap in self.gaps.pop(device, [])]

    def _room(self, device: int) -> None:
        if device >= len(self.highest):
            more = device + 1024 - len(self.highest)
            self.highest = np.concatenate([self.highest, np.full(more, UNKNOWN, np.int64)])
            self.newest_us = np.concatenate([self.newest_us, np.full(more, -(1 << 62), np.int64)])
            self.counted = np.concatenate([self.counted, np.zeros(more, bool)])


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A block's numbered messages by device and number, each once; ``order``: their place as received."""

    device: Int32
    seq: Int64
    time_us: Int64
    received_us: Int64
    order: Int64
    first: NDArray[np.bool_]


def numbered(block: Block) -> _Numbered:
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
    return _Numbered(device, seq, time_us[order], received[order], place[order], first)


# ---------------------------------------------------------------- asking

ASK_AFTER_S = (3.0, 10.0, 60.0, 600.0, 3600.0)
"""Waits before each time a device is asked: what is merely out of order comes by itself first."""
ASK_NUMBERS_MAX = 1000
"""Numbers asked for at once: a device's answer must not be a storm."""


def due(gaps: Sequence[Gap], now_us: int, at_most: int) -> tuple[list[Gap], list[Gap]]:
    """Gaps to ask for now (those that waited longest first), and those that were asked often enough."""
    come = [gap for gap in gaps if _is_due(gap, now_us)]
    waiting = sorted((gap for gap in come if gap.asks < len(ASK_AFTER_S)), key=_ask_at)
    over = [gap for gap in come if gap.asks >= len(ASK_AFTER_S)]
    return waiting[:at_most], [replace(gap, outcome=GIVEN_UP) for gap in over]


def asked(gap: Gap, now_us: int) -> Gap:
    """The gap once its device has been asked."""
    return replace(gap, asks=gap.asks + 1, ask_at_us=now_us + _wait_us(gap.asks + 1))


def question(gap: Gap) -> Range:
    """The numbers to ask for: from the first that is missing, at most ``ASK_NUMBERS_MAX`` of them."""
    first = gap.missing[0][0]
    return first, min(gap.missing[-1][1], first + ASK_NUMBERS_MAX - 1)


def _is_due(gap: Gap, now_us: int) -> bool:
    """Its time has come; or lies further ahead than any wait, so that our clock was put back meanwhile."""
    ahead_us = _ask_at(gap) - now_us
    return ahead_us <= 0 or ahead_us > _wait_us(gap.asks)


def _ask_at(gap: Gap) -> int:
    return gap.ask_at_us or gap.opened_us + _wait_us(0)


def _wait_us(asks: int) -> int:
    return round(ASK_AFTER_S[min(asks, len(ASK_AFTER_S) - 1)] * 1e6)
