"""Incidents in the real database: written with their alerts, closed with them, restored, served and pushed."""

from __future__ import annotations

from typing import Any

import pytest

from alerting.service import AlertService
from alerting.store import PostgresAlertStore
from db.pool import Pool
from db.runs import purge_run
from domain.devices import Device
from domain.people import Actor
from tests.integration.api_house import House, eventually, house
from tests.unit.alerting.blocks import METRICS, PPV, SMOKE, T0, S, block, default_rules, readings
from tests.unit.alerting.store_contract import PLACE

pytestmark = pytest.mark.stack
__all__ = ["house"]

LI = Actor("li", "dispatcher", "")
SPACING_DEG = 0.08


def device(key: int) -> Device:
    """Keys 1 to 3 are one house, those from 10 on stand 8 km apart, from 900 on are a run's."""
    lon = 113.6 + (0 if key < 10 else SPACING_DEG * (key % 10))
    run = "drill" if key >= 900 else None
    house_number = key if key >= 10 else 1
    return Device(key, f"VB-{key}", "vibration", run=run, lon=lon, lat=23.0, address_id=f"{house_number:025d}")


async def build(pool: Pool) -> AlertService:
    ticks = iter(range(T0 + 10 * S, T0 + 10**12, 1000))
    service = AlertService(
        PostgresAlertStore(pool), default_rules(), device=device, metric_names=lambda: METRICS,
        place=lambda asked: [PLACE for _ in asked], now_us=lambda: next(ticks),
    )  # fmt: skip
    await service.start()
    return service


async def shake(service: AlertService, second: float, *devices: int, value: float = 9.5) -> None:
    t = T0 + round(second * S)
    await service.handle(block(readings([(d, PPV, t, value) for d in devices]), committed_us=t))


async def rows(pool: Pool, query: str) -> list[tuple[Any, ...]]:
    async with pool.connection() as conn:
        return list(await (await conn.execute(query.encode())).fetchall())


async def close(service: AlertService, pool: Pool, *devices: int) -> None:
    query = f"SELECT id, version FROM alert WHERE state <> 'closed' AND device IN {(*devices, 0)}"
    for alert, version in await rows(pool, query):
        await service.act("close", alert, {"version": version, "reason": "seen", "force": True}, LI)


CHANGES = "SELECT change, actor, version, cursor FROM incident_change ORDER BY cursor"


async def test_a_house_is_one_incident_that_grows_and_closes_with_its_alerts(pool: Pool) -> None:
    service = await build(pool)
    await shake(service, 0, 1)
    assert await rows(pool, CHANGES) == []
    await shake(service, 2, 2)
    [(incident, kind, severity, body)] = await rows(pool, "SELECT id, kind, severity, body FROM incident")
    assert (kind, body["devices"], len(body["alerts"]), body["state"]) == ("building", 2, 2, "open")
    assert severity == min(a for (a,) in await rows(pool, "SELECT severity FROM alert")) - 1 or severity == 1
    await shake(service, 3, 3)
    said = await rows(pool, "SELECT DISTINCT incident_id, body ->> 'incident_id' FROM alert")
    assert said == [(incident, incident)]
    await shake(service, 20, 1, 2, 3, value=0.1)
    await shake(service, 40, 1, 2, 3, value=0.1)
    await close(service, pool, 1, 2)
    assert (await rows(pool, "SELECT state FROM incident")) == [("open",)]
    await close(service, pool, 3)
    changes = await rows(pool, CHANGES)
    assert [c[0] for c in changes if c[0] != "cleared"] == ["raised", "grew", "closed"]
    assert changes[-1][1] == "li", "who closed the last alert closed the incident"
    assert [c[2] for c in changes] == list(range(1, len(changes) + 1))
    assert (await rows(pool, "SELECT state FROM incident")) == [("closed",)]
    [(newest,)] = await rows(pool, "SELECT max(cursor) FROM alert_change")
    assert changes[-1][3] == newest + 1, "one cursor for both"


async def test_a_wave_is_one_area_event_and_a_restart_makes_no_second(pool: Pool) -> None:
    service = await build(pool)
    for i in range(4):
        await shake(service, 1.5 * i, 10 + i)
    [(incident, kind, devices)] = await rows(pool, "SELECT id, kind, body -> 'devices' FROM incident")
    assert (kind, devices) == ("area", 4)
    restarted = await build(pool)
    for i in range(4):
        await shake(restarted, 1.5 * i, 10 + i)
    await shake(restarted, 6.0, 14)
    assert await rows(pool, "SELECT id, body -> 'devices' FROM incident") == [(incident, 5)]
    [(evidence,)] = await rows(pool, "SELECT body -> 'evidence' -> 'association' FROM alert WHERE device = 14")
    assert evidence["decision"] == "joins"
    assert evidence["incident_id"] == incident
    assert evidence["distance_m"] == pytest.approx(4 * 8190, rel=0.01)
    assert evidence["lag_s"] == 6.0
    query = "SELECT change, reason FROM alert_change WHERE body ->> 'device' LIKE '%VB-10%' ORDER BY cursor"
    history = await rows(pool, query)
    assert any(change == "updated" and incident in reason for change, reason in history)


async def test_two_houses_at_the_same_minute_are_two(pool: Pool) -> None:
    service = await build(pool)
    await shake(service, 0, 1, 2)
    await shake(service, 3, 19)
    await shake(service, 4, 18)
    assert await rows(pool, "SELECT kind FROM incident") == [("building",)]


async def test_exercises_are_apart_and_are_purged_whole(pool: Pool) -> None:
    service = await build(pool)
    await shake(service, 0, 10, 11, 910, 911, 912, 913)
    assert await rows(pool, "SELECT kind, exercise FROM incident") == [("device_fault", "drill")]
    async with pool.connection() as conn:
        await purge_run(conn, "drill")
    assert await rows(pool, "SELECT count(*) FROM incident_change") == [(0,)]
    assert await rows(pool, "SELECT count(*) FROM incident") == [(0,)]


async def test_an_incident_that_people_closed_opens_when_it_goes_on(pool: Pool) -> None:
    service = await build(pool)
    await shake(service, 0, 1, 2)
    await close(service, pool, 1, 2)
    assert await rows(pool, "SELECT state FROM incident") == [("closed",)]
    await shake(service, 30, 3)
    assert await rows(pool, "SELECT state FROM incident") == [("open",)]
    assert "reopened" in [c[0] for c in await rows(pool, CHANGES)]


# ---------------------------------------------------------------- served and pushed


async def test_the_api_serves_incidents_with_duties_and_history(house: House) -> None:
    service = await build(house.pool)
    for i in range(4):
        await shake(service, 1.5 * i, 10 + i)
    listed = (await house.get("/api/v1/incidents", state="open")).json()
    [incident] = listed["items"]
    assert {"id", "kind", "severity", "state", "started_at", "detected_at", "updated_at", "alerts", "devices",
            "center", "radius_m", "title", "why", "exercise"} <= set(incident)  # fmt: skip
    assert (await house.get("/api/v1/incidents", kind="building")).json()["items"] == []
    assert (await house.get("/api/v1/incidents", bbox="0,0,1,1")).json()["items"] == []
    assert (await house.get("/api/v1/incidents", exercise="drill")).json()["items"] == []
    one = (await house.get(f"/api/v1/incidents/{incident['id']}")).json()
    assert len(one["alerts"]) == 4
    assert one["duty"][0]["unit"] == "unit"
    assert one["unit"]["level"] in ("grid", "village", "town", "city")
    assert one["history"][0]["change"] == "raised"
    assert all(m["state"] == "new" for m in one["members"])
    assert (await house.get("/api/v1/incidents/nobody")).status_code == 404
    assert (await house.get(f"/api/v1/incidents/{incident['id']}", user="machong")).status_code == 404
    window = {"from": "2023-11-14T22:00:00Z", "to": "2023-11-14T23:00:00Z"}
    totals = (await house.get("/api/v1/stats/alarms", **window)).json()["totals"]
    assert totals["operator_alarms"] == totals["incidents"] + totals["alone"] == 1 + 3


async def test_pages_of_incidents_leave_none_out(house: House) -> None:
    service = await build(house.pool)
    for n in range(5):
        await shake(service, 1000.0 * n, 1, 2)
        await close(service, house.pool, 1, 2)
        for later in (20, 40):
            await shake(service, 1000.0 * n + later, 1, 2, value=0.1)
    seen, cursor = [], None
    while True:
        page = (await house.get("/api/v1/incidents", limit=2, **({"cursor": cursor} if cursor else {}))).json()
        seen += [i["id"] for i in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == sorted({i for (i,) in await rows(house.pool, "SELECT id FROM incident")})
    assert len(seen) == 5


async def test_the_feed_gives_a_snapshot_then_every_change_and_replays_from_a_cursor(house: House) -> None:
    service = await build(house.pool)
    await shake(service, 0, 1, 2)
    async with house.live() as client, house.live("machong") as stranger:
        await client.send(type="subscribe", id="i", channel="incidents")
        snapshot = await client.next()
        assert snapshot["type"] == "snapshot"
        [known] = snapshot["items"]
        await stranger.send(type="subscribe", id="i", channel="incidents")
        assert (await stranger.next())["items"] == []
        await shake(service, 2, 3)
        grew = await client.until("incident")
        assert (grew["change"], grew["incident"]["devices"], grew["incident"]["id"]) == ("grew", 3, known["id"])
        await close(service, house.pool, 1, 2, 3)
        frames = [grew]
        while frames[-1]["change"] != "closed":
            frames.append(await client.until("incident"))
    async with house.live() as client:
        await client.send(type="subscribe", id="again", channel="incidents", since=snapshot["cursor"])
        replayed = [await client.until("incident") for _ in frames]
        assert [(f["cursor"], f["change"]) for f in replayed] == [(f["cursor"], f["change"]) for f in frames]
        await client.send(type="subscribe", id="a", channel="alerts", since=snapshot["cursor"])
        assert (await client.until("alert"))["alert"]["incident_id"] == known["id"]
    assert await eventually(lambda: house.hub.newest == frames[-1]["cursor"])


async def test_smoke_and_camera_make_a_mixed_incident(pool: Pool) -> None:
    service = await build(pool)
    t = T0
    await service.handle(block(readings([(1, SMOKE, t, 900.0)]), committed_us=t))
    await shake(service, 5, 2)
    assert await rows(pool, "SELECT kind FROM incident") == [("mixed",)]
