from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from geo.codes import parse_address, parse_cell, parse_division
from geo.geodesy import distance_m
from simulators.city import (
    DAOJIAO,
    HONGMEI,
    MACHONG,
    PLANE,
    WANGNIUDUN,
    WANJIANG,
    DemoCity,
    build_city,
    muck_truck_route,
    read_divisions,
)

FACTS = Path(__file__).parents[2] / "../shared/data/dongguan"
SEED = 20220388


@pytest.fixture(scope="module")
def city() -> DemoCity:
    return build_city(SEED)


def lattice_area(polygon: shapely.Polygon) -> int:
    """Twice the area in millionths of a degree squared, exact (shoelace formula on integers)."""
    total = 0
    for ring, sign in [(polygon.exterior, 1), *((hole, -1) for hole in polygon.interiors)]:
        corners = [(round(x * 1e6), round(y * 1e6)) for x, y in ring.coords]
        total += sign * abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(corners)))
    return total


def points_in(city: DemoCity, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    west, south, east, north = city.regions[0].outline.bounds
    rng = np.random.default_rng(4)
    return rng.uniform(west, east, n), rng.uniform(south, north, n)


def test_it_has_the_towns_villages_and_sizes_it_claims(city: DemoCity) -> None:
    levels = [region.level for region in city.regions]
    assert (levels.count("city"), levels.count("town"), levels.count("village")) == (1, 33, 606)
    assert 2900 <= len(city.cells) <= 3100
    assert len(city.addresses) == 100_000


def test_every_outline_is_one_valid_piece_on_the_lattice(city: DemoCity) -> None:
    outlines = [*(region.outline for region in city.regions), *(cell.outline for cell in city.cells)]
    assert {outline.geom_type for outline in outlines} == {"Polygon"}
    assert shapely.is_valid(outlines).all()
    xy = shapely.get_coordinates(outlines)
    np.testing.assert_array_equal(xy, np.round(xy, 6))


def test_each_level_tiles_the_one_above_exactly(city: DemoCity) -> None:
    area = {region.code: lattice_area(region.outline) for region in city.regions}
    area |= {cell.code: lattice_area(cell.outline) for cell in city.cells}
    for length, finer in ((6, 9), (9, 12), (12, 15)):
        parts: dict[str, int] = {}
        for code in area:
            if len(code) == finer:
                parts[code[:length]] = parts.get(code[:length], 0) + area[code]
        assert parts == {code: whole for code, whole in area.items() if len(code) == length}


def test_random_points_lie_in_one_nested_place_at_each_level(city: DemoCity) -> None:
    lon, lat = points_in(city, 10_000)
    points = shapely.points(lon, lat)
    inside_city = shapely.contains(city.regions[0].outline, points)
    codes: dict[int, list[list[str]]] = {}
    for length in (9, 12, 15):
        places = city.cells if length == 15 else [r for r in city.regions if len(r.code) == length]
        tree = shapely.STRtree([place.outline for place in places])
        hits: list[list[str]] = [[] for _ in points]
        for point, place in tree.query(points, predicate="within").T.tolist():
            hits[point].append(places[place].code)
        codes[length] = hits
    for i, inside in enumerate(inside_city.tolist()):
        towns, villages, cells = codes[9][i], codes[12][i], codes[15][i]
        assert len(towns) == len(villages) == len(cells) == int(inside)
        if inside:
            assert cells[0].startswith(villages[0])
            assert villages[0].startswith(towns[0])


def test_the_locator_agrees_with_the_outlines(city: DemoCity) -> None:
    lon, lat = points_in(city, 5000)
    tree = shapely.STRtree([cell.outline for cell in city.cells])
    point, cell = tree.query(shapely.points(lon, lat), predicate="within")
    expected = {int(p): city.cells[int(c)].code for p, c in zip(point, cell, strict=True)}
    places = city.locator.points(lon, lat)
    assert all(places[i].grid == code for i, code in expected.items())


def test_codes_are_well_formed_and_nested(city: DemoCity) -> None:
    villages = {region.code for region in city.regions if region.level == "village"}
    for region in city.regions:
        assert parse_division(region.code).level == region.level
    numbers: dict[str, list[int]] = {}
    for cell in city.cells:
        numbers.setdefault(cell.village, []).append(parse_cell(cell.code).sequence)
    assert set(numbers) == villages
    assert all(sorted(given) == list(range(1, len(given) + 1)) for given in numbers.values())


def test_addresses_have_their_own_codes_and_stand_in_their_cells(city: DemoCity) -> None:
    a = city.addresses
    assert len(set(a.id)) == len(set(a.text)) == len(a)
    assert all(parse_address(code).cell == cell for code, cell in zip(a.id[::7], a.grid[::7], strict=True))
    outline = {cell.code: cell.outline for cell in city.cells}
    shapes = np.array([outline[cell] for cell in a.grid], dtype=object)
    assert shapely.contains(shapes, shapely.points(a.lon, a.lat)).all()


def test_names_of_regions_are_in_the_address(city: DemoCity) -> None:
    name = {region.code: region.name for region in city.regions}
    a = city.addresses
    for code, text, road, number in list(zip(a.id, a.text, a.road, a.number, strict=True))[::500]:
        assert text == f"东莞市{name[code[:9]]}{name[code[:12]]}{road}{number}"


@pytest.mark.skipif(not FACTS.exists(), reason="needs ../shared/data/dongguan")
def test_names_and_codes_are_the_real_ones(city: DemoCity) -> None:
    ours = {division.code: division.name for division in read_divisions()}
    with (FACTS / "villages.csv").open(encoding="utf-8") as file:
        villages = {r["code12"]: r["common_name"] for r in csv.DictReader(file) if r["town_code9"] in ours}
    assert {code: name for code, name in ours.items() if len(code) == 12} == villages
    with (FACTS / "towns.csv").open(encoding="utf-8") as file:
        towns = {r["code9"]: r["name"] for r in csv.DictReader(file) if r["in_33_zhenjieyuanqu"] == "1"}
    assert {code: name for code, name in ours.items() if len(code) == 9} == towns


def test_towns_lie_near_their_real_places_and_are_about_as_large(city: DemoCity) -> None:
    facts = {division.code: division for division in read_divisions()}
    east, north = PLANE.metres_per_degree
    for town in (region for region in city.regions if region.level == "town"):
        fact = facts[town.code]
        assert fact.lon is not None
        assert fact.lat is not None
        assert fact.area_km2 is not None
        middle = town.outline.centroid
        radius_m = np.sqrt(fact.area_km2 * 1e6 / np.pi)
        assert distance_m(middle.x, middle.y, fact.lon, fact.lat) < 1.5 * radius_m, town.name
        assert 0.75 < town.outline.area * east * north / 1e6 / fact.area_km2 < 1.35, town.name


def test_the_muck_truck_drives_from_machong_by_daojiao_to_wanjiang(city: DemoCity) -> None:
    route = np.array(muck_truck_route(city))
    legs = np.arange(0, len(route) - 1 + 1e-9, 0.01)
    lon = np.interp(legs, np.arange(len(route)), route[:, 0])
    lat = np.interp(legs, np.arange(len(route)), route[:, 1])
    towns = [place.town for place in city.locator.points(lon, lat)]
    order = [town for town, before in zip(towns, [None, *towns], strict=False) if town != before]
    assert order[0] == MACHONG
    assert order[-2:] == [DAOJIAO, WANJIANG]
    assert set(order[1:-2]) <= {HONGMEI, WANGNIUDUN}
    assert len(order) >= 4


def test_devices_are_where_they_say(city: DemoCity) -> None:
    ids = [device.id for device in city.devices]
    assert len(set(ids)) == len(ids)
    fixed = [device for device in city.devices if device.kind != "vehicle"]
    known = set(city.addresses.id)
    assert all(device.address_id in known and device.generated for device in fixed)
    for device in fixed:
        assert device.place is not None
        assert (device.place.method, device.place.address_id) == ("device", device.address_id)
    kinds = {kind: sum(d.kind == kind for d in city.devices) for kind in {d.kind for d in city.devices}}
    assert kinds == {
        "vibration": 200, "tilt": 60, "crack": 40, "temperature": 40, "smoke": 20, "water_level": 20,
        "camera": 30, "vehicle": 10,
    }  # fmt: skip


def test_the_first_vibration_sensors_are_spread_over_all_towns(city: DemoCity) -> None:
    towns = [d.place.town for d in city.devices if d.kind == "vibration" and d.place is not None]
    assert len(set(towns[3:36])) == 33


def test_the_shaking_house_has_three_sensors_in_one_building(city: DemoCity) -> None:
    by_id = {device.id: device for device in city.devices}
    house = [by_id[i] for i in city.scenes.shaking_house]
    assert len(house) == 3
    assert len({device.address_id for device in house}) == 1
    assert {device.mount for device in house} == {"foundation", "top_floor"}


def test_the_kitchens_camera_sees_the_kitchen(city: DemoCity) -> None:
    by_id = {device.id: device for device in city.devices}
    smoke, camera = by_id[city.scenes.kitchen_smoke], by_id[city.scenes.kitchen_camera]
    assert camera.camera is not None
    bearing_deg, fov_deg, range_m, _, code = camera.camera
    assert None not in (smoke.lon, smoke.lat, camera.lon, camera.lat, bearing_deg, fov_deg, range_m)
    x, y = PLANE.to_xy([smoke.lon or 0, camera.lon or 0], [smoke.lat or 0, camera.lat or 0])
    towards_deg = float(np.degrees(np.arctan2(x[0] - x[1], y[0] - y[1]))) % 360
    assert np.hypot(x[0] - x[1], y[0] - y[1]) < (range_m or 0)
    assert abs((towards_deg - (bearing_deg or 0) + 180) % 360 - 180) < (fov_deg or 0) / 2
    assert code is not None
    assert len(code) == 20
