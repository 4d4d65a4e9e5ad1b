"""Borders, areas, zones and cameras over HTTP: the real wiring on a real database with a small made-up city."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from alerting.service import AlertService
from db.devices import DeviceRow, upsert_devices
from db.pool import Pool
from domain.devices import Device
from geo.key_places import KeyPlace, put_key_places, replace_generated
from geo.locate import Locator
from geo.store import load_locator, write_city
from server.places import Places
from server.settings import Settings
from server.wiring import build
from simulators.city import seed_demo
from tests.integration.api_house import Writer, make_users
from tests.unit.alerting.blocks import block, default_rules, readings
from tests.unit.alerting.fake_store import FakeStore
from tests.unit.geo.two_towns import PLANE, A, B, two_towns

pytestmark = pytest.mark.stack

API = "/api/v1"
CELL = f"{A}001002"


def lonlat(x_m: float, y_m: float) -> tuple[float, float]:
    lon, lat = PLANE.to_lonlat(x_m, y_m)
    return float(lon), float(lat)


def camera(id_: str, x_m: float, y_m: float, bearing_deg: float | None) -> DeviceRow:
    lon, lat = lonlat(x_m, y_m)
    lens = (bearing_deg, 70.0, 120.0, 6.0, None)
    return DeviceRow(id_, "camera", lon=lon, lat=lat, camera=lens)


@dataclass
class Town:
    """The server's application, with alerts written by hand."""

    http: httpx2.AsyncClient
    pool: Pool
    writer: Writer
    tokens: dict[str, str]

    async def get(self, path: str, user: str = "dispatcher", **query: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.tokens[user]}"}
        return await self.http.get(f"{API}{path}", headers=headers, params=query)

    async def json(self, path: str, **query: Any) -> dict[str, Any]:
        answer = await self.get(path, **query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def alert(self, id_: str, x_m: float, y_m: float, **given: Any) -> None:
        lon, lat = lonlat(x_m, y_m)
        body = {"kind": "fire.smoke", "severity": 1, "location": {"lon": lon, "lat": lat}, **given}
        await self.writer.raised(id_, town=A, **body)


@pytest.fixture
async def town(pool: Pool, database_url: str) -> AsyncIterator[Town]:
    regions, cells, addresses = two_towns()
    async with pool.connection() as conn:
        await write_city(conn, regions, cells, addresses, version="two-towns", generated=False)
        locator = await load_locator(conn)
        sensors = [
            DeviceRow(f"SM-{n}", "smoke", lon=lon, lat=lat)
            for n, (lon, lat) in enumerate((lonlat(-500, 510), lonlat(-500, 600), lonlat(-500, 5000)), 1)
        ]
        await upsert_devices(
            conn,
            [*sensors, camera("C-sees", -500, 460, 0.0), camera("C-away", -500, 480, 180.0),
             camera("C-doubt", -500, 490, None), camera("C-far", -500, 900, 180.0)],
        )  # fmt: skip
        await put_key_places(
            conn,
            [KeyPlace("KP-1", "school", "甲一小", *lonlat(-420, 500), people=900),
             KeyPlace("KP-2", "nursing_home", "乙养老院", *lonlat(-100, 500))],
            locator, version="test",
        )  # fmt: skip
        tokens = await make_users(conn)
    settings = Settings.model_validate({})
    async with build(settings, database_url, None, role="api", demo=False) as house:
        transport = httpx2.ASGITransport(app=house.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as http:
            yield Town(http, pool, Writer(pool), tokens)


# ---------------------------------------------------------------- zones


async def test_a_red_alert_has_its_three_rings(town: Town) -> None:
    await town.alert("a1", -500, 500)
    found = await town.json("/alerts/a1/zones")
    assert found["radii_m"] == [50, 200, 500]
    inner, middle, outer = found["rings"]
    assert [ring["action"] for ring in found["rings"]] == ["evacuate", "control", "notify"]
    units = {recipient["unit"] for recipient in inner["recipients"]}
    assert units == {f"town:{A}:fire", f"village:{A}001", f"grid:{CELL}"}
    assert {r["name"]["zh"] for r in inner["recipients"]} >= {"甲镇消防救援大队"}
    assert [r["unit"] for r in middle["recipients"]] == [f"town:{A}:police", f"village:{A}001"]
    assert f"village:{B}001" in [r["unit"] for r in outer["recipients"]]
    assert [d["id"] for d in inner["devices"]] == ["SM-1"]
    assert [d["id"] for d in middle["devices"]] == ["SM-2"]
    assert {c["id"] for c in inner["cameras"]} == {"C-sees", "C-away", "C-doubt"}
    assert [k["id"] for ring in (inner, middle, outer) for k in ring["key_places"]] == ["KP-1", "KP-2"]
    assert middle["key_places"][0]["people"] == 900
    assert [a["text"] for a in inner["addresses"]] == ["一号", "二号"]
    assert inner["counts"] == {
        "devices": 1, "cameras": 3, "key_places": 0, "addresses": 2, "grids": 1, "villages": 1, "towns": 1,
    }  # fmt: skip
    assert outer["counts"]["cameras"] == 1
    assert [t["code"] for t in outer["towns"]] == [A, B]
    assert "fire.*" in found["because"]


async def test_a_milder_alert_has_rings_but_nobody_is_sent(town: Town) -> None:
    await town.alert("a2", -500, 500, severity=2)
    found = await town.json("/alerts/a2/zones", radii="100,300")
    assert [(r["from_m"], r["to_m"], r["action"], r["recipients"]) for r in found["rings"]] == [
        (0, 100, None, []), (100, 300, None, []),
    ]  # fmt: skip
    assert "no rule" in found["because"]


async def test_the_citys_own_rules_are_followed(town: Town) -> None:
    async with town.pool.connection() as conn:
        await conn.execute(
            """INSERT INTO zone_rule (kind, severity_min, radius_m, action, level, name, name_en, why)
               VALUES ('fire.smoke', 2, 120, 'control', 'town', '{place}', '{place}', 'own')"""
        )
    await town.alert("a3", -500, 500, severity=2)
    (ring,) = (await town.json("/alerts/a3/zones"))["rings"]
    assert (ring["to_m"], ring["action"], ring["recipients"][0]["unit"]) == (120, "control", f"town:{A}")


async def test_contents_come_in_pages_nearest_first(town: Town) -> None:
    await town.alert("a4", -500, 500)
    first = await town.json("/alerts/a4/zones/cameras", limit=2)
    assert [c["id"] for c in first["items"]] == ["C-doubt", "C-away"]
    rest = await town.json("/alerts/a4/zones/cameras", limit=2, cursor=first["next"])
    assert [(c["id"], c["ring"]) for c in rest["items"]] == [("C-sees", 1), ("C-far", 3)]
    assert rest["next"] is None
    only = await town.json("/alerts/a4/zones/addresses", ring=1)
    assert [(a["text"], a["distance_m"]) for a in only["items"]] == [("一号", 0.0), ("二号", 20.0)]
    assert (await town.json("/alerts/a4/zones/key_places", ring=3))["items"][0]["id"] == "KP-2"


async def test_what_cannot_be_asked_is_told(town: Town) -> None:
    await town.alert("a5", -500, 500)
    await town.alert("a6", -500, 500, location=None)
    for path, query, status in (
        ("/alerts/a5/zones", {"radii": "500,50"}, 422),
        ("/alerts/a5/zones", {"radii": "near"}, 422),
        ("/alerts/a5/zones/cameras", {"ring": 4}, 422),
        ("/alerts/a5/zones/people", {}, 422),
        ("/alerts/a6/zones", {}, 404),
        ("/alerts/a6/cameras", {}, 404),
        ("/alerts/none/zones", {}, 404),
        ("/cameras/SM-1/alerts", {}, 404),
        ("/route/area", {"kind": "fire", "severity": 1, "point": "113"}, 422),
        ("/route/area", {"kind": "fire", "severity": 1, "point": ["113,23", "1,2,3"]}, 422),
        ("/route/area", {"severity": 1, "point": "113,23"}, 422),
    ):
        assert (await town.get(path, **query)).status_code == status, (path, query)
    assert (await town.get("/alerts/a5/zones", user="machong")).status_code == 404


# ---------------------------------------------------------------- cameras


async def test_cameras_of_an_alert_in_order(town: Town) -> None:
    await town.alert("b1", -500, 500)
    found = await town.json("/alerts/b1/cameras")
    assert [(c["id"], c["can_see"], c["can_confirm"]) for c in found["items"]] == [
        ("C-sees", True, True), ("C-doubt", None, None), ("C-away", False, False), ("C-far", False, False),
    ]  # fmt: skip
    assert (found["items"][0]["bearing_deg"], found["items"][0]["off_axis_deg"]) == (0.0, 0.0)
    assert "flames" in found["look_for"]["en"]
    await town.alert("b2", -500, 500, kind="vibration.limit")
    shaking = await town.json("/alerts/b2/cameras")
    assert (shaking["look_for"], shaking["items"][0]["can_see"], shaking["items"][0]["can_confirm"]) == (
        None, True, False,
    )  # fmt: skip
    lon, lat = lonlat(-500, 500)
    near = await town.json("/cameras/near", lon=lon, lat=lat, radius_m=100)
    assert [c["id"] for c in near["items"]] == ["C-sees", "C-doubt", "C-away"]


async def test_what_a_cameras_picture_can_confirm(town: Town) -> None:
    await town.alert("b3", -500, 500)
    await town.alert("b4", -500, 500, kind="vibration.limit")
    await town.alert("b5", -500, 400)
    items = (await town.json("/cameras/C-sees/alerts"))["items"]
    assert [item["alert"]["id"] for item in items] == ["b3"]
    assert (await town.json("/cameras/C-doubt/alerts"))["items"] == []


# ---------------------------------------------------------------- borders and areas


async def test_a_point_near_a_border_is_routed_to_both_sides_with_one_lead(town: Town) -> None:
    lon, lat = lonlat(-8, 500)
    assert (await town.json("/locate", lon=lon, lat=lat))["neighbours"] == [f"{B}001001"]
    found = await town.json("/route", lon=lon, lat=lat, kind="fire.smoke", severity=2)
    assert [d["unit"] for d in found["duty"] if d["role"] == "lead"] == [f"town:{A}:fire"]
    beside = next(d for d in found["duty"] if d["unit"] == f"town:{B}:fire")
    assert (beside["role"], "乙一村001网格" in beside["why"]) == ("co", True)
    assert any(step["row"] == f"town:{B}:fire" for step in found["steps"])
    lon, lat = lonlat(-500, 500)
    assert "neighbours" not in await town.json("/locate", lon=lon, lat=lat)


async def test_an_area_event_goes_to_the_lowest_unit_that_holds_it(town: Town) -> None:
    async def unit(*metres: tuple[float, float]) -> tuple[str, str]:
        points = [",".join(map(str, lonlat(*each))) for each in metres]
        found = await town.json("/route/area", point=points, kind="vibration.limit", severity=2)
        assert sum(duty["role"] == "lead" for duty in found["duty"]) == 1
        return found["unit"]["level"], found["unit"]["code"]

    assert await unit((-500, 500)) == ("grid", CELL)
    assert await unit((-500, 500), (-1500, 500)) == ("village", f"{A}001")
    assert await unit((-500, 500), (-500, 1500)) == ("town", A)
    assert await unit((-500, 500), (500, 500)) == ("city", "441900")


async def test_an_alert_near_a_border_is_raised_with_both_sides(pool: Pool) -> None:
    regions, cells, addresses = two_towns()
    places = Places(Locator.build(regions, cells, addresses, "two-towns"))
    lon, lat = lonlat(6, 500)
    device = Device(1, "T-1", "smoke", lon=lon, lat=lat)
    store = FakeStore()
    t_us = 1_790_000_000_000_000
    service = AlertService(
        store, default_rules(), device=lambda key: device, metric_names=lambda: ["none", "temperature_c"],
        place=places.of_detections, now_us=lambda: t_us,
    )  # fmt: skip
    await service.start()
    await service.handle(block(readings([(1, 1, t_us, 80.0)]), committed_us=t_us))
    body = store.changes[0][4]
    assert (body["place"]["town"], body["place"]["neighbours"]) == (B, [CELL])
    assert [duty["unit"] for duty in body["duty"] if duty["role"] == "lead"] == [f"town:{B}:fire"]
    assert f"town:{A}:fire" in [duty["unit"] for duty in body["duty"] if duty["role"] == "co"]


# ---------------------------------------------------------------- key places


async def test_key_places_are_compared_and_replaced(pool: Pool) -> None:
    regions, cells, addresses = two_towns()
    locator = Locator.build(regions, cells, addresses, "two-towns")
    rows = [KeyPlace("KP-1", "school", "学校", *lonlat(-500, 500)), KeyPlace("KP-2", "market", "市场", 113.0, 20.0)]
    async with pool.connection() as conn:
        dry = await put_key_places(conn, rows, locator, version="v1", dry_run=True)
        first = await put_key_places(conn, rows, locator, version="v1")
        renamed = [rows[0], KeyPlace("KP-2", "market", "新", 113.0, 20.0)]
        again = await put_key_places(conn, renamed, locator, version="v2")
        stored = await (await conn.execute("SELECT id, name, grid, version FROM key_place ORDER BY id")).fetchall()
        await replace_generated(conn, [KeyPlace("KP-9", "other", "x", 113.0, 23.0, generated=True)], version="g1")
        await replace_generated(conn, [KeyPlace("KP-8", "other", "x", 113.0, 23.0, generated=True)], version="g2")
        kept = await (await conn.execute("SELECT id FROM key_place ORDER BY id")).fetchall()
    assert (dry.new, first.new, (again.new, again.changed, again.same)) == (2, 2, (0, 1, 1))
    assert stored == [("KP-1", "学校", CELL, "v2"), ("KP-2", "新", None, "v2")]
    assert [row[0] for row in kept] == ["KP-1", "KP-2", "KP-8"]


async def test_the_demo_city_brings_its_key_places_also_to_a_home_from_before(pool: Pool) -> None:
    async with pool.connection() as conn:
        await seed_demo(conn)
        first = await (await conn.execute("SELECT count(*), bool_and(generated) FROM key_place")).fetchone()
        await conn.execute("DELETE FROM key_place")
        assert not (await seed_demo(conn)).written
        again = await (await conn.execute("SELECT count(*), bool_and(generated) FROM key_place")).fetchone()
    assert first == again == (33 * 15, True)
