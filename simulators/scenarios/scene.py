"""What a scenario plays on: the devices there are, the seed, the start; and streams of messages.

Each device has exactly one stream, so that its sequence numbers rise in the
order it sends. Streams of many devices are merged by time; ties keep the order
of the streams, so the same seed gives the same bytes.
"""

from __future__ import annotations

import heapq
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from domain.clock import US_PER_S
from domain.errors import GridpulseError
from simulators.devices import Emission, SimulatedDevice, Site
from simulators.scenarios.route import MUCK_ROUTE
from simulators.signals import Wave, ambient, ambient_rms, total

RATE_HZ = 100
PACKET_SAMPLES = 100

WavesAt = Callable[[float, float], Sequence[Wave]]
"""(first, last) seconds of a packet → the waves that may be felt in it."""


@dataclass
class Scene:
    """One performance: ``sites`` as registered, ``start_us`` and ``duration_s`` in the run's clock."""

    sites: Sequence[Site]
    seed: int
    start_us: int
    duration_s: float
    route: Sequence[tuple[float, float]] = MUCK_ROUTE
    devices: dict[str, SimulatedDevice] = field(default_factory=dict)

    def device(self, site: Site) -> SimulatedDevice:
        """The simulated device of a site, the same one each time."""
        return self.devices.setdefault(site.id, SimulatedDevice(site.id))

    def rng(self, *names: str) -> np.random.Generator:
        """A generator of its own for each device or purpose, from the seed alone."""
        return np.random.default_rng([self.seed, *(zlib.crc32(name.encode()) for name in names)])

    def time_us(self, seconds: float) -> int:
        """The run's clock ``seconds`` after the start."""
        return self.start_us + round(seconds * US_PER_S)

    def of_kind(self, kind: str, at_least: int = 1) -> list[Site]:
        """The sites of a kind in the order of their ids. Raises: GridpulseError when too few."""
        found = sorted((site for site in self.sites if site.kind == kind), key=lambda site: site.id)
        if len(found) < at_least:
            raise GridpulseError(
                f"this scenario needs {at_least} device(s) of kind {kind} with a position, there are {len(found)}: "
                "start `gridpulse up --demo` first, or import such devices"
            )
        return found


def merged(streams: Iterable[Iterator[Emission]]) -> Iterator[Emission]:
    """All streams as one, by time."""
    return heapq.merge(*streams, key=lambda emission: emission.at_us)


def waveforms(
    scene: Scene, site: Site, waves_at: WavesAt, sends: Callable[[float], bool] = lambda _first_s: True
) -> Iterator[Emission]:
    """A vibration sensor's packets of one second, one after the other; none while it does not send."""
    rng = scene.rng(site.id)
    device = scene.device(site)
    # Sensors do not tick together: each starts somewhere within the first second.
    offset_s = float(rng.integers(0, RATE_HZ)) / RATE_HZ
    length_s = PACKET_SAMPLES / RATE_HZ
    steps = np.arange(PACKET_SAMPLES) / RATE_HZ
    yield device.status(scene.start_us)
    for number in count():
        first_s = offset_s + number * length_s
        if first_s + length_s > scene.duration_s:
            return
        if not sends(first_s):
            continue
        first_us = scene.time_us(first_s)
        samples = ambient(rng, PACKET_SAMPLES, ambient_rms(first_us))
        if waves := waves_at(first_s, first_s + length_s):
            samples += total(waves, first_s + steps)
        yield device.waveform(first_us, RATE_HZ, samples)


def always(waves: Sequence[Wave]) -> WavesAt:
    """The same waves for every packet: each knows itself when it is over."""
    return lambda _first, _last: waves


def readings(
    scene: Scene,
    site: Site,
    every_s: float,
    values: Callable[[float, np.random.Generator], Mapping[str, float]],
    due: Callable[[int, float], bool] = lambda _number, _seconds: True,
) -> Iterator[Emission]:
    """A slow sensor: ``values(seconds, rng)`` every ``every_s`` seconds when ``due(number, seconds)``."""
    rng = scene.rng(site.id)
    device = scene.device(site)
    offset_s = float(rng.uniform(0.1, every_s))
    yield device.status(scene.start_us)
    for number in count():
        seconds = offset_s + number * every_s
        if seconds > scene.duration_s:
            return
        if due(number, seconds):
            yield device.reading(scene.time_us(seconds), values(seconds, rng))


def building_of(sites: Sequence[Site], number: int = 0) -> list[Site]:
    """Up to three sensors of one building: the ``number``-th of those with the most sensors.

    Sensors share a building when they share an address; without addresses, the
    three nearest together stand for one.
    """
    by_address: dict[str, list[Site]] = {}
    for site in sites:
        if site.address_id is not None:
            by_address.setdefault(site.address_id, []).append(site)
    most = max((len(group) for group in by_address.values()), default=0)
    if most >= 2:
        groups = [group for _, group in sorted(by_address.items()) if len(group) >= min(most, 3)]
        return groups[number % len(groups)][:3]
    first = sites[number % len(sites)]
    return sorted(sites, key=lambda site: (distance_m(site, first), site.id))[:3]


def distance_m(a: Site, b: Site) -> float:
    """Metres between two sites, flat-earth (good within a city)."""
    east = (a.lon - b.lon) * 111_195 * math.cos(math.radians((a.lat + b.lat) / 2))
    return math.hypot(east, (a.lat - b.lat) * 111_195)
