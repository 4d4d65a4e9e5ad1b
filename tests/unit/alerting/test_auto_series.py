"""The detector for unknown series: arrays and plain numbers say the same, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest

from alerting.backtest import ScalarSeries, UnknownSeries, default_rule
from alerting.detectors.auto import CHANNELS, NAMES, WEIGHTS, Auto
from bench.labelled import make
from tests.unit.alerting.blocks import T0, S
from tests.unit.alerting.test_backtest import awkward
from tests.unit.alerting.test_scalar import waves


@pytest.mark.parametrize("seed", range(4))
def test_plain_numbers_say_what_the_arrays_say(seed: int) -> None:
    if seed == 3:
        labelled = make("clicks", 7)
        time_us, value = labelled.time_us, labelled.value
    else:
        time_us, value = awkward(1_200, seed)
        value[600:640] = value[600]
    arrays = ScalarSeries(Auto(default_rule("auto"))).run(time_us, value)
    plain = UnknownSeries(Auto(default_rule("auto"))).run(time_us, value)
    np.testing.assert_allclose(plain.score, arrays.score, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(plain.alert, arrays.alert)
    np.testing.assert_array_equal(plain.judged, arrays.judged)
    assert plain.alert.any()


def test_every_statistic_has_a_name_and_a_weight() -> None:
    assert len(NAMES) == CHANNELS + 1, "the range stands beside the others"
    assert len(WEIGHTS) == CHANNELS


@pytest.mark.parametrize("fault", ["spike", "step", "noise", "still", "zero"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_each_kind_of_fault_is_told_within_a_dozen_rows_at_any_scale(fault: str, scale: float) -> None:
    rng = np.random.default_rng(1)
    value = waves(3_000, 11, 600) + 30
    part = slice(2_500, 2_600)
    if fault == "spike":
        value[2_500] += 15
    elif fault == "step":
        value[part] += 9
    elif fault == "noise":
        value[part] += rng.normal(0, 4, 100)
    elif fault == "still":
        value[part] = value[2_500]
    else:
        value[part] = 0
    found = UnknownSeries(Auto(default_rule("auto"))).run(T0 + np.arange(3_000) * 600 * S, value * scale)
    told = np.flatnonzero(found.alert)
    assert any(2_500 <= i <= 2_512 for i in told)
    assert len(told) <= 6


def test_a_constant_series_and_one_of_two_values_are_quiet() -> None:
    time_us = T0 + np.arange(2_000) * 600 * S
    for value in (np.full(2_000, 5.0), np.zeros(2_000), np.tile([0.0, 1.0], 1_000), np.arange(2_000.0)):
        assert UnknownSeries(Auto(default_rule("auto"))).run(time_us, value).alert.sum() <= 1


def test_what_keeps_coming_back_is_told_less_and_less() -> None:
    rng = np.random.default_rng(4)
    value = 30 + 40 * (np.arange(12_000) % 240) / 240 + rng.normal(0, 0.5, 12_000)
    told = UnknownSeries(Auto(default_rule("auto"))).run(T0 + np.arange(12_000) * 300 * S, value).alert
    first, last = int(told[:4_000].sum()), int(told[8_000:].sum())
    assert last <= first / 2
    assert last <= 3, "of 16 edges"


def test_a_quiet_night_is_watched_more_closely_than_a_busy_day() -> None:
    rng = np.random.default_rng(5)
    hour = np.arange(4_320) / 6 % 24
    busy = (hour >= 7) & (hour < 22)
    value = np.where(busy, 500.0, 20.0) + rng.normal(0, np.where(busy, 80.0, 2.0))
    at_night = 28 * 144 + 3 * 6
    value[at_night : at_night + 6] = 80.0
    told = UnknownSeries(Auto(default_rule("auto"))).run(T0 - T0 % (86_400 * S) - 8 * 3600 * S
                                                         + np.arange(4_320) * 600 * S, value).alert  # fmt: skip
    assert told[at_night : at_night + 6].any(), "80 is nothing by day"
    assert told.sum() <= 5
