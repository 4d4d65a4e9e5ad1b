"""How surprising statistics of a sensor are, each against its own past, in nats beyond its top hundredth.

For each statistic a high quantile is followed by a stochastic step (Robbins and Monro
1951), and beyond it a Pareto tail whose exponent is the mean log excess (Hill, Annals
of Statistics 3, 1975), shrunk to a prior while there are few. Power tails rather than
exponential ones, because what real machines and people do has heavy tails, and a
detector that does not know it cries at every burst.
"""

from __future__ import annotations

import numpy as np

from domain.readings import Float64

SHARE = 0.01
STEP = 0.005
EXCESS_MAX = 1.0
"""Largest log excess that is learnt, or twice the usual one: an anomaly must not teach that it is usual."""
TAIL_PRIOR = 0.25
TAIL_PRIOR_COUNT = 20.0
TAIL_MIN = 0.1
FORGET = 0.02
UNKNOWN = 2.0
"""Log excess of a statistic that was never above zero before."""


def surprise(
    h: Float64, quantile: Float64, tail: Float64, count: Float64, seen: Float64, warm: int
) -> tuple[Float64, Float64, Float64, Float64]:
    """Nats of ``h (k, c)`` and the three kinds of memory after it; ``seen (k,)``: values before.

    Within the first ``warm`` values nothing surprises and the quantile is the largest.
    """
    old = (seen >= warm)[:, None]
    over = (h > quantile) & (h > 0)
    ratio = np.ones_like(h)
    np.divide(h, quantile, out=ratio, where=over & (quantile > 0))
    excess = np.where(over & (quantile <= 0), UNKNOWN, np.log(ratio))
    nats = np.where(old, excess / np.maximum(tail, TAIL_MIN), 0.0)
    step = np.maximum(STEP, 1.0 / (1.0 + SHARE * seen))[:, None]
    stepped = quantile * np.exp(step * np.where(over, 1.0, -SHARE / (1.0 - SHARE)))
    moved = np.where(quantile > 0, stepped, np.where(over, 0.5 * h, 0.0))
    moved = np.where(over, np.minimum(moved, h), moved)
    learns = over & old
    rate = np.where(learns, np.maximum(1.0 / (count + 1.0), FORGET), 0.0)
    return (
        nats,
        np.where(old, moved, np.maximum(quantile, h)),
        tail + rate * (np.minimum(excess, np.maximum(EXCESS_MAX, 2.0 * tail)) - tail),
        count + learns,
    )
