"""The seed's trip: a muck truck loads in 麻涌, passes 道滘 and unloads in 万江; on the way its cover opens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from simulators.devices import Emission, Site
from simulators.scenarios.route import MUCK_ROUTE
from simulators.scenarios.scene import Scene

EVERY_S = 5.0
SPEED_KMH = 45.0
OPENS_AT, CLOSES_AT, UNLOADS_AT = 0.55, 0.62, 0.97
"""Shares of the way: the cover opens on the stretch to 道滘, the load goes shortly before the end."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Way:
    """A line on the ground with its length: ``at(metres)`` gives the point and heading."""

    points: Sequence[Point]
    reached_m: Sequence[float]

    @classmethod
    def along(cls, points: Sequence[Point]) -> Way:
        """From WGS-84 points."""
        reached = [0.0]
        for a, b in pairwise(points):
            reached.append(reached[-1] + math.hypot(*metres(a, b)))
        return cls(points, reached)

    @property
    def length_m(self) -> float:
        """The whole way."""
        return self.reached_m[-1]

    def at(self, metre: float) -> tuple[float, float, float]:
        """lon, lat and heading (degrees from north) after this many metres."""
        lon = float(np.interp(metre, self.reached_m, [point[0] for point in self.points]))
        lat = float(np.interp(metre, self.reached_m, [point[1] for point in self.points]))
        leg = int(np.clip(np.searchsorted(self.reached_m, metre, side="right"), 1, len(self.points) - 1))
        east, north = metres(self.points[leg - 1], self.points[leg])
        return lon, lat, math.degrees(math.atan2(east, north)) % 360


def metres(a: Point, b: Point) -> tuple[float, float]:
    """East and north from a to b, flat-earth."""
    east = (b[0] - a[0]) * 111_195 * math.cos(math.radians((a[1] + b[1]) / 2))
    return east, (b[1] - a[1]) * 111_195


DURATION_S = Way.along(MUCK_ROUTE).length_m / (SPEED_KMH / 3.6) + 60.0


def cast(scene: Scene) -> list[Site]:
    """The first vehicle."""
    return scene.of_kind("vehicle")[:1]


def play(scene: Scene) -> Iterator[Emission]:
    """It drives the whole route."""
    return trip(scene, cast(scene)[0], Way.along(scene.route))


def trip(scene: Scene, truck: Site, way: Way) -> Iterator[Emission]:
    """A position every five seconds from the start to the end of the way."""
    rng = scene.rng(truck.id)
    device = scene.device(truck)
    driven_m, seconds = 0.0, 0.0
    while seconds <= scene.duration_s and driven_m <= way.length_m:
        share = driven_m / way.length_m
        speed_kmh = float(np.clip(rng.normal(SPEED_KMH, 6.0), 15.0, 70.0))
        lon, lat, heading_deg = way.at(driven_m)
        state = {
            "speed_kmh": round(speed_kmh, 1),
            "heading_deg": round(heading_deg, 1),
            "bed": "loaded" if share < UNLOADS_AT else "empty",
            "cover": "open" if OPENS_AT <= share < CLOSES_AT else "closed",
        }
        jitter = rng.normal(0, 3e-5, 2)  # about 3 m of GPS noise
        yield device.position(scene.time_us(seconds), lon + jitter[0], lat + jitter[1], state)
        seconds += EVERY_S
        driven_m += speed_kmh / 3.6 * EVERY_S
