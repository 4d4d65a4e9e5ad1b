"""Opaque keyset cursors: where the last page ended, as the values of its sort key.

A cursor is base64url of a JSON list that starts with the list's name, so that one
list's cursor is refused by another instead of giving wrong pages.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any

import msgspec

from domain.clock import from_us
from domain.errors import PayloadError

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000


def encode_cursor(name: str, *key: str | int | float) -> str:
    """The cursor after the row whose sort key is ``key``."""
    return base64.urlsafe_b64encode(msgspec.json.encode([name, *key])).decode().rstrip("=")


def decode_cursor(name: str, cursor: str, *types: type) -> list[Any]:
    """The sort key of a cursor.

    Raises: PayloadError ``bad_cursor`` when it is not one of ``name``'s.
    """
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        found, *key = msgspec.json.decode(raw, type=list)
        if found == name and len(key) == len(types) and all(map(fits, key, types)):
            return key
    except (binascii.Error, msgspec.DecodeError, ValueError):
        pass
    raise PayloadError("bad_cursor", f"this is no cursor of {name}; take `next` of the page before, unchanged")


def fits(value: object, wanted: type) -> bool:
    """Whether a decoded value is of the type the key needs; a bool is no integer."""
    return type(value) is wanted


def cursor_time(name: str, at_us: int) -> datetime:
    """A cursor's time. Raises: PayloadError ``bad_cursor`` when no time can be that."""
    try:
        return from_us(at_us)
    except OverflowError as error:
        raise PayloadError("bad_cursor", f"this is no cursor of {name}") from error
