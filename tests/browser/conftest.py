"""A real server for the page, and a real Chromium to look at it.

One server a test run: demo city, broker, detectors, feed and page; alerts are raised
by publishing over MQTT. ``GRIDPULSE_REQUIRE_BROWSER=1`` makes a missing Chromium a
failure; otherwise these tests are skipped. What a failing test saw is kept under
``test-results/browser``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import shutil
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
import uvicorn
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright
from psycopg.rows import tuple_row

from api.accounts import DEMO_PASSWORD, issue_ticket, issue_token, seed_demo_accounts
from api.app import uvicorn_options
from db.pool import connect
from server.embedded.stack import EmbeddedStack
from server.run import cancelled_for_good
from server.settings import Settings, load_settings
from server.wiring import build
from simulators.city import seed_demo
from simulators.publisher import Publisher
from tests.fix_stack import on_database
from tests.waiting import DEADLINE_S, until

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--disable-quic", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip
RESULTS = Path(__file__).parents[2] / "test-results" / "browser"
READY_S = 60.0


@dataclass
class LiveServer:
    """The server under test. ``raise_alert`` uses a device that had none before."""

    base_url: str
    database_url: str
    publisher: Publisher
    dispatcher_password: str = DEMO_PASSWORD
    unused: dict[str, list[str]] = field(default_factory=dict)
    seq: int = 0

    async def ticket(self) -> str:
        """A one-time ticket of a login link."""
        async with await connect(self.database_url, name="test") as conn:
            return await issue_ticket(conn, "dispatcher")

    async def token(self, name: str = "dispatcher") -> str:
        """A bearer token of an account, made beside the login's limits."""
        async with await connect(self.database_url, name="test") as conn:
            return await issue_token(conn, name)

    @property
    def login_url(self) -> str:
        """The page's address to which a ticket is added."""
        return f"{self.base_url}/#login="

    async def alert_of(self, device: str) -> dict[str, Any] | None:
        """The newest open alert of a device."""
        async with await connect(self.database_url, name="test") as conn:
            cursor = conn.cursor(row_factory=tuple_row)
            await cursor.execute(
                "SELECT body FROM alert WHERE body #>> '{device,id}' = %s AND state <> 'closed' "
                "ORDER BY started_at DESC LIMIT 1",
                [device],
            )
            row = await cursor.fetchone()
        return None if row is None else dict(row[0])

    async def publish(self, topic: str, payload: object) -> None:
        """One message as an ordinary device."""
        await self.publisher.publish(f"runs/live/{topic}", json.dumps(payload).encode())

    async def raise_alert(
        self, *, kind: str = "temperature", metric: str = "temperature_c", value: float = 80.0,
        device: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Publish one reading over its limit; the alert it raised."""
        device = device or self.unused[kind].pop()
        self.seq += 1
        reading = {"t": time.time(), "seq": self.seq, "values": {metric: value}}
        await self.publish(f"sensors/{device}/readings", reading)
        return await self.found(device)

    async def shake(self, device: str | None = None, peak_m_s2: float = 1.6) -> dict[str, Any]:
        """Publish six seconds of a house that shakes at 12 Hz; the alert of its vibration."""
        device = device or self.unused["vibration"].pop()
        start = time.time() - 7
        for second in range(6):
            self.seq += 1
            head = {"t": start + second, "seq": self.seq, "rate_hz": 100, "unit": "m/s2"}
            await self.publish(f"sensors/{device}/waveform", head | motion(second, peak_m_s2))
        return await self.found(device)

    async def found(self, device: str) -> dict[str, Any]:
        """The device's alert, once it is in the database."""
        found: dict[str, Any] = {}

        async def there() -> bool:
            found.update(await self.alert_of(device) or {})
            return bool(found)

        await until(there, f"an alert of {device}")
        return found


def motion(second: int, peak: float) -> dict[str, list[float]]:
    """One second of 12 Hz at 100 samples/s: quiet for two seconds, then a blow that dies away."""

    def sample(at_s: float) -> float:
        loud = peak * math.exp((2 - at_s) / 1.4) if at_s >= 2 else 0.0
        return loud * math.sin(2 * math.pi * 12 * (at_s - 2)) + 0.004 * math.sin(97 * at_s)

    wave = [round(sample(second + n / 100), 5) for n in range(100)]
    return {"x": wave, "y": [v * 0.6 for v in wave], "z": [v * 0.3 for v in wave]}


@pytest.fixture(scope="session")
def browser_database(admin_url: str, template_database: str) -> Iterator[str]:
    name = f"gridpulse_browser_{os.getpid()}"
    with psycopg.connect(admin_url, autocommit=True) as conn:
        conn.execute(f"ALTER DATABASE {template_database} WITH ALLOW_CONNECTIONS false".encode())
        conn.execute(
            b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [template_database]
        )
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {template_database} STRATEGY file_copy".encode())
        conn.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true".encode())
    yield on_database(admin_url, name)
    with psycopg.connect(admin_url, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
async def live_server(
    chromium: str, stack: EmbeddedStack, browser_database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LiveServer]:
    async with await connect(browser_database, name="test") as conn:
        await seed_demo(conn)
        await seed_demo_accounts(conn)
        cursor = conn.cursor(row_factory=tuple_row)
        await cursor.execute("SELECT kind, id FROM device WHERE run IS NULL ORDER BY id DESC")
        devices = await cursor.fetchall()
    unused: dict[str, list[str]] = {}
    for kind, device in devices:
        unused.setdefault(kind, []).append(device)
    assert stack.urls.mqtt_url is not None
    assert stack.urls.simulator_mqtt_url is not None
    home = tmp_path_factory.mktemp("home")
    settings = load_settings({}, home, home=home, auto_register=True, runs_as_live=True)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(settings, browser_database, stack.urls.mqtt_url, ready))
    serving.add_done_callback(lambda ended: ready.done() or fail(ready, ended))
    base_url = await asyncio.wait_for(ready, READY_S)
    await until_ready(base_url)
    async with Publisher(stack.urls.simulator_mqtt_url, "browser-test") as publisher:
        yield LiveServer(base_url, browser_database, publisher, unused=unused)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def until_ready(base_url: str) -> None:
    """Until it is subscribed: the broker keeps nothing for who was never there."""
    async with httpx2.AsyncClient(base_url=base_url, timeout=20) as client:

        async def answers() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await until(answers, "the server to be ready", READY_S)


def fail(ready: asyncio.Future[str], ended: asyncio.Task[None]) -> bool:
    """A server that ended before it was ready says why."""
    ready.set_exception(ended.exception() or RuntimeError("the server ended by itself"))
    return True


async def serve(settings: Settings, database_url: str, mqtt_url: str, ready: asyncio.Future[str]) -> None:
    """The whole house and the page on a free port, until cancelled."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        async with build(settings, database_url, mqtt_url, role="all", demo=True) as house:
            server = PageServer(uvicorn.Config(house.app, **uvicorn_options()))
            async with asyncio.TaskGroup() as group:
                for name, work in house.parts:
                    group.create_task(cancelled_for_good(work), name=name)
                page = group.create_task(server.serve(sockets=[listener]), name="page")
                await until(lambda: started(server, page), "the page is served")
                ready.set_result(f"http://127.0.0.1:{listener.getsockname()[1]}")


async def started(server: uvicorn.Server, page: asyncio.Task[None]) -> bool:
    """Whether the page answers, or never will."""
    return server.started or page.done()


class PageServer(uvicorn.Server):
    """uvicorn that leaves the test run's signal handlers alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signals."""
        yield


# ------------------------------------------------------------------ the browser


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path, or a skip that says what to install."""
    path = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if path is None:
        reason = "no Chromium: apt-get install chromium fonts-noto-cjk, to see the page tested"
        if os.environ.get("GRIDPULSE_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield opened
        await opened.close()


@dataclass
class Visitor:
    """A page of its own browser profile, and what went wrong in it."""

    page: Page
    server: LiveServer
    problems: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Note errors, and requests to anywhere else."""
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("console", self.note_line)
        self.page.on("request", lambda request: self.note_request(request.url))

    def note_line(self, line: ConsoleMessage) -> None:
        """What the browser or a script complains of."""
        if line.type == "error":
            self.problems.append(f"console: {line.text}")

    def note_request(self, url: str) -> None:
        """A request that leaves the server is a fault: the page works without internet."""
        if not url.startswith((self.server.base_url, self.server.base_url.replace("http", "ws"), "data:", "blob:")):
            self.problems.append(f"request to {url}")

    def unexpected(self) -> list[str]:
        """Problems that the test did not announce in ``expected`` (regular expressions)."""
        return [text for text in self.problems if not any(re.search(known, text) for known in self.expected)]

    async def sign_in(self, webgl: bool = False, name: str = "dispatcher", area: str = "") -> None:
        """As one who signed in before, until the feed is live.

        Logins are limited, so only the tests of logging in do that. WebGL without a
        GPU is slow, so only the test of the map does that.
        """
        user = {"name": name, "role": "responder" if area else "dispatcher", "area": area, "language": "zh"}
        session = json.dumps({"token": await self.server.token(name), "user": user})
        await self.page.add_init_script(f"sessionStorage['gridpulse.session'] ??= JSON.stringify({session})")
        await self.page.goto(f"{self.server.base_url}/{'' if webgl else '?map=svg'}")
        await self.live()

    async def wait(self, expression: str, deadline_s: float = DEADLINE_S) -> None:
        """Until an expression is true. (Playwright's own wait needs eval, which our CSP forbids.)"""

        async def reached() -> bool:
            return bool(await self.page.evaluate(expression))

        await until(reached, expression, deadline_s)

    async def live(self) -> None:
        """Until the feed is live."""
        await self.wait("window.__app?.connection === 'live'")

    async def map_idle(self) -> None:
        """Until the map has drawn all it knows."""
        await self.wait("window.__app.map?.idle", 60)

    async def open(self, alert: dict[str, Any]) -> None:
        """Open an alert's detail by a click on its row, wherever it is folded away."""
        row = self.page.locator(f"#alerts [data-key='{alert['id']}']")
        folded = self.page.locator("#alerts .row-incident:not(:has(.row-why))")

        async def shown() -> bool:
            if not await row.count() and await folded.count():
                await folded.first.click()
            return bool(await row.count())

        await until(shown, f"a row for {alert['id']}")
        await row.click()
        await self.wait(f"window.__app.selected === '{alert['id']}'")

    async def app(self, name: str) -> Any:
        """A value of the page's hooks for tests."""
        return await self.page.evaluate(f"window.__app.{name}")


VisitorMaker = Callable[..., Awaitable[Visitor]]


@pytest.fixture
async def visitor(
    browser: Browser, live_server: LiveServer, request: pytest.FixtureRequest
) -> AsyncIterator[VisitorMaker]:
    """Make visitors: ``await visitor(width=…, height=…, language="en", …)``."""
    made: list[Visitor] = []

    async def make(width: int = 1440, height: int = 900, language: str = "en", **options: Any) -> Visitor:
        locale = {"en": "en-GB", "zh": "zh-CN"}[language]
        # Another zone than the city's: the page's times must not follow the computer's.
        context = await browser.new_context(
            viewport={"width": width, "height": height}, locale=locale, timezone_id="America/New_York", **options
        )
        # What the server remembers for the account must not decide the test's language.
        await context.add_init_script(f"localStorage['gridpulse.language'] ??= '{language}'")
        someone = Visitor(await context.new_page(), live_server)
        someone.watch()
        made.append(someone)
        return someone

    yield make
    await leave(made, request.node.name)


async def leave(made: Sequence[Visitor], test: str) -> None:
    """Keep a picture of each page, close it, and fail on what went wrong in it."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    problems = []
    for number, someone in enumerate(made):
        await someone.page.screenshot(path=RESULTS / f"{test}-{number}.png")
        problems += someone.unexpected()
        await someone.page.context.close()
    assert problems == []
