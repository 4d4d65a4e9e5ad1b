"""Trips of trucks: from the point where the bed becomes loaded to where it is empty, and what went wrong.

A trip begins with the first point whose bed is loaded and ends when the bed is
empty (``emptied``), when the truck stands longer than ``stop_s`` (``stopped``), is
not heard of for as long (``silent``), or after ``trip_s`` (``too long``). A bed
that is loaded again within ``flap_s`` continues the trip: bed sensors flap.

Rules, each with its hold time before it says anything:

truck.uncovered   loaded with the cover open (the alert is raised by the detector
                  ``vehicle_cover``; here it is noted for the trip)
truck.route       off the permitted towns or corridor
truck.hours       under way outside the permitted hours
truck.dumping     emptied outside every tip, standing or slow
truck.spill       emptied outside every tip at ``spill_kmh`` or more: the load was lost on the road

Where the truck is suspected to send another datum than it says, the rules that
depend on the exact place (route, dumping, spill) are silent: the suspicion is told
instead of a wrong accusation. ``TripFold`` takes accepted points of rising event
time; pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any

from alerting.trips.permits import Permissions, Permit, Site, permits_at
from geo.tracks import Fix, Suspicion, metres_between

US_PER_S = 1_000_000
UNCOVERED, ROUTE, HOURS, DUMPING, SPILL = (
    "truck.uncovered", "truck.route", "truck.hours", "truck.dumping", "truck.spill",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TripRules:
    """Bounds of the rules; seconds, metres, km/h."""

    uncovered_s: float = 10.0
    route_s: float = 60.0
    hours_s: float = 60.0
    stop_s: float = 7200.0
    stop_m: float = 100.0
    flap_s: float = 60.0
    trip_s: float = 86_400.0
    spill_kmh: float = 15.0


DEFAULT_RULES = TripRules()


@dataclass(slots=True)
class Violation:
    """One stretch (or moment) against a rule: ``until_us`` is its newest point, ``over`` whether it ended."""

    kind: str
    began: Fix
    until_us: int
    over: bool = False
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Trip:
    """One loaded way; ``ended_because`` None while it goes on."""

    began: Fix
    newest: Fix
    origin: Site | None
    ended_because: str | None = None
    destination: Site | None = None
    length_m: float = 0.0
    violations: list[Violation] = field(default_factory=list)
    suspicions: list[Suspicion] = field(default_factory=list)

    @property
    def from_us(self) -> int:
        """When the bed became loaded."""
        return self.began.time_us

    @property
    def to_us(self) -> int:
        """When it ended, or the newest point."""
        return self.newest.time_us


class _Stretch:
    """A rule over time: bad for ``hold_s`` begins a violation, good for as long ends it."""

    def __init__(self, kind: str, hold_s: float) -> None:
        self.kind, self.hold_us = kind, round(hold_s * US_PER_S)
        self.bad: Fix | None = None
        self.good_us: int | None = None
        self.running: Violation | None = None

    def feed(self, fix: Fix, bad: bool, details: dict[str, Any]) -> Violation | None:
        """A new violation, when one begins with this point."""
        if not bad:
            self.bad = None
            if self.running is not None:
                self.good_us = self.good_us or fix.time_us
                if fix.time_us - self.good_us >= self.hold_us:
                    self.end()
            return None
        self.good_us = None
        if self.running is not None:
            self.running.until_us = fix.time_us
            return None
        self.bad = self.bad or fix
        if fix.time_us - self.bad.time_us < self.hold_us:
            return None
        self.running = Violation(self.kind, self.bad, fix.time_us, details=details)
        return self.running

    def end(self) -> None:
        """The trip or the violation is over."""
        if self.running is not None:
            self.running.over = True
        self.bad, self.good_us, self.running = None, None, None


class TripFold:
    """One vehicle's trips; the one under way is the last."""

    def __init__(
        self, vehicle: str, permissions: Permissions, zone: tzinfo, rules: TripRules = DEFAULT_RULES
    ) -> None:
        self.trips: list[Trip] = []
        self._permissions, self._permits = permissions, permissions.of(vehicle)
        self._zone, self._rules = zone, rules
        self._bed: str | None = None
        self._cover: str | None = None
        self._rest: Fix | None = None  # where it stands since, while it stands
        self._waits = False  # ended by a stop, still loaded: a new trip begins when it moves
        self._cover_open = _Stretch(UNCOVERED, rules.uncovered_s)
        self._off_route = _Stretch(ROUTE, rules.route_s)
        self._off_hours = _Stretch(HOURS, rules.hours_s)

    @property
    def under_way(self) -> Trip | None:
        """The trip that has not ended."""
        return self.trips[-1] if self.trips and self.trips[-1].ended_because is None else None

    @property
    def bed(self) -> str | None:
        """What the truck last said of its bed."""
        return self._bed

    def add(self, fix: Fix) -> None:
        """The next accepted point."""
        self._bed, self._cover = fix.bed or self._bed, fix.cover or self._cover
        trip = self.under_way
        if trip is not None and fix.time_us - trip.to_us > self._rules.stop_s * US_PER_S:
            self._end(trip, "silent")
            trip, self._waits = None, False
        if self._bed != "loaded":
            self._waits = False
            if trip is not None and self._bed == "empty":
                self._empty(trip, fix)
            return
        if trip is None:
            trip = self._begin(fix)
            if trip is None:
                return
        self._move(trip, fix)

    def suspect(self, suspicion: Suspicion) -> None:
        """The track found something that cannot be; it concerns the trip under way."""
        if self.under_way is not None:
            self.under_way.suspicions.append(suspicion)

    def forget_before(self, time_us: int) -> None:
        """Drop ended trips that ended before."""
        self.trips = [t for t in self.trips if t.ended_because is None or t.to_us >= time_us]

    def _begin(self, fix: Fix) -> Trip | None:
        last = self.trips[-1] if self.trips else None
        if self._waits and self._rest is not None:
            if metres_between(self._rest, fix) <= self._rules.stop_m:
                return None
        elif last is not None and last.ended_because == "emptied" and self._flapped(last, fix):
            last.ended_because, last.destination = None, None
            last.violations = [v for v in last.violations if v.kind not in (DUMPING, SPILL)]
            return last
        self._waits, self._rest = False, fix
        trip = Trip(fix, fix, self._permissions.site_at("load", fix.lon, fix.lat, fix.time_us))
        self._check_datum(trip, "load", fix)
        self.trips.append(trip)
        return trip

    def _flapped(self, last: Trip, fix: Fix) -> bool:
        return fix.time_us - last.to_us <= self._rules.flap_s * US_PER_S

    def _move(self, trip: Trip, fix: Fix) -> None:
        trip.length_m += metres_between(trip.newest, fix)
        trip.newest = fix
        self._judge(trip, fix)
        if self._rest is None or metres_between(self._rest, fix) > self._rules.stop_m:
            self._rest = fix
        elif fix.time_us - self._rest.time_us >= self._rules.stop_s * US_PER_S:
            self._end(trip, "stopped")
            self._waits = True
        if trip.ended_because is None and trip.to_us - trip.from_us >= self._rules.trip_s * US_PER_S:
            self._end(trip, "too long")

    def _judge(self, trip: Trip, fix: Fix) -> None:
        """The rules that hold on the way."""
        permits = permits_at(self._permits, fix.time_us)
        hours = [p for p in permits if p.in_hours(fix.time_us, self._zone)]
        routed = not permits or any(p.on_route(fix.lon, fix.lat, fix.town) for p in permits)
        named: dict[str, Any] = {"permits": [p.id for p in permits]}
        self._note(trip, self._cover_open.feed(fix, self._cover == "open", {}))
        self._note(trip, self._off_hours.feed(fix, bool(permits) and not hours, named))
        off = not routed and not _misplaced(trip)
        details = {**named, "off_m": _off_m(permits, fix)} if off else {}
        self._note(trip, self._off_route.feed(fix, off, details))

    def _empty(self, trip: Trip, fix: Fix) -> None:
        trip.length_m += metres_between(trip.newest, fix)
        trip.newest = fix
        trip.destination = self._permissions.site_at("tip", fix.lon, fix.lat, fix.time_us)
        if trip.origin is None:  # else the place where it loaded has shown the datum to be right
            self._check_datum(trip, "tip", fix)
        known = self._permissions.knows("tip", fix.time_us)
        if known and trip.destination is None and not _misplaced(trip):
            fast = fix.speed_kmh is not None and fix.speed_kmh >= self._rules.spill_kmh
            details = {"speed_kmh": fix.speed_kmh}
            trip.violations.append(Violation(SPILL if fast else DUMPING, fix, fix.time_us, True, details))
        self._end(trip, "emptied")

    def _end(self, trip: Trip, because: str) -> None:
        trip.ended_because = because
        for stretch in (self._cover_open, self._off_route, self._off_hours):
            stretch.end()

    def _check_datum(self, trip: Trip, kind: str, fix: Fix) -> None:
        found = self._permissions.datum_of(kind, fix.lon, fix.lat, fix.time_us)
        if found is None:
            return
        datum, site = found
        outline_m = 0.0 if site.lon is None or site.lat is None else metres_between(
            fix, replace(fix, lon=site.lon, lat=site.lat)
        )
        trip.suspicions.append(Suspicion("datum", fix.time_us, fix.lon, fix.lat, outline_m, datum))

    @staticmethod
    def _note(trip: Trip, violation: Violation | None) -> None:
        if violation is not None:
            trip.violations.append(violation)


def _misplaced(trip: Trip) -> bool:
    return any(s.kind == "datum" for s in trip.suspicions)


def _off_m(permits: Sequence[Permit], fix: Fix) -> float | None:
    off = [p.off_corridor_m(fix.lon, fix.lat) for p in permits if p.corridor]
    return round(min(off), 1) if off else None
