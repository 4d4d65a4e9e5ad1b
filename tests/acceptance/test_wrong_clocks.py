"""Clocks that are off, drift or stand still: told to the maintainer, and shown with the device."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import aiomqtt
import httpx2 as httpx
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest.endpoint import Endpoint
from tests.fix_server import LiveServer

pytestmark = [pytest.mark.stack, pytest.mark.alone]

HOUR_S = 3600.0
Sent = Iterable[tuple[str, float, float]]
"""Device, arrival and its own idea of the time, in seconds."""


def messages(began: float) -> list[tuple[str, float, float]]:
    """Eight hours of arrivals, in their order."""
    off = [("CLOCK-OFF", began + 10 * n, began + 10 * n - 600) for n in range(20)]
    stopped = [("CLOCK-STOPPED", began + 10 * n, began) for n in range(40)]
    drifting = [("CLOCK-DRIFTING", at, at - (at - began) * 120 / 86400) for at in times(began)]
    right = [("CLOCK-RIGHT", at, at - 0.1) for at in times(began)]
    return sorted([*off, *stopped, *drifting, *right], key=lambda one: one[1])


def times(began: float) -> list[float]:
    return [began + 300.0 * n for n in range(96)]


async def publish(live: LiveServer, sent: Sent) -> None:
    """As they would have arrived: a run that acts as live may say when that was."""
    endpoint = Endpoint.parse(live.mqtt_url)
    async with aiomqtt.Client(
        endpoint.host, endpoint.port, username=endpoint.username, password=endpoint.password,
        protocol=aiomqtt.ProtocolVersion.V5,
    ) as client:  # fmt: skip
        for seq, (device, arrival, says) in enumerate(sent):
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.UserProperty = [("gridpulse-clock", f"{arrival:.3f}")]
            body = json.dumps({"t": round(says, 3), "values": {"clock_trial_c": 20 + seq % 7}})
            await client.publish(f"runs/live/sensors/{device}/readings", body, qos=1, properties=properties)


async def test_each_wrong_clock_is_shown_with_its_device(live_server: LiveServer) -> None:
    server, token = live_server.server, live_server.server.token()
    await publish(live_server, messages(time.time() - 8 * HOUR_S))

    def fault(device: str) -> dict[str, Any] | None:
        url, bearer = f"{live_server.base_url}/api/v1/devices/{device}", {"Authorization": f"Bearer {token}"}
        answer = httpx.get(url, headers=bearer, timeout=20)
        found = answer.json().get("faults", []) if answer.status_code == 200 else []
        return next((one for one in found if one["kind"] == "device.clock"), None)

    def fault_of(device: str) -> bool:
        return fault(device) is not None

    for word in ("off", "stopped", "drifting"):
        device = f"CLOCK-{word.upper()}"
        server.wait(partial(fault_of, device), f"the clock of {device} to be told")
        told = fault(device)
        assert told is not None
        assert told["features"]["clock"] == word
        assert (told["unit"], told["severity"], set(told["title"])) == ("s", 4, {"zh", "en"})
        alert = server.get(f"/alerts/{told['alert']}", token)
        assert (alert["kind"], alert["device"]["id"], alert["condition"]) == ("device.clock", device, "active")
    off, drifting = fault("CLOCK-OFF"), fault("CLOCK-DRIFTING")
    assert off is not None
    assert drifting is not None
    assert off["value"] == pytest.approx(600, abs=1)
    assert drifting["features"]["drift_s_per_day"] == pytest.approx(120, rel=0.1)
    assert fault("CLOCK-RIGHT") is None
