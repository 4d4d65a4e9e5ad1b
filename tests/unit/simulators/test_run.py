from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from domain.errors import GridpulseError
from simulators.devices import Emission
from simulators.run import (
    MAX_SPEED,
    RUN_ID,
    RunClock,
    clock_text,
    paced,
    parse_speed,
    parse_start,
    placed_start_us,
    run_id,
    topic_prefix,
)

START_US = 1_795_442_400_000_000


class FakeTime:
    def __init__(self) -> None:
        self.now_s = 50.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def emissions(*seconds: float) -> list[Emission]:
    return [Emission(START_US + round(s * 1e6), "sensors/a/readings", b"{}") for s in seconds]


async def sent_at(speed: float, *seconds: float, late_s: float = 0.0) -> list[float]:
    fake = FakeTime()
    clock = RunClock(START_US, speed, fake.now_s)
    fake.now_s += late_s
    return [fake.now_s - 50.0 async for _ in paced(emissions(*seconds), clock, fake.monotonic, fake.sleep)]


async def test_messages_are_sent_when_they_are_due() -> None:
    assert await sent_at(1.0, 0.0, 0.25, 3.0) == pytest.approx([0.0, 0.25, 3.0])
    assert await sent_at(10.0, 0.0, 1.0, 30.0) == pytest.approx([0.0, 0.1, 3.0])
    assert await sent_at(0.5, 1.0) == pytest.approx([2.0])


async def test_at_max_nothing_waits() -> None:
    assert await sent_at(MAX_SPEED, 0.0, 100.0, 10_000.0) == [0.0, 0.0, 0.0]


async def test_what_is_overdue_is_sent_at_once_and_in_order() -> None:
    assert await sent_at(1.0, 1.0, 0.5, 6.0, late_s=5.0) == pytest.approx([5.0, 5.0, 6.0])


def test_a_fast_run_is_placed_so_that_it_ends_now() -> None:
    duration_us = 600_000_000
    start_us = placed_start_us(START_US, duration_us, 10.0)
    assert start_us == START_US - 540_000_000
    clock = RunClock(start_us, 10.0, 0.0)
    assert clock.due_s(start_us + duration_us) == pytest.approx(60.0), "sent at 60 s: its time is then now"
    assert start_us + duration_us == START_US + 60_000_000
    assert placed_start_us(START_US, duration_us, 1.0) == START_US
    assert placed_start_us(START_US, duration_us, 0.5) == START_US
    assert placed_start_us(START_US, duration_us, MAX_SPEED) == START_US - duration_us


@pytest.mark.parametrize(("text", "speed"), [("1", 1.0), ("0.5", 0.5), ("max", math.inf), ("1e3", 1000.0)])
def test_speeds(text: str, speed: float) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["0", "-1", "fast", "nan", "inf", ""])
def test_a_wrong_speed_is_told(text: str) -> None:
    with pytest.raises(GridpulseError, match="--speed"):
        parse_speed(text)


def test_starts() -> None:
    assert parse_start("now", START_US) == START_US
    assert parse_start("1795442400.5", 0) == START_US + 500_000
    assert parse_start("2026-11-23T18:00:00+08:00", 0) == parse_start("2026-11-23T10:00:00Z", 0)
    for wrong in ("yesterday", "2026-11-23T18:00:00"):
        with pytest.raises(GridpulseError, match="--start-at"):
            parse_start(wrong, 0)


def test_run_ids_fit_a_topic() -> None:
    name = run_id("sim", datetime(2026, 11, 23, 14, 23, 5, tzinfo=UTC), "k3f9")
    assert name == "sim-20261123-142305-k3f9"
    assert RUN_ID.fullmatch(name)
    assert topic_prefix(name) == "runs/sim-20261123-142305-k3f9/"
    assert topic_prefix(None) == "runs/live/"


def test_the_clock_property_keeps_microseconds() -> None:
    assert clock_text(START_US + 7) == "1795442400.000007"
