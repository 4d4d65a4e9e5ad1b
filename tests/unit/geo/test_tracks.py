"""Tracks cut at borders: a straight line of towns along a parallel, 0.01 degree (1,026 m) each."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.datum import from_wgs84
from geo.tracks import Fix, Stay, TrackFold, crossings, fold_track, metres_between

S = 1_000_000
T0 = 1_790_000_000 * S
LAT = 23.0
WIDTH = 0.01


def town(lon: float) -> str:
    return "ABCDEFGHIJ"[int((lon - 113.6) // WIDTH)]


def fix(second: float, lon: float, lat: float = LAT, **more: Any) -> Fix:
    name = town(lon)
    return Fix(T0 + round(second * S), lon, lat, name, name, f"{name}{int((lon - 113.6) // (WIDTH / 2))}", **more)


def drive(
    start: float, end: float, *, from_s: float = 0.0, step: float = 0.0006, every_s: float = 5.0
) -> list[Fix]:
    """62 m every 5 s: 44 km/h."""
    count = int((end - start) / step) + 1
    return [fix(from_s + n * every_s, start + n * step) for n in range(count)]


def told(stays: list[Stay]) -> list[tuple[Any, ...]]:
    return [(s.code, s.from_us, s.to_us, s.points, s.strays, s.settled, s.ended_because) for s in stays]


def codes(stays: list[Stay]) -> list[str | None]:
    return [s.code for s in stays]


def test_a_drive_is_one_leg_a_town_and_no_second_is_lost_at_the_border() -> None:
    way = drive(113.601, 113.629)
    track = fold_track(way)
    assert codes(track.towns) == ["A", "B", "C"]
    for stay in track.towns:
        own = [p.time_us for p in way if p.town == stay.code]
        assert (stay.from_us, stay.to_us, stay.points, stay.strays) == (own[0], own[-1], len(own), 0)
    assert codes(track.cells) == ["A0", "A1", "B2", "B3", "C4", "C5"]
    assert [(c.left.code, c.entered.code) for c in crossings(track.towns)] == [("A", "B"), ("B", "C")]
    assert track.suspicions == []


def test_jitter_on_a_border_makes_no_ping_pong() -> None:
    border = 113.61
    way = drive(113.601, 113.6099)
    rest_s = len(way) * 5.0
    parked = [fix(rest_s + n * 5, border + (1e-4 if n % 3 else -1e-4)) for n in range(200)]
    onward = drive(113.6104, 113.618, from_s=rest_s + 1000)
    track = fold_track([*way, *parked, *onward])
    assert codes(track.towns) == ["A", "B"]
    assert len(crossings(track.towns)) == 1
    assert track.towns[0].strays > 50


def test_who_really_stands_beyond_the_border_is_there_after_a_while() -> None:
    way = [*drive(113.601, 113.6098), *[fix(100 + n * 5, 113.6101) for n in range(60)]]
    assert codes(fold_track(way).towns) == ["A", "B"]
    assert codes(fold_track(way[:-30]).towns) == ["A"]


def test_a_track_that_begins_with_a_stray_begins_where_it_really_was() -> None:
    track = fold_track([fix(0, 113.61001), *drive(113.6095, 113.6095 + 0.0004, from_s=5, step=-0.0006)])
    assert codes(track.towns) == ["B"]
    track = fold_track([fix(0, 113.61001), *[fix(5 + 5 * n, 113.6099 - n * 0.0003) for n in range(10)]])
    assert codes(track.towns) == ["A"]
    assert crossings(track.towns) == []


def test_silence_ends_a_leg_and_the_hand_over_comes_over_the_gap() -> None:
    before, after = drive(113.601, 113.606), drive(113.622, 113.628, from_s=2000)
    track = fold_track([*before, *after])
    assert [(s.code, s.ended_because) for s in track.towns] == [("A", "gap"), ("C", None)]
    assert track.towns[0].to_us == before[-1].time_us
    assert [(c.left.code, c.entered.code) for c in crossings(track.towns)] == [("A", "C")]
    same = fold_track([*drive(113.601, 113.604), *drive(113.6045, 113.608, from_s=900)])
    assert [(s.code, s.ended_because) for s in same.towns] == [("A", "gap"), ("A", None)]
    assert crossings(same.towns) == []


def test_late_points_are_put_where_they_belong() -> None:
    way = drive(113.601, 113.629)
    without = [p for p in way if p.town != "B"]
    late = [p for p in way if p.town == "B"]
    assert told(fold_track([*without, *late]).towns) == told(fold_track(way).towns)
    assert told(fold_track(reversed(way)).cells) == told(fold_track(way).cells)


def test_one_stray_point_moves_nothing() -> None:
    way = drive(113.601, 113.609)
    at = way[6]
    stray = fix((at.time_us - T0) / S + 1, at.lon + 0.03)
    track = fold_track([*way, stray])
    assert told(track.towns) == told(fold_track(way).towns)
    [suspicion] = track.suspicions
    assert (suspicion.kind, suspicion.datum) == ("jump", None)
    assert suspicion.metres > 3000


@pytest.mark.parametrize("datum", ["gcj02", "bd09"])
@pytest.mark.parametrize("back", [False, True])
def test_a_change_of_datum_is_a_suspicion_and_no_movement(datum: str, *, back: bool) -> None:
    way = drive(113.621, 113.649)
    half = len(way) // 2
    shifted = [
        fix((p.time_us - T0) / S, *(float(v) for v in from_wgs84(p.lon, p.lat, datum))) for p in way
    ]
    parts = (shifted[:half], way[half:]) if back else (way[:half], shifted[half:])
    track = fold_track([*parts[0], *parts[1]])
    [suspicion] = track.suspicions
    assert (suspicion.kind, suspicion.datum) == ("datum", datum)
    assert suspicion.metres > 500
    assert [s.ended_because for s in track.towns if s.ended_because not in ("border", None)] == ["jump"]
    driven_m = sum(metres_between(a, b) for part in parts for a, b in pairwise(part))
    assert sum(s.length_m for s in track.towns) == pytest.approx(driven_m, abs=130)


def test_a_speed_nobody_drives_is_not_movement() -> None:
    track = fold_track([*drive(113.601, 113.606), *drive(113.66, 113.67, from_s=60)])
    assert codes(track.towns) == ["A", "G"]
    assert track.towns[0].ended_because == "jump"
    assert [s.kind for s in track.suspicions] == ["jump"]


def test_a_vehicle_that_never_rests_does_not_grow() -> None:
    fold = TrackFold()
    for point in drive(113.601, 113.699):
        fold.add(point)
        fold.forget_before(point.time_us - 60 * S)
    assert len(fold.towns.stays) <= 2


points = st.lists(
    st.tuples(st.integers(0, 400), st.floats(113.601, 113.629), st.floats(22.999, 23.001)),
    min_size=1, max_size=60, unique_by=lambda p: p[0],
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(points, st.randoms(use_true_random=False))
def test_a_track_does_not_depend_on_the_order_received(given_points: list[Any], rng: Any) -> None:
    way = [fix(5 * n, lon, lat) for n, lon, lat in given_points]
    mixed = list(way)
    rng.shuffle(mixed)
    assert told(fold_track(way).towns) == told(fold_track(mixed).towns)


@settings(max_examples=60, deadline=None)
@given(points)
def test_a_stream_equals_its_blocks(given_points: list[Any]) -> None:
    way = sorted((fix(5 * n, lon, lat) for n, lon, lat in given_points), key=lambda p: p.time_us)
    fold, accepted = TrackFold(), []
    for point in way:
        accepted += fold.add(point)
    whole = fold_track(way)
    assert told(fold.track.towns) == told(whole.towns)
    assert fold.track.suspicions == whole.suspicions
    assert accepted == sorted(accepted, key=lambda p: p.time_us)
    for a, b in pairwise(whole.towns):
        assert a.to_us < b.from_us
        assert a.code != b.code or a.ended_because in ("gap", "jump")
    assert sum(s.points for s in whole.towns) <= len(accepted)  # the newest may not be settled anywhere yet
