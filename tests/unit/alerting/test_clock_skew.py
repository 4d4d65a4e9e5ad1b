"""Clocks that are off, drift or stand still, and data that is merely late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.detectors.battery import Battery
from alerting.detectors.clock_skew import HOURS, ClockSkew
from domain.alerts import Detection
from domain.readings import Block, DeviceStatus, Readings
from tests.unit.alerting.blocks import T0, S, block, default_rule, readings


def rows(times: Sequence[tuple[float, float]], device: int = 1, late: Sequence[bool] = ()) -> Readings:
    """(arrival, event time) in seconds."""
    given_rows = readings([(device, 1, T0 + round(t * S), 1.0) for _, t in times], late)
    given_rows.received_us[:] = [T0 + round(at * S) for at, _ in times]
    return given_rows


def clock(**given: object) -> ClockSkew:
    return ClockSkew(default_rule("device.clock", **given))


def feed(detector: ClockSkew, given_rows: Readings, cuts: Sequence[int] = ()) -> list[Detection]:
    parts = np.split(np.arange(len(given_rows)), sorted(cuts))
    return [d for part in parts for d in detector.detect(block(given_rows.take(part)), {})]


def told(found: Sequence[Detection]) -> list[tuple[str, str]]:
    return [(d.phase, d.features["clock"]) for d in found]


def delayed(n: int, error_s: float, start: int = 0, seed: int = 1) -> list[tuple[float, float]]:
    """One message a second whose clock is ``error_s`` behind, with a jittering transport."""
    jitter = np.random.default_rng(seed).exponential(0.2, n)
    return [(start + i + j, start + i - error_s) for i, j in enumerate(jitter)]


def test_a_clock_half_an_hour_behind_is_named_and_its_repair_too() -> None:
    found = feed(clock(), rows([*delayed(300, 1947), *delayed(60, 0, 300)]))
    assert told(found) == [("onset", "off"), ("clear", "off")]
    assert abs(found[0].value - 1947) < 2
    assert found[0].sampled_us - T0 < -1850 * S


def test_a_clock_ahead_has_a_negative_skew() -> None:
    found = feed(clock(), rows(delayed(300, -200)))
    assert told(found) == [("onset", "off")]
    assert found[0].value < -190


def test_a_device_that_sends_what_it_kept_is_only_late() -> None:
    backlog = [(100 + i * 0.05, i - 3600.0) for i in range(3600)]  # an hour in three minutes
    assert feed(clock(), rows([*delayed(100, 0, -4000), *backlog, *delayed(300, 0, 300)])) == []


def test_jitter_and_hourly_bunches_are_no_clock() -> None:
    assert feed(clock(), rows([(i * 60 + 30.0, i * 60) for i in range(500)])) == []
    bunches = [(3600.0 * (i // 60 + 1) + 5, 60.0 * (i + 1)) for i in range(1200)]  # an hour's minutes at once
    assert feed(clock(), rows(bunches)) == []


def test_a_drift_is_told_long_before_it_is_a_minute() -> None:
    drifting = [(i * 30 + 0.1 * (i % 3), i * 30 - i * 30 * 50 / 86_400) for i in range(2880)]  # 50 s a day
    found = feed(clock(), rows(drifting))
    assert told(found) == [("onset", "drifting")]
    assert found[0].features["drift_s_per_day"] == 50 or abs(found[0].features["drift_s_per_day"] - 50) < 2
    assert found[0].value < 20
    steady = [(i * 30 + 0.1 * (i % 3), i * 30 - i * 30 * 2 / 86_400) for i in range(2880)]  # 2 s a day: 23 ppm
    assert feed(clock(), rows(steady)) == []


@pytest.mark.parametrize("minute", range(0, 60, 4))
@pytest.mark.parametrize("s_per_day", [120, -120])
def test_a_drift_is_told_whenever_its_device_was_first_heard(minute: int, s_per_day: float) -> None:
    began = -(T0 / S) % 3600 + 60 * minute  # so long after a whole hour
    drifting = [(began + at, began + at * (1 - s_per_day / 86_400)) for at in range(0, 28_800, 300)]
    found = feed(clock(), rows(drifting))
    assert told(found) == [("onset", "drifting")]
    assert found[0].features["drift_s_per_day"] == pytest.approx(s_per_day, rel=0.01)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(6, 40), st.floats(-90, 90), st.floats(0, 1.9))
def test_no_line_is_missed_by_the_look_at_how_far_delays_lie_apart(
    seed: int, hours: int, s_per_day: float, scatter: float
) -> None:
    d = clock()
    rng = np.random.default_rng(seed)
    row = d.rows_of(np.ones(1, np.int32))
    at = np.cumsum(rng.integers(1, 4, hours))
    for n, hour in enumerate(at.tolist()):
        d._times[row, n % HOURS] = hour * 3600
        d._leasts[row, n % HOURS] = s_per_day * hour / 24 + rng.uniform(-scatter, scatter)
    d._hours_n[row] = hours
    if abs(d._line(row)[0]) >= d.settings.drift_s_per_day:
        assert d._may_drift(row)[0]


def test_a_clock_that_stands_still_is_told() -> None:
    stands = [(100.0 + i, 99.0) for i in range(400)]
    late = [False] * 100 + [True] * 400
    found = feed(clock(), rows([*delayed(100, 0), *stands], late=late))
    assert told(found) == [("onset", "stopped")]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 900), max_size=30))
def test_a_stream_equals_its_blocks(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    error = float(rng.choice([0, 70, 1947, -100]))
    one = rows([*delayed(300, error, 0, seed), *delayed(150, 0, 300, seed)])
    two = rows(delayed(450, 0, 0, seed + 1), device=2)
    both = [np.concatenate([getattr(one, f.name), getattr(two, f.name)]) for f in fields(Readings)]
    order = np.argsort(both[5], kind="stable")
    mixed = Readings(*(column[order] for column in both))
    assert told(feed(clock(), mixed, cuts)) == told(feed(clock(), mixed))


def status(second: float, pct: float | None) -> Block:
    one = DeviceStatus(1, T0 + round(second * S), True, pct, None, None)
    return Block(readings([]), (), (one,), (), (), T0)


def test_a_battery_runs_out_and_is_changed() -> None:
    detector = Battery(default_rule("device.battery"))
    said = [90.0, 25.0, 20.0, 18.0, 9.0, 8.0, None, 25.0, 100.0]
    found = [d for i, pct in enumerate(said) for d in detector.detect(status(i, pct), {})]
    assert [(d.phase, d.value) for d in found] == [("onset", 20), ("update", 9), ("clear", 100)]
    assert detector.detect(status(2, 1.0), {}) == [], "an old status changes nothing"
    by_reading = Battery(default_rule("device.battery"))
    (d,) = by_reading.detect(block(readings([(1, 1, T0, 12.0)])), {"battery_pct": 1})
    assert (d.phase, d.value, d.unit) == ("onset", 12, "%")
