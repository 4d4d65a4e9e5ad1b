"""How long the next chunks of a table are: by what comes in, so that the newest one stays in memory. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

CHUNK_BYTES_MAX = 1 << 30
"""Bytes of a chunk with its indexes: inserts go all over an index, so the newest must fit into memory."""
LENGTHS = tuple(timedelta(hours=hours) for hours in (3, 6, 12, 24))
"""Lengths to choose from. Whole hours, as rollups need; shorter ones would make too many to plan over."""
MEASURED = timedelta(days=1)
"""How far back chunks are looked at."""
MEASURED_MIN = timedelta(hours=1)
"""A chunk younger than this says too little about the rate."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk's time and its bytes, indexes included."""

    start: datetime
    end: datetime
    size_bytes: int


def rate_bytes_s(chunks: Sequence[Chunk], now: datetime) -> float | None:
    """Bytes a second of the busiest of these chunks; None when they are too young to say."""
    rates = [
        chunk.size_bytes / (min(chunk.end, now) - chunk.start).total_seconds()
        for chunk in chunks
        if min(chunk.end, now) - chunk.start >= MEASURED_MIN
    ]
    return max(rates, default=None)


def chunk_length(rate: float, longest: timedelta, current: timedelta) -> timedelta:
    """The longest of LENGTHS that stays below CHUNK_BYTES_MAX at ``rate`` bytes a second.

    Shorter at once, longer only where it would be half full, so that it does not go to and fro.
    """
    choices = [length for length in LENGTHS if length <= longest]

    def fits(length: timedelta) -> bool:
        room = CHUNK_BYTES_MAX if length <= current else CHUNK_BYTES_MAX / 2
        return rate * length.total_seconds() <= room

    return max((length for length in choices if fits(length)), default=choices[0])
