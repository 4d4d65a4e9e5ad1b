"""What engineers ask of a stretch of shaking: PGA, RMS, crest factor, Arias intensity, dominant frequency.

Kernels: acceleration or velocity ``x (k, 3, m)`` about its rest in, one value per row
(or per axis) out. They are computed for packets in which something was noticed and
travel with the detection as evidence; association reads them there.

Arias intensity: π/(2g) ∫ a² dt, sum of the three axes (Arias 1970). Dominant frequency:
the peak of the power spectrum (Hann window, sum of the axes), its place between bins
by a parabola through the logarithms of three bins. Crest factor: largest deviation
over RMS, of the strongest axis.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from domain.readings import Float64

GAL = 100.0
"""gal in one m/s²."""
G_M_S2 = 9.80665


def pga(x: Float64) -> Float64:
    """Largest vector size, ``(k,)``, in the unit of ``x``."""
    return np.asarray(np.sqrt(np.einsum("kam,kam->km", x, x).max(axis=1)))


def rms(x: Float64) -> Float64:
    """Root mean square about the mean per axis, ``(k, 3)``."""
    return np.asarray(x.std(axis=2))


def crest(x: Float64) -> Float64:
    """Largest deviation from the mean over RMS, of the axis with the largest deviation, ``(k,)``."""
    about = x - x.mean(axis=2, keepdims=True)
    peak, root = np.abs(about).max(axis=2), rms(x)
    line, axis = np.arange(len(x)), peak.argmax(axis=1)
    return np.asarray(peak[line, axis] / np.maximum(root[line, axis], 1e-30))


def arias_m_s(x: Float64, rate_hz: float) -> Float64:
    """Arias intensity in m/s of acceleration in m/s², ``(k,)``."""
    energy = np.einsum("kam,kam->k", x, x) / rate_hz
    return np.asarray(math.pi / (2 * G_M_S2) * energy)


def peak_of_spectrum(power: Float64, first: int = 1) -> Float64:
    """Where each row of ``power (k, f)`` is largest from bin ``first`` on, in bins with a fraction."""
    inner = power[:, first:-1]
    at = inner.argmax(axis=1) + first
    line = np.arange(len(power))
    a, b, c = (np.log(np.maximum(power[line, at + d], 1e-300)) for d in (-1, 0, 1))
    bend = a - 2 * b + c
    shift = np.where(bend < 0, 0.5 * (a - c) / np.where(bend < 0, bend, -1), 0.0)
    return np.asarray(at + np.clip(shift, -0.5, 0.5))


def dominant_hz(x: Float64, rate_hz: float) -> Float64:
    """Dominant frequency in Hz, ``(k,)``; NaN where nothing moves or there are fewer than 8 samples."""
    m = x.shape[2]
    if m < 8:
        return np.full(len(x), np.nan)
    about = (x - x.mean(axis=2, keepdims=True)) * np.hanning(m)
    power = (np.abs(np.fft.rfft(about, n=2 * m, axis=2)) ** 2).sum(axis=1)
    found = peak_of_spectrum(power, first=2) * rate_hz / (2 * m)
    return np.where(power.sum(axis=1) > 0, found, np.nan)


def described(x: Float64, rate_hz: float) -> list[dict[str, Any]]:
    """The features of stretches of acceleration ``(k, 3, m)`` in m/s², one dict a row, for detections' evidence."""
    if len(x) == 0:
        return []
    columns = (
        pga(x) * GAL, np.sqrt((rms(x) ** 2).sum(axis=1)) * GAL, crest(x), arias_m_s(x, rate_hz),
        dominant_hz(x, rate_hz),
    )  # fmt: skip
    return [
        {
            "pga_gal": round(peak, 3), "rms_gal": round(root, 4), "crest": round(ratio, 2),
            "arias_m_s": float(f"{arias:.3g}"), "dominant_hz": round(hz, 2) if math.isfinite(hz) else None,
        }
        for peak, root, ratio, arias, hz in zip(*(column.tolist() for column in columns), strict=True)
    ]  # fmt: skip
