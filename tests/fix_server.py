"""The whole server as its users run it: ``gridpulse up`` in a process of its own, on a home of its own.

A home that is not there yet begins as a copy of one that ``gridpulse up`` made on an empty folder
at the first use: the database's first start and the demo city are paid for once a test run.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any

import aiomqtt
import httpx2 as httpx
import pytest

from api.accounts import seed_demo_accounts
from db.pool import connect
from ingest.endpoint import Endpoint
from server.embedded.home import running_urls
from simulators.city import seed_demo
from tests.fix_stack import free_port

GRIDPULSE = (os.environ.get("GP_CLI") or f"{sys.executable} -m server.cli").split()
ROOT = Path(__file__).parents[1]
SHARED = ROOT / "../shared/data"
START_WITHIN_S = 120.0
STOP_WITHIN_S = 30.0


@dataclass
class Server:
    """One home and the server on it."""

    home: Path
    http_port: int = field(default_factory=free_port)
    mqtt_port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GRIDPULSE_")}
        # A test run starts the command a hundred times: its modules are compiled once.
        clean.pop("PYTHONDONTWRITEBYTECODE", None)
        if cache := os.environ.get("GRIDPULSE_CACHE"):
            clean["GRIDPULSE_CACHE"] = cache
        return clean | {
            "GRIDPULSE_HOME": str(self.home),
            "GRIDPULSE_HTTP_PORT": str(self.http_port),
            "GRIDPULSE_MQTT_PORT": str(self.mqtt_port),
            **self.settings,
        }

    @property
    def output(self) -> str:
        log = self.home.with_suffix(".out")
        return log.read_text(errors="replace") if log.exists() else ""

    def start(self, *arguments: str, ready: bool = True, city: bool = False) -> None:
        """Start on the home; one that is not there yet is made, with the demo city and its accounts if ``city``."""
        if not self.home.exists() and "GRIDPULSE_DATABASE_URL" not in self.settings:
            copy_home(prepared_home(city), self.home)
        self.start_as_it_is(*arguments, ready=ready)

    def start_as_it_is(self, *arguments: str, ready: bool = True) -> None:
        with self.home.with_suffix(".out").open("ab") as out:
            self.process = subprocess.Popen(
                [*GRIDPULSE, "up", *arguments], cwd=ROOT, env=self.environment, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        if ready:
            self.wait(self.is_ready, "the server to be ready", START_WITHIN_S)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.base_url}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def clock_s(self) -> float | None:
        """What time it is for the server, in s since 1970; None when it does not answer."""
        try:
            said = httpx.get(f"{self.base_url}/healthz", timeout=2).headers["Date"]
        except (httpx.TransportError, KeyError):
            return None
        return parsedate_to_datetime(said).timestamp()

    def wait(self, reached: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
        end = time.monotonic() + within_s
        while not reached():
            assert self.process is not None
            assert self.process.poll() is None, f"the server ended while waiting for {what}:\n{self.output[-3000:]}"
            assert time.monotonic() < end, f"not within {within_s} s: {what}\n{self.output[-3000:]}"
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(STOP_WITHIN_S)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_WITHIN_S)

    def cli(self, *arguments: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*GRIDPULSE, *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True,
            timeout=timeout, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"gridpulse {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done

    def doctor(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.cli("doctor", "--json", check=False).stdout)
        return answer

    @property
    def database_url(self) -> str:
        return self.settings.get("GRIDPULSE_DATABASE_URL") or self.url_of("database_url")

    @property
    def mqtt_url(self) -> str:
        """The broker's address with the server's own account."""
        return self.settings.get("GRIDPULSE_MQTT_URL") or self.url_of("mqtt_url")

    def url_of(self, service: str) -> str:
        urls = running_urls(self.home)
        assert urls is not None, f"nothing runs on {self.home}"
        return str(getattr(urls, service))

    def wait_seen(self, within_s: float = 30.0) -> None:
        """Until detection has seen all that was stored: what was received is acknowledged after that."""

        def nothing_waits() -> bool:
            metrics = httpx.get(f"{self.base_url}/metrics", timeout=20).text.splitlines()
            return "gridpulse_ingest_backlog_messages 0.0" in metrics

        self.wait(nothing_waits, "the last message to be seen", within_s)

    def token(self, user: str = "dispatcher") -> str:
        """A bearer token; asked for once for each user."""
        if user not in self.tokens:
            self.tokens[user] = self.cli("token", "--user", user).stdout.strip()
        return self.tokens[user]

    def get(self, path: str, token: str, **params: Any) -> Any:
        answer = httpx.get(
            f"{self.base_url}/api/v1{path}", params=params, headers={"Authorization": f"Bearer {token}"}, timeout=20
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def seed_city(self) -> None:
        """The demo city and its accounts without its traffic."""

        async def seed() -> None:
            async with await connect(self.database_url, name="test-seed") as conn:
                await seed_demo(conn)
                await seed_demo_accounts(conn)

        with ThreadPoolExecutor(1) as beside:  # the caller may be in a loop
            beside.submit(asyncio.run, seed()).result()


@cache
def prepared_home(city: bool) -> Path:
    """A home with its schema (and the demo city) of a server that has stopped; it is never started again."""
    folder = Path(tempfile.mkdtemp(prefix="gridpulse-prepared-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = Server(folder / "home")
    if city:
        copy_home(prepared_home(False), server.home)
    try:
        server.start_as_it_is("--no-demo")
        if city:
            server.seed_city()
    finally:
        assert server.stop() == 0, server.output[-3000:]
    return server.home


def copy_home(made: Path, home: Path) -> None:
    """A copy with the owners of its files: the database has a user of its own."""
    subprocess.run(["cp", "--archive", "--reflink=auto", str(made), str(home)], check=True)


@contextmanager
def server_home(**settings: str) -> Iterator[Server]:
    """A server not yet started; whatever happens, nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="gridpulse-up-"))
    server = Server(folder / "home", settings=settings)
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            try:
                server.stop()
            except subprocess.TimeoutExpired:
                server.process.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def city_server() -> Iterator[Server]:
    """A server with the demo city, accounts and devices, without demo traffic; shared by whoever does no harm."""
    with server_home(GRIDPULSE_AUTO_REGISTER="true", GRIDPULSE_RUNS_AS_LIVE="true") as server:
        server.start("--no-demo", city=True)
        yield server


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server of the test's own, not yet started."""
    with server_home(GRIDPULSE_AUTO_REGISTER="true", GRIDPULSE_RUNS_AS_LIVE="true") as server:
        yield server


@dataclass
class LiveServer:
    """A running server with the demo city, and a way to raise real alerts on it."""

    server: Server
    mqtt_url: str
    dispatcher_password: str = "demo"
    next_device: int = 10

    @property
    def base_url(self) -> str:
        return self.server.base_url

    async def publish(self, topic: str, body: Any) -> None:
        """One message by the server's own account, QoS 1."""
        await self.publish_all([(topic, body)])

    async def publish_all(self, messages: Iterable[tuple[str, Any]]) -> None:
        """One after the other on one connection, as :meth:`publish`."""
        endpoint = Endpoint.parse(self.mqtt_url)
        async with aiomqtt.Client(
            endpoint.host, endpoint.port, username=endpoint.username, password=endpoint.password
        ) as client:
            for topic, body in messages:
                await client.publish(topic, json.dumps(body).encode(), qos=1)

    async def raise_alert(self, device: str | None = None, ppv_mm_s: float = 9.5, **values: float) -> str:
        """A reading over the limit of a house's sensor; returns the device's id.

        ``values`` take the place of the velocity; each call without ``device`` takes another house.
        """
        if device is None:
            device = f"VB-{self.next_device:04d}"
            self.next_device += 1
        body = {"t": time.time(), "values": values or {"ppv_mm_s": ppv_mm_s}}
        await self.publish(f"sensors/{device}/readings", body)
        return device


@pytest.fixture(scope="session")
def live_server(city_server: Server) -> LiveServer:
    return LiveServer(city_server, city_server.mqtt_url)
