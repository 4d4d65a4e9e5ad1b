"""Trips: from loaded to empty, with the rules of the way; towns A, B, C of 0.01 degree each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from alerting.trips import service as trip_service
from alerting.trips.permits import Permissions, Permit, Site
from alerting.trips.ports import HandoverWrite, Row, StoredCrossing, StoredTrip, TripWrite
from alerting.trips.reconcile import match_crossings, match_trips
from alerting.trips.render import legs_of, parts_of
from alerting.trips.service import TripService
from alerting.trips.trip import DUMPING, HOURS, ROUTE, SPILL, UNCOVERED, Trip, TripFold
from domain.alerts import Detection
from domain.devices import Device
from domain.places import UNKNOWN_PLACE, Duty, Place
from domain.readings import Position
from geo.datum import from_wgs84
from geo.tracks import TrackFold, crossings
from tests.unit.alerting.blocks import block
from tests.unit.geo.test_tracks import T0, S, drive, fix, town

SHANGHAI = ZoneInfo("Asia/Shanghai")
LOAD = Site("W1", "load", {"zh": "工地", "en": "works"}, None, 113.601, 23.0, 200.0, 0, None)
TIP = Site("T1", "tip", {"zh": "消纳场", "en": "tip"}, None, 113.629, 23.0, 300.0, 0, None)
SITES = Permissions((LOAD, TIP))
NOON_US = T0 - T0 % (86_400 * S) + 4 * 3600 * S


def permit(**more: Any) -> Permit:
    given: dict[str, Any] = {"towns": ("A", "B", "C"), "corridor": (), "buffer_m": 200.0, "hours": None}
    given |= more
    return Permit("P1", "MT-01", valid_from_us=0, valid_to_us=None, **given)


def way(
    *,
    cover: Callable[[float], str] = lambda _: "closed",
    unloads: float = 113.628,
    end: float = 113.629,
    speed_kmh: float = 44.0,
) -> list[Row]:
    """Loaded from A through B to C; ``cover`` by longitude."""
    return [
        (p.time_us, p.lon, p.lat, speed_kmh, "loaded" if p.lon < unloads else "empty", cover(p.lon))
        for p in drive(113.601, end)
    ]


def run(rows: Sequence[Row], permissions: Permissions = SITES) -> tuple[TripFold, TrackFold]:
    trips, track = TripFold("MT-01", permissions, SHANGHAI), TrackFold()
    for time_us, lon, lat, speed, bed, cover in rows:
        for accepted in track.add(fix((time_us - T0) / S, lon, lat, speed_kmh=speed, bed=bed, cover=cover)):
            trips.add(accepted)
    return trips, track


def kinds(trips: TripFold) -> list[str]:
    return [v.kind for trip in trips.trips for v in trip.violations]


def test_a_trip_goes_from_the_loading_site_to_the_tip() -> None:
    trips, track = run(way())
    [trip] = trips.trips
    assert (trip.origin, trip.destination, trip.ended_because) == (LOAD, TIP, "emptied")
    assert trip.from_us == T0
    legs = legs_of(trip, track.towns.stays)
    assert [leg.code for leg in legs] == ["A", "B", "C"]
    assert legs[-1].to_us == trip.to_us
    assert trip.violations == []
    assert 2600 < trip.length_m < 2900


def test_an_open_cover_belongs_to_the_town_where_it_happened_and_is_cut_at_the_border() -> None:
    trips, track = run(way(cover=lambda lon: "open" if 113.615 < lon < 113.624 else "closed"))
    [trip] = trips.trips
    [violation] = trip.violations
    assert (violation.kind, violation.began.town, violation.over) == (UNCOVERED, "B", True)
    parts = parts_of(trip, legs_of(trip, track.towns.stays))
    assert [(part.town, len(part.pieces)) for part in parts] == [("A", 0), ("B", 1), ("C", 1)]
    assert parts[1].pieces[0].from_us == violation.began.time_us
    assert parts[1].pieces[0].to_us + 1 == parts[2].pieces[0].from_us


def test_a_blink_of_the_cover_is_no_violation() -> None:
    assert kinds(run(way(cover=lambda lon: "open" if 113.615 < lon < 113.6158 else "closed"))[0]) == []


def test_where_no_permit_data_exists_the_rules_are_silent() -> None:
    assert kinds(run(way(unloads=113.616), Permissions())[0]) == []
    assert kinds(run(way(), Permissions((LOAD, TIP), (permit(towns=("X",)),)))[0]) == [ROUTE]
    other = Permit("P2", "MT-02", ("X",), (), 200.0, None, 0, None)
    assert kinds(run(way(), Permissions((LOAD, TIP), (other,)))[0]) == []


def test_off_the_towns_and_off_the_corridor() -> None:
    trips, _ = run(way(), Permissions((LOAD, TIP), (permit(towns=("A", "C")),)))
    [violation] = trips.trips[0].violations
    assert (violation.kind, violation.began.town, violation.over) == (ROUTE, "B", True)
    near = permit(corridor=((113.60, 23.001), (113.63, 23.001)), buffer_m=150.0)
    assert kinds(run(way(), Permissions((LOAD, TIP), (near,)))[0]) == []
    far = permit(corridor=((113.60, 23.003), (113.63, 23.003)), buffer_m=150.0)
    trips, _ = run(way(), Permissions((LOAD, TIP), (far,)))
    assert kinds(trips) == [ROUTE]
    assert trips.trips[0].violations[0].details["off_m"] == pytest.approx(332, abs=3)


@pytest.mark.parametrize(
    ("hours", "expected"),
    [((0, 86_400), []), (None, []), ((20 * 3600, 7 * 3600), [HOURS]), ((22 * 3600, 13 * 3600), [])],
)
def test_hours_are_local_and_may_go_over_midnight(hours: Any, expected: list[str]) -> None:
    # The trip is at noon in Dongguan: 04:00 UTC.
    permissions = Permissions((LOAD, TIP), (permit(hours=hours),))
    trips = TripFold("MT-01", permissions, SHANGHAI)
    for p in drive(113.601, 113.629):
        trips.add(replace(p, time_us=p.time_us - T0 + NOON_US, bed="loaded"))
    assert kinds(trips) == expected


def test_emptied_outside_every_tip_standing_is_dumping_and_driving_is_a_spill() -> None:
    assert kinds(run(way(unloads=113.616, speed_kmh=3.0))[0]) == [DUMPING]
    trips, _ = run(way(unloads=113.616))
    assert kinds(trips) == [SPILL]
    assert trips.trips[0].violations[0].began.town == "B"


def test_a_flapping_bed_does_not_end_the_trip() -> None:
    rows: list[Row] = [
        (t, lon, lat, speed, "empty" if i == 20 else bed, cover)
        for i, (t, lon, lat, speed, bed, cover) in enumerate(way())
    ]
    trips, _ = run(rows)
    assert [t.ended_because for t in trips.trips] == ["emptied"]
    assert kinds(trips) == []
    assert trips.trips[0].from_us == T0


def test_a_long_stop_ends_a_trip_and_driving_on_begins_another() -> None:
    first = way(end=113.606)
    after_s = len(first) * 5
    rest: list[Row] = [(T0 + (after_s + n * 60) * S, 113.606, 23.0, 0.0, "loaded", "closed") for n in range(150)]
    on: list[Row] = [
        (t + (after_s + 9000) * S, lon, lat, speed, bed, cover) for t, lon, lat, speed, bed, cover in way()[9:20]
    ]
    trips, _ = run([*first, *rest, *on])
    assert [t.ended_because for t in trips.trips] == ["stopped", None]


def test_a_trip_that_goes_silent_has_ended_where_it_was_last_heard() -> None:
    first = way(end=113.606)
    trips, _ = run([*first, (T0 + 20_000 * S, 113.62, 23.0, 40.0, "loaded", "closed")])
    assert [t.ended_because for t in trips.trips] == ["silent", None]
    assert trips.trips[0].to_us == first[-1][0]


def test_loading_where_only_another_datum_finds_a_site_is_suspicious_and_accuses_nobody() -> None:
    rows: list[Row] = []
    for time_us, lon, lat, speed, bed, cover in way(unloads=113.616):
        there_lon, there_lat = from_wgs84(lon, lat, "gcj02")
        rows.append((time_us, float(there_lon), float(there_lat), speed, bed, cover))
    trips, _ = run(rows, Permissions((LOAD, TIP), (permit(corridor=((113.6, 23.0), (113.63, 23.0))),)))
    [trip] = trips.trips
    assert [(s.kind, s.datum) for s in trip.suspicions] == [("datum", "gcj02")]
    assert trip.violations == []


def test_late_points_keep_ids_and_disprove_what_did_not_happen() -> None:
    trips, track = run(way())
    stored = [StoredTrip("OLD", T0 - 5 * S, T0 + 50 * S, "ended", None), StoredTrip("GHOST", 0, 1, "ended", None)]
    matched, unsupported = match_trips(trips.trips, stored)
    assert [m.id if m else None for m in matched] == ["OLD"]
    assert [s.id for s in unsupported] == ["GHOST"]
    found = crossings(track.towns.stays)
    first = StoredCrossing("A", "B", found[0].entered.from_us + 10 * S, {})
    wrong = StoredCrossing("A", "C", found[0].entered.from_us, {})
    fresh, disproved = match_crossings(found, [first, wrong])
    assert [(c.left.code, c.entered.code) for c in fresh] == [("B", "C")]
    assert disproved == [wrong]


# ---------------------------------------------------------------- the service


class FakeStore:
    """Positions and what was told, in memory."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.trips: dict[str, TripWrite] = {}
        self.handovers: list[HandoverWrite] = []
        self.writes = 0
        self.withdrawn: list[str] = []

    async def load_permissions(self) -> Permissions:
        return SITES

    async def trip_at(self, device: int, at_us: int) -> StoredTrip | None:
        before = [t.stored for t in self.trips.values() if t.stored.from_us <= at_us]
        return max(before, key=lambda s: s.from_us, default=None)

    async def positions(self, device: int, from_us: int, limit: int) -> list[Row]:
        return [self.rows[t] for t in sorted(self.rows) if t >= from_us]

    async def told(self, device: int, from_us: int) -> tuple[list[StoredTrip], list[StoredCrossing]]:
        standing: dict[tuple[Any, ...], StoredCrossing] = {}
        for h in self.handovers:
            key = (h.crossing.left, h.crossing.entered, h.crossing.at_us)
            if h.change == "crossed":
                standing[key] = h.crossing
            else:
                standing.pop(key)
        trips = [t.stored for t in self.trips.values() if t.stored.to_us >= from_us]
        return trips, [c for c in standing.values() if c.at_us >= from_us]

    async def write(self, trips: Sequence[TripWrite], handovers: Sequence[HandoverWrite], at_us: int) -> None:
        self.writes += 1
        self.trips |= {trip.stored.id: trip for trip in trips}
        self.handovers += handovers

    async def withdraw(self, trips: Sequence[StoredTrip], at_us: int) -> None:
        self.withdrawn += [trip.id for trip in trips]
        for trip in trips:
            self.trips.pop(trip.id)


def locate(lon: Any, lat: Any, at_us: Any) -> list[Place]:
    return [
        Place(None, None, None, 0.2, "town only", None, None, town(x), {"town": f"{town(x)}镇"}, "v1")
        for x in np.asarray(lon).tolist()
    ]


class Bench:
    """A service on a fake store, fed by rows."""

    def __init__(self) -> None:
        self.store, self.detections = FakeStore(), list[Detection]()
        self.service = self.restarted()

    def restarted(self) -> TripService:
        async def take(found: Sequence[Detection], _: int) -> None:
            self.detections += found

        return TripService(
            self.store, lambda key: Device(key, "MT-01", "vehicle"), locate,
            lambda kind, place: [Duty(f"unit-{place.town}", "lead", kind, {})], take,
            lambda: T0 + 10_000 * S, SHANGHAI,
        )  # fmt: skip

    async def send(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.store.rows.setdefault(row[0], row)
        positions = tuple(
            Position(1, t, -1, t + S, False, lon, lat, speed, None, bed, cover)
            for t, lon, lat, speed, bed, cover in rows
        )
        await self.service.handle(block(positions=positions))

    def told(self) -> list[tuple[Any, ...]]:
        return [(h.change, h.crossing.left, h.crossing.entered) for h in self.store.handovers]

    def summary(self) -> list[tuple[Any, ...]]:
        return [
            (t.stored.from_us, t.stored.to_us, t.because, t.towns, t.legs,
             [part[2]["violations"] for part in t.case.parts] if t.case else None)
            for t in sorted(self.store.trips.values(), key=lambda t: t.stored.from_us)
        ]  # fmt: skip


STORY = way(cover=lambda lon: "open" if 113.613 < lon < 113.617 else "closed")
CROSSED = [("crossed", "A", "B"), ("crossed", "B", "C")]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_any_cut_of_the_stream_gives_the_same_trip(size: int) -> None:
    bench = Bench()
    for start in range(0, len(STORY), size):
        await bench.send(STORY[start : start + size])
    whole = Bench()
    await whole.send(STORY)
    assert bench.summary() == whole.summary()
    assert bench.told() == CROSSED
    [trip] = bench.store.trips.values()
    assert trip.towns == ("A", "B", "C")
    assert trip.case is not None
    assert trip.case.id == trip.stored.case_id
    parts = [body for _, _, body in trip.case.parts]
    assert [(p["number"], p["town"], p["role"]) for p in parts] == [
        (1, "A", "origin"), (2, "B", "transit"), (3, "C", "destination"),
    ]  # fmt: skip
    assert [[v["kind"] for v in p["violations"]] for p in parts] == [[], [UNCOVERED], []]
    assert [p["duty"][0]["unit"] for p in parts] == ["unit-A", "unit-B", "unit-C"]
    assert [t for t, _, _ in trip.case.parts] == sorted(t for t, _, _ in trip.case.parts)


async def test_a_block_twice_or_a_restart_changes_nothing() -> None:
    bench = Bench()
    for start in range(0, len(STORY), 5):
        await bench.send(STORY[start : start + 5])
        if start % 3 == 0:
            bench.service = bench.restarted()
            await bench.send(STORY[start : start + 5])
    whole = Bench()
    await whole.send(STORY)
    assert bench.summary() == whole.summary()
    assert bench.told() == CROSSED
    assert len(bench.store.trips) == 1
    assert bench.store.withdrawn == []


async def test_late_points_give_the_same_trip_in_the_end() -> None:
    bench = Bench()
    late = [row for i, row in enumerate(STORY) if i % 4 == 1]
    await bench.send([row for row in STORY if row not in late])
    for row in reversed(late):
        await bench.send([row])
    whole = Bench()
    await whole.send(STORY)
    assert bench.summary() == whole.summary()
    assert bench.told() == CROSSED


async def test_a_town_that_only_late_points_know_is_handed_over_late_and_the_wrong_one_taken_back() -> None:
    bench = Bench()
    middle = [row for row in STORY if town(row[1]) == "B"]
    await bench.send([row for row in STORY if row not in middle])
    assert bench.told() == [("crossed", "A", "C")]
    await bench.send(middle)
    assert bench.told()[0] == ("crossed", "A", "C")
    assert sorted(bench.told()[1:]) == [*CROSSED, ("withdrawn", "A", "C")]
    [trip] = bench.store.trips.values()
    assert trip.towns == ("A", "B", "C")


async def test_what_is_not_new_is_not_written() -> None:
    bench = Bench()
    for row in STORY[:8]:
        await bench.send([row])
    assert bench.store.writes == 2  # its beginning, its first leg certain or thirty seconds of progress
    await bench.send(STORY[:8])
    assert bench.store.writes <= 3


async def test_violations_become_alerts_once_each_with_their_end() -> None:
    bench = Bench()
    spilled = way(unloads=113.616)
    for row in spilled:
        await bench.send([row])
    bench.service = bench.restarted()
    await bench.send(spilled[-1:])
    first = bench.detections[:2]
    assert [(d.kind, d.phase) for d in first] == [(SPILL, "onset"), (SPILL, "clear")]
    assert first[0].lon == pytest.approx(113.616, abs=1e-3)
    assert {(d.rule, d.device, d.episode_us) for d in bench.detections} == {
        (d.rule, d.device, d.episode_us) for d in first
    }


async def test_a_day_late_is_counted_and_changes_no_trip() -> None:
    bench = Bench()
    await bench.send(STORY)
    before = bench.summary()
    await bench.send([(T0 - 2 * trip_service.TOO_LATE_US, 113.605, 23.0, 40.0, "loaded", "open")])
    assert bench.summary() == before


async def test_a_device_nobody_knows_is_left_alone() -> None:
    bench = Bench()
    bench.service._device = lambda _: None
    await bench.send(STORY)
    assert bench.store.writes == 0
    assert UNKNOWN_PLACE.town is None


def test_parts_of_a_trip_back_and_forth_are_one_a_town() -> None:
    out = drive(113.601, 113.615)
    back = [fix(120 + n * 5, 113.615 - n * 0.0006) for n in range(20)]
    track, trips = TrackFold(), TripFold("MT-01", SITES, SHANGHAI)
    for p in [*out, *back]:
        for accepted in track.add(fix((p.time_us - T0) / S, p.lon, bed="loaded")):
            trips.add(accepted)
    trip: Trip = trips.trips[0]
    parts = parts_of(trip, legs_of(trip, track.towns.stays))
    assert [(part.town, len(part.legs)) for part in parts] == [("A", 2), ("B", 1)]
