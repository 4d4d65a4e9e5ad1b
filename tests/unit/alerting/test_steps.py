"""Values of several rows, each row's in order: what is worked out for all at once, against a loop over them."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alerting.detectors.steps import Steps
from alerting.detectors.values import Values
from domain.sorting import begins

lengths = st.lists(st.integers(1, 6), min_size=1, max_size=8)


def values_of(counts: list[int]) -> Values:
    row = np.repeat(np.arange(len(counts))[::-1] + 10, counts)
    at = np.arange(len(row)) * 1_000_000
    return Values(row, at, np.random.default_rng(len(row)).normal(size=len(row)), at + 5, begins(row), None)


@given(lengths)
def test_a_round_holds_the_next_value_of_the_first_rows(counts: list[int]) -> None:
    values = values_of(counts)
    at = Steps(values)
    assert sorted(at.row.tolist()) == sorted(set(values.row.tolist()))
    laid, row = at.laid(at.value), at.laid(values.row)
    seen: dict[int, list[float]] = defaultdict(list)
    for part in at.rounds():
        np.testing.assert_array_equal(row[part], at.row[: part.stop - part.start])
        for r, v in zip(row[part].tolist(), laid[part].tolist(), strict=True):
            seen[r].append(v)
    for r in seen:
        np.testing.assert_array_equal(seen[r], values.value[values.row == r])
    np.testing.assert_array_equal(at.back(laid), at.value)


@given(lengths, st.integers(0, 1000))
def test_what_stands_before_a_value_in_its_row(counts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = values_of(counts)
    at, n = Steps(values), len(values.row)
    mask, moved = rng.random(n) < 0.5, np.where(rng.random(n) < 0.3, rng.normal(size=n), np.nan)
    start = rng.normal(size=len(at.row))
    count = rng.integers(0, 9, len(at.row))
    held = at.held(at.per(start), moved)
    before, last = at.before(at.value, start), at.last(at.value)
    so_far, counted = at.so_far(mask), at.counted(count)
    for place, r in enumerate(at.row.tolist()):
        mine = np.flatnonzero(values.row == r)
        np.testing.assert_array_equal(at.of(mine), np.full(len(mine), place))
        holds = start[place]
        for k, i in enumerate(mine.tolist()):
            assert before[i] == (at.value[i - 1] if k else start[place])
            assert so_far[i] == mask[mine[:k]].sum()
            assert counted[i] == count[place] + k
            assert held[i] == holds
            holds = holds if np.isnan(moved[i]) else moved[i]
        assert last[place] == at.value[mine[-1]]


@given(lengths, st.integers(0, 1000))
def test_some_of_the_values_are_steps_too(counts: list[int], seed: int) -> None:
    values = values_of(counts)
    at = Steps(values)
    which = np.flatnonzero(np.random.default_rng(seed).random(len(values.row)) < 0.6)
    if len(which):
        some = at.some(which)
        np.testing.assert_array_equal(some.value, at.value[which])
        np.testing.assert_array_equal(at.row[some.row[some.of(np.arange(len(some)))]], values.row[which])


def test_values_that_are_not_newer_are_left_out() -> None:
    row = np.array([1, 1, 1, 1, 2, 2])
    at = np.array([5, 3, 6, 6, 1, 9])
    values = Values(row, at, at.astype(float), at, begins(row), None)
    assert not Steps(values).all_newer(np.array([4, 2]))
    assert values.newer(np.array([4, 4, 4, 4, 2, 2])).time_us.tolist() == [5, 6, 9]
    companion = values._replace(judged=np.array([True, False, True, True, True, True]))
    assert companion.newer(np.array([5, 5, 5, 5, 0, 0])).time_us.tolist() == [3, 6, 1, 9]
