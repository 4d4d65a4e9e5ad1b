from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from domain.clock import to_us
from domain.readings import Float64
from simulators.signals import (
    Footsteps,
    Piling,
    Quake,
    TruckPass,
    Wave,
    WaveTrain,
    ambient,
    ambient_rms,
    daily_temperature_c,
    hour_of_day,
    smoke_ppm,
    total,
)

MIDNIGHT_US = to_us(datetime(2026, 11, 24, tzinfo=timezone(timedelta(hours=8))))
RATE_HZ = 100


def times(seconds: float) -> Float64:
    return np.arange(round(seconds * RATE_HZ)) / RATE_HZ


def ppv_mm_s(acceleration: Float64) -> float:
    """Peak velocity by trapezoid rule, mean taken off: good enough above 5 Hz."""
    steps = (acceleration[:, 1:] + acceleration[:, :-1]) / 2 / RATE_HZ
    velocity = np.cumsum(steps, axis=1)
    return float(np.abs(velocity - velocity.mean(axis=1, keepdims=True)).max() * 1000)


@pytest.mark.parametrize(
    "wave",
    [
        Footsteps(1.0, 8),
        TruckPass(4.0, 2.0, 0.004),
        Piling(1.3, 6.0, 14.0, 14.0),
        WaveTrain(2.0, 1.5, (0.1, 0.1, 0.05), (1.0, 4.0), 7),
    ],
)
def test_a_wave_is_the_same_however_it_is_cut(wave: Wave) -> None:
    t = times(10.0)
    pieces = [wave.at(piece) for piece in np.array_split(t, 13)]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), wave.at(t), atol=1e-15)


@pytest.mark.parametrize("freq_hz", [10.0, 14.0, 18.0, 25.0])
def test_piling_has_the_peak_velocity_it_names(freq_hz: float) -> None:
    motion = Piling(0.5, 7.0, freq_hz, 14.0).at(times(9.0))
    assert ppv_mm_s(motion) == pytest.approx(14.0, rel=0.2)


def test_piling_begins_and_ends_when_it_says() -> None:
    motion = Piling(2.0, 4.2, 14.0, 14.0, interval_s=1.4).at(times(10.0))
    felt = np.flatnonzero(np.abs(motion).max(axis=0) > 1e-9) / RATE_HZ
    assert 2.0 <= felt[0] < 2.1
    assert felt[-1] < 2.0 + 4.2


def test_a_quiet_house_stays_far_below_every_limit() -> None:
    rng = np.random.default_rng(1)
    noise = ambient(rng, 6000, ambient_rms(MIDNIGHT_US))
    motion = noise + total([Footsteps(5.0, 20), TruckPass(30.0)], times(60.0))
    short = np.sqrt(np.convolve((motion**2).max(axis=0), np.ones(100) / 100, "valid"))
    assert short.max() < 2.5 * float(noise.std())


def test_nights_are_quieter_and_cooler_than_afternoons() -> None:
    three_us, fifteen_us = MIDNIGHT_US + 3 * 3_600_000_000, MIDNIGHT_US + 15 * 3_600_000_000
    assert hour_of_day(three_us) == pytest.approx(3.0)
    assert ambient_rms(three_us) < ambient_rms(fifteen_us)
    assert daily_temperature_c(three_us) == pytest.approx(21.0)
    assert daily_temperature_c(fifteen_us) == pytest.approx(31.0)


def test_p_waves_come_before_s_waves_and_near_places_before_far_ones() -> None:
    quake = Quake(lon=114.05, lat=22.5, depth_km=10.0, origin_s=25.0, pga_m_s2=0.2)
    near, far = (114.1, 22.7), (113.6, 23.1)
    assert quake.hypocentral_km(*far) == pytest.approx(81.9, abs=1.0)
    p_near, s_near = quake.arrivals_s(*near)
    p_far, s_far = quake.arrivals_s(*far)
    assert 25.0 < p_near < s_near < s_far
    assert p_far - 25.0 == pytest.approx((s_far - 25.0) * 3.5 / 6.0)
    assert quake.pga_at(*near) > quake.pga_at(*far)


def test_nothing_is_felt_before_the_p_waves() -> None:
    quake = Quake(114.05, 22.5, 10.0, 5.0, 0.2)
    waves = quake.waves(113.75, 23.0, 1.0, 3)
    p_s, s_s = quake.arrivals_s(113.75, 23.0)
    t = times(60.0)
    motion = np.abs(total(waves, t)).max(axis=0)
    assert motion[t < p_s].max() == 0.0
    assert 0 < motion[(t > p_s) & (t < s_s)].max() < 0.5 * motion[t > s_s].max()


def test_smoke_rises_to_an_alarm_and_airs_out() -> None:
    levels = [smoke_ppm(s, 120.0) for s in (-5, 0, 30, 60, 120, 240)]
    assert levels[0] == levels[1] == 20.0
    assert levels[2] == pytest.approx(320.0)
    assert levels[3] > 1000 < levels[4]
    assert levels[5] < 40
