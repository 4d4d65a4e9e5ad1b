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
from ingest.gaps.sequences import ASK_AFTER_S, GAPS_OF_DEVICE_MAX, JUMP_MAX, Gap, Sequences, due, question
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


def test_questions_wait_grow_apart_and_end() -> None:
    gap = Gap(1, 2, 4000, ((2, 2), (5, 4000)), T0, T0 + S, T0)
    assert question(gap) == (2, 1001)
    assert due([gap], T0 + S, 10) == ([], [])
    assert due([gap], T0 + round(ASK_AFTER_S[0] * S), 10) == ([gap], [])
    often = replace(gap, asks=len(ASK_AFTER_S), ask_at_us=T0 + 9 * S)
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

    async def stored(self, gaps: Sequence[Gap]) -> list[tuple[int, int]]:
        if self.away:
            raise DatabaseUnavailable("away")
        there = ((i, q, gap) for i, gap in enumerate(gaps) for q in self.there.get(gap.device, []))
        return [(i, q) for i, q, gap in there if gap.first <= q <= gap.last]


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
    await house.service.take(block([(1, 1, 0), (1, 4, 3)]))
    await house.at(4)
    assert not house.asked
    await house.at(7)
    assert house.asked == [("sensors/VB-1/command", b'{"resend":[2,3]}')]
    assert [gap.missing for gap in house.store.gaps.values()] == [((2, 3),)]
    await house.service.take(block([(1, 2, 1), (1, 3, 2)]))
    await house.at(8)
    assert missing(list(house.store.gaps.values())) == [(1, (), "filled")]


async def test_a_vehicle_of_a_run_is_asked_on_its_own_topic() -> None:
    house = House()
    await house.service.take(block([(2, 1, 0), (2, 3, 1)]))
    await house.at(10)
    assert house.asked == [("runs/r1/vehicles/MT-1/command", b'{"resend":[2,2]}')]


async def test_what_is_stored_all_the_same_is_no_gap_and_nobody_is_asked() -> None:
    house = House()
    house.store.there[1] = [2, 3]
    await house.service.take(block([(1, 1, 0), (1, 5, 3)]))
    await house.at(10)
    assert house.asked == [("sensors/VB-1/command", b'{"resend":[4,4]}')]


async def test_the_wait_grows_while_nobody_answers_and_ends() -> None:
    house = House()
    await house.service.take(block([(1, 1, 0), (1, 3, 1)]))
    for second in range(0, 6000, 1):
        await house.at(second)
    assert len(house.asked) == len(ASK_AFTER_S)
    await house.at(20_000)
    assert missing(list(house.store.gaps.values())) == [(1, ((2, 2),), "given_up")]


async def test_without_a_broker_or_database_the_question_waits() -> None:
    house = House()
    await house.service.take(block([(1, 1, 0), (1, 3, 1)]))
    house.connected = False
    await house.at(10)
    assert not house.asked
    house.connected, house.store.away = True, True
    await house.service.take(block([(1, 5, 3)]))
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
    await first.service.take(block([(1, 1, 0), (1, 4, 3)]))
    await first.at(40)  # counts are due
    await first.service.take(block([(1, 5, 4), (1, 9, 8)]))  # never written: killed here
    second = House(first.store)
    await second.service.start()
    second.store.there[1] = [5]
    await second.service.take(block([(1, 10, 60)], received_s=60))
    await second.at(70)
    ranges = sorted(tuple(gap.missing) for gap in second.store.gaps.values() if gap.outcome is None)
    assert ranges == [((2, 3),), ((6, 9),)], "9 was not committed; 5 was"


async def test_where_a_count_began_is_known_before_the_first_message_is_acknowledged() -> None:
    """Server and broker die together in a device's first seconds: what was lost is missed all the same."""
    first = House()
    await first.service.take(block([(1, 7, 0), (1, 8, 1)]))
    assert first.store.counts == {1: (7, T0)}
    second = House(first.store)
    await second.service.start()
    second.store.there[1] = [8]
    await second.service.take(block([(1, 11, 60)], received_s=60))
    await second.at(70)
    assert second.asked == [("sensors/VB-1/command", b'{"resend":[9,10]}')]


async def test_without_the_database_a_first_message_waits() -> None:
    house = House()
    house.store.away = True
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await house.service.take(block([(1, 1, 0), (1, 3, 2)]))
    house.store.away = False
    await house.service.take(block([(1, 1, 0), (1, 3, 2)]))
    assert house.store.counts == {1: (1, T0)}
    await house.at(10)
    assert house.asked == [("sensors/VB-1/command", b'{"resend":[2,2]}')]


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
async def test_a_step_of_our_clock_holds_up_no_question_and_no_count(step_s: float) -> None:
    house = House()
    await house.service.take(block([(1, 1, 0), (1, 4, 3)]))
    await house.at(7)  # asked once
    await house.service.take(block([(1, 7, 6)]))
    await house.at(8 + step_s)
    assert [body for _, body in house.asked[1:]] == [b'{"resend":[5,6]}', b'{"resend":[2,3]}']
    await house.at(9 + step_s)
    assert len(house.asked) == 3, "and then they wait as ever"
    assert house.store.counts == {1: (7, T0 + 6 * S)}


async def test_after_a_crash_no_number_is_missed_twice() -> None:
    """The count is written more seldom than gaps: what a written gap misses opens no second one."""
    first = House()
    await first.service.take(block([(1, 1, 0), (1, 4, 3)]))
    await first.at(7)  # written and asked for; the count still stands at 1
    second = House(first.store)
    await second.service.start()
    second.store.there[1] = [4, 5]
    await second.service.take(block([(1, 8, 60)], received_s=60))
    await second.at(70)
    missed = [gap.missing for gap in second.store.gaps.values() if gap.outcome is None]
    assert sorted(missed) == [((2, 3),), ((6, 7),)]
    await second.service.take(block([(1, seq, seq - 1) for seq in (2, 3, 6, 7)], received_s=71))
    await second.at(72)
    assert {gap.outcome for gap in second.store.gaps.values()} == {"filled"}


async def test_what_came_just_before_a_crash_closes_its_gap_at_once() -> None:
    first = House()
    await first.service.take(block([(1, 1, 0), (1, 4, 3)]))
    await first.at(7)
    await first.at(20)
    await first.service.take(block([(1, 2, 1), (1, 3, 2)], received_s=21))  # killed before the next round
    second = House(first.store)
    second.store.there[1] = [2, 3]
    await second.service.start()
    await second.at(30)  # it would be asked again at 80
    assert missing(list(second.store.gaps.values())) == [(1, (), "filled")]
    assert not second.asked


@pytest.mark.parametrize("killed", [False, True])
async def test_a_gap_that_was_written_is_closed_in_writing_even_if_nobody_was_asked(killed: bool) -> None:
    house = House()
    await house.service.take(block([(1, 1, 0), (1, 4, 3)]))
    await house.at(4)  # counts are due, so the gap is written before it is looked up
    assert missing(list(house.store.gaps.values())) == [(1, ((2, 3),), None)]
    if killed:
        house = House(house.store)
        await house.service.start()
    await house.service.take(block([(1, 2, 1), (1, 3, 2)], received_s=4.5))
    await house.at(4.8)
    assert not house.asked
    assert missing(list(house.store.gaps.values())) == [(1, (), "filled")]


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
