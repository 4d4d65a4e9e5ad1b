"""Who of a unit is on duty at a time, until when, and who then.

A shift repeats by days and hours within its validity; several at once share the
duty, in the table's order. A substitution puts one person in another's place for as
long as it holds. Where nobody is on the rota the unit's desk answers, so that there is
always somebody. Units without a row in table ``unit`` have a desk all the same. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from alerting.dispatch.windows import ALWAYS, DAY_MIN, Calendar, Window
from domain.clock import US_PER_S, iso, to_us

LOOK_AHEAD_DAYS = 8
"""A weekly rota changes hands within this, if it ever does."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One row of table ``unit``: who answers when the rota is silent."""

    id: str
    name: str
    name_en: str = ""
    desk: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True)
class Shift:
    """One row of table ``rota``; ``instead_of``: a substitution for that person; microseconds."""

    unit: str
    person: str
    contact: str = ""
    instead_of: str = ""
    window: Window = ALWAYS
    valid_from_us: int = 0
    valid_to_us: int | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can be called."""

    name: str
    contact: str = ""


@dataclass(frozen=True, slots=True)
class OnDuty:
    """Who answers for a unit now; ``until_us``: the hand-over, None when none is in sight; ``then``: to whom."""

    people: tuple[Person, ...]
    desk: bool
    why: str
    until_us: int | None = None
    then: tuple[Person, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As a plain object."""
        return {
            "people": [asdict(person) for person in self.people], "desk": self.desk, "why": self.why,
            "until": None if self.until_us is None else iso(self.until_us),
            "then": [asdict(person) for person in self.then],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rota:
    """All shifts by unit, ready to be asked."""

    calendar: Calendar = field(default_factory=Calendar)
    units: dict[str, Unit] = field(default_factory=dict)
    shifts: dict[str, tuple[Shift, ...]] = field(default_factory=dict)

    @classmethod
    def build(cls, units: Iterable[Unit], shifts: Iterable[Shift], calendar: Calendar | None = None) -> Rota:
        """From the tables' rows, in their order."""
        by_unit: dict[str, list[Shift]] = {}
        for shift in shifts:
            by_unit.setdefault(shift.unit, []).append(shift)
        found = {unit: tuple(rows) for unit, rows in by_unit.items()}
        return cls(calendar or Calendar(), {unit.id: unit for unit in units}, found)

    def on_duty(self, unit: str, at_us: int) -> OnDuty:
        """Who of the unit is on duty at a time, and the hand-over after it."""
        people, why = self._at(unit, at_us)
        for boundary_us in self._boundaries(unit, at_us):
            then, _ = self._at(unit, boundary_us)
            if then != people:
                return OnDuty(people or self._desk(unit), not people, why, boundary_us, then or self._desk(unit))
        return OnDuty(people or self._desk(unit), not people, why)

    def _at(self, unit: str, at_us: int) -> tuple[tuple[Person, ...], str]:
        """The people whose shift it is (none: the desk's), and why them."""
        shifts = self.shifts.get(unit, ())
        if not shifts:
            return (), "无值班表，由值班台受理 · no rota, the desk answers"
        moment = self.calendar.moment(at_us)
        holding = [s for s in shifts if _valid(s, at_us) and s.window.holds(moment)]
        stand_ins = {s.instead_of: s for s in holding if s.instead_of}
        people: dict[str, Person] = {}
        words: list[str] = []
        for shift in holding:
            if shift.instead_of:
                continue
            who = stand_ins.get(shift.person, shift)
            people.setdefault(who.person, Person(who.person, who.contact))
            stands_in = who is not shift
            words.append(f"替 {shift.person} · instead of {shift.person}" if stands_in else "当班 · on shift")
        if not people:
            return (), "值班表空档，由值班台受理 · a gap in the rota, the desk answers"
        return tuple(people.values()), "; ".join(dict.fromkeys(words))

    def _desk(self, unit: str) -> tuple[Person, ...]:
        row = self.units.get(unit)
        if row is None:
            return (Person("值班台 · desk"),)
        return (Person(row.desk or f"{row.name}值班台", row.contact),)

    def _boundaries(self, unit: str, at_us: int) -> list[int]:
        """Times after ``at_us`` at which the answer may change, in order."""
        found: set[int] = set()
        minutes = {0}
        for shift in self.shifts.get(unit, ()):
            minutes |= {shift.window.from_min, shift.window.to_min % DAY_MIN}
            found.add(shift.valid_from_us)
            if shift.valid_to_us is not None:
                found.add(shift.valid_to_us)
        if unit not in self.shifts:
            return []
        midnight = self.calendar.local(at_us).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        for day in range(LOOK_AHEAD_DAYS + 1):
            for minute in minutes:
                wall: datetime = midnight + timedelta(days=day, minutes=minute)
                found.add(to_us(wall.replace(tzinfo=self.calendar.zone)))
        last_us = at_us + LOOK_AHEAD_DAYS * DAY_MIN * 60 * US_PER_S
        return sorted(us for us in found if at_us < us <= last_us)


def _valid(shift: Shift, at_us: int) -> bool:
    return shift.valid_from_us <= at_us and (shift.valid_to_us is None or at_us < shift.valid_to_us)
