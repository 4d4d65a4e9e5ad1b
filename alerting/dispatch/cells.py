"""The cells of one row of a table, read by name; what is wrong with them is collected, not raised.

Every method gives a value of its type even for a bad cell, so that one look at a
row finds all of its faults; a row with faults is not used. Pure.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from alerting.dispatch.windows import ALWAYS, Window, parse_window
from domain.clock import to_us
from domain.errors import PayloadError
from geo.datum import DATUMS, to_wgs84

CODE = re.compile(r"[0-9]{6}|[0-9]{9}|[0-9]{12}|[0-9]{15}")


@dataclass(slots=True)
class Cells:
    """One row; ``places``: names that stand for codes; ``zone``: of times that name none."""

    record: Mapping[str, Any]
    places: Mapping[str, str]
    zone: ZoneInfo
    wrong: list[str] = field(default_factory=list)

    def bad(self, name: str, reason: str) -> None:
        """Note what is wrong with a cell."""
        self.wrong.append(f"{name}: {reason}")

    def text(self, name: str) -> str:
        """The cell, empty when there is none."""
        return str(self.record.get(name, ""))

    def needed(self, name: str) -> str:
        """A cell that must not be empty."""
        value = self.text(name)
        if not value:
            self.bad(name, "is missing")
        return value

    def matching(self, name: str, pattern: str, how: str, *, needed: bool = False) -> str:
        """A cell of a form; ``how`` says how to write it."""
        value = self.text(name)
        if not value and not needed:
            return ""
        if not re.fullmatch(pattern, value):
            self.bad(name, f"{value!r}: {how}")
        return value

    def choice(self, name: str, choices: Sequence[str], default: str = "") -> str:
        """One of a few words."""
        value = self.text(name) or default
        if value not in choices:
            self.bad(name, f"{value!r}: write {', '.join(choices[:-1])} or {choices[-1]}")
            return choices[0]
        return value

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """A finite number between two bounds."""
        value = self.text(name)
        if not value:
            return default
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            self.bad(name, f"{value!r}: write a number from {least:g} to {most:g}")
            return default
        return number

    def flag(self, name: str, default: bool) -> bool:
        """true or false."""
        value = self.text(name).lower()
        if value in ("true", "false", ""):
            return default if value == "" else value == "true"
        self.bad(name, f"{value!r}: write true or false")
        return default

    def mapping(self, name: str) -> dict[str, Any]:
        """A table of TOML, or JSON text."""
        value = self.record.get(name, {})
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except json.JSONDecodeError as error:
                self.bad(name, f"not JSON: {error.msg}")
                return {}
        if not isinstance(value, dict):
            self.bad(name, "write an object of settings")
            return {}
        return value

    def place(self, name: str) -> str:
        """A code of 6, 9, 12 or 15 digits, or a name that is one place's; empty = everywhere."""
        value = self.text(name)
        if not value or CODE.fullmatch(value):
            return value
        if value in self.places:
            return self.places[value]
        self.bad(name, f"{value!r} is no single place: write its code, or town and village as 望牛墩镇/石排村")
        return ""

    def window(self) -> Window:
        """Of the cells ``days`` and ``hours``."""
        try:
            return parse_window(self.text("days"), self.text("hours"))
        except ValueError as error:
            self.wrong.append(str(error))
            return ALWAYS

    def time(self, name: str) -> int | None:
        """Microseconds of a date or a time; a date is its midnight in the city."""
        value = self.text(name)
        if not value:
            return None
        try:
            when = datetime.fromisoformat(value)
            return to_us(when if when.tzinfo is not None else when.replace(tzinfo=self.zone))
        except (ValueError, OverflowError):
            self.bad(name, f"{value!r}: write 2027-01-01 or 2027-01-01T08:00")
            return None

    def period(self) -> tuple[int, int | None]:
        """Of the cells ``from`` and ``to``; ``to`` is the first moment that is no longer within."""
        start, end = self.time("from") or 0, self.time("to")
        if end is not None and end <= start:
            self.bad("to", f"{self.text('to')!r} does not lie after from")
        return start, end

    def day(self, name: str) -> date:
        """A calendar day."""
        try:
            return date.fromisoformat(self.text(name))
        except ValueError:
            self.bad(name, f"{self.text(name)!r}: write 2027-01-01")
            return date(1970, 1, 1)

    def point(self) -> tuple[float, float]:
        """WGS-84 degrees of ``lon``, ``lat`` in ``datum``, which is never guessed."""
        lon, lat = self.number("lon", math.nan, -180.0, 180.0), self.number("lat", math.nan, -90.0, 90.0)
        if math.isnan(lon) or math.isnan(lat):
            if not self.text("lon") or not self.text("lat"):
                self.bad("lon", "lon and lat are both needed")
            return 0.0, 0.0
        if not self.text("datum"):
            self.bad("datum", f"write one of {', '.join(DATUMS)}; it is never guessed")
            return 0.0, 0.0
        try:
            return to_wgs84(lon, lat, self.text("datum"))
        except PayloadError as error:
            self.wrong.append(error.detail)
            return 0.0, 0.0
