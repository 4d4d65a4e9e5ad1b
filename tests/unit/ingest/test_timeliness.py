from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.timeliness import Timeliness

Rows = list[tuple[int, int, int, int, bool]]
rows = st.lists(
    st.tuples(st.integers(1, 3), st.integers(4, 6), st.integers(0, 9), st.integers(0, 9), st.booleans()),
    max_size=40,
)


def naive(given_rows: Rows, floors: dict[tuple[int, int], int]) -> list[bool]:
    newest: dict[tuple[int, int], int] = {}
    late = []
    for device, series, time_us, clock_us, redelivered in given_rows:
        key = (device, series)
        late.append(time_us <= newest.get(key, -1) or (not redelivered and time_us <= floors.get(key, -1)))
        newest[key] = max(newest.get(key, -1), min(time_us, clock_us))
    return late


def columns(part: Rows) -> tuple[np.ndarray, ...]:
    device, series, time_us, clock_us, redelivered = zip(*part, strict=True) if part else ((), (), (), (), ())
    return (
        np.array(device, dtype=np.int32),
        np.array(series, dtype=np.int64),
        np.array(time_us, dtype=np.int64),
        np.array(clock_us, dtype=np.int64),
        np.array(redelivered, dtype=np.bool_),
    )


pairs = st.tuples(st.integers(1, 3), st.integers(4, 6))


@given(rows, st.integers(0, 40), st.dictionaries(pairs, st.integers(0, 5)))
def test_columns_in_any_cut_agree_with_one_row_at_a_time(
    all_rows: Rows, cut: int, floors: dict[tuple[int, int], int]
) -> None:
    timeliness = Timeliness()
    for (device, series), floor in floors.items():
        timeliness.set_floor(device, series, floor)
    late = [flag for part in (all_rows[:cut], all_rows[cut:]) for flag in timeliness.many(*columns(part)).tolist()]
    assert late == naive(all_rows, floors)


def test_a_series_is_asked_for_once() -> None:
    timeliness = Timeliness()
    asked = np.array([7, 7, 7], dtype=np.int32), np.array([5, 4, 5], dtype=np.int64)
    assert timeliness.unknown(*asked) == [(7, 4), (7, 5)]
    timeliness.one(7, 4, 100, 100, False)
    assert timeliness.unknown(*asked) == [(7, 5)]


def test_what_the_broker_delivers_again_is_not_late_because_it_is_stored() -> None:
    timeliness = Timeliness()
    timeliness.set_floor(7, 4, 100)
    assert timeliness.one(7, 4, 90, 200, redelivered=True) is False
    assert timeliness.one(7, 4, 95, 200, redelivered=False) is True


def test_a_clock_that_ran_ahead_and_was_put_right_silences_nobody() -> None:
    timeliness = Timeliness()
    ahead_us = 200
    late = [timeliness.one(7, 4, clock_us + ahead_us, clock_us, False) for clock_us in (1000, 1010, 1020)]
    late += [timeliness.one(7, 4, clock_us - 1, clock_us, False) for clock_us in (1030, 1040)]
    assert late == [False] * 5
    assert timeliness.one(7, 4, 1035, 1050, False) is True


def test_it_grows_with_the_series_it_meets() -> None:
    timeliness = Timeliness()
    for device in range(3000, 0, -1):
        timeliness.set_floor(device, 4, device)
    device_column = np.arange(1, 3001, dtype=np.int32)
    series = np.full(3000, 4, dtype=np.int64)
    times = np.arange(1, 3001, dtype=np.int64) + np.arange(3000) % 2
    late = timeliness.many(device_column, series, times, times, np.zeros(3000, dtype=np.bool_))
    assert late.tolist() == [True, False] * 1500
    assert len(timeliness) == 3000
