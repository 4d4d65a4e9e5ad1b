"""A camera that posts over HTTP: an alert on the feed with its picture, and no way round the doors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import httpx2
import psycopg
import pytest

from tests.acceptance.live import live_feed
from tests.fix_server import Server, server_home
from tests.unit.ingest.adapters.samples import HIKVISION_XML

pytestmark = pytest.mark.stack

SECRET = "camera-secret-of-26-signs"
JPEG = b"\xff\xd8\xff\xe0" + b"a picture of the gate" * 100
CAMERA = "HK-1"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with server_home(
        GRIDPULSE_AUTO_REGISTER="true", GRIDPULSE_HOOK_SECRETS=f"hikvision={SECRET}",
        GRIDPULSE_ADAPTERS="frigate/#=frigate, tele/#=tasmota",
    ) as running:  # fmt: skip
        running.start("--no-demo", city=True)
        yield running


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=f"{server.base_url}/api/v1", timeout=20) as client:
        yield client


def alert_xml(state: str = "active", kind: str = "fielddetection") -> bytes:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    xml = HIKVISION_XML.replace("2022-01-31T13:53:05+01:00", now).replace("fielddetection<", f"{kind}<")
    return xml.replace("<eventState>active", f"<eventState>{state}").encode()


def with_picture(xml: bytes) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="e.xml"\r\nContent-Type: application/xml\r\n\r\n'
    return head + xml + b"\r\n--x\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG + b"\r\n--x--\r\n"


async def test_a_posted_event_becomes_an_alert_with_its_picture(server: Server, http: httpx2.AsyncClient) -> None:
    token = server.token()
    async with live_feed(server.base_url, token) as live:
        assert (await live.frame())["type"] == "snapshot"
        answer = await http.post(
            f"/hooks/hikvision?device={CAMERA}", content=with_picture(alert_xml()),
            headers={"Content-Type": "multipart/form-data; boundary=x"}, auth=("camera", SECRET),
        )  # fmt: skip
        assert (answer.status_code, answer.json()) == (200, {"received": True, "accepted": 1, "quarantined": []})
        alert = await live.alert_of(CAMERA)
    assert alert["kind"] == "camera.intrusion"
    assert alert["evidence"]["features"]["objects"] == ["human"]
    full = await http.get(f"/alerts/{alert['id']}", headers={"Authorization": f"Bearer {token}"})
    assert full.json()["evidence"]["links"]["snapshot"] == f"/api/v1/alerts/{alert['id']}/snapshot"
    picture = await http.get(f"/alerts/{alert['id']}/snapshot", headers={"Authorization": f"Bearer {token}"})
    assert (picture.status_code, picture.headers["content-type"], picture.content) == (200, "image/jpeg", JPEG)
    assert (await http.get(f"/alerts/{alert['id']}/snapshot")).status_code == 401
    clip = await http.get(f"/alerts/{alert['id']}/clip", headers={"Authorization": f"Bearer {token}"})
    assert clip.status_code == 404


async def test_a_posted_event_is_stored_when_it_is_answered(server: Server, http: httpx2.AsyncClient) -> None:
    url = server.database_url
    for n in range(3):
        url_path, bearer = f"/hooks/hikvision?device=HK-{n + 10}", {"Authorization": f"Bearer {SECRET}"}
        answer = await http.post(url_path, content=alert_xml(), headers=bearer)
        assert answer.status_code == 200
        with psycopg.connect(url) as conn:
            sql = "SELECT count(*) FROM camera_event e JOIN device d ON d.key = e.device WHERE d.id = %s"
            assert conn.execute(sql, [f"HK-{n + 10}"]).fetchone() == (1,)
            again = await http.post(f"/hooks/hikvision?device=HK-{n + 10}", content=b"<x/>", auth=("c", SECRET))
            detail = "payload is a x, not an EventNotificationAlert"
            told = {"received": True, "accepted": 0, "quarantined": [{"reason": "wrong_type", "detail": detail}]}
            assert (again.status_code, again.json()) == (200, told)
            kept = conn.execute(
                "SELECT reason, detail FROM quarantine WHERE topic = %s", [f"hooks/hikvision/HK-{n + 10}"]
            ).fetchone()
            assert kept == ("wrong_type", "payload is a x, not an EventNotificationAlert")


async def test_who_may_not_post_may_not(server: Server, http: httpx2.AsyncClient) -> None:
    dispatcher = {"Authorization": f"Bearer {server.token()}"}
    assert (await http.post("/hooks/hikvision", content=alert_xml(), headers=dispatcher)).status_code == 403
    assert (await http.post("/hooks/dahua", content=b"x", auth=("c", SECRET))).status_code == 401
    assert (await http.post("/hooks/gat1400", content=b"{}", auth=("c", SECRET))).status_code == 404
    operator = {"Authorization": f"Bearer {server.token('operator')}"}
    body = b"Code=VideoMotion;action=Pulse;index=0"
    assert (await http.post("/hooks/dahua?device=DH-1", content=body, headers=operator)).status_code == 200


async def test_a_bridge_publishes_under_its_vendors_topics_only(server: Server) -> None:
    import aiomqtt

    done = server.cli("device", "add", "bridge-1", "--gateway", "--topics", "tele/#")
    refused = server.cli("device", "add", "bridge-2", "--gateway", "--topics", "sensors/#", check=False)
    assert refused.returncode == 2
    when = datetime.now(UTC).isoformat(timespec="seconds")
    async with aiomqtt.Client(
        "127.0.0.1", server.mqtt_port, username="bridge-1", password=done.stdout.strip()
    ) as bridge:
        body = f'{{"Time": "{when}", "AHT": {{"Temperature": 21.5}}}}'.encode()
        await bridge.publish("tele/plug1/SENSOR", body, qos=1)
        await bridge.publish("sensors/plug1/readings", b'{"t": 1, "values": {"x": 1}}', qos=1)
    token = server.token()
    url, bearer = f"{server.base_url}/api/v1/readings?device=plug1", {"Authorization": f"Bearer {token}"}
    for _ in range(100):
        answer = httpx2.get(url, headers=bearer)
        if answer.status_code == 200 and answer.json()["items"]:
            break
        await asyncio.sleep(0.1)
    assert [(item["metric"], item["value"]) for item in answer.json()["items"]] == [("temperature_c", 21.5)]
