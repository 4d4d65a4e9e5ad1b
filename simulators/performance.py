"""Join a scenario, a recording or a load with a publisher: what the commands run.

Everything that is decided is decided in the pure modules; this one opens the
connection, starts the clock and counts.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import mqtt5

from simulators.devices import Emission, SimulatedDevice
from simulators.load import CountStored, LoadPlan, LoadReport, Resends, send_load, settled
from simulators.publisher import Counts, Publisher
from simulators.replay import Recording, Survey, emissions, perform
from simulators.resend import CommandBox
from simulators.run import RunClock, topic_prefix
from simulators.scenarios.catalogue import Scenario
from simulators.scenarios.scene import Scene

GATEWAY = "GW-1"
RETAINED_EXPIRY_S = 86_400
"""Retained messages of an exercise leave the broker after a day."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where and how fast a run plays. ``run`` None is live; ``sent(n)`` hears of progress."""

    broker_url: str
    client_id: str
    run: str | None
    speed: float
    sent: Callable[[int], None]

    @property
    def prefix(self) -> str:
        """Of all its topics."""
        return topic_prefix(self.run)

    @property
    def commands(self) -> str:
        """What the server tells its devices; live ones have no prefix there."""
        return f"{'' if self.run is None else self.prefix}sensors/+/command"

    @property
    def expiry_s(self) -> int | None:
        """How long the broker keeps retained messages; None = until replaced."""
        return None if self.run is None else RETAINED_EXPIRY_S

    def clock(self, start_us: int) -> RunClock:
        """The run's clock, started now."""
        return RunClock(start_us, self.speed, time.monotonic())


async def perform_scenario(stage: Stage, scenario: Scenario, scene: Scene) -> tuple[Counts, Counter[str]]:
    """Play a scenario; returns what was published and how much per device.

    The connection is the gateway ``GW-1`` to the server: its last will says so when
    the program is killed, and its status at a proper end.
    Raises: BrokerUnavailable, NotAllowed.
    """
    gateway = SimulatedDevice(GATEWAY)
    will = gateway.offline(0)
    per_device: Counter[str] = Counter()
    commands = CommandBox()
    newest_us = scene.start_us

    def sent(message: Emission) -> None:
        nonlocal newest_us
        newest_us = message.at_us
        per_device[message.topic.split("/")[1]] += 1
        stage.sent(1)

    async with Publisher(
        stage.broker_url,
        stage.client_id,
        will=mqtt5.Will(
            stage.prefix + will.topic,
            payload=will.payload,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            retain=True,
            message_expiry_interval=stage.expiry_s,
        ),
        commands=(stage.commands,),
        on_command=lambda topic, payload: commands.put(topic.removeprefix(stage.prefix), payload),
    ) as publisher:
        async with during(commands.answer(publisher, scene.devices, stage.prefix, lambda: newest_us), "resends"):
            await publish(publisher, stage, gateway.status(scene.start_us))
            await perform(
                publisher,
                scenario.play(scene),
                stage.clock(scene.start_us),
                stage.prefix,
                monotonic=time.monotonic,
                sleep=asyncio.sleep,
                sent=sent,
                retained_expiry_s=stage.expiry_s,
            )
            await publish(publisher, stage, gateway.offline(newest_us))
            await publisher.flush()
        return publisher.counts, per_device


async def publish(publisher: Publisher, stage: Stage, message: Emission) -> None:
    """One message of the run."""
    await publisher.publish(
        stage.prefix + message.topic,
        message.payload,
        clock_us=message.at_us,
        retain=message.retain,
        expiry_s=stage.expiry_s if message.retain else None,
    )


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay sent: per device as published, and recorded devices that were left out."""

    counts: Counts
    per_device: Counter[str]
    left_out: Counter[str]


async def perform_recording(
    stage: Stage, recording: Recording, found: Survey, start_us: int, mapping: Mapping[str, str] | None
) -> Replayed:
    """Replay a surveyed recording so that its first packet has run time ``start_us``.

    Only what was recorded is published: no status, no last will.
    Raises: BrokerUnavailable, NotAllowed, ImportFileError when a file changed meanwhile.
    """
    per_device: Counter[str] = Counter()
    left_out: Counter[str] = Counter()

    def sent(message: Emission) -> None:
        per_device[message.topic.split("/")[1]] += 1
        stage.sent(1)

    async with Publisher(stage.broker_url, stage.client_id) as publisher:
        await perform(
            publisher,
            emissions(recording, start_us - found.first_us, mapping, left_out),
            stage.clock(start_us),
            stage.prefix,
            monotonic=time.monotonic,
            sleep=asyncio.sleep,
            sent=sent,
            retained_expiry_s=stage.expiry_s,
        )
        return Replayed(publisher.counts, per_device, left_out)


@asynccontextmanager
async def during(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Work beside the block, ended with it."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def perform_load(stage: Stage, plan: LoadPlan, window: int, count_stored: CountStored) -> LoadReport:
    """Send a load, wait until the database has it, and report. Raises: BrokerUnavailable, NotAllowed."""
    before = await count_stored()
    plan = replace(plan, start_us=time.time_ns() // 1000)
    resends = Resends(plan, stage.prefix)

    def sent(number: int) -> None:
        resends.sent = number
        stage.sent(number)

    async with Publisher(
        stage.broker_url, stage.client_id, window=window,
        commands=(stage.commands,), on_command=resends.ask,
    ) as publisher, during(resends.answer(publisher), "resends"):
        began_s = time.monotonic()
        elapsed_s = await send_load(
            publisher, plan, stage.prefix, monotonic=time.monotonic, sleep=asyncio.sleep, sent=sent
        )
        counts = publisher.counts

        async def since_start() -> tuple[int, int, int]:
            stored, duplicate, quarantined = await count_stored()
            return stored - before[0], duplicate - before[1], quarantined - before[2]

        (stored, duplicated, quarantined), settled_s = await settled(
            since_start, lambda: counts.acknowledged, monotonic=time.monotonic
        )
        return LoadReport(
            run=stage.run or "live",
            published=counts.published,
            acknowledged=counts.acknowledged,
            refused=counts.refused.total(),
            stored=stored,
            duplicated=duplicated,
            quarantined=quarantined,
            resent=resends.again,
            lost=counts.acknowledged - stored - duplicated - quarantined,
            msg_s=round(counts.acknowledged / elapsed_s, 1),
            stored_msg_s=round(stored / (settled_s - began_s), 1) if stored else 0.0,
            latency_ms=publisher.latency.summary_ms(),
        )
