from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alerting.detectors.rows import Rows, grown, rounds


def test_rows_are_dense_and_stable() -> None:
    rows = Rows()
    assert rows.of(np.array([5000, 7, 5000], np.int32)).tolist() == [1, 0, 1]
    assert rows.of(np.array([9, 7], np.int32)).tolist() == [2, 0]
    assert rows.keys.tolist() == [7, 5000, 9]


def test_grown_keeps_what_was_there() -> None:
    a = grown(np.array([1, 2], np.int64), 3, fill=-1)
    assert a[:3].tolist() == [1, 2, -1]


@given(st.lists(st.integers(0, 4), max_size=30))
def test_rounds_keep_each_rows_order_and_lose_nothing(rows: list[int]) -> None:
    parts = list(rounds(np.array(rows, np.intp)))
    assert sorted(i for part in parts for i in part.tolist()) == list(range(len(rows)))
    for part in parts:
        assert len({rows[i] for i in part}) == len(part)
    for row in set(rows):
        seen = [i for part in parts for i in part.tolist() if rows[i] == row]
        assert seen == sorted(seen)
