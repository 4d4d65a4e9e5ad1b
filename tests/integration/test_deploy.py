"""The examples of deploy/ are not words only: each is started, or parsed by what reads it."""

from __future__ import annotations

import asyncio
import configparser
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import aiomqtt
import pytest

from server.embedded import programs
from server.embedded.authority import next_update, revocation_list
from server.embedded.broker_accounts import BrokerAccount, hash_password, render_passwords
from server.embedded.mosquitto import render_conf, template_path
from server.embedded.packages import cache_root, quiet
from server.embedded.tls import TlsFolder
from server.settings import Settings, given
from tests.fix_stack import free_port

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
V5 = aiomqtt.ProtocolVersion.V5


def settings_of(path: Path) -> list[tuple[str, str]]:
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return [(name, value) for name, _, value in (line.partition(" ") for line in lines)]


def test_the_broker_keeps_messages_as_ours_does() -> None:
    ours, theirs = settings_of(template_path()), settings_of(DEPLOY / "mosquitto.conf")
    per_home = {"port", "bind_address", "password_file", "acl_file", "log_dest", "pid_file"} | {
        "log_timestamp", "log_timestamp_format",
    }  # fmt: skip
    missing = [each for each in ours if each[0] not in per_home and each not in theirs]
    assert missing == []


def test_the_settings_are_settings() -> None:
    folder = Path(tempfile.mkdtemp())
    shutil.copy(DEPLOY / "gridpulse.toml", folder)
    settings = Settings(**given({}, folder))
    shutil.rmtree(folder)
    assert (settings.mqtt_tls_port, settings.mqtt_tls_login, settings.http_host) == (
        8883, "certificate", "127.0.0.1",
    )  # fmt: skip


def test_the_unit_names_what_exists() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "gridpulse.service")
    assert unit["Service"]["ExecStart"].endswith("gridpulse up --no-demo")
    assert unit["Unit"]["Documentation"].removeprefix("file:///opt/gridpulse/") == "docs/howto/operate.md"
    limit = int(unit["Service"]["LimitNOFILE"])
    assert limit > Settings.model_fields["mqtt_max_connections"].default
    if program := shutil.which("systemd-analyze"):
        done = subprocess.run(
            [program, "verify", str(DEPLOY / "gridpulse.service")], capture_output=True, text=True, check=False
        )
        assert "Unknown" not in done.stderr, done.stderr


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_the_proxies_lead_to_the_page_and_hide_the_measurements(name: str) -> None:
    text = (DEPLOY / name).read_text()
    toml = (DEPLOY / "gridpulse.toml").read_text()
    assert 'http_host = "127.0.0.1"' in toml
    assert "http_port = 8080" in toml
    assert "127.0.0.1:8080" in text
    assert "/metrics" in text
    assert text.count("{") == text.count("}")
    if name == "Caddyfile" and (program := shutil.which("caddy")):
        subprocess.run([program, "validate", "--adapter", "caddyfile", "--config", str(DEPLOY / name)], check=True)


@pytest.fixture
def nginx() -> str:
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("no nginx on this machine")
    return program


def test_nginx_takes_its_file(nginx: str, tmp_path: Path) -> None:
    TlsFolder(tmp_path / "tls").make(["gridpulse.example.net"], datetime.now(UTC))
    site = (DEPLOY / "nginx.conf").read_text()
    site = site.replace("/etc/ssl/gridpulse/fullchain.pem", str(tmp_path / "tls/server.crt"))
    site = site.replace("/etc/ssl/gridpulse/privkey.pem", str(tmp_path / "tls/server.key"))
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{site}\n}}\n")
    done = subprocess.run([nginx, "-t", "-c", str(whole)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def lay_out(folder: Path, secure: int, plain: int) -> None:
    tls = TlsFolder(folder / "tls")
    tls.make(["127.0.0.1"], datetime.now(UTC))
    now = datetime.now(UTC)
    (tls.folder / "crl.pem").write_bytes(revocation_list(tls.authority(), [], next_update(None, now), 1))
    (folder / "acl").write_text((DEPLOY / "mosquitto.acl").read_text())
    accounts = [BrokerAccount("gridpulse-server", hash_password("pw"), "server")]
    (folder / "passwords").write_text(render_passwords(accounts))
    for file in folder.rglob("*"):
        file.chmod(0o700 if file.is_dir() else 0o600)
    places = {
        "port": str(secure), "bind_address": "127.0.0.1", "listener": f"{plain} 127.0.0.1",
        **{f"{kind}file": str(tls.folder / name) for kind, name in
           (("ca", "ca.crt"), ("cert", "server.crt"), ("key", "server.key"), ("crl", "crl.pem"))},
        "password_file": str(folder / "passwords"), "acl_file": str(folder / "acl"),
        "persistence_location": f"{folder}/", "pid_file": f"{folder}/pid", "log_dest": "stderr",
    }  # fmt: skip
    text = render_conf((DEPLOY / "mosquitto.conf").read_text(), places)
    # As root Mosquitto would change to its own account, which cannot read a test's folder.
    (folder / "mosquitto.conf").write_text(text + "user root\n")


@asynccontextmanager
async def broker_of_ones_own(folder: Path, program: Path) -> AsyncIterator[tuple[int, int, Path]]:
    """deploy/mosquitto.conf and its ACL with places of a test; the port with TLS, the plain one, the log."""
    secure, plain = free_port(), free_port()
    lay_out(folder, secure, plain)
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(program), "-c", str(folder / "mosquitto.conf"), stdout=log, stderr=log
        )
    try:
        yield secure, plain, folder / "log"
    finally:
        process.terminate()
        await process.wait()


def context_of(folder: Path, device: str) -> ssl.SSLContext:
    tls = TlsFolder(folder / "tls")
    made = tls.issue(device, datetime.now(UTC))
    context = ssl.create_default_context(cafile=str(tls.folder / "ca.crt"))
    (folder / "device.pem").write_bytes(made.certificate + made.key)
    context.load_cert_chain(folder / "device.pem")
    return context


async def listens(port: int, log: Path) -> None:
    for _ in range(200):
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the broker does not listen; see {log}")


@pytest.mark.stack
async def test_the_broker_starts_and_keeps_devices_apart(tmp_path: Path) -> None:
    found = programs.find(
        database=False, broker=True, major=None, caches=(cache_root(os.environ),), usable=lambda folder: True,
        progress=quiet, cancelled=threading.Event(),
    )  # fmt: skip
    assert found.mosquitto is not None
    async with broker_of_ones_own(tmp_path, found.mosquitto) as (secure, plain, log):
        context = context_of(tmp_path, "D1")
        await listens(plain, log)
        async with (
            aiomqtt.Client("127.0.0.1", plain, username="gridpulse-server", password="pw", protocol=V5) as server,
            aiomqtt.Client("127.0.0.1", secure, tls_context=context, protocol=V5) as device,
            asyncio.timeout(10),
        ):
            await server.subscribe("#", qos=1)
            for topic in ("sensors/D2/readings", "runs/x", "vehicles/D1/position", "sensors/D1/readings"):
                await device.publish(topic, b"{}", qos=1)
            heard = [str((await anext(server.messages)).topic) for _ in range(2)]
            assert heard == ["vehicles/D1/position", "sensors/D1/readings"]
