"""How surprising statistics of a sensor are, each against its own past, in nats beyond its top hundredth.

For each statistic a high quantile is followed by a stochastic step (Robbins and Monro
1951), and beyond it a Pareto tail whose exponent is the mean log excess (Hill, Annals
of Statistics 3, 1975), shrunk to a prior while there are few. Power tails rather than
exponential ones, because what real machines and people do has heavy tails, and a
detector that does not know it cries at every burst. What keeps coming back at about the
size of the largest so far (the edge of a sawtooth, a nightly job) surprises less each time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from domain.readings import Float64

SHARE = 0.01
STEP = 0.005
EXCESS_MAX = 1.0
"""Largest log excess that is learnt, or twice the usual one: an anomaly must not teach that it is usual."""
TAIL_PRIOR = 0.25
TAIL_PRIOR_COUNT = 50.0
TAIL_MIN = 0.15
FORGET = 0.02
UNKNOWN = 2.0
"""Log excess of a statistic that was never above zero before."""
RECORD, ALIKE = 1.3, 0.5
"""So many times the largest so far is something new; so much of it is the same again."""
NEW_AFTER = 50
"""Rows after which the same again counts as one time more."""
TIMES_FREE, TIMES_WEIGH = 2, 0.2
NOTABLE = 1.0

MEMORY: Mapping[str, float] = {
    "quantile": 0, "tail": TAIL_PRIOR, "count": TAIL_PRIOR_COUNT, "peak": 0, "times": 0, "last": -1e9,
}  # fmt: skip
"""What is kept of a statistic, with what a new one holds; ``last``: the row at which it came last."""


def surprise(
    h: Float64, memory: NDArray[np.float64], seen: Float64, warm: int, weights: Float64
) -> tuple[Float64, NDArray[np.float64]]:
    """Nats of ``h (k, c)``, weighted, and ``memory (k, len(MEMORY), c)`` after it; ``seen (k,)``: values before.

    Within the first ``warm`` values nothing surprises and the quantile is the largest.
    """
    quantile, tail, count, peak, times, last = memory.transpose(1, 0, 2)
    old = (seen >= warm)[:, None]
    over = (h > quantile) & (h > 0)
    learns = over & old
    step = np.maximum(STEP, 1.0 / (1.0 + SHARE * seen))[:, None]
    moved = np.where(over, quantile, quantile * np.exp(step * -SHARE / (1.0 - SHARE)))
    out = np.stack([np.where(old, moved, np.maximum(quantile, h)), tail, count, peak, times, last], axis=1)
    nats = np.zeros_like(h)
    i, j = np.nonzero(learns)  # a hundredth of all, mostly
    if len(i):
        before = (quantile[i, j], tail[i, j], count[i, j], peak[i, j], times[i, j], last[i, j])
        nats[i, j], out[i, :, j] = _beyond(h[i, j], *before, seen[i], step[i, 0], weights[j])
    return nats, out


def _beyond(
    h: Float64, quantile: Float64, tail: Float64, count: Float64, peak: Float64, times: Float64, last: Float64,
    seen: Float64, step: Float64, weight: Float64,
) -> tuple[Float64, NDArray[np.float64]]:  # fmt: skip
    """Nats and new memory of statistics beyond their quantile, all ``(m,)``."""
    ratio = np.ones_like(h)
    np.divide(h, quantile, out=ratio, where=quantile > 0)
    excess = np.where(quantile > 0, np.log(ratio), UNKNOWN)
    nats = excess / np.maximum(tail, TAIL_MIN) * weight
    quantile = np.where(quantile > 0, np.minimum(quantile * np.exp(step), h), 0.5 * h)
    taught = np.minimum(excess, np.maximum(EXCESS_MAX, 2.0 * tail))
    tail = tail + np.maximum(1.0 / (count + 1.0), FORGET) * (taught - tail)
    notable = nats > NOTABLE
    record = notable & (h > RECORD * peak)
    peak, times = np.where(record, h, peak), np.where(record, 0.0, times)
    worn = notable & (times >= TIMES_FREE)
    nats = np.where(worn, nats / (1.0 + TIMES_WEIGH * (times - TIMES_FREE + 1.0)), nats)
    alike = notable & (h > ALIKE * peak)
    times = times + (alike & (seen - last > NEW_AFTER))
    last = np.where(alike, seen, last)
    return nats, np.stack([quantile, tail, count + 1.0, peak, times, last], axis=1)
