"""The private database and broker, for real: they start, keep, refuse, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import psycopg
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from domain.errors import EmbeddedError
from server.embedded.broker_accounts import BrokerAccount, hash_password
from server.embedded.home import Home
from server.embedded.postgres import data_major
from server.embedded.privileges import RunAs, choose_user, reaches, setpriv_path
from server.embedded.stack import EmbeddedStack, EmbeddedUrls, embedded_stack, running_urls
from simulators.publisher import Publisher

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]

#: A process that owns a home until its standard input ends.
OWNER = """
import asyncio, dataclasses, json, sys
from pathlib import Path
from server.embedded.stack import embedded_stack

async def main():
    async with embedded_stack(
        Path(sys.argv[1]), database=True, broker=True, mqtt_host="127.0.0.1", mqtt_port=int(sys.argv[2])
    ) as stack:
        print(json.dumps(dataclasses.asdict(stack.urls)), flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Poll, with a deadline."""
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


def processes_of(home: Path) -> list[str]:
    """All that still runs for this home, looked for independently of the code under test."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                works_at, command = os.readlink(entry / "cwd"), (entry / "cmdline").read_bytes().decode()
                if works_at.startswith(str(home)) or f"{home}/" in command:
                    found.append(f"{entry.name} {command}")
    return found


def run_embedded(
    home: Path, port: int = 0, **overrides: Any
) -> contextlib.AbstractAsyncContextManager[EmbeddedStack]:
    options: dict[str, Any] = {"database": True, "broker": True, "mqtt_host": "127.0.0.1", **overrides}
    return embedded_stack(home, mqtt_port=port or free_port(), **options)


def client(url: str | None, *, name: str | None = None, password: str | None = None, **more: Any) -> aiomqtt.Client:
    parts = urlsplit(url or "")
    return aiomqtt.Client(
        parts.hostname or "",
        parts.port or 0,
        username=name or parts.username,
        password=password or parts.password,
        protocol=aiomqtt.ProtocolVersion.V5,
        timeout=10,
        **more,
    )


async def rows(url: str | None, query: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(url or "", autocommit=True) as connection:
        cursor = await connection.execute(query)
        return await cursor.fetchall() if cursor.description else []


async def keep_a_row(url: str | None) -> None:
    await rows(url, "CREATE TABLE kept (time timestamptz NOT NULL, value float8)")
    await rows(url, "SELECT create_hypertable('kept', 'time')")
    await rows(url, "INSERT INTO kept VALUES ('2026-01-01T00:00:00Z', 1.5)")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    assert processes_of(tmp_path / "home") == [], "nothing may be left running"


@contextlib.contextmanager
def owner(home: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], EmbeddedUrls]]:
    """Another process that owns ``home``; killed at the end if it still runs."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(home), str(port)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, EmbeddedUrls(**json.loads(process.stdout.readline()))
        finally:
            process.kill()


async def test_a_fresh_home_a_second_start_and_a_clean_end(home: Path) -> None:
    started = time.monotonic()
    async with run_embedded(home) as stack:
        cold_s = time.monotonic() - started
        found = await rows(
            stack.urls.database_url, "SELECT extversion FROM pg_extension WHERE extname='timescaledb'"
        )
        assert found
        await keep_a_row(stack.urls.database_url)
        assert running_urls(home) == stack.urls
        for secret in (home / "secrets/mqtt-server", home / "run/stack.json", home / "broker/passwords"):
            assert secret.stat().st_mode & 0o077 == 0
        assert processes_of(home)
    assert processes_of(home) == []
    assert running_urls(home) is None

    started = time.monotonic()
    async with run_embedded(home) as stack:
        warm_s = time.monotonic() - started
        assert await rows(stack.urls.database_url, "SELECT value FROM kept") == [(1.5,)]
    # Generous: a busy machine; by itself a new home takes 0.7 s and a known one 0.2 s.
    assert warm_s < 5
    assert cold_s < 60


async def test_the_database_is_durable_silent_and_private(home: Path) -> None:
    async with run_embedded(home, broker=False) as stack:
        assert stack.urls.mqtt_url is None
        names = ["fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "jit"]
        names += ["timescaledb.telemetry_level", "server_encoding", "TimeZone"]
        found = {
            name: (await rows(stack.urls.database_url, f"SELECT current_setting('{name}')"))[0][0] for name in names
        }
        assert found == {
            **dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "on"),
            **{"listen_addresses": "", "jit": "off", "timescaledb.telemetry_level": "off"},
            **{"server_encoding": "UTF8", "TimeZone": "UTC"},
        }
        owners = set()
        for line in processes_of(home):
            # The database's workers come and go while we look.
            with contextlib.suppress(FileNotFoundError):
                owners.add(os.stat(f"/proc/{line.split()[0]}").st_uid)
        assert owners
        assert 0 not in owners
        with pytest.raises(EmbeddedError, match="GRIDPULSE_MQTT_URL"):
            await stack.write_accounts([])


def add_settings(home: Path, text: str) -> None:
    home.mkdir()
    (home / "postgres.conf").write_text(text)


async def test_a_persons_own_settings_count(home: Path) -> None:
    add_settings(home, "work_mem = '17MB'\n")
    async with run_embedded(home, broker=False) as stack:
        assert await rows(stack.urls.database_url, "SHOW work_mem") == [("17MB",)]


async def test_a_wrong_setting_of_a_person_is_told_with_the_log(home: Path) -> None:
    add_settings(home, "no_such_thing = 1\n")
    with pytest.raises(EmbeddedError, match=r"did not start.*no_such_thing"):
        async with run_embedded(home, broker=False):
            pass


async def test_a_killed_owner_leaves_nothing_running_and_loses_nothing(home: Path) -> None:
    port = free_port()
    with owner(home, port) as (process, urls):
        await keep_a_row(urls.database_url)
        assert running_urls(home) == urls
        process.kill()
        await until(lambda: not processes_of(home))
    assert running_urls(home) is None
    async with run_embedded(home, port) as stack:
        assert await rows(stack.urls.database_url, "SELECT value FROM kept") == [(1.5,)]


async def test_all_killed_at_once_and_the_process_id_given_to_another(home: Path) -> None:
    port = free_port()
    with owner(home, port) as (process, urls):
        await keep_a_row(urls.database_url)
        for line in processes_of(home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line.split()[0]), signal.SIGKILL)
        process.kill()
        await until(lambda: not processes_of(home))
    # As after a restart of the machine: the old process id now belongs to a stranger.
    stale = home / "postgres/postmaster.pid"
    stale.write_text(stale.read_text().replace(stale.read_text().splitlines()[0], str(os.getppid()), 1))
    async with run_embedded(home, port) as stack:
        assert await rows(stack.urls.database_url, "SELECT value FROM kept") == [(1.5,)]


async def test_orphans_of_an_earlier_server_are_stopped_first(home: Path) -> None:
    port = free_port()
    with owner(home, port) as (process, _):
        command = next(
            line.split(" ", 1)[1].rstrip("\0").split("\0") for line in processes_of(home) if "postgres\0-D" in line
        )
        broker = next(
            line.split(" ", 1)[1].rstrip("\0").split("\0") for line in processes_of(home) if "mosquitto\0-c" in line
        )
        process.kill()
        await until(lambda: not processes_of(home))
    run_as = _able(home, command[0])
    with (
        _stray(run_as.command(None, *command), home / "postgres") as database_orphan,
        _stray(run_as.command(None, *broker), home / "broker") as broker_orphan,
    ):
        await until(lambda: (home / "run/pg/.s.PGSQL.5432").exists())
        await until(lambda: _listens(port))
        async with run_embedded(home, port) as stack:
            assert await rows(stack.urls.database_url, "SELECT 1") == [(1,)]
            # A fast shutdown, not a crash.
            assert database_orphan.wait() == 0
            assert broker_orphan.wait() == 0


def _able(home: Path, program: str) -> RunAs:
    ours = choose_user(os.geteuid())
    closed = not (reaches(ours, home) and reaches(ours, Path(program).parent))
    return RunAs(ours.name, ours.uid, ours.gid, pass_closed_folders=closed)


@contextlib.contextmanager
def _stray(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_one_home_has_one_owner(home: Path) -> None:
    async with run_embedded(home, database=False):
        with pytest.raises(EmbeddedError, match=rf"already running \(pid {os.getpid()}\)"):
            async with run_embedded(home, database=False):
                pass


async def test_two_homes_side_by_side(home: Path, tmp_path: Path) -> None:
    async with run_embedded(home) as one, run_embedded(tmp_path / "other") as two:
        await keep_a_row(one.urls.database_url)
        assert await rows(two.urls.database_url, "SELECT to_regclass('kept')") == [(None,)]
        assert one.urls.mqtt_url != two.urls.mqtt_url
    assert processes_of(tmp_path / "other") == []


async def test_a_home_with_a_long_and_foreign_path(tmp_path: Path) -> None:
    home = tmp_path / ("网格 it's " * 8) / "home"
    async with run_embedded(home) as stack:
        assert await rows(stack.urls.database_url, "SELECT 1") == [(1,)]
        folder = (home / "run/socket-folder").read_text()
        assert folder in (stack.urls.database_url or "")
        assert os.listdir(folder)
    assert Path(folder).name not in os.listdir("/tmp")
    assert processes_of(home) == []


async def test_a_taken_port_is_named_before_anything_starts(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedError, match=f"{port} is taken.*GRIDPULSE_MQTT_PORT"):
            async with run_embedded(home, port):
                pass
    assert not (home / "postgres").exists()


@pytest.mark.parametrize("program", ["mosquitto", "postgres"])
async def test_a_service_that_dies_is_reported_with_its_last_words(home: Path, program: str) -> None:
    async with run_embedded(home) as stack:
        failed = asyncio.create_task(stack.wait_failed())
        victim = next(line for line in processes_of(home) if f"{program}\0-" in line)
        os.kill(int(victim.split()[0]), signal.SIGKILL)
        reason = await asyncio.wait_for(failed, 10)
        assert f"{program} was killed by signal 9" in reason
        assert f"{home}/logs/{program}.log" in reason


async def test_a_start_that_is_cancelled_leaves_nothing(home: Path) -> None:
    async def start() -> None:
        async with run_embedded(home):
            await asyncio.get_running_loop().create_future()

    starting = asyncio.create_task(start())
    await until(lambda: (home / "postgres.new").exists() or (home / "postgres").exists())
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert processes_of(home) == []
    async with run_embedded(home) as stack:
        assert await rows(stack.urls.database_url, "SELECT 1") == [(1,)]


# --- the broker's door -----------------------------------------------------------------------


@contextlib.asynccontextmanager
async def brokered(home: Path, *accounts: BrokerAccount) -> AsyncIterator[EmbeddedStack]:
    """A broker with accounts; all have the password ``pw``."""
    async with run_embedded(home, database=False) as stack:
        await stack.write_accounts(accounts)
        for account in accounts:
            await _until_let_in(stack, account.username)
        yield stack


async def _until_let_in(stack: EmbeddedStack, name: str) -> None:
    """The broker reads its files again a moment after it is told."""
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                async with client(stack.urls.mqtt_url, name=name, password="pw"):
                    return
            await asyncio.sleep(0.02)


def account(name: str, role: Any = "device", *children: str) -> BrokerAccount:
    return BrokerAccount(name, hash_password("pw"), role, children)


async def what_comes_through(stack: EmbeddedStack, name: str, topics: list[str]) -> list[str]:
    """Publish to each topic as ``name``; those that the server receives. The last one must be allowed."""
    password = "pw" if name != urlsplit(stack.urls.simulator_mqtt_url or "").username else None
    url = stack.urls.simulator_mqtt_url if password is None else stack.urls.mqtt_url
    received: list[str] = []
    async with client(stack.urls.mqtt_url) as server, client(url, name=name, password=password) as device:
        await server.subscribe("#", qos=1)
        for topic in topics:
            await device.publish(topic, b"{}", qos=1)
        async with asyncio.timeout(10):
            async for message in server.messages:
                received.append(str(message.topic))
                if received[-1] == topics[-1]:
                    return received
    raise AssertionError("the broker closed the connection")


async def test_devices_write_under_their_own_id_only(home: Path) -> None:
    async with brokered(home, account("D1"), account("D2")) as stack:
        allowed = [
            *(f"sensors/D1/{kind}" for kind in ("readings", "waveform", "status")),
            *("cameras/D1/events", "cameras/D1/status", "vehicles/D1/position", "vehicles/D1/status"),
        ]
        forbidden = ["sensors/D2/readings", "sensors/D1/command", "runs/r/sensors/D1/readings", "runs/live/x", "x"]
        assert await what_comes_through(stack, "D1", forbidden + allowed) == allowed


async def test_a_gateway_writes_for_its_children(home: Path) -> None:
    accounts = [account("G", "gateway", "A"), account("ALL", "gateway", "*")]
    async with brokered(home, *accounts) as stack:
        topics = ["sensors/B/readings", "sensors/A/readings", "vehicles/G/position"]
        assert await what_comes_through(stack, "G", topics) == topics[1:]
        topics = ["sensors/B/readings", "runs/x", "sensors/A/readings"]
        assert await what_comes_through(stack, "ALL", topics) == ["sensors/B/readings", "sensors/A/readings"]


async def test_simulators_write_runs_only(home: Path) -> None:
    async with brokered(home) as stack:
        topics = ["sensors/A/readings", "runs/live/sensors/A/readings", "runs/r1/vehicles/A/position"]
        assert await what_comes_through(stack, "gridpulse-simulator", topics) == topics[1:]


async def test_a_device_hears_its_own_commands_only(home: Path) -> None:
    async with (
        brokered(home, account("D1"), account("D2")) as stack,
        client(stack.urls.mqtt_url, name="D1", password="pw") as device,
        client(stack.urls.mqtt_url) as server,
        asyncio.timeout(10),
    ):
        await device.subscribe("#", qos=1)
        for topic in ("sensors/D2/readings", "sensors/D2/command", "sensors/D1/command"):
            await server.publish(topic, b"{}", qos=1)
        assert str((await anext(device.messages)).topic) == "sensors/D1/command"


async def test_strangers_wrong_passwords_and_former_devices_stay_outside(home: Path) -> None:
    async with brokered(home, account("D1")) as stack:
        parts = urlsplit(stack.urls.mqtt_url or "")
        with pytest.raises(aiomqtt.MqttError, match=r"[Nn]ot authori"):
            async with aiomqtt.Client(parts.hostname or "", parts.port or 0, timeout=10):
                pass
        for name, password in (("D1", "wrong"), ("nobody", "pw"), ("gridpulse-server", "pw")):
            with pytest.raises(aiomqtt.MqttError, match=r"[Nn]ot authori"):
                async with client(stack.urls.mqtt_url, name=name, password=password):
                    pass
        await _until_cut_off(stack, "D1")


async def _until_cut_off(stack: EmbeddedStack, name: str) -> None:
    """Taken off the list while connected."""
    with contextlib.suppress(aiomqtt.MqttError):
        async with client(stack.urls.mqtt_url, name=name, password="pw") as device, asyncio.timeout(10):
            await stack.write_accounts([])
            await anext(device.messages)


async def test_accounts_last_over_a_restart(home: Path) -> None:
    async with brokered(home, account("D1")):
        pass
    async with (
        run_embedded(home, database=False) as stack,
        client(stack.urls.mqtt_url, name="D1", password="pw"),
    ):
        pass


async def test_a_lost_secret_makes_new_accounts(home: Path) -> None:
    async with run_embedded(home, database=False) as stack:
        before = stack.urls.mqtt_url
    (home / "secrets/mqtt-server").unlink()
    async with run_embedded(home, database=False) as stack:
        assert stack.urls.mqtt_url != before
        async with client(stack.urls.mqtt_url):
            pass


async def test_a_megabyte_comes_through_to_be_quarantined(home: Path) -> None:
    async with brokered(home, account("D1")) as stack, client(stack.urls.mqtt_url) as server:
        await server.subscribe("#", qos=1)
        async with client(stack.urls.mqtt_url, name="D1", password="pw") as device:
            await device.publish("sensors/D1/readings", secrets.token_bytes(2**20), qos=1)
        async with asyncio.timeout(10):
            assert len((await anext(server.messages)).payload) == 2**20


@pytest.mark.parametrize("killed", [False, True])
async def test_queued_messages_outlast_the_broker(home: Path, killed: bool) -> None:
    """More than Mosquitto's own 1,000, through a clean stop and through a kill after a save."""
    port, count = free_port(), 3000
    with owner(home, port) as (process, urls):
        async with _session(urls) as server:
            await server.subscribe("sensors/+/readings", qos=1)
        assert urls.mqtt_url is not None
        async with Publisher(urls.mqtt_url, "many") as device:
            for number in range(count):
                await device.publish("sensors/D/readings", b"%d" % number)
            await device.flush()
        if killed:
            published, kept = time.time(), home / "broker/store/mosquitto.db"
            (broker,) = (int(line.split()[0]) for line in processes_of(home) if "mosquitto\0-c" in line)
            os.kill(broker, signal.SIGUSR1)  # save now instead of within half a minute
            await until(lambda: kept.exists() and kept.stat().st_mtime > published)
            os.kill(broker, signal.SIGKILL)
            process.kill()
        else:
            process.communicate("")
        await until(lambda: not processes_of(home))
    async with run_embedded(home, port, database=False) as stack, _session(stack.urls) as server:
        async with asyncio.timeout(30):
            received = [int((await anext(server.messages)).payload) for _ in range(count)]
    assert received == list(range(count))


def _session(urls: EmbeddedUrls) -> aiomqtt.Client:
    """A client whose session the broker keeps for ever."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 0xFFFFFFFF
    return client(urls.mqtt_url, identifier="ingest", clean_start=False, properties=properties)


# --- other accounts --------------------------------------------------------------------------


@pytest.fixture
def nobodys_python() -> list[str]:
    """A Python with our dependencies that the user nobody may run."""
    nobody = RunAs("nobody", 65534, 65534)
    if os.geteuid() != 0:
        pytest.skip("we are an ordinary user already: all other tests show it")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin")):
        if python and reaches(nobody, Path(os.path.realpath(python)).parent):
            return nobody.command("KILL", python)
    pytest.skip("no Python that an ordinary user may run")


def test_an_ordinary_user_starts_from_nothing(nobodys_python: list[str]) -> None:
    """Fetch, build and run all of it as somebody who owns nothing on this machine."""
    place = Path(tempfile.mkdtemp(prefix="gridpulse-nobody-", dir="/tmp"))
    os.chown(place, 65534, 65534)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(place), "PYTHONPATH": f"{ROOT}:{packages}"}
    try:
        done = subprocess.run(
            [*nobodys_python, "-c", OWNER, str(place / "home"), str(free_port())],
            cwd=place,
            env=environment,
            input="",
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["database_url"].endswith(f"host={place}/home/run/pg&port=5432")
        assert (place / "home/postgres").stat().st_uid == 65534
        assert processes_of(place) == []
    finally:
        shutil.rmtree(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's children are other accounts")
def test_a_home_that_the_database_cannot_enter_is_named(tmp_path: Path) -> None:
    """As in a container that does not lend the right to pass through closed folders."""
    (tmp_path / "closed").mkdir(mode=0o700)
    bare = [setpriv_path(), "--bounding-set=-dac_read_search", "--", sys.executable, "-c", OWNER]
    done = subprocess.run(
        [*bare, str(tmp_path / "closed/home"), str(free_port())],
        cwd=ROOT,
        input="",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "closed/home: set GRIDPULSE_HOME" in done.stderr


async def test_data_of_another_major_are_refused_untouched(home: Path) -> None:
    async with run_embedded(home, broker=False):
        pass
    version = home / "postgres/PG_VERSION"
    major = version.read_text()
    version.write_text("9\n")
    with pytest.raises(EmbeddedError, match="postgresql-9-timescaledb"):
        async with run_embedded(home, broker=False):
            pass
    version.write_text(major)
    assert data_major(Home.at(home)) == int(major)
