"""A quake 60 km away: P waves at 6 km/s, S waves at 3.5 km/s, and everybody feels it, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from simulators.devices import Emission, Site
from simulators.scenarios.scene import Scene, always, merged, waveforms
from simulators.signals import Quake, Wave

DURATION_S = 180.0
ORIGIN_S = 25.0
"""Enough calm before it for a long-term average."""

PGA_M_S2 = 0.12
"""Felt by all, plaster cracks: velocities of 5 to 25 mm/s at the city's distances."""


def focus(scene: Scene) -> Quake:
    """About 60 km off the coast, in a direction and depth of the seed's choice."""
    rng = scene.rng("focus")
    return Quake(
        lon=114.05 + float(rng.uniform(-0.08, 0.08)),
        lat=22.50 + float(rng.uniform(-0.05, 0.05)),
        depth_km=float(rng.uniform(8.0, 14.0)),
        origin_s=ORIGIN_S,
        pga_m_s2=PGA_M_S2,
    )


def cast(scene: Scene) -> list[Site]:
    """All vibration sensors."""
    return scene.of_kind("vibration")


def play(scene: Scene) -> Iterator[Emission]:
    """Each sensor with its own arrivals."""
    quake = focus(scene)
    return merged(waveforms(scene, site, always(felt(scene, site, quake))) for site in cast(scene))


def felt(scene: Scene, site: Site, quake: Quake) -> tuple[Wave, Wave]:
    """The quake at a sensor, with its building's own amplification."""
    rng = scene.rng(site.id, "site")
    factor, seed = float(rng.uniform(0.8, 1.3)), int(rng.integers(0, 2**31))
    return quake.waves(site.lon, site.lat, factor, seed)
