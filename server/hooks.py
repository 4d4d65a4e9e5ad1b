"""What comes over HTTP, on its way into ingest: the API's callable, joined here.

A hook is answered after its commit. While the database is away, or when too many wait,
it is refused at once with DatabaseUnavailable (503 and Retry-After): whoever sent it asks
again, and what was stored meanwhile is stored once. What waits in memory is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from api.ports import Received
from domain.errors import DatabaseUnavailable
from ingest.adapters.gat1400 import without_persons
from ingest.adapters.hooks import hook_topic
from ingest.messages import Message, Refusal
from ingest.service import IngestService

WAITING_MAX = 64
ANSWER_WITHIN_S = 8.0
BEFORE: dict[str, Callable[[bytes], bytes]] = {"gat1400": without_persons}
"""What is done with a body before anything else sees it."""


class HookIntake:
    """Bodies in, commits awaited."""

    def __init__(self, service: IngestService, now_us: Callable[[], int]) -> None:
        self._service = service
        self._now_us = now_us
        self._waiting: set[asyncio.Task[tuple[int, Sequence[Refusal]]]] = set()

    async def __call__(self, adapter: str, device: str | None, picture: str | None, body: bytes) -> Received:
        """One body, committed or quarantined when this returns. Raises: DatabaseUnavailable."""
        if self._service.waiting_for_database:
            raise DatabaseUnavailable("the database is away: send it again")
        if len(self._waiting) >= WAITING_MAX:
            raise DatabaseUnavailable(f"{WAITING_MAX} messages wait to be stored: send it again")
        payload = BEFORE.get(adapter, bytes)(body)
        topic = hook_topic(adapter, device, picture)
        message = Message(topic, payload, self._now_us(), None, False, 0, None)
        work = asyncio.create_task(self._service.submit([message]), name="hook")
        self._waiting.add(work)
        work.add_done_callback(self._waiting.discard)
        # Not cancelled when it takes too long: a commit must not be cut in two.
        done, _ = await asyncio.wait([work], timeout=ANSWER_WITHIN_S)
        if not done:
            raise DatabaseUnavailable(f"not stored within {ANSWER_WITHIN_S:.0f} s: send it again")
        accepted, refused = work.result()
        return Received(accepted, [(refusal.reason, refusal.detail) for refusal in refused])
