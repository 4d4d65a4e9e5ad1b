"""A quiet night: noise, steps on the stairs, a truck in the street. Whatever alarms here, alarms falsely."""

from __future__ import annotations

from collections.abc import Iterator

from simulators.devices import Emission, Site
from simulators.scenarios.background import slow_sensors, slow_sites
from simulators.scenarios.scene import Scene, always, merged, waveforms
from simulators.signals import Footsteps, TruckPass, Wave

DURATION_S = 300.0
SENSORS = 24


def cast(scene: Scene) -> list[Site]:
    """Up to 24 vibration sensors and all slow ones."""
    return scene.of_kind("vibration")[:SENSORS] + slow_sites(scene)


def play(scene: Scene) -> Iterator[Emission]:
    """Every sensor on its own."""
    vibration = [site for site in cast(scene) if site.kind == "vibration"]
    packets = (waveforms(scene, site, always(harmless(scene, site))) for site in vibration)
    return merged([slow_sensors(scene), *packets])


def harmless(scene: Scene, site: Site) -> list[Wave]:
    """What shakes a sleeping house a little: steps about every two minutes, a truck every three."""
    rng = scene.rng(site.id, "harmless")
    waves: list[Wave] = []
    at_s = 20.0 + float(rng.exponential(60.0))
    while at_s < scene.duration_s:
        waves.append(Footsteps(at_s, int(rng.integers(5, 14)), peak_m_s2=float(rng.uniform(0.003, 0.007))))
        at_s += 15.0 + float(rng.exponential(105.0))
    at_s = 40.0 + float(rng.exponential(90.0))
    while at_s < scene.duration_s:
        peak, phase = float(rng.uniform(0.001, 0.004)), float(rng.uniform(0, 6.28))
        waves.append(TruckPass(at_s, float(rng.uniform(5.0, 8.0)), peak, phase))
        at_s += 40.0 + float(rng.exponential(140.0))
    return waves
