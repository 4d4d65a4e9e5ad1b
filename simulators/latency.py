"""Latencies as a histogram of fixed size: percentiles within 2.5 %, whatever the number of messages."""

from __future__ import annotations

import math

import numpy as np

BUCKETS_PER_E = 20
BUCKETS = 400
"""From 1 µs to e^20 µs (8 minutes)."""


class LatencyHistogram:
    """Buckets of logarithmic width."""

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS
        self._max_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        if seconds > self._max_s:
            self._max_s = seconds
        bucket = int(math.log(seconds * 1e6) * BUCKETS_PER_E) if seconds > 1e-6 else 0
        self._counts[min(bucket, BUCKETS - 1)] += 1

    def percentile_ms(self, percent: float) -> float | None:
        """The latency that this share stayed below, in ms; None when nothing was counted."""
        counts = np.array(self._counts)
        if not counts.any():
            return None
        bucket = int(np.searchsorted(np.cumsum(counts), percent / 100 * counts.sum()))
        return min(math.exp((bucket + 0.5) / BUCKETS_PER_E) / 1e3, self._max_s * 1e3)

    def summary_ms(self) -> dict[str, float | None]:
        """p50, p90, p99 and the largest, in ms."""
        rounded = {f"p{p}": self.percentile_ms(p) for p in (50, 90, 99)}
        rounded["max"] = self._max_s * 1e3 if rounded["p50"] is not None else None
        return {name: None if ms is None else round(ms, 3) for name, ms in rounded.items()}
