from __future__ import annotations

from typing import Any

import pytest

from domain.calibration import METRICS_MAX, checked_calibration
from domain.devices import building_of
from domain.errors import PayloadError

FULL = {"scale": 1.02, "offset": -0.1, "unit": "deg", "date": "2026-05-01"}


def test_what_is_left_out_is_filled_in() -> None:
    assert checked_calibration({}) == {}
    assert checked_calibration({"tilt_x_deg": FULL}) == {"tilt_x_deg": FULL}
    assert checked_calibration({"x": {"scale": -2}}) == {
        "x": {"scale": -2.0, "offset": 0.0, "unit": "", "date": None}
    }


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([], "an object"),
        ({"x": 3}, "x must be an object"),
        ({"X": {}}, "'X'"),
        ({"x": {"gain": 1}}, "gain"),
        ({"x": {"scale": 0}}, "scale of 0"),
        ({"x": {"scale": float("nan")}}, "scale"),
        ({"x": {"scale": True}}, "scale"),
        ({"x": {"offset": "1"}}, "offset"),
        ({"x": {"offset": 1e30}}, "offset"),
        ({"x": {"unit": "m" * 33}}, "unit"),
        ({"x": {"unit": "m\n"}}, "unit"),
        ({"x": {"date": "2026-13-01"}}, "date"),
        ({f"x{n}": {} for n in range(METRICS_MAX + 1)}, "at most"),
    ],
)
def test_what_is_wrong_is_named(given: Any, named: str) -> None:
    with pytest.raises(PayloadError, match=named) as caught:
        checked_calibration(given)
    assert caught.value.reason == "bad_calibration"


def test_the_building_part_of_an_address() -> None:
    address = "4419000030010100001000000"
    assert building_of(None, None) is None
    assert building_of(None, address) == building_of(address[:19], address) == address[:19]
    assert building_of("1" * 19, None) == "1" * 19
    for wrong in ("1" * 18, "1" * 19, "x" * 19):
        with pytest.raises(PayloadError, match="building"):
            building_of(wrong, address)
