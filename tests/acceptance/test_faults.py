"""What the world does to a server: killed in the middle, wrongly set, without its database or broker."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from domain.errors import BrokerUnavailable
from server.embedded.stack import EmbeddedStack, embedded_stack
from simulators.publisher import Publisher
from tests.fix_server import Server, server_home
from tests.fix_stack import free_port
from tests.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.alone]

SUMS = (
    "SELECT coalesce(sum(received), 0)::int, coalesce(sum(stored), 0)::int, coalesce(sum(duplicate), 0)::int, "
    "coalesce(sum(quarantined), 0)::int FROM ledger_minute"
)


def messages(n: int) -> list[tuple[str, bytes]]:
    """``n`` distinct messages, each fiftieth of them bad."""
    now_s = time.time() - 200
    made = []
    for i in range(n):
        body = {"t": round(now_s + i / 1000, 3), "seq": i, "values": {"ppv_mm_s": 0.1, "temperature_c": 20.5}}
        if i % 50 == 0:
            body["values"] = {"ppv_mm_s": f"wrong {i}"}
        made.append((f"sensors/load-{i % 20}/readings", json.dumps(body).encode()))
    return made


async def publish_all(url: str, load: list[tuple[str, bytes]], on_count: dict[int, Callable[[], None]]) -> None:
    """Publish until the broker has acknowledged every message, whatever happens to it meanwhile."""
    async with Publisher(url, "load", patience_s=None) as publisher:
        for i, (topic, payload) in enumerate(load):
            if act := on_count.get(i):
                await asyncio.to_thread(act)
            await publisher.publish(topic, payload)
        async with asyncio.timeout(60):
            await publisher.flush()


def one_row(url: str, sql: str) -> tuple[int, ...]:
    with psycopg.connect(url) as conn:
        row = conn.execute(sql.encode()).fetchone()
    assert row is not None
    return row


async def test_killed_in_the_middle_of_a_load_the_account_is_exact(own_server: Server) -> None:
    server, n = own_server, 6000
    server.start("--no-demo")
    url = str(server.doctor()["mqtt_url"])

    def kill_and_start() -> None:
        server.kill()
        server.start("--no-demo")

    load = messages(n)
    bad = n // 50
    await publish_all(url, load, {n // 3: kill_and_start, 2 * n // 3: kill_and_start})
    database = server.database_url

    async def settled() -> bool:
        rows, aside = one_row(database, "SELECT (SELECT count(*) FROM reading), (SELECT count(*) FROM quarantine)")
        return rows == (n - bad) * 2 and aside == bad

    await until(settled, f"{n - bad} messages stored, {bad} in quarantine", 60)
    received, stored, duplicate, quarantined = one_row(database, SUMS)
    assert received == stored + duplicate + quarantined
    assert stored == n - bad
    assert quarantined >= bad


async def test_nothing_is_left_of_a_killed_server(own_server: Server) -> None:
    own_server.start("--no-demo")
    own_server.kill()

    async def gone() -> bool:
        return not processes_on(own_server.home)

    await until(gone, "no process left on the home")
    own_server.start("--no-demo")
    assert own_server.stop(signal.SIGINT) == 0
    await until(gone, "no process left after Ctrl-C")


def processes_on(home: Path) -> list[str]:
    """Command lines that name the home, or work in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            folder = os.readlink(entry / "cwd")
        except OSError:
            continue
        if str(home) in command or folder.startswith(str(home)):
            found.append(command)
    return found


@pytest.mark.parametrize(
    ("settings", "arguments", "code", "said"),
    [
        ({"GRIDPULSE_HTTP_PRT": "1"}, (), 1, "GRIDPULSE_HTTP_PRT is not a setting; did you mean GRIDPULSE_HTTP_P"),
        ({"GRIDPULSE_TIMEZONE": "Mars/Olympus"}, (), 1, "there is no time zone 'Mars/Olympus'"),
        ({"GRIDPULSE_MQTT_PORT": "0"}, (), 1, "GRIDPULSE_MQTT_PORT"),
        ({}, ("--role", "everything"), 2, "'everything' is not one of"),
        ({}, ("--demo", "atlantis"), 2, "there is one demo city"),
        ({}, ("--role", "api"), 1, "start `gridpulse up`"),
    ],
)
def test_a_wrong_start_says_what_to_do_in_one_line(
    own_server: Server, settings: dict[str, str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    own_server.settings |= settings
    done = own_server.cli("up", *arguments, check=False)
    assert done.returncode == code
    assert said in " ".join(done.stderr.split()), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("which", ["http_port", "mqtt_port"])
def test_a_taken_port_is_named(own_server: Server, which: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", getattr(own_server, which)))
        taken.listen()
        done = own_server.cli("up", "--no-demo", check=False)
    assert done.returncode == 1
    assert f"GRIDPULSE_{which.upper()}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_server_on_the_same_home_is_refused(own_server: Server) -> None:
    own_server.start("--no-demo")
    own_server.http_port = free_port()
    own_server.mqtt_port = free_port()
    done = own_server.cli("up", "--no-demo", check=False)
    assert done.returncode == 1
    assert "already running" in done.stderr


@pytest.fixture
def outside_server(stack: EmbeddedStack, database_url: str) -> Iterator[Server]:
    """A server on a database that is not its own."""
    with server_home(GRIDPULSE_AUTO_REGISTER="true", GRIDPULSE_DATABASE_URL=database_url) as server:
        yield server


def lock_out(admin_url: str, database_url: str, out: bool) -> None:
    name = database_url.split("/")[3].split("?")[0]
    with psycopg.connect(admin_url, autocommit=True) as conn:
        conn.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {'false' if out else 'true'}".encode())
        if out:
            conn.execute(b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])


async def test_a_database_down_at_start_is_waited_for_and_lost_later_loses_nothing(
    outside_server: Server, admin_url: str, database_url: str
) -> None:
    server, n = outside_server, 600
    lock_out(admin_url, database_url, True)
    server.start("--no-demo", ready=False)
    server.wait(lambda: "waiting for the database" in server.output, "the server to say what it waits for")
    lock_out(admin_url, database_url, False)
    server.wait(server.is_ready, "the server to be ready", 60)
    url = str(server.doctor()["mqtt_url"])
    load = [message for i, message in enumerate(messages(n)) if i % 50]

    def lose() -> None:
        lock_out(admin_url, database_url, True)
        server.wait(lambda: not server.is_ready(), "the server to say it is not ready")

    await publish_all(url, load, {len(load) // 3: lose})
    lock_out(admin_url, database_url, False)

    async def all_stored() -> bool:
        return one_row(database_url, "SELECT count(*) FROM reading")[0] == len(load) * 2

    await until(all_stored, "everything stored", 60)
    server.wait(server.is_ready, "the server to be ready again")
    assert server.process is not None
    assert server.process.poll() is None


async def test_a_broker_down_at_start_and_lost_later_comes_back(database_url: str) -> None:
    home, port = Path(tempfile.mkdtemp(prefix="gridpulse-broker-")), free_port()
    try:
        async with embedded_stack(
            home, database=False, broker=True, mqtt_host="127.0.0.1", mqtt_port=port
        ) as stack:
            url = stack.urls.mqtt_url
            assert url is not None
        with server_home(
            GRIDPULSE_AUTO_REGISTER="true", GRIDPULSE_DATABASE_URL=database_url, GRIDPULSE_MQTT_URL=url
        ) as server:
            server.start("--no-demo", ready=False)
            server.wait(lambda: "no connection to the broker" in server.output, "the server to name the broker")
            for round_ in range(2):
                async with embedded_stack(
                    home, database=False, broker=True, mqtt_host="127.0.0.1", mqtt_port=port
                ):
                    server.wait(server.is_ready, "the server to be ready", 60)
                    body = {"t": time.time(), "values": {"a": round_}}
                    await publish_all(url, [("sensors/b-1/readings", json.dumps(body).encode())], {})

                    async def stored(n: int = round_ + 1) -> bool:
                        return one_row(database_url, "SELECT count(*) FROM reading")[0] == n

                    await until(stored, f"reading {round_} stored")
                server.wait(lambda: not server.is_ready(), "the server to say the broker is gone")
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def test_a_broker_that_refuses_the_account_is_said_plainly() -> None:
    with pytest.raises(BrokerUnavailable):
        async with Publisher(f"mqtt://nobody:wrong@127.0.0.1:{free_port()}", "x", patience_s=0.5):
            pass
