"""Latencies as a histogram of fixed size: percentiles within 2.5 %, whatever the number of messages."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

BUCKETS_PER_E = 20
BUCKETS = 400
"""From 1 µs to e^20 µs (8 minutes)."""


class LatencyHistogram:
    """Buckets of logarithmic width."""

    def __init__(self) -> None:
        self._counts = np.zeros(BUCKETS, dtype=np.int64)
        self._max_s = 0.0

    def add(self, seconds: Sequence[float]) -> None:
        """Count these."""
        if not seconds:
            return
        us = np.maximum(np.array(seconds) * 1e6, 1.0)
        self._max_s = max(self._max_s, float(us.max()) / 1e6)
        buckets = np.minimum((np.log(us) * BUCKETS_PER_E).astype(np.int64), BUCKETS - 1)
        self._counts += np.bincount(buckets, minlength=BUCKETS)

    def percentile_ms(self, percent: float) -> float | None:
        """The latency that this share stayed below, in ms; None when nothing was counted."""
        counts = self._counts
        if not counts.any():
            return None
        bucket = int(np.searchsorted(np.cumsum(counts), percent / 100 * counts.sum()))
        return min(math.exp((bucket + 0.5) / BUCKETS_PER_E) / 1e3, self._max_s * 1e3)

    def summary_ms(self) -> dict[str, float | None]:
        """p50, p90, p99 and the largest, in ms."""
        rounded = {f"p{p}": self.percentile_ms(p) for p in (50, 90, 99)}
        rounded["max"] = self._max_s * 1e3 if rounded["p50"] is not None else None
        return {name: None if ms is None else round(ms, 3) for name, ms in rounded.items()}
