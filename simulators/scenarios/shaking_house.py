"""One house shakes: piling next door, three sensors in the building, nobody else feels it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simulators.devices import Emission, Site
from simulators.scenarios.scene import Scene, always, building_of, merged, waveforms
from simulators.signals import Piling, Wave

STARTS_S = 15.0
LASTS_S = 45.0
DURATION_S = STARTS_S + LASTS_S + 75.0
"""Calm long enough after it for every condition to clear (a trigger's dead time is 60 s)."""
NEIGHBOURS = 5

PPV_MM_S = {"foundation": 14.0, "top_floor": 24.0}
"""Clearly over DIN 4150-3 line 2: 5 to 7.5 mm/s (10-20 Hz) at the foundation, 15 on top."""


def house_and_others(scene: Scene) -> tuple[list[Site], list[Site]]:
    """The sensors of the building that shakes, and a few of other buildings."""
    sites = scene.of_kind("vibration")
    building = building_of(residential(sites))
    shaken = {site.id for site in building}
    others = [site for site in sites if site.id not in shaken and not shares_building(site, building)]
    return building, others[:NEIGHBOURS]


def cast(scene: Scene) -> list[Site]:
    """All of them."""
    building, others = house_and_others(scene)
    return building + others


def play(scene: Scene) -> Iterator[Emission]:
    """The building's sensors shake; the others stay calm beside them."""
    building, others = house_and_others(scene)
    return merged(
        [
            *(waveforms(scene, site, always([piling(scene, site, STARTS_S)])) for site in building),
            *(waveforms(scene, site, always([])) for site in others),
        ]
    )


def residential(sites: Sequence[Site]) -> Sequence[Site]:
    """The sensors in dwellings, or all when there are none."""
    return [site for site in sites if site.building_class == "residential"] or sites


def shares_building(site: Site, building: Sequence[Site]) -> bool:
    """Whether a site is in the same house."""
    return site.address_id is not None and site.address_id == building[0].address_id


def piling(scene: Scene, site: Site, start_s: float, lasts_s: float = LASTS_S) -> Wave:
    """What this sensor feels of the piling: the same blows, its own strength."""
    rng = scene.rng(site.id, f"piling {start_s}")
    freq_hz = float(scene.rng(f"piling {start_s}").uniform(11.0, 19.0))
    return Piling(start_s, lasts_s, freq_hz, PPV_MM_S[site.mount] * float(rng.uniform(0.95, 1.3)))
