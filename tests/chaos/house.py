"""Server, database and broker in processes of their own, so that each can be harmed alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from server.embedded.home import EmbeddedUrls, Home
from server.embedded.process import processes_at
from server.embedded.stack import embedded_stack
from tests.chaos.relay import Relay
from tests.chaos.schedule import ALL, BROKER, DATABASE, SERVER
from tests.fix_server import Server, server_home
from tests.fix_stack import free_port

LOOK_EVERY_S = 0.2
CLOCK_LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
"""libfaketime, which gives one process a clock of its own; Debian's package of that name."""


class Clock:
    """The server's time of day, which may be stepped while it runs; what it measures by a stopwatch stays right."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.step(0.0)

    def step(self, off_s: float) -> None:
        """From now on so many seconds from the right time; the server notices within a second."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{off_s:+.0f}")
        fresh.replace(self._file)

    def settings(self) -> dict[str, str]:
        """For the server's environment; none where the library is missing."""
        if CLOCK_LIBRARY is None:
            return {}
        return {
            "LD_PRELOAD": str(CLOCK_LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


class Service:
    """A private database or broker that may be killed, stopped and started again on the same home."""

    def __init__(self, home: Path, part: str) -> None:
        self.home = Home.at(home)
        self.urls = EmbeddedUrls(None, None, None)
        self._part = part
        self._port = free_port()
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Up when this returns."""
        database = self._part == DATABASE
        running = await self._stack.enter_async_context(
            embedded_stack(
                self.home.root, database=database, broker=not database, mqtt_host="127.0.0.1", mqtt_port=self._port
            )
        )
        self.urls = running.urls

    async def stop(self) -> None:
        """Ended in order when this returns."""
        await self._stack.aclose()

    def pids(self) -> list[int]:
        """Its processes, the oldest first."""
        if self._part == DATABASE:
            return processes_at(self.home.postgres, "postgres")
        return processes_at(self.home.broker, "mosquitto")

    def signal(self, number: signal.Signals) -> None:
        """To all of its processes."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    async def kill(self) -> None:
        """Gone at once, with what was only in its memory."""
        self.signal(signal.SIGKILL)
        await self.stop()


@dataclass
class House:
    """The three parts and what stands between them. ``ended``: what the server said when it ended by itself."""

    server: Server
    database: Service
    broker: Service
    relay: Relay
    clock: Clock
    busy: dict[str, asyncio.Lock] = field(
        default_factory=lambda: {part: asyncio.Lock() for part in (SERVER, DATABASE, BROKER)}
    )
    ended: list[str] = field(default_factory=list)

    @property
    def database_url(self) -> str:
        """Past the relay."""
        assert self.database.urls.database_url is not None
        return self.database.urls.database_url

    @property
    def broker_url(self) -> str:
        """With the server's rights."""
        assert self.broker.urls.mqtt_url is not None
        return self.broker.urls.mqtt_url

    @property
    def server_pid(self) -> int:
        """Of the server's process."""
        assert self.server.process is not None
        return self.server.process.pid

    @asynccontextmanager
    async def to_itself(self, part: str) -> AsyncIterator[None]:
        """One fault at a time harms a part."""
        async with AsyncExitStack() as held:
            for each in (SERVER, DATABASE, BROKER) if part == ALL else (part,):
                await held.enter_async_context(self.busy[each])
            yield

    async def start_server(self) -> None:
        """Begin to start it."""
        self.server.start("--no-demo", ready=False)

    async def ready(self, within_s: float = 120.0) -> None:
        """Until the server says that it is well. Raises: TimeoutError with its last words."""
        end = time.monotonic() + within_s
        while not await asyncio.to_thread(self.server.is_ready):
            if time.monotonic() > end:
                raise TimeoutError(f"the server is not well within {within_s:.0f} s: {self.server.output[-3000:]}")
            await asyncio.sleep(0.1)

    async def supervise(self) -> None:
        """Start the server again when it ends by itself, as its supervisor would; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self.busy[SERVER].locked():
                continue
            async with self.busy[SERVER]:
                process = self.server.process
                if process is not None and process.poll() is not None:
                    last = self.server.output.strip().splitlines()[-1:] or ["nothing"]
                    self.ended.append(f"code {process.returncode}: {last[0]}")
                    await self.start_server()


@asynccontextmanager
async def house(own_settings: str = "") -> AsyncIterator[House]:
    """A house in which all is well; nothing of it is left afterwards. ``own_settings``: of PostgreSQL."""
    folder = Path(tempfile.mkdtemp(prefix="gridpulse-chaos-"))
    database, broker = Service(folder / "db", DATABASE), Service(folder / "mq", BROKER)
    try:
        if own_settings:
            database.home.root.mkdir(parents=True)
            (database.home.root / "postgres.conf").write_text(own_settings)
        async with AsyncExitStack() as stack:
            for service in (database, broker):
                await service.start()
                stack.push_async_callback(service.stop)
            assert database.urls.database_url is not None
            assert broker.urls.mqtt_url is not None
            relay = await stack.enter_async_context(Relay(folder, database.urls.database_url))
            clock = Clock(folder)
            server = stack.enter_context(
                server_home(
                    **clock.settings(),
                    GRIDPULSE_AUTO_REGISTER="true",
                    GRIDPULSE_DATABASE_URL=relay.url,
                    GRIDPULSE_MQTT_URL=broker.urls.mqtt_url,
                )
            )
            made = House(server, database, broker, relay, clock)
            await made.start_server()
            await made.ready()
            watch = asyncio.create_task(made.supervise(), name="supervisor")
            try:
                yield made
            finally:
                await cancelled(watch)
                await end_server(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def end_server(server: Server) -> None:
    """Ask it to stop while its database and broker are still there. Raises: TimeoutExpired when it hangs."""
    if server.process is not None and server.process.poll() is None:
        server.process.send_signal(signal.SIGCONT)
        await asyncio.to_thread(server.stop)


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def query(url: str, sql: str) -> list[tuple[object, ...]]:
    """Rows of one statement. Raises psycopg's errors."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=5) as conn:
        return await (await conn.execute(sql.encode())).fetchall()


async def wait_for(reached: Callable[[], bool], within_s: float) -> bool:
    """Whether it was reached in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    while not reached():
        if loop.time() > end:
            return False
        await asyncio.sleep(0.02)
    return True
