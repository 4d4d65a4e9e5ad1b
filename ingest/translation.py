"""Other vendors' messages on their way into ingest: what decoding refused for its topic, read by the adapters.

The one place where ingest meets its adapters. Counts what they did, and publishes what
they ask of devices.
"""

from __future__ import annotations

from collections.abc import Callable

from ingest import metrics
from ingest.adapters.routes import Adapters
from ingest.messages import Decoded, Refusal
from ingest.topics import FOREIGN

Publish = Callable[[str, bytes], bool]


class Translation:
    """``publish`` sends a request at QoS 0; False when it could not, the adapter asks again."""

    def __init__(self, adapters: Adapters, publish: Publish) -> None:
        self._adapters = adapters
        self._publish = publish

    def __call__(self, decoded: list[Decoded], refused: list[Refusal]) -> list[Refusal]:
        """Put the contents of other vendors' messages behind ``decoded``; the refusals that are left."""
        foreign = [refusal.message for refusal in refused if refusal.reason == FOREIGN]
        if not foreign:
            return refused
        more, bad = self._adapters.translate(foreign)
        decoded += more
        for topic, payload in self._adapters.requests():
            self._publish(topic, payload)
        for (adapter, result), n in self._adapters.counts.items():
            metrics.ADAPTED.labels(adapter, result).inc(n)
        self._adapters.counts.clear()
        return [*(refusal for refusal in refused if refusal.reason != FOREIGN), *bad]
