from __future__ import annotations

import math
import tomllib
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from alerting.detectors.limits import PLACES, Limits, LimitTable, class_number, standards
from domain.devices import BUILDING_CLASSES

GOLDEN: dict[str, list[tuple[str, float | None, float]]] = {
    "din4150-3": [
        ("commercial", 1, 20), ("commercial", 10, 20), ("commercial", 30, 30), ("commercial", 50, 40),
        ("commercial", 75, 45), ("commercial", 100, 50), ("commercial", 200, 50),
        ("residential", 5, 5), ("residential", 10, 5), ("residential", 20, 7.5), ("residential", 30, 10.0),
        ("residential", 50, 15), ("residential", 75, 17.5), ("residential", 100, 20), ("residential", 150, 20),
        ("sensitive", 10, 3), ("sensitive", 30, 5.5), ("sensitive", 50, 8), ("sensitive", 75, 9),
        ("sensitive", 100, 10),
        ("residential", None, 5), ("somewhere else", 10, 5), ("residential", 0.3, 5),
    ],
    "bs7385-2": [
        ("commercial", 1, 50), ("commercial", 4, 50), ("commercial", 100, 50),
        ("residential", 4, 15), ("residential", 9.5, 17.5), ("residential", 15, 20), ("residential", 30, 38.0),
        ("residential", 40, 50), ("residential", 90, 50), ("residential", 2, 2 * math.pi * 2 * 0.6),
        ("residential", None, 15),
    ],
    "bs7385-2-continuous": [("residential", 30, 19.0), ("commercial", 10, 25)],
    "sn640312a-occasional": [
        ("residential", 29.9, 15), ("residential", 30, 20), ("residential", 60, 20), ("residential", 60.1, 30),
        ("sensitive", 10, 7.5),
    ],
    "sn640312a-frequent": [("residential", 10, 6), ("residential", 45, 8), ("residential", 80, 12)],
    "sn640312a-permanent": [("residential", 10, 2), ("residential", 45, 4), ("residential", 80, 6)],
    "gb6722-2003": [
        ("residential", 10, 20), ("residential", 10.1, 23), ("residential", 50, 23), ("residential", 51, 27),
        ("commercial", 5, 30), ("commercial", 30, 35), ("commercial", 80, 42),
        ("sensitive", 5, 1), ("sensitive", 30, 2), ("sensitive", 80, 3),
    ],
    "gb6722-2014": [("residential", 5, 15), ("residential", 30, 20), ("commercial", 80, 42), ("sensitive", 5, 1)],
    "gb50868-traffic": [
        ("residential", 10, 2), ("residential", 30, 3.5), ("residential", 75, 6), ("sensitive", 99, 2.99),
    ],
    "gb50868-piling": [("commercial", 30, 9), ("residential", 100, 8), ("sensitive", 5, 1.5)],
    "gb50868-compaction": [("commercial", 30, 18), ("residential", 60, 12), ("sensitive", 10, 3)],
}  # fmt: skip

PLACED = [
    *(("din4150-3", "top_floor", building, value) for building, value in
      (("commercial", 40), ("residential", 15), ("sensitive", 8))),
    *(("din4150-3-long", "top_floor", building, value) for building, value in
      (("commercial", 10), ("residential", 5), ("sensitive", 2.5))),
    ("din4150-3", "slab", "residential", 20), ("din4150-3", "pipe", "steel", 100),
    ("din4150-3", "pipe", "concrete", 80), ("din4150-3", "pipe", "masonry", 50),
    ("din4150-3-long", "pipe", "steel", 50), ("din4150-3-long", "pipe", "masonry", 25),
    ("gb50868-traffic", "top_floor", "residential", 5), ("gb50868-piling", "top_floor", "sensitive", 3),
    ("gb50868-compaction", "top_floor", "commercial", 24),
]  # fmt: skip


@pytest.mark.parametrize(
    ("standard", "building", "freq_hz", "expected"),
    [(name, *point) for name, points in GOLDEN.items() for point in points],
)
def test_golden_points_of_the_foundation(
    standard: str, building: str, freq_hz: float | None, expected: float
) -> None:
    assert standards()[standard].limit_mm_s(building, freq_hz) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("standard", "place", "name", "expected"), PLACED)
def test_elsewhere_one_limit_holds_for_all_frequencies(
    standard: str, place: str, name: str, expected: float
) -> None:
    table = standards()[standard]
    curve = table.curve(place)
    assert curve is not None
    assert set(curve.limit_mm_s(name, np.array([1.0, 30.0, 100.0, np.nan])).tolist()) == {expected}


def test_every_built_in_standard_has_golden_points() -> None:
    assert set(standards()) == set(GOLDEN) | {name for name, *_ in PLACED}


def test_components_follow_the_standard() -> None:
    by = {name: Limits(table, BUILDING_CLASSES) for name, table in standards().items()}
    german = [by["din4150-3"].component(place) for place in PLACES]
    assert german == ["largest", "horizontal", "vertical", "largest"]
    assert by["sn640312a-frequent"].component("foundation") == "vector"


def test_what_nobody_checked_says_so() -> None:
    unverified = {name for name, table in standards().items() if not table.verified}
    assert unverified == {
        "bs7385-2-continuous", "gb6722-2014", "gb50868-traffic", "gb50868-piling", "gb50868-compaction",
    }  # fmt: skip
    swiss = standards()["sn640312a-frequent"]
    assert swiss.is_verified("normal")
    assert not swiss.is_verified("increased")


@pytest.mark.parametrize("standard", sorted(standards()))
def test_columns_match_single_values_and_the_strictest_is_the_strictest(standard: str) -> None:
    table = standards()[standard]
    limits = Limits(table, tuple(table.class_of(each) for each in BUILDING_CLASSES))
    rng = np.random.default_rng(1)
    number, place = rng.integers(0, 3, 300), rng.integers(0, 3, 300)
    freq = np.where(rng.random(300) < 0.1, np.nan, rng.uniform(1, 120, 300))
    many = limits.of(number.astype(np.intp), place.astype(np.intp), freq)
    for n, p, f, limit in zip(number, place, freq, many, strict=True):
        one = table.limit_mm_s(BUILDING_CLASSES[n], None if np.isnan(f) else float(f), PLACES[p])
        assert limit == pytest.approx(one)
    assert limits.strictest(1.0) <= many.min() + 1e-12


def test_a_standard_without_a_limit_at_a_place_has_none() -> None:
    assert standards()["din4150-3-long"].limit_mm_s("residential", 10.0, "foundation") == math.inf


OWN = """
name = "City bridge table"
verified = true
[foundation]
component = "vector"
hz = [5, 20]
[foundation.mm_s]
commercial = [4, 8]
residential = [2, 4]
sensitive = [1, 2]
"""


def test_a_table_of_ones_own_in_toml() -> None:
    table = LimitTable.model_validate(tomllib.loads(OWN))
    assert table.limit_mm_s("residential", 12.5) == 3.0
    assert table.limit_mm_s("unheard of", 1.0) == 2.0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"foundation": None}, "one place at least"),
        ({"foundation": {"hz": [20, 5], "mm_s": {"residential": [1, 2]}}}, "rise"),
        ({"foundation": {"hz": [5, 20], "mm_s": {"residential": [1]}}}, "2 values"),
        ({"foundation": {"hz": ["<5"], "mm_s": {"residential": [1]}}}, "2 values"),
        ({"foundation": {"hz": ["<5", 20], "mm_s": {"residential": [1, 2, 3]}}}, "not both"),
        ({"foundation": {"hz": ["5"], "mm_s": {"residential": [1, 2]}}}, "no edge"),
        ({"foundation": {"mm_s": {"residential": [-1]}}}, "greater than 0"),
        ({"foundation": {"mm_s": {"residential": [1]}, "displacement_mm": {"residential": 1}}}, "corner"),
        ({"classes": {"residential": "brick"}}, "no limits for brick"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_wrong_table_is_refused_with_the_reason(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        LimitTable.model_validate({**tomllib.loads(OWN), **change})


def test_class_numbers() -> None:
    assert [class_number(word) for word in ("commercial", "residential", "sensitive", "hut")] == [0, 1, 2, 1]
