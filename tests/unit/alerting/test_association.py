from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting import association_rules as rules
from alerting.association import Association, Event, Fault, Joins, NewIncident, Stays, Trigger
from alerting.incidents.words import body_of, event_of, kind_of, memory_of, severity_of
from tests.unit.alerting.blocks import T0, S

LON, LAT = 113.75, 23.02
EAST_M = 111_195 * math.cos(math.radians(LAT))


def trigger(device: int, second: float, east_m: float = 0.0, north_m: float = 0.0, **more: Any) -> Trigger:
    kind = more.pop("kind", "vibration.shaking")
    t_us = T0 + round(second * S)
    base = Trigger(
        (kind, device, t_us), f"D-{device}", kind, 4, t_us, t_us + S // 10, LON + east_m / EAST_M,
        LAT + north_m / 111_195, f"house {device}",
    )  # fmt: skip
    return base._replace(**more)


def engine() -> Association:
    numbers = itertools.count(1)
    return Association(lambda: f"I{next(numbers)}")


def told(a: Association) -> list[tuple[str, list[int]]]:
    """Kind and devices of each incident, the first first."""
    events = sorted(a.events.values(), key=lambda e: (e.first_us, e.last_us, len(e.rows)))
    return [(kind_of(e, a.members(e)), sorted({t.key[1] for t in a.members(e)})) for e in events]


def only(a: Association) -> Event:
    [event] = a.events.values()
    return event


def quake(stations: int, *, first: int = 1, at: float = 0.0, spacing_m: float = 8000.0) -> list[Trigger]:
    """A wave that walks over a line of houses at 5.5 km/s."""
    return [trigger(first + i, at + i * spacing_m / 5500, i * spacing_m) for i in range(stations)]


# ---------------------------------------------------------------- areas


def test_a_wave_over_houses_is_one_area_event_with_its_stations() -> None:
    a = engine()
    for t in quake(6):
        a.add([t])
    assert told(a) == [("area", [1, 2, 3, 4, 5, 6])]
    event = only(a)
    assert event.detected_us == T0 + round(2 * 8000 / 5500 * S), "known with the third station"
    said = list(a.moved.values())
    assert sum(isinstance(d, NewIncident) for d in said) == 1
    lags = [d.lag_s for d in said if isinstance(d, Joins)]
    assert max(lags) == pytest.approx(5 * 8000 / 5500, abs=0.01)


def test_stations_that_no_wave_can_have_reached_stay_alone() -> None:
    a = engine()
    a.add([trigger(i, 12.0 * i, 1000.0 * i) for i in range(1, 7)])
    assert told(a) == []
    assert all(isinstance(d, Stays) for d in a.moved.values())


def test_the_number_of_stations_needed_grows_with_the_background() -> None:
    assert rules.stations_needed(20_000, 1, 1) == 3
    busy = rules.stations_needed(20_000, 200, 4000)
    assert 5 <= busy <= rules.STATIONS_MAX
    assert rules.stations_needed(150_000, 3000, 4000) > rules.STATIONS_MAX
    rates = [rules.stations_needed(20_000, r, 10 * r) for r in (1, 3, 10, 30, 100, 300)]
    assert rates == sorted(rates)


def test_in_a_noisy_city_three_triggers_are_chance_and_a_quake_is_found_all_the_same() -> None:
    rng = np.random.default_rng(4)
    a = engine()
    seconds = rng.uniform(-3600, -100, 600)
    a.add([trigger(1000 + i, s, *rng.uniform(-20_000, 20_000, 2)) for i, s in enumerate(seconds)])
    before = len(a.events)
    a.add(quake(3, at=0.0, spacing_m=9000))
    assert len(a.events) == before
    a.add([trigger(50 + i, 0.3 * i, 1500.0 * i) for i in range(12)])
    assert any(len(e.rows) >= 12 for e in a.events.values())


def test_two_neighbouring_houses_that_shake_strongly_are_an_area_event() -> None:
    a = engine()
    a.add([trigger(1, 0.0), trigger(2, 1.0, 200.0)])
    assert told(a) == [], "faint: two houses may both have a truck"
    a.strengthen(("vibration.shaking", 1, T0), 2)
    assert told(a) == []
    a.strengthen(("vibration.shaking", 2, T0 + S), 3)
    assert told(a) == [("area", [1, 2])]


def test_two_unrelated_houses_at_the_same_minute_stay_two() -> None:
    a = engine()
    a.add([
        trigger(1, 0.0, severity=1), trigger(2, 0.4, severity=1, building="house 1"),
        trigger(3, 2.0, 15_000.0, severity=1), trigger(4, 2.3, 15_000.0, severity=1, building="house 3"),
    ])  # fmt: skip
    assert told(a) == [("building", [1, 2]), ("building", [3, 4])]


def test_all_stations_at_one_instant_are_an_electronic_fault() -> None:
    a = engine()
    a.add([trigger(i, 0.02 * i, 4000.0 * i) for i in range(1, 7)])
    assert told(a) == [("device_fault", [1, 2, 3, 4, 5, 6])]
    event = only(a)
    assert severity_of(event, "device_fault", a.members(event)) == 4


def test_a_fault_that_goes_on_like_a_wave_was_none() -> None:
    a = engine()
    a.add([trigger(i, 0.02 * i, 4000.0 * i) for i in range(1, 5)])
    assert told(a)[0][0] == "device_fault"
    a.add([trigger(10 + i, 1.5 + i, 6000.0 * i) for i in range(5)])
    assert [kind for kind, _ in told(a)] == ["area"]


def test_houses_that_form_one_by_one_are_taken_into_the_area() -> None:
    """A building's incident that grows into a quake keeps its name; a second one goes over to it."""
    a = engine()
    a.add([trigger(1, 0.0), trigger(2, 0.1, building="house 1")])
    a.settle()
    a.add([trigger(3, 1.5, 8000.0), trigger(4, 1.6, 8000.0, building="house 3")])
    a.settle()
    assert [kind for kind, _ in told(a)] == ["building", "building"]
    a.add([trigger(5, 3.0, 16_000.0)])
    assert told(a) == [("area", [1, 2, 3, 4, 5])]
    assert only(a).id == "I1"
    assert only(a).absorbed == ["I2"]
    lost = next(e for e in a.changed.values() if e.merged_into)
    assert (lost.id, lost.merged_into) == ("I2", "I1")


def test_a_far_house_shaken_by_itself_does_not_join_a_blast() -> None:
    a = engine()
    a.add([trigger(1, 0.0), trigger(2, 0.1, 300.0), trigger(3, 0.2, 500.0), trigger(9, 1.0, 30_000.0)])
    assert told(a) == [("area", [1, 2, 3])]


def test_an_aftershock_of_the_same_alerts_is_the_same_incident() -> None:
    a = engine()
    a.add(quake(4))
    a.settle()
    later = 300 * S
    a.add(t._replace(key=(*t.key[:2], t.t_us + later), t_us=t.t_us + later, incident="I1") for t in quake(4))
    a.add([trigger(77, 304.0, 9_000.0)])
    assert told(a) == [("area", [1, 2, 3, 4, 77])]


def test_the_coda_of_a_quake_is_not_reported_as_a_second_one() -> None:
    a = engine()
    a.add(quake(6, spacing_m=20_000))
    a.settle()
    a.add(t._replace(lat=LAT + 0.1) for t in quake(3, first=50, at=70.0, spacing_m=5000))
    assert len(told(a)) == 1
    assert not [e for e in a.changed.values() if e.merged_into]


# ---------------------------------------------------------------- one spot


def test_several_sensors_of_one_house_are_a_step_worse_than_one() -> None:
    a = engine()
    a.add([trigger(1, 0.0, severity=3), trigger(2, 5.0, building="house 1", severity=4)])
    event = only(a)
    assert told(a) == [("building", [1, 2])]
    assert severity_of(event, "building", a.members(event)) == 2


def test_one_sensor_with_two_rules_is_not_two_sensors() -> None:
    a = engine()
    a.add([trigger(1, 0.0), trigger(1, 0.5, kind="vibration.limit")])
    assert told(a) == []


def test_camera_smoke_and_vibration_at_one_spot_are_one_mixed_incident() -> None:
    a = engine()
    a.add([trigger(1, 0.0, kind="fire.smoke"), trigger(2, 70.0, 0.0, -40.0, kind="camera.fire")])
    assert told(a) == [("mixed", [1, 2])]
    a.add([trigger(3, 90.0, 10.0, kind="vibration.limit")])
    a.add([trigger(4, 95.0, 10.0, kind="camera.waste"), trigger(5, 95.0, 400.0, kind="fire.smoke")])
    assert told(a) == [("mixed", [1, 2, 3])]


def test_a_fire_in_a_quake_stays_an_incident_of_its_own() -> None:
    a = engine()
    a.add([trigger(1, 0.0, kind="fire.smoke"), trigger(2, 1.0, 20.0, kind="camera.fire")])
    a.add(quake(4, first=10, at=2.0))
    assert told(a) == [("mixed", [1, 2]), ("area", [10, 11, 12, 13])]


# ---------------------------------------------------------------- storms


def test_a_thousand_in_ten_seconds_are_one_incident_and_few_alarms() -> None:
    for kind, placed in (("vibration.limit", True), ("fire.temperature", True), ("vibration.limit", False)):
        rng = np.random.default_rng(1)
        a, alone = engine(), 0
        seconds = np.sort(rng.uniform(0, 10, 1000))
        for part in np.array_split(np.arange(1000), 100):
            a.add([
                t if placed else t._replace(lon=None, lat=None, building=None)
                for i in part
                for t in [trigger(int(i), float(seconds[i]), *rng.uniform(-15_000, 15_000, 2), kind=kind)]
            ])
            alone += sum(isinstance(d, Stays) for d in a.moved.values())
            a.settle()
        assert [len(devices) for _, devices in told(a)] == [1000]
        assert alone + 1 <= 10


def test_maintainers_notices_are_no_storm() -> None:
    a = engine()
    a.add([trigger(i, 0.0, 1000.0 * i, kind="sensor.silent") for i in range(50)])
    assert told(a) == []


# ---------------------------------------------------------------- clocks


def test_a_wrong_clock_is_left_out_and_named() -> None:
    a = engine()
    wrong = trigger(9, 3.0 - 1947.0, 10_000.0, clock_off_us=-1947 * S)
    for t in [*quake(3), wrong, *quake(6)[3:]]:
        a.add([t])
    assert told(a) == [("area", [1, 2, 3, 4, 5, 6])]
    assert only(a).clocks == {"D-9": -1947.0}
    fault = a.moved[wrong.key]
    assert isinstance(fault, Fault)
    assert (fault.incident, fault.offset_s) == ("I1", -1947.0)
    body = body_of(only(a), a, {}, None, T0)
    assert body["clock_faults"] == [{"device": "D-9", "offset_s": -1947.0}]
    assert any("1,947 s behind" in reason["en"] for reason in body["why"])


# ---------------------------------------------------------------- order, cuts, memory, restart


def scene(seed: int) -> list[Trigger]:
    """Two quakes, two shaken houses, single triggers: what a quarter of an hour may bring."""
    rng = np.random.default_rng(seed)
    found = quake(5, first=100, at=float(rng.uniform(0, 20)), spacing_m=float(rng.uniform(1000, 9000)))
    found += [t._replace(lat=LAT + 0.5) for t in quake(4, first=200, at=400.0, spacing_m=2000.0)]
    found += [trigger(300, 200.0, 70_000.0), trigger(301, 203.0, 70_000.0, building="house 300")]
    found += [trigger(310, 205.0, -70_000.0), trigger(311, 209.0, -70_000.0, building="house 310")]
    found += [trigger(400 + i, 260.0 + 40 * i, *rng.uniform(-90_000, 90_000, 2)) for i in range(6)]
    return found


def shuffled(triggers: Sequence[Trigger], lateness_s: float, seed: int) -> list[Trigger]:
    """The order in which they arrive when each is up to ``lateness_s`` late."""
    delays = np.random.default_rng(seed).uniform(0, lateness_s, len(triggers))
    order = np.argsort([t.t_us / S + d for t, d in zip(triggers, delays, strict=True)])
    return [triggers[i] for i in order]


def fed(triggers: Iterable[Trigger], cuts: Sequence[int] = ()) -> Association:
    a, given = engine(), list(triggers)
    edges = [0, *sorted(c % (len(given) + 1) for c in cuts), len(given)]
    for start, end in itertools.pairwise(edges):
        a.add(given[start:end])
        a.settle()
    return a


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), order=st.integers(0, 1000), cuts=st.lists(st.integers(0, 30), max_size=12))
def test_any_cut_and_any_order_within_lateness_gives_the_same_incidents(
    seed: int, order: int, cuts: list[int]
) -> None:
    triggers = scene(seed)
    whole = fed(sorted(triggers, key=lambda t: t.t_us))
    single = fed(shuffled(triggers, 30.0, order), range(len(triggers)))
    blocks = fed(shuffled(triggers, 30.0, order + 1), cuts)
    assert told(whole) == told(single) == told(blocks)
    times = [[(e.first_us, e.detected_us, e.spread_us) for e in a.events.values()] for a in (whole, single, blocks)]
    assert sorted(times[0]) == sorted(times[1]) == sorted(times[2])


def test_twice_is_once() -> None:
    a = engine()
    a.add(quake(5))
    a.settle()
    a.add(quake(5))
    assert not a.changed
    assert not a.moved
    assert told(a) == [("area", [1, 2, 3, 4, 5])]


def test_what_is_not_settled_is_told_again() -> None:
    a = engine()
    a.add(quake(4))
    first = (list(a.changed), dict(a.moved))
    a.add(quake(4))
    assert (list(a.changed), dict(a.moved)) == first


def test_a_restarted_association_takes_the_same_event_up() -> None:
    a = engine()
    a.add(quake(4))
    event = only(a)
    restarted = engine()
    known = [t._replace(incident=event.id) for t in quake(4)]
    restarted.resume([event_of(event.id, memory_of(event))], known)
    restarted.add(quake(4))
    assert not restarted.changed
    restarted.add([trigger(9, 7.0, 30_000.0)])
    assert told(restarted) == [("area", [1, 2, 3, 4, 9])]
    assert only(restarted).id == event.id
    assert only(restarted).detected_us == event.detected_us


def test_memory_is_bounded_and_forgetting_keeps_what_is_young() -> None:
    a = engine()
    for hour in range(4):
        a.add([trigger(i, 3600.0 * hour + 3.0 * i, 3000.0 * (i % 50)) for i in range(1024)])
        a.settle()
    assert len(a.triggers) <= 3 * 1024
    assert a.forgotten > 0
    a.add(quake(12, at=4 * 3600.0, spacing_m=500.0))
    a.settle()
    assert told(a) == [("area", list(range(1, 13)))]
