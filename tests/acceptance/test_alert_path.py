"""One reading over its limit, from a device's own account to a responder's screen."""

from __future__ import annotations

import asyncio
import json
import shutil
import time

import aiomqtt
import pytest

from ingest.endpoint import Endpoint
from tests.acceptance.live import live_feed
from tests.fix_server import LiveServer

pytestmark = [pytest.mark.stack, pytest.mark.alone]

STAGES = ("sampled", "received", "committed", "detected", "placed", "pushed")


async def test_a_devices_own_reading_becomes_a_frame_with_place_duty_reason_and_timeline(
    live_server: LiveServer,
) -> None:
    server = live_server.server
    password = server.cli("device", "add", "VB-0040", "--kind", "vibration").stdout.strip()
    endpoint = Endpoint.parse(live_server.mqtt_url)
    async with live_feed(server.base_url, server.token()) as live:
        assert (await live.frame())["type"] == "snapshot"
        async with aiomqtt.Client(endpoint.host, endpoint.port, username="VB-0040", password=password) as client:
            body = {"t": time.time(), "seq": 1, "values": {"ppv_mm_s": 6.1}}
            await client.publish("sensors/VB-0040/readings", json.dumps(body).encode(), qos=1)
        alert = await live.alert_of("VB-0040")
    assert (alert["kind"], alert["value"], alert["limit"], alert["unit"]) == ("vibration.limit", 6.1, 5.0, "mm/s")
    place = alert["place"]
    assert place["method"] == "device"
    assert place["grid"].startswith(place["village"])
    assert place["village"].startswith(place["town"])
    assert len(place["address_id"]) == 25
    assert alert["duty"][0]["role"] == "lead"
    assert all(duty["why"] and duty["unit"] for duty in alert["duty"])
    times = [alert["timeline"][stage] for stage in STAGES]
    assert times == sorted(times), alert["timeline"]


@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="mosquitto_pub is not installed here")
async def test_mosquitto_pub_works_as_the_readme_says(live_server: LiveServer) -> None:
    server = live_server.server
    password = server.cli("device", "add", "VB-0041").stdout.strip()
    async with live_feed(server.base_url, server.token()) as live:
        await live.frame()
        process = await asyncio.create_subprocess_exec(
            "mosquitto_pub", "-p", str(server.mqtt_port), "-u", "VB-0041", "-P", password, "-q", "1",
            "-t", "sensors/VB-0041/readings", "-m", json.dumps({"t": time.time(), "values": {"ppv_mm_s": 8}}),
        )  # fmt: skip
        assert await process.wait() == 0
        assert (await live.alert_of("VB-0041"))["value"] == 8


async def test_a_device_cannot_speak_for_another(live_server: LiveServer) -> None:
    server = live_server.server
    password = server.cli("device", "add", "VB-0042").stdout.strip()
    endpoint = Endpoint.parse(live_server.mqtt_url)
    before = server.get("/alerts", server.token(), q="VB-0043")["items"]
    async with aiomqtt.Client(
        endpoint.host, endpoint.port, username="VB-0042", password=password, protocol=aiomqtt.ProtocolVersion.V5
    ) as client:
        await client.publish("sensors/VB-0043/readings", b'{"t": 1, "values": {"ppv_mm_s": 99}}', qos=1)
    await live_server.raise_alert("VB-0044")
    token = server.token()
    server.wait(lambda: bool(server.get("/alerts", token, q="VB-0044")["items"]), "the honest device's alert")
    assert server.get("/alerts", token, q="VB-0043")["items"] == before


async def test_a_client_that_was_away_gets_every_change_once_and_in_order(live_server: LiveServer) -> None:
    server = live_server.server
    token = server.token()
    async with live_feed(server.base_url, token) as live:
        cursor = (await live.frame())["cursor"]
    devices = [await live_server.raise_alert() for _ in range(5)]

    def all_raised() -> bool:
        items = server.get("/alerts", token, limit=1000)["items"]
        return set(devices) <= {item["device"]["id"] for item in items}

    server.wait(all_raised, "five alerts")
    async with live_feed(server.base_url, token, since=cursor) as live:
        frames = [await live.frame(lambda f: f["type"] == "alert" and f["change"] == "raised") for _ in devices]
    assert [f["alert"]["device"]["id"] for f in frames] == devices
    assert [f["cursor"] for f in frames] == sorted({f["cursor"] for f in frames})


async def test_acknowledging_reaches_everyone_and_an_old_version_is_refused(live_server: LiveServer) -> None:
    import httpx2 as httpx

    server = live_server.server
    token = server.token()
    async with live_feed(server.base_url, token) as live:
        await live.frame()
        device = await live_server.raise_alert()
        alert = await live.alert_of(device)
        url = f"{server.base_url}/api/v1/alerts/{alert['id']}/acknowledge"
        headers = {"Authorization": f"Bearer {token}"}
        first = httpx.post(url, json={"version": alert["version"]}, headers=headers)
        assert first.status_code == 200, first.text
        pushed = await live.alert_of(device, "acknowledged")
        again = httpx.post(url, json={"version": alert["version"]}, headers=headers)
    assert pushed["state"] == "acknowledged"
    assert again.status_code == 409
    assert again.headers["content-type"].startswith("application/problem+json")
    assert again.json()["current"]["version"] == pushed["version"]


async def test_a_town_sees_only_its_own(live_server: LiveServer) -> None:
    server = live_server.server
    await live_server.raise_alert("VB-0001")
    async with live_feed(server.base_url, server.token("machong")) as live:
        snapshot = await live.frame()
    assert all(item["place"]["town"] == "441900126" for item in snapshot["items"])
