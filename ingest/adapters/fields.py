"""Fields of a vendor's JSON, read with the path that led to them, so that an error names the field. Pure.

Bounds: a payload has at most 256 KiB (a codec's bound), texts 1,000 characters and no
NUL, an object or list 10,000 entries, nesting what msgspec's own limit allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from domain.errors import PayloadError
from ingest.adapters.things import Given
from ingest.codec import PAYLOAD_BYTES_MAX
from ingest.times import check_plausible, parse_time

TEXT_MAX = 1000
ENTRIES_MAX = 10_000
NAME_SHOWN_MAX = 48
DIGITS_MAX = 400

_decode = msgspec.json.Decoder().decode


def json_of(payload: bytes) -> Any:
    """Any JSON value. Raises: PayloadError ``empty``, ``too_large``, ``not_json``."""
    if not payload:
        raise PayloadError("empty", "the payload has no bytes")
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise PayloadError("too_large", f"{len(payload)} bytes, more than {PAYLOAD_BYTES_MAX}")
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise PayloadError("not_json", str(error)) from error


def fields_of(given: Given) -> Fields:
    """The payload as a JSON object. Raises: PayloadError."""
    return Fields.of(json_of(given.payload), "payload")


def shown(name: object) -> str:
    """A field's name as an error can carry it."""
    text = str(name)
    return text if len(text) <= NAME_SHOWN_MAX else text[:NAME_SHOWN_MAX] + "…"


class Fields:
    """One JSON object. ``*_or`` methods give None for what is absent or null; the others refuse."""

    __slots__ = ("path", "values")

    def __init__(self, values: dict[str, Any], path: str) -> None:
        self.values = values
        self.path = path

    @classmethod
    def of(cls, value: Any, path: str) -> Fields:
        """Raises: PayloadError ``wrong_type`` where it is no object."""
        if not isinstance(value, dict):
            raise PayloadError("wrong_type", f"{path} is not an object")
        if len(value) > ENTRIES_MAX:
            raise PayloadError("too_many_values", f"{path} has {len(value)} entries, more than {ENTRIES_MAX}")
        return cls(value, path)

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{shown(name)}"

    def missing(self, name: str) -> PayloadError:
        """The error of a field that must be there."""
        return PayloadError("missing", f"{self.at(name)} is not there")

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def object(self, name: str) -> Fields:
        """A nested object. Raises: PayloadError."""
        if name not in self:
            raise self.missing(name)
        return Fields.of(self.values[name], self.at(name))

    def object_or(self, name: str) -> Fields | None:
        """A nested object or None. Raises: PayloadError."""
        return self.object(name) if name in self else None

    def list_or(self, name: str) -> list[Any]:
        """A list; empty where it is absent. Raises: PayloadError."""
        if name not in self:
            return []
        value = self.values[name]
        if not isinstance(value, list):
            raise PayloadError("wrong_type", f"{self.at(name)} is not a list")
        if len(value) > ENTRIES_MAX:
            raise PayloadError(
                "too_many_values", f"{self.at(name)} has {len(value)} items, more than {ENTRIES_MAX}"
            )
        return value

    def objects(self, name: str) -> Iterator[Fields]:
        """A list of objects. Raises: PayloadError."""
        for index, item in enumerate(self.list_or(name)):
            yield Fields.of(item, f"{self.at(name)}[{index}]")

    def texts(self, name: str) -> list[str]:
        """A list of texts. Raises: PayloadError."""
        return [text_of(item, f"{self.at(name)}[{i}]") for i, item in enumerate(self.list_or(name))]

    def text(self, name: str) -> str:
        """A text that is not empty; numbers are taken as written. Raises: PayloadError."""
        found = self.text_or(name)
        if not found:
            raise self.missing(name)
        return found

    def text_or(self, name: str) -> str | None:
        """A text, or None. Raises: PayloadError."""
        return text_of(self.values[name], self.at(name)) if name in self else None

    def number(self, name: str) -> float:
        """A finite number; one in quotes is taken. Raises: PayloadError."""
        if name not in self:
            raise self.missing(name)
        return number_of(self.values[name], self.at(name))

    def number_or(self, name: str) -> float | None:
        """A finite number, or None. Raises: PayloadError."""
        return self.number(name) if name in self else None

    def time(self, name: str, given: Given) -> int:
        """A time in microseconds, not ahead of the arrival. Raises: PayloadError."""
        if name not in self:
            raise self.missing(name)
        return time_of(self.values[name], self.at(name), given)

    def time_or_arrival(self, name: str, given: Given) -> int:
        """A time, or the arrival's where there is none. Raises: PayloadError."""
        return self.time(name, given) if name in self else given.clock_us


def text_of(value: Any, path: str) -> str:
    """A text, bounded. Raises: PayloadError."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise PayloadError("wrong_type", f"{path} is not a text")
    if isinstance(value, int) and value.bit_length() > 4 * DIGITS_MAX:
        raise PayloadError("too_long", f"{path} is a number of too many digits")
    text = value if isinstance(value, str) else str(value)
    if len(text) > TEXT_MAX:
        raise PayloadError("too_long", f"{path} has {len(text)} characters, more than {TEXT_MAX}")
    if "\0" in text:
        raise PayloadError("wrong_type", f"{path} holds a NUL character")
    return text


def number_of(value: Any, path: str) -> float:
    """A finite number, also in quotes. Raises: PayloadError."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise PayloadError("wrong_type", f"{path} is not a number")
    if isinstance(value, str) and len(value) > DIGITS_MAX:
        raise PayloadError("wrong_type", f"{path} is not a number")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        reason = "not_finite" if isinstance(error, OverflowError) else "wrong_type"
        raise PayloadError(reason, f"{path} is not a finite number") from error
    if not math.isfinite(number):
        raise PayloadError("not_finite", f"{path} is {number}")
    return number


def time_of(value: Any, path: str, given: Given) -> int:
    """A time in microseconds: numbers as in the contract, ISO 8601 with any fraction. Raises: PayloadError."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise PayloadError("bad_time", f"{path} is not a time")
    try:
        time_us = parse_time(value, given.zone)
        check_plausible(time_us, given.clock_us)
    except PayloadError as error:
        raise PayloadError(error.reason, f"{path}: {error.detail}") from error
    return time_us


def whole_seconds(value: float, path: str, given: Given) -> int:
    """Epoch seconds, also where the number alone would read as milliseconds. Raises: PayloadError."""
    return time_of(float(value), path, given)
