"""A kitchen burns: the smoke sensor rises, the nearest camera sees fire, and it is put out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from simulators.devices import Emission, Site
from simulators.scenarios.background import calm_values, slow_sensors, slow_sites
from simulators.scenarios.scene import Scene, distance_m, merged, readings
from simulators.signals import smoke_ppm

DURATION_S = 240.0
IGNITION_S = 30.0
SEEN_AFTER_S = 55.0
OUT_AFTER_S = 120.0
EVERY_S = 5.0


def cast(scene: Scene) -> list[Site]:
    """One smoke sensor and its camera, and the other slow sensors."""
    return [kitchen(scene)[1], *slow_sites(scene)]


def play(scene: Scene) -> Iterator[Emission]:
    """The others stay calm."""
    sensor, camera = kitchen(scene)
    return merged(
        [
            smoke(scene, sensor),
            camera_events(scene, camera, IGNITION_S),
            slow_sensors(scene, skip=frozenset([sensor.id])),
        ]
    )


def kitchen(scene: Scene) -> tuple[Site, Site]:
    """The smoke sensor that has a camera nearest to it, and that camera."""
    sensors, cameras = scene.of_kind("smoke"), scene.of_kind("camera")
    pairs = ((distance_m(camera, sensor), sensor, camera) for sensor in sensors for camera in cameras)
    _, sensor, camera = min(pairs, key=lambda pair: (pair[0], pair[1].id, pair[2].id))
    return sensor, camera


def smoke(scene: Scene, sensor: Site) -> Iterator[Emission]:
    """The sensor in the kitchen, every five seconds."""
    calm = calm_values(scene, sensor)

    def values(seconds: float, rng: np.random.Generator) -> dict[str, float]:
        return burning(calm(seconds, rng), seconds - IGNITION_S)

    return readings(scene, sensor, EVERY_S, values)


def burning(calm: Mapping[str, float], since_s: float) -> dict[str, float]:
    """Calm values with the fire's smoke and warmth added."""
    risen = smoke_ppm(since_s, OUT_AFTER_S, 0.0)
    return {
        "smoke_ppm": round(calm["smoke_ppm"] + risen, 1),
        "temperature_c": round(calm["temperature_c"] + 25.0 * risen / 1500.0, 2),
    }


def camera_events(scene: Scene, camera: Site, ignition_s: float) -> Iterator[Emission]:
    """start, an update every five seconds, end; the box grows with the fire."""
    device = scene.device(camera)
    first_s, last_s = ignition_s + SEEN_AFTER_S, ignition_s + OUT_AFTER_S
    # The start time is part of the name: a second fire on the same camera is another event.
    event_id = f"{camera.id}-fire-{scene.time_us(first_s) // 1_000_000}"
    seconds = first_s
    while seconds < last_s and seconds <= scene.duration_s:
        grown = (seconds - first_s) / (last_s - first_s)
        half = 0.04 + 0.08 * grown
        fields = {
            "type": "fire",
            "score": round(0.72 + 0.25 * grown, 3),
            "box": [round(v, 3) for v in (0.55 - half, 0.5 - half, 0.55 + half, 0.5 + half)],
            "objects": [],
            "text": "窗口明火 / open flames at a window",
        }
        phase = "start" if seconds == first_s else "update"
        yield device.camera_event(scene.time_us(seconds), event_id, phase, fields)
        seconds += EVERY_S
    if last_s <= scene.duration_s:
        yield device.camera_event(scene.time_us(last_s), event_id, "end", {"type": "fire"})
