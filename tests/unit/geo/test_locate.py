from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely

from domain.places import UNKNOWN_PLACE, Place
from geo.addresses import AddressColumns
from geo.geodesy import LocalPlane
from geo.grids import Cell, Region
from geo.locate import Locator, empty_locator
from tests.unit.geo.two_towns import two_towns

PLANE = LocalPlane(113.70, 23.00)

# A town of 2 x 1 km: village 001 in the west with two cells of 500 m, village 002 in the east without cells.
TOWN, WEST, EAST = "441900003", "441900003001", "441900003002"


def box(x0: float, y0: float, x1: float, y1: float) -> object:
    (west, east), (south, north) = PLANE.to_lonlat([x0, x1], [y0, y1])
    return shapely.box(west, south, east, north)


REGIONS = [
    Region("441900", "city", "东莞市", box(0, 0, 3000, 1000), "Dongguan"),
    Region(TOWN, "town", "东城街道", box(0, 0, 3000, 1000), "Dongcheng"),
    Region(WEST, "village", "岗贝社区", box(0, 0, 1000, 1000)),
    Region(EAST, "village", "花园新村社区", box(1000, 0, 2000, 1000)),
]
CELLS = [Cell(f"{WEST}001", box(0, 0, 500, 1000)), Cell(f"{WEST}002", box(500, 0, 1000, 1000))]
HOUSES = {  # building: cell, x, y
    "4419000030010100001000000": (f"{WEST}001", 480.0, 500.0),
    "4419000030010200001000000": (f"{WEST}002", 700.0, 500.0),
    "4419000030020100001000000": (f"{EAST}001", 1500.0, 500.0),
}


def addresses() -> AddressColumns:
    cells, x, y = zip(*HOUSES.values(), strict=True)
    lon, lat = PLANE.to_lonlat(x, y)
    texts = [f"东城街道{n}号" for n in range(len(HOUSES))]
    return AddressColumns(list(HOUSES), texts, [""] * 3, [""] * 3, cells, lon, lat)


LOCATOR = Locator.build(REGIONS, CELLS, addresses(), "test-1")


def at(x: float, y: float, locator: Locator = LOCATOR) -> Place:
    lon, lat = PLANE.to_lonlat([x], [y])
    return locator.points(lon, lat)[0]


def test_nearest_address_with_cell_village_and_town() -> None:
    place = at(720.0, 500.0)
    assert place.distance_m == pytest.approx(20.0, abs=0.1)
    assert place.score == pytest.approx(0.95 * np.exp(-20 / 150), abs=0.001)
    assert replace(place, distance_m=20.0, score=0.0) == Place(
        address_id="4419000030010200001000000",
        address="东城街道1号",
        distance_m=20.0,
        score=0.0,
        method="nearest",
        grid=f"{WEST}002",
        village=WEST,
        town=TOWN,
        names={
            "city": "东莞市",
            "city_en": "Dongguan",
            "town": "东城街道",
            "town_en": "Dongcheng",
            "village": "岗贝社区",
        },
        data_version="test-1",
    )


def test_score_falls_with_distance() -> None:
    scores = [at(700.0, 500.0 + d).score for d in (0.0, 10.0, 50.0, 100.0, 149.0)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 0.95


def test_the_point_decides_the_cell_and_an_address_across_the_border_scores_less() -> None:
    place = at(505.0, 500.0)
    assert place.address_id == "4419000030010100001000000"
    assert place.grid == f"{WEST}002"
    assert place.score == pytest.approx(0.8 * 0.95 * np.exp(-25 / 150), abs=0.001)


@pytest.mark.parametrize(
    ("x", "y", "grid", "village", "score"),
    [
        (200.0, 900.0, f"{WEST}001", WEST, 0.3),
        (1200.0, 900.0, None, EAST, 0.25),
        (2500.0, 500.0, None, None, 0.2),
    ],
)
def test_town_only_where_no_address_is_near(
    x: float, y: float, grid: str | None, village: str | None, score: float
) -> None:
    place = at(x, y)
    assert (place.method, place.address_id, place.distance_m) == ("town only", None, None)
    assert (place.grid, place.village, place.town, place.score) == (grid, village, TOWN, score)


def test_a_border_belongs_to_the_lower_code() -> None:
    assert at(500.0, 900.0).grid == f"{WEST}001"
    assert at(1000.0, 900.0).village == WEST


def test_just_outside_is_given_to_the_nearest_with_half_the_score() -> None:
    place = at(200.0, 1040.0)
    assert (place.grid, place.method, place.score) == (f"{WEST}001", "town only", 0.15)
    assert at(200.0, 1060.0) == UNKNOWN_PLACE


def test_an_address_lends_its_territory_to_a_point_outside_every_outline() -> None:
    lon, lat = PLANE.to_lonlat([-100.0], [500.0])
    outside = AddressColumns(["4419000030010100001000000"], ["东城街道0号"], [""], [""], [f"{WEST}001"], lon, lat)
    place = at(-110.0, 500.0, Locator.build(REGIONS, CELLS, outside, "v"))
    assert (place.method, place.grid) == ("nearest", f"{WEST}001")
    assert place.score == pytest.approx(0.5 * 0.95 * np.exp(-10 / 150), abs=0.001)
    # Nothing outlined, nothing lent: the address alone is told.
    alone = at(-110.0, 500.0, Locator.build([], [], outside, "v"))
    assert (alone.method, alone.town, alone.address) == ("nearest", None, "东城街道0号")


def test_points_that_are_no_points() -> None:
    places = LOCATOR.points(np.array([np.nan, np.inf, 0.0]), np.array([23.0, 23.0, np.nan]))
    assert places == [UNKNOWN_PLACE] * 3


def test_no_points() -> None:
    assert LOCATOR.points(np.empty(0), np.empty(0)) == []


def test_bulk_gives_what_single_points_give() -> None:
    rng = np.random.default_rng(5)
    lon, lat = PLANE.to_lonlat(rng.uniform(-100, 3100, 300), rng.uniform(-100, 1100, 300))
    single = [LOCATOR.points(lon[i : i + 1], lat[i : i + 1])[0] for i in range(300)]
    assert LOCATOR.points(lon, lat) == single


def test_a_device_is_where_its_address_is() -> None:
    lon, lat = PLANE.to_lonlat(703.0, 501.0)
    place = LOCATOR.device("4419000030010200001000000", float(lon), float(lat))
    assert (place.method, place.grid, place.town) == ("device", f"{WEST}002", TOWN)
    assert place.distance_m == pytest.approx(3.2, abs=0.1)
    assert place.score == pytest.approx(0.98, abs=0.005)


def test_a_device_far_from_its_address_is_doubted_but_kept_there() -> None:
    lon, lat = PLANE.to_lonlat(2900.0, 500.0)
    place = LOCATOR.device("4419000030010200001000000", float(lon), float(lat))
    assert (place.grid, place.score) == (f"{WEST}002", 0.3)


def test_a_device_without_coordinate_or_with_an_unknown_address() -> None:
    known = LOCATOR.device("4419000030010200001000000", None, None)
    assert (known.method, known.distance_m, known.score) == ("device", None, 0.9)
    unknown = "4419000030010200099000000"
    assert LOCATOR.device(unknown, None, None) == UNKNOWN_PLACE
    assert LOCATOR.device(None, None, None) == UNKNOWN_PLACE
    lon, lat = PLANE.to_lonlat(720.0, 500.0)
    assert LOCATOR.device(unknown, float(lon), float(lat)) == at(720.0, 500.0)


def test_a_device_in_a_cell_nobody_outlined() -> None:
    place = LOCATOR.device("4419000030020100001000000", None, None)
    assert (place.grid, place.village, place.names["village"]) == (f"{EAST}001", EAST, "花园新村社区")


def test_towns_alone_are_enough_for_the_town() -> None:
    towns = Locator.build(REGIONS[:2], [], AddressColumns((), (), (), (), (), np.empty(0), np.empty(0)), "towns")
    assert replace(at(700.0, 500.0, towns), names={}) == Place(
        None, None, None, 0.2, "town only", None, None, TOWN, {}, "towns"
    )


def test_an_empty_locator_knows_nothing() -> None:
    nothing = empty_locator()
    assert nothing.points(np.array([113.7]), np.array([23.0])) == [UNKNOWN_PLACE]
    assert nothing.device("4419000030010200001000000", 113.7, 23.0) == UNKNOWN_PLACE


def test_a_room_nobody_knows_lies_in_its_building() -> None:
    regions, cells, addresses = two_towns()
    locator = Locator.build(regions, cells, addresses, "two-towns")
    building = addresses.id[0]
    place = locator.device(f"{building[:19]}000305", None, None)
    assert (place.method, place.address_id, place.grid) == ("building", building, addresses.grid[0])
    assert place.score < locator.device(building, None, None).score
    assert locator.device(f"{building[:14]}99999000305", None, None).method == "none"
