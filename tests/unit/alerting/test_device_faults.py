"""The sensor itself: stuck, noisy, out of range, flat. One word a device, and none for a healthy one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.detectors.bank import DetectorBank
from alerting.detectors.catalogue import DETECTORS
from domain.alerts import Detection
from domain.readings import Readings
from tests.unit.alerting.blocks import (
    T0,
    S,
    block,
    cut,
    default_rule,
    default_rules,
    devices,
    packets,
    readings,
    told,
)

METRICS = {"temperature_c": 1, "smoke_ppm": 2, "humidity_pct": 3}
NAMES = ("", "temperature_c", "smoke_ppm", "humidity_pct")


def make(name: str, **given: Any) -> Any:
    rule = default_rule(f"device.{name}", **given)
    return DETECTORS[rule.detector].make(rule, devices())


def feed(detector: Any, rows: Readings, cuts: Sequence[int] = ()) -> list[Detection]:
    parts = np.split(np.arange(len(rows)), sorted(cuts))
    return [d for part in parts for d in detector.detect(block(rows.take(part)), METRICS)]


def series(values: Sequence[float], *, device: int = 1, metric: int = 1, every_s: float = 60) -> Readings:
    return readings([(device, metric, T0 + round(i * every_s * S), float(v)) for i, v in enumerate(values)])


def wave(n: int, seed: int = 1, noise: float = 0.1) -> list[float]:
    rng = np.random.default_rng(seed)
    at = 20 + 5 * np.sin(np.arange(n) / 200) + rng.normal(0, noise, n)
    return list(np.round(at, 3))


# ---------------------------------------------------------------- stuck


def test_a_value_that_does_not_move_any_more_is_told_and_its_recovery_too() -> None:
    rows = series([*wave(100), *[21.5] * 90, *wave(10, seed=2)])
    found = feed(make("stuck"), rows)
    assert [(d.phase, (d.at_us - T0) // (60 * S)) for d in found] == [("onset", 100), ("clear", 190)]
    assert found[0].features["metrics"] == ["temperature_c"]
    assert found[0].value == 61, "one hour at one a minute"
    assert found[0].severity == 4


def test_a_dry_road_that_says_zero_for_weeks_is_healthy() -> None:
    rain = [0.0] * 500 + [0.1, 0.2, 0.3, 0.1] * 6 + [0.0] * 1500
    assert feed(make("stuck"), series(rain)) == []


def test_a_series_that_never_moved_says_nothing_about_itself() -> None:
    assert feed(make("stuck"), series([1.0] * 5000)) == []


def test_two_metrics_of_one_device_are_one_episode() -> None:
    stuck = [*wave(100), *[21.5] * 90]
    a, b = series(stuck), series([*wave(100, 3), *[7.0] * 80, *wave(10, 4)], metric=2)
    order = np.argsort(np.concatenate([a.time_us, b.time_us]), kind="stable")
    both = Readings(*(np.concatenate([getattr(a, f.name), getattr(b, f.name)])[order] for f in fields(Readings)))
    found = feed(make("stuck"), both)
    assert [d.phase for d in found] == ["onset", "update", "update"]
    assert found[1].features["metrics"] == ["smoke_ppm", "temperature_c"]
    assert found[2].features["metrics"] == ["temperature_c"]
    assert len({d.episode_us for d in found}) == 1


# ---------------------------------------------------------------- range


def test_values_that_cannot_be_are_told_after_three_in_a_row() -> None:
    found = feed(make("range"), series([20, -127, 20, -127, -127, -127, -127, 20, 20, 20, 20]))
    assert [(d.phase, (d.at_us - T0) // (60 * S)) for d in found] == [("onset", 5), ("clear", 9)]
    assert (found[0].value, found[0].limit, found[0].metric) == (-127, -80, "temperature_c")


def test_a_rule_may_know_another_range() -> None:
    assert feed(make("range", ranges={"temperature_c": (0, 10)}, n=1), series([11.0]))


def test_what_cannot_be_does_not_call_the_fire_brigade() -> None:
    bank = DetectorBank(default_rules(), devices(), lambda: NAMES)
    hot = bank.feed(block(series([1500.0] * 3)))
    assert [d.kind for d in hot] == ["device.range"]
    real = bank.feed(block(readings([(1, 1, T0 + 3600 * S, 95.0)])))
    assert [d.kind for d in real] == ["fire.temperature"]


def test_other_metrics_in_range_and_unknown_ones_cost_no_row() -> None:
    detector = make("range")
    assert feed(detector, series(wave(50))) == []
    assert len(detector) == 0


# ---------------------------------------------------------------- noisy


def test_a_series_that_jumps_about_is_told_and_a_step_is_not() -> None:
    calm, rough = wave(2000), [v + 30 for v in wave(400, 5, noise=2.0)]
    found = feed(make("noisy"), series([*calm, *rough, *wave(400, 6)]))
    assert [d.phase for d in found] == ["onset", "clear"]
    onset = (found[0].at_us - T0) // (60 * S)
    assert 2000 + 3 * 32 - 32 <= onset <= 2000 + 4 * 32
    assert feed(make("noisy"), series([*calm, *(v + 30 for v in wave(400, 7))])) == []


def test_a_series_that_was_always_still_has_no_usual_to_be_compared_with() -> None:
    assert feed(make("noisy"), series([*[0.0] * 3000, *wave(500)])) == []


# ---------------------------------------------------------------- flat


def test_an_axis_without_noise_is_told_by_name() -> None:
    signal = np.random.default_rng(2).normal(scale=0.001, size=(3, 12_000))
    signal[1, 3_000:9_000] = 0.02
    detector = make("flat")
    found = [d for w in (cut(signal, 100.0, 100),) for d in detector.detect(block(waveforms=(w,)), {})]
    assert [(d.phase, (d.at_us - T0) / S) for d in found] == [("onset", 30.0), ("clear", 90.0)]
    assert found[0].features["axes"] == "y"


def test_a_missing_axis_is_not_flat() -> None:
    signal = np.zeros((1, 3, 100), np.float32)
    signal[0, 0] = np.arange(100)
    given = packets([1] * 60, [T0 + i * S for i in range(60)], np.repeat(signal, 60, axis=0), 100.0)
    given.axes[:] = (True, False, False)
    assert make("flat").detect(block(waveforms=(given,)), {}) == []


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", ["stuck", "range", "noisy"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_stream_equals_its_blocks(name: str, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    small = {
        "stuck": {"n_min": 5, "s_min": 60, "changes_min": 3}, "range": {}, "noisy": {"window_n": 4, "learn_n": 3},
    }  # fmt: skip
    rows = []
    for device in (1, 2, 3):
        for metric in (1, 2):
            values = rng.normal(20, rng.choice([0.1, 5.0], 240)).round(int(rng.integers(0, 2)))
            start = int(rng.integers(20, 150))
            values[start : start + int(rng.integers(0, 60))] = rng.choice([20.0, -300.0])
            rows += [(device, metric, T0 + round(i * 60 * S), float(v)) for i, v in enumerate(values)]
    rows.sort(key=lambda row: row[2])
    given_rows = readings(rows)
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=30))
    whole = feed(make(name, **small[name]), given_rows)
    assert told(feed(make(name, **small[name]), given_rows, cuts)) == told(whole)
    again = make(name, **small[name])
    assert told(feed(again, given_rows)) == told(whole)
    assert feed(again, given_rows) == [], "a block that comes twice changes nothing"


@pytest.mark.parametrize("name", ["stuck", "range", "noisy"])
def test_saved_state_goes_on_where_it_was(name: str) -> None:
    tail = [-300.0] * 5 if name == "range" else [21.5] * 120 if name == "stuck" else wave(400, 5, noise=3.0)
    rows = series([*wave(1500), *tail, *wave(300, 9)])
    whole = feed(make(name), rows)
    assert whole
    for at in (700, 1502, 1560):
        first, second = make(name), make(name)
        found = feed(first, rows.take(np.arange(at)))
        second.load(first.snapshot())
        found += feed(second, rows.take(np.arange(at, len(rows))))
        assert told(found) == told(whole)
