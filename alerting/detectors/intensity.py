"""Instrument intensity: GB/T 17742-2020 Annex A (China) and JMA (Japan, FFT and real-time form).

China: band-pass 0.1-10 Hz, largest vector sum of the three components, PGA in m/s²,
PGV in m/s; (A.5) I_A = 3.17 lg PGA + 6.59, (A.6) I_V = 3.00 lg PGV + 9.77, (A.7) I = I_V
if both are at least 6.0, else their mean; within 1.0 to 12.0.

Japan: each component filtered in the frequency domain (period effect, high cut, low
cut), a0 = the largest level that the vector sum in gal exceeds for 0.3 s in total,
I = 2 lg a0 + 0.94, rounded at the third decimal and cut to one. The real-time form
(Kunugi and others 2013) makes the same filter of six biquads. Stages 4 to 6 are stable
only while ω/rate < √6, and ring near that; so a stage is used when ω/rate is
below 0.9 √6: all six from 85.5 samples/s on, three at 31.25. What the missing stages
would have cut is cut by one low-pass (bilinear, always stable) fitted to the JMA filter
up to 10 Hz or 0.26 of the rate: at 31.25 samples/s the amplitude is then within 2 % up to
8 Hz, where the three stages alone are 11 % too high.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from alerting.detectors.biquads import INPUT, Biquad, BiquadTree, biquad, high_pass, low_pass, velocity
from domain.readings import Float32, Float64

BAND_HZ = (0.1, 10.0)
EXCEEDED_S = 0.3
GAIN = 1.262
F0, F1, F2, F3, F4, F5 = 0.45, 7.0, 0.5, 12.0, 20.0, 30.0
H2A, H2B, H3, H4, H5 = 1.0, 0.75, 0.9, 0.6, 0.6
STAGES = 6
STABLE = 0.9 * math.sqrt(6)
JMA_CLASSES = ((0.5, "0"), (1.5, "1"), (2.5, "2"), (3.5, "3"), (4.5, "4"), (5.0, "5-"), (5.5, "5+"), (6.0, "6-"),
               (6.5, "6+"))  # fmt: skip


def gbt17742(pga_m_s2: Float64 | Float32, pgv_m_s: Float64 | Float32) -> Float64:
    """GB/T 17742-2020 intensity ``(n,)``, one decimal, of PGA and PGV in the band 0.1-10 Hz."""
    by_a = 3.17 * np.log10(np.maximum(pga_m_s2, 1e-12, dtype=np.float64)) + 6.59
    by_v = 3.00 * np.log10(np.maximum(pgv_m_s, 1e-12, dtype=np.float64)) + 9.77
    both = np.where((by_a >= 6.0) & (by_v >= 6.0), by_v, (by_a + by_v) / 2)
    return np.asarray(np.round(np.clip(both, 1.0, 12.0), 1))


def jma_of_level(a0_gal: Float64) -> Float64:
    """JMA intensity ``(n,)`` of the level exceeded for 0.3 s; rounded at the 3rd decimal, cut to one."""
    raw = 2 * np.log10(np.maximum(a0_gal, 1e-12)) + 0.94
    return np.asarray(np.floor(np.round(raw, 2) * 10 + 1e-6) / 10)


def jma_class(intensity: float) -> str:
    """The class of a JMA intensity: 0 to 4, 5-, 5+, 6-, 6+, 7."""
    return next((name for below, name in JMA_CLASSES if intensity < below), "7")


def samples_exceeded(rate_hz: float) -> int:
    """How many samples make the 0.3 s."""
    return max(1, round(EXCEEDED_S * rate_hz))


def jma_filter(freq_hz: Float64) -> Float64:
    """Amplitude of the JMA filter at ``freq_hz``; 0 at 0 Hz."""
    f = np.maximum(np.asarray(freq_hz, float), 1e-9)
    x = f / 10
    powers = (0.694, 0.241, 0.0557, 0.009664, 0.00134, 0.000155)
    high = 1 / np.sqrt(1 + sum(c * x ** (2 * (i + 1)) for i, c in enumerate(powers)))
    low = np.sqrt(-np.expm1(-((f / 0.5) ** 3)))
    return np.asarray(np.where(freq_hz > 0, np.sqrt(1 / f) * high * low, 0.0))


def jma_fft_level(x_gal: Float64, rate_hz: float) -> float:
    """a0 in gal of one record ``(3, n)``, by the FFT form over the whole record."""
    n = x_gal.shape[1]
    about = x_gal - x_gal.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(about, axis=1) * jma_filter(np.asarray(np.fft.rfftfreq(n, 1 / rate_hz), np.float64))
    vector = np.sqrt((np.fft.irfft(spectrum, n, axis=1) ** 2).sum(axis=0))
    count = samples_exceeded(rate_hz)
    return float(np.partition(vector, n - count)[n - count])


def kunugi_stages(rate_hz: float) -> list[Biquad]:
    """The real-time filter's stages that are stable at this rate, each fed by the one before; see the module."""
    d, w = rate_hz, [2 * math.pi * f for f in (F0, F1, F2, F3, F4, F5)]
    w0, w1, w2 = w[0], w[1], w[2]
    stages = [
        ((4 * d * d + 2 * w1 * d, -8 * d * d, 4 * d * d - 2 * w1 * d),
         (8 * d * d + (4 * w0 + 2 * w1) * d + w0 * w1, 2 * w0 * w1 - 16 * d * d,
          8 * d * d - (4 * w0 + 2 * w1) * d + w0 * w1)),
        ((4 * d * d + 8.5 * w1 * d + w1 * w1, 2 * w1 * w1 - 8 * d * d, 4 * d * d - 8.5 * w1 * d + w1 * w1),
         (16 * d * d + 17 * w1 * d + w1 * w1, 2 * w1 * w1 - 32 * d * d, 16 * d * d - 17 * w1 * d + w1 * w1)),
        (_resonance(d, w2, H2A), _resonance(d, w2, H2B)),
    ]  # fmt: skip
    for damping, omega in zip((H3, H4, H5), w[3:], strict=True):
        if omega / rate_hz < STABLE:
            top = (omega * omega, 10 * omega * omega, omega * omega)
            stages.append((top, _resonance(d, omega, damping)))
    last = len(stages) - 1
    chain = [
        biquad([GAIN * each for each in b] if i == last else b, a, i - 1 if i else INPUT)
        for i, (b, a) in enumerate(stages)
    ]
    return chain if len(chain) == STAGES else [*chain, _fitted(chain, rate_hz)]


def amplitude(chain: Sequence[Biquad], freq_hz: Float64, rate_hz: float) -> Float64:
    """Amplitude of biquads one after the other, at ``freq_hz``."""
    z = np.exp(-2j * np.pi * freq_hz / rate_hz)
    out = np.ones(len(freq_hz), complex)
    for each in chain:
        out *= (each.b[0] + each.b[1] * z + each.b[2] * z * z) / (1 + each.a[0] * z + each.a[1] * z * z)
    return np.abs(out)


def _fitted(chain: Sequence[Biquad], rate_hz: float) -> Biquad:
    """The low-pass behind ``chain`` that brings it nearest to the JMA filter; found by trying."""
    f = np.geomspace(0.2, min(10.0, 0.26 * rate_hz), 40)
    off = np.log(amplitude(chain, f, rate_hz) / jma_filter(f))

    def worst(low: Biquad) -> float:
        return float(np.abs(off + np.log(amplitude([low], f, rate_hz))).max())

    corners = rate_hz * np.linspace(0.2, 0.49, 59)
    tried = (low_pass(rate_hz, c, len(chain) - 1, h) for c in corners for h in np.linspace(0.4, 1.2, 33))
    return min(tried, key=worst)


def _resonance(d: float, w: float, h: float) -> tuple[float, float, float]:
    return 12 * d * d + 12 * h * w * d + w * w, 10 * w * w - 24 * d * d, 12 * d * d - 12 * h * w * d + w * w


def stages_used(rate_hz: float) -> int:
    """How many of the real-time form's six stages are stable at this rate."""
    return 3 + sum(2 * math.pi * f / rate_hz < STABLE for f in (F3, F4, F5))


def intensity_filters(rate_hz: float) -> BiquadTree:
    """Three outputs: JMA-filtered acceleration, acceleration 0.1-10 Hz, velocity 0.1-10 Hz.

    The band's upper end is a Butterworth low-pass of order four, left out where the
    rate does not reach it (10 Hz is beyond 0.45 of the rate).
    """
    nodes = kunugi_stages(rate_hz)
    jma, parent = len(nodes) - 1, INPUT
    if BAND_HZ[1] < 0.45 * rate_hz:
        for quarter in (math.pi / 8, 3 * math.pi / 8):
            nodes.append(low_pass(rate_hz, BAND_HZ[1], parent, damping=math.cos(quarter)))
            parent = len(nodes) - 1
    low = min(BAND_HZ[0], 0.1 * rate_hz)
    nodes += [high_pass(rate_hz, low, parent), velocity(rate_hz, low, parent)]
    return BiquadTree(nodes, (jma, len(nodes) - 2, len(nodes) - 1))
