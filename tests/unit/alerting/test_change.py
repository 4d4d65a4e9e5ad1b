"""Jumps: what rain does to a water level is learnt as this sensor's own events, and only more than that is told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from alerting.detectors.catalogue import DETECTORS
from alerting.detectors.change import EVENT_PRIOR_COUNT, EVENT_SPREAD, Change
from alerting.detectors.tail import YEAR_S
from alerting.rules import parse_rule
from domain.alerts import Detection
from domain.readings import Readings
from tests.unit.alerting.blocks import T0, S

EVERY_S = 900
DAY = 86_400 // EVERY_S
LEARN_S = 14 * 86_400


def detector() -> Change:
    settings = {"metric": "water_level_m", "title": {"zh": "水位", "en": "Water"}, "learn_s": LEARN_S}
    row = {"id": "water", "detector": "change", "kind": "anomaly.water-level", "settings": settings}
    made = DETECTORS["change"].make(parse_rule(row), lambda key: None)
    assert isinstance(made, Change)
    return made


def rainy(days: int, seed: int) -> NDArray[np.float64]:
    """A road's gauge with noise of 2 mm; each third or fourth day rain lifts it by 1 to 5 cm."""
    rng = np.random.default_rng(seed)
    out = 0.01 + np.abs(rng.normal(0, 2e-3, days * DAY))
    for at in np.cumsum(rng.integers(3 * DAY, 4 * DAY, days // 3)):
        length = max(0, len(out) - int(at))
        out[at:] += rng.uniform(0.01, 0.05) * np.exp(-np.arange(length) / 13.0)
    return out


def fed(made: Change, series: list[NDArray[np.float64]]) -> list[Detection]:
    """One device for each series, their values in turn."""
    n = len(series[0])
    device = np.tile(np.arange(1, len(series) + 1, dtype=np.int32), n)
    time_us = np.repeat(T0 + np.arange(n, dtype=np.int64) * EVERY_S * S, len(series))
    value = np.stack(series, axis=1).ravel()
    none = np.full(len(value), -1, np.int64)
    rows = Readings(
        device, np.ones(len(value), np.int32), time_us, value, none, time_us, np.zeros(len(value), bool)
    )
    return made.feed(rows, {"water_level_m": 1})


def test_rain_is_told_seldom_and_a_surge_is() -> None:
    series = [rainy(70, seed) for seed in range(20)]
    for value in series:
        value[60 * DAY :] += 0.15
    surge_us = T0 + 60 * DAY * EVERY_S * S
    spoken = [d for d in fed(detector(), series) if d.phase != "clear"]
    rain = [d for d in spoken if d.sampled_us < surge_us]
    assert len(rain) / (20 * 60 / 365.25) <= 4, "two are wanted; rain itself comes a hundred times a year"
    assert {d.device for d in spoken if d.sampled_us == surge_us} == set(range(1, 21)), (
        "three times the largest rain"
    )


def test_the_limit_of_events_is_that_of_their_moments() -> None:
    made = detector()
    value = rainy(60, 3)
    fed(made, [value])
    row = made.row_of(np.ones(1, np.int32))
    names = ("_events", "_event_mean", "_event_square")
    events, mean, square = (float(getattr(made, name)[row[0]]) for name in names)
    assert 14 <= events <= 25, "one for each rain, and few from noise"
    end = np.array([T0 + len(value) * EVERY_S * S])
    prior = EVENT_PRIOR_COUNT * (EVENT_SPREAD * mean) ** 2
    spread = np.sqrt((events * (square - mean**2) + prior) / (events + EVENT_PRIOR_COUNT))
    a_year = events / (len(value) * EVERY_S / YEAR_S)
    expected = mean + spread * (np.log(a_year / 2.0) - 1.0)
    assert made._event_limit(row, end - T0)[0] == pytest.approx(expected, rel=1e-4)


def test_a_sensor_of_which_no_event_is_known_has_no_limit_of_events() -> None:
    made = detector()
    fed(made, [np.tile([5.0, 5.001], 1_000)])
    row = made.row_of(np.ones(1, np.int32))
    end = np.array([T0 + 2_000 * EVERY_S * S])
    assert made._events[row[0]] == 0
    assert made._event_limit(row, end - T0)[0] == 0


def test_an_episode_that_ends_after_a_silence_says_no_limit_it_does_not_know() -> None:
    made = detector()
    value = np.full(30 * DAY, 0.5) + np.random.default_rng(1).normal(0, 1e-3, 30 * DAY)
    value[-1] += 5.0
    assert [d.phase for d in fed(made, [value])] == ["onset"]
    back = np.array([T0 + (len(value) + 30 * DAY) * EVERY_S * S])
    none, key = np.full(1, -1, np.int64), np.ones(1, np.int32)
    [end] = made.feed(Readings(key, key, back, value[:1], none, back, np.zeros(1, bool)), {"water_level_m": 1})
    assert (end.phase, end.at_us < end.sampled_us) == ("clear", True)
    assert "statistic_limit" not in end.features
    assert all(math.isfinite(number) for number in end.features.values())
