"""The judge: every message stored once, the account exact, every gap closed. It asks the database alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

import psycopg

from tests.chaos.house import query

VALUES = 4
"""Values, so rows, of a message of the load."""
DEVICES = "SELECT key FROM device WHERE starts_with(id, 'LD-') AND run IS NULL"

ROWS = f"""
WITH each AS (
    SELECT device, metric, seq, count(*) AS n FROM reading WHERE device IN ({DEVICES}) GROUP BY 1, 2, 3
), series AS (
    SELECT device, metric, count(*) AS numbers, min(seq) AS first, max(seq) AS last FROM each GROUP BY 1, 2
)
SELECT (SELECT count(*) FROM each), (SELECT count(*) FROM each WHERE n > 1),
       (SELECT count(*) FROM series WHERE numbers = %(rounds)s AND first = 1 AND last = %(rounds)s)
"""
LEDGER = f"""
SELECT coalesce(sum(received), 0), coalesce(sum(stored), 0), coalesce(sum(duplicate), 0),
       coalesce(sum(rejected + quarantined), 0),
       count(*) FILTER (WHERE received <> stored + duplicate + rejected + quarantined)
FROM ledger_minute WHERE device IN ({DEVICES})
"""
LEDGER_DEVICES = f"""
SELECT count(*) FROM (SELECT device FROM ledger_minute WHERE device IN ({DEVICES})
                      GROUP BY device HAVING sum(stored) = %(rounds)s) AS whole
"""
GAPS = "SELECT count(*), count(outcome), count(*) FILTER (WHERE outcome = 'filled') FROM seq_gap"
EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Account:
    """What the database says of a load of ``devices`` × ``rounds`` messages."""

    messages: int
    lost: int
    stored_twice: int
    devices: int
    devices_exact: int
    received: int
    stored: int
    duplicate: int
    aside: int
    ledger_rows_wrong: int
    ledger_devices_exact: int
    gaps_opened: int
    gaps_closed: int
    gaps_filled: int

    def wrong(self) -> list[str]:
        """What is not as it must be, in words; empty when nothing was lost and the account is exact."""
        checks = {
            f"{self.lost} messages lost": self.lost == 0,
            f"{self.stored_twice} values stored twice": self.stored_twice == 0,
            f"{self.devices - self.devices_exact} devices without all their numbers": self.devices_exact
            == self.devices,
            f"{self.aside} messages put aside": self.aside == 0,
            f"the ledger says {self.stored} stored": self.stored == self.messages,
            f"{self.ledger_rows_wrong} minutes of the ledger do not add up": self.ledger_rows_wrong == 0,
            f"{self.devices - self.ledger_devices_exact} devices' ledgers are not exact": self.ledger_devices_exact
            == self.devices,
            f"{self.gaps_opened - self.gaps_closed} gaps open": self.gaps_opened == self.gaps_closed,
            f"{self.gaps_closed - self.gaps_filled} gaps closed without being filled": self.gaps_filled
            == self.gaps_closed,
        }  # fmt: skip
        return [words for words, right in checks.items() if not right]

    def table(self) -> str:
        """A line for each number."""
        rows = ((each.name.replace("_", " "), getattr(self, each.name)) for each in fields(self))
        return "\n".join(f"  {name:<22} {number:>12,}" for name, number in rows)


async def quiet(url: str, messages: int, within_s: float, say: Callable[[str], None] = lambda _: None) -> float:
    """Wait until all are stored and no gap is open, or give up; returns the seconds it took."""
    began_s = time.monotonic()
    said_s = began_s
    while time.monotonic() - began_s < within_s:
        try:
            (ledger,) = await query(url, LEDGER)
            (gaps,) = await query(url, GAPS)
        except psycopg.Error:
            ledger = gaps = (0, 0, 0, 0, 0)
        stored = int(str(ledger[1]))
        if stored >= messages and gaps[0] == gaps[1]:
            break
        if time.monotonic() - said_s > 10:
            said_s = time.monotonic()
            say(f"  {stored:,} of {messages:,} stored, {gaps[1]} of {gaps[0]} gaps closed")
        await asyncio.sleep(EVERY_S)
    return time.monotonic() - began_s


async def account(url: str, devices: int, rounds: int) -> Account:
    """Look at every row. Raises psycopg's errors."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        await conn.execute("SET work_mem = '256MB'")
        asked = {"rounds": rounds}
        (rows,) = await (await conn.execute(ROWS.encode(), asked)).fetchall()
        (ledger,) = await (await conn.execute(LEDGER.encode())).fetchall()
        (whole,) = await (await conn.execute(LEDGER_DEVICES.encode(), asked)).fetchall()
        (gaps,) = await (await conn.execute(GAPS.encode())).fetchall()
    numbers, twice, series = (int(n) for n in rows)
    received, stored, duplicate, aside, off = (int(n) for n in ledger)
    messages = devices * rounds
    return Account(
        messages=messages,
        lost=messages - numbers // VALUES,
        stored_twice=twice,
        devices=devices,
        devices_exact=series // VALUES,
        received=received,
        stored=stored,
        duplicate=duplicate,
        aside=aside,
        ledger_rows_wrong=off,
        ledger_devices_exact=int(whole[0]),
        gaps_opened=int(gaps[0]),
        gaps_closed=int(gaps[1]),
        gaps_filled=int(gaps[2]),
    )
