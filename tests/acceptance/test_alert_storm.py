"""A thousand sensors trip within ten seconds, through the broker: one incident, and few alarms."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from simulators.publisher import Publisher
from tests.fix_server import Server, server_home

pytestmark = [pytest.mark.stack, pytest.mark.alone]

SENSORS = 1000
SECONDS = 10.0
ALARMS_MAX = 10


async def storm(mqtt_url: str, prefix: str, values: dict[str, float], calm: dict[str, float]) -> None:
    """All sensors known, then each over its limit once within ten seconds."""
    rng = np.random.default_rng(7)
    async with Publisher(mqtt_url, "storm") as publisher:
        for i in range(SENSORS):
            body = {"t": time.time() - 2, "values": calm}
            await publisher.publish(f"sensors/{prefix}-{i}/readings", json.dumps(body).encode())
        await publisher.flush()
        began = time.monotonic()
        for i, due in enumerate(np.sort(rng.uniform(0, SECONDS, SENSORS)).tolist()):
            await asyncio.sleep(max(0.0, began + due - time.monotonic()))
            body = {"t": time.time(), "values": values}
            await publisher.publish(f"sensors/{prefix}-{i}/readings", json.dumps(body).encode())
        await publisher.flush()


@pytest.mark.parametrize("kind", ["vibration", "fire", "unplaced"])
async def test_a_thousand_sensors_are_one_incident_and_few_alarms(kind: str) -> None:
    with server_home(GRIDPULSE_AUTO_REGISTER="true") as server:
        server.start("--no-demo", city=True)
        prefix = f"ST-{kind}"
        if kind != "unplaced":
            await asyncio.to_thread(place, server, prefix)
        values = {"temperature_c": 95.0} if kind == "fire" else {"ppv_mm_s": 30.0}
        calm = dict.fromkeys(values, 0.5)
        since = datetime.now(UTC) - timedelta(minutes=1)
        await storm(server.mqtt_url, prefix, values, calm)
        token = server.token()

        def ours() -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = server.get("/alerts", token, limit=1000, q=prefix)["items"]
            return items

        server.wait(lambda: len(ours()) == SENSORS, f"{SENSORS} alerts")

        def devices() -> list[int]:
            return [item["devices"] for item in server.get("/incidents", token, limit=1000)["items"]]

        server.wait(lambda: devices() == [SENSORS], "one incident with all of them")
        incidents = server.get("/incidents", token, limit=1000)["items"]
        assert {alert["incident_id"] for alert in ours()} == {incidents[0]["id"]}
        assert len(server.get(f"/incidents/{incidents[0]['id']}", token)["alerts"]) == SENSORS
        window = {"from": since.isoformat(), "to": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()}
        totals = server.get("/stats/alarms", token, **window)["totals"]
        assert totals["raised"] == SENSORS
        assert totals["operator_alarms"] <= ALARMS_MAX, totals


def place(server: Server, prefix: str) -> None:
    """Register the sensors all over the city."""
    import psycopg

    rng = np.random.default_rng(3)
    with psycopg.connect(server.database_url, autocommit=True) as conn:
        rows = [
            (f"{prefix}-{i}", *lonlat)
            for i, lonlat in enumerate(rng.uniform((113.6, 22.8), (114.0, 23.1), (SENSORS, 2)).tolist())
        ]
        with conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO device (id, kind, lon, lat, datum_given) VALUES (%s, 'vibration', %s, %s, 'wgs84')",
                rows,
            )
        conn.execute("SELECT pg_notify('device_changed', '')")
