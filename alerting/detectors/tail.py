"""The far tail of a statistic, for many sensors at once: the value it passes so many times a year, and no oftener.

Siffer, Fouque, Termier and Largouët, "Anomaly Detection in Streams with Extreme
Value Theory" (KDD 2017): what passes a high quantile follows a generalised Pareto
law; here its two parameters come from the mean and the spread of the excesses
(Hosking and Wallis, Technometrics 29, 1987), kept as exponentially weighted sums
instead of a list, and the quantile by a stochastic step (Robbins and Monro 1951),
so that a sensor costs four numbers. Crude for fewer than some hundred values:
until then the prior speaks.
"""

from __future__ import annotations

import numpy as np

from domain.readings import Float64, Int64

SHARE = 0.02
"""The share of values beyond the quantile at which the tail begins."""
WARM = 50
"""Values from which the first quantile is taken (their largest)."""
STEP = 0.02
PRIOR_EXCESS = 0.5
PRIOR_COUNT = 4.0
FORGET = 0.01
SHAPE_MAX = 0.4
YEAR_S = 365.25 * 86_400
SETTLED = round((1.0 / STEP - 1.0) / SHARE)
"""Values from which a step has its final size."""
_STEPS = np.concatenate([[0.0], np.cumsum(1.0 / (1.0 + SHARE * np.arange(SETTLED)))])
"""The sum of the first steps' sizes."""


def tail_limit(q: Float64, mean: Float64, square: Float64, share: Float64) -> Float64:
    """The value passed by ``share`` of all values ``(n,)``; ``mean``, ``square``: of the excesses over ``q``."""
    spread = np.maximum(square - mean * mean, 1e-12)
    shape = np.clip(0.5 * (1.0 - mean * mean / spread), 1e-6, SHAPE_MAX)
    scale = mean * (1.0 - shape)
    grown = np.maximum(SHARE / share, 1.0)
    return np.asarray(q + scale / shape * (grown**shape - 1.0))


def quantile_step(q: Float64, z: Float64, seen: Float64) -> Float64:
    """The quantile after one more value ``z`` each; ``seen``: values before it."""
    warm = seen < WARM
    over = z > q
    step = np.maximum(STEP, 1.0 / (1.0 + SHARE * seen))
    moved = q * np.exp(step * np.where(over, 1.0, -SHARE / (1.0 - SHARE)))
    # A step up never passes the value that caused it; a quantile of 0 has no steps and takes the value.
    moved = np.where(over, np.where(q > 0, np.minimum(moved, z), z), moved)
    return np.where(warm, np.maximum(q, z), moved)


def fallen(q: Float64, seen: Float64, since: Float64 | Int64) -> Float64:
    """What is left of a quantile after the ``since`` values before value number ``seen``, which it was not below.

    Each value that it is not below lowers it by the same share, but for a young series. So it
    need not be touched with each: how many there were since says where it is.
    """
    first = seen - since
    if not len(first) or first.min() >= SETTLED:
        steps = STEP * (seen - first)
    elif seen.max() <= SETTLED:
        steps = _STEPS[seen.astype(np.intp)] - _STEPS[first.astype(np.intp)]
    else:
        young = [_STEPS[np.minimum(n, SETTLED).astype(np.intp)] for n in (seen, first)]
        steps = young[0] - young[1] + STEP * (np.maximum(seen, SETTLED) - np.maximum(first, SETTLED))
    return np.asarray(q * np.exp(steps * (-SHARE / (1.0 - SHARE))))


def excess_step(
    mean: Float64, square: Float64, count: Float64, excess: Float64
) -> tuple[Float64, Float64, Float64]:
    """Mean, mean square and number of the excesses after one more each."""
    rate = np.maximum(1.0 / (count + 1.0), FORGET)
    return mean + rate * (excess - mean), square + rate * (excess * excess - square), count + 1.0
