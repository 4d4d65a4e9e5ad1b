from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from geo.borders import Ground
from geo.cameras import (
    VIEW_MIDDLE,
    Cameras,
    confirmable,
    ground_in_view,
    look,
    sight_json,
    what_a_picture_shows,
)
from geo.geodesy import LocalPlane
from geo.locate import Locator
from tests.unit.geo.two_towns import A, B, two_towns

LON, LAT = 113.75, 23.0
PLANE = LocalPlane(LON, LAT)


def camera(id_: str, x: float, y: float, bearing: float | None = 0.0, fov: float | None = 70.0,
           range_m: float | None = 120.0) -> dict[str, Any]:  # fmt: skip
    lon, lat = (float(degrees) for degrees in PLANE.to_lonlat(x, y))
    return {"id": id_, "lon": lon, "lat": lat, "bearing_deg": bearing, "fov_deg": fov, "range_m": range_m}


def seen(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    cameras = Cameras.of_rows(rows)
    sight = look(cameras, LON, LAT)
    return [{"id": cameras.id[row], **sight_json(sight, row)} for row in sight.order(cameras.id)]


def test_a_camera_in_the_south_that_looks_north_sees_the_point() -> None:
    (only,) = seen(camera("C", 0, -40))
    assert only == {
        "id": "C", "distance_m": 40.0, "bearing_deg": 0.0, "off_axis_deg": 0.0, "can_see": True,
        "score": pytest.approx(0.833, abs=0.001),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("x", "y", "bearing", "can_see", "off"),
    [
        (0, -40, 34.9, True, 34.9),
        (0, -40, 325.2, True, 34.8),  # over north
        (0, -40, 35.2, False, 35.2),
        (0, 40, 180.0, True, 0.0),
        (40, 0, 270.0, True, 0.0),
        (-40, 0, 270.0, False, 180.0),
        (0, -121, 0.0, False, 0.0),
        (0, -119.9, 0.0, True, 0.0),
    ],
)
def test_range_and_angle(x: float, y: float, bearing: float, can_see: bool, off: float) -> None:
    (only,) = seen(camera("C", x, y, bearing))
    assert only["can_see"] is can_see
    assert only["off_axis_deg"] == pytest.approx(off, abs=0.1)


def test_what_is_not_known_is_said_unless_it_does_not_matter() -> None:
    by_id = {s["id"]: s["can_see"] for s in seen(
        camera("all round", 0, -40, None, 360.0), camera("no bearing", 0, -40, None),
        camera("no range", 0, -40, 0.0, 70, None),
        camera("no lens", 0, -40, None, None, None), camera("too far anyway", 0, -400, None, None),
        camera("looks away anyway", 0, -40, 180.0, 70.0, None), camera("at the mast", 0, 0.5, None),
    )}  # fmt: skip
    assert by_id == {
        "all round": True, "no bearing": None, "no range": None, "no lens": None, "too far anyway": False,
        "looks away anyway": False, "at the mast": True,
    }  # fmt: skip


def test_the_order_is_sight_then_doubt_then_distance() -> None:
    found = seen(
        camera("blind near", 0, -5, 180.0), camera("edge", 0, -30, 34.0), camera("far", 0, -110),
        camera("doubt", 0, -8, None), camera("best", 0, -30), camera("blind far", 0, -300),
        camera("a twin", 0, -30),
    )  # fmt: skip
    assert [s["id"] for s in found] == ["a twin", "best", "far", "edge", "doubt", "blind near", "blind far"]
    assert found[0]["score"] > found[2]["score"] > found[3]["score"] > 0
    assert {s["score"] for s in found[4:]} == {0.0}


def test_no_cameras_is_an_answer() -> None:
    assert seen() == []


def test_which_alerts_a_picture_can_confirm() -> None:
    kinds = ["fire.temperature", "vibration.limit", "flood.level", "fire.smoke", "truck.uncovered"]
    x, y = np.array([0.0, 0.0, 30.0, 0.0, np.nan]), np.array([10.0, 10.0, 60.0, -60.0, 0.0])
    lon, lat = PLANE.to_lonlat(x, y)
    found = confirmable(Cameras.of_rows([camera("C", 0, -40)]), kinds, lon, lat)
    assert [kinds[row] for row, _ in found] == ["fire.temperature", "flood.level"]
    assert found[0][1] > found[1][1]


def test_what_to_look_for_is_said_in_both_languages() -> None:
    assert what_a_picture_shows("fire.smoke") == what_a_picture_shows("fire")
    assert what_a_picture_shows("gas.co") is None
    assert set(what_a_picture_shows("camera.fire") or {}) == {"zh", "en"}


def test_the_ground_in_view_lies_where_the_camera_looks() -> None:
    plane = LocalPlane(113.75, 23.0)
    x, y = plane.to_xy(*ground_in_view(113.75, 23.0, 90.0, 60.0, 200.0))
    assert (round(float(x[VIEW_MIDDLE])), round(float(y[VIEW_MIDDLE]))) == (100, 0)
    cameras = Cameras(["C"], *(np.array([v]) for v in (113.75, 23.0, 90.0, 60.0, 200.0)))
    for lon, lat in zip(*ground_in_view(113.75, 23.0, 90.0, 59.0, 199.0), strict=True):
        assert look(cameras, lon, lat).can_see.all()
    right, _ = plane.to_xy(*ground_in_view(113.75, 23.0, 0.0, 60.0, 200.0, (0.8, 0.1, 1.0, 0.5)))
    assert right[VIEW_MIDDLE] > 40.0  # what is at the right of the picture is right of the axis
    all_round, north = plane.to_xy(*ground_in_view(113.75, 23.0, 0.0, 360.0, 200.0))
    assert (abs(all_round[VIEW_MIDDLE]) < 0.01, abs(north[VIEW_MIDDLE]) < 0.01) == (True, True)


def test_a_camera_by_the_border_places_what_it_sees_beyond_it_and_tells_both_sides() -> None:
    regions, cells, addresses = two_towns()
    ground = Ground(Locator.build(regions, cells, addresses, "two-towns"))
    (lon,), (lat,) = PLANE.to_lonlat([-40.0], [500.0])  # 40 m west of the border, looking east
    beyond = ground.in_view(float(lon), float(lat), 90.0, 60.0, 200.0)
    assert (beyond.method, beyond.town, beyond.grid) == ("camera field of view", B, f"{B}001001")
    assert beyond.neighbours == ()  # from 50 m on, all of it lies beyond
    straddling = ground.in_view(float(lon) - 0.0005, float(lat), 90.0, 60.0, 200.0)
    assert straddling.town == B
    assert straddling.neighbours == (f"{A}001002",)
    assert straddling.names[A] == "甲镇"
    west = ground.in_view(float(lon), float(lat), 270.0, 60.0, 200.0)
    assert (west.town, west.neighbours) == (A, ())
    assert 0 < west.score < ground.locator.device(None, float(lon), float(lat)).score + 0.3
    sea = ground.in_view(114.5, 22.0, 90.0, 60.0, 200.0)
    assert not sea.known
