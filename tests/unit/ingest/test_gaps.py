"""Gaps in a device's count: found, shrunk, filled, lost, and asked for in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.devices import Device
from domain.errors import DatabaseUnavailable
from domain.readings import Block, Readings
from ingest.gaps import sequences
from ingest.gaps.sequences import (
    ASK_AFTER_S,
    GAPS_OF_DEVICE_MAX,
    JUMP_MAX,
    Gap,
    Sequences,
    due,
    numbered,
    question,
)
from ingest.gaps.service import GapService

T0 = 1_700_000_000_000_000
S = 1_000_000


def block(rows: Sequence[tuple[int, int, float]], received_s: float | None = None) -> Block:
    """Messages of (device, seq, second), in the order received."""
    n = len(rows)
    time_us = np.array([T0 + round(s * S) for _, _, s in rows], np.int64)
    received = time_us if received_s is None else np.full(n, T0 + round(received_s * S), np.int64)
    readings = Readings(
        np.array([d for d, _, _ in rows], np.int32), np.zeros(n, np.int32), time_us, np.zeros(n),
        np.array([q for _, q, _ in rows], np.int64), received, np.zeros(n, bool),
    )  # fmt: skip
    return Block(readings, (), (), (), (), T0)


def missing(gaps: Sequence[Gap]) -> list[tuple[int, tuple[tuple[int, int], ...], str | None]]:
    return [(gap.device, gap.missing, gap.outcome) for gap in gaps]


def test_a_device_that_counts_on_has_no_gap_and_the_first_number_is_where_it_begins() -> None:
    s = Sequences()
    assert s.take(block([(1, 500, 0), (2, 7, 0), (1, 501, 1), (2, 8, 1)])) == []
    assert s.take(block([(1, 502, 2), (2, 9, 2)])) == []
    assert sorted(row[:2] for row in s.counts()) == [(1, 502), (2, 9)]
    assert s.counts() == []


def test_rows_of_one_message_share_a_number_and_messages_without_one_do_not_count() -> None:
    s = Sequences()
    assert s.take(block([(1, 1, 0), (1, 1, 0), (1, 2, 1), (1, 2, 1), (3, -1, 0)])) == []
    assert [row[0] for row in s.counts()] == [1]


def test_a_skipped_number_opens_a_gap_with_its_event_times_and_late_numbers_fill_it() -> None:
    s = Sequences()
    (gap,) = s.take(block([(1, 1, 0), (1, 5, 4)]))
    assert (gap.first, gap.last, gap.missing) == (2, 4, ((2, 4),))
    assert (gap.after_us, gap.before_us) == (T0, T0 + 4 * S)
    assert missing(s.take(block([(1, 3, 2)]))) == [(1, ((2, 2), (4, 4)), None)]
    assert missing(s.take(block([(1, 2, 1), (1, 4, 3)]))) == [(1, (), "filled")]
    assert s.open() == []
    assert s.take(block([(1, 3, 2), (1, 6, 5)])) == [], "numbers that came before change nothing"


def test_disorder_within_a_block_is_no_gap() -> None:
    s = Sequences()
    s.take(block([(1, 1, 0)]))
    assert s.take(block([(1, 3, 2), (1, 2, 1), (1, 4, 3)])) == []


def test_a_device_that_counts_anew_has_lost_what_it_had_not_sent() -> None:
    s = Sequences()
    s.take(block([(1, 10, 0), (1, 13, 3)]))
    assert missing(s.take(block([(1, 0, 60), (1, 1, 61)]))) == [(1, ((11, 12),), "lost")]
    assert s.restarts == 1
    assert s.take(block([(1, 2, 62)])) == []


def test_a_leap_is_another_count() -> None:
    s = Sequences()
    s.take(block([(1, 10, 0)]))
    assert s.take(block([(1, 10 + JUMP_MAX + 1, 1)])) == []
    assert s.take(block([(1, 10 + JUMP_MAX + 2, 2)])) == []


def test_too_many_gaps_of_one_device_give_up_the_oldest() -> None:
    s = Sequences()
    s.take(block([(1, 0, 0)]))
    changed = s.take(block([(1, 2 * i, float(i)) for i in range(1, GAPS_OF_DEVICE_MAX + 2)]))
    assert [gap.first for gap in changed if gap.outcome == "given_up"] == [1]
    assert len(s.open()) == GAPS_OF_DEVICE_MAX


@given(st.permutations(list(range(40))), st.sets(st.integers(1, 38), max_size=15), st.lists(st.integers(0, 40)))
def test_what_is_missing_in_the_end_is_what_never_came(order: list[int], lost: set[int], cuts: list[int]) -> None:
    came = [(1, 0, 0.0), *[(1, q, float(q)) for q in order if q not in lost and q > 0]]
    came = [row if row[1] else (1, 0, 0.0) for row in came]
    s = Sequences()
    for part in np.split(np.arange(len(came)), sorted(c for c in cuts if c < len(came))):
        s.take(block([came[i] for i in part]))
    open_ = {q for gap in s.open() for first, last in gap.missing for q in range(first, last + 1)}
    top = max(q for _, q, _ in came)
    assert open_ == {q for q in lost if q < top}


def test_more_open_gaps_than_are_looked_at_take_turns() -> None:
    s = Sequences()
    s.take(block([(device, 2 * q, q) for device in range(1, 8) for q in range(4)]))
    assert (len(s.open()), s.count_open()) == (21, 21)
    rounds = [{gap.device for gap in s.open(6)} for _ in range(7)]
    assert all(len(devices) == 2 for devices in rounds)
    assert set().union(*rounds[:4]) == set(range(1, 8))
    s.take(block([(device, 0, 99.0) for device in range(2, 8)]))
    assert [gap.device for gap in s.open(6)] == [1, 1, 1], "the others count anew"
    assert Sequences().open(6) == []


class Naive:
    """The same, a message at a time: what the columns must agree with."""

    def __init__(self) -> None:
        self.highest: dict[int, int] = {}
        self.newest_us: dict[int, int] = {}
        self.gaps: dict[int, list[Gap]] = {}

    def take(self, device: int, seq: int, time_us: int, received_us: int) -> list[Gap]:
        highest, newest_us = self.highest.get(device, -1), self.newest_us.get(device, -(1 << 62))
        self.newest_us[device] = max(newest_us, time_us)
        gaps = self.gaps.setdefault(device, [])
        if highest == -1 or seq == highest + 1:
            self.highest[device] = seq
            return []
        if seq > highest + sequences.JUMP_MAX or (
            seq < highest and time_us > newest_us and not self.missing(seq, gaps)
        ):
            self.highest[device] = seq
            self.gaps[device] = []
            return [gap._replace(outcome="lost") for gap in gaps]
        if seq > highest:
            self.highest[device] = seq
            skipped = (highest + 1, seq - 1)
            gaps.append(Gap(device, *skipped, (skipped,), newest_us, time_us, received_us))
            too_many = [gaps.pop(0)] if len(gaps) > sequences.GAPS_OF_DEVICE_MAX else []
            return [*(gap._replace(outcome="given_up") for gap in too_many), gaps[-1]]
        for at in self.missing(seq, gaps):
            left = {q for first, last in gaps[at].missing for q in range(first, last + 1)} - {seq}
            runs = tuple(
                (q, next(e for e in range(q, seq + 99) if e + 1 not in left))
                for q in sorted(left)
                if q - 1 not in left
            )
            smaller = gaps[at]._replace(missing=runs, outcome=None if runs else "filled")
            gaps[at : at + 1] = [smaller] if runs else []
            return [smaller]
        return []

    def ordered(self, rows: list[tuple[int, int, int, int]], order: list[int]) -> list[tuple[int, int, int, int]]:
        """As received, but by number where a block holds all that follow on: its disorder is none."""
        out = []
        for device in {row[0] for row in rows}:
            mine = sorted((row, at) for row, at in zip(rows, order, strict=True) if row[0] == device)
            numbers = [row[1] for row, _ in mine]
            begins = self.highest.get(device, -1) in (-1, numbers[0] - 1)
            if not (begins and numbers == list(range(numbers[0], numbers[0] + len(numbers)))):
                mine.sort(key=lambda one: one[1])
            out += [row for row, _ in mine]
        return out

    @staticmethod
    def missing(seq: int, gaps: list[Gap]) -> list[int]:
        return [at for at, gap in enumerate(gaps) if any(first <= seq <= last for first, last in gap.missing)]


MESSAGES = st.lists(
    st.tuples(
        st.integers(1, 3), st.one_of(st.integers(-4, 9), st.sampled_from([1, 1, 1, 2, 40, 60])), st.integers(-3, 5)
    ),
    max_size=60,
)


@given(sent=MESSAGES, cuts=st.lists(st.integers(0, 60), max_size=6))
def test_columns_and_naive_agree(sent: list[tuple[int, int, int]], cuts: list[int]) -> None:
    """Skips, leaps, repeats, fills and new counts; (device, step of its number, step of its time)."""
    seq, second, rows = dict.fromkeys((1, 2, 3), 5), dict.fromkeys((1, 2, 3), 100), []
    for device, step, s in sent:
        seq[device] = max(0, seq[device] + step)
        second[device] += s
        rows.append((device, seq[device], float(second[device])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequences, "JUMP_MAX", 50)
        patch.setattr(sequences, "GAPS_OF_DEVICE_MAX", 3)
        columns, naive = Sequences(), Naive()
        for at, part in enumerate(np.split(np.arange(len(rows)), sorted(c for c in cuts if c < len(rows)))):
            one = arrived([rows[i] for i in part], at)
            changed = {gap.key: gap for gap in columns.take(one)}
            expected: dict[tuple[int, int, int], Gap] = {}
            n = numbered(one)
            messages = zip(
                n.device.tolist(), n.seq.tolist(), n.time_us.tolist(), n.received_us.tolist(), strict=True
            )
            for row in naive.ordered(list(messages), n.order.tolist()):
                expected.update((gap.key, gap) for gap in naive.take(*row))
            assert changed == expected
            assert columns.gaps == {device: gaps for device, gaps in naive.gaps.items() if gaps}
            known = {device: (highest, newest) for device, highest, newest in columns.counts()}
            assert known == {d: (naive.highest[d], naive.newest_us[d]) for d in known}


def arrived(rows: Sequence[tuple[int, int, float]], batch: int) -> Block:
    """Messages that arrive one microsecond after the other."""
    one = block(rows, received_s=1000.0 + batch)
    return replace(one, readings=replace(one.readings, received_us=one.readings.received_us + np.arange(len(rows))))


def test_questions_wait_grow_apart_and_end() -> None:
    gap = Gap(1, 2, 4000, ((2, 2), (5, 4000)), T0, T0 + S, T0)
    assert question(gap) == (2, 1001)
    assert due([gap], T0 + S, 10) == ([], [])
    assert due([gap], T0 + round(ASK_AFTER_S[0] * S), 10) == ([gap], [])
    often = gap._replace(asks=len(ASK_AFTER_S), ask_at_us=T0 + 9 * S)
    assert missing(due([often], T0 + 9 * S, 10)[1]) == [(1, gap.missing, "given_up")]


# ---------------------------------------------------------------- the service


class FakeStore:
    """Remembers what is written; ``there`` are numbers that lie in the database."""

    def __init__(self) -> None:
        self.counts: dict[int, tuple[int, int]] = {}
        self.gaps: dict[tuple[int, int, int], Gap] = {}
        self.there: dict[int, list[int]] = {}
        self.away = False

    async def load(self) -> tuple[list[tuple[int, int, int]], list[Gap]]:
        return [(d, *c) for d, c in self.counts.items()], [g for g in self.gaps.values() if g.outcome is None]

    async def save(self, counts: Sequence[tuple[int, int, int]], gaps: Sequence[Gap]) -> None:
        if self.away:
            raise DatabaseUnavailable("away")
        self.counts |= {d: (highest, newest) for d, highest, newest in counts}
        self.gaps |= {gap.key: gap for gap in gaps}

    async def stored(self, gap: Gap) -> list[int]:
        if self.away:
            raise DatabaseUnavailable("away")
        return [q for q in self.there.get(gap.device, []) if gap.first <= q <= gap.last]


class House:
    def __init__(self, store: FakeStore | None = None) -> None:
        self.store = store or FakeStore()
        self.asked: list[tuple[str, bytes]] = []
        self.connected = True
        devices = {1: Device(1, "VB-1", "vibration"), 2: Device(2, "MT-1", "vehicle", run="r1")}
        self.service = GapService(self.store, devices.get, self._publish, lambda: T0)  # type: ignore[arg-type]

    def _publish(self, topic: str, payload: bytes) -> bool:
        if self.connected:
            self.asked.append((topic, payload))
        return self.connected

    async def at(self, second: float) -> None:
        await self.service.step(T0 + round(second * S))


async def test_a_gap_is_asked_for_written_and_filled() -> None:
    house = House()
    house.service.take(block([(1, 1, 0), (1, 4, 3)]))
    await house.at(4)
    assert not house.asked
    await house.at(7)
    assert house.asked == [("sensors/VB-1/command", b'{"resend":[2,3]}')]
    assert [gap.missing for gap in house.store.gaps.values()] == [((2, 3),)]
    house.service.take(block([(1, 2, 1), (1, 3, 2)]))
    await house.at(8)
    assert missing(list(house.store.gaps.values())) == [(1, (), "filled")]


async def test_a_vehicle_of_a_run_is_asked_on_its_own_topic() -> None:
    house = House()
    house.service.take(block([(2, 1, 0), (2, 3, 1)]))
    await house.at(10)
    assert house.asked == [("runs/r1/vehicles/MT-1/command", b'{"resend":[2,2]}')]


async def test_what_is_stored_all_the_same_is_no_gap_and_nobody_is_asked() -> None:
    house = House()
    house.store.there[1] = [2, 3]
    house.service.take(block([(1, 1, 0), (1, 5, 3)]))
    await house.at(10)
    assert house.asked == [("sensors/VB-1/command", b'{"resend":[4,4]}')]


async def test_the_wait_grows_while_nobody_answers_and_ends() -> None:
    house = House()
    house.service.take(block([(1, 1, 0), (1, 3, 1)]))
    for second in range(0, 6000, 1):
        await house.at(second)
    assert len(house.asked) == len(ASK_AFTER_S)
    await house.at(20_000)
    assert missing(list(house.store.gaps.values())) == [(1, ((2, 2),), "given_up")]


async def test_without_a_broker_or_database_the_question_waits() -> None:
    house = House()
    house.service.take(block([(1, 1, 0), (1, 3, 1)]))
    house.connected = False
    await house.at(10)
    assert not house.asked
    house.connected, house.store.away = True, True
    house.service.take(block([(1, 5, 3)]))
    try:
        await house.at(20)
    except DatabaseUnavailable:
        house.store.away = False
    await house.at(21)
    assert len(house.asked) == 2
    assert len(house.store.gaps) == 2


async def test_a_killed_server_forgets_no_gap() -> None:
    """Counts are written with all gaps that are known, asked for or not."""
    first = House()
    first.service.take(block([(1, 1, 0), (1, 4, 3)]))
    await first.at(40)  # counts are due
    first.service.take(block([(1, 5, 4), (1, 9, 8)]))  # never written: killed here
    second = House(first.store)
    await second.service.start()
    second.store.there[1] = [5]
    second.service.take(block([(1, 10, 60)], received_s=60))
    await second.at(70)
    ranges = sorted(tuple(gap.missing) for gap in second.store.gaps.values() if gap.outcome is None)
    assert ranges == [((2, 3),), ((6, 9),)], "9 was not committed; 5 was"
