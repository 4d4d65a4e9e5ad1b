from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise, takewhile

from simulators.demo import SEED, demo_messages, lineup
from simulators.devices import Emission
from simulators.scenarios.catalogue import SCENARIOS
from simulators.scenarios.scene import Scene
from tests.unit.simulators.heard import Ear
from tests.unit.simulators.sites import town_sites

START_US = 1_795_442_400_000_000
SITES = town_sites()


def messages(seconds: float) -> list[Emission]:
    endless = demo_messages(Scene(SITES, SEED, START_US, math.inf))
    return list(takewhile(lambda e: e.at_us < START_US + seconds * 1e6, endless))


def test_the_first_alert_comes_within_five_seconds() -> None:
    ear = Ear(SITES)
    found = ear.hear(messages(5.2))
    assert {d.kind for d in found} == {"vibration.limit", "vibration.intensity"}
    assert {ear.name(d) for d in found} <= {"VB-0001", "VB-0002", "VB-0003"}


def test_only_what_is_on_the_calendar_alarms() -> None:
    ear = Ear(SITES)
    found = [d for d in ear.hear(messages(1000)) if d.phase == "onset"]
    assert not ear.refused
    times = {(d.kind, round((d.at_us - START_US) / 1e6) // 240) for d in found}
    assert times == {
        ("vibration.limit", 0),
        ("vibration.intensity", 0),
        ("fire.smoke", 1),
        ("camera.fire", 1),
        ("truck.uncovered", 2),
        ("vibration.limit", 3),
        ("vibration.shaking", 3),
        ("vibration.intensity", 3),
        ("fire.smoke", 4),
    } | ({("camera.fire", 4)} & times)


def test_it_is_calm_by_number_and_in_order() -> None:
    sent = messages(300)
    assert all(a.at_us <= b.at_us for a, b in pairwise(sent))
    assert 5 < len(sent) / 300 < 25
    assert sent == messages(300)
    kinds = Counter(message.topic.split("/")[2] for message in sent)
    assert kinds.keys() == {"waveform", "readings", "status", "position", "events"}


def test_scenarios_find_free_sensors_beside_the_demo() -> None:
    taken = lineup(SITES).always
    free = [site for site in SITES if site.id not in taken]
    for scenario in SCENARIOS.values():
        assert scenario.cast(Scene(free, 1, START_US, scenario.duration_s))
    house = SCENARIOS["shaking-house"].cast(Scene(free, 1, START_US, 90.0))[:3]
    assert [site.id for site in house] == ["VB-0001", "VB-0002", "VB-0003"]
