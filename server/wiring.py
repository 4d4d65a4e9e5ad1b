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
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import FastAPI

from alerting.duty_store import CHANNEL as DUTIES_CHANNEL
from alerting.metrics import OWNERSHIP
from alerting.recovery import Recovery
from alerting.rulebook import RuleBook
from alerting.service import AlertService
from alerting.store import PostgresAlertStore
from alerting.trips.service import TripService
from alerting.trips.store import PostgresTripStore
from api.app import create_app
from api.hub import Hub
from api.ports import ApiPorts, HookPorts, Readiness
from db.lease import Lease
from db.listen import wakeups
from db.maintenance import EVERY_S, maintain
from db.media import MediaFolder
from db.pool import Pool, connect, open_pool, unavailable
from domain.errors import DatabaseUnavailable
from domain.places import Duty, Place
from domain.readings import Block
from ingest.adapters.routes import Adapters, hook_route, parse_route
from ingest.adapters.things import Options
from ingest.gaps.service import GapService
from ingest.gaps.store import GapStore
from ingest.media.hosts import AllowedHost
from ingest.media.service import Keeping, MediaService
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
from ingest.translation import Translation
from server.embedded.broker_accounts import hash_password
from server.finding import Finding
from server.hooks import HookIntake
from server.places import Places, read_divisions
from server.settings import Settings

log = logging.getLogger(__name__)

INGEST_CLIENT_ID = "gridpulse-ingest"
ALERT_TICK_S = 1.0
DUTIES_POLL_S = 30.0
READY_WITHIN_S = 2.0
TRIP_SEVERITY = 3
BEGIN_AGAIN_S = 1.0

Part = tuple[str, Callable[[], Awaitable[None]]]


@dataclass(frozen=True, slots=True)
class House:
    """What runs: named parts that must not end, the application, and how it is doing."""

    parts: Sequence[Part]
    app: FastAPI
    pool: Pool


@asynccontextmanager
async def build(
    settings: Settings, database_url: str, mqtt_url: str | None, *, role: str, demo: bool
) -> AsyncIterator[House]:
    """The house for a role: all, ingest (no page) or api (no ingest).

    Raises: DatabaseUnavailable, SettingsError.
    """
    async with open_pool(database_url, name=f"gridpulse-{role}", max_size=12) as pool, AsyncExitStack() as opened:
        places = Places(*await read_divisions(pool))
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
            division_changed_since=places.changed_since,
        )
        book = RuleBook(pool, database_url, registry.devices, now_us)
        lease = Lease(database_url, OWNERSHIP.set)
        detecting = asyncio.Event()
        if role == "api":
            await alerts.start()
        else:
            await alerts.load_duties()  # the rest once this process is the one that detects
            opened.push_async_callback(lease.release)
        hub = Hub(pool, database_url, now_us, locate=places.of_points, ingest_here=role != "api")
        finding = Finding(pool, lambda: places.locator)
        parts: list[Part] = [
            ("registry", lambda: registry.follow(database_url)),
            ("places", lambda: places.follow(database_url, pool, None if role == "api" else alerts)),
            ("divisions", lambda: places.keep_time(pool)),
            *hub.parts,
            ("search", finding.follow),
            ("duties", lambda: follow_duties(database_url, alerts)),
        ]
        session: MqttSession | None = None
        ingest: IngestService | None = None
        hooks: HookPorts | None = None
        media_folder = MediaFolder(settings.home / "media")
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

            recovery = Recovery(pool, alerts, registry.device, registry.metric_names, now_us, registry.calibrated)

            async def own() -> None:
                await lease.acquire()
                await begin(alerts, alert_store, recovery, registry, (gaps.start, rollups.start))
                detecting.set()
                await lease.keep()

            async def sink(raw: Block) -> None:
                await lease.held.wait()
                await gaps.take(raw)
                block = registry.calibrated(raw)
                await alerts.handle(block)
                await trips.handle(block)
                hub.offer_block(block)
                if block.camera_events:
                    media.wake()

            adapters = make_adapters(settings)
            media = MediaService(
                pool,
                media_folder,
                [AllowedHost.parse(host) for host in settings.media_hosts],
                Keeping(settings.retention_days_media, settings.media_bytes_max),
            )
            session = MqttSession(
                mqtt_url,
                INGEST_CLIENT_ID,
                (*SUBSCRIPTIONS, *adapters.filters),
                retained_filters=adapters.retained_filters,
            )
            gaps = GapService(GapStore(pool), registry.device, session.publish, now_us)
            opened.push_async_callback(gaps.close)
            translation = Translation(adapters, session.publish)
            rules = Rules(ZoneInfo(settings.timezone), settings.auto_register, settings.runs_as_live)
            horizon = Horizon()
            rollups = RollupService(RollupStore(pool), horizon, now_us)
            stores = [IngestStore(database_url, horizon) for _ in range(settings.ingest_connections)]
            for store in stores:
                opened.push_async_callback(store.close)
            ingest = IngestService(session, stores, registry, rules, sink, translate=translation)
            hooks = HookPorts(HookIntake(ingest, now_us), frozenset(settings.hooks), settings.hook_secrets)
            quarantine = QuarantineReplay(QuarantineStore(pool), partial(ingest.submit, came_by="quarantine"))
            parts += [
                ("owner of detection", own),
                ("broker session", once(detecting, session.run)),
                ("ingest", once(detecting, ingest.run)),
                ("gaps", once(detecting, gaps.run)),
                ("rollups", once(detecting, rollups.run)),
                ("quarantine", once(detecting, lambda: quarantine.follow(database_url))),
                ("last seen", registry.keep_heard),
                ("alert clock", once(detecting, lambda: tick(alerts))),
                ("rules", once(detecting, lambda: book.follow(alerts, lambda: registry.version))),
                ("checkpoints", once(detecting, recovery.keep)),
                ("pictures", once(detecting, media.run)),
                ("old pictures", once(detecting, media.sweep)),
                ("maintenance", once(detecting, lambda: keep_up(settings, database_url))),
            ]

        def route(kind: str, severity: int, place: Place, **asked: Any) -> tuple[Sequence[Duty], Sequence[Any]]:
            routing = alerts.route(kind, severity, place, **asked)
            return routing.duties, routing.steps_json()

        async def readiness() -> Readiness:
            standing_by = role != "api" and not detecting.is_set()
            return await check_readiness(pool, session, ingest, standing_by=standing_by and lease.waiting)

        ports = ApiPorts(
            pool=pool,
            hub=hub,
            act=alerts.act,
            locate=places.of_points,
            route=route,
            place_device=places.of_device,
            ground=places.ground,
            search=finding.find,
            readiness=readiness,
            now_us=now_us,
            demo=demo,
            run_mode=role,
            timezone=settings.timezone,
            hash_device_password=hash_password,
            on_duty=lambda unit, at_us: alerts.on_duty(unit, at_us).as_json(),
            hooks=hooks,
            media=media_folder,
            rules=book,
        )
        yield House(parts, create_app(ports), pool)


def make_adapters(settings: Settings) -> Adapters:
    """The routes of the settings' topics, and of the hooks."""
    routes = [parse_route(pattern, name) for pattern, name in settings.adapters.items()]
    hooks = [hook_route(name) for name in settings.hooks]
    return Adapters([*routes, *hooks], ZoneInfo(settings.timezone), Options(settings.frigate_url))


def now_us() -> int:
    """The wall clock, microseconds since 1970."""
    return time.time_ns() // 1000


def once(begun: asyncio.Event, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """A part that waits until this process is the one that detects."""

    async def run() -> None:
        await begun.wait()
        await work()

    return run


async def begin(
    alerts: AlertService,
    store: PostgresAlertStore,
    recovery: Recovery,
    registry: Registry,
    others: Sequence[Callable[[], Awaitable[None]]],
) -> None:
    """Go on where the last owner of detection stopped: its rules, its memory, and what ``others`` take up."""
    while True:
        try:
            await registry.load()
            rules = await store.load_rules()
            await alerts.set_rules(rules, {})
            await recovery.recover(rules)
            for start in others:
                await start()
            return
        except DatabaseUnavailable as error:
            log.info("detection begins later: %s", error)
            await asyncio.sleep(BEGIN_AGAIN_S)


async def tick(alerts: AlertService) -> None:
    """Shelves that run out, and whatever else the alerts' clock brings, each second."""
    while True:
        await asyncio.sleep(ALERT_TICK_S)
        try:
            await alerts.tick(now_us())
        except DatabaseUnavailable as error:
            log.info("the alerts' clock waits for the database: %s", error)


async def follow_duties(url: str, alerts: AlertService) -> None:
    """Read the duty tables anew when someone imported some, so that all processes give the same answer."""
    async for _ in wakeups(url, DUTIES_CHANNEL, poll_s=DUTIES_POLL_S, name="gridpulse-duties"):
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
    pool: Pool, session: MqttSession | None, ingest: IngestService | None, *, standing_by: bool = False
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
    if standing_by:
        checks["detection"] = {"ok": True, "detail": "stands by: another process detects on this database"}
    elif session is not None and ingest is not None:
        statistics = session.statistics()
        detail = "connected" if statistics.connected else statistics.last_error or "not connected yet"
        checks["broker"] = {"ok": statistics.connected, "detail": detail}
        waiting = ingest.waiting_for_database
        backlog = f"{statistics.unacknowledged} messages waiting"
        checks["freshness"] = {
            "ok": not waiting,
            "detail": "a batch waits for the database" if waiting else backlog,
        }
    return checks
