"""Chains of biquads over many devices at once, as one matrix product per piece of a packet.

A filter of order two, y = (b0 + b1 z⁻¹ + b2 z⁻²)/(1 + a1 z⁻¹ + a2 z⁻²) x, has two numbers
of state (direct form II transposed). A tree of them is linear in its input and its
state, so over ``n`` samples outputs and new state are a fixed matrix times (samples,
state): one product for all devices instead of a loop over samples. The product is made
row by row of the batch, so a device's numbers do not depend on who else is in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.readings import Float32, Float64

PIECE = 40
"""Samples per matrix step: the work per sample grows with it, the calls shrink."""
INPUT = -1
"""A node's parent: the input itself."""


@dataclass(frozen=True)
class Biquad:
    """One filter of order two, normalised to a0 = 1, fed by node ``parent``."""

    b: tuple[float, float, float]
    a: tuple[float, float]
    parent: int = INPUT


def biquad(b: Sequence[float], a: Sequence[float], parent: int = INPUT) -> Biquad:
    """From coefficients with any a0."""
    return Biquad((b[0] / a[0], b[1] / a[0], b[2] / a[0]), (a[1] / a[0], a[2] / a[0]), parent)


def low_pass(rate_hz: float, corner_hz: float, parent: int = INPUT, damping: float = math.sqrt(0.5)) -> Biquad:
    """Low-pass of order two by the bilinear transform; √½ damping is Butterworth's."""
    k = math.tan(math.pi * corner_hz / rate_hz)
    a0 = 1 + 2 * damping * k + k * k
    return biquad((k * k, 2 * k * k, k * k), (a0, 2 * (k * k - 1), 1 - 2 * damping * k + k * k), parent)


def high_pass(rate_hz: float, corner_hz: float, parent: int = INPUT) -> Biquad:
    """Butterworth high-pass of order two by the bilinear transform."""
    k = math.tan(math.pi * corner_hz / rate_hz)
    a0 = 1 + math.sqrt(2) * k + k * k
    return biquad((1, -2, 1), (a0, 2 * (k * k - 1), 1 - math.sqrt(2) * k + k * k), parent)


def velocity(rate_hz: float, corner_hz: float, parent: int = INPUT) -> Biquad:
    """Integral behind that high-pass, Al-Alaoui's rule; see ``velocity.py``."""
    high = high_pass(rate_hz, corner_hz)
    gain = high.b[0] / (8 * rate_hz)
    return Biquad((7 * gain, -6 * gain, -gain), high.a, parent)


class BiquadTree:
    """Biquads fed by the input or by each other; some of them are outputs."""

    def __init__(self, nodes: Sequence[Biquad], outputs: Sequence[int]) -> None:
        assert all(node.parent < number for number, node in enumerate(nodes)), "parents come first"
        self.nodes, self.outputs = tuple(nodes), tuple(outputs)
        self.order = 2 * len(self.nodes)
        self._matrices: dict[int, Float32] = {}

    def run(self, x: Float32, state: Float32) -> tuple[Float32, Float32]:
        """Filter ``x (k, 3, m)`` from ``state (k, 3, order)``: outputs ``(k, 3, outputs, m)``, new state."""
        m, many = x.shape[2], len(self.outputs)
        out: Float32 = np.empty((*x.shape[:2], many, m), np.float32)
        for piece in np.array_split(np.arange(m), -(-m // PIECE)):
            n, a = len(piece), int(piece[0])
            got = np.concatenate([x[:, :, a : a + n], state], axis=2) @ self._matrix(n)
            out[:, :, :, a : a + n] = got[:, :, : many * n].reshape(*x.shape[:2], many, n)
            state = got[:, :, many * n :]
        return out, state

    def _matrix(self, n: int) -> Float32:
        """``(n + order, outputs·n + order)``: rows are samples and state, columns outputs and new state."""
        if n not in self._matrices:
            self._matrices[n] = self.matrix(n).astype(np.float32)
        return self._matrices[n]

    def matrix(self, n: int) -> Float64:
        """See ``_matrix``; in double precision."""
        basis: NDArray[np.float64] = np.eye(n + self.order)
        s = [basis[:, n + i].copy() for i in range(self.order)]
        y = np.zeros((len(self.outputs), n, n + self.order))
        for i in range(n):
            at: list[Float64] = []
            for number, node in enumerate(self.nodes):
                x = basis[:, i] if node.parent == INPUT else at[node.parent]
                now = node.b[0] * x + s[2 * number]
                s[2 * number] = node.b[1] * x - node.a[0] * now + s[2 * number + 1]
                s[2 * number + 1] = node.b[2] * x - node.a[1] * now
                at.append(now)
            for k, number in enumerate(self.outputs):
                y[k, i] = at[number]
        return np.concatenate([y.reshape(-1, n + self.order), np.stack(s)]).T
