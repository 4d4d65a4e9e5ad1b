"""Times inside Gridpulse: integers of microseconds since 1970 UTC, or aware datetimes.

Columns carry ``int64`` microseconds (``…_us``), everything that reaches a
person or another program carries an aware UTC datetime written with ``Z``.
This module never reads a clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

US_PER_S = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_us(when: datetime) -> int:
    """Microseconds since 1970 of an aware datetime."""
    assert when.tzinfo is not None, "naive datetime inside Gridpulse"
    return (when - EPOCH) // timedelta(microseconds=1)


def from_us(us: int) -> datetime:
    """The aware UTC datetime of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=int(us))


def iso(us: int) -> str:
    """``2026-11-23T06:05:50.123456Z`` of microseconds since 1970."""
    return from_us(us).isoformat(timespec="microseconds").replace("+00:00", "Z")
