from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest

from api.rollups import Rolled, parts_of, unit_of
from domain.clock import to_us

T0 = datetime(2026, 11, 23, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def at(hours: float) -> datetime:
    return T0 + timedelta(hours=hours)


def us(*windows: tuple[float, float]) -> list[tuple[int, int]]:
    return [(to_us(at(start)), to_us(at(end))) for start, end in windows]


@pytest.mark.parametrize(
    ("step_s", "unit"),
    [(1, None), (59, None), (60, 60), (90, None), (300, 60), (3600, 3600), (5400, 60), (86400, 3600)],
)
def test_a_step_is_made_of_the_largest_unit_that_divides_it(step_s: float, unit: int | None) -> None:
    assert unit_of(step_s) == unit


def test_edges_and_what_is_not_rolled_yet_come_from_readings() -> None:
    parts = parts_of(at(0.5), at(9), 3600, Rolled(at(8.75), None, []))
    assert parts.rolled == us((1, 8))
    assert parts.raw == us((0.5, 1), (8, 9))


def test_hours_with_late_readings_come_from_readings() -> None:
    parts = parts_of(at(0), at(8), 3600, Rolled(at(8), None, [at(3), at(2), at(7), at(2)]))
    assert parts.rolled == us((0, 2), (4, 7))
    assert parts.raw == us((2, 4), (7, 8))


def test_a_time_within_one_unit_comes_from_readings() -> None:
    assert parts_of(at(0.25), at(0.75), 3600, Rolled(at(8), None, [])).raw == us((0.25, 0.75))
    assert parts_of(at(0.25), at(2), None, Rolled(at(8), None, [])).raw == us((0.25, 2))


def test_where_readings_are_gone_the_edges_are_whole_units_and_marks_say_nothing() -> None:
    parts = parts_of(at(0.5), at(4.5), 3600, Rolled(at(8), at(6), [at(2)]))
    assert parts.rolled == us((0, 5))
    assert parts.raw == []


def test_the_parts_cover_the_asked_time_once() -> None:
    dice = random.Random(7)
    for _ in range(2000):
        start = at(dice.randrange(0, 600) / 60)
        end = start + timedelta(minutes=dice.randrange(1, 600))
        dirty = [at(dice.randrange(0, 20)) for _ in range(dice.randrange(4))]
        unit_s = dice.choice([60, 3600])
        parts = parts_of(start, end, unit_s, Rolled(at(dice.randrange(0, 1200) / 60), None, dirty))
        windows = sorted([*parts.rolled, *parts.raw])
        assert windows[0][0] == to_us(start)
        assert windows[-1][1] == to_us(end)
        assert all(one[1] == two[0] for one, two in itertools.pairwise(windows))
        for hour in dirty:
            assert not any(a < to_us(hour + HOUR) and to_us(hour) < b for a, b in parts.rolled)
        assert all(edge % (unit_s * 1_000_000) == 0 for window in parts.rolled for edge in window)
