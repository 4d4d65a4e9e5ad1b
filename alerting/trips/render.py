"""A trip as JSON: for the table, the API and the prepared city case. Pure.

A trip's legs are the town stays of its track that are certain, cut to the trip's
time. Its parts are one per town in the order of first entry; a violation belongs
to the town the truck was in when it began, and where a stretch goes on over a
border each town has its own piece.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alerting.trips.permits import Site
from alerting.trips.trip import DUMPING, HOURS, ROUTE, SPILL, UNCOVERED, Trip, Violation
from domain.clock import iso
from domain.places import Duty
from geo.tracks import Fix, Stay, Suspicion, Track

Names = Mapping[str, Mapping[str, str]]
"""Town code → ``{"zh", "en"}``."""

TITLES: dict[str, dict[str, str]] = {
    UNCOVERED: {"zh": "渣土车未密闭", "en": "Muck truck drives uncovered"},
    ROUTE: {"zh": "渣土车偏离准运路线", "en": "Muck truck is off its permitted route"},
    HOURS: {"zh": "渣土车不在准运时段行驶", "en": "Muck truck drives outside its permitted hours"},
    DUMPING: {"zh": "渣土车在消纳场外倾倒", "en": "Muck truck tipped outside every site"},
    SPILL: {"zh": "渣土车沿途遗撒", "en": "Muck truck lost its load on the road"},
}
TRANSIT = "truck.transit"
OUTSIDE = {"zh": "各镇街之外", "en": "outside all towns"}


@dataclass(frozen=True, slots=True)
class Leg:
    """A certain stay within the trip's time; ``because``: why it ended, None while it goes on."""

    stay: Stay
    from_us: int
    to_us: int
    because: str | None

    @property
    def code(self) -> str | None:
        """The town or cell."""
        return self.stay.code


@dataclass(frozen=True, slots=True)
class Piece:
    """A violation's share of one leg."""

    violation: Violation
    from_us: int
    to_us: int


@dataclass(frozen=True, slots=True)
class Part:
    """One town's share of a trip."""

    town: str
    legs: tuple[Leg, ...]
    pieces: tuple[Piece, ...]


def legs_of(trip: Trip, stays: Sequence[Stay]) -> list[Leg]:
    """The certain stays that overlap the trip; the first one at all where none is certain."""
    within = [s for s in stays if s.from_us <= trip.to_us and s.to_us >= trip.from_us]
    chosen = [s for s in within if s.settled] or within[:1]
    return [
        Leg(
            s, max(s.from_us, trip.from_us), min(s.to_us, trip.to_us),
            trip.ended_because if trip.ended_because is not None and s.to_us >= trip.to_us else s.ended_because,
        )
        for s in chosen
    ]  # fmt: skip


def pieces_of(violation: Violation, legs: Sequence[Leg]) -> list[tuple[Leg, Piece]]:
    """A violation cut at the borders; a moment belongs to the leg it lies in, or to the one before it."""
    began, until = violation.began.time_us, violation.until_us
    found = []
    for leg, following in zip(legs, [*legs[1:], None], strict=True):
        # Between two points of different towns the time is the earlier town's.
        end_us = until if following is None else following.from_us - 1
        first = began if leg is legs[0] else max(began, leg.from_us)
        last = min(until, end_us)
        if first <= last:
            found.append((leg, Piece(violation, first, last)))
    return found


def parts_of(trip: Trip, legs: Sequence[Leg]) -> list[Part]:
    """One part per town in the order of first entry."""
    cut = [pair for violation in trip.violations for pair in pieces_of(violation, legs)]
    towns = list(dict.fromkeys(leg.code for leg in legs if leg.code is not None))
    return [
        Part(
            town,
            tuple(leg for leg in legs if leg.code == town),
            tuple(piece for leg, piece in cut if leg.code == town),
        )
        for town in towns
    ]


def trip_body(trip_id: str, vehicle: str, trip: Trip, track: Track, names: Names) -> dict[str, Any]:
    """The trip as the API shows it."""
    legs = legs_of(trip, track.towns)
    cells = legs_of(trip, track.cells)
    owner = {id(v): leg.code for v in trip.violations for leg, _ in pieces_of(v, legs)[:1]}
    return {
        "id": trip_id, "vehicle": vehicle, "state": "under way" if trip.ended_because is None else "ended",
        "started_at": iso(trip.from_us), "newest_at": iso(trip.to_us),
        "ended_at": None if trip.ended_because is None else iso(trip.to_us), "because": trip.ended_because,
        "length_m": round(trip.length_m),
        "origin": end_json(trip.began, trip.origin, names),
        "destination": None if trip.ended_because is None else end_json(trip.newest, trip.destination, names),
        "legs": [{"number": n, "town": leg.code, "name": name_of(leg.code, names), **leg_json(leg)}
                 for n, leg in enumerate(legs, 1)],
        "cells": [{"grid": leg.code, **leg_json(leg)} for leg in cells],
        "violations": [violation_json(v, owner.get(id(v)), names) for v in trip.violations],
        "suspicions": [suspicion_json(s) for s in trip.suspicions],
    }  # fmt: skip


def end_json(fix: Fix, site: Site | None, names: Names) -> dict[str, Any]:
    """Where a trip began or ended: the place, and the site when it is a known one."""
    return {
        "site": None if site is None else {"id": site.id, "name": site.name},
        "town": fix.town, "name": name_of(fix.town, names), "grid": fix.grid, "lon": fix.lon, "lat": fix.lat,
    }  # fmt: skip


def leg_json(leg: Leg) -> dict[str, Any]:
    """When, and why it ended."""
    return {"from": iso(leg.from_us), "to": iso(leg.to_us), "because": leg.because}


def violation_json(violation: Violation, town: str | None, names: Names) -> dict[str, Any]:
    """A violation with the town it belongs to."""
    v = violation
    return {
        "kind": v.kind, "title": TITLES[v.kind], "town": town, "name": name_of(town, names),
        "village": v.began.village if v.began.town == town else None,
        "grid": v.began.grid if v.began.town == town else None,
        "from": iso(v.began.time_us), "to": iso(v.until_us), "over": v.over,
        "lon": v.began.lon, "lat": v.began.lat, "details": v.details,
    }  # fmt: skip


def suspicion_json(suspicion: Suspicion) -> dict[str, Any]:
    """A suspicion for people."""
    s = suspicion
    return {
        "kind": s.kind, "at": iso(s.time_us), "lon": s.lon, "lat": s.lat, "metres": round(s.metres),
        "datum": s.datum,
    }  # fmt: skip


def name_of(town: str | None, names: Names) -> dict[str, str]:
    """Both names of a town; its code where it has none."""
    return OUTSIDE if town is None else dict(names.get(town) or {"zh": town, "en": town})


# ---------------------------------------------------------------- the prepared city case


def case_body(trip_id: str, vehicle: str, trip: Trip, parts: Sequence[Part], names: Names) -> dict[str, Any]:
    """The city's case over all parts."""
    chain = [name_of(part.town, names) for part in parts]
    return {
        "kind": "trip", "trip": trip_id, "vehicle": vehicle, "level": "city", "parts": len(parts),
        "towns": [part.town for part in parts], "started_at": iso(trip.from_us), "newest_at": iso(trip.to_us),
        "violations": len(trip.violations),
        "title": {
            "zh": f"渣土车 {vehicle} 跨镇街行程：" + "→".join(name["zh"] for name in chain),
            "en": f"Trip of muck truck {vehicle}: " + " → ".join(name["en"] for name in chain),
        },
        "why": {
            "zh": f"行程经过{len(parts)}个镇街，由市级牵头，各镇街按先后各办一段",
            "en": f"The trip lies in {len(parts)} towns: the city leads, each town has its part in time order",
        },
    }  # fmt: skip


def part_body(
    number: int, part: Part, last: bool, names: Names, duty_of: Callable[[str, Fix], Sequence[Duty]]
) -> dict[str, Any]:
    """One town's part: when, what happened there, and who there acts."""
    kinds = list(dict.fromkeys(piece.violation.kind for piece in part.pieces)) or [TRANSIT]
    duties = {duty.unit: duty for kind in kinds for duty in duty_of(kind, part.legs[0].stay.entry)}
    return {
        "number": number, "town": part.town, "name": name_of(part.town, names),
        "role": "origin" if number == 1 else "destination" if last else "transit",
        "from": iso(part.legs[0].from_us), "to": iso(part.legs[-1].to_us),
        "stretches": [{"from": iso(leg.from_us), "to": iso(leg.to_us)} for leg in part.legs],
        "violations": [
            {"kind": p.violation.kind, "title": TITLES[p.violation.kind], "from": iso(p.from_us),
             "to": iso(p.to_us), "lon": p.violation.began.lon, "lat": p.violation.began.lat}
            for p in part.pieces
        ],
        "duty": [{"unit": d.unit, "role": d.role, "why": d.why, "name": d.name} for d in duties.values()],
    }  # fmt: skip
