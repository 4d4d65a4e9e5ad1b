from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.places import UNKNOWN_PLACE, Place
from geo.addresses import AddressColumns
from geo.borders import Ground, empty_ground
from geo.locate import Locator
from geo.zones import ground_m
from tests.unit.geo.two_towns import PLANE, A, B, two_towns

LON, LAT = 113.75, 23.02


def build(cells: bool = True) -> Ground:
    regions, grid, addresses = two_towns()
    return Ground(Locator.build(regions, grid if cells else [], addresses, "test"))


GROUND = build()


def at(*metres: tuple[float, float], ground: Ground = GROUND) -> list[Place]:
    lon, lat = PLANE.to_lonlat([x for x, _ in metres], [y for _, y in metres])
    return ground.with_neighbours(ground.locator.points(lon, lat), lon, lat)


def test_a_point_in_the_middle_has_no_neighbours_and_stays_the_same_object() -> None:
    lon, lat = PLANE.to_lonlat([-500.0], [500.0])
    places = GROUND.locator.points(lon, lat)
    assert GROUND.with_neighbours(places, lon, lat)[0] is places[0]


def test_near_a_border_both_sides_are_named_the_own_one_first() -> None:
    west, east, far = at((-10, 500), (10, 500), (-30, 500))
    assert (west.grid, west.neighbours) == (f"{A}001002", (f"{B}001001",))
    assert (east.grid, east.neighbours) == (f"{B}001001", (f"{A}001002",))
    assert far.neighbours == ()
    assert (west.names["town"], west.names[B], west.names[f"{B}001"]) == ("甲镇", "乙镇", "乙一村")
    assert east.names[f"{A}001_en"] == "Jia One"


def test_on_a_border_the_lowest_code_leads_and_the_other_is_beside_it() -> None:
    outline = GROUND.locator.layers[0].outlines[1]
    lon = np.array([outline.bounds[2]])
    lat = np.array([PLANE.to_lonlat(0, 500)[1]])
    (place,) = GROUND.with_neighbours(GROUND.locator.points(lon, lat), lon, lat)
    assert (place.grid, place.neighbours) == (f"{A}001002", (f"{B}001001",))


def test_where_four_meet_the_nearest_come_first() -> None:
    (corner,) = at((-12, 995))
    assert corner.grid == f"{A}001002"
    assert corner.neighbours == (f"{A}002002", f"{B}001001")
    (inner,) = at((-1004, 997))
    assert inner.neighbours == (f"{A}002001", f"{A}001002", f"{A}002002")


def test_without_cells_villages_are_neighbours_and_an_unknown_place_has_none() -> None:
    ground = build(cells=False)
    (place,) = at((-5, 500), ground=ground)
    assert (place.grid, place.village, place.neighbours) == (None, f"{A}001", (f"{B}001",))
    nan = np.array([np.nan])
    assert ground.with_neighbours([UNKNOWN_PLACE], nan, nan) == [UNKNOWN_PLACE]
    (outside,) = at((-2500, 500), ground=ground)
    assert outside.neighbours == ()
    assert empty_ground().with_neighbours([place], [113.7], [23.0]) == [place]


def test_a_device_registered_beyond_the_border_keeps_its_own_side() -> None:
    lon, lat = PLANE.to_lonlat([5.0], [500.0])
    registered = replace(at((-500, 500))[0], method="device")
    (place,) = GROUND.with_neighbours([registered], lon, lat)
    assert (place.grid, place.neighbours) == (f"{A}001002", (f"{B}001001",))


@pytest.mark.parametrize(
    ("points", "level", "code"),
    [
        ([(-500, 500)], "grid", f"{A}001002"),
        ([(-500, 500), (-100, 900)], "grid", f"{A}001002"),
        ([(-500, 500), (-1500, 500)], "village", f"{A}001"),
        ([(-500, 500), (-500, 1500)], "town", A),
        ([(-500, 500), (500, 500)], "city", "441900"),
        ([(-500, 500), (-90_000, 0)], "city", "441900"),
        ([(-90_000, 0)], "city", None),
    ],
)
def test_an_area_belongs_to_the_lowest_unit_that_holds_it(
    points: list[tuple[float, float]], level: str, code: str | None
) -> None:
    unit = GROUND.lowest_unit(at(*points))
    assert (unit.level, unit.code) == (level, code)
    held = {"grid": unit.place.grid, "village": unit.place.village, "town": unit.place.town, "city": None}
    assert held[level] == (code if level != "city" else None)
    finer = ("grid", "village", "town", "city")[: ("grid", "village", "town", "city").index(level)]
    assert all(held[each] is None for each in finer)


def test_territories_round_a_point_with_nearest_and_farthest_ground() -> None:
    lon, lat = (float(v) for v in PLANE.to_lonlat(-100.0, 500.0))
    found = {t.code: t for t in GROUND.territories(lon, lat, 200.0)}
    assert set(found) == {f"{A}001002", f"{B}001001", f"{A}001", f"{B}001", A, B}
    assert found[A].nearest_m == 0.0
    assert found[B].nearest_m == pytest.approx(100, abs=0.5)
    assert found[f"{A}001002"].farthest_m == pytest.approx(np.hypot(900, 500), abs=1)


def test_addresses_and_names() -> None:
    lon, lat = (float(v) for v in PLANE.to_lonlat(-500.0, 500.0))
    near = GROUND.addresses(lon, lat, 50.0)
    assert [GROUND.address(row)["text"] for row in near.row.tolist()] == ["一号", "二号"]
    assert near.metres.tolist() == pytest.approx([0, 20], abs=0.1)
    assert GROUND.name(f"{A}001002") == {"zh": "甲一村002网格", "en": "Jia One cell 002"}
    names = GROUND.name(A)["zh"], GROUND.name("441900")["en"], GROUND.name("44")["zh"]
    assert names == ("甲镇", "Dongguan", "44")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 400), radius=st.sampled_from([0.5, 50.0, 333.0, 2000.0]))
def test_addresses_near_a_point_are_those_that_comparing_all_finds(seed: int, n: int, radius: float) -> None:
    rng = np.random.default_rng(seed)
    lon, lat = LON + rng.normal(0, 0.01, n), LAT + rng.normal(0, 0.01, n)
    ids = [f"441900003001{k:013d}" for k in range(n)]
    columns = AddressColumns(ids, ids, (), (), ["441900003001001"] * n, lon, lat)
    ground = Ground(Locator.build([], [], columns, "v"))
    for at_lon, at_lat in zip(LON + rng.normal(0, 0.02, 7), LAT + rng.normal(0, 0.02, 7), strict=True):
        metres = ground_m(at_lon, at_lat, lon, lat)
        inside = np.flatnonzero(metres <= radius)
        expected = inside[np.lexsort((inside, metres[inside]))]
        near = ground.addresses(float(at_lon), float(at_lat), radius)
        assert near.row.tolist() == expected.tolist()
        assert near.metres.tolist() == metres[expected].tolist()
    assert not len(ground.addresses(float("nan"), LAT, radius).row)
