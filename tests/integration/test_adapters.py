"""Other vendors' messages through the real broker into the real tables, and bad ones into quarantine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from db.media import MediaFolder
from db.pool import Pool
from ingest.adapters.routes import Adapters, hook_route, parse_route
from ingest.media.hosts import AllowedHost
from ingest.media.service import Keeping, MediaService
from ingest.messages import Message
from tests.fix_stack import Broker
from tests.integration.test_ingest import Running, device, forget_session, running_ingest
from tests.unit.ingest.adapters import samples as s
from tests.unit.ingest.adapters.vendor import NOW_US
from tests.unit.ingest.test_media import JPEG, port  # noqa: F401  a fixture
from tests.waiting import until

pytestmark = pytest.mark.stack

ROUTES = {
    "traces/#": "openeew", "iot-2/#": "openeew", "frigate/#": "frigate",
    "MyDevice/onvif-ej/#": "onvif", "zigbee2mqtt/#": "zigbee2mqtt", "tele/#": "tasmota",
    "application/#": "chirpstack", "v3/#": "ttn", "v1/gateway/#": "thingsboard", "senml/#": "senml",
    "spBv1.0/#": "sparkplug", "homeassistant/#": "home_assistant", "sensorBedroom/#": "home_assistant",
}  # fmt: skip

READINGS = [
    ("MyDevice-temp_001", "temperature_c", 28.65, "2025-07-15T14:30:00+00:00"),
    ("hall", "temperature_c", 27.34, "2026-11-23T"),
    ("plug1", "temperature_c", 24.7, "2026-11-23T01:00:00+00:00"),
    ("0101010101010101", "temperature_c", 21.5, "2022-07-18T09:34:15.775023+00:00"),
    ("dev1", "temperature_c", 1.0, "2020-02-12T15:15:45.787123+00:00"),
    ("Device_A-d35c3c47", "temperature_c", 42.0, "2017-01-01T00:00:00+00:00"),
    ("Device_B-64d66c88", "temperature_c", 41.0, "2017-01-01T00:00:00+00:00"),
    ("a8032a4dd5f0", "humidity_pct", 48.0, ""),
    ("G1.E1", "inputs_temperature", 21.5, ""),
    ("ea334450945afc", "temperature_c", 21.5, ""),
]
EVENTS = [
    ("front_cam", "intrusion", "update", "2024-06-21T16:25:48.879516+00:00"),
    ("front_door", "person", "update", "2020-12-04T23:19:22.082975+00:00"),
    ("MyDevice", "line_crossing", "start", "2008-10-10T12:24:57.321000+00:00"),
    ("acb92f494475", "intrusion", "start", "2022-01-31T12:53:05+00:00"),
    ("GATE-1", "line_crossing", "start", "2021-05-08T12:40:56.180000+00:00"),
    ("34020000001320000001", "intrusion", "start", "2026-11-23T"),
]
READING = """
SELECT r.value, r.time FROM reading r JOIN device d ON d.key = r.device JOIN metric m ON m.key = r.metric
WHERE d.id = %s AND m.name = %s ORDER BY r.time LIMIT 1
"""
EVENT = """
SELECT e.type, e.phase, e.time FROM camera_event e JOIN device d ON d.key = e.device WHERE d.id = %s
"""
LEDGER = "SELECT sum(received), sum(stored), sum(duplicate), sum(quarantined) FROM ledger_minute"


def adapters() -> Adapters:
    hooks = [hook_route(name) for name in ("hikvision", "dahua", "gb28181")]
    routes = [parse_route(pattern, name) for pattern, name in ROUTES.items()]
    return Adapters([*routes, *hooks], ZoneInfo("Asia/Shanghai"))


@pytest.fixture
async def ingest(pool: Pool, database_url: str, broker: Broker) -> AsyncIterator[Running]:
    async with running_ingest(pool, database_url, broker, now_s=NOW_US / 1e6, adapters=adapters()) as running:
        yield running
    await forget_session(broker, running.client_id)


async def rows(ingest: Running, sql: str, *args: object) -> list[tuple[object, ...]]:
    async with ingest.pool.connection() as conn:
        return await (await conn.execute(sql.encode(), args)).fetchall()


def utc(at: object) -> str:
    assert isinstance(at, datetime)
    return at.astimezone(UTC).isoformat()


async def test_one_message_of_every_adapter_is_stored_under_its_device_metric_and_time(
    ingest: Running, broker: Broker
) -> None:
    async with device(broker) as publish:
        await publish("homeassistant/device/bla/config", s.HA_CONFIG)
        await publish("sensorBedroom/state", {"temperature": 21.5, "humidity": 40})
        for sample in s.SAMPLES:
            if not sample.topic.startswith("hooks/"):
                await publish(sample.topic, sample.payload)
    for sample in s.SAMPLES:
        if sample.topic.startswith("hooks/") and sample.adapter != "gat1400":
            message = Message(sample.topic, sample.payload, NOW_US, None, False, 0, None)
            await ingest.service.submit([message])
    await ingest.until_count("waveform", 3)
    await until(lambda: all_acknowledged(ingest), "all acknowledged")
    assert await rows(ingest, "SELECT topic, reason, detail FROM quarantine") == []
    for device_id, metric, value, at in READINGS:
        ((stored, time),) = await rows(ingest, READING, device_id, metric)
        assert (device_id, stored, utc(time).startswith(at)) == (device_id, value, True), utc(time)
    for device_id, type_, phase, at in EVENTS:
        ((stored_type, stored_phase, time),) = await rows(ingest, EVENT, device_id)
        assert (stored_type, stored_phase, utc(time).startswith(at)) == (type_, phase, True), (device_id, utc(time))
    received, stored, duplicate, quarantined = (await rows(ingest, LEDGER))[0]
    assert received == stored
    assert (duplicate, quarantined) == (0, 0)


async def all_acknowledged(ingest: Running) -> bool:
    """Nothing waits between broker and commit any more."""
    await asyncio.sleep(0.05)
    return await ingest.scalar("SELECT count(*) >= 3 FROM camera_event") is True


async def test_the_same_message_twice_is_stored_once(ingest: Running, broker: Broker) -> None:
    async with device(broker) as publish:
        for _ in range(2):
            await publish("v1/gateway/telemetry", s.THINGSBOARD)
    await until(lambda: counted(ingest, 4), "four contents in the account")
    assert await rows(ingest, LEDGER) == [(4, 2, 2, 0)]
    assert await ingest.scalar("SELECT count(*) FROM reading") == 5


async def counted(ingest: Running, n: int) -> bool:
    return bool(await ingest.scalar("SELECT coalesce(sum(received), 0) >= %s FROM ledger_minute", n))


async def test_a_bad_message_is_quarantined_with_its_field_and_stops_none(ingest: Running, broker: Broker) -> None:
    after = {k: v for k, v in s.FRIGATE_REVIEW_AFTER.items() if k != "start_time"}
    async with device(broker) as publish:
        await publish("frigate/reviews", {"type": "new", "after": after})
        await publish("zigbee2mqtt/hall", {"temperature": 20})
    await ingest.until_count("reading", 1)
    await ingest.until_count("quarantine", 1)
    ((topic, reason, detail),) = await rows(ingest, "SELECT topic, reason, detail FROM quarantine")
    assert (topic, reason, detail) == ("frigate/reviews", "missing", "payload.after.start_time is not there")


async def test_sparkplug_asks_for_a_rebirth_over_the_broker(ingest: Running, broker: Broker) -> None:
    import aiomqtt

    from ingest.endpoint import Endpoint

    endpoint = Endpoint.parse(broker.url)
    async with aiomqtt.Client(
        endpoint.host, endpoint.port, username=endpoint.username, password=endpoint.password
    ) as node:
        await node.subscribe("spBv1.0/G1/NCMD/E9", qos=1)
        data = s.sparkplug(4, NOW_US // 1000, {"alias": 7, "float_value": 1.0})
        await node.publish("spBv1.0/G1/NDATA/E9", data, qos=1)
        async with asyncio.timeout(10):
            asked = await anext(aiter(node.messages))
        assert b"Node Control/Rebirth" in bytes(asked.payload)
        await node.publish("spBv1.0/G1/NBIRTH/E9", s.NBIRTH, qos=1)
        data = s.sparkplug(1, NOW_US // 1000, {"alias": 7, "float_value": 2.5})
        await node.publish("spBv1.0/G1/NDATA/E9", data, qos=1)
    await until(lambda: has_value(ingest, 2.5), "the value behind the birth")
    assert await ingest.scalar("SELECT reason FROM quarantine") == "unknown_alias"


async def has_value(ingest: Running, value: float) -> bool:
    return bool(await ingest.scalar("SELECT EXISTS (SELECT FROM reading WHERE value = %s)", value))


async def test_discovery_is_learnt_anew_from_retained_messages_after_a_restart(
    pool: Pool, database_url: str, broker: Broker
) -> None:
    async with device(broker) as publish:
        await publish("homeassistant/device/bla/config", s.HA_CONFIG, retain=True)
        for round_, value in enumerate((18.5, 19.5), 1):
            now_s = NOW_US / 1e6 + round_
            async with running_ingest(
                pool, database_url, broker, client_id="discovering", now_s=now_s, adapters=adapters()
            ) as running:
                await asyncio.sleep(0.3)  # the retained message comes first
                await publish("sensorBedroom/state", {"temperature": value})
                await until(lambda r=running, v=value: has_value(r, v), "the value")  # type: ignore[misc]
        await publish("homeassistant/device/bla/config", b"", retain=True)
    await forget_session(broker, "discovering")


async def test_a_picture_that_an_event_names_is_fetched_once_and_only_from_allowed_hosts(
    ingest: Running, port: int, tmp_path: Path  # noqa: F811
) -> None:
    url = f"http://localhost:{port}/a.jpg"
    async with ingest.pool.connection() as conn:
        await conn.execute(b"INSERT INTO device (id, kind) VALUES ('C', 'camera')")
        for n, address in enumerate((url, url, f"http://127.0.0.1:{port}/a.jpg", f"http://localhost:{port}/gone")):
            await conn.execute(
                b"INSERT INTO camera_event (device, event_id, phase, time, type, objects, snapshot_url, late) "
                b"SELECT key, %s, 'start', now(), 'fire', '{}', %s, false FROM device WHERE id = 'C'",
                [str(n), address],
            )
    folder = MediaFolder(tmp_path)
    hosts = [AllowedHost.parse(f"localhost:{port}=127.0.0.0/8")]
    service = MediaService(ingest.pool, folder, hosts, Keeping(30, 1 << 30))
    await service.round()
    await service.round()
    found = {str(u): (state, name, tries) for u, state, name, tries in await rows(
        ingest, "SELECT url, state, name, tries FROM media")}  # fmt: skip
    assert {u: state for u, (state, _, _) in found.items()} == {
        url: "stored", f"http://127.0.0.1:{port}/a.jpg": "refused", f"http://localhost:{port}/gone": "failed",
    }  # fmt: skip
    assert found[url][2] == 1
    kept = folder.find(str(found[url][1]))
    assert kept is not None
    assert kept[0].read_bytes() == JPEG
