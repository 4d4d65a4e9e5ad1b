"""``gridpulse up``: everything in the foreground, started in order and stopped in order.

The parts live in one task group; one that ends takes the server down with a
non-zero exit. SIGINT and SIGTERM stop it cleanly: the page first, then ingest
(what was not acknowledged is delivered again), then the broker and the database.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn

from api.accounts import issue_ticket, seed_demo_accounts
from api.app import uvicorn_options
from db.address_rule import settle_rule
from db.migrate import migrate
from db.pool import Pool, connect
from domain.addresses import SHENZHEN
from domain.errors import DatabaseUnavailable, GridpulseError, SettingsError
from server.accounts import follow_accounts
from server.broker_log import count_refusals
from server.connect import ServerRecord, recorded, stack_urls
from server.embedded.home import EmbeddedUrls
from server.embedded.stack import EmbeddedStack, embedded_stack
from server.embedded.tls import TlsListener
from server.progress import Startup
from server.settings import Settings
from server.wiring import House, build
from simulators.city import seed_demo
from simulators.demo import demo_traffic

log = logging.getLogger(__name__)

DATABASE_RETRY_S = 2.0
LOGIN_LINK_S = 900.0
CANCEL_AGAIN_S = 10.0
"""Longer than any part needs to end in order: ingest finishes its commit and its detectors in 6 s."""
DEMO_LOGIN = "dispatcher"
FIRST_ALERT_EVERY_S = 0.2

HAS_OPEN_ALERT = "SELECT EXISTS (SELECT FROM alert WHERE state <> 'closed' AND exercise IS NULL)"


class PartEnded(GridpulseError):
    """A part of the server ended that must not; the log says why."""


async def run_server(settings: Settings, *, role: str, demo: bool, startup: Startup) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises: GridpulseError with what to do when a part cannot start or ends.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(name, stop.set)
    serving = asyncio.create_task(serve(settings, role=role, demo=demo, startup=startup), name="server")
    asked = asyncio.create_task(stop.wait(), name="stop signal")
    await asyncio.wait([serving, asked], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not serving.done():
        startup.say("stopping")
        serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


async def serve(settings: Settings, *, role: str, demo: bool, startup: Startup) -> None:
    """Start the stack, bring the schema up to date, and run all parts."""
    with listening(settings) if role != "ingest" else no_listener() as listener:
        async with services(settings, role, startup) as (urls, stack):
            assert urls.database_url is not None
            await until_migrated(urls.database_url, startup)
            await settle_addresses(settings, urls.database_url, demo=demo, role=role)
            if demo and role != "api":
                await seed(urls.database_url, startup)
            async with build(settings, urls.database_url, urls.mqtt_url, role=role, demo=demo) as house:
                http_url = f"http://{shown_host(settings.http_host)}:{settings.http_port}/"
                record = ServerRecord(os.getpid(), http_url, demo, settings.runs_as_live, role)
                settle_memory()
                with recorded(settings.home, record):
                    stop_if_told()
                    await run_parts(house, urls, stack, listener, demo, startup, http_url)


def stop_if_told() -> None:
    """End the start when it was cancelled and something on the way swallowed that. Raises: CancelledError."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def settle_memory() -> None:
    """Take what was made at the start out of the garbage collector's rounds.

    Modules and schemas are 100,000 objects that never go; to look through them again
    holds up every thread for 0.1 s, and a large piece of work sets that off.
    """
    gc.collect()
    gc.freeze()


async def run_parts(
    house: House,
    urls: EmbeddedUrls,
    stack: EmbeddedStack,
    listener: socket.socket | None,
    demo: bool,
    startup: Startup,
    http_url: str,
) -> None:
    """All parts in one task group, until the first of them ends."""
    try:
        async with asyncio.TaskGroup() as group:
            for name, work in house.parts:
                group.create_task(must_not_end(name, work), name=name)
            if stack.urls.database_url or stack.urls.mqtt_url:
                group.create_task(embedded_must_not_fail(stack), name="embedded stack")
            if stack.urls.mqtt_url and urls.database_url:
                url = urls.database_url
                group.create_task(
                    must_not_end("accounts", lambda: follow_accounts(url, house.pool, stack.write_accounts)),
                    name="accounts",
                )
            if stack.broker_log is not None:
                path = stack.broker_log
                group.create_task(must_not_end("broker log", lambda: count_refusals(path)), name="broker log")
            if listener is not None:
                group.create_task(must_not_end("page", lambda: serve_http(house, listener)), name="page")
            if demo and urls.simulator_mqtt_url:
                broker = urls.simulator_mqtt_url
                traffic = must_not_end("demo traffic", lambda: demo_traffic(broker, urls.database_url))
                group.create_task(traffic, name="demo traffic")
            if listener is not None:
                group.create_task(announce(house.pool, http_url, demo, startup), name="announce")
    except BaseExceptionGroup as errors:
        raise first_cause(errors) from errors


async def must_not_end(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """A part that returns or breaks takes the server down. Raises: PartEnded."""
    try:
        await cancelled_for_good(work)
    except GridpulseError as error:
        raise PartEnded(f"{name} stopped: {error}") from error
    except Exception as error:
        log.exception("%s broke", name)
        raise PartEnded(f"{name} broke: {type(error).__name__}: {error}; the log has more") from error
    raise PartEnded(f"{name} ended by itself; the log has more")


async def cancelled_for_good(work: Callable[[], Awaitable[None]]) -> None:
    """Do the work; when cancelled, cancel it again and again until it has ended.

    A part in which something swallows its one cancellation would go on, and the stop of
    the server wait for it for ever: ``asyncio.wait_for`` of Python 3.11 does so when what it
    waits for comes in the same moment, and the connection pool uses it.
    """
    task = asyncio.ensure_future(work())
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_AGAIN_S)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a part ended with an error while it was stopped: %s", error)
        raise


async def embedded_must_not_fail(stack: EmbeddedStack) -> None:
    """Raises: PartEnded when the database or the broker dies."""
    raise PartEnded(await stack.wait_failed())


def first_cause(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the group: the first that is not a group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@asynccontextmanager
async def services(
    settings: Settings, role: str, startup: Startup
) -> AsyncIterator[tuple[EmbeddedUrls, EmbeddedStack]]:
    """Database and broker: the settings' own, else embedded; the api role joins a running home."""
    if role == "api" and not settings.database_url:
        running = stack_urls(settings)
        yield running, EmbeddedStack(EmbeddedUrls(None, None, None), None, None)
        return
    async with embedded_stack(
        settings.home,
        database=not settings.database_url,
        broker=not settings.mqtt_url and role != "api",
        mqtt_host=settings.mqtt_host,
        mqtt_port=settings.mqtt_port,
        mqtt_max_connections=settings.mqtt_max_connections,
        mqtt_tls=tls_listener(settings),
        mqtt_count_denied=settings.mqtt_count_denied,
        progress=startup.progress,
    ) as stack:
        urls = EmbeddedUrls(
            settings.database_url or stack.urls.database_url,
            settings.mqtt_url or stack.urls.mqtt_url,
            settings.mqtt_url or stack.urls.simulator_mqtt_url,
        )
        yield urls, stack


def tls_listener(settings: Settings) -> TlsListener | None:
    """The listener with TLS that the settings ask for."""
    if not settings.mqtt_tls_port:
        return None
    return TlsListener(settings.mqtt_tls_host, settings.mqtt_tls_port, settings.mqtt_tls_login)


async def until_migrated(url: str, startup: Startup) -> None:
    """Bring the schema up to date; wait for a database that does not answer yet."""
    waiting = False
    while True:
        try:
            ran = await asyncio.to_thread(migrate, url)
        except DatabaseUnavailable as error:
            if not waiting:
                startup.say(f"waiting for the database: {error}; check GRIDPULSE_DATABASE_URL and that it runs")
            waiting = True
            await asyncio.sleep(DATABASE_RETRY_S)
        else:
            startup.say(f"schema: {', '.join(ran)}" if ran else "schema is up to date")
            return


async def settle_addresses(settings: Settings, url: str, *, demo: bool, role: str) -> None:
    """Agree with the database on what address ids are made of. Raises: SettingsError, DatabaseUnavailable."""
    wanted = settings.address_rule
    seeding = demo and role != "api"
    if seeding and wanted not in (None, SHENZHEN):
        raise SettingsError(
            f"GRIDPULSE_ADDRESS_DIGITS is {wanted}, but the demo city's addresses follow {SHENZHEN}: add --no-demo"
        )
    async with await connect(url, name="gridpulse-start") as conn:
        await settle_rule(conn, SHENZHEN if seeding else wanted, may_change=role != "api")


async def seed(url: str, startup: Startup) -> None:
    """The demo city and the demo accounts, once."""
    async with await connect(url, name="gridpulse-demo") as conn:
        seeded = await seed_demo(conn, startup.say)
        accounts = await seed_demo_accounts(conn)
    startup.say(f"demo: {seeded.because} ({seeded.version})")
    startup.accounts = accounts


async def serve_http(house: House, listener: socket.socket) -> None:
    """The page and the API on an already bound socket."""
    config = uvicorn.Config(house.app, **uvicorn_options())
    server = _Server(config)
    try:
        await server.serve(sockets=[listener])
    except asyncio.CancelledError:
        server.should_exit = True
        raise


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: it would re-raise SIGTERM before others have flushed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to ``run_server``."""
        yield


@contextmanager
def listening(settings: Settings) -> Iterator[socket.socket | None]:
    """The page's socket, bound before anything is started. Raises: SettingsError when it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.http_host, settings.http_port))
            listener.listen(1024)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {settings.http_host}:{settings.http_port} ({error.strerror}): "
                "set GRIDPULSE_HTTP_PORT or GRIDPULSE_HTTP_HOST to another, or stop what uses it"
            ) from error
        yield listener


@contextmanager
def no_listener() -> Iterator[None]:
    """For a process without a page."""
    yield None


def shown_host(host: str) -> str:
    """An address a browser on this machine can open."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


async def announce(pool: Pool, http_url: str, demo: bool, startup: Startup) -> None:
    """Say where the page is; in the demo once the first alert can be seen, with a login link."""
    if not demo:
        startup.ready(http_url, None)
        return
    await first_open_alert(pool)
    async with pool.connection() as conn:
        ticket = await issue_ticket(conn, DEMO_LOGIN, LOGIN_LINK_S)
    startup.ready(http_url, f"{http_url}#login={ticket}")


async def first_open_alert(pool: Pool) -> None:
    """Return once there is something to see."""
    while True:
        async with pool.connection() as conn:
            row = await (await conn.execute(HAS_OPEN_ALERT)).fetchone()
        if row and row[0]:
            return
        await asyncio.sleep(FIRST_ALERT_EVERY_S)
