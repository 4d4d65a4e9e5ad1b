"""Thousands of devices on one connection: they number their messages, keep the last ones, and answer ``resend``."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from simulators.load import CHUNK, TICK_S, LoadDevices, LoadPlan, encoder, frames, frames_of
from simulators.publisher import Publisher
from tests.chaos.house import cancelled

ASKED_MAX = 10_000
"""Commands that wait for an answer; a device asked twice answers twice, and what is dropped is asked for again."""


class Field:
    """Devices at work until told to stop. ``sent``: messages so far, without those sent again."""

    def __init__(self, publisher: Publisher, plan: LoadPlan, prefix: str = "") -> None:
        self.sent = 0
        self.again = 0
        self._publisher = publisher
        self._plan = plan
        self._encode = encoder(plan, prefix)
        self._memory = LoadDevices(plan)
        self._asked: deque[tuple[str, bytes]] = deque(maxlen=ASKED_MAX)
        self._told = asyncio.Event()
        self._began_s = time.monotonic()

    @property
    def rounds(self) -> int:
        """Messages of each device, once a round is complete."""
        return self.sent // self._plan.devices

    def ask(self, topic: str, payload: bytes) -> None:
        """A command for a device."""
        self._asked.append((topic.split("/")[-2], payload))
        self._told.set()

    async def work(self) -> None:
        """Send what is due, and what was held up; until cancelled."""
        while True:
            await self._send_to(int((time.monotonic() - self._began_s) * self._plan.rate))
            await asyncio.sleep(TICK_S)

    async def finish(self, rounds: int) -> None:
        """The round that has begun and some more, so that each device shows what it missed; all answered for."""
        whole = -(-self.sent // self._plan.devices) + rounds
        step = max(1, int(self._plan.rate * TICK_S))
        while self.sent < whole * self._plan.devices:
            await self._send_to(min(self.sent + step, whole * self._plan.devices))
            await asyncio.sleep(TICK_S)
        await self._publisher.flush()

    async def answer(self) -> None:
        """Send again what devices are asked for; until cancelled."""
        while True:
            self._told.clear()
            while self._asked:
                numbers = self._memory.again(*self._asked.popleft(), self.sent)
                if len(numbers):
                    await self._publisher.send_block(frames_of(self._plan, self._encode, numbers))
                    self.again += len(numbers)
            await self._told.wait()

    async def _send_to(self, number: int) -> None:
        while self.sent < number:
            count = min(CHUNK, number - self.sent)
            await self._publisher.send_block(frames(self._plan, self._encode, self.sent, count))
            self.sent += count


@asynccontextmanager
async def field(broker_url: str, rate: float, devices: int) -> AsyncIterator[Field]:
    """``devices`` that together send ``rate`` messages a second; they work while the block lasts."""
    plan = LoadPlan(rate, devices, 0.0, "small", time.time_ns() // 1000)
    asked: deque[Field] = deque(maxlen=1)
    publisher = Publisher(
        broker_url, "chaos-field", patience_s=None, commands=("sensors/+/command",),
        on_command=lambda topic, payload: asked[0].ask(topic, payload),
    )  # fmt: skip
    made = Field(publisher, plan)
    asked.append(made)
    async with publisher:
        answering = asyncio.create_task(made.answer(), name="resends")
        try:
            yield made
        finally:
            await cancelled(answering)


@asynccontextmanager
async def at_work(made: Field) -> AsyncIterator[None]:
    """The devices measure meanwhile. Raises what stopped them."""
    working = asyncio.create_task(made.work(), name="field")
    try:
        yield
        if working.done():
            working.result()
    finally:
        await cancelled(working)
