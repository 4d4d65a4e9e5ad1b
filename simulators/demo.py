"""The demo's traffic: a calm city without an end, and every few minutes something happens.

All of it is seeded and published as live traffic. Sensors that scenarios and
replays need (the shaking house, the first smoke sensor, the first truck, most
vibration sensors) are left free, so that ``gridpulse simulate --as-live`` and
``replay --as-live`` do not talk over them: a sensor has one voice.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import mqtt5
import numpy as np

from db.devices import DeviceRow
from domain.devices import Device
from domain.errors import BrokerUnavailable
from simulators.city import build_city
from simulators.devices import Emission, SimulatedDevice, Site
from simulators.mapping import spread_over_towns
from simulators.publisher import Publisher
from simulators.replay import perform
from simulators.resend import CommandBox
from simulators.run import LIVE_PREFIX, RunClock
from simulators.scenarios.background import SLOW_EVERY_S, calm_values
from simulators.scenarios.kitchen_fire import OUT_AFTER_S, burning, camera_events
from simulators.scenarios.muck_truck import EVERY_S as POSITION_EVERY_S
from simulators.scenarios.muck_truck import SPEED_KMH, Way
from simulators.scenarios.quake import felt
from simulators.scenarios.scene import Scene, building_of, distance_m, merged, readings, waveforms
from simulators.scenarios.shaking_house import piling, residential, shares_building
from simulators.signals import Quake, Wave
from simulators.sites import load_sites, sites_of

SEED = 20220388
GATEWAY = "GW-1"
COMMANDS = ("sensors/+/command",)

STREAMING = 12
"""Vibration sensors that send waveforms all the time."""

FIRST_EVENT_S = 3.0
EVENT_EVERY_S = 240.0
EVENT_LASTS_S = 120.0
"""Longer than any event's effect on a wave or a level."""

EVENTS = ("house", "fire", "truck", "street", "fire", "tremor")
"""What happens, in turns; the house comes first because it is what the page should open with."""

SHAKING_S = 40.0
TREMOR = Quake(lon=114.05, lat=22.50, depth_km=10.0, origin_s=0.0, pga_m_s2=0.025)
"""Noticed, but below most limits."""

HOUSE_SENDS_BEFORE_S, HOUSE_SENDS_AFTER_S = 20.0, 115.0
COVER_OPEN_S = 60.0
SMOKE_STEP_S = 5.0
RETRY_S = 1.0


@dataclass(frozen=True)
class Lineup:
    """Who sends in the demo. ``house`` sends only around its own event."""

    house: Sequence[Site]
    vibration: Sequence[Site]
    slow: Sequence[Site]
    cameras: Sequence[Site]
    vehicles: Sequence[Site]

    @property
    def always(self) -> frozenset[str]:
        """The ids that send all the time: others should keep their hands off them."""
        return frozenset(site.id for site in (*self.vibration, *self.slow, *self.vehicles))


def lineup(sites: Sequence[Site]) -> Lineup:
    """Choose from the city's devices, the same ones each time."""
    scene = Scene(sites, SEED, 0, math.inf)
    vibration = scene.of_kind("vibration", 1)
    house = building_of(residential(vibration))
    low = [site for site in residential(vibration) if site.mount == "foundation"]
    others = [site for site in spread_over_towns(low) if not shares_building(site, house)]
    by_kind = [[site for site in by_id(sites) if site.kind == kind] for kind in SLOW_EVERY_S]
    return Lineup(
        house=house,
        vibration=others[-STREAMING:],
        slow=[site for group in by_kind for site in group[1::2]],
        cameras=[site for site in by_id(sites) if site.kind == "camera"],
        vehicles=[site for site in by_id(sites) if site.kind == "vehicle"][1:],
    )


def by_id(sites: Sequence[Site]) -> list[Site]:
    """In the order of their ids."""
    return sorted(sites, key=lambda site: site.id)


class Calendar:
    """What happens when: event ``k`` begins ``FIRST_EVENT_S + k * EVENT_EVERY_S`` after the start."""

    def __init__(self, scene: Scene, cast: Lineup) -> None:
        self._scene = scene
        self._cast = cast
        self._way = Way.along(scene.route)

    def event_at(self, seconds: float) -> int | None:
        """The number of the event whose effects may be felt now."""
        number = math.floor((seconds - FIRST_EVENT_S) / EVENT_EVERY_S)
        return number if number >= 0 and seconds - begins_s(number) < EVENT_LASTS_S + OUT_AFTER_S else None

    def waves(self, site: Site) -> Callable[[float, float], Sequence[Wave]]:
        """What a sensor feels."""

        def waves_at(_first_s: float, last_s: float) -> Sequence[Wave]:
            number = self.event_at(last_s)
            return () if number is None else self._event_waves(number, site)

        return waves_at

    def _event_waves(self, number: int, site: Site) -> Sequence[Wave]:
        begin_s = begins_s(number)
        match kind_of(number):
            case "house" if site in self._cast.house:
                return (piling(self._scene, site, begin_s, SHAKING_S),)
            case "street" if site == self._cast.vibration[number % len(self._cast.vibration)]:
                return (piling(self._scene, site, begin_s, SHAKING_S),)
            case "tremor" if site in self._cast.vibration:
                return felt(self._scene, site, TREMOR.moved_to(begin_s))
        return ()

    def house_sends(self, seconds: float) -> bool:
        """The house's sensors send from a little before their event until after it."""
        for number in (math.floor((seconds - FIRST_EVENT_S) / EVENT_EVERY_S) + n for n in (0, 1)):
            since_s = seconds - begins_s(number)
            near = -HOUSE_SENDS_BEFORE_S <= since_s < HOUSE_SENDS_AFTER_S
            if number >= 0 and kind_of(number) == "house" and near:
                return True
        return False

    def fire(self, number: int) -> Site | None:
        """The smoke sensor where event ``number`` burns."""
        sensors = [site for site in self._cast.slow if site.kind == "smoke"]
        return sensors[number % len(sensors)] if kind_of(number) == "fire" and sensors else None

    def burning_for_s(self, site: Site, seconds: float) -> float | None:
        """Seconds since ignition at a smoke sensor; None when it does not burn there."""
        number = self.event_at(seconds)
        return seconds - begins_s(number) if number is not None and self.fire(number) == site else None

    def camera_messages(self) -> Iterator[Emission]:
        """The fires as the nearest cameras see them, one after the other."""
        if not self._cast.cameras or not any(site.kind == "smoke" for site in self._cast.slow):
            return
        for number in count():
            if (sensor := self.fire(number)) is not None:
                camera = nearest(self._cast.cameras, sensor)
                yield from camera_events(self._scene, camera, begins_s(number))

    # ---------------------------------------------------------------- trucks

    def driven_m(self, truck: int, seconds: float) -> tuple[float, bool]:
        """Where truck number ``truck`` is on the way, and whether it goes out (loaded)."""
        length_m = self._way.length_m
        phase_m = truck * 2 * length_m / max(1, len(self._cast.vehicles))
        at_m = (phase_m + seconds * SPEED_KMH / 3.6) % (2 * length_m)
        return (at_m, True) if at_m <= length_m else (2 * length_m - at_m, False)

    def uncovered(self, truck: int, seconds: float) -> bool:
        """Whether this truck drives with an open cover now: the loaded one with most way before it."""
        number = self.event_at(seconds)
        if number is None or kind_of(number) != "truck":
            return False
        begin_s = begins_s(number)
        if not begin_s <= seconds < begin_s + COVER_OPEN_S:
            return False
        places = [(self.driven_m(n, begin_s), n) for n in range(len(self._cast.vehicles))]
        return min((at_m, n) for (at_m, out), n in places if out)[1] == truck

    def positions(self, truck: int) -> Iterator[Emission]:
        """A truck that goes to and fro on the way."""
        site = self._cast.vehicles[truck]
        rng = self._scene.rng(site.id)
        device = self._scene.device(site)
        offset_s = float(rng.uniform(0, POSITION_EVERY_S))
        for number in count():
            seconds = offset_s + number * POSITION_EVERY_S
            at_m, loaded = self.driven_m(truck, seconds)
            lon, lat, heading_deg = self._way.at(at_m)
            state = {
                "speed_kmh": round(float(np.clip(rng.normal(SPEED_KMH, 3.0), 30.0, 60.0)), 1),
                "heading_deg": round(heading_deg if loaded else (heading_deg + 180) % 360, 1),
                "bed": "loaded" if loaded else "empty",
                "cover": "open" if loaded and self.uncovered(truck, seconds) else "closed",
            }
            yield device.position(self._scene.time_us(seconds), lon, lat, state)


def nearest(cameras: Sequence[Site], sensor: Site) -> Site:
    """The camera that would see it."""
    return min(cameras, key=lambda site: (distance_m(site, sensor), site.id))


def begins_s(number: int) -> float:
    """When event ``number`` begins, seconds after the start."""
    return FIRST_EVENT_S + number * EVENT_EVERY_S


def kind_of(number: int) -> str:
    """What event ``number`` is."""
    return EVENTS[number % len(EVENTS)]


def demo_messages(scene: Scene) -> Iterator[Emission]:
    """The endless traffic of the demo, by time."""
    cast = lineup(scene.sites)
    calendar = Calendar(scene, cast)
    return merged(
        [
            *(waveforms(scene, site, calendar.waves(site)) for site in cast.vibration),
            *(waveforms(scene, site, calendar.waves(site), calendar.house_sends) for site in cast.house),
            *(slow_stream(scene, site, calendar) for site in cast.slow),
            *(calendar.positions(truck) for truck in range(len(cast.vehicles))),
            calendar.camera_messages(),
        ]
    )


def slow_stream(scene: Scene, site: Site, calendar: Calendar) -> Iterator[Emission]:
    """A slow sensor; one of smoke reports more often while it burns."""
    calm = calm_values(scene, site)
    if site.kind != "smoke":
        return readings(scene, site, SLOW_EVERY_S[site.kind], calm)

    def values(seconds: float, rng: np.random.Generator) -> Mapping[str, float]:
        since_s = calendar.burning_for_s(site, seconds)
        return calm(seconds, rng) if since_s is None else burning(calm(seconds, rng), since_s)

    def due(number: int, seconds: float) -> bool:
        return number % 6 == 0 or calendar.burning_for_s(site, seconds) is not None

    return readings(scene, site, SMOKE_STEP_S, values, due)


def device_of(row: DeviceRow) -> Device:
    """A city's device as the registry would have it."""
    return Device(
        0, row.id, row.kind, row.name, None, row.lon, row.lat, row.address_id, row.building_class, row.mount
    )


async def demo_traffic(
    broker_url: str,
    database_url: str | None = None,
    *,
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
) -> None:
    """Publish the demo until cancelled; a broker that is away is waited for.

    The devices come from the registry; without ``database_url`` the demo city is
    built for it, which takes two seconds more.
    """
    if database_url is not None:
        sites = await load_sites(database_url)
    else:
        city = await asyncio.to_thread(build_city)
        sites = sites_of(device_of(row) for row in city.devices)
    gateway = SimulatedDevice(GATEWAY)
    will = mqtt5.Will(
        LIVE_PREFIX + gateway.offline(0).topic,
        payload=gateway.offline(0).payload,
        qos=mqtt5.QoS.AT_LEAST_ONCE,
        retain=True,
    )
    commands = CommandBox()
    publisher = Publisher(
        broker_url,
        f"gridpulse-demo-{secrets.token_hex(3)}",
        will=will,
        patience_s=None,
        commands=COMMANDS,
        on_command=commands.put,
    )
    await connected(publisher)
    async with publisher:
        scene = Scene(sites, SEED, now_us(), math.inf)
        await publisher.publish(
            LIVE_PREFIX + gateway.status(scene.start_us).topic,
            gateway.status(scene.start_us).payload,
            clock_us=scene.start_us,
            retain=True,
        )
        clock = RunClock(scene.start_us, 1.0, time.monotonic())
        async with asyncio.TaskGroup() as group:
            answers = commands.answer(publisher, scene.devices, LIVE_PREFIX, now_us)
            group.create_task(answers, name="demo resends")
            await perform(
                publisher,
                demo_messages(scene),
                clock,
                LIVE_PREFIX,
                monotonic=time.monotonic,
                sleep=asyncio.sleep,
                sent=lambda _: None,
            )


async def connected(publisher: Publisher) -> None:
    """Connect, however long the broker takes to come."""
    while True:
        try:
            await publisher.open()
        except BrokerUnavailable:
            await asyncio.sleep(RETRY_S)
        else:
            return
