"""ULIDs: 26 characters of Crockford's base 32, 48 bits of time in ms and 80 random bits."""

from __future__ import annotations

import os

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(now_us: int, random: bytes | None = None) -> str:
    """An identifier that sorts by ``now_us`` (microseconds since 1970); ``random`` is 10 bytes."""
    number = (now_us // 1000) << 80 | int.from_bytes(os.urandom(10) if random is None else random, "big")
    return "".join(ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
