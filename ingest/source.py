"""Where messages come from and who is told that they are safe: the seam between ingest and its broker.

A source yields blocks of messages, each with a token; when a block is committed and
looked at, its token goes back. What a token is, only its source knows: for MQTT the
packet ids of one socket read and their connection, for a distributed log a partition
and an offset. Tokens come back in the order in which the blocks were yielded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ingest.messages import Message

TokenT = TypeVar("TokenT")


@dataclass(frozen=True, slots=True)
class Deliveries(Generic[TokenT]):
    """Messages in the order received, the bytes of their payloads, and what acknowledges them all."""

    messages: list[Message]
    size_bytes: int
    token: TokenT


class Source(Protocol[TokenT]):
    """What ingest asks of a broker."""

    async def deliveries(self, at_least_bytes: int = 1) -> list[Deliveries[TokenT]]:
        """Everything received and not yet taken, once there is so much of it."""
        ...

    def acknowledge(self, token: TokenT) -> None:
        """The messages of this token are safe; they need not be sent again."""
        ...

    def backlog(self) -> int:
        """Messages received and not yet acknowledged."""
        ...
