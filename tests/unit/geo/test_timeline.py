"""Each event in the division of its own time."""

from __future__ import annotations

import numpy as np

from geo.grids import Cell, Region
from geo.locate import Locator
from geo.timeline import BEGINNING_US, Timeline, with_outlines
from server.places import Places
from tests.unit.geo.two_towns import PLANE, A, square, two_towns

MERGED = f"{A}003"
T1, T2 = 1_000_000, 2_000_000
POINT = PLANE.to_lonlat([-500.0], [500.0])


def divisions() -> tuple[Locator, Locator, Locator]:
    """As it was, as it is (the villages of town A are one), and as it will be (with a cell)."""
    regions, cells, addresses = two_towns()
    before = Locator.build(regions, cells, addresses, "before")
    towns = [region for region in regions if not region.code.startswith(f"{A}00")]
    merged = [*towns, Region(MERGED, "village", "甲新村", square(-2000, 0, 0, 2000), "Jia New")]
    others = [cell for cell in cells if not cell.code.startswith(A)]
    now = with_outlines(before, merged, others, "now")
    coming = with_outlines(before, merged, [*others, Cell(f"{MERGED}001", square(-2000, 0, 0, 2000))], "coming")
    return before, now, coming


def test_the_division_of_a_time() -> None:
    before, now, coming = divisions()
    line = Timeline(now, [(BEGINNING_US, before), (T1, now), (T2, coming)], now_us=T1 + 5)
    assert line.locator is line.at(None) is now
    assert [line.at(t) for t in (0, T1 - 1, T1, T2 - 1, T2)] == [before, before, now, now, coming]
    assert [line.changed_since(t) for t in (0, T1 - 1, T1, T2)] == [True, True, False, False]
    assert line.rows(np.array([T2, 0, T1])).tolist() == [2, 0, 1]
    assert line.ground(0).locator is before
    assert line.ground() is line.ground(T1)
    alone = Timeline(now)
    assert alone.at(0) is now
    assert not alone.changed_since(0)


def test_points_of_different_times_in_one_call() -> None:
    before, now, coming = divisions()
    places = Places(Timeline(now, [(BEGINNING_US, before), (T1, now), (T2, coming)], now_us=T1))
    x, y = np.repeat(POINT[0], 3), np.repeat(POINT[1], 3)
    found = places.of_points(x, y, np.array([T2, 0, T1]))
    assert [(place.village, place.grid) for place in found] == [
        (MERGED, f"{MERGED}001"), (f"{A}001", f"{A}001002"), (MERGED, None),
    ]  # fmt: skip
    assert {place.village for place in places.of_points(x, y)} == {MERGED}


def test_a_registered_address_follows_a_new_division_although_its_code_is_the_old_one() -> None:
    before, now, coming = divisions()
    _, _, addresses = two_towns()
    first, *_ = addresses.id
    assert before.device(first, None, None).grid == f"{A}001002"
    moved = now.device(first, None, None)
    assert (moved.method, moved.village, moved.grid) == ("device", MERGED, None)
    assert coming.device(first, None, None).grid == f"{MERGED}001"


def test_a_code_says_more_than_outlines_that_are_less_fine() -> None:
    regions, _, addresses = two_towns()
    towns = Locator.build([r for r in regions if r.level == "town"], [], addresses, "towns only")
    place = towns.device(addresses.id[0], None, None)
    assert (place.town, place.grid) == (A, f"{A}001002")
