"""The database away for minutes under load: memory bounded, nothing lost, caught up faster than it came in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from bench.soak import resident_mb
from tests.chaos.field import Field, at_work, field
from tests.chaos.house import House, house, query
from tests.chaos.proof import LEDGER, account, quiet

SAY_EVERY_S = 30.0
SERVER_MB_MAX = 600
CAUGHT_UP_WITHIN_S = 3600.0
PATIENCE_S = 900.0


async def outage(minutes: float, rate: float, devices: int, say: Callable[[str], None]) -> list[str]:
    """Run it and tell; returns what is not as it must be, in words."""
    async with house() as made, field(made.broker_url, rate, devices) as at_hand:
        await at_hand.finish(2)
        await quiet(made.database_url, at_hand.sent, 120)
        async with at_work(at_hand):
            await asyncio.sleep(10)
            before = at_hand.sent
            await made.database.stop()
            say(f"the database is stopped; {memory(made)}")
            largest, elapsed_s = await away(made, at_hand, minutes * 60, say)
            came = (at_hand.sent - before) / elapsed_s
            await made.database.start()
            taken, seconds = await caught_up(made, at_hand, rate, say)
        await at_hand.finish(2)
        quiet_s = await quiet(made.database_url, at_hand.sent, PATIENCE_S, say)
        said = await account(made.database_url, devices, at_hand.rounds)
    say(f"{said.table()}\n  sent again when asked  {at_hand.again:,}")
    say(
        f"  came in at {came:,.0f} msg/s for {elapsed_s:.0f} s; "
        f"caught up in {seconds:.0f} s at {taken:,.0f} msg/s, "
        f"quiet after {quiet_s:.0f} s more; the server's memory {largest:.0f} MB at most"
    )
    checks = {
        f"the server grew to {largest:.0f} MB": largest < SERVER_MB_MAX,
        f"caught up at {taken:,.0f} msg/s, slower than {came:,.0f}": taken > came,
    }
    return [*said.wrong(), *made.ended, *(words for words, right in checks.items() if not right)]


async def away(made: House, at_hand: Field, for_s: float, say: Callable[[str], None]) -> tuple[float, float]:
    """Wait, and look at the memory: the server's largest, and the seconds it took."""
    began_s, largest = time.monotonic(), 0.0
    while (elapsed_s := time.monotonic() - began_s) < for_s:
        await asyncio.sleep(min(SAY_EVERY_S, for_s - elapsed_s))
        largest = max(largest, resident_mb(made.server_pid))
        say(f"{time.monotonic() - began_s:>6.0f} s  {at_hand.sent:>12,} sent; {memory(made)}")
    return largest, time.monotonic() - began_s


async def caught_up(made: House, at_hand: Field, rate: float, say: Callable[[str], None]) -> tuple[float, float]:
    """Until less than a second's messages are missing: messages stored a second meanwhile, and the seconds."""
    first, began_s, said_s = await stored(made), time.monotonic(), time.monotonic()
    while at_hand.sent - (newest := await stored(made)) > rate:
        if time.monotonic() - began_s > CAUGHT_UP_WITHIN_S:
            break
        if time.monotonic() - said_s > SAY_EVERY_S:
            said_s = time.monotonic()
            say(f"{said_s - began_s:>6.0f} s  {newest:>12,} of {at_hand.sent:,} stored; {memory(made)}")
        await asyncio.sleep(1.0)
    seconds = time.monotonic() - began_s
    return (newest - first) / seconds, seconds


async def stored(made: House) -> int:
    """Messages of the field that the ledger says are stored."""
    (row,) = await query(made.database_url, LEDGER)
    return int(str(row[1]))


def memory(made: House) -> str:
    """Of server and broker, in words."""
    broker = sum(resident_mb(pid) for pid in made.broker.pids())
    return f"memory: server {resident_mb(made.server_pid):,.0f} MB, broker {broker:,.0f} MB"
