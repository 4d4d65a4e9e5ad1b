"""The account: received = stored + duplicate + rejected + quarantined, in messages. Pure.

Kept per device and minute of arrival, in the transaction that stores the rows.
``rejected`` counts what was refused without being kept; the MQTT way keeps all,
so it stays 0 here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from domain.readings import Bool, Int64
from ingest.batching import Keys, Rows
from ingest.messages import Refusal

MINUTE_US = 60_000_000
UNKNOWN_DEVICE = 0
DEVICE_BITS = 32
DEVICE_MASK = (1 << DEVICE_BITS) - 1


class LedgerColumns(NamedTuple):
    """Messages of one device in one minute of arrival a row, ``(n,)`` each."""

    minute: Int64
    device: Int64
    received: Int64
    stored: Int64
    duplicate: Int64
    rejected: Int64
    quarantined: Int64


@dataclass(frozen=True, slots=True)
class Account:
    """Makes ledger rows; ``keys`` are the known devices by (id, run)."""

    keys: Keys

    def columns(self, rows: Rows, stored: Bool, refused: Sequence[Refusal]) -> LedgerColumns:
        """One row for each device and minute, in a fixed order so that writers cannot deadlock."""
        n = len(rows.decoded)
        received_us = [d.message.received_us for d in rows.decoded] + [r.message.received_us for r in refused]
        strangers = [self.keys.get((r.device_id or "", r.run), UNKNOWN_DEVICE) for r in refused]
        device = np.concatenate([rows.device, np.array(strangers, dtype=np.int32)]).astype(np.int64)
        minute = np.array(received_us, dtype=np.int64) // MINUTE_US
        codes, row = np.unique(minute << DEVICE_BITS | device, return_inverse=True)
        new, again = row[:n][stored], row[:n][~stored]
        received, kept, twice, aside = (np.bincount(at, minlength=len(codes)) for at in (row, new, again, row[n:]))
        rejected = np.zeros(len(codes), dtype=np.int64)
        return LedgerColumns(codes >> DEVICE_BITS, codes & DEVICE_MASK, received, kept, twice, rejected, aside)
