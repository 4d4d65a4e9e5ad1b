from __future__ import annotations

import numpy as np
import pytest

from alerting.detectors.din4150 import foundation_limit, limit_mm_s


@pytest.mark.parametrize(
    ("building", "freq_hz", "expected"),
    [
        ("commercial", 1, 20), ("commercial", 10, 20), ("commercial", 30, 30), ("commercial", 50, 40),
        ("commercial", 75, 45), ("commercial", 100, 50), ("commercial", 200, 50),
        ("residential", 5, 5), ("residential", 10, 5), ("residential", 20, 7.5), ("residential", 30, 10.0),
        ("residential", 50, 15), ("residential", 75, 17.5), ("residential", 100, 20), ("residential", 150, 20),
        ("sensitive", 10, 3), ("sensitive", 30, 5.5), ("sensitive", 50, 8), ("sensitive", 75, 9),
        ("sensitive", 100, 10),
        ("residential", None, 5), ("somewhere else", 10, 5), ("residential", 0.3, 5),
    ],
)  # fmt: skip
def test_golden_points_of_the_foundation(building: str, freq_hz: float | None, expected: float) -> None:
    assert limit_mm_s(building, freq_hz) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("building", "expected"), [("commercial", 40), ("residential", 15), ("sensitive", 8)]
)
def test_the_top_floor_has_one_limit_for_all_frequencies(building: str, expected: float) -> None:
    assert {limit_mm_s(building, f, "top_floor") for f in (1.0, 30.0, 100.0, None)} == {expected}


def test_columns_match_single_values() -> None:
    f = np.array([1.0, 25.0, 60.0, np.nan])
    many = foundation_limit(np.array([0, 1, 2, 1]), f)
    assert many.tolist() == [20.0, 8.75, 8.4, 5.0]
