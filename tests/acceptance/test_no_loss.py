"""What a killed broker had acknowledged and not delivered comes back; what broke a rule can be sent in again."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from server.embedded.stack import embedded_stack
from simulators.devices import SimulatedDevice
from simulators.publisher import Publisher
from simulators.resend import CommandBox
from tests.acceptance.test_faults import one_row
from tests.fix_server import Server, server_home
from tests.fix_stack import free_port
from tests.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.alone]

DEVICES = 20
NUMBERS = "SELECT count(*), count(DISTINCT (device, seq)), count(*) FILTER (WHERE late) FROM reading"


class Field:
    """Devices with a buffer of what they sent, on one connection that comes back by itself."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.devices = {f"B-{i:02}": SimulatedDevice(f"B-{i:02}", kept=1000) for i in range(DEVICES)}
        self.start_us = round((time.time() - 60) * 1e6)
        self.sent = 0

    async def send(self, rounds: int) -> None:
        for _ in range(rounds):
            self.sent += 1
            for device in self.devices.values():
                emission = device.reading(self.start_us + self.sent * 100_000, {"ppv_mm_s": 0.1})
                await self.publisher.publish(emission.topic, emission.payload)
        await self.publisher.flush()


@asynccontextmanager
async def field(url: str) -> AsyncIterator[Field]:
    commands = CommandBox()
    async with Publisher(
        url, "field", patience_s=None, commands=("sensors/+/command",), on_command=commands.put
    ) as publisher:
        devices = Field(publisher)
        answering = asyncio.create_task(
            commands.answer(publisher, devices.devices, "", lambda: time.time_ns() // 1000)
        )
        try:
            yield devices
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)


def broker_pid(home: Path) -> int:
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "comm").read_text().strip().startswith("mosquitto"):
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
                if str(home) in command or os.readlink(entry / "cwd").startswith(str(home)):
                    return int(entry.name)
    raise AssertionError("no broker on this home")


@pytest.mark.timeout(400)
async def test_what_a_killed_broker_had_acknowledged_and_not_delivered_comes_back(database_url: str) -> None:
    home, port = Path(tempfile.mkdtemp(prefix="gridpulse-broker-")), free_port()
    broker = {"database": False, "broker": True, "mqtt_host": "127.0.0.1", "mqtt_port": port}
    try:
        async with embedded_stack(home, **broker) as stack:  # type: ignore[arg-type]
            url = stack.urls.mqtt_url
        assert url is not None
        with server_home(
            GRIDPULSE_AUTO_REGISTER="true", GRIDPULSE_DATABASE_URL=database_url, GRIDPULSE_MQTT_URL=url
        ) as server:
            await lose_and_mend(server, home, broker, url, database_url)
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def lose_and_mend(server: Server, home: Path, broker: dict[str, object], url: str, database_url: str) -> None:
    def stored() -> int:
        return one_row(database_url, NUMBERS)[1]

    async with AsyncExitStack() as first:
        await first.enter_async_context(embedded_stack(home, **broker))  # type: ignore[arg-type]
        async with field(url) as devices:
            server.start("--no-demo")
            await devices.send(20)

            async def first_stored() -> bool:
                return stored() == 20 * DEVICES

            await until(first_stored, "the first messages stored", 30)
            await written_down(home)  # what comes now is in the broker's memory only
            assert server.process is not None
            server.process.send_signal(signal.SIGSTOP)
            await devices.send(30)  # acknowledged by the broker, not delivered
            os.kill(broker_pid(home), signal.SIGKILL)
            await first.aclose()
            server.process.send_signal(signal.SIGCONT)
            async with embedded_stack(home, **broker):  # type: ignore[arg-type]
                server.wait(server.is_ready, "the server to be ready again", 60)
                await devices.send(5)
                await mended(server, database_url, devices.sent * DEVICES)


async def written_down(home: Path) -> None:
    """Have the broker save its queue now instead of within half a minute."""
    kept, now = home / "broker/store/mosquitto.db", time.time()
    os.kill(broker_pid(home), signal.SIGUSR1)

    async def saved() -> bool:
        return kept.exists() and kept.stat().st_mtime > now

    await until(saved, "the broker's queue written down", 60)


async def mended(server: Server, database_url: str, wanted: int) -> None:
    async def all_stored() -> bool:
        return one_row(database_url, NUMBERS)[1] == wanted

    async def accounted() -> bool:
        gaps, ended = one_row(database_url, "SELECT count(*), count(outcome) FROM seq_gap")
        return gaps == ended > 0

    await until(all_stored, f"all {wanted} numbers stored", 60)
    # An answer that is lost is asked for again after 10 s, and once more a minute later.
    await until(accounted, "all gaps filled", 100)
    rows, numbers, late = one_row(database_url, NUMBERS)
    assert rows == numbers == wanted, "each once"
    account = json.loads(server.cli("ledger", "--json").stdout)
    assert account["balanced"]
    assert sum(gap["last"] - gap["first"] + 1 for gap in account["gaps"]) == late > 0
    assert {gap["state"] for gap in account["gaps"]} == {"filled"}


async def test_quarantined_messages_are_sent_in_again_after_the_fix(own_server: Server) -> None:
    server = own_server
    server.settings["GRIDPULSE_AUTO_REGISTER"] = "false"
    server.start("--no-demo")
    url, database_url = server.mqtt_url, server.database_url
    now = time.time()
    async with Publisher(url, "stranger", patience_s=5) as publisher:
        for i in range(3):
            body = {"t": now + i / 10, "seq": i, "values": {"ppv_mm_s": 0.1}}
            await publisher.publish("sensors/NEW-1/readings", json.dumps(body).encode())
        await publisher.publish("sensors/NEW-1/readings", b'{"t": 1, "values": {}}')
        await publisher.flush()

    async def aside() -> bool:
        return one_row(database_url, "SELECT count(*) FROM quarantine")[0] == 4

    await until(aside, "four messages in quarantine", 20)
    listed = server.cli("quarantine", "list", "--reason", "unknown_device").stdout
    assert listed.count("NEW-1 is not registered") == 3
    refused = server.cli("quarantine", "replay", "--reason", "unknown_device", check=False)
    assert (refused.returncode, refused.stdout) == (1, "3 sent in again, 0 stored, 3 refused again\n")

    server.cli("device", "add", "NEW-1")
    done = server.cli("quarantine", "replay", "--all", check=False)
    assert (done.returncode, done.stdout) == (1, "4 sent in again, 3 stored, 1 refused again\n")
    assert one_row(database_url, "SELECT count(*) FROM reading")[0] == 3
    assert json.loads(server.cli("ledger", "--json").stdout)["balanced"]
    payload = server.cli("quarantine", "show", listed.splitlines()[1].split()[0])
    assert json.loads(payload.stdout)["values"] == {"ppv_mm_s": 0.1}
    assert payload.stderr.strip() == "sensors/NEW-1/readings"
    missing = server.cli("quarantine", "show", "999999", check=False)
    assert missing.returncode == 1
    assert "gridpulse quarantine list" in missing.stderr
