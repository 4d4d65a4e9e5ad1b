"""Acceleration to velocity, packet by packet, and the frequency of a peak.

Velocity is the integral of acceleration behind a causal second-order
Butterworth high-pass (default corner 1 Hz, so the band is 1 Hz to about 0.4 of
the sampling rate; DIN 45669 asks for 1 to 80 Hz, which needs 200 Hz). The
integrator is Al-Alaoui's (3/4 rectangle, 1/4 trapezoid; Al-Alaoui 1993): within
2 % of 1/ω up to 0.78 of the Nyquist frequency, where the trapezoid alone loses a third
at 30 Hz and 100 samples/s. The pole of the integrator cancels a zero of the
high-pass, so both together are one biquad with no gain at zero frequency:

    H(z) = T/8 · g · (7 - 6 z⁻¹ - z⁻²) / (1 + a1 z⁻¹ + a2 z⁻²)

Known crudeness: peaks between samples are not interpolated; at fewer than five
samples a period a peak may read a few per cent low.
"""

from __future__ import annotations

import math

import numpy as np

from domain.readings import Bool, Float64

CHUNK = 64
"""Samples per matrix step: the work per sample grows with it, the calls shrink."""


class VelocityFilter:
    """The biquad for one sampling rate as matrices over ``CHUNK`` samples.

    With state ``s (2,)`` (direct form II transposed) an input of ``m`` samples
    gives ``y = T x + C s`` and ``s' = A s + B x``: one matrix product for all
    devices instead of a loop over samples.
    """

    def __init__(self, rate_hz: float, corner_hz: float) -> None:
        k = math.tan(math.pi * corner_hz / rate_hz)
        norm = 1 / (1 + math.sqrt(2) * k + k * k)
        self.b = np.array([7.0, -6.0, -1.0]) * norm / (8 * rate_hz)
        self.a = np.array([2 * (k * k - 1) * norm, (1 - math.sqrt(2) * k + k * k) * norm])
        self._matrices: dict[int, Float64] = {}

    def run(self, x: Float64, state: Float64) -> tuple[Float64, Float64]:
        """Filter ``x (k, 3, m)`` from ``state (k, 3, 2)``; returns output and new state."""
        parts = []
        for start in range(0, x.shape[2], CHUNK):
            piece = x[:, :, start : start + CHUNK]
            n = piece.shape[2]
            out = np.concatenate([piece, state], axis=2) @ self._matrix(n)
            parts.append(out[:, :, :n])
            state = out[:, :, n:]
        return (parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)), state

    def _matrix(self, n: int) -> Float64:
        """``(n + 2, n + 2)``: rows are inputs (samples, then state), columns outputs and new state."""
        if n not in self._matrices:
            basis = np.eye(n + 2)
            y = np.zeros((n + 2, n))
            s1, s2 = basis[:, n].copy(), basis[:, n + 1].copy()
            for i in range(n):
                x = basis[:, i]
                y[:, i] = self.b[0] * x + s1
                s1, s2 = self.b[1] * x - self.a[0] * y[:, i] + s2, self.b[2] * x - self.a[1] * y[:, i]
            whole = np.concatenate([y, s1[:, None], s2[:, None]], axis=1)
            self._matrices[n] = whole
        return self._matrices[n]


def peak_frequency(v: Float64, peak: np.ndarray[tuple[int], np.dtype[np.intp]], rate_hz: float) -> Float64:
    """Frequency in Hz around sample ``peak (c,)`` of ``v (c, m)``, from zero crossings.

    Up to two crossings on each side of the peak (three half-periods) are used;
    with a crossing on one side only, the quarter period from the peak to it; NaN
    when there is none (then the wave is slower than the packet is long).
    GB 50868-2013 defines it likewise: 1/T0 around the peak.
    """
    crossing: Bool = (v[:, :-1] >= 0) != (v[:, 1:] >= 0)
    step = v[:, :-1] - v[:, 1:]
    where = np.arange(v.shape[1] - 1) + np.where(crossing, v[:, :-1] / np.where(step == 0, 1, step), 0)
    before = np.where(crossing & (where <= peak[:, None]), where, -np.inf)
    after = np.where(crossing & (where > peak[:, None]), where, np.inf)
    if v.shape[1] < 3:  # fewer than two steps: pad to two candidates a side
        none = np.full((len(v), 2), np.inf)
        before, after = np.concatenate([-none, before], axis=1), np.concatenate([after, none], axis=1)
    left, right = np.partition(before, -2, axis=1)[:, -2:], np.partition(after, 1, axis=1)[:, :2]
    inner = np.isfinite(left[:, 1]) & np.isfinite(right[:, 0])
    far_left, far_right = np.isfinite(left[:, 0]), np.isfinite(right[:, 1])
    with np.errstate(invalid="ignore", divide="ignore"):
        span = np.where(far_right, right[:, 1], right[:, 0]) - np.where(far_left, left[:, 0], left[:, 1])
        halves = 1 + far_left.astype(int) + far_right
        quarter = np.where(np.isfinite(left[:, 1]), peak - left[:, 1], right[:, 0] - peak)
        freq = np.where(inner, halves * rate_hz / (2 * span), rate_hz / (4 * np.maximum(quarter, 0.5)))
    return np.where(np.isfinite(left[:, 1]) | np.isfinite(right[:, 0]), freq, np.nan)
