"""Every fault once under load, in an order drawn from a seed: nothing lost, nothing twice, the account exact.

Another order, or that of a failure: ``GRIDPULSE_CHAOS_SEED=7 pytest tests/acceptance/test_chaos.py``.
The long forms: ``make soak``.
"""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from tests.chaos.campaign import campaign
from tests.chaos.faults import one_by_one, possible
from tests.chaos.field import at_work, field
from tests.chaos.house import House, house
from tests.chaos.proof import account, quiet
from tests.chaos.schedule import ALL, KINDS, at_random, each_once

pytestmark = [pytest.mark.stack, pytest.mark.alone]

SEED = int(os.environ.get("GRIDPULSE_CHAOS_SEED", "1"))
EVERY = {(part, kind) for part, kinds in KINDS.items() for kind in kinds}
RATE, DEVICES = 700.0, 2000
PATIENCE_S = 150.0
STOPPED_WITHIN_S = 80.0
"""A supervisor kills after 90 s (see operate.md)."""


@pytest.mark.timeout(420)
async def test_every_fault_under_load_loses_nothing() -> None:
    faults = [fault for fault in each_once(SEED) if possible(fault)]
    said: list[str] = []
    report = await campaign(faults, one_by_one, rate=RATE, devices=DEVICES, patience_s=PATIENCE_S, say=said.append)
    story = "\n".join([f"GRIDPULSE_CHAOS_SEED={SEED}", *said, report.table()])
    assert not report.wrong(), f"{report.wrong()}\n{story}"
    assert not report.missed(), f"these met nothing: {report.missed()}\n{story}"


@pytest.mark.timeout(420)
async def test_a_stop_without_the_database_ends_and_loses_nothing() -> None:
    """It is gone, and once it is there and does not answer."""
    async with house() as made, field(made.broker_url, 300, 300) as at_hand:
        await at_hand.finish(1)
        for stands_still in (False, True):
            async with at_work(at_hand), made.to_itself(ALL):
                if stands_still:
                    made.database.signal(signal.SIGSTOP)
                else:
                    await made.database.kill()
                await asyncio.sleep(0.5)
                assert await ended(made) == 0
                if stands_still:
                    made.database.signal(signal.SIGCONT)
                else:
                    await made.database.start()
                await made.start_server()
            await made.ready()
        await at_hand.finish(2)
        await quiet(made.database_url, at_hand.sent, PATIENCE_S)
        said = await account(made.database_url, 300, at_hand.rounds)
    assert not said.wrong(), f"{said.wrong()}\n{said.table()}"


async def ended(made: House) -> int:
    """The server's exit code once it was asked to stop."""
    assert made.server.process is not None
    made.server.process.send_signal(signal.SIGTERM)
    return await asyncio.to_thread(made.server.process.wait, STOPPED_WITHIN_S)


def test_a_schedule_follows_from_its_seed() -> None:
    assert each_once(7) == each_once(7) != each_once(8)
    assert at_random(7, 100) == at_random(7, 100) != at_random(8, 100)
    assert {(fault.part, fault.kind) for fault in each_once(7)} == EVERY
    assert {(fault.part, fault.kind) for fault in at_random(7, 2000)} == EVERY
