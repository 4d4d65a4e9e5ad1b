from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from geo.addresses import NOWHERE, AddressIndex, Texts
from geo.codes import address_code
from geo.geodesy import LocalPlane

PLANE = LocalPlane(113.75, 23.0)
CELL = "441900003001001"


def index_of(x: NDArray[np.float64], y: NDArray[np.float64]) -> AddressIndex:
    """Addresses at these metres; numbered in the order given."""
    ids = [address_code(CELL, n) for n in range(1, len(x) + 1)]
    lon, lat = PLANE.to_lonlat(x, y)
    return AddressIndex(ids, [f"路{n}号" for n in range(1, len(x) + 1)], [CELL] * len(x), lon, lat)


def naive_nearest(
    index: AddressIndex, lon: NDArray[np.float64], lat: NDArray[np.float64], within_m: float
) -> tuple[list[int], list[float]]:
    """Every address asked for every point, on the index's own plane."""
    ax, ay = index.plane.to_xy(index.lon, index.lat)
    rows, metres = [], []
    for x, y in zip(*index.plane.to_xy(lon, lat), strict=True):
        square = (ax - x) ** 2 + (ay - y) ** 2
        best = int(np.argmin(square))
        near = bool(np.sqrt(square[best]) <= within_m)
        rows.append(best if near else NOWHERE)
        metres.append(float(np.sqrt(square[best])) if near else np.inf)
    return rows, metres


@pytest.mark.parametrize("spread_m", [200.0, 3_000.0, 40_000.0])
@pytest.mark.parametrize("count", [1, 2, 50, 3000])
def test_same_as_asking_every_address(spread_m: float, count: int) -> None:
    rng = np.random.default_rng(count)
    index = index_of(rng.uniform(0, spread_m, count), rng.uniform(0, spread_m / 2, count))
    lon, lat = PLANE.to_lonlat(
        rng.uniform(-300, spread_m + 300, 400), rng.uniform(-300, spread_m / 2 + 300, 400)
    )
    row, metres = index.nearest(lon, lat, 150.0)
    expected_row, expected_metres = naive_nearest(index, lon, lat, 150.0)
    assert row.tolist() == expected_row
    np.testing.assert_allclose(metres, expected_metres)


def test_crowded_addresses_and_one_far_off() -> None:
    rng = np.random.default_rng(7)
    x = np.append(rng.normal(0, 40, 500), 2_000_000.0)
    y = np.append(rng.normal(0, 40, 500), 0.0)
    index = index_of(x, y)
    lon, lat = PLANE.to_lonlat(rng.normal(0, 80, 100), rng.normal(0, 80, 100))
    assert index.nearest(lon, lat, 150.0)[0].tolist() == naive_nearest(index, lon, lat, 150.0)[0]


def test_of_two_in_the_same_place_it_is_the_lower_id() -> None:
    index = index_of(np.array([10.0, 10.0, 10.0]), np.array([5.0, 5.0, 5.0]))
    lon, lat = PLANE.to_lonlat(np.array([12.0]), np.array([5.0]))
    assert index.nearest(lon, lat, 150.0)[0].tolist() == [0]


def test_points_that_are_no_points_find_nothing() -> None:
    index = index_of(np.array([0.0]), np.array([0.0]))
    row, metres = index.nearest(np.array([np.nan, np.inf, -200.0]), np.array([23.0, 23.0, 23.0]), 150.0)
    assert row.tolist() == [NOWHERE] * 3
    assert np.isinf(metres).all()


def test_rows_by_id() -> None:
    index = index_of(np.array([0.0, 30.0]), np.array([0.0, 0.0]))
    assert index.row(address_code(CELL, 2)) == 1
    assert index.id(1) == address_code(CELL, 2)
    assert index.texts[1] == "路2号"
    for unknown in (address_code(CELL, 3), "", "号", "9" * 40):
        assert index.row(unknown) == NOWHERE


def test_no_addresses_at_all() -> None:
    index = AddressIndex([], [], [], np.empty(0), np.empty(0))
    assert index.row("4419000030010100001000000") == NOWHERE
    assert index.nearest(np.array([113.7]), np.array([23.0]), 150.0)[0].tolist() == [NOWHERE]


def test_texts_are_a_list_in_one_buffer() -> None:
    texts = Texts(["", "岗贝社区", "x"])
    assert [texts[i] for i in range(len(texts))] == ["", "岗贝社区", "x"]
