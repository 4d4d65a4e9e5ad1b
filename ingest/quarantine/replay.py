"""Quarantined messages sent in again, after what stopped them was mended.

They go the way of all messages, with the arrival they had, so their data is late
and raises no alarm as if it were live. What is stored is counted as received and
stored in the minute of that arrival; what is refused again stays in quarantine
with the new reason. Sending in twice is harmless.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from db.listen import wakeups
from domain.errors import DatabaseUnavailable
from ingest.messages import Message
from ingest.quarantine.store import CHANNEL, QuarantineStore

log = logging.getLogger(__name__)

AT_ONCE = 500
POLL_S = 10.0
NO_EPOCH = -1

Take = Callable[[Sequence[Message]], Awaitable[object]]
"""Messages in; returns once they are committed or back in quarantine."""


class QuarantineReplay:
    """Waits for somebody to ask, in the process that ingests."""

    def __init__(self, store: QuarantineStore, take: Take) -> None:
        self._store = store
        self._take = take

    async def follow(self, url: str) -> None:
        """Work until cancelled."""
        async for _ in wakeups(url, CHANNEL, poll_s=POLL_S, name="gridpulse-quarantine"):
            try:
                await self.work_off()
            except DatabaseUnavailable as error:
                log.info("quarantine is sent in again later: %s", error)

    async def work_off(self) -> int:
        """Send in all that is asked for; returns how many got through. Raises: DatabaseUnavailable."""
        through = 0
        while kept := await self._store.wanted(AT_ONCE):
            await self._take(
                [Message(k.topic, k.payload, k.received_us, k.clock, False, NO_EPOCH, None) for k in kept]
            )
            done = await self._store.settle(kept)
            through += done
            log.info("%d quarantined messages sent in again, %d got through", len(kept), done)
        return through
