"""The orders of a block's rows, against their definitions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from domain.readings import Block, Readings
from domain.sorting import begins, order_by

ROW = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 5), st.integers(0, 5), st.booleans())


def readings(rows: list[tuple[int, int, int, int, bool]]) -> Readings:
    """Rows of (device, metric, time, arrival, late); the value is the place."""
    columns = [np.array([row[i] for row in rows], np.int64) for i in range(5)]
    n = len(rows)
    return Readings(
        columns[0].astype(np.int32), columns[1].astype(np.int32), columns[2], np.arange(n, dtype=float),
        np.full(n, -1, np.int64), columns[3], columns[4].astype(bool),
    )  # fmt: skip


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-(1 << 61), 1 << 61) | st.integers(0, 3)), max_size=30))
def test_order_by_two_columns_is_stable(rows: list[tuple[int, int]]) -> None:
    major, minor = (np.array([row[i] for row in rows], np.int64) for i in (0, 1))
    assert order_by(major, minor).tolist() == sorted(range(len(rows)), key=lambda i: rows[i])
    changes = [i == 0 or rows[i] != rows[i - 1] for i in range(len(rows))]
    assert begins(major, minor).tolist() == changes


@given(st.lists(ROW, max_size=30))
def test_readings_by_series(rows: list[tuple[int, int, int, int, bool]]) -> None:
    live = [i for i, row in enumerate(rows) if not row[4]]
    expected = sorted(live, key=lambda i: (rows[i][1], rows[i][0], i))
    found = readings(rows).by_series
    assert found.at.tolist() == expected
    assert found.value.tolist() == expected
    assert found.device.tolist() == [rows[i][0] for i in expected]
    assert found.once == (len({rows[i][:2] for i in live}) == len(live))
    assert {m: found.at[span].tolist() for m, span in found.spans.items()} == {
        m: [i for i in expected if rows[i][1] == m] for m in {rows[i][1] for i in live}
    }


@given(st.lists(ROW, max_size=30))
def test_rows_of_a_device_that_arrive_together_are_one_message(
    rows: list[tuple[int, int, int, int, bool]],
) -> None:
    newest: dict[tuple[int, int], int] = {}
    for device, _, time_us, received_us, _ in rows:
        newest[device, received_us] = max(time_us, newest.get((device, received_us), 0))
    m = Block(readings(rows), (), (), (), (), 0).messages
    found = list(zip(m.device.tolist(), m.received_us.tolist(), m.time_us.tolist(), strict=True))
    assert sorted(found) == sorted((*key, t) for key, t in newest.items())
    assert m.first.tolist() == [i == 0 or row[0] != found[i - 1][0] for i, row in enumerate(found)]
    assert m.first.sum() == len({row[0] for row in rows}), "a device's messages stand together"
    assert all(a[0] != b[0] or a[1] < b[1] for a, b in pairwise(found)), "in order"
