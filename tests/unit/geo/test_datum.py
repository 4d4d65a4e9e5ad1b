from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import PayloadError
from geo.datum import DATUMS, from_wgs84, to_wgs84
from geo.geodesy import distance_m

VECTORS = Path(__file__).parents[3] / "../shared/data/dongguan/datum_vectors.csv"
DATUM_OF = {"WGS-84": "wgs84", "GCJ-02": "gcj02", "BD-09": "bd09"}
TENTH_OF_A_METRE = 0.1


@pytest.mark.parametrize(
    ("lon", "lat", "gcj_lon", "gcj_lat"),
    [
        (121.5272106, 31.1774276, 121.531541859215, 31.17530398364597),  # Shanghai
        (113.912316, 22.543847, 113.9171764808363, 22.540796131694766),  # Shenzhen
        (116.377817, 39.911954, 116.38404722455657, 39.91334545536069),  # Beijing
    ],
)
def test_published_points(lon: float, lat: float, gcj_lon: float, gcj_lat: float) -> None:
    assert from_wgs84(lon, lat, "gcj02") == pytest.approx((gcj_lon, gcj_lat), abs=1e-11)
    assert to_wgs84(gcj_lon, gcj_lat, "gcj02") == pytest.approx((lon, lat), abs=1e-9)


def test_published_bd09_point() -> None:
    # The example of coordtransform's documentation: GCJ-02 (116.404, 39.915) to BD-09.
    wgs = to_wgs84(116.404, 39.915, "gcj02")
    assert from_wgs84(*wgs, "bd09") == pytest.approx((116.41036949371029, 39.92133699351022), abs=1e-9)


@pytest.mark.skipif(not VECTORS.exists(), reason="needs ../shared/data/dongguan/datum_vectors.csv")
def test_golden_vectors() -> None:
    with VECTORS.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            given_in = to_wgs84(float(row["lon_in"]), float(row["lat_in"]), DATUM_OF[row["from"]])
            lon, lat = from_wgs84(*given_in, DATUM_OF[row["to"]])
            off = distance_m(lon, lat, float(row["lon_out"]), float(row["lat_out"]))
            assert off < float(row["tolerance_m"]), row["case"]


@given(lon=st.floats(113.4, 114.4), lat=st.floats(22.6, 23.3), datum=st.sampled_from(DATUMS))
def test_round_trip_over_the_city(lon: float, lat: float, datum: str) -> None:
    back = to_wgs84(*from_wgs84(lon, lat, datum), datum)
    assert distance_m(lon, lat, *back) < TENTH_OF_A_METRE


@pytest.mark.parametrize("datum", DATUMS)
def test_arrays_give_what_floats_give(datum: str) -> None:
    lon, lat = np.array([113.5, 113.9, 114.2]), np.array([22.7, 23.0, 23.1])
    x, y = from_wgs84(lon, lat, datum)
    one_by_one = [from_wgs84(a, b, datum) for a, b in zip(lon.tolist(), lat.tolist(), strict=True)]
    np.testing.assert_allclose(np.column_stack([x, y]), one_by_one, atol=1e-12)


def test_gcj02_lies_some_600_m_off_in_dongguan() -> None:
    off = distance_m(113.75, 23.02, *from_wgs84(113.75, 23.02, "gcj02"))
    assert 500 < off < 700


@pytest.mark.parametrize("point", [(-99.13, 19.43), (2.35, 48.86), (139.7, 35.7), (151.2, -33.9)])
@pytest.mark.parametrize("datum", DATUMS)
def test_nothing_moves_outside_china(point: tuple[float, float], datum: str) -> None:
    assert from_wgs84(*point, datum) == point
    assert to_wgs84(*point, datum) == point


def test_nan_stays_nan_and_harms_no_other() -> None:
    lon, lat = to_wgs84(np.array([math.nan, 113.9171764808363]), np.array([23.0, 22.540796131694766]), "gcj02")
    assert math.isnan(lon[0])
    assert lon[1] == pytest.approx(113.912316, abs=1e-9)
    assert lat[1] == pytest.approx(22.543847, abs=1e-9)


@pytest.mark.parametrize("datum", ["", "WGS84", "gcj-02", "mars"])
def test_unknown_datum_is_refused_with_the_known_ones(datum: str) -> None:
    with pytest.raises(PayloadError, match="wgs84, cgcs2000, gcj02, bd09") as caught:
        to_wgs84(113.7, 23.0, datum)
    assert caught.value.reason == "bad_datum"
