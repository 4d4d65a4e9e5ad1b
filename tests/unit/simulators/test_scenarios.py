from __future__ import annotations

from collections import Counter
from itertools import pairwise

import msgspec
import pytest

from domain.alerts import Detection
from domain.errors import GridpulseError
from simulators.devices import Emission
from simulators.scenarios.catalogue import SCENARIOS, find_scenario
from simulators.scenarios.quake import focus
from simulators.scenarios.scene import Scene, building_of
from tests.unit.simulators.heard import Ear
from tests.unit.simulators.sites import town_sites

START_US = 1_795_442_400_000_000
SITES = town_sites()


def scene(name: str, seed: int = 1, duration_s: float | None = None) -> Scene:
    return Scene(SITES, seed, START_US, duration_s or SCENARIOS[name].duration_s)


def play(name: str, seed: int = 1, duration_s: float | None = None) -> list[Emission]:
    return list(SCENARIOS[name].play(scene(name, seed, duration_s)))


def cleared(found: list[Detection]) -> int:
    """How many episodes ended."""
    return sum(d.phase == "clear" for d in found)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(name: str) -> None:
    assert play(name, 1, 30.0) == play(name, 1, 30.0)
    assert play(name, 1, 30.0) != play(name, 2, 30.0)


@pytest.mark.parametrize("name", SCENARIOS)
def test_messages_come_by_time_within_the_duration_from_the_cast_alone(name: str) -> None:
    duration_s = min(SCENARIOS[name].duration_s, 240.0)
    messages = play(name, duration_s=duration_s)
    assert messages
    assert all(a.at_us <= b.at_us for a, b in pairwise(messages))
    assert messages[0].at_us >= START_US
    assert messages[-1].at_us <= START_US + duration_s * 1e6
    cast = {site.id for site in SCENARIOS[name].cast(scene(name))}
    assert {message.topic.split("/")[1] for message in messages} == cast


@pytest.mark.parametrize("name", ["quiet-night", "shaking-house", "kitchen-fire", "muck-truck"])
def test_each_device_counts_without_a_gap(name: str) -> None:
    seqs: dict[str, list[int]] = {}
    for message in play(name, duration_s=100.0):
        decode = msgspec.msgpack.decode if message.topic.endswith("waveform") else msgspec.json.decode
        seq = decode(message.payload).get("seq")
        if seq is not None:
            seqs.setdefault(message.topic.split("/")[1], []).append(seq)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in seqs.values())


@pytest.mark.parametrize(("seed", "duration_s"), [(1, 300.0), (2, 100.0)])
def test_a_quiet_night_alarms_nobody(seed: int, duration_s: float) -> None:
    ear = Ear(SITES)
    assert ear.hear(play("quiet-night", seed, duration_s)) == []
    assert not ear.refused


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_house_shakes_and_no_other(seed: int) -> None:
    ear = Ear(SITES)
    found = ear.hear(play("shaking-house", seed))
    assert not ear.refused
    assert {ear.name(d) for d in found} == {"VB-0001", "VB-0002", "VB-0003"}
    limits = [d for d in found if d.kind == "vibration.limit"]
    assert Counter(d.phase for d in limits if d.phase != "update") == {"onset": 3, "clear": 3}
    assert all(d.value > 1.2 * d.limit for d in limits)
    assert cleared(found) == 9, "all three rules of all three sensors"
    assert all(15.0 <= (d.at_us - START_US) / 1e6 < 17.0 for d in limits if d.phase == "onset")


def test_a_quake_is_felt_by_all_in_the_order_of_their_distance() -> None:
    ear = Ear(SITES)
    found = ear.hear(play("quake"))
    quake = focus(scene("quake"))
    sites = {site.id: site for site in SITES}
    onsets = {ear.name(d): d.at_us for d in found if d.kind == "vibration.shaking" and d.phase == "onset"}
    assert len(onsets) == 43
    assert cleared(found) == len({(d.rule, d.device) for d in found})
    lags_s = {
        name: (at_us - START_US) / 1e6 - quake.arrivals_s(sites[name].lon, sites[name].lat)[0]
        for name, at_us in onsets.items()
    }
    assert min(lags_s.values()) > -0.3, "nobody feels it before the P waves"
    assert max(lags_s.values()) < 20.0


def test_the_truck_drives_uncovered_once() -> None:
    ear = Ear(SITES)
    found = ear.hear(play("muck-truck"))
    assert [(d.kind, d.phase) for d in found] == [("truck.uncovered", "onset"), ("truck.uncovered", "clear")]


def test_a_kitchen_fire_is_smelt_then_seen_then_out() -> None:
    ear = Ear(SITES)
    found = sorted((d for d in ear.hear(play("kitchen-fire")) if d.phase != "update"), key=lambda d: d.at_us)
    assert [(d.kind, d.phase) for d in found] == [
        ("fire.smoke", "onset"),
        ("camera.fire", "onset"),
        ("camera.fire", "clear"),
        ("fire.smoke", "clear"),
    ]


def test_the_house_with_most_sensors_is_the_building() -> None:
    assert [site.id for site in building_of(SITES[:10])] == ["VB-0001", "VB-0002", "VB-0003"]
    alone = [site for site in SITES if site.kind == "vibration"][3:]
    assert len(building_of(alone)) == 3


def test_a_city_without_the_devices_is_told_what_to_do() -> None:
    bare = Scene([], 1, START_US, 10.0)
    with pytest.raises(GridpulseError, match=r"needs 1 device.s. of kind vibration.*up --demo"):
        SCENARIOS["quake"].cast(bare)


def test_a_misspelt_scenario_is_guessed() -> None:
    with pytest.raises(GridpulseError, match="did you mean shaking-house"):
        find_scenario("shaking_hous")
