"""What waits for one WebSocket client: bounded in frames and characters, written by one task.

Policies, by what is queued:
- alerts and answers: *disconnect and resume*. When the bound is reached the queue is
  dropped, the client is told ``lagging`` and closed with 4008; nothing is lost, because
  it comes back with its cursor.
- values (devices, waveforms, vehicles): *newest wins*. A subscription's value frame is
  taken only while no earlier one of it waits; until then the caller merges its values.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from api.messages import LAGGING, frame
from domain.people import Actor

FRAMES_MAX = 2048
CHARS_MAX = 8 * 1024 * 1024


class Transport(Protocol):
    """The two verbs of a WebSocket that a writer needs; ``send_text`` waits for the peer."""

    async def send_text(self, data: str) -> None:
        """Send one text frame."""
        ...

    async def close(self, code: int, reason: str | None = None) -> None:
        """Close with a code."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is and what keeps it signed in.

    ``session``: digest of the bearer token, None for a login link's ticket;
    ``expires_us``: when it is signed out at the latest.
    """

    actor: Actor
    session: bytes | None
    expires_us: int


class Client:
    """One client's outbound queue and its subscriptions' ids."""

    def __init__(
        self,
        transport: Transport,
        identity: Identity,
        *,
        frames_max: int = FRAMES_MAX,
        chars_max: int = CHARS_MAX,
    ) -> None:
        self.transport = transport
        self.identity = identity
        self.frames_max = frames_max
        self.chars_max = chars_max
        self.queue: deque[tuple[str, str | None]] = deque()
        self.chars = 0
        self.values_waiting: set[str] = set()
        self.closing: tuple[int, str] | None = None
        self.on_end: Callable[[], None] | None = None
        self.subscriptions: dict[str, Any] = {}
        self.wake = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()

    @property
    def actor(self) -> Actor:
        """The account behind the socket."""
        return self.identity.actor

    def offer(self, text: str) -> bool:
        """Queue a frame that may not be skipped; never waits. False = the client is being closed.

        A frame of any size fits into an empty queue, so that a large snapshot passes.
        """
        if self.closing is not None:
            return False
        if self.queue and (len(self.queue) >= self.frames_max or self.chars + len(text) > self.chars_max):
            self.lag("too many frames wait for this client")
            return False
        self.put(text, None)
        return True

    def offer_values(self, text: str, id_: str) -> bool:
        """Queue a value frame of subscription ``id_`` unless one waits; never waits and never closes."""
        if self.closing is not None or id_ in self.values_waiting or self.chars + len(text) > self.chars_max:
            return False
        self.values_waiting.add(id_)
        self.put(text, id_)
        return True

    def put(self, text: str, values_of: str | None) -> None:
        """Append and wake the writer."""
        self.queue.append((text, values_of))
        self.chars += len(text)
        if len(self.queue) * 2 > self.frames_max or self.chars * 2 > self.chars_max:
            self.room.clear()
        self.wake.set()

    def lag(self, reason: str) -> None:
        """Drop what waits, tell the client to resume, and close."""
        self.end(LAGGING, reason, frame("lagging", reason=f"{reason}; connect again with your cursor"))

    def end(self, code: int, reason: str, last_words: str | None = None) -> None:
        """Close after ``last_words``; what waited is dropped. Only the first call counts."""
        if self.closing is not None:
            return
        self.closing = (code, reason)
        self.queue.clear()
        self.chars = 0
        if last_words is not None:
            self.queue.append((last_words, None))
        self.room.set()
        self.wake.set()
        if self.on_end is not None:
            self.on_end()

    async def write(self) -> None:
        """The writer: send what is queued until the client is closed. Transport errors pass through."""
        while True:
            while self.queue:
                text, values_of = self.queue.popleft()
                self.chars = max(0, self.chars - len(text))
                await self.transport.send_text(text)
                if values_of is not None:
                    self.values_waiting.discard(values_of)
                if len(self.queue) * 2 <= self.frames_max and self.chars * 2 <= self.chars_max:
                    self.room.set()
            if self.closing is not None:
                await self.transport.close(*self.closing)
                return
            self.wake.clear()
            await self.wake.wait()
