"""Move the event times inside payloads; everything else in them stays as it was. Pure.

A payload that is not one of ours (broken JSON, another vendor's) is returned
unchanged: it was recorded as it came and is sent as it came.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from domain.clock import US_PER_S

MS_FROM = 100_000_000_000
"""An integer from here on is milliseconds (contract, section 4)."""


def shift_time(value: object, shift_us: int) -> object:
    """A contract time (seconds, integer milliseconds or ISO 8601) moved, in the form it had.

    Returns the value itself when it is no such time.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value >= MS_FROM:
        return value + round(shift_us / 1000)
    if isinstance(value, int | float):
        return round(value + shift_us / US_PER_S, 6)
    if isinstance(value, str):
        try:
            when = datetime.fromisoformat(value) + timedelta(microseconds=shift_us)
        except (ValueError, OverflowError):
            return value
        return when.isoformat().replace("+00:00", "Z") if value.endswith("Z") else when.isoformat()
    return value


def shift_payload(payload: bytes, shift_us: int) -> bytes:
    """The payload with its ``t`` moved, or that of each entry of a list."""
    if shift_us == 0:
        return payload
    codec: Any = msgspec.json if payload.lstrip()[:1] in (b"{", b"[") else msgspec.msgpack
    try:
        body = codec.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return payload
    entries = body if isinstance(body, list) else [body]
    moved = False
    for entry in entries:
        if isinstance(entry, dict) and "t" in entry:
            entry["t"] = shift_time(entry["t"], shift_us)
            moved = True
    encoded: bytes = codec.encode(body) if moved else payload
    return encoded
