"""From nothing to a device that publishes by certificate, and to its end, with the commands a user has."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from pathlib import Path

import aiomqtt
import httpx2 as httpx
import pytest

from tests.fix_server import Server, server_home
from tests.fix_stack import free_port

pytestmark = pytest.mark.stack

DEVICE = "VB-9001"


def client(server: Server, port: int, folder: Path, name: str) -> aiomqtt.Client:
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return aiomqtt.Client("127.0.0.1", port, tls_context=context, timeout=5, protocol=aiomqtt.ProtocolVersion.V5)


def refused(server: Server, reason: str) -> float:
    text = httpx.get(f"{server.base_url}/metrics").text
    line = next(one for one in text.splitlines() if f'gridpulse_broker_refused_total{{reason="{reason}"}}' in one)
    return float(line.split()[-1])


async def test_a_device_by_certificate_from_its_making_to_its_end(tmp_path: Path) -> None:
    port = free_port()
    with server_home(GRIDPULSE_MQTT_TLS_PORT=str(port)) as server:
        server.start("--no-demo", ready=False)
        assert server.process is not None
        assert server.process.wait(60) == 1
        assert "gridpulse ca init" in server.output, "what is missing is named"
        server.cli("ca", "init", "--host", "127.0.0.1")
        assert server.cli("ca", "init", "--host", "127.0.0.1", check=False).returncode == 1
        server.start("--no-demo")
        for name in (DEVICE, "VB-9002"):
            server.cli("ca", "device", name, "--out", str(tmp_path), "--kind", "vibration")
        await its_life(server, port, tmp_path)


async def its_life(server: Server, port: int, folder: Path) -> None:
    async with client(server, port, folder, DEVICE) as device, client(server, port, folder, "VB-9002") as other:
        for each, name in ((device, DEVICE), (other, "VB-9002")):
            body = json.dumps({"t": time.time(), "seq": 1, "values": {"ppv_mm_s": 0.1}})
            await each.publish(f"sensors/{name}/readings", body, qos=1)
        await stored(server, DEVICE)
        shown = json.loads(server.cli("device", "show", DEVICE, "--json").stdout)
        assert (shown["kind"], shown["account"], shown["certificates"]) == ("vibration", "device", 1)
        assert "certificates\t1" in server.cli("device", "show", DEVICE).stdout
        server.cli("device", "revoke", DEVICE)
        with pytest.raises(aiomqtt.MqttError):
            async with asyncio.timeout(10):
                await anext(device.messages)
        await other.publish("sensors/VB-9002/status", json.dumps({"online": True}), qos=1)
    with pytest.raises((aiomqtt.MqttError, OSError)):
        async with client(server, port, folder, DEVICE):
            pass
    await asyncio.to_thread(server.wait, lambda: refused(server, "bad_certificate") >= 1, "a refusal counted")
    assert json.loads(server.cli("device", "show", DEVICE, "--json").stdout)["account"] == "closed"
    assert DEVICE in server.cli("ca", "list", "--device", DEVICE).stdout
    assert server.cli("device", "revoke", DEVICE, check=False).returncode == 1


async def stored(server: Server, name: str) -> None:
    def seen() -> bool:
        return json.loads(server.cli("device", "show", name, "--json").stdout)["last_seen"] is not None

    await asyncio.to_thread(server.wait, seen, "the reading to be stored")
