"""What ChirpStack and The Things Stack share: the best reception of an uplink. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ingest.adapters.fields import Fields


def best_rssi(receptions: Iterable[Fields]) -> float | None:
    """The strongest signal, dBm, among the gateways that heard it. Raises: PayloadError."""
    heard = [rssi for gateway in receptions if (rssi := gateway.number_or("rssi")) is not None]
    return max(heard, default=None)
