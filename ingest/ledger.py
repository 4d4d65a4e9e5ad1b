"""The account: received = stored + duplicate + rejected + quarantined, in messages. Pure.

Kept per device and minute of arrival, in the transaction that stores the rows.
``rejected`` counts what was refused without being kept; the MQTT way keeps all,
so it stays 0 here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.readings import Bool
from ingest.batching import Refusal, Rows

MINUTE_US = 60_000_000
UNKNOWN_DEVICE = 0


@dataclass(slots=True)
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

    keys: Mapping[tuple[str, str | None], int]

    def rows(self, rows: Rows, stored: Bool, refused: Sequence[Refusal]) -> list[LedgerRow]:
        """One row for each device and minute, in a fixed order so that writers cannot deadlock."""
        ledger: dict[tuple[int, int], LedgerRow] = {}

        def row(received_us: int, device: int) -> LedgerRow:
            minute_us = received_us - received_us % MINUTE_US
            found = ledger.setdefault((minute_us, device), LedgerRow(minute_us, device))
            found.received += 1
            return found

        for index, decoded in enumerate(rows.decoded):
            entry = row(decoded.message.received_us, int(rows.device[index]))
            if stored[index]:
                entry.stored += 1
            else:
                entry.duplicate += 1
        for refusal in refused:
            device = self.keys.get((refusal.device_id or "", refusal.run), UNKNOWN_DEVICE)
            row(refusal.message.received_us, device).quarantined += 1
        return [ledger[key] for key in sorted(ledger)]
