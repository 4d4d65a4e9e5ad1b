"""Thousands of devices on one connection: they number their messages, keep the last ones, and answer ``resend``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from simulators.load import CHUNK, TICK_S, LoadPlan, Resends, encoder, frames
from simulators.performance import during
from simulators.publisher import Publisher
from tests.chaos.house import cancelled


class Field:
    """Devices at work until told to stop. ``sent``: messages so far, without those sent again."""

    def __init__(self, publisher: Publisher, plan: LoadPlan, resends: Resends) -> None:
        self._publisher = publisher
        self._plan = plan
        self._encode = encoder(plan, "")
        self._resends = resends
        self._began_s = time.monotonic()

    @property
    def sent(self) -> int:
        """Messages so far."""
        return self._resends.sent

    @property
    def again(self) -> int:
        """Messages sent again."""
        return self._resends.again

    @property
    def rounds(self) -> int:
        """Messages of each device, once a round is complete."""
        return self.sent // self._plan.devices

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

    async def _send_to(self, number: int) -> None:
        while self.sent < number:
            count = min(CHUNK, number - self.sent)
            await self._publisher.send_block(frames(self._plan, self._encode, self.sent, count))
            self._resends.sent += count


@asynccontextmanager
async def field(broker_url: str, rate: float, devices: int) -> AsyncIterator[Field]:
    """``devices`` that together send ``rate`` messages a second; they work while the block lasts."""
    plan = LoadPlan(rate, devices, 0.0, "small", time.time_ns() // 1000)
    resends = Resends(plan, "")
    publisher = Publisher(
        broker_url, "chaos-field", patience_s=None, commands=("sensors/+/command",), on_command=resends.ask
    )
    async with publisher, during(resends.answer(publisher), "resends"):
        yield Field(publisher, plan, resends)


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
