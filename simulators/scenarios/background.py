"""A calm city: what every sensor says when nothing is wrong. It must not raise an alert."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from simulators.devices import Emission, Site
from simulators.scenarios.scene import Scene, merged, readings
from simulators.signals import daily_crack_mm, daily_temperature_c, daily_tilt_deg, smoke_ppm

Values = Callable[[float, np.random.Generator], Mapping[str, float]]

SLOW_EVERY_S = {"tilt": 30.0, "crack": 60.0, "temperature": 30.0, "smoke": 30.0, "water_level": 60.0}
"""Seconds between the readings of each slow kind."""


def calm_values(scene: Scene, site: Site) -> Values:
    """What a slow sensor measures on an ordinary day: it follows the sun, with a little noise."""
    rest = scene.rng(site.id, "rest").uniform(-1.0, 1.0, 2)

    def tilt(seconds: float, rng: np.random.Generator) -> Mapping[str, float]:
        now_us = scene.time_us(seconds)
        return {
            "tilt_x_deg": round(daily_tilt_deg(now_us, 0.02 * rest[0]) + rng.normal(0, 0.0005), 5),
            "tilt_y_deg": round(daily_tilt_deg(now_us, 0.02 * rest[1], 0.0008) + rng.normal(0, 0.0005), 5),
        }

    def crack(seconds: float, rng: np.random.Generator) -> Mapping[str, float]:
        width = daily_crack_mm(scene.time_us(seconds), 0.12 + 0.05 * rest[0]) + rng.normal(0, 0.001)
        return {"crack_mm": round(width, 4)}

    def temperature(seconds: float, rng: np.random.Generator) -> Mapping[str, float]:
        warm = daily_temperature_c(scene.time_us(seconds), 26.0 + 1.5 * rest[0]) + rng.normal(0, 0.1)
        return {"temperature_c": round(warm, 2)}

    def smoke(seconds: float, rng: np.random.Generator) -> Mapping[str, float]:
        warm = daily_temperature_c(scene.time_us(seconds), 27.0 + rest[0], 2.0)
        clean = smoke_ppm(0.0, 0.0, 20.0 + 5.0 * rest[1])
        return {
            "smoke_ppm": round(clean + abs(rng.normal(0, 1.0)), 1),
            "temperature_c": round(warm + rng.normal(0, 0.1), 2),
        }

    def water_level(_seconds: float, rng: np.random.Generator) -> Mapping[str, float]:
        return {"water_level_m": round(0.01 + abs(rng.normal(0, 0.002)), 4)}

    by_kind: dict[str, Values] = {
        "tilt": tilt,
        "crack": crack,
        "temperature": temperature,
        "smoke": smoke,
        "water_level": water_level,
    }
    return by_kind[site.kind]


def slow_sites(scene: Scene) -> list[Site]:
    """The slow sensors of the scene by id."""
    return sorted((site for site in scene.sites if site.kind in SLOW_EVERY_S), key=lambda site: site.id)


def slow_sensors(scene: Scene, skip: frozenset[str] = frozenset()) -> Iterator[Emission]:
    """All slow sensors of the scene but those in ``skip``, calm."""
    return merged(
        readings(scene, site, SLOW_EVERY_S[site.kind], calm_values(scene, site))
        for site in slow_sites(scene)
        if site.id not in skip
    )
