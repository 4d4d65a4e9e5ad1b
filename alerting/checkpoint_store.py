"""Checkpoints of detectors in PostgreSQL: one at a time, replaced whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from db.pool import Connection

DELETE = "DELETE FROM detector_state"
INSERT = """
INSERT INTO detector_state (rule, part, version, detector, settings, saved_at, body)
VALUES (%s, %s, %s, %s, %s::jsonb, %s, %s)"""
SELECT = """
SELECT rule, version, detector, settings, saved_at, body FROM detector_state ORDER BY rule, part"""

Row = tuple[str, int, int, str, str, datetime, bytes]
"""rule, part, version, detector, settings as JSON, when it was taken, bytes."""


@dataclass(slots=True)
class Saved:
    """One rule's part of a checkpoint; the rule ``''`` is how far series were fed."""

    rule: str
    version: int
    detector: str
    settings: dict[str, Any]
    saved_at: datetime
    parts: list[bytes] = field(default_factory=list)


async def replace_all(conn: Connection, rows: AsyncIterator[Row]) -> int:
    """Put a checkpoint in the place of the last one, in one transaction; returns its bytes."""
    size = 0
    async with conn.transaction():
        await conn.execute(DELETE)
        async for row in rows:
            await conn.execute(INSERT, row)
            size += len(row[-1])
    return size


async def read_all(conn: Connection) -> list[Saved]:
    """The checkpoint, by rule; empty when none was made."""
    found: dict[str, Saved] = {}
    for rule, version, detector, settings, saved_at, body in await (await conn.execute(SELECT)).fetchall():
        saved = found.setdefault(rule, Saved(rule, version, detector, settings, saved_at))
        saved.parts.append(bytes(body))
    return list(found.values())
