from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting import association_found as found
from alerting import association_rules as rules
from alerting.association import Association, Event, Fault, Joins, NewIncident, Stays, Trigger
from alerting.association_picks import Picker
from alerting.association_triggers import Triggers
from alerting.incidents.words import body_of, event_of, kind_of, memory_of, severity_of
from tests.unit.alerting.blocks import T0, S, block, packets

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


def pick(device: int, second: float, east_m: float = 0.0, north_m: float = 0.0) -> Trigger:
    t = trigger(device, second, east_m, north_m, kind="vibration.pick")
    return t._replace(key=("", *t.key[1:]))


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


Places = list[tuple[float, float]]


def noise(stations: int, a_day: float, minutes: float, seed: int) -> tuple[list[Trigger], Places]:
    """Unconnected picks of a city 50 km wide, and where its stations stand (metres east and north)."""
    rng = np.random.default_rng(seed)
    where = [(float(e), float(n)) for e, n in rng.uniform(-25_000, 25_000, (stations, 2))]
    picks = rng.poisson(stations * a_day * minutes / 1440)
    seconds, of = np.sort(rng.uniform(0, minutes * 60, picks)), rng.integers(0, stations, picks)
    return [pick(int(i), float(s), *where[i]) for s, i in zip(seconds, of, strict=True)], where


def listening(where: Places) -> Association:
    a = engine()
    for i, place in enumerate(where):
        t = trigger(i, 0.0, *place)
        a.listen(i, t.lon or 0.0, t.lat or 0.0)
    return a


@pytest.mark.parametrize(("stations", "a_day", "minutes"), [(200, 50.0, 40.0), (2000, 10.0, 20.0)])
def test_a_noisy_city_that_is_listened_to_from_now_on_has_no_event(
    stations: int, a_day: float, minutes: float
) -> None:
    for seed in range(4):
        picks, where = noise(stations, a_day, minutes, seed)
        a = listening(where)
        for t in picks:
            a.add([t])
            a.settle()
        assert told(a) == []


def waking(seed: int) -> tuple[list[Trigger], Places]:
    """An hour's night of 1,500 stations, and the first five minutes of a day with five times as many picks."""
    night, where = noise(1500, 2.0, 62.0, seed)
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.uniform(3720, 4020, rng.poisson(1500 * 10 * 300 / 86_400)))
    of = rng.integers(0, 1500, len(seconds))
    return [*night, *(pick(i, s, *where[i]) for s, i in zip(seconds.tolist(), of.tolist(), strict=True))], where


@pytest.mark.parametrize("seed", [9, 10, 17, 28])
def test_a_city_that_wakes_within_minutes_has_no_event(seed: int) -> None:
    """By the night's rate alone each of these is one."""
    picks, where = waking(seed)
    a = listening(where)
    for t in picks:
        a.add([t])
        a.settle()
    assert told(a) == []


def test_a_quake_while_the_city_wakes_is_found_all_the_same() -> None:
    picks, where = waking(9)
    a = listening(where)
    a.add([t for t in picks if t.t_us < T0 + 3800 * S])
    metres = [math.hypot(e + 10_000, n) for e, n in where]
    for i in sorted(range(len(where)), key=lambda i: metres[i]):
        a.add([pick(i, 3800.0 + metres[i] / 5500, *where[i])])
    assert only(a).devices >= 1400
    assert (only(a).detected_us - T0) / S - 3800.0 < 4.0


def test_a_quake_right_after_the_start_of_a_noisy_city_is_found() -> None:
    picks, where = noise(200, 50.0, 2.0, 1)
    a = listening(where)
    a.add(picks)
    metres = [math.hypot(e + 10_000, n) for e, n in where]
    for i in sorted(range(200), key=lambda i: metres[i]):
        a.add([pick(i, 120.0 + metres[i] / 5500, *where[i])])
    [(kind, devices)] = told(a)
    assert kind == "area"
    assert len(devices) >= 190
    assert (only(a).detected_us - T0) / S - 120.0 < 4.0


def test_a_few_stations_right_after_the_start_are_enough_in_a_small_network() -> None:
    a = listening([(15_000.0 * i, 20_000.0 * (i % 3)) for i in range(15)])
    a.add(quake(3))
    assert told(a) == [("area", [1, 2, 3])]


def test_the_picker_names_each_device_it_listens_to_once() -> None:
    picker, still = Picker(), np.zeros((2, 3, 32))
    for second, devices in ((0, (3, 8)), (1, (3, 8)), (2, (8, 5))):
        w = packets(devices, [T0 + second * 1_024_000] * 2, still, 31.25)
        picker.feed(block(waveforms=(w,)))
        assert picker.newcomers() == [[3, 8], [], [5]][second]


def test_what_is_assumed_gives_way_to_what_was_heard() -> None:
    start, half, known = (
        rules.background_an_hour(n, s, 48)
        for n, s in ((0, 0), (100, 1800), (200, 3600))
    )
    assert start == pytest.approx(48 * rules.ASSUMED_A_DAY / 24)
    assert start < half < known == 201
    assert rules.background_an_hour(0, 7200, 10_000) == 1
    assert rules.chance_allowed(3600) == rules.CHANCE_A_WEEK_MAX < rules.chance_allowed(0)


def test_more_than_any_number_of_stations_is_never() -> None:
    """A background in which chance explains two dozen: no event, however many fit."""
    rng = np.random.default_rng(3)
    memory = Triggers()
    memory.append([
        trigger(1000 + i, float(second), *rng.uniform(-500, 500, 2))
        for i, second in enumerate(rng.uniform(-3660, -61, 9000))
    ])  # fmt: skip
    rows = memory.append([trigger(i, 0.0, *rng.uniform(-500, 500, 2)) for i in range(60)])
    assert found.stations(memory, int(rows[0])) is None


def test_what_an_association_knew_before_a_restart_is_not_known_after_it() -> None:
    """An alert of hours ago that is taken up does not mean that the city was listened to since."""
    picks, where = noise(200, 50.0, 10.0, 1)
    a = listening(where)
    old = trigger(1, -7200.0, incident="I9")
    a.resume([], [old])
    a.add([pick(5000, -9000.0)._replace(late=True)])
    for t in picks:
        a.add([t])
    assert told(a) == []


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


def test_an_event_reaches_no_farther_than_a_kilometre_or_its_size() -> None:
    a = engine()
    a.add([trigger(1, 0.0), trigger(2, 0.1, 300.0), trigger(3, 0.2, 500.0)])
    a.add([trigger(8, 1.0, 5_000.0)])
    assert told(a) == [("area", [1, 2, 3])]
    a.add([trigger(9, 1.0, 1_400.0)])
    assert 9 in told(a)[0][1]


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


def test_sensors_of_one_house_minutes_apart_and_senses_far_apart_in_time_are_not_one() -> None:
    a = engine()
    a.add([trigger(1, 0.0), trigger(2, 90.0, building="house 1")])
    a.add([trigger(3, 0.0, 9000.0, kind="fire.smoke"), trigger(4, 400.0, 9020.0, kind="camera.fire")])
    assert told(a) == []


def test_many_sensors_of_one_house_are_one_station() -> None:
    a = engine()
    a.add([trigger(i, 0.1 * i, building="house 1") for i in range(1, 6)])
    a.add([trigger(9, 1.0, 700.0)])
    assert told(a) == [("building", [1, 2, 3, 4, 5])]


def test_where_five_stations_are_needed_several_of_one_house_count_once() -> None:
    n = next(n for n in range(1, 1000) if rules.stations_needed(3000, n + 1, n + 1) == 5)
    memory = Triggers()
    memory.append([trigger(100 + i, -3700.0 + 3500 * i / n) for i in range(n + 3)])
    house = [trigger(i, 0.1 * i, 2900.0, building="house 1") for i in range(1, 5)]
    rows = memory.append([*house, trigger(6, 0.4, 0.0, 2950.0), trigger(7, 0.5, -2980.0), trigger(8, 0.6)])
    assert found.stations(memory, int(rows[-1])) is None
    memory.append([trigger(9, 0.7, 0.0, -2990.0)])
    assert found.stations(memory, int(rows[-1])) is not None


def test_limits_passed_by_single_readings_need_a_fourth_house() -> None:
    a = engine()
    a.add([trigger(i, 0.5 * i, 900.0 * i, kind="vibration.limit") for i in range(3)])
    assert told(a) == []
    a.add([trigger(3, 1.5, 2700.0, kind="vibration.limit")])
    assert told(a) == [("area", [0, 1, 2, 3])]


def test_houses_that_each_fit_one_but_not_each_other_are_no_wave() -> None:
    """Three houses 18 km apart: one 6 s before the first, one 6 s after; no wave takes 12 s over 18 km."""
    a = engine()
    apart = [trigger(1, 0.0), trigger(2, -6.0, 18_000.0), trigger(3, 6.0, 9_000.0, 15_600.0)]
    a.add(apart)
    assert told(a) == []
    b = engine()
    b.add([*apart[:2], apart[2]._replace(t_us=T0)])
    assert told(b) == [("area", [1, 2, 3])]


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
    a.add([trigger(3, 3.0, 10.0, kind="vibration.limit"), *quake(6, first=10, at=2.0)[4:]])
    assert [kind for kind, _ in told(a)] == ["mixed", "area"]


def test_a_quake_does_not_swallow_a_fire_whose_house_had_shaken_first() -> None:
    a = engine()
    a.add([trigger(1, 0.0, kind="vibration.limit"), trigger(2, 1.0, 20.0, kind="fire.smoke")])
    a.add(quake(4, first=10, at=1.0, spacing_m=3000.0))
    assert told(a) == [("mixed", [1, 2]), ("area", [10, 11, 12, 13])]


# ---------------------------------------------------------------- storms


def test_a_thousand_in_ten_seconds_are_one_incident_and_few_alarms() -> None:
    for kind, placed in (("vibration.limit", True), ("fire.temperature", True), ("vibration.limit", False)):
        rng = np.random.default_rng(1)
        a, alone = engine(), 0
        seconds = np.sort(rng.uniform(0, 10, 1000))
        for part in np.array_split(np.arange(1000), 100):
            a.add(
                [
                    t if placed else t._replace(lon=None, lat=None, building=None)
                    for i in part
                    for t in [trigger(int(i), float(seconds[i]), *rng.uniform(-15_000, 15_000, 2), kind=kind)]
                ]
            )
            alone += sum(isinstance(d, Stays) for d in a.moved.values())
            a.settle()
        assert [len(devices) for _, devices in told(a)] == [1000]
        assert alone + 1 <= 10


def test_eight_places_in_a_minute_and_a_half_are_no_storm() -> None:
    a = engine()
    a.add([trigger(i, 12.0 * i, 30_000.0 * i, kind="gas.leak") for i in range(8)])
    assert told(a) == []


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
