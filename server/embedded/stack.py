"""The private database and broker as one thing that is started, watched and ended.

Refuses to start on a home that another process owns, and to leave anything running.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from db.credentials import Revoked
from domain.errors import EmbeddedError
from server.embedded import packages, programs
from server.embedded.broker_accounts import BrokerAccount
from server.embedded.home import (
    EmbeddedUrls,
    Home,
    forget_urls,
    owner_lock,
    record_urls,
    running_urls,
)
from server.embedded.mosquitto import DoorSettings, Mosquitto, clear_the_way
from server.embedded.packages import Progress, quiet
from server.embedded.postgres import Postgres, data_major
from server.embedded.privileges import RunAs, choose_user, require_change, with_access
from server.embedded.process import in_thread, trim_log
from server.embedded.programs import Programs
from server.embedded.tls import TlsListener

__all__ = ["EmbeddedStack", "EmbeddedUrls", "embedded_stack", "running_urls"]

_LOG_LOOK_S = 60.0


class EmbeddedStack:
    """The running services of one home."""

    def __init__(self, urls: EmbeddedUrls, postgres: Postgres | None, broker: Mosquitto | None) -> None:
        self.urls = urls
        self._broker = broker
        self._children = [part.child for part in (postgres, broker) if part is not None]
        self.logs = [child.log for child in self._children]
        self.broker_log = None if broker is None else broker.child.log

    async def write_accounts(self, accounts: Sequence[BrokerAccount], revoked: Sequence[Revoked] = ()) -> None:
        """Let exactly these devices and gateways into the broker (see `Mosquitto.write_accounts`)."""
        if self._broker is None:
            raise EmbeddedError("the broker is not ours: make the accounts where GRIDPULSE_MQTT_URL points")
        await self._broker.write_accounts(accounts, revoked)

    async def wait_failed(self) -> str:
        """Wait until a service ends that should not; why it did. Without services: forever."""
        exits = [child.exited for child in self._children]
        if not exits:
            await asyncio.get_running_loop().create_future()
        await asyncio.wait(exits, return_when=asyncio.FIRST_COMPLETED)
        return next(child.obituary() for child in self._children if not child.running)


@asynccontextmanager
async def embedded_stack(
    home: Path,
    *,
    database: bool,
    broker: bool,
    mqtt_host: str,
    mqtt_port: int,
    mqtt_max_connections: int = 16_000,
    mqtt_tls: TlsListener | None = None,
    mqtt_count_denied: bool = False,
    progress: Progress | None = None,
) -> AsyncIterator[EmbeddedStack]:
    """Run a private database and/or broker for as long as the block lasts.

    Start it in the main thread: the children's lives hang on the starting thread's.
    ``progress(step, done, total)`` is called in the event loop. Raises `EmbeddedError`.
    """
    if not (database or broker):
        yield EmbeddedStack(EmbeddedUrls(None, None, None), None, None)
        return
    place = Home.at(home)
    door = DoorSettings(mqtt_host, mqtt_port, mqtt_max_connections, mqtt_tls, mqtt_count_denied)
    run_as = choose_user(os.geteuid())
    require_change(run_as)
    place.create(run_as)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(owner_lock(place))
        await in_thread(_least_right, run_as, place, [])
        if broker:
            # Before anything is fetched: the commonest obstacle, and the quickest to name.
            await clear_the_way(place, door)
        found = await _find_programs(place, run_as, database, broker, progress or quiet)
        run_as = await in_thread(_least_right, run_as, place, found.folders())
        running = await _start(stack, place, found, run_as, door)
        stack.callback(forget_urls, place)
        record_urls(place, running.urls)
        yield running


async def _start(
    stack: AsyncExitStack, home: Home, found: Programs, run_as: RunAs, door: DoorSettings
) -> EmbeddedStack:
    """Start the database, then the broker; they are stopped in the opposite order."""
    postgres = mosquitto = None
    database_url = server_url = simulator_url = None
    if found.postgres is not None:
        postgres = await Postgres.start(home, found.postgres, run_as)
        stack.push_async_callback(postgres.stop)
        database_url = postgres.url
    if found.mosquitto is not None:
        mosquitto = await Mosquitto.start(home, found.mosquitto, run_as, door)
        stack.push_async_callback(mosquitto.stop)
        server_url, simulator_url = mosquitto.urls()
    running = EmbeddedStack(EmbeddedUrls(database_url, server_url, simulator_url), postgres, mosquitto)
    watch = asyncio.create_task(_bound_logs(running.logs), name="embedded logs")
    stack.push_async_callback(_cancelled, watch)
    return running


async def _find_programs(home: Home, run_as: RunAs, database: bool, broker: bool, progress: Progress) -> Programs:
    loop = asyncio.get_running_loop()
    cancelled = threading.Event()

    def in_loop(step: str, done: int, total: int) -> None:
        # The loop may be gone when a cancelled search says its last word.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(progress, step, done, total)

    search = partial(
        programs.find,
        database=database,
        broker=broker,
        major=data_major(home) if database else None,
        # For root the usual place may be closed to the account that the database runs as.
        caches=(packages.cache_root(os.environ), home.root / "programs"),
        usable=lambda folder: with_access(run_as, [folder]) is not None,
        progress=in_loop,
        cancelled=cancelled,
    )
    try:
        return await asyncio.to_thread(search)
    except asyncio.CancelledError:
        cancelled.set()
        raise


def _least_right(run_as: RunAs, home: Home, folders: Sequence[Path]) -> RunAs:
    fitting = with_access(run_as, [home.run, *folders])
    if fitting is None:
        raise EmbeddedError(
            f"the database must not run as root, and its account {run_as.name!r} cannot enter {home.root}: "
            "set GRIDPULSE_HOME to a folder outside closed ones such as /root, or start as an ordinary user"
        )
    return fitting


async def _bound_logs(logs: Sequence[Path]) -> None:
    while True:
        await asyncio.sleep(_LOG_LOOK_S)
        for log in logs:
            await asyncio.to_thread(trim_log, log)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
