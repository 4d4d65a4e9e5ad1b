from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alerting.detectors.velocity import VelocityFilter, peak_frequency
from alerting.detectors.vibration_limit import VibrationLimit
from domain.alerts import Detection
from tests.unit.alerting.blocks import (
    FREQ,
    PPV,
    T0,
    S,
    cut,
    default_rule,
    devices,
    packets,
    readings,
    some,
    told,
)  # fmt: skip

RATES = (31.25, 100.0, 125.0, 200.0)


def limit(rule: dict[str, Any] | None = None, **device: Any) -> VibrationLimit:
    return VibrationLimit(default_rule("vibration.limit", **(rule or {})), devices(**device))


def shake(
    ppv_mm_s: float,
    freq_hz: float,
    rate_hz: float,
    seconds: float,
    *,
    begin: float = 3.0,
    end: float = 1e9,
    axis: int = 0,
) -> NDArray[Any]:
    """Acceleration (3, n) in m/s², gravity on z, a sine of this velocity on one axis from ``begin`` to ``end``."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    out = np.zeros((3, len(t)))
    out[2] = 9.81
    wave = 2 * np.pi * freq_hz * ppv_mm_s / 1000 * np.cos(2 * np.pi * freq_hz * (t - begin))
    ramp = np.clip((t - begin) / 0.3, 0, 1) * np.clip((end - t) / 0.3, 0, 1)
    out[axis] += wave * ramp
    return out


def filter_by_hand(f: VelocityFilter, x: NDArray[Any]) -> NDArray[Any]:
    """The naive reference: the difference equation, sample by sample."""
    y = np.zeros(len(x))
    for n in range(len(x)):
        y[n] = sum(f.b[k] * x[n - k] for k in range(3) if n >= k) - sum(
            f.a[k - 1] * y[n - k] for k in (1, 2) if n >= k
        )
    return y


@pytest.mark.parametrize("rate_hz", RATES)
def test_the_filter_matches_its_difference_equation_over_any_packets(rate_hz: float) -> None:
    f = VelocityFilter(rate_hz, 1.0)
    x = np.random.default_rng(1).normal(size=300)
    state, parts = np.zeros((1, 3, 2)), []
    for piece in np.split(x, [7, 8, 150]):
        y, state = f.run(np.broadcast_to(piece, (1, 3, len(piece))), state)
        parts.append(y[0, 1])
    np.testing.assert_allclose(np.concatenate(parts), filter_by_hand(f, x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("rate_hz", "freq_hz"),
    [
        (31.25, 3),
        (31.25, 8),
        (31.25, 12),
        (100, 5),
        (100, 30),
        (125, 30),
        (125, 45),
        (200, 5),
        (200, 30),
        (200, 75),
    ],
)
def test_velocity_of_a_sine_is_right_within_three_per_cent(rate_hz: float, freq_hz: float) -> None:
    f = VelocityFilter(rate_hz, 1.0)
    x = shake(10.0, freq_hz, rate_hz, 20)[0]
    y, _ = f.run(np.broadcast_to(x, (1, 3, len(x))), np.zeros((1, 3, 2)))
    rms = np.sqrt(np.mean((y[0, 0, len(x) // 2 :] * 1000) ** 2)) * np.sqrt(2)
    assert rms == pytest.approx(10.0, rel=0.03)


@pytest.mark.parametrize(
    ("freq_hz", "rate_hz"), [(2, 100), (8, 31.25), (30, 100), (30, 125), (40, 200), (60, 200)]
)
def test_the_frequency_around_the_peak_is_right(freq_hz: float, rate_hz: float) -> None:
    t = np.arange(round(1.5 * rate_hz)) / rate_hz
    v = np.exp(-(((t - 0.7) * 3) ** 2)) * np.sin(2 * np.pi * freq_hz * t + 0.4)
    peak = np.abs(v).argmax()
    assert peak_frequency(v[None], np.array([peak]), rate_hz)[0] == pytest.approx(freq_hz, rel=0.06)


def test_no_crossing_means_no_frequency_and_one_means_a_quarter() -> None:
    assert np.isnan(peak_frequency(np.array([[1.0, 2.0, 1.0]]), np.array([1]), 100.0)[0])
    ramp = np.array([[4.0, 3.0, 2.0, 1.0, 0.0, -1.0]])
    assert peak_frequency(ramp, np.array([0]), 100.0)[0] == pytest.approx(100 / (4 * 4), rel=0.3)


@pytest.mark.parametrize("rate_hz", RATES)
def test_gravity_and_noise_raise_nothing(rate_hz: float) -> None:
    signal = np.random.default_rng(2).normal(scale=0.01, size=(3, round(60 * rate_hz)))
    signal[2] += 9.81
    assert limit(building_class="sensitive").feed_waveforms(cut(signal, rate_hz, 32)) == []


@pytest.mark.parametrize(
    ("rate_hz", "freq_hz", "bound"), [(100, 5, 5.0), (125, 30, 10.0), (200, 30, 10.0), (31.25, 5, 5.0)]
)
def test_a_house_over_its_limit_by_frequency(rate_hz: float, freq_hz: float, bound: float) -> None:
    n = round(rate_hz)
    quiet = limit().feed_waveforms(cut(shake(bound * 0.9, freq_hz, rate_hz, 10), rate_hz, n))
    assert quiet == [], "90 % of the limit"
    found = limit().feed_waveforms(cut(shake(bound * 1.15, freq_hz, rate_hz, 10), rate_hz, n))
    (onset,) = [d for d in found if d.phase == "onset"]
    assert onset.severity == 2
    assert onset.limit == pytest.approx(bound, rel=0.06)
    assert found[-1].value == pytest.approx(bound * 1.15, rel=0.05)
    assert found[-1].features["axis"] == "x"
    assert T0 + 3 * S <= onset.at_us <= onset.sampled_us <= T0 + 5 * S


def test_three_times_the_limit_is_red_and_it_clears_after_ten_quiet_seconds() -> None:
    w = cut(shake(17.0, 5, 100, 30, end=6.0), 100, 100)
    found = limit().feed_waveforms(w)
    assert found[0].phase == "onset"
    assert min(d.severity for d in found) == 1
    clear = found[-1]
    assert (clear.phase, clear.severity) == ("clear", 1)
    assert clear.value == pytest.approx(17.0, rel=0.03), "the worst of the episode"
    assert T0 + 15 * S <= clear.at_us <= T0 + 17 * S
    assert {d.episode_us for d in found} == {found[0].at_us}


def test_the_top_floor_counts_horizontal_components_only() -> None:
    up = cut(shake(20.0, 5, 100, 10, axis=2), 100, 100)
    assert limit(mount="top_floor").feed_waveforms(up) == []
    across = cut(shake(20.0, 5, 100, 10, axis=1), 100, 100)
    found = limit(mount="top_floor").feed_waveforms(across)
    assert found[0].limit == 15
    assert found[-1].features["axis"] == "y"


def test_self_built_houses_warn_at_seventy_per_cent_when_the_rule_says_so() -> None:
    w = cut(shake(4.0, 5, 100, 10), 100, 100)
    assert limit().feed_waveforms(w) == []
    assert {d.severity for d in limit({"self_built": True}).feed_waveforms(w)} == {3}


def test_packets_in_mm_s_are_taken_as_they_are_from_the_first() -> None:
    v = np.zeros((1, 3, 100))
    v[0, 1] = 6.0 * np.sin(2 * np.pi * 5 * np.arange(100) / 100)
    (onset,) = limit().feed_waveforms(packets([1], [T0], v, 100.0, "mm/s"))
    assert (onset.limit, onset.features["axis"]) == (5.0, "y")
    assert onset.value == pytest.approx(6.0, rel=0.01)


def test_a_gap_resets_the_filter_so_a_new_offset_is_no_shock() -> None:
    still = np.zeros((2, 3, 100))
    still[0, 2], still[1, 2] = 9.81, -9.81  # somebody turned the box while it was off
    assert limit().feed_waveforms(packets([1, 1], [T0, T0 + 60 * S], still, 100.0)) == []


def test_late_and_repeated_packets_say_nothing() -> None:
    w = cut(shake(17.0, 5, 100, 10), 100, 100)
    detector = limit()
    assert detector.feed_waveforms(w)
    assert detector.feed_waveforms(w) == []


def ppv(*points: tuple[float, float, float | None]) -> Any:
    rows = []
    for s, value, freq in points:
        rows.append((1, PPV, T0 + round(s * S), value))
        if freq is not None:
            rows.append((1, FREQ, T0 + round(s * S), freq))
    return readings(rows)


def scalar(detector: VibrationLimit, r: Any) -> list[tuple[str, int, float]]:
    return [(d.phase, d.severity, d.limit) for d in detector.feed_readings(r, PPV, FREQ)]


def test_a_device_that_computes_ppv_itself() -> None:
    assert scalar(limit(), ppv((0, 6.1, None))) == [("onset", 2, 5.0)], (
        "strictest of its class without a frequency"
    )
    assert scalar(limit(), ppv((0, 6.1, 30.0))) == [], "10 mm/s at 30 Hz"
    assert scalar(limit(), ppv((0, 12.0, 30.0), (1, 31.0, 30.0))) == [("onset", 2, 10.0), ("update", 1, 10.0)]
    quiet = ppv((0, 6.0, None), (1, 1.0, None), (9, 1.0, None), (10, 1.0, None))
    assert scalar(limit(), quiet) == [("onset", 2, 5.0), ("clear", 2, 5.0)]
    assert scalar(limit(building_class="sensitive"), ppv((0, 3.1, None))) == [("onset", 2, 3.0)]


def test_a_restored_episode_ends() -> None:
    detector = limit()
    detector.restore(1, T0, T0 + S, severity=2, value=6.0, limit=5.0)
    (clear,) = detector.feed_readings(ppv((1, 9.0, None), (12, 0.1, None)), PPV, FREQ)
    assert (clear.phase, clear.episode_us, clear.value) == ("clear", T0, 6.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=5), st.integers(0, 1000))
def test_a_stream_equals_its_blocks(cuts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    w = [
        cut(shake(float(rng.uniform(3, 20)), 6, 100, 20, begin=4, end=8), 100, 100, device=d)
        for d in (1, 2, 3)
    ]
    order = rng.permutation(np.repeat([0, 1, 2], 20))
    nth = [int((order[:i] == d).sum()) for i, d in enumerate(order)]
    mixed = packets(
        [int(d) + 1 for d in order], [int(w[d].start_us[i]) for d, i in zip(order, nth, strict=True)],
        np.stack([w[d].samples[i] for d, i in zip(order, nth, strict=True)]), 100.0,
    )  # fmt: skip
    whole = limit().feed_waveforms(mixed)
    detector, parts = limit(), list[Detection]()
    for take in np.split(np.arange(60), sorted(cuts)):
        parts += detector.feed_waveforms(some(mixed, take))
    assert whole
    assert told(parts) == told(whole)
