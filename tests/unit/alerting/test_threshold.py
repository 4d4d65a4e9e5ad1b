from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.detectors.threshold import Threshold
from domain.alerts import Detection
from domain.readings import Readings
from tests.unit.alerting.blocks import SMOKE, T0, TEMPERATURE, S, default_rule, readings, some_readings, told
from tests.unit.alerting.store_contract import alert

KEYS = {"temperature_c": TEMPERATURE}


def hot(**more: Any) -> Threshold:
    return Threshold(default_rule("fire.temperature", **more))


def series(*points: tuple[float, float], device: int = 1) -> Readings:
    return readings([(device, TEMPERATURE, T0 + round(s * S), v) for s, v in points])


def phases(found: list[Detection]) -> list[tuple[str, int, float]]:
    return [(d.phase, d.severity, (d.at_us - T0) / S) for d in found]


def test_one_reading_over_the_level_raises_with_its_severity_and_limit() -> None:
    (d,) = hot().feed(series((0, 20), (1, 80)), KEYS)
    assert (d.phase, d.severity, d.value, d.limit, d.unit, d.metric) == (
        "onset",
        2,
        80,
        75,
        "°C",
        "temperature_c",
    )
    assert (d.episode_us, d.at_us, d.sampled_us, d.window_us) == (T0 + S, T0 + S, T0 + S, (T0 + S, T0 + S))


def test_it_clears_below_the_clear_level_and_not_between() -> None:
    found = hot().feed(series((0, 61), (1, 58), (2, 61), (3, 55), (4, 61)), KEYS)
    assert phases(found) == [("onset", 3, 0), ("clear", 3, 3), ("onset", 3, 4)]


def test_severity_rises_within_an_episode_and_never_falls() -> None:
    found = hot().feed(series((0, 61), (1, 92), (2, 76), (3, 50)), KEYS)
    assert phases(found) == [("onset", 3, 0), ("update", 1, 1), ("clear", 1, 3)]
    assert found[-1].value == 92


def test_a_new_peak_is_told_only_after_a_step() -> None:
    found = hot().feed(series((0, 60), (1, 63), (2, 66.5), (3, 70)), KEYS)
    assert phases(found) == [("onset", 3, 0), ("update", 3, 2)]


def test_on_delay_counts_in_event_time_and_starts_anew_after_a_dip_or_gap() -> None:
    rule = {"on_delay_s": 10, "gap_s": 30}
    assert phases(hot(**rule).feed(series((0, 61), (9, 61), (10, 61)), KEYS)) == [("onset", 3, 0)]
    assert phases(hot(**rule).feed(series((0, 61), (5, 50), (6, 61), (15, 61)), KEYS)) == []
    assert phases(hot(**rule).feed(series((0, 61), (31, 61), (41, 61)), KEYS)) == [("onset", 3, 31)]


def test_off_delay_holds_the_episode() -> None:
    found = hot(off_delay_s=10).feed(series((0, 61), (1, 50), (5, 61), (6, 50), (16, 50)), KEYS)
    assert phases(found) == [("onset", 3, 0), ("clear", 3, 6)]
    assert found[-1].sampled_us == T0 + 16 * S


def test_below_and_magnitude() -> None:
    cold = hot(direction="below", levels={3: 5, 2: 0}, clear=8)
    found = cold.feed(series((0, 4), (1, -3), (2, 9)), KEYS)
    assert phases(found) == [("onset", 3, 0), ("update", 2, 1), ("clear", 2, 2)]
    assert [d.value for d in found] == [4, -3, -3]
    assert phases(hot(direction="magnitude").feed(series((0, -61)), KEYS)) == [("onset", 3, 0)]


def test_late_old_and_repeated_rows_say_nothing() -> None:
    detector = hot()
    late = readings([(1, TEMPERATURE, T0, 99.0)], late=[True])
    assert detector.feed(late, KEYS) == []
    rows = series((10, 61), (11, 20), (10.5, 99), (11, 99))
    assert [d.phase for d in detector.feed(rows, KEYS)] == ["onset", "clear"]
    assert detector.feed(rows, KEYS) == []


def test_other_metrics_are_not_looked_at() -> None:
    assert hot().feed(readings([(1, SMOKE, T0, 99.0)]), KEYS) == []


def test_in_order_but_old_on_arrival_is_said_to_be_late() -> None:
    rows = readings([(1, TEMPERATURE, T0, 80.0)], delay_us=301 * S)
    assert [d.late for d in hot().feed(rows, KEYS)] == [True]


def test_a_restored_episode_goes_on_and_ends() -> None:
    detector = hot()
    detector.resume(alert(device=1, severity=2, value=80.0), T0, T0 + 5 * S)
    assert detector.feed(series((0, 99), (5, 20)), KEYS) == [], "redelivered rows"
    (clear,) = detector.feed(series((6, 20)), KEYS)
    assert (clear.phase, clear.severity, clear.episode_us, clear.value) == ("clear", 2, T0, 80)


# ---------------------------------------------------------------- naive reference, and blocks


class Naive:
    """One device, one row at a time: what the array detector must match."""

    def __init__(self, s: Any) -> None:
        self.s = s
        self.newest: int | None = None
        self.safe: int | None = None
        self.since: dict[int, int] = {}
        self.level, self.episode = 0, 0
        self.names = sorted(s.levels, reverse=True)

    def row(self, t: int, v: float) -> tuple[Any, ...] | None:
        if self.newest is not None and t <= self.newest:
            return None
        gap = self.newest is not None and t - self.newest > self.s.gap_s * S
        self.newest = t
        for name in self.names:
            if v >= self.s.levels[name]:
                self.since[name] = t if gap or name not in self.since else self.since[name]
            else:
                self.since.pop(name, None)
        held = sum(t - at >= self.s.on_delay_s * S for at in self.since.values())
        if self.level == 0:
            if held:
                self.level, self.episode, self.safe = held, self.since[self.names[0]], None
                return ("onset", self.episode, self.episode, self.names[held - 1])
            return None
        if v < self.s.levels[self.names[0]] and v <= self.s.clear:
            self.safe = t if self.safe is None or gap else self.safe
            if t - self.safe >= self.s.off_delay_s * S:
                level, self.level, at = self.level, 0, self.safe
                return ("clear", at, self.episode, self.names[level - 1])
        else:
            self.safe = None
            if held > self.level:
                self.level = held
                return ("update", t, self.episode, self.names[held - 1])
        return None


rows_strategy = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.sampled_from([20.0, 56.0, 61.0, 77.0, 95.0])),
    max_size=60,
)


def at_times(steps: list[tuple[int, int, float]]) -> Readings:
    clock = dict.fromkeys((1, 2, 3), 0)
    rows = []
    for device, wait, value in steps:
        clock[device] += wait
        rows.append((device, TEMPERATURE, T0 + clock[device] * S, value))
    return readings(rows)


@settings(max_examples=150, deadline=None)
@given(rows_strategy, st.sampled_from([0.0, 5.0, 20.0]), st.sampled_from([0.0, 15.0]))
def test_it_matches_the_naive_reference(steps: list[tuple[int, int, float]], on: float, off: float) -> None:
    detector = hot(on_delay_s=on, off_delay_s=off, gap_s=30, peak_step=1000)
    r = at_times(steps)
    found = [(d.device, d.sampled_us, d.phase, d.at_us, d.episode_us, d.severity) for d in detector.feed(r, KEYS)]
    naive = {device: Naive(detector.settings) for device in (1, 2, 3)}
    expected = []
    for device, t, v in zip(r.device.tolist(), r.time_us.tolist(), r.value.tolist(), strict=True):
        said = naive[device].row(t, v)
        if said is not None:
            expected.append((device, t, *said))
    assert sorted(found, key=lambda d: d[:2]) == sorted(expected, key=lambda d: d[:2])


@settings(max_examples=150, deadline=None)
@given(rows_strategy, st.lists(st.integers(0, 60), max_size=6))
def test_a_stream_equals_its_blocks(steps: list[tuple[int, int, float]], cuts: list[int]) -> None:
    r = at_times(steps)
    whole = hot(on_delay_s=5, off_delay_s=15, gap_s=30).feed(r, KEYS)
    detector = hot(on_delay_s=5, off_delay_s=15, gap_s=30)
    parts: list[Detection] = []
    for take in np.split(np.arange(len(r)), sorted(c for c in cuts if c <= len(r))):
        parts += detector.feed(some_readings(r, take), KEYS)
    assert told(parts) == told(whole)


def test_ten_thousand_devices_in_one_block() -> None:
    n = 10_000
    r = readings([(key, TEMPERATURE, T0, 80.0) for key in range(1, n + 1)])
    found = hot().feed(r, KEYS)
    assert len(found) == n
    assert {d.phase for d in found} == {"onset"}


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_values_the_door_should_have_stopped_do_not_raise(value: float) -> None:
    assert hot().feed(series((0, value)), KEYS) == []
