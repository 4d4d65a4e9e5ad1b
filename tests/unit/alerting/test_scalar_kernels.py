"""Each kernel's statistic against a naive reference, value by value, and what it is for."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from numpy.typing import NDArray

from alerting.detectors.city_clock import CityClock
from alerting.detectors.drift import Drift
from alerting.detectors.kernel import Judged, Kernel
from alerting.detectors.scalar import ScalarDetector
from alerting.detectors.season import Season
from alerting.detectors.steps import Steps
from alerting.detectors.threshold import Threshold
from alerting.detectors.values import Values
from alerting.dispatch.windows import Calendar
from domain.clock import to_us
from tests.unit.alerting.blocks import SMOKE, T0, TEMPERATURE, S, default_rule, readings
from tests.unit.alerting.test_scalar import KEYS, detector, regular, waves

DAY = 86_400


def judged(d: ScalarDetector[Any], time_us: int, value: float, device: int = 1) -> Judged:
    """The kernel's word on one value."""
    assert isinstance(d, Kernel)
    row, at = d.row_of(np.array([device], np.int32)), np.array([time_us], np.int64)
    steps = Steps(Values(row, at, np.array([value]), at, np.ones(1, bool), None))
    own = d.own(row)
    d.begin(own, steps)
    word: Judged = d.judge(own, steps)
    d.keep(own)
    return word


def statistics(d: ScalarDetector[Any], values: NDArray[Any], every_s: float, device: int = 1) -> list[float]:
    """The kernel's z of each value."""
    return [float(judged(d, T0 + round(i * every_s * S), v, device).z[0]) for i, v in enumerate(values.tolist())]


def test_level_matches_the_naive_reference() -> None:
    v = waves(300, 1, 600)
    v[200:203] += 50
    mean, dev, expected = v[0], 0.0, []
    for n, x in enumerate(v):
        expected.append(abs(x - mean) / dev if n >= 10 else math.nan)
        pull = np.clip(x - mean, -3 * dev, 3 * dev) if n >= 10 else x - mean
        rate = max(1 / (n + 1), min(0.5, 1 - math.exp(-(600 if n else 0) / DAY)))
        mean, dev = mean + rate * pull, dev + rate * (abs(pull) - dev)
    np.testing.assert_allclose(statistics(detector("level"), v, 600), expected, rtol=1e-6)


def test_change_matches_the_naive_reference() -> None:
    v = waves(200, 2, 600)
    size, expected = 0.0, [math.nan]
    for n, (last, x) in enumerate(pairwise(v)):
        jump = abs(x - last)
        expected.append(jump / size if n >= 10 else math.nan)
        rate = max(1 / (n + 1), 1 - math.exp(-600 / DAY))
        size += rate * (min(jump, 3 * size if n >= 10 else math.inf) - size)
    np.testing.assert_allclose(statistics(detector("change"), v, 600), expected, rtol=1e-6)


def test_change_does_not_compare_over_a_gap() -> None:
    r = readings([(1, SMOKE, T0 + i * 600 * S, 20.0 + i % 2) for i in range(50)] + [(1, SMOKE, T0 + DAY * S, 90.0)])
    assert detector("change").feed(r, KEYS) == []


def test_season_expects_the_time_of_day_of_the_kind_of_day() -> None:
    d = detector("season")
    assert isinstance(d, Season)
    zone = ZoneInfo("Asia/Shanghai")
    holiday = date(2023, 11, 29)  # a Wednesday that is not worked
    d.clock.use(Calendar(zone, {holiday: False}))
    start = to_us(datetime(2023, 11, 13, tzinfo=zone))
    expected: dict[int, float] = {}
    for hour in range(24 * 21):
        t = start + hour * 3600 * S
        local = datetime.fromtimestamp(t / S, UTC).astimezone(zone)
        quiet = local.weekday() >= 5 or local.date() == holiday
        value = (5.0 if quiet else 10.0) * (local.hour >= 8)
        expected[hour] = float(judged(d, t, value).expected[0])
    noon = 24 * 14 + 12
    assert expected[noon] == pytest.approx(10.0), "a Monday"
    assert expected[24 * 16 + 12] == pytest.approx(5.0), "the holiday is like a Sunday"
    assert expected[24 * 19 + 12] == pytest.approx(5.0), "a Saturday"
    assert expected[24 * 14 + 2] == pytest.approx(0.0)


def test_season_sees_what_level_does_not() -> None:
    v = waves(144 * 12, 3, 600)
    v[144 * 11 + 30 : 144 * 11 + 40] = v[144 * 11 + 110 : 144 * 11 + 120]  # the evening's values in the morning
    assert [x.phase for x in detector("season").feed(regular(v, 600), KEYS)][:1] == ["onset"]
    assert detector("level").feed(regular(v, 600), KEYS) == []


def test_drift_takes_the_temperature_out() -> None:
    rng = np.random.default_rng(1)
    hours = np.arange(24 * 60)
    warm = 25 + 6 * np.sin(hours / 24 * 2 * np.pi) + np.cumsum(rng.normal(0, 0.15, len(hours)))
    lean = 0.1 + 0.0015 * warm + rng.normal(0, 0.0004, len(hours))
    rows = [
        (1, metric, T0 + i * 3600 * S, float(column[i]))
        for i in hours.tolist()
        for metric, column in ((TEMPERATURE, warm), (SMOKE, lean))
    ]
    assert detector("drift").feed(readings(rows), KEYS) == []
    d = detector("drift")
    assert isinstance(d, Drift)
    d.feed(readings(rows), KEYS)
    _, _, covariance, variance = d._moments[0]
    assert covariance / variance == pytest.approx(0.0015, rel=0.1)
    creeps = lean + np.clip((hours - 24 * 40) / (24 * 10), 0, 1) * 0.01
    rows = [(r[0], r[1], r[2], float(creeps[i // 2]) if r[1] == SMOKE else r[3]) for i, r in enumerate(rows)]
    found = detector("drift").feed(readings(rows), KEYS)
    assert [x.phase for x in found][:1] == ["onset"]
    assert T0 + 24 * 40 * 3600 * S < found[0].at_us < T0 + 24 * 50 * 3600 * S


def test_drift_sums_match_the_naive_reference() -> None:
    v = np.random.default_rng(3).normal(0, 1, 24 * 20)
    v[300:] += 2
    mean = dev = up = down = 0.0
    expected = [math.nan]
    for n, x in enumerate(v[:-1].tolist()):
        mean = x if n == 0 else mean
        off, judged = x - mean, n >= 48
        z = min(4.0, max(-4.0, off / max(dev, 1e-300))) if judged else 0.0
        up, down = (max(0.0, up + z - 1), max(0.0, down - z - 1)) if judged else (0.0, 0.0)
        expected.append(max(up, down) if judged else math.nan)
        rate = max(1 / (n + 1), 1 - math.exp(-1 / 720))
        scale = max(dev, 1e-9 * abs(mean))
        pull = min(4 * scale, max(-4 * scale, off)) if judged else off
        mean, dev = mean + rate * pull, dev + rate * ((min(abs(off), 4 * scale) if judged else abs(off)) - dev)
    np.testing.assert_allclose(statistics(detector("drift", compensate=""), v, 3600), expected, rtol=1e-9)


def test_shape_speaks_only_where_shapes_repeat() -> None:
    noise = np.random.default_rng(4).normal(0, 1, 4_000)
    assert all(math.isnan(z) for z in statistics(detector("shape"), noise, 600)[1_000:])
    known = statistics(detector("shape"), waves(4_000, 5, 1_800), 1_800)
    assert sum(not math.isnan(z) for z in known[1_000:]) == 750, "one window in four values"


def test_drift_does_not_mind_when_the_first_temperature_comes() -> None:
    hours = np.arange(24 * 10)
    warm = 25 + 6 * np.sin(hours / 24 * 2 * np.pi)
    rows = [
        (1, metric, T0 + i * 3600 * S, float(column[i]))
        for i in hours.tolist()
        for metric, column in ((SMOKE, 0.1 + 0.0015 * warm), (TEMPERATURE, warm))
        if metric == SMOKE or i >= 30
    ]
    d = detector("drift")
    assert isinstance(d, Drift)
    d.feed(readings(rows), KEYS)
    _, mean, covariance, variance = d._moments[0]
    assert mean == pytest.approx(25, abs=3)
    assert 0 < covariance / variance < 0.002, "not the way from no temperature at all to the first"


def test_the_nearest_centre_matches_the_naive_reference() -> None:
    d = detector("shape")
    v = waves(1_600, 6, 1_800)
    statistics(d, v[:1_599], 1_800)
    centres, near = d._centres[0].copy(), float(d._near[0])  # type: ignore[attr-defined]
    window = v[1_584:1_600]
    mean, dev = float(d._mean[0]), float(d._dev[0])  # type: ignore[attr-defined]
    z = judged(d, T0 + 1_599 * 1_800 * S, float(v[1_599])).z[0]
    point = (window - window.mean()) / dev
    expected = math.sqrt(min(float(((c - point) ** 2).sum()) for c in centres) / near)
    assert z == pytest.approx(expected, rel=1e-6)
    assert mean > 0


def test_the_city_clock_agrees_with_the_calendar() -> None:
    calendar = Calendar(ZoneInfo("Asia/Kolkata"), {date(2023, 11, 15): False})
    clock, rng = CityClock(calendar), np.random.default_rng(7)
    times = T0 + rng.integers(0, 30 * DAY, 500) * S
    slot, holiday = clock.slots(times, 48)
    for t, s, h in zip(times.tolist(), slot.tolist(), holiday.tolist(), strict=True):
        moment = calendar.moment(t)
        assert (s, bool(h)) == (moment.minute // 30, not moment.workday)
    one, kind = clock.slots(times[:1], 48)
    assert (one[0], kind[0]) == (slot[0], holiday[0])


# ---------------------------------------------------------------- threshold: n of m, rate of rise


def hot(**more: Any) -> Threshold:
    return Threshold(default_rule("fire.temperature", **more))


def phases(d: Threshold, values: list[float], every_s: float = 1.0) -> list[tuple[str, int]]:
    r = readings([(1, TEMPERATURE, T0 + round(i * every_s * S), v) for i, v in enumerate(values)])
    return [(x.phase, (x.sampled_us - T0) // round(every_s * S)) for x in d.feed(r, {"temperature_c": TEMPERATURE})]


def test_n_of_m_asks_for_so_many_of_the_last_values() -> None:
    assert phases(hot(n=3, of=5), [61, 20, 61, 20, 20, 61, 20, 20, 20]) == []
    assert phases(hot(n=3, of=5), [61, 20, 61, 20, 61, 20, 50]) == [("onset", 4), ("clear", 5)]
    assert phases(hot(n=2, of=3, gap_s=5), [61, 61], every_s=10) == [], "a gap forgets"


@pytest.mark.parametrize("seed", range(5))
def test_n_of_m_matches_the_naive_reference(seed: int) -> None:
    values = np.random.default_rng(seed).choice([20.0, 50.0, 61.0], 60, p=[0.5, 0.1, 0.4]).tolist()
    active, expected = False, list[tuple[str, int]]()
    for i, v in enumerate(values):
        often = sum(x >= 60 for x in values[max(0, i - 4) : i + 1]) >= 3
        if not active and often:
            active, expected = True, [*expected, ("onset", i)]
        elif active and v <= 55:
            active, expected = False, [*expected, ("clear", i)]
    assert phases(hot(n=3, of=5, levels={3: 60}), values) == expected


def test_rate_of_rise_is_the_slope_per_minute() -> None:
    d = hot(rise_over_s=120, levels={3: 4}, clear=2)
    ramp = [20.0] * 30 + [20.0 + 5 * i / 6 for i in range(120)] + [120.0] * 120  # 5 a minute, one value in 10 s
    found = phases(d, ramp, 10)
    assert [p for p, _ in found if p != "update"] == ["onset", "clear"]
    assert 30 < found[0][1] < 60
    assert phases(hot(rise_over_s=120, levels={3: 6}, clear=2), ramp, 10) == []
    rates = hot(rise_over_s=120).rates(np.zeros(0, np.intp), np.zeros(0, np.int64), np.zeros(0))
    assert len(rates) == 0


def test_n_must_not_be_more_than_of() -> None:
    with pytest.raises(Exception, match="must not be more"):
        hot(n=3, of=2)
