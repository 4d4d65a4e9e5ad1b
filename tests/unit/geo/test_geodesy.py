from __future__ import annotations

import numpy as np
import pytest

from geo.geodesy import LocalPlane, distance_m


def test_one_degree_of_latitude() -> None:
    assert float(distance_m(113.0, 22.0, 113.0, 23.0)) == pytest.approx(111_195, abs=1)


def test_distance_is_vectorised_and_symmetric() -> None:
    lon, lat = np.array([113.5, 114.0]), np.array([22.8, 23.0])
    there = distance_m(lon, lat, 113.75, 22.95)
    assert there.shape == (2,)
    np.testing.assert_allclose(there, distance_m(113.75, 22.95, lon, lat))


def test_plane_goes_there_and_back() -> None:
    plane = LocalPlane(113.85, 22.95)
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(113.5, 114.3, 100), rng.uniform(22.6, 23.2, 100)
    back = plane.to_lonlat(*plane.to_xy(lon, lat))
    np.testing.assert_allclose(back, (lon, lat), atol=1e-12)


def test_plane_agrees_with_the_sphere_within_half_a_percent() -> None:
    plane = LocalPlane(113.85, 22.95)
    x, y = plane.to_xy(113.86, 22.96)
    assert float(np.hypot(x, y)) == pytest.approx(float(distance_m(113.85, 22.95, 113.86, 22.96)), rel=0.005)
