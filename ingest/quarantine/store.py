"""Quarantined messages that somebody wants sent in again, in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass

from db.pool import Pool, unavailable
from domain.clock import to_us

CHANNEL = "quarantine_replay"

WANTED = """
SELECT id, topic, payload, received_at, clock, count FROM quarantine
WHERE replay_asked_at IS NOT NULL ORDER BY id LIMIT %s
"""
# A message that came to quarantine again has been counted there again.
SETTLE = """
UPDATE quarantine SET replay_asked_at = NULL,
    replayed_at = CASE WHEN quarantine.count = was.count THEN now() END, count = was.count
FROM unnest(%s::bigint[], %s::int[]) AS was (id, count) WHERE quarantine.id = was.id
RETURNING quarantine.replayed_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """One quarantined message as it came."""

    id: int
    topic: str
    payload: bytes
    received_us: int
    clock: str | None
    count: int


class QuarantineStore:
    """Over the server's pool. All methods raise DatabaseUnavailable when the database does not answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def wanted(self, at_most: int) -> list[Kept]:
        """The next messages that are to be sent in again."""
        with unavailable("reading quarantine"):
            async with self._pool.connection() as conn:
                rows = await (await conn.execute(WANTED, [at_most])).fetchall()
        return [
            Kept(id_, topic, bytes(payload), to_us(received), clock, count)
            for id_, topic, payload, received, clock, count in rows
        ]

    async def settle(self, kept: list[Kept]) -> int:
        """Note what became of messages sent in again; returns how many are through."""
        with unavailable("noting what was sent in again"):
            async with self._pool.connection() as conn, conn.transaction():
                cursor = await conn.execute(SETTLE, [[k.id for k in kept], [k.count for k in kept]])
                return sum(bool(row[0]) for row in await cursor.fetchall())
