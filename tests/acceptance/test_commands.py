"""The command line as its users meet it."""

from __future__ import annotations

import json

import httpx2 as httpx
import pytest

from tests.fix_server import LiveServer, Server, server_home
from tests.fix_stack import free_port

pytestmark = pytest.mark.stack

COMMANDS = (
    "up", "migrate", "import", "simulate", "replay", "record", "load", "exercise list", "exercise purge", "ledger",
    "token", "doctor", "user add", "user list", "user disable", "device add", "device list", "device disable",
    "device password", "device revoke", "device show", "ca init", "ca server", "ca device", "ca list", "ca revoke",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(own_server: Server, command: str) -> None:
    done = own_server.cli(*command.split(), "--help")
    assert f"gridpulse {command.split()[0]}" in " ".join(done.stdout.split())
    assert "Example" in done.stdout


@pytest.mark.parametrize("command", ["nonsense", "up --nonsense", "device add", "token", "simulate"])
def test_wrong_usage_is_exit_code_2(own_server: Server, command: str) -> None:
    done = own_server.cli(*command.split(), check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["migrate", "ledger", "token --user x", "device list", "simulate quiet-night"])
def test_without_a_server_a_command_says_to_start_one(own_server: Server, command: str) -> None:
    done = own_server.cli(*command.split(), check=False)
    assert done.returncode == 1
    assert "gridpulse up" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_doctor_names_what_runs_where(live_server: LiveServer) -> None:
    answer = live_server.server.doctor()
    assert set(answer) == {"database_url", "mqtt_url", "http_url", "home", "checks"}
    assert all(check["ok"] for check in answer["checks"]), answer["checks"]
    assert answer["http_url"] == live_server.base_url
    shown = live_server.server.cli("doctor").stdout
    assert answer["mqtt_url"] not in shown, "passwords are not for the screen"


def test_doctor_without_a_server_fails_and_says_why(own_server: Server) -> None:
    done = own_server.cli("doctor", "--json", check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["database_url"] is None


async def test_the_ledger_balances(live_server: LiveServer) -> None:
    server = live_server.server
    await live_server.publish("sensors/ledger-1/readings", {"t": 17, "values": {"a": 1}})

    def counted() -> bool:
        rows = json.loads(server.cli("ledger", "--json").stdout)["rows"]
        return any(row["quarantined"] for row in rows)

    server.wait(counted, "the bad message in the ledger")
    answer = json.loads(server.cli("ledger", "--json").stdout)
    assert answer["balanced"] is True


def test_a_page_server_of_its_own_serves_a_running_home(live_server: LiveServer) -> None:
    first = live_server.server
    with server_home() as second:
        second.home = first.home
        second.http_port = free_port()
        second.start("--no-demo", "--role", "api")
        answer = httpx.get(f"{second.base_url}/api/v1/alerts", headers={"Authorization": f"Bearer {first.token()}"})
        assert answer.status_code == 200
        assert second.stop() == 0
    assert first.is_ready()
    assert first.doctor()["http_url"] == first.base_url
