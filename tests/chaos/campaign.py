"""One run: a house, a field that works, faults, quiet, and the account."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from db.pool import connect
from tests.chaos.faults import Outcome
from tests.chaos.field import at_work, field
from tests.chaos.house import House, house
from tests.chaos.proof import Account, account, quiet
from tests.chaos.schedule import Fault

BALLAST_ROWS = 300_000
"""Rows that make the chunk of now longer than a segment of the write-ahead log (see ``disk full``)."""
BALLAST = (
    "INSERT INTO device (id, kind, disabled) VALUES ('BALLAST', 'sensor', true)",
    "INSERT INTO metric (name) VALUES ('ballast') ON CONFLICT DO NOTHING",
    f"""INSERT INTO reading (time, device, metric, value, seq, late)
        SELECT now() - i * INTERVAL '1 microsecond', d.key, m.key, 0, -1, false
        FROM device d, metric m, generate_series(1, {BALLAST_ROWS}) AS i
        WHERE d.id = 'BALLAST' AND m.name = 'ballast'""",
)
KNOWN_WITHIN_S = 60.0
LAST_ROUNDS = 2

Happen = Callable[[House, Sequence[Fault], Callable[[str], None]], Awaitable[list[Outcome]]]


@dataclass(frozen=True, slots=True)
class Report:
    """What a run has shown. ``ended``: times the server ended by itself, with its last word."""

    outcomes: list[Outcome]
    account: Account
    sent_again: int
    faults_s: float
    quiet_s: float
    ended: list[str]

    def wrong(self) -> list[str]:
        """What must not be, in words."""
        return [*self.account.wrong(), *(f"the server ended by itself, {last}" for last in self.ended)]

    def missed(self) -> list[Fault]:
        """Faults that met nothing."""
        return [outcome.fault for outcome in self.outcomes if not outcome.bit]

    def table(self) -> str:
        """For people."""
        rows = f"{self.account.table()}\n  {'sent again when asked':<22} {self.sent_again:>12,}"
        times = f"  faults for {self.faults_s:.0f} s, then quiet after {self.quiet_s:.0f} s"
        return f"{rows}\n{times}; {len(self.outcomes) - len(self.missed())} of {len(self.outcomes)} faults bit"


async def campaign(
    faults: Sequence[Fault],
    happen: Happen,
    *,
    rate: float,
    devices: int,
    patience_s: float,
    say: Callable[[str], None],
) -> Report:
    """Run it. ``patience_s``: how long after the last fault until everything must be stored."""
    async with house() as made, field(made.broker_url, rate, devices) as at_hand:
        await at_hand.finish(1)
        await quiet(made.database_url, at_hand.sent, KNOWN_WITHIN_S)
        async with await connect(made.database_url, name="chaos-ballast") as conn:
            for statement in BALLAST:
                await conn.execute(statement.encode())
        began_s = time.monotonic()
        async with at_work(at_hand):
            outcomes = await happen(made, faults, say)
            await made.ready()
        faults_s = time.monotonic() - began_s
        await at_hand.finish(LAST_ROUNDS)
        quiet_s = await quiet(made.database_url, at_hand.sent, patience_s, say)
        said = await account(made.database_url, devices, at_hand.rounds)
        return Report(outcomes, said, at_hand.again, faults_s, quiet_s, made.ended)
