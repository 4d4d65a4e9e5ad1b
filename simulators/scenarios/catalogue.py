"""The scenarios by name. A new one is a module with ``cast``, ``play`` and ``DURATION_S``, and a row here."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from domain.errors import GridpulseError
from simulators.devices import Emission, Site
from simulators.scenarios import kitchen_fire, muck_truck, quake, quiet_night, shaking_house
from simulators.scenarios.scene import Scene


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row: ``cast(scene)`` is who takes part, ``play(scene)`` yields their messages by time."""

    name: str
    duration_s: float
    zh: str
    en: str
    cast: Callable[[Scene], list[Site]]
    play: Callable[[Scene], Iterator[Emission]]


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("quiet-night", quiet_night.DURATION_S,
                 "平静的夜：环境噪声、脚步、过路车；不应有任何告警",
                 "a calm night: noise, footsteps, passing trucks; nothing may alarm",
                 quiet_night.cast, quiet_night.play),
        Scenario("shaking-house", shaking_house.DURATION_S,
                 "一栋房屋振动超限：隔壁打桩，楼内三个传感器",
                 "one house shakes over its limit: piling next door, three sensors inside",
                 shaking_house.cast, shaking_house.play),
        Scenario("quake", quake.DURATION_S,
                 "地震：P 波、S 波依次穿过全市",
                 "an earthquake: P and S waves cross the city", quake.cast, quake.play),
        Scenario("muck-truck", muck_truck.DURATION_S,
                 "渣土车从麻涌经道滘到万江，途中篷布打开",
                 "a muck truck from Machong by Daojiao to Wanjiang; its cover opens on the way",
                 muck_truck.cast, muck_truck.play),
        Scenario("kitchen-fire", kitchen_fire.DURATION_S,
                 "厨房起火：烟感上升，随后摄像头发现明火，最后扑灭",
                 "a kitchen burns: smoke rises, a camera sees fire, it is put out",
                 kitchen_fire.cast, kitchen_fire.play),
    )
}  # fmt: skip


def find_scenario(name: str) -> Scenario:
    """The scenario of that name. Raises: GridpulseError with the nearest name."""
    if name in SCENARIOS:
        return SCENARIOS[name]
    near = difflib.get_close_matches(name, SCENARIOS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else "see `gridpulse simulate --list`"
    raise GridpulseError(f"there is no scenario {name!r}; {hint}")
