"""The account: received = stored + duplicate + rejected + quarantined, in messages. Pure.

Kept per device and minute of arrival, in the transaction that stores the rows.
``rejected`` counts what was refused without being kept; the MQTT way keeps all,
so it stays 0 here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from domain.readings import Bool
from ingest.batching import Keys, Rows
from ingest.messages import Refusal

MINUTE_US = 60_000_000
UNKNOWN_DEVICE = 0
DEVICE_BITS = 32
DEVICE_MASK = (1 << DEVICE_BITS) - 1


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """Messages of one device in one minute of arrival."""

    minute_us: int
    device: int
    received: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    quarantined: int = 0

    def counts(self) -> tuple[int, ...]:
        """device and the five counts, in the order of the table."""
        return self.device, self.received, self.stored, self.duplicate, self.rejected, self.quarantined


@dataclass(frozen=True, slots=True)
class Account:
    """Makes ledger rows; ``keys`` are the known devices by (id, run)."""

    keys: Keys

    def rows(self, rows: Rows, stored: Bool, refused: Sequence[Refusal]) -> list[LedgerRow]:
        """One row for each device and minute, in a fixed order so that writers cannot deadlock."""
        n = len(rows.decoded)
        received_us = [d.message.received_us for d in rows.decoded] + [r.message.received_us for r in refused]
        strangers = [self.keys.get((r.device_id or "", r.run), UNKNOWN_DEVICE) for r in refused]
        device = np.concatenate([rows.device, np.array(strangers, dtype=np.int32)]).astype(np.int64)
        minute = np.array(received_us, dtype=np.int64) // MINUTE_US
        codes, row = np.unique(minute << DEVICE_BITS | device, return_inverse=True)
        new, again = row[:n][stored], row[:n][~stored]
        received, kept, twice, aside = (np.bincount(at, minlength=len(codes)) for at in (row, new, again, row[n:]))
        return [
            LedgerRow(
                (code >> DEVICE_BITS) * MINUTE_US, code & DEVICE_MASK,
                int(received[i]), int(kept[i]), int(twice[i]), 0, int(aside[i]),
            )
            for i, code in enumerate(codes.tolist())
        ]  # fmt: skip
