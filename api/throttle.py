"""How often something may happen: token buckets over time that comes in as an argument.

Refuses to read a clock. Memory is bounded: the oldest buckets go first, which
forgives somebody, never blocks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """Tokens left at ``at_s``."""

    tokens: float
    at_s: float


class Throttle:
    """One bucket a key: ``burst`` at once, then one each ``every_s`` seconds."""

    def __init__(self, *, burst: float, every_s: float, keys_max: int = 10_000) -> None:
        self.burst = burst
        self.every_s = every_s
        self.keys_max = keys_max
        self.buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    def take(self, key: Hashable, now_s: float) -> float:
        """Take one token; 0 when there was one, else the seconds until there is."""
        bucket = self.buckets.pop(key, None) or Bucket(self.burst, now_s)
        gained = max(0.0, now_s - bucket.at_s) / self.every_s
        bucket.tokens = min(self.burst, bucket.tokens + gained)
        bucket.at_s = now_s
        self.buckets[key] = bucket
        if len(self.buckets) > self.keys_max:
            self.buckets.popitem(last=False)
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            return 0.0
        return (1.0 - bucket.tokens) * self.every_s

    def forgive(self, key: Hashable) -> None:
        """Give the key its whole burst back."""
        self.buckets.pop(key, None)
