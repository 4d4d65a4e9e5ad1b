"""The REST of the Foundation on a real database and port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import numpy as np
import pytest

from api.accounts import issue_token
from api.queries.people import ADD_USER
from db.devices import DeviceRow, upsert_devices
from domain.clock import from_us, iso
from tests.integration.api_house import (
    MACHONG,
    PASSWORD,
    T0_US,
    WANJIANG,
    House,
    house,
    now_us,
    password_hash,
    place_at,
)

pytestmark = pytest.mark.stack
__all__ = ["house"]

API = "/api/v1"


def problem(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


async def register(house: House, *rows: DeviceRow) -> list[int]:
    async with house.pool.connection() as conn:
        return await upsert_devices(conn, rows)


def sensor(id_: str = "VB-0001", town: str | None = MACHONG, **given: Any) -> DeviceRow:
    return DeviceRow(id=id_, kind="vibration", lon=113.6, lat=23.0, place=place_at(town), **given)


async def insert_readings(house: House, key: int, n: int, step_us: int = 1_000_000) -> None:
    async with house.pool.connection() as conn:
        await conn.execute("INSERT INTO metric (name) VALUES ('ppv_mm_s'), ('freq_hz')")
        await conn.execute("INSERT INTO series (device, metric) VALUES (%s, 1)", [key])
        await conn.execute(
            """INSERT INTO reading (time, device, metric, value, seq, late)
               SELECT %s::timestamptz + i * %s::interval, %s, 1, i, i, false FROM generate_series(0, %s) AS i""",
            [from_us(T0_US), timedelta(microseconds=step_us), key, n - 1],
        )


# ---------------------------------------------------------------- sessions


async def test_a_session_from_login_to_sign_out(house: House) -> None:
    answer = await house.http.post(f"{API}/session", json={"username": "machong", "password": PASSWORD})
    body = answer.json()
    assert body["user"] == {"name": "machong", "role": "responder", "area": MACHONG, "language": "zh"}
    assert body["expires_at"].endswith("Z")
    bearer = {"Authorization": f"Bearer {body['token']}"}
    assert (await house.http.get(f"{API}/session", headers=bearer)).json()["user"]["name"] == "machong"
    assert (await house.http.delete(f"{API}/session", headers=bearer)).status_code == 204
    problem(await house.http.get(f"{API}/session", headers=bearer), 401)


@pytest.mark.parametrize("name", ["dispatcher", "nobody"])
async def test_wrong_logins_are_told_alike_and_then_limited(house: House, name: str) -> None:
    body = {"username": name, "password": "wrong"}
    tried = 0
    while tried < 40:  # a slow machine earns some tries back
        answer = await house.http.post(f"{API}/session", json=body)
        if answer.status_code == 429:
            break
        assert problem(answer, 401)["detail"] == "the name or the password is wrong"
        tried += 1
    assert tried >= 8
    problem(answer, 429)
    assert int(answer.headers["retry-after"]) >= 1
    other = await house.http.post(f"{API}/session", json={"username": "operator", "password": PASSWORD})
    assert other.status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"username": "a"}, {"username": "a", "password": "b", "ticket": "c"}, {"x": 1}]
)
async def test_a_login_body_that_does_not_fit_is_422(house: House, body: dict[str, str]) -> None:
    assert problem(await house.http.post(f"{API}/session", json=body), 422)["errors"]


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer nope"}, {"Authorization": "Basic eA=="}])
async def test_without_a_token_it_is_401(house: House, header: dict[str, str]) -> None:
    answer = await house.http.get(f"{API}/alerts", headers=header)
    problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_roles_are_held(house: House) -> None:
    body = {"kind": "vibration"}
    for user in ("dispatcher", "machong"):
        answer = await house.http.put(f"{API}/devices/X", headers=house.as_user(user), json=body)
        assert "engineer" in problem(answer, 403)["detail"]
    problem(await house.get(f"{API}/quarantine"), 403)
    problem(await house.get(f"{API}/ledger", user="machong"), 403)
    assert (await house.get(f"{API}/quarantine", user="engineer")).status_code == 200
    names = [user["name"] for user in (await house.get(f"{API}/users")).json()["items"]]
    assert names == ["dispatcher", "engineer", "machong", "operator"]


# ---------------------------------------------------------------- errors and documents


async def test_every_error_is_a_problem(house: House) -> None:
    problem(await house.http.get(f"{API}/nothing"), 404)
    problem(await house.http.delete(f"{API}/alerts"), 405)
    problem(await house.get(f"{API}/alerts", limit=5000), 422)
    problem(await house.get(f"{API}/alerts", q="a\0b"), 422)
    problem(await house.get(f"{API}/alerts", cursor="rubbish"), 422)
    problem(await house.get(f"{API}/devices/no.such"), 404)
    problem(await house.get(f"{API}/locate", lon=113, lat=91), 422)
    problem(await house.get(f"{API}/locate", lon="nan", lat=23), 422)
    problem(await house.get(f"{API}/locate", lon=113, lat=23, datum="mars"), 422)
    as_json = {"content-type": "application/json"}
    problem(await house.http.post(f"{API}/session", content=b"x" * 300_000, headers=as_json), 413)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b"x" * 1000

    problem(await house.http.post(f"{API}/session", content=endless(), headers=as_json), 413)


async def test_our_own_mistake_is_a_500_without_its_inside(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("secret inside")

    monkeypatch.setattr("api.routes.places.locate_point", broken)
    assert "secret" not in problem(await house.get(f"{API}/locate", lon=113, lat=23), 500)["detail"]


async def test_documents_health_and_metrics(house: House) -> None:
    openapi = (await house.http.get("/api/openapi.json")).json()
    assert "/api/v1/alerts/{alert_id}/{action}" in openapi["paths"]
    assert (await house.http.get("/api/asyncapi.json")).json()["asyncapi"] == "3.0.0"
    assert (await house.http.get("/healthz")).json() == {"ok": True}
    assert (await house.http.get("/readyz")).status_code == 200
    house.ready["database"] = {"ok": False, "detail": "gone"}
    answer = await house.http.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["database"]["detail"]) == (503, "gone")
    metrics = (await house.http.get("/metrics")).text
    assert "gridpulse_build_info{" in metrics
    assert 'route="/healthz"' in metrics
    assert (await house.http.get(f"{API}/about")).json()["demo"] is True


async def test_answers_carry_protective_headers(house: House) -> None:
    answer = await house.http.get(f"{API}/about")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers
    page = await house.http.get("/js/api.js")
    assert page.headers["cache-control"] == "no-cache"
    assert page.headers["content-type"].startswith("text/javascript")
    again = await house.http.get("/js/api.js", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304
    problem(await house.http.get("/../pyproject.toml"), 404)


# ---------------------------------------------------------------- alerts


async def test_pages_of_alerts_are_whole_and_in_order(house: House) -> None:
    for n in range(7):
        state = "closed" if n % 3 == 2 else "new"
        await house.writer.raised(f"A{n}", severity=1 + n % 4, state=state, started_us=T0_US + n * 1_000_000)
    whole = [a["id"] for a in (await house.get(f"{API}/alerts")).json()["items"]]
    assert whole == ["A4", "A0", "A1", "A6", "A3", "A5", "A2"]
    for limit in (1, 2, 3, 5):
        found: list[str] = []
        cursor = None
        while True:
            query: dict[str, Any] = {"limit": limit} | ({"cursor": cursor} if cursor else {})
            body = (await house.get(f"{API}/alerts", **query)).json()
            found += [a["id"] for a in body["items"]]
            cursor = body["next"]
            if cursor is None:
                break
        assert found == whole


async def test_a_time_window_never_hides_an_open_alert(house: House) -> None:
    await house.writer.raised("open-old")
    await house.writer.raised("closed-old", state="closed")
    later = T0_US + 86_400_000_000
    await house.writer.raised("closed-new", state="closed", started_us=later)
    since = iso(T0_US + 3_600_000_000)
    items = (await house.get(f"{API}/alerts", since=since)).json()["items"]
    assert [a["id"] for a in items] == ["open-old", "closed-new"]
    assert problem(await house.get(f"{API}/alerts", since="2026-01-01T00:00:00"), 422)


async def test_alert_filters(house: House) -> None:
    await house.writer.raised("A", severity=1)
    await house.writer.raised("B", severity=2, town=WANJIANG, kind="fire.smoke")
    await house.writer.raised("C", severity=3, town=None, title={"zh": "100%_奇怪", "en": "odd"})
    await house.writer.raised("D", severity=1, exercise="run-1")
    await house.writer.raised("E", severity=4, state="closed", condition="cleared")
    wanted = {
        "": "ABCE", "severity=1,2": "AB", "severity=1&severity=2": "AB", f"town={WANJIANG}": "B",
        f"grid={MACHONG}001": "AE", "kind=fire.*": "B", "kind=vibration.limit": "ACE", "bbox=113,22,114,24": "ABE",
        "bbox=110,22,111,24": "", "state=open": "ABC", "state=closed": "E", "condition=cleared": "E",
        "q=100%25_": "C", "q=%25": "C", "q=VB-0001": "ABCE", "q=odd": "C", "q=town": "ABE", "exercise=run-1": "D",
        "exercise=any": "ABCDE", "exercise=run-2": "",
    }  # fmt: skip
    for query, ids in wanted.items():
        answer = await house.http.get(f"{API}/alerts?{query}", headers=house.as_user("dispatcher"))
        assert sorted(a["id"] for a in answer.json()["items"]) == list(ids), query
    for wrong in ("severity=5", "severity=x", "state=odd", "bbox=1,2,3", "bbox=a,b,c,d", "condition=odd"):
        problem(await house.http.get(f"{API}/alerts?{wrong}", headers=house.as_user("dispatcher")), 422)


async def test_an_alert_with_history_and_evidence(house: House) -> None:
    await house.writer.raised("A1")
    await house.writer.changed("A1", "cleared", condition="cleared")
    body = (await house.get(f"{API}/alerts/A1")).json()
    assert [h["change"] for h in body["history"]] == ["raised", "cleared"]
    assert body["version"] == 2
    link = body["evidence"]["links"]["waveforms"]
    problem(await house.http.get(link, headers=house.as_user("dispatcher")), 404)  # the device is not registered
    await register(house, sensor())
    assert (await house.http.get(link, headers=house.as_user("dispatcher"))).json()["items"] == []


async def test_other_areas_alerts_and_devices_do_not_exist(house: House) -> None:
    await register(house, sensor("VB-1"), sensor("VB-2", WANJIANG), sensor("VB-3", None))
    await house.writer.raised("mine")
    await house.writer.raised("theirs", town=WANJIANG)
    await house.writer.raised("nowhere", town=None)
    listed = (await house.get(f"{API}/alerts", user="machong")).json()["items"]
    assert [a["id"] for a in listed] == ["mine"]
    for path in ("alerts/theirs", "alerts/nowhere", "devices/VB-2", "devices/VB-3", "readings?device=VB-2"):
        answer = await house.http.get(f"{API}/{path}", headers=house.as_user("machong"))
        problem(answer, 404)
    act = await house.http.post(
        f"{API}/alerts/theirs/acknowledge", headers=house.as_user("machong"), json={"version": 1}
    )
    problem(act, 404)
    devices = (await house.get(f"{API}/devices", user="machong")).json()["items"]
    assert [d["id"] for d in devices] == ["VB-1"]
    figures = (await house.get(f"{API}/stats/alarms", user="machong")).json()
    assert figures["totals"]["open"] == 1


async def test_actions_and_their_refusals(house: House) -> None:
    await house.writer.raised("A1")
    path = f"{API}/alerts/A1"

    async def act(action: str, user: str = "dispatcher", **body: Any) -> httpx2.Response:
        return await house.http.post(f"{path}/{action}", headers=house.as_user(user), json=body)

    done = await act("acknowledge", version=1)
    assert (done.json()["state"], done.json()["version"]) == ("acknowledged", 2)
    conflict = problem(await act("acknowledge", version=1), 409)
    assert conflict["current"]["version"] == 2
    assert "assignee" in problem(await act("assign", version=2), 422)["detail"]
    problem(await act("assign", user="machong", version=2, assignee="li"), 403)
    problem(await act("acknowledge", version=0), 422)
    problem(await act("acknowledge", version=2, color="red"), 422)
    problem(await act("explode", version=2), 422)
    assert (await act("close", version=2, reason="done")).status_code == 200
    problem(await act("close", version=3), 409)
    problem(await house.http.post(f"{API}/alerts/none/close", headers=house.as_user("dispatcher"),
                                  json={"version": 1}), 404)  # fmt: skip


async def test_alarm_figures(house: House) -> None:
    for n in range(4):
        await house.writer.raised(f"A{n}", severity=2, started_us=T0_US + n * 1_000_000)
    await house.writer.raised("closed", severity=1, state="closed")
    query = {"from": iso(T0_US - 1), "to": iso(T0_US + 3_600_000_000)}
    body = (await house.get(f"{API}/stats/alarms", **query)).json()
    assert body["totals"] == {
        "raised": 5, "open": 4, "unacknowledged": 4, "shelved": 0, "alone": 5, "incidents": 0, "operator_alarms": 5,
    }  # fmt: skip
    assert body["peak_per_10_min"] == 5
    assert body["top"][0] == {"device": "VB-0001", "kind": "vibration.limit", "alerts": 5}


# ---------------------------------------------------------------- devices and what they sent


async def test_a_device_from_put_to_delete(house: House) -> None:
    path, engineer = f"{API}/devices/CAM-1", house.as_user("engineer")
    camera = {"bearing_deg": 0, "fov_deg": 60, "range_m": 200}
    body = {"kind": "camera", "lon": 113.6, "lat": 23.0, "camera": camera}
    assert "datum" in problem(await house.http.put(path, headers=engineer, json=body), 422)["detail"]
    made = await house.http.put(path, headers=engineer, json={**body, "datum": "gcj02"})
    assert made.status_code == 201
    device = made.json()
    assert 0.001 < abs(device["location"]["lon"] - 113.6) < 0.01
    assert device["place"]["town"] == MACHONG
    assert (device["status"], device["camera"]["fov_deg"]) == ("silent", 60)
    again = await house.http.put(path, headers=engineer, json={**body, "datum": "wgs84", "disabled": True})
    assert (again.status_code, again.json()["disabled"]) == (200, True)
    near = await house.get(f"{API}/cameras/near", lon=113.6, lat=22.999)
    assert near.json()["items"] == []  # disabled
    await house.http.put(path, headers=engineer, json={**body, "datum": "wgs84"})
    north, south = [
        (await house.get(f"{API}/cameras/near", lon=113.6, lat=lat)).json()["items"][0] for lat in (23.001, 22.999)
    ]
    assert (north["in_view"], south["in_view"]) == (True, False)
    assert 100 < north["distance_m"] < 120
    assert (await house.http.delete(path, headers=engineer)).status_code == 204
    problem(await house.http.delete(path, headers=engineer), 404)


async def test_lists_of_devices(house: House) -> None:
    await register(house, sensor("B"), sensor("A", WANJIANG), sensor("C"), sensor("A", WANJIANG, run="run-1"))
    async with house.pool.connection() as conn:
        await conn.execute("UPDATE device SET last_seen = now(), online = true WHERE id = 'B'")
        await conn.execute("UPDATE device SET last_seen = now(), online = false WHERE id = 'C'")

    async def ids(**query: Any) -> list[str]:
        return [d["id"] for d in (await house.get(f"{API}/devices", **query)).json()["items"]]

    assert await ids() == ["A", "B", "C"]
    assert await ids(exercise="any") == ["A", "A", "B", "C"]
    assert [await ids(status=s) for s in ("online", "offline", "silent")] == [["B"], ["C"], ["A"]]
    assert await ids(town=WANJIANG) == ["A"]
    assert await ids(q="b") == ["B"]
    assert await ids(kind="camera") == []
    first = (await house.get(f"{API}/devices", limit=2)).json()
    assert await ids(limit=2, cursor=first["next"]) == ["C"]
    problem(await house.get(f"{API}/alerts", cursor=first["next"]), 422)


async def test_readings_raw_and_by_step(house: House) -> None:
    (key,) = await register(house, sensor())
    await insert_readings(house, key, 120)
    query = {"device": "VB-0001", "metric": "ppv_mm_s", "from": iso(T0_US), "to": iso(T0_US + 120_000_000)}
    raw = (await house.get(f"{API}/readings", **query)).json()
    assert [r["value"] for r in raw["items"]] == list(range(120))
    assert raw["items"][0]["t"] == iso(T0_US).replace(".000000", "")
    by_minute = (await house.get(f"{API}/readings", **query, step="1m")).json()["items"]
    assert sum(b["count"] for b in by_minute) == 120
    assert (by_minute[0]["min"], by_minute[-1]["max"]) == (0, 119)
    assert by_minute[0]["value"] == by_minute[0]["avg"]
    problem(await house.get(f"{API}/readings", **{**query, "metric": "nope"}), 404)
    problem(await house.get(f"{API}/readings", **{**query, "device": "nope"}), 404)
    problem(await house.get(f"{API}/readings", **{**query, "from": query["to"]}), 422)
    problem(await house.get(f"{API}/readings", **query, step="0"), 422)


async def test_too_many_points_name_the_smallest_step(house: House) -> None:
    (key,) = await register(house, sensor())
    await insert_readings(house, key, 10_500)
    query = {"device": "VB-0001", "from": iso(T0_US), "to": iso(T0_US + 86_400_000_000)}
    for step in ({}, {"step": "1s"}):
        detail = problem(await house.get(f"{API}/readings", **query, **step), 422)["detail"]
        assert "smallest step here is 9 s" in detail
    assert (await house.get(f"{API}/readings", **query, step="9s")).status_code == 200


async def insert_packets(house: House, key: int, count: int) -> None:
    rate, n = 100, 100
    async with house.pool.connection() as conn:
        for i in range(count):
            samples = np.zeros((3, n), "<i2")
            samples[0] = np.arange(n)
            await conn.execute(
                """INSERT INTO waveform (time, device, rate_hz, unit, n, axes, encoding, scale, seq, late, samples)
                   VALUES (%s, %s, %s, 'mm/s', %s, 5, 'i2', 0.5, %s, false, %s)""",
                [from_us(T0_US + i * 1_000_000), key, rate, n, i, samples.tobytes()],
            )


async def test_waveforms_are_joined_and_thinned(house: House) -> None:
    (key,) = await register(house, sensor())
    await insert_packets(house, key, 60)
    query = {"device": "VB-0001", "from": iso(T0_US), "to": iso(T0_US + 10_000_000)}
    body = (await house.get(f"{API}/waveforms", **query)).json()
    (item,) = body["items"]
    assert (body["decimated"], item["rate_hz"], item["unit"]) == (False, 100, "mm/s")
    assert len(item["x"]) == 1000
    assert item["x"][:3] == [0, 0.5, 1.0]
    assert "y" not in item
    thinned = (await house.get(f"{API}/waveforms", **{**query, "to": iso(T0_US + 60_000_000)})).json()
    (item,) = thinned["items"]
    assert thinned["decimated"] is True
    assert len(item["x"]) + len(item["z"]) <= 10_000
    assert max(item["x"]) == 49.5


async def test_a_track_with_its_legs(house: House) -> None:
    (key,) = await register(house, DeviceRow(id="MT-01", kind="vehicle"))
    now = now_us()
    async with house.pool.connection() as conn:
        for n, lon in enumerate([113.60, 113.62, 113.66, 113.70]):
            await conn.execute(
                "INSERT INTO position (time, device, lon, lat, seq, late) VALUES (%s, %s, %s, 23.0, %s, false)",
                [from_us(now - (4 - n) * 180_000_000), key, lon, n],
            )
    body = (await house.get(f"{API}/vehicles/MT-01/track")).json()
    assert [(leg["town"], leg["points"]) for leg in body["legs"]] == [(MACHONG, 2), (WANJIANG, 2)]
    mine = (await house.get(f"{API}/vehicles/MT-01/track", user="machong")).json()
    assert [p["lon"] for p in mine["items"]] == [113.60, 113.62]
    async with house.live("machong") as client:
        await client.send(type="subscribe", id="v", channel="vehicles")
        await client.send(type="subscribe", id="w", channel="vehicles")
        await client.send(type="ping")
        await client.until("pong")
    async with house.live() as client:
        await client.send(type="subscribe", id="v", channel="vehicles")
        (item,) = (await client.until("vehicles"))["items"]
        assert (item["id"], item["lon"]) == ("MT-01", 113.70)


async def test_ledger_and_quarantine(house: House) -> None:
    (key,) = await register(house, sensor())
    async with house.pool.connection() as conn:
        await conn.execute(
            """INSERT INTO ledger_minute (minute, device, received, stored, duplicate, rejected, quarantined)
               VALUES (date_trunc('minute', now()), %s, 10, 7, 1, 1, 1),
                      (date_trunc('minute', now()), 0, 2, 0, 0, 0, 2)""",
            [key],
        )
        await conn.execute(
            """INSERT INTO quarantine (received_at, topic, device_id, reason, detail, payload, digest)
               VALUES (now(), 'sensors/x/readings', 'x', 'not_json', 'no', %s, '1')""",
            [b"\xff{"],
        )
    rows = (await house.get(f"{API}/ledger")).json()["items"]
    assert [(r["device"], r["received"], r["balanced"]) for r in rows] == [(None, 2, True), ("VB-0001", 10, True)]
    first = (await house.get(f"{API}/ledger", limit=1)).json()
    rest = (await house.get(f"{API}/ledger", limit=1, cursor=first["next"])).json()
    assert [r["device"] for r in first["items"] + rest["items"]] == [None, "VB-0001"]
    assert len((await house.get(f"{API}/ledger", device="VB-0001")).json()["items"]) == 1
    (kept,) = (await house.get(f"{API}/quarantine", user="engineer")).json()["items"]
    assert (kept["reason"], kept["head"]) == ("not_json", "\ufffd{")


async def test_quarantine_keeps_to_the_area(house: House) -> None:
    await register(house, sensor("HERE"), sensor("THERE", WANJIANG))
    async with house.pool.connection() as conn:
        user = {"name": "eng", "password_hash": password_hash(), "role": "engineer", "area": MACHONG, "demo": False}
        await conn.execute(ADD_USER, user)
        house.tokens["eng"] = await issue_token(conn, "eng")
        await conn.execute(
            """INSERT INTO quarantine (received_at, topic, device_id, reason, detail, payload, digest)
               SELECT now(), 'sensors/x/readings', id, 'not_json', 'no', 'secret', id::bytea
               FROM unnest(%s::text[]) AS given (id)""",
            [["HERE", "THERE", "NOBODY"]],
        )

    async def devices(user: str) -> set[str]:
        return {item["device_id"] for item in (await house.get(f"{API}/quarantine", user=user)).json()["items"]}

    assert await devices("engineer") == {"HERE", "THERE", "NOBODY"}
    assert await devices("eng") == {"HERE"}


# ---------------------------------------------------------------- places


async def insert_places(house: House) -> None:
    outline = '{"type":"Polygon","coordinates":[[[113.5,23.0],[113.6,23.0],[113.6,23.1],[113.5,23.0]]]}'
    async with house.pool.connection() as conn:
        for town, name in ((MACHONG, "麻涌镇"), (WANJIANG, "万江街道")):
            await conn.execute(
                "INSERT INTO region (code, level, name, outline, version) VALUES (%s, 'town', %s, %s, 'v1')",
                [town, name, outline],
            )
            cell = town + "001001"
            await conn.execute(
                "INSERT INTO grid_cell (code, village, town, outline, version) VALUES (%s, %s, %s, %s, 'v1')",
                [cell, town + "001", town, outline],
            )
            await conn.execute(
                "INSERT INTO address (id, text, grid, lon, lat, version) VALUES (%s, %s, %s, 113.55, 23.05, 'v1')",
                [cell + "0000000001", f"{name}新沙路1号", cell],
            )


async def test_places(house: House) -> None:
    await insert_places(house)
    located = (await house.get(f"{API}/locate", lon=113.6, lat=23.0)).json()
    assert (located["town"], located["datum"]) == (MACHONG, "wgs84")
    regions = (await house.get(f"{API}/regions", level="town", limit=1)).json()
    assert regions["items"][0]["outline"]["type"] == "Polygon"
    more = (await house.get(f"{API}/regions", limit=1, cursor=regions["next"])).json()
    assert more["items"][0]["name"] == "麻涌镇"
    inside = (await house.get(f"{API}/grids", bbox="113.55,23.0,113.56,23.2", limit=1)).json()
    rest = (await house.get(f"{API}/grids", bbox="113.55,23.0,113.56,23.2", limit=1, cursor=inside["next"])).json()
    assert [c["town"] for c in inside["items"] + rest["items"]] == [WANJIANG, MACHONG]
    assert (await house.get(f"{API}/grids", bbox="110,20,111,21")).json()["items"] == []
    assert len((await house.get(f"{API}/grids", within=MACHONG)).json()["items"]) == 1
    problem(await house.get(f"{API}/grids"), 422)
    (found,) = (await house.get(f"{API}/addresses", q="麻涌 新沙路")).json()["items"]
    assert (await house.get(f"{API}/addresses/{found['id']}")).json()["town"] == MACHONG
    problem(await house.get(f"{API}/addresses/{'1' * 25}"), 404)
    refused = problem(await house.get(f"{API}/addresses/{'1' * 22}"), 422)
    assert "25 digits here" in str(refused)
    routed = (await house.get(f"{API}/route", kind="fire.smoke", severity=2, lon=113.6, lat=23.0)).json()
    assert (routed["duty"][0]["role"], routed["steps"]) == ("lead", [f"fire.smoke 2 {MACHONG}"])
    problem(await house.get(f"{API}/route", severity=2, lon=113.6, lat=23.0), 422)
