from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely

from geo.geodesy import LocalPlane
from geo.polygons import NOWHERE, PolygonIndex

REAL_TOWNS = Path(__file__).parents[3] / "../shared/data/dongguan/towns33_wgs84.geojson"

# Two squares of 0.01 degree side by side, and one that overlaps the second.
SQUARES = {
    "441900003": shapely.box(113.70, 23.00, 113.71, 23.01),
    "441900004": shapely.box(113.71, 23.00, 113.72, 23.01),
    "441900005": shapely.box(113.715, 23.00, 113.73, 23.01),
}


def index() -> PolygonIndex:
    # Given in another order than that of the codes on purpose.
    codes = sorted(SQUARES, reverse=True)
    return PolygonIndex(codes, [SQUARES[code] for code in codes])


def code_at(lon: float, lat: float) -> str | None:
    squares = index()
    row = int(squares.containing(np.array([lon]), np.array([lat]))[0])
    return None if row == NOWHERE else squares.codes[row]


@pytest.mark.parametrize(
    ("lon", "lat", "code"),
    [
        (113.705, 23.005, "441900003"),
        (113.712, 23.005, "441900004"),
        (113.725, 23.005, "441900005"),
        (113.71, 23.005, "441900003"),  # on the common border: the lower code
        (113.71, 23.01, "441900003"),  # on a corner of two
        (113.717, 23.005, "441900004"),  # in two that overlap: the lower code
        (113.73, 23.005, "441900005"),  # on an outer border
        (113.74, 23.005, None),
        (float("nan"), 23.005, None),
        (float("inf"), 23.005, None),
    ],
)
def test_each_point_belongs_to_one_at_most(lon: float, lat: float, code: str | None) -> None:
    assert code_at(lon, lat) == code


def test_bulk_gives_what_single_points_give() -> None:
    rng = np.random.default_rng(2)
    lon, lat = rng.uniform(113.69, 113.74, 500), rng.uniform(22.995, 23.015, 500)
    squares = index()
    bulk = squares.containing(lon, lat)
    single = [int(squares.containing(lon[i : i + 1], lat[i : i + 1])[0]) for i in range(500)]
    assert bulk.tolist() == single


def test_nearest_outline_within_some_metres() -> None:
    squares = index()
    east, _ = squares.plane.metres_per_degree
    lon = np.array([113.70 - 30 / east, 113.70 - 70 / east])
    row, distance = squares.nearest(lon, np.array([23.005, 23.005]), 50.0)
    assert row.tolist() == [0, NOWHERE]
    assert distance[0] == pytest.approx(30.0, abs=0.5)
    assert np.isinf(distance[1])


def test_nearest_of_two_at_the_same_distance_is_the_lower_code() -> None:
    squares = index()
    row, _ = squares.nearest(np.array([113.71]), np.array([23.0101]), 50.0)
    assert squares.codes[int(row[0])] == "441900003"


def test_no_polygons_at_all() -> None:
    empty = PolygonIndex([], [])
    assert empty.containing(np.array([113.7]), np.array([23.0])).tolist() == [NOWHERE]
    assert empty.nearest(np.array([113.7]), np.array([23.0]), 50.0)[0].tolist() == [NOWHERE]


@pytest.mark.skipif(not REAL_TOWNS.exists(), reason="needs ../shared/data/dongguan/towns33_wgs84.geojson")
def test_real_outlines_with_gaps_and_overlaps_follow_the_rule() -> None:
    features = json.loads(REAL_TOWNS.read_text(encoding="utf-8"))["features"]
    names = [feature["properties"]["name"] for feature in features]
    shapes = [shapely.from_geojson(json.dumps(feature["geometry"])) for feature in features]
    towns = PolygonIndex(names, shapes)
    rng = np.random.default_rng(3)
    lon, lat = rng.uniform(113.5, 114.3, 20_000), rng.uniform(22.6, 23.2, 20_000)
    row = towns.containing(lon, lat)
    # A naive reference: every outline asked for every point, the lowest of those that hold it.
    inside = np.array([shapely.intersects_xy(shape, lon, lat) for shape in towns.outlines])
    expected = np.where(inside.any(axis=0), inside.argmax(axis=0), NOWHERE)
    np.testing.assert_array_equal(row, expected)
    outside = np.flatnonzero(row == NOWHERE)
    near, metres = towns.nearest(lon[outside], lat[outside], 50.0)
    plane: LocalPlane = towns.plane
    for i in np.flatnonzero(near != NOWHERE)[:50].tolist():
        at = shapely.Point(*plane.to_xy(lon[outside[i]], lat[outside[i]]))
        outline = shapely.transform(
            towns.outlines[near[i]], lambda xy: np.column_stack(plane.to_xy(xy[:, 0], xy[:, 1]))
        )
        assert outline.distance(at) == pytest.approx(metres[i])
        assert metres[i] <= 50.0
