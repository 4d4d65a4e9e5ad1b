"""When a row holds within the week: days and hours on the city's clock.

``days``: empty = every day, ``workday`` or ``holiday`` (also 工作日, 节假日), or
weekdays such as ``1-5`` and ``6,7`` (1 = Monday). ``hours``: empty = all day, else
``08:30-18:00``; ``18:00-08:30`` runs over midnight and belongs to the day it began.
A workday is Monday to Friday unless the calendar of holidays says otherwise. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from domain.clock import from_us

EVERY_DAY = 0b1111111
DAY_MIN = 24 * 60
CITY_ZONE = ZoneInfo("Asia/Shanghai")
DAY_KINDS = {"workday": "workday", "工作日": "workday", "holiday": "holiday", "节假日": "holiday"}

_DAYS = re.compile(r"[1-7](-[1-7])?(,[1-7](-[1-7])?)*")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")


class Moment(NamedTuple):
    """A time on the city's clock; ``weekday`` is 0 for Monday."""

    weekday: int
    minute: int
    workday: bool
    workday_before: bool


@dataclass(frozen=True, slots=True)
class Calendar:
    """The city's zone, and the days that are not what their weekday says (True = worked)."""

    zone: ZoneInfo = CITY_ZONE
    odd_days: Mapping[date, bool] = field(default_factory=dict)

    def workday(self, day: date) -> bool:
        """Whether offices are open."""
        return self.odd_days.get(day, day.weekday() < 5)

    def local(self, at_us: int) -> datetime:
        """The city's time."""
        return from_us(at_us).astimezone(self.zone)

    def moment(self, at_us: int) -> Moment:
        """What windows ask of a time."""
        local = self.local(at_us)
        day = local.date()
        return Moment(
            local.weekday(),
            local.hour * 60 + local.minute,
            self.workday(day),
            self.workday(day - timedelta(days=1)),
        )


@dataclass(frozen=True, slots=True)
class Window:
    """Days and hours; ``to_min`` not after ``from_min`` runs over midnight."""

    days: int = EVERY_DAY
    day_kind: str = ""
    from_min: int = 0
    to_min: int = DAY_MIN

    @property
    def always(self) -> bool:
        """Whether it never excludes anything."""
        return self == ALWAYS

    @property
    def minutes(self) -> int:
        """About how many minutes a week it is open: the fewer, the more specific."""
        days = 7 if self.day_kind == "" else 5 if self.day_kind == "workday" else 2
        length = (self.to_min - self.from_min) % DAY_MIN or DAY_MIN
        return min(days, self.days.bit_count()) * length

    def holds(self, moment: Moment) -> bool:
        """Whether the moment lies within."""
        today = self._day(moment.weekday, moment.workday)
        if self.from_min < self.to_min:
            return today and self.from_min <= moment.minute < self.to_min
        if moment.minute >= self.from_min:
            return today
        return moment.minute < self.to_min and self._day((moment.weekday - 1) % 7, moment.workday_before)

    def _day(self, weekday: int, workday: bool) -> bool:
        if not self.days >> weekday & 1:
            return False
        return self.day_kind == "" or (self.day_kind == "workday") == workday


ALWAYS = Window()


def parse_window(days: str, hours: str) -> Window:
    """The window of two cells of a table.

    Raises: ValueError that says how to write it.
    """
    if not days and not hours:
        return ALWAYS
    kind = DAY_KINDS.get(days, "")
    mask = EVERY_DAY if kind or not days else _weekdays(days)
    if not hours:
        return Window(mask, kind)
    found = _HOURS.fullmatch(hours)
    if found is None:
        raise ValueError(f"hours {hours!r}: write 08:30-18:00, over midnight 18:00-08:30, or nothing")
    h1, m1, h2, m2 = (int(part) for part in found.groups())
    start, end = h1 * 60 + m1, h2 * 60 + m2
    if end > DAY_MIN or start == end:
        raise ValueError(f"hours {hours!r}: the end must differ from the beginning and not lie after 24:00")
    return Window(mask, kind, start, end)


def _weekdays(text: str) -> int:
    if not _DAYS.fullmatch(text):
        raise ValueError(f"days {text!r}: write workday, holiday, or weekdays such as 1-5 or 6,7 (1 = Monday)")
    mask = 0
    for part in text.split(","):
        first, _, last = part.partition("-")
        if last and last < first:
            raise ValueError(f"days {text!r}: {part} runs backwards")
        for day in range(int(first), int(last or first) + 1):
            mask |= 1 << (day - 1)
    return mask
