"""What all detectors of unusual values have in common: one alarm an anomaly, blocks, limits from a wanted rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alerting.detectors.catalogue import DETECTORS
from alerting.detectors.scalar import ScalarDetector
from alerting.detectors.tail import SHARE, excess_step, fallen, quantile_step, tail_limit
from alerting.detectors.values import Values
from alerting.rules import parse_rule
from domain.alerts import Detection
from domain.readings import Readings
from tests.unit.alerting.blocks import SMOKE, T0, TEMPERATURE, S, block, readings, some_readings, told
from tests.unit.alerting.store_contract import alert

TITLE = {"zh": "异常", "en": "Unusual"}
KEYS = {"smoke_ppm": SMOKE, "temperature_c": TEMPERATURE}
NAMES = ("level", "change", "season", "drift", "shape", "auto")
HOUR = 3600


def detector(name: str, **more: Any) -> ScalarDetector[Any]:
    base: dict[str, Any] = {"metric": "smoke_ppm", "title": TITLE, "learn_s": 0}
    row = {"id": name, "detector": name, "kind": "anomaly.smoke", "settings": {**base, **more}}
    made = DETECTORS[name].make(parse_rule(row), lambda key: None)
    assert isinstance(made, ScalarDetector)
    return made


def regular(values: NDArray[Any], every_s: float, device: int = 1) -> Readings:
    return readings([(device, SMOKE, T0 + round(i * every_s * S), float(v)) for i, v in enumerate(values)])


def waves(n: int, seed: int, every_s: float) -> NDArray[Any]:
    hours = np.arange(n) * every_s / HOUR
    return 20 + 3 * np.sin(hours / 24 * 2 * np.pi) + np.random.default_rng(seed).normal(0, 0.3, n)


def jump(v: NDArray[Any], at: int, length: int, size: float) -> NDArray[Any]:
    out = v.copy()
    out[at : at + length] += size
    return out


def scramble(v: NDArray[Any], at: int, length: int) -> NDArray[Any]:
    out = v.copy()
    out[at : at + length] = np.where(np.arange(length) // 2 % 2 == 0, 17.0, 23.0)
    return out


FAULTS: dict[str, tuple[float, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    "level": (300, lambda v: jump(v, 3_000, 6, 60)),
    "change": (300, lambda v: jump(v, 3_000, 1, 20)),
    "season": (600, lambda v: jump(v, 3_000, 20, 8)),
    "drift": (1_800, lambda v: v + np.clip((np.arange(len(v)) - 3_000) / 400, 0, 4)),
    "shape": (1_800, lambda v: scramble(v, 3_000, 40)),
    "auto": (600, lambda v: jump(v, 3_000, 20, 12)),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_fault_is_one_episode_and_calm_is_none(name: str) -> None:
    every_s, fault = FAULTS[name]
    calm = waves(3_600, 1, every_s)
    settled: dict[str, dict[str, Any]] = {"drift": {"compensate": ""}, "auto": {"evidence": 6}}
    more = settled.get(name, {})
    quiet = detector(name, **more).feed(regular(calm, every_s), KEYS)
    assert [d.phase for d in quiet if d.sampled_us < T0 + 3_000 * every_s * S] == []
    found = detector(name, **more).feed(regular(fault(calm), every_s), KEYS)
    onsets = [d for d in found if d.phase == "onset"]
    assert len(onsets) == 1
    assert T0 + 3_000 * every_s * S <= onsets[0].at_us <= T0 + 3_300 * every_s * S
    assert onsets[0].severity == 4
    assert onsets[0].features["strength"] >= 1
    assert {d.episode_us for d in found} == {onsets[0].episode_us}


def awkward(seed: int, n: int = 240) -> Readings:
    """Three devices in any order, with gaps, repeated and backward times, bursts and standing still."""
    rng = np.random.default_rng(seed)
    device = rng.integers(1, 4, n)
    wait = rng.choice([0, 60, 600, 600, 600, 1800, 20_000], n)
    clock, rows = dict.fromkeys((1, 2, 3), 0), []
    for d, w in zip(device.tolist(), wait.tolist(), strict=True):
        clock[d] += w - 700 * int(rng.random() < 0.05)
        value = 20 + rng.normal() * (1 if rng.random() < 0.9 else 40) if rng.random() < 0.9 else 20.0
        metric = TEMPERATURE if rng.random() < 0.3 else SMOKE
        rows.append((d, metric, T0 + clock[d] * S, float(value)))
    return readings(rows, late=(rng.random(n) < 0.03).tolist())


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 240), max_size=8))
def test_a_stream_equals_its_blocks(name: str, seed: int, cuts: list[int]) -> None:
    r = awkward(seed)
    metrics = {"smoke_ppm": SMOKE, "temperature_c": TEMPERATURE}
    whole, parted = detector(name, limit_min=1.0), detector(name, limit_min=1.0)
    expected = whole.detect(block(r), metrics)
    found: list[Detection] = []
    for take in np.split(np.arange(len(r)), sorted(cuts)):
        found += parted.detect(block(some_readings(r, take)), metrics)
    assert told(found) == told(expected)
    for field in whole.FIELDS:
        mine = getattr(whole, field)[whole.row_of(np.array([1, 2, 3], np.int32))]
        other = getattr(parted, field)[parted.row_of(np.array([1, 2, 3], np.int32))]
        np.testing.assert_array_equal(mine, other, err_msg=field)


@pytest.mark.parametrize("name", NAMES)
def test_a_block_that_comes_twice_changes_nothing(name: str) -> None:
    r = awkward(5)
    once, twice = detector(name, limit_min=1.0), detector(name, limit_min=1.0)
    expected = once.feed(r, KEYS)
    assert told(twice.feed(r, KEYS)) == told(expected)
    assert twice.feed(r, KEYS) == []
    row = once.row_of(np.array([1], np.int32))
    np.testing.assert_array_equal(once._seen[row], twice._seen[row])


@pytest.mark.parametrize("name", NAMES)
def test_state_taken_up_by_another_goes_on_as_the_first(name: str) -> None:
    r = awkward(8)
    whole, first, second = (detector(name, limit_min=1.0) for _ in range(3))
    expected = whole.feed(r, KEYS)
    found = first.feed(some_readings(r, np.arange(150)), KEYS)
    second.load(first.snapshot())
    found += second.feed(some_readings(r, np.arange(150, 240)), KEYS)
    assert told(found) == told(expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_constant_blank_and_scaled_series_do_not_break_it(name: str, scale: float) -> None:
    assert detector(name).feed(regular(np.full(400, 7.0 * scale), 600), KEYS) == []
    v = waves(800, 2, 600) * scale
    v[::17] = np.nan
    assert detector(name).feed(regular(v, 600), KEYS) == []
    assert detector(name).feed(readings([]), KEYS) == []


def test_nothing_is_said_while_it_learns_and_an_episode_is_told_again_only_when_much_stronger() -> None:
    v = waves(2_000, 3, 300)
    early = jump(v, 500, 1, 100)
    assert detector("level", learn_s=5 * 86_400).feed(regular(early, 300), KEYS) == []
    grows = jump(jump(jump(v, 1_500, 1, 40), 1_510, 1, 45), 1_520, 1, 4_000)
    assert [d.phase for d in detector("level").feed(regular(grows, 300), KEYS)] == ["onset", "update", "clear"]


def test_an_episode_taken_up_after_a_restart_ends_after_its_hold_off() -> None:
    d = detector("level", hold_off_s=600)
    d.resume(alert(device=1), T0 - 100 * S, T0 - S)
    found = d.feed(regular(waves(10, 1, 300), 300), KEYS)
    assert [(x.phase, x.episode_us) for x in found] == [("clear", T0 - 100 * S)]


@pytest.mark.parametrize("wanted", [12.0, 100.0])
def test_the_wanted_number_of_alarms_is_about_what_comes(wanted: float) -> None:
    rng = np.random.default_rng(4)
    sensors, hours = 300, 24 * 365
    d = detector("level", alarms_per_year=wanted, limit_min=0.1, hold_off_s=0, memory_s=30 * 86_400)
    row, first = d.row_of(np.arange(1, sensors + 1, dtype=np.int32)), np.ones(sensors, bool)
    onsets = 0
    for hour in range(hours):
        time_us = np.full(sensors, T0 + hour * HOUR * S, np.int64)
        taken = d.take_in(Values(row, time_us, rng.normal(0, 1, sensors), time_us, first, None))
        assert taken is not None
        onsets += sum(x.phase == "onset" for x in taken.said if hour > 1_000)
    per_year = onsets / sensors * hours / (hours - 1_000)
    assert wanted / 4 < per_year < wanted * 4


# ---------------------------------------------------------------- the tail


def test_the_tail_of_an_exponential_law_is_its_quantile() -> None:
    q, mean, square = np.array([-np.log(SHARE)]), np.array([1.0]), np.array([2.0])
    assert tail_limit(q, mean, square, np.array([1e-5]))[0] == pytest.approx(-np.log(1e-5), rel=1e-3)
    assert tail_limit(q, mean, square, np.array([0.5]))[0] == pytest.approx(q[0])


def test_the_quantile_follows_a_stationary_series() -> None:
    rng = np.random.default_rng(1)
    q = np.zeros(200)
    for seen in range(4_000):
        q = quantile_step(q, np.abs(rng.normal(size=200)), np.full(200, float(seen)))
    assert np.median(q) == pytest.approx(2.33, rel=0.06)


@pytest.mark.parametrize("seen", [60, 2_400, 2_449, 100_000])
def test_a_quantile_that_is_not_touched_has_fallen_as_if_it_were(seen: int) -> None:
    q = np.array([3.0])
    for n in range(100):
        left = fallen(np.array([3.0]), np.array([float(seen + n)]), np.array([n]))
        assert left[0] == pytest.approx(q[0], rel=1e-12)
        mixed = fallen(np.array([3.0, 1.0]), np.array([float(seen + n), 1e6]), np.array([n, 4]))
        assert mixed[0] == left[0], "whatever the age of those beside it"
        q = quantile_step(q, np.zeros(1), np.full(1, float(seen + n)))


def test_a_quantile_falls_on_when_its_count_of_values_is_full() -> None:
    full = np.array([float(np.float32(1 << 24))])
    assert fallen(np.ones(1), full, np.array([1_000])) == fallen(np.ones(1), full - 5e6, np.array([1_000]))


def test_a_memory_from_when_each_value_touched_the_quantile_is_taken_up() -> None:
    r = awkward(8)
    first, second = detector("level", limit_min=1.0), detector("level", limit_min=1.0)
    first.feed(r, KEYS)
    saved = first.snapshot()
    del saved["_since"]
    second.load(saved)
    taken = second.snapshot()
    np.testing.assert_array_equal(taken["_tail_q"], saved["_tail_q"])
    assert taken["_since"].tolist() == [0, 0, 0]


def test_excess_moments_match_the_naive_reference() -> None:
    excess = np.random.default_rng(2).exponential(2.0, 60)
    mean, square, count = np.zeros(1), np.zeros(1), np.zeros(1)
    for e in excess:
        mean, square, count = excess_step(mean, square, count, np.array([e]))
    assert mean[0] == pytest.approx(excess.mean())
    assert square[0] == pytest.approx((excess**2).mean())
