"""Positions in, trips, hand-overs and prepared city cases out.

``handle`` is called for each committed block before the broker is told, and may see a
block twice. What a vehicle has done is a function of its stored positions alone:
points in order are added to the fold in memory; a late point, or a vehicle seen for
the first time, folds the stored positions again, from the trip they belong to on.
What comes out is compared with what was written, and only the difference is written,
so a second time changes nothing.

In memory is one fold a vehicle (stays, trips and violations of the last hours, no
points). An unchanged trip under way is written every ``PROGRESS_US`` of event time.
Points that come more than a day late are on the track, but change no trip.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any

import numpy as np

from alerting.metrics import HANDOVERS, POSITIONS_TOO_LATE, TRACKS_FOLDED, TRIPS_BEGUN
from alerting.trips.permits import Permissions
from alerting.trips.ports import (
    CaseWrite,
    HandoverWrite,
    LegRow,
    Row,
    StoredCrossing,
    StoredTrip,
    TripStore,
    TripWrite,
)
from alerting.trips.reconcile import match_crossings, match_trips
from alerting.trips.render import TITLES, Leg, case_body, legs_of, name_of, part_body, parts_of, trip_body
from alerting.trips.trip import DUMPING, HOURS, ROUTE, SPILL, Trip, TripFold, Violation
from alerting.ulid import ulid
from domain.alerts import Detection
from domain.clock import iso
from domain.devices import Device
from domain.places import Duty, Place
from domain.readings import Block, Position
from geo.tracks import Crossing, Fix, TrackFold, crossings

US_PER_S = 1_000_000
PROGRESS_US = 30 * US_PER_S
APPROACH_US = 900 * US_PER_S
LOOKBACK_US = 7200 * US_PER_S
TOO_LATE_US = 86_400 * US_PER_S
LATE_US = 300 * US_PER_S
REREAD_US = 30 * US_PER_S
POINTS_MAX = 100_000

LocatePoints = Callable[[Any, Any, Any], Sequence[Place]]
"""WGS-84 degrees and event times in microseconds, arrays of shape ``(n,)``, to places in the division of then."""
TakeDetections = Callable[[Sequence[Detection], int], Awaitable[None]]
DutyOf = Callable[[str, Place], Sequence[Duty]]

ALARMS = {
    ROUTE: (3, "off_route_m", "m"), HOURS: (4, "outside_hours", ""), DUMPING: (3, "tipped_outside", ""),
    SPILL: (3, "speed_kmh", "km/h"),
}  # fmt: skip
"""Violations that raise an alert here: severity, metric, unit. The open cover has its detector."""


@dataclass(slots=True)
class _Vehicle:
    """One vehicle's folds and what has been told of it."""

    device: Device
    track: TrackFold
    trips: TripFold
    since_us: int
    suspicions: int = 0
    stored: list[StoredTrip] = field(default_factory=list)
    told: list[StoredCrossing] = field(default_factory=list)
    written: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    alarmed: set[tuple[str, int, bool]] = field(default_factory=set)

    def add(self, fix: Fix) -> None:
        """A point newer than all before."""
        for accepted in self.track.add(fix):
            if accepted.time_us >= self.since_us:
                self.trips.add(accepted)
        for suspicion in self.track.suspicions[self.suspicions :]:
            self.trips.suspect(suspicion)
        self.suspicions = len(self.track.suspicions)


@dataclass(slots=True)
class _Outcome:
    """What is new of one vehicle."""

    trips: list[TripWrite] = field(default_factory=list)
    withdrawn: list[StoredTrip] = field(default_factory=list)
    handovers: list[HandoverWrite] = field(default_factory=list)
    detections: list[Detection] = field(default_factory=list)
    told: list[StoredCrossing] = field(default_factory=list)
    stored: list[StoredTrip] = field(default_factory=list)
    written: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    alarmed: set[tuple[str, int, bool]] = field(default_factory=set)


class TripService:
    """Trips of one ingest process; see the module for how it stays right."""

    def __init__(
        self,
        store: TripStore,
        device: Callable[[int], Device | None],
        locate: LocatePoints,
        duty_of: DutyOf,
        take: TakeDetections,
        now_us: Callable[[], int],
        zone: tzinfo,
    ) -> None:
        self._store, self._device, self._locate = store, device, locate
        self._duty_of, self._take, self._now_us, self._zone = duty_of, take, now_us, zone
        self._permissions = Permissions()
        self._read_us = 0
        self._vehicles: dict[int, _Vehicle] = {}
        self._names: dict[str, dict[str, str]] = {}
        self._writing = asyncio.Lock()

    async def handle(self, block: Block) -> None:
        """Take the positions of a committed block.

        Raises DatabaseUnavailable; call again with the same block then.
        """
        if not block.positions:
            return
        async with self._writing:
            if self._now_us() - self._read_us >= REREAD_US:
                await self._read_permissions()
            by_device: dict[int, list[Position]] = {}
            for position in block.positions:
                by_device.setdefault(position.device, []).append(position)
            outcomes: list[tuple[_Vehicle, _Outcome]] = []
            for key, positions in by_device.items():
                vehicle = await self._follow(key, positions)
                if vehicle is not None:
                    outcomes.append((vehicle, self._outcome(vehicle, max(p.received_us for p in positions))))
            await self._write(outcomes, block.committed_us)

    # ------------------------------------------------------------ positions to folds

    async def _follow(self, key: int, positions: Sequence[Position]) -> _Vehicle | None:
        """The vehicle after these positions; None when they are nobody's or much too late."""
        device = self._device(key)
        if device is None or device.disabled:
            return None
        vehicle = self._vehicles.get(key)
        newest = vehicle.track.newest_us if vehicle is not None else None
        oldest = min(p.time_us for p in positions)
        if vehicle is None or newest is None or oldest < newest:
            until = max(newest or 0, max(p.time_us for p in positions))
            late = [p.time_us for p in positions if until - p.time_us > TOO_LATE_US]
            POSITIONS_TOO_LATE.inc(len(late))
            oldest = min((p.time_us for p in positions if until - p.time_us <= TOO_LATE_US), default=until)
            vehicle = await self._fold_again(device, oldest, vehicle)
            self._vehicles[key] = vehicle
            return vehicle
        rows = {
            p.time_us: (p.time_us, p.lon, p.lat, p.speed_kmh, p.bed, p.cover)
            for p in reversed(positions)
            if p.time_us > newest
        }
        for fix in self._fixes([rows[time_us] for time_us in sorted(rows)]):
            vehicle.add(fix)
        self._forget(vehicle)
        return vehicle

    async def _fold_again(self, device: Device, at_us: int, known: _Vehicle | None) -> _Vehicle:
        """The vehicle's folds from its stored positions, from the trip that ``at_us`` belongs to on."""
        TRACKS_FOLDED.inc()
        before = await self._store.trip_at(device.key, at_us)
        begun = before is not None and before.to_us >= at_us - LOOKBACK_US
        since_us = before.from_us if before is not None and begun else at_us - LOOKBACK_US
        # The track begins earlier than the trips, or a border just behind the start would be forgotten.
        rows = await self._store.positions(device.key, since_us - APPROACH_US, POINTS_MAX)
        stored, told = await self._store.told(device.key, since_us)
        vehicle = _Vehicle(
            device, TrackFold(), TripFold(device.id, self._permissions, self._zone), since_us,
            stored=stored, told=told, alarmed=known.alarmed if known is not None else set(),
        )  # fmt: skip
        for fix in self._fixes(rows):
            vehicle.add(fix)
        return vehicle

    def _fixes(self, rows: Sequence[Row]) -> list[Fix]:
        """Stored positions with their places."""
        if not rows:
            return []
        times_us, lon, lat = (np.array([row[at] for row in rows]) for at in range(3))
        places = self._locate(lon, lat, times_us)
        for place in places:
            if place.town is not None and place.town not in self._names:
                name = place.names.get("town", place.town)
                self._names[place.town] = {"zh": name, "en": place.names.get("town_en", name)}
        return [
            Fix(time_us, lon, lat, p.town, p.village, p.grid, speed, bed, cover)
            for (time_us, lon, lat, speed, bed, cover), p in zip(rows, places, strict=True)
        ]

    def _forget(self, vehicle: _Vehicle) -> None:
        """Keep what a late point within the hour may still concern, and the trip under way."""
        newest, under_way = vehicle.track.newest_us, vehicle.trips.under_way
        if newest is None or newest - vehicle.since_us < 2 * LOOKBACK_US:
            return
        keep_us = newest - LOOKBACK_US
        if under_way is not None:
            keep_us = min(keep_us, under_way.from_us)
        if keep_us <= vehicle.since_us:
            return
        vehicle.track.forget_before(keep_us)
        vehicle.trips.forget_before(keep_us)
        vehicle.suspicions = len(vehicle.track.suspicions)
        vehicle.stored = [s for s in vehicle.stored if s.to_us >= keep_us]
        vehicle.told = [c for c in vehicle.told if c.at_us >= keep_us]
        vehicle.alarmed = {a for a in vehicle.alarmed if a[1] >= keep_us}
        vehicle.written = {id_: w for id_, w in vehicle.written.items() if id_ in {s.id for s in vehicle.stored}}
        vehicle.since_us = keep_us

    # ------------------------------------------------------------ folds to what is new

    def _outcome(self, vehicle: _Vehicle, received_us: int) -> _Outcome:
        trips = vehicle.trips.trips
        matched, unsupported = match_trips(trips, vehicle.stored)
        out = _Outcome(withdrawn=unsupported)
        for trip, stored in zip(trips, matched, strict=True):
            self._trip(vehicle, trip, stored, out)
            for violation in trip.violations:
                self._alarm(vehicle, violation, received_us, out)
        happened = [c for c in crossings(vehicle.track.towns.stays) if c.entered.from_us >= vehicle.since_us]
        fresh, disproved = match_crossings(happened, vehicle.told)
        out.told = [c for c in vehicle.told if c not in disproved]
        for crossing in disproved:
            out.handovers.append(self._handover(vehicle, "withdrawn", crossing, out))
        for entered in fresh:
            told = self._crossing(vehicle, entered, received_us)
            out.told.append(told)
            out.handovers.append(self._handover(vehicle, "crossed", told, out))
        return out

    def _trip(self, vehicle: _Vehicle, trip: Trip, stored: StoredTrip | None, out: _Outcome) -> None:
        legs = legs_of(trip, vehicle.track.towns.stays)
        parts = parts_of(trip, legs)
        case_id = stored.case_id if stored is not None else None
        if len(parts) > 1 and case_id is None:
            case_id = ulid(self._now_us())
        state = "under way" if trip.ended_because is None else "ended"
        id_ = stored.id if stored is not None else ulid(self._now_us())
        now = StoredTrip(id_, trip.from_us, trip.to_us, state, case_id)
        out.stored.append(now)
        signature = (
            trip.from_us, trip.ended_because, trip.ended_because and trip.to_us, case_id,
            tuple((leg.code, leg.from_us) for leg in legs),
            tuple((v.kind, v.began.time_us, v.over) for v in trip.violations), len(trip.suspicions),
        )  # fmt: skip
        before = vehicle.written.get(id_)
        same = before is not None and before[0] == signature
        if before is not None and same and (trip.ended_because or trip.to_us - before[1] < PROGRESS_US):
            out.written[id_] = before
            return
        out.written[id_] = (signature, trip.to_us)
        case = None
        if case_id is not None:
            bodies = [
                part_body(n, part, n == len(parts) and trip.ended_because is not None, self._names, self._duties)
                for n, part in enumerate(parts, 1)
            ]
            body = case_body(id_, vehicle.device.id, trip, parts, self._names)
            body |= {"id": case_id, "exercise": vehicle.device.run}
            case = CaseWrite(case_id, body, tuple(
                (part.legs[0].from_us, f"{name_of(part.town, self._names)['zh']}: 第{n}段", shown)
                for n, (part, shown) in enumerate(zip(parts, bodies, strict=True), 1)
            ))  # fmt: skip
        out.trips.append(TripWrite(
            now, vehicle.device.key, vehicle.device.run, trip.ended_because, tuple(p.town for p in parts),
            {**trip_body(id_, vehicle.device.id, trip, vehicle.track.track, self._names),
             "case": case_id, "exercise": vehicle.device.run},
            (*_rows("town", legs), *_rows("grid", legs_of(trip, vehicle.track.cells.stays))), case,
        ))  # fmt: skip

    def _duties(self, kind: str, fix: Fix) -> Sequence[Duty]:
        [place] = self._locate(np.array([fix.lon]), np.array([fix.lat]), np.array([fix.time_us]))
        return self._duty_of(kind, place)

    def _crossing(self, vehicle: _Vehicle, crossing: Crossing, received_us: int) -> StoredCrossing:
        left, entered = crossing.left, crossing.entered
        at_us = entered.from_us
        body = {
            "vehicle": vehicle.device.id, "crossed_at": iso(at_us),
            "left": _side(left.code, left.exit, self._names),
            "entered": _side(entered.code, entered.entry, self._names),
            "location": {"lon": entered.entry.lon, "lat": entered.entry.lat},
            "bed": vehicle.trips.bed, "over_gap": left.ended_because == "gap",
            "late": received_us - at_us > 2 * LATE_US,
        }  # fmt: skip
        return StoredCrossing(left.code, entered.code, at_us, body)

    def _handover(self, vehicle: _Vehicle, change: str, crossing: StoredCrossing, out: _Outcome) -> HandoverWrite:
        trip_id = next((s.id for s in out.stored if s.from_us <= crossing.at_us <= s.to_us), None)
        body = {**crossing.body, "trip": trip_id}
        return HandoverWrite(
            vehicle.device.key, trip_id, vehicle.device.run, change, replace(crossing, body=body)
        )

    def _alarm(self, vehicle: _Vehicle, violation: Violation, received_us: int, out: _Outcome) -> None:
        if violation.kind not in ALARMS:
            return
        for phase in ("onset", "clear"):
            mark = (violation.kind, violation.began.time_us, phase == "clear")
            if mark in vehicle.alarmed or (phase == "clear" and not violation.over):
                continue
            out.alarmed.add(mark)
            out.detections.append(_detection(vehicle.device.key, violation, phase, received_us))

    # ------------------------------------------------------------ writing

    async def _write(self, outcomes: Sequence[tuple[_Vehicle, _Outcome]], committed_us: int) -> None:
        detections = [d for _, out in outcomes for d in out.detections]
        if detections:
            await self._take(detections, committed_us)
        now_us = self._now_us()
        withdrawn = [trip for _, out in outcomes for trip in out.withdrawn]
        if withdrawn:
            await self._store.withdraw(withdrawn, now_us)
        trips = [trip for _, out in outcomes for trip in out.trips]
        handovers = [handover for _, out in outcomes for handover in out.handovers]
        if trips or handovers:
            await self._store.write(trips, handovers, now_us)
        HANDOVERS.inc(len(handovers))
        for vehicle, out in outcomes:
            known = {stored.id for stored in vehicle.stored}
            TRIPS_BEGUN.inc(sum(1 for stored in out.stored if stored.id not in known))
            vehicle.stored, vehicle.told, vehicle.written = out.stored, out.told, out.written
            vehicle.alarmed |= out.alarmed

    async def _read_permissions(self) -> None:
        """Sites and permits anew; vehicles judged by others are folded again with their next point."""
        permissions = await self._store.load_permissions()
        self._read_us = self._now_us()
        if permissions != self._permissions:
            self._permissions = permissions
            self._vehicles.clear()


def _side(code: str | None, fix: Fix, names: dict[str, dict[str, str]]) -> dict[str, Any]:
    return {
        "town": code, "name": name_of(code, names), "village": fix.village if fix.town == code else None,
        "grid": fix.grid if fix.town == code else None, "at": iso(fix.time_us),
    }  # fmt: skip


def _rows(level: str, legs: Sequence[Leg]) -> list[LegRow]:
    return [LegRow(level, n, leg.code, leg.from_us, leg.to_us, leg.because) for n, leg in enumerate(legs, 1)]


def _detection(device: int, violation: Violation, phase: str, received_us: int) -> Detection:
    severity, metric, unit = ALARMS[violation.kind]
    began, details = violation.began, violation.details
    at_us = began.time_us if phase == "onset" else violation.until_us
    value = details.get("off_m") if violation.kind == ROUTE else details.get("speed_kmh")
    return Detection(
        rule=violation.kind, kind=violation.kind, phase=phase, device=device, episode_us=began.time_us, at_us=at_us,
        sampled_us=violation.until_us, received_us=received_us, severity=severity, metric=metric,
        value=1.0 if value is None else float(value), limit=0.0, unit=unit,
        late=received_us - violation.until_us > LATE_US, title=TITLES[violation.kind],
        window_us=(began.time_us, violation.until_us), features=dict(details), lon=began.lon, lat=began.lat,
    )  # fmt: skip
