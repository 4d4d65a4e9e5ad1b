"""What sensors feel, as functions of time: pure, and cut anywhere the samples are the same.

A *wave* has ``at(t)``: seconds since the run's start, ``float64[n]``, to
acceleration ``float64[3, n]`` (x, y horizontal, z up) in m/s². Waves add. Ambient
noise alone is drawn packet by packet from the device's own generator.

Crude on purpose: a wave train is an envelope over a few sines, not a source
model; it has arrivals, durations, frequencies and peak values of the right size
(``../shared/reference/detection.md``, A4 and A5), which is all detectors look at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from domain.clock import US_PER_S
from domain.readings import Float64

P_KM_S = 6.0
S_KM_S = 3.5
AMBIENT_NIGHT_M_S2 = 0.0025
"""Rms of a quiet house on a MEMS sensor, sensor noise included."""
AMBIENT_DAY_FACTOR = 1.5
CITY_UTC_OFFSET_S = 8 * 3600
DAY_S = 86_400


class Wave(Protocol):
    """Ground or house motion that began somewhere in time."""

    def at(self, t: Float64) -> Float64:
        """Acceleration ``(3, n)`` in m/s² at ``t (n,)``, seconds since the run's start."""
        ...


def hour_of_day(time_us: int) -> float:
    """Local hour in the city, 0..24."""
    return (time_us / US_PER_S + CITY_UTC_OFFSET_S) % DAY_S / 3600.0


def ambient_rms(time_us: int) -> float:
    """Ambient rms in m/s²: lowest at 03:00, highest at 15:00."""
    day = 0.5 - 0.5 * math.cos((hour_of_day(time_us) - 3.0) / 24.0 * 2 * math.pi)
    return AMBIENT_NIGHT_M_S2 * (1.0 + (AMBIENT_DAY_FACTOR - 1.0) * day)


def ambient(rng: np.random.Generator, n: int, rms_m_s2: float) -> Float64:
    """White building noise ``(3, n)`` in m/s²."""
    return rng.standard_normal((3, n)) * rms_m_s2


def total(waves: Sequence[Wave], t: Float64) -> Float64:
    """The sum of all waves at ``t``, ``(3, n)``."""
    motion = np.zeros((3, len(t)))
    for wave in waves:
        motion += wave.at(t)
    return motion


def ppv_to_m_s2(ppv_mm_s: float, freq_hz: float) -> float:
    """Acceleration amplitude of a sine of this velocity amplitude."""
    return 2 * math.pi * freq_hz * ppv_mm_s / 1000.0


@dataclass(frozen=True)
class Footsteps:
    """Someone walks past: a short 12 Hz knock on the floor per step, mostly vertical."""

    start_s: float
    steps: int
    interval_s: float = 0.55
    peak_m_s2: float = 0.008

    def at(self, t: Float64) -> Float64:
        """See ``Wave``."""
        since = t[:, None] - (self.start_s + np.arange(self.steps) * self.interval_s)[None, :]
        alive = (since >= 0) & (since < 0.4)
        since = np.where(alive, since, 0.0)
        knocks = np.where(alive, np.exp(-since / 0.05) * np.sin(2 * np.pi * 12.0 * since), 0.0)
        motion: Float64 = np.array([0.3, 0.3, 1.0])[:, None] * (self.peak_m_s2 * knocks.sum(axis=1))
        return motion


@dataclass(frozen=True)
class TruckPass:
    """A truck passes in the street: some seconds of 8-16 Hz that swell and fade."""

    middle_s: float
    width_s: float = 6.0
    peak_m_s2: float = 0.004
    phase: float = 0.0

    def at(self, t: Float64) -> Float64:
        """See ``Wave``."""
        since = t - self.middle_s
        swell = self.peak_m_s2 * np.exp(-0.5 * (since / self.width_s) ** 2)
        rumble = np.sin(2 * np.pi * 8.3 * since + self.phase) + np.sin(2 * np.pi * 15.1 * since)
        motion: Float64 = np.array([0.5, 0.6, 1.0])[:, None] * (0.5 * swell * rumble)
        return motion


@dataclass(frozen=True)
class Piling:
    """Piling next door: a blow every ``interval_s``, each a burst that rings off in the house.

    ``ppv_mm_s`` is the peak velocity of the strongest axis (x); y and z feel
    ``share`` of it. The attack is smooth so that a high-pass does not ring.
    """

    start_s: float
    duration_s: float
    freq_hz: float
    ppv_mm_s: float
    interval_s: float = 1.4
    share: tuple[float, float, float] = (1.0, 0.7, 0.8)

    RING_S = 0.35
    ATTACK_S = 0.15

    def at(self, t: Float64) -> Float64:
        """See ``Wave``."""
        offset = t - self.start_s
        since = np.mod(offset, self.interval_s)
        envelope = np.sin(np.minimum(since / self.ATTACK_S, 1.0) * np.pi / 2) ** 2
        envelope *= np.exp(-np.maximum(since - self.ATTACK_S, 0.0) / self.RING_S)
        # Every blow that begins rings off in full: a cut would be a knock of its own.
        blows = math.floor(self.duration_s / self.interval_s)
        envelope[(offset < 0) | (offset >= blows * self.interval_s)] = 0.0
        swing = np.sin(2 * np.pi * self.freq_hz * (since - self.ATTACK_S))
        strength = ppv_to_m_s2(self.ppv_mm_s, self.freq_hz)
        motion: Float64 = np.array(self.share)[:, None] * (strength * envelope * swing)
        return motion


@dataclass(frozen=True)
class WaveTrain:
    """One phase of a quake at one place: it arrives, grows within ``rise_s`` and dies away.

    ``peak_m_s2 (x, y, z)``: about the largest acceleration of each axis.
    """

    arrival_s: float
    rise_s: float
    peak_m_s2: tuple[float, float, float]
    band_hz: tuple[float, float]
    seed: int

    SINES = 7

    @cached_property
    def sines(self) -> tuple[Float64, Float64]:
        """Frequencies ``(k,)`` and phases ``(3, k)``."""
        rng = np.random.default_rng(self.seed)
        return rng.uniform(*self.band_hz, self.SINES), rng.uniform(0, 2 * np.pi, (3, self.SINES))

    def at(self, t: Float64) -> Float64:
        """See ``Wave``."""
        since = np.maximum(t - self.arrival_s, 0.0) / self.rise_s
        envelope = since * np.exp(1.0 - since)
        if not envelope.any():
            return np.zeros((3, len(t)))
        freq, phase = self.sines
        angle = 2 * np.pi * freq[None, :, None] * t[None, None, :] + phase[:, :, None]
        # The sum of k random sines peaks near sqrt(2k) within a train.
        swing = np.sin(angle).sum(axis=1) / math.sqrt(2 * self.SINES) * 1.3
        motion: Float64 = np.array(self.peak_m_s2)[:, None] * envelope * swing
        return motion


@dataclass(frozen=True, slots=True)
class Quake:
    """An earthquake: where, when in the run, and how strong at a reference distance.

    ``pga_m_s2`` is the S waves' peak acceleration at ``REFERENCE_KM``; it falls with
    distance to the power 1.3 (geometrical spreading plus damping, crude).
    """

    lon: float
    lat: float
    depth_km: float
    origin_s: float
    pga_m_s2: float

    def moved_to(self, origin_s: float) -> Quake:
        """The same quake at another time of the run."""
        return replace(self, origin_s=origin_s)

    def hypocentral_km(self, lon: float, lat: float) -> float:
        """Distance from the focus to a point on the ground, km."""
        east = (lon - self.lon) * 111.195 * math.cos(math.radians((lat + self.lat) / 2))
        north = (lat - self.lat) * 111.195
        return math.sqrt(east * east + north * north + self.depth_km * self.depth_km)

    def arrivals_s(self, lon: float, lat: float) -> tuple[float, float]:
        """When P and S waves arrive there, seconds since the run's start."""
        distance = self.hypocentral_km(lon, lat)
        return self.origin_s + distance / P_KM_S, self.origin_s + distance / S_KM_S

    def pga_at(self, lon: float, lat: float) -> float:
        """Peak acceleration of the S waves there, m/s²."""
        return self.pga_m_s2 * math.pow(REFERENCE_KM / self.hypocentral_km(lon, lat), 1.3)

    def waves(self, lon: float, lat: float, site_factor: float, seed: int) -> tuple[Wave, Wave]:
        """P and S wave trains at a place; ``site_factor`` is the building's own amplification."""
        p_s, s_s = self.arrivals_s(lon, lat)
        peak = self.pga_at(lon, lat) * site_factor
        p_wave = WaveTrain(p_s, 1.5, (0.10 * peak, 0.10 * peak, 0.22 * peak), (3.0, 8.0), seed)
        s_wave = WaveTrain(s_s, 5.0, (peak, 0.9 * peak, 0.5 * peak), (1.2, 4.0), seed + 1)
        return p_wave, s_wave


REFERENCE_KM = 60.0


def daily_temperature_c(time_us: int, mean_c: float = 26.0, swing_c: float = 5.0) -> float:
    """Air temperature: lowest about 03:00, highest about 15:00."""
    return mean_c - swing_c * math.cos((hour_of_day(time_us) - 3.0) / 24.0 * 2 * math.pi)


def daily_tilt_deg(time_us: int, rest_deg: float, per_degree_c: float = 0.0015) -> float:
    """Tilt of a wall that follows the sun: ``rest_deg`` plus a little per degree of temperature."""
    return rest_deg + per_degree_c * (daily_temperature_c(time_us) - 26.0)


def daily_crack_mm(time_us: int, rest_mm: float, per_degree_c: float = -0.004) -> float:
    """Crack width: it closes a little when the wall warms."""
    return rest_mm + per_degree_c * (daily_temperature_c(time_us) - 26.0)


def smoke_ppm(since_ignition_s: float, out_after_s: float, clean_ppm: float = 20.0) -> float:
    """Smoke at a detector, ppm: growth with the square of time (a t² fire), then airing out.

    300 ppm, a first alarm, 30 s after ignition; at most 1,500 ppm.
    """
    if since_ignition_s <= 0:
        return clean_ppm
    grown = min(1500.0, 300.0 * (min(since_ignition_s, out_after_s) / 30.0) ** 2)
    airing = math.exp(-max(since_ignition_s - out_after_s, 0.0) / 25.0)
    return clean_ppm + grown * airing
