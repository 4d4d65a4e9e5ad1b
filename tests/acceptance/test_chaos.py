"""Every fault once under load, in an order drawn from a seed: nothing lost, nothing twice, the account exact.

Another order, or that of a failure: ``GRIDPULSE_CHAOS_SEED=7 pytest tests/acceptance/test_chaos.py``.
The long forms: ``make soak``.
"""

from __future__ import annotations

import os
import shutil

import pytest

from tests.chaos.campaign import campaign
from tests.chaos.faults import one_by_one
from tests.chaos.schedule import KINDS, Fault, at_random, each_once

pytestmark = pytest.mark.stack

SEED = int(os.environ.get("GRIDPULSE_CHAOS_SEED", "1"))
EVERY = {(part, kind) for part, kinds in KINDS.items() for kind in kinds}
RATE, DEVICES = 700.0, 2000
PATIENCE_S = 150.0


def possible(fault: Fault) -> bool:
    return fault.kind != "disk full" or shutil.which("prlimit") is not None


@pytest.mark.timeout(420)
async def test_every_fault_under_load_loses_nothing() -> None:
    faults = [fault for fault in each_once(SEED) if possible(fault)]
    said: list[str] = []
    report = await campaign(faults, one_by_one, rate=RATE, devices=DEVICES, patience_s=PATIENCE_S, say=said.append)
    story = "\n".join([f"GRIDPULSE_CHAOS_SEED={SEED}", *said, report.table()])
    assert not report.wrong(), f"{report.wrong()}\n{story}"
    assert not report.missed(), f"these met nothing: {report.missed()}\n{story}"


def test_a_schedule_follows_from_its_seed() -> None:
    assert each_once(7) == each_once(7) != each_once(8)
    assert at_random(7, 100) == at_random(7, 100) != at_random(8, 100)
    assert {(fault.part, fault.kind) for fault in each_once(7)} == EVERY
    assert {(fault.part, fault.kind) for fault in at_random(7, 2000)} == EVERY
