"""Every part joined to the others, in one straight function.

It is long on purpose: nearly every line needs what the lines above made. The
packages it joins know each other as callables only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from fastapi import FastAPI

from alerting.service import AlertService
from alerting.store import PostgresAlertStore
from alerting.trips.service import TripService
from alerting.trips.store import PostgresTripStore
from api.app import create_app
from api.hub import Hub
from api.ports import ApiPorts, Readiness
from db.listen import wakeups
from db.maintenance import EVERY_S, maintain
from db.pool import Pool, connect, open_pool, unavailable
from domain.devices import Device
from domain.errors import DatabaseUnavailable
from domain.places import Duty, Place
from domain.readings import Block
from geo.borders import Ground
from geo.divisions import next_division, relocate_devices
from geo.locate import Locator
from geo.store import CHANNEL as PLACES_CHANNEL
from geo.store import load_locator, notify_places, places_stamp
from ingest.gaps.service import GapService
from ingest.gaps.store import GapStore
from ingest.messages import Rules
from ingest.quarantine.replay import QuarantineReplay
from ingest.quarantine.store import QuarantineStore
from ingest.registry import Registry
from ingest.rollup.horizon import Horizon
from ingest.rollup.service import RollupService
from ingest.rollup.store import RollupStore
from ingest.service import IngestService
from ingest.session import MqttSession
from ingest.store import IngestStore
from ingest.topics import SUBSCRIPTIONS
from server.finding import Finding
from server.settings import Settings

log = logging.getLogger(__name__)

INGEST_CLIENT_ID = "gridpulse-ingest"
ALERT_TICK_S = 1.0
PLACES_POLL_S = 60.0
DIVISIONS_EVERY_S = 5.0
DUTIES_EVERY_S = 30.0
READY_WITHIN_S = 2.0
TRIP_SEVERITY = 3

Part = tuple[str, Callable[[], Awaitable[None]]]


@dataclass(frozen=True, slots=True)
class House:
    """What runs: named parts that must not end, the application, and how it is doing."""

    parts: Sequence[Part]
    app: FastAPI
    pool: Pool


class Places:
    """The locator in use; a new one takes its place between two calls."""

    def __init__(self, locator: Locator, stamp: str = "") -> None:
        self.locator = locator
        self._stamp = stamp
        self._ground = Ground(locator)

    @property
    def ground(self) -> Ground:
        """The ground of the locator in use."""
        if self._ground.locator is not self.locator:
            self._ground = Ground(self.locator)
        return self._ground

    def of_points(self, lon: Any, lat: Any) -> Sequence[Place]:
        """Places of WGS-84 points."""
        return self.locator.points(np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64))

    def of_device(self, address_id: str | None, lon: float | None, lat: float | None) -> Place:
        """The place of a device from what the registry knows of it."""
        return self.locator.device(address_id, lon, lat)

    def of_detections(self, wanted: Sequence[tuple[Device, float | None, float | None]]) -> list[Place]:
        """Where each detection is, its own point (a vehicle) or its device, and whose border is near."""
        places = [
            self.of_device(None, lon, lat)
            if lon is not None
            else self.of_device(device.address_id, device.lon, device.lat)
            for device, lon, lat in wanted
        ]
        points = [(lon, lat) if lon is not None else (device.lon, device.lat) for device, lon, lat in wanted]
        x, y = np.array(points, dtype=np.float64).reshape(-1, 2).T
        return self.ground.with_neighbours(places, x, y)

    async def follow(self, url: str, pool: Pool, alerts: AlertService | None = None) -> None:
        """Load the places anew when someone imported some and when a planned division comes into force.

        ``alerts``: those open are placed anew; only a process that writes alerts gives it.
        """
        renewed: Locator | None = None  # what changed while no process ran is made up for at the start
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_time(pool), name="divisions")
            async for _ in wakeups(url, PLACES_CHANNEL, poll_s=PLACES_POLL_S, name="gridpulse-places"):
                try:
                    await self.reload(pool)
                    if alerts is not None and renewed is not self.locator:
                        renewed = await self._renew(pool, alerts)
                except DatabaseUnavailable as error:
                    log.info("places are read again later: %s", error)

    async def reload(self, pool: Pool) -> None:
        """Put the locator in force in the place of the one in use. Raises: DatabaseUnavailable."""
        self.locator, self._stamp = await read_locator(pool, self.locator, self._stamp)

    async def _renew(self, pool: Pool, alerts: AlertService) -> Locator:
        """Devices and open alerts follow the locator in use, which is returned. Raises: DatabaseUnavailable."""
        locator = self.locator
        with unavailable("placing devices anew"):
            async with pool.connection() as conn, conn.transaction():
                devices = await relocate_devices(conn, locator)
        moved = await alerts.replace_places(f"new division {locator.version}")
        if devices or moved:
            log.info("new division %s: %d devices and %d open alerts moved", locator.version, len(devices), moved)
        return locator

    async def _keep_time(self, pool: Pool) -> None:
        """Wake every process when a planned division comes into force."""
        since = datetime.now(UTC)
        while True:
            wait_s = DIVISIONS_EVERY_S
            try:
                with unavailable("asking for the next division"):
                    async with pool.connection() as conn:
                        at = await next_division(conn, since)
                        now = datetime.now(UTC)
                        if at is not None and at <= now:
                            await notify_places(conn)
                            since = now
                        elif at is not None:
                            wait_s = min(wait_s, (at - now).total_seconds() + 0.01)
            except DatabaseUnavailable as error:
                log.info("divisions to come are asked for later: %s", error)
            await asyncio.sleep(wait_s)


async def read_locator(pool: Pool, current: Locator | None = None, stamp: str = "") -> tuple[Locator, str]:
    """The places in force and their stamp; ``current`` where the stamp is its own. Raises: DatabaseUnavailable."""
    with unavailable("reading the places"):
        async with pool.connection() as conn:
            now = datetime.now(UTC)
            newest = await places_stamp(conn, now)
            if current is not None and newest == stamp:
                return current, stamp
            return await load_locator(conn, now), newest


@asynccontextmanager
async def build(
    settings: Settings, database_url: str, mqtt_url: str | None, *, role: str, demo: bool
) -> AsyncIterator[House]:
    """The house for a role: all, ingest (no page) or api (no ingest).

    Raises: DatabaseUnavailable, SettingsError.
    """
    async with open_pool(database_url, name=f"gridpulse-{role}", max_size=12) as pool, AsyncExitStack() as opened:
        places = Places(*await read_locator(pool))
        registry = Registry(pool)
        await registry.load()
        alert_store = PostgresAlertStore(pool)
        alerts = AlertService(
            alert_store,
            await alert_store.load_rules(),
            device=registry.device,
            metric_names=registry.metric_names,
            place=places.of_detections,
            now_us=now_us,
            zone=ZoneInfo(settings.timezone),
        )
        await alerts.start()
        hub = Hub(pool, database_url, now_us, locate=places.of_points, ingest_here=role != "api")
        finding = Finding(pool, lambda: places.locator)
        parts: list[Part] = [
            ("registry", lambda: registry.follow(database_url)),
            ("places", lambda: places.follow(database_url, pool, None if role == "api" else alerts)),
            ("live", hub.run),
            ("search", finding.follow),
        ]
        if role == "api":
            parts.append(("duties", lambda: reread_duties(alerts)))
        session: MqttSession | None = None
        ingest: IngestService | None = None
        if role != "api":
            assert mqtt_url is not None

            trips = TripService(
                PostgresTripStore(pool),
                device=registry.device,
                locate=places.of_points,
                duty_of=lambda kind, place: alerts.route(kind, TRIP_SEVERITY, place).duties,
                take=alerts.take,
                now_us=now_us,
                zone=ZoneInfo(settings.timezone),
            )

            async def sink(block: Block) -> None:
                gaps.take(block)
                await alerts.handle(block)
                await trips.handle(block)
                hub.offer_block(block)

            session = MqttSession(mqtt_url, INGEST_CLIENT_ID, SUBSCRIPTIONS)
            gaps = GapService(GapStore(pool), registry.device, session.publish, now_us)
            await gaps.start()
            opened.push_async_callback(gaps.close)
            rules = Rules(ZoneInfo(settings.timezone), settings.auto_register, settings.runs_as_live)
            horizon = Horizon()
            rollups = RollupService(RollupStore(pool), horizon, now_us)
            await rollups.start()
            store = IngestStore(database_url, horizon)
            opened.push_async_callback(store.close)
            ingest = IngestService(session, store, registry, rules, sink)
            quarantine = QuarantineReplay(QuarantineStore(pool), ingest.take)
            parts += [
                ("broker session", session.run),
                ("ingest", ingest.run),
                ("gaps", gaps.run),
                ("rollups", rollups.run),
                ("quarantine", lambda: quarantine.follow(database_url)),
                ("last seen", registry.keep_heard),
                ("alert clock", lambda: tick(alerts)),
                ("maintenance", lambda: keep_up(settings, database_url)),
            ]

        def route(kind: str, severity: int, place: Place, **asked: Any) -> tuple[Sequence[Duty], Sequence[Any]]:
            routing = alerts.route(kind, severity, place, **asked)
            return routing.duties, routing.steps_json()

        async def readiness() -> Readiness:
            return await check_readiness(pool, session, ingest)

        ports = ApiPorts(
            pool=pool,
            hub=hub,
            act=alerts.act,
            locate=places.of_points,
            route=route,
            place_device=places.of_device,
            ground=lambda: places.ground,
            search=finding.find,
            readiness=readiness,
            now_us=now_us,
            demo=demo,
            run_mode=role,
            timezone=settings.timezone,
            on_duty=lambda unit, at_us: alerts.on_duty(unit, at_us).as_json(),
        )
        yield House(parts, create_app(ports), pool)


def now_us() -> int:
    """The wall clock, microseconds since 1970."""
    return time.time_ns() // 1000


async def tick(alerts: AlertService) -> None:
    """Shelves that run out, and whatever else the alerts' clock brings, each second."""
    while True:
        await asyncio.sleep(ALERT_TICK_S)
        try:
            await alerts.tick(now_us())
        except DatabaseUnavailable as error:
            log.info("the alerts' clock waits for the database: %s", error)


async def reread_duties(alerts: AlertService) -> None:
    """A process without the alerts' clock still answers ``/route`` by the table as it is."""
    while True:
        await asyncio.sleep(DUTIES_EVERY_S)
        try:
            await alerts.load_duties()
        except DatabaseUnavailable as error:
            log.info("the duties are read again later: %s", error)


async def keep_up(settings: Settings, database_url: str) -> None:
    """Retention and chunks made ahead, each hour."""
    while True:
        try:
            async with await connect(database_url, name="gridpulse-maintenance") as conn:
                with unavailable("maintaining the tables"):
                    removed = await maintain(conn, settings.retention, datetime.now(UTC))
            if any(removed.values()):
                log.info("retention removed %s", removed)
        except DatabaseUnavailable as error:
            log.warning("maintenance waits for the next round: %s", error)
        await asyncio.sleep(EVERY_S)


async def check_readiness(
    pool: Pool, session: MqttSession | None, ingest: IngestService | None
) -> dict[str, dict[str, Any]]:
    """The checks of ``/readyz``: database, broker, and whether what arrives is stored at once."""
    checks: dict[str, dict[str, Any]] = {}
    try:
        # The pool's own timeout ends when it has found a connection, not when that answers.
        async with asyncio.timeout(READY_WITHIN_S):
            with unavailable("asking the database"):
                async with pool.connection(timeout=READY_WITHIN_S) as conn:
                    await conn.execute("SELECT 1")
        checks["database"] = {"ok": True, "detail": "answers"}
    except DatabaseUnavailable as error:
        checks["database"] = {"ok": False, "detail": str(error)}
    except TimeoutError:
        checks["database"] = {"ok": False, "detail": f"no answer within {READY_WITHIN_S:.0f} s"}
    if session is not None and ingest is not None:
        statistics = session.statistics()
        detail = "connected" if statistics.connected else statistics.last_error or "not connected yet"
        checks["broker"] = {"ok": statistics.connected, "detail": detail}
        waiting = ingest.waiting_for_database
        checks["freshness"] = {
            "ok": not waiting,
            "detail": "a batch waits for the database"
            if waiting
            else f"{statistics.unacknowledged} messages waiting",
        }
    return checks
