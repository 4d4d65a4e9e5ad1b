from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import CodeError
from geo.beidou import LENGTHS, beidou_code, parse_beidou

# The example of GB/T 39409-2020: 116°18'45.37" E, 39°59'35.38" N.
EXAMPLE = (116 + 18 / 60 + 45.37 / 3600, 39 + 59 / 60 + 35.38 / 3600)


@pytest.mark.parametrize(
    ("point", "level", "code"),
    [
        (EXAMPLE, 1, "N50J"),
        (EXAMPLE, 2, "N50J47"),
        (EXAMPLE, 3, "N50J475"),
        (EXAMPLE, 4, "N50J47539"),
        (EXAMPLE, 5, "N50J47539B8"),
        (EXAMPLE, 9, "N50J47539B82553461"),
        ((116.315222, 39.910278), 4, "N50J47534"),
        ((-180.0, 0.0), 1, "N01A"),
        ((180.0, 0.0), 1, "N01A"),
        ((179.99, -87.9), 1, "S60V"),
        ((0.0, 0.0), 3, "N31A000"),
        ((-0.001, -0.001), 3, "S30A000"),
    ],
)
def test_codes(point: tuple[float, float], level: int, code: str) -> None:
    assert beidou_code(*point, level) == code


def test_the_cell_of_a_code() -> None:
    cell = parse_beidou("n50j47539b8")
    assert (cell.code, cell.level) == ("N50J47539B8", 5)
    assert (cell.east - cell.west, cell.north - cell.south) == pytest.approx((4 / 3600, 4 / 3600))
    assert cell.west <= EXAMPLE[0] < cell.east
    assert cell.south <= EXAMPLE[1] < cell.north


@given(st.floats(-180, 180), st.floats(-87.99, 87.99), st.integers(1, 10))
def test_a_point_lies_in_its_cell(lon: float, lat: float, level: int) -> None:
    code = beidou_code(lon, lat, level)
    cell = parse_beidou(code)
    assert len(code) == LENGTHS[level - 1]
    assert cell.south - 1e-9 <= lat <= cell.north + 1e-9
    assert cell.west - 1e-9 <= (-180.0 if lon == 180 else lon) <= cell.east + 1e-9
    assert beidou_code(*cell.middle, level) == code
    assert all(beidou_code(lon, lat, lower) == code[: LENGTHS[lower - 1]] for lower in range(1, level))


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("", "0 characters"),
        ("N50J4", "5 characters"),
        ("X50J", "level 1"),
        ("N61J", "level 1"),
        ("N00J", "level 1"),
        ("N50W", "level 1"),
        ("N50JC7", "level 2"),
        ("N50J48", "level 2"),
        ("N50J476", "level 3"),
        ("N50J475F9", "level 4"),
        ("N50J4753A", "level 4"),
        ("N50J47539FF", "level 5"),
        ("N50J47539B84", "level 6"),
        ("N50J47539B8288", "level 7"),
        ("N50J47539B82G0", "level 7"),
    ],
)
def test_bad_codes_name_the_level(code: str, wrong: str) -> None:
    with pytest.raises(CodeError, match=wrong):
        parse_beidou(code)


@pytest.mark.parametrize(("lon", "lat", "level"), [(113.7, 88.5, 5), (181.0, 20.0, 5), (113.7, 23.0, 0),
                                                   (113.7, 23.0, 11), (float("nan"), 23.0, 5)])  # fmt: skip
def test_points_that_have_no_code(lon: float, lat: float, level: int) -> None:
    with pytest.raises(CodeError):
        beidou_code(lon, lat, level)
