"""Times in payloads: epoch seconds, epoch milliseconds or ISO 8601, to microseconds UTC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, tzinfo

import numpy as np

from domain.clock import to_us
from domain.errors import PayloadError

ARRAY_FROM = 8
"""From so many times on an array is faster than a loop."""

SECONDS_MAX = 2**55 / 1e6

MS_FROM = 10**11
"""An integer from here on is milliseconds (contract, section 4)."""

AHEAD_US_MAX = 300 * 1_000_000
OLDEST_US = 946_684_800_000_000
"""2000-01-01: a clock that says less was never set."""


def parse_time(value: float | int | str, zone: tzinfo) -> int:
    """Microseconds since 1970 of a contract time ``T``; ``zone`` is for text without one.

    Raises: PayloadError ``bad_time``.
    """
    if isinstance(value, str):
        try:
            when = datetime.fromisoformat(value)
            return to_us(when if when.tzinfo is not None else when.replace(tzinfo=zone))
        except (ValueError, OverflowError) as error:
            raise PayloadError("bad_time", f"t is not ISO 8601: {value[:40]!r}") from error
    if isinstance(value, int) and abs(value) >= MS_FROM:
        return check_range(value * 1000)
    if not math.isfinite(value) or abs(value) > SECONDS_MAX:
        raise PayloadError("bad_time", "t is not a finite number of seconds within all calendars")
    return check_range(round(value * 1e6))


def parse_times(values: Sequence[float | int | str], zone: tzinfo) -> list[int]:
    """``parse_time`` of many values; numbers of one kind go as one array. Raises: PayloadError."""
    if len(values) >= ARRAY_FROM and set(map(type, values)) == {float}:
        seconds = np.array(values, dtype=np.float64)
        if not np.isfinite(seconds).all() or np.abs(seconds).max() > SECONDS_MAX:
            raise PayloadError("bad_time", "t is not a finite number of seconds within all calendars")
        us: list[int] = np.rint(seconds * 1e6).astype(np.int64).tolist()
        return us
    return [parse_time(value, zone) for value in values]


def check_range(us: int) -> int:
    """Only what fits a database time. Raises: PayloadError ``bad_time``."""
    if not -(2**60) < us < 2**55:
        raise PayloadError("bad_time", "t lies outside all calendars; give epoch seconds or milliseconds")
    return us


def check_plausible(time_us: int, clock_us: int) -> None:
    """Against the arrival clock: not more than 300 s ahead, not from an unset clock.

    Raises: PayloadError ``time_ahead`` or ``time_unset``.
    """
    if time_us > clock_us + AHEAD_US_MAX:
        ahead_s = (time_us - clock_us) / 1e6
        raise PayloadError("time_ahead", f"t is {ahead_s:.0f} s ahead of arrival, more than 300 s")
    if time_us < OLDEST_US:
        raise PayloadError("time_unset", "t is before 2000: the device's clock is not set")
