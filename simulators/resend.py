"""Simulated devices answer the server's ``sensors/{id}/command``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from simulators.devices import SimulatedDevice
from simulators.publisher import Publisher

PENDING_MAX = 100


class CommandBox:
    """Commands waiting for an answer: at most ``PENDING_MAX``, newer ones are dropped and counted.

    The server asks again for what is still missing.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._pending: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(PENDING_MAX)

    def put(self, topic: str, payload: bytes) -> None:
        """A command has arrived on ``sensors/{id}/command``; never waits."""
        try:
            self._pending.put_nowait((topic.split("/")[1], payload))
        except asyncio.QueueFull:
            self.dropped += 1

    async def answer(
        self,
        publisher: Publisher,
        devices: Mapping[str, SimulatedDevice],
        prefix: str,
        now_us: Callable[[], int],
    ) -> None:
        """Send again what devices are asked for, until cancelled."""
        while True:
            device_id, payload = await self._pending.get()
            if (device := devices.get(device_id)) is None:
                continue
            for emission in device.answer(payload, now_us()):
                await publisher.publish(prefix + emission.topic, emission.payload, clock_us=emission.at_us)
