"""The seed's truck: loaded in 麻涌, by 望牛墩 or 洪梅 and 道滘 to 万江. Whose is it, and when?

From MQTT to the WebSocket, in compressed time: positions of the last forty minutes,
with late ones and jitter on a border; and again in the datum trap.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import aiomqtt
import numpy as np
import pytest
import shapely

from api.accounts import add_user
from db.pool import connect
from geo.datum import from_wgs84
from geo.locate import Locator
from geo.store import load_locator, load_outlines
from ingest.endpoint import Endpoint
from simulators.scenarios.muck_truck import EVERY_S, SPEED_KMH, Way
from simulators.scenarios.route import MUCK_ROUTE
from tests.acceptance.live import Live, live_feed
from tests.fix_server import LiveServer

pytestmark = pytest.mark.stack

MACHONG, HONGMEI, WANGNIUDUN = "441900126", "441900125", "441900127"
DAOJIAO, WANJIANG, DONGCHENG = "441900124", "441900005", "441900003"
PEOPLE = {"t-machong": MACHONG, "t-hongmei": HONGMEI, "t-wangniudun": WANGNIUDUN, "t-daojiao": DAOJIAO,
          "t-wanjiang": WANJIANG, "t-dongcheng": DONGCHENG}  # fmt: skip
FIVE = [MACHONG, WANGNIUDUN, HONGMEI, DAOJIAO, WANJIANG]
WITHIN_S = 30.0


def positions(
    opens: tuple[float, float] = (0.55, 0.60), route: Sequence[tuple[float, float]] = MUCK_ROUTE
) -> list[dict[str, Any]]:
    """The whole way, newest now, with 3 m of noise; the cover opens on the share ``opens`` of it."""
    rng, line = np.random.default_rng(7), Way.along(route)
    step_m = SPEED_KMH / 3.6 * EVERY_S
    count = int(line.length_m / step_m) + 1
    began = time.time() - count * EVERY_S
    found = []
    for n in range(count):
        share = n / (count - 1)
        lon, lat, heading = line.at(n * step_m)
        east, north = rng.normal(0, 3e-5, 2)
        found.append({
            "t": began + n * EVERY_S, "seq": n + 1, "lon": lon + east, "lat": lat + north, "datum": "wgs84",
            "speed_kmh": SPEED_KMH, "heading_deg": heading, "bed": "loaded" if share < 0.98 else "empty",
            "cover": "open" if opens[0] <= share < opens[1] else "closed",
        })  # fmt: skip
    return found


def late(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every tenth message comes a few places later than it was taken."""
    waiting = [(n, message) for n, message in enumerate(sent)]
    waiting.sort(key=lambda item: item[0] + (6.5 if item[0] % 10 == 3 else 0))
    return [message for _, message in waiting]


def jitter(sent: list[dict[str, Any]], town_of: Callable[[float, float], str | None]) -> list[dict[str, Any]]:
    """The same way, but the truck waits two minutes on its first border, hopping over it with each point."""
    here, there = next(
        (a, b) for a, b in pairwise(sent) if town_of(a["lon"], a["lat"]) != town_of(b["lon"], b["lat"])
    )
    low, high = 0.0, 1.0
    for _ in range(20):  # the border between the two points
        middle = (low + high) / 2
        lon, lat = (here[k] + (there[k] - here[k]) * middle for k in ("lon", "lat"))
        low, high = (middle, high) if town_of(lon, lat) == town_of(here["lon"], here["lat"]) else (low, middle)
    waits = []
    for n in range(24):
        share = low + (0.1 if n % 2 else -0.1)  # 6 m to both sides
        lon, lat = (here[k] + (there[k] - here[k]) * share for k in ("lon", "lat"))
        waits.append({**here, "t": here["t"] + 1 + n * 5, "lon": lon, "lat": lat, "speed_kmh": 0.0})
    cut = sent.index(there)
    before = [{**m, "t": m["t"] - 125} for m in sent[:cut]]
    waits = [{**m, "t": m["t"] - 125} for m in waits]
    return [{**m, "seq": n + 1} for n, m in enumerate([*before, *waits, *sent[cut:]])]


async def publish(server: LiveServer, vehicle: str, messages: list[dict[str, Any]]) -> None:
    endpoint = Endpoint.parse(server.mqtt_url)
    async with aiomqtt.Client(
        endpoint.host, endpoint.port, username=endpoint.username, password=endpoint.password
    ) as client:
        for message in messages:
            await client.publish(f"vehicles/{vehicle}/position", json.dumps(message).encode(), qos=1)


@asynccontextmanager
async def people(server: LiveServer) -> AsyncIterator[dict[str, Live]]:
    """An account for each town on the way and one beside it, all watching vehicles and alerts."""
    async with await connect(server.server.database_url, name="test-accounts") as conn:
        known = [row[0] for row in await (await conn.execute("SELECT name FROM app_user")).fetchall()]
        for name, area in PEOPLE.items():
            if name not in known:
                await add_user(conn, name, "a long password 1", "responder", area)
    async with AsyncExitStack() as stack:
        found = {}
        for name in (*PEOPLE, "dispatcher"):
            token = await asyncio.to_thread(server.server.token, name)
            live = await stack.enter_async_context(live_feed(server.base_url, token))
            await live.send({"type": "subscribe", "id": "v", "channel": "vehicles"})
            await live.send({"type": "ping"})
            await live.frame(lambda f: f["type"] == "pong")
            found[name] = live
        yield found


async def trip_of(server: LiveServer, vehicle: str) -> dict[str, Any]:
    """The vehicle's newest trip once it has ended."""
    token = await asyncio.to_thread(server.server.token)
    end = time.monotonic() + WITHIN_S
    while True:
        items = (await asyncio.to_thread(server.server.get, f"/vehicles/{vehicle}/trips", token))["items"]
        if items and items[0]["state"] == "ended":
            trip: dict[str, Any] = items[0]
            return trip
        assert time.monotonic() < end, items
        await asyncio.sleep(0.1)


async def handovers(live: Live, vehicle: str, count: int) -> list[dict[str, Any]]:
    """The first hand-overs of a vehicle that this client gets."""

    def mine(frame: dict[str, Any]) -> bool:
        return bool(frame["type"] == "handover" and frame["vehicle"] == vehicle)

    found = [frame for frame in live.frames if mine(frame)]
    while len(found) < count:
        found.append(await live.frame(mine))
    return found


def check_way(trip: dict[str, Any]) -> list[str]:
    """The legs' towns, which are the seed's."""
    towns = [leg["town"] for leg in trip["legs"]]
    assert (towns[0], towns[-1]) == (MACHONG, WANJIANG)
    assert set(towns) <= {MACHONG, HONGMEI, WANGNIUDUN, DAOJIAO, WANJIANG}
    assert DAOJIAO in towns
    assert all(a != b for a, b in pairwise(towns))
    times = [moment for leg in trip["legs"] for moment in (leg["from"], leg["to"])]
    assert times == sorted(times)
    return towns


async def case_of(server: LiveServer, trip: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    async with await connect(server.server.database_url, name="test-case") as conn:
        rows = await (await conn.execute(
            "SELECT stage, body FROM case_file WHERE body ->> 'trip' = %s", [trip["id"]]
        )).fetchall()  # fmt: skip
        steps = await (await conn.execute(
            "SELECT body FROM case_step WHERE case_id = %s ORDER BY id", [trip["case"]]
        )).fetchall()  # fmt: skip
    [(stage, body)] = rows
    assert stage == "prepared"
    return body, [step[0] for step in steps]


async def test_the_truck_that_crosses_towns(live_server: LiveServer) -> None:
    async with await connect(live_server.server.database_url, name="test-places") as conn:
        locator = await load_locator(conn)

    def town_of(lon: float, lat: float) -> str | None:
        return locator.points(np.array([lon]), np.array([lat]))[0].town

    async with people(live_server) as watching:
        await publish(live_server, "MT-01", late(jitter(positions(), town_of)))
        trip = await trip_of(live_server, "MT-01")
        towns = check_way(trip)
        assert trip["origin"]["site"]["id"] == "SITE-0001"
        assert trip["destination"]["site"]["id"] == "TIP-0001"
        assert trip["suspicions"] == []

        # Each border: the town left is told, the town entered is told, nobody else.
        everything = await handovers(watching["dispatcher"], "MT-01", len(towns) - 1)
        assert [(h["left"]["town"], h["entered"]["town"]) for h in everything] == list(pairwise(towns))
        assert [h["seq"] for h in everything] == sorted(h["seq"] for h in everything)
        for name, area in PEOPLE.items():
            expected = [(a, b, area == b) for a, b in pairwise(towns) if area in (a, b)]
            got = await handovers(watching[name], "MT-01", len(expected))
            assert [(h["left"]["town"], h["entered"]["town"], h["yours"]) for h in got] == expected, name
            for h in got:
                assert ("现归你处" in h["text"]["zh"]) == h["yours"]
                assert ("it is now yours" in h["text"]["en"]) == h["yours"]
        assert not [f for f in watching["t-dongcheng"].frames if f["type"] == "handover"]

        # The open cover belongs to the town where it was.
        [violation] = trip["violations"]
        assert violation["kind"] == "truck.uncovered"
        owner = violation["town"]
        token = await asyncio.to_thread(live_server.server.token)
        alerts = (await asyncio.to_thread(live_server.server.get, "/alerts", token, kind="truck.*"))["items"]
        [alert] = [a for a in alerts if a["device"]["id"] == "MT-01"]
        assert (alert["kind"], alert["place"]["town"]) == ("truck.uncovered", owner)

        # One city case, prepared, with one part per town in time order.
        body, parts = await case_of(live_server, trip)
        assert body["level"] == "city"
        assert [part["town"] for part in parts] == list(dict.fromkeys(towns))
        assert [part["from"] for part in parts] == sorted(part["from"] for part in parts)
        assert parts[0]["role"] == "origin"
        assert parts[-1]["role"] == "destination"
        assert all(part["duty"] for part in parts)
        assert next(p["town"] for p in parts if p["violations"]) == owner
        assert violation["name"]["zh"] in body["title"]["zh"]

    token = await asyncio.to_thread(live_server.server.token, "t-daojiao")
    mine = await asyncio.to_thread(live_server.server.get, "/vehicles/MT-01/trips", token)
    assert {leg["town"] for leg in mine["items"][0]["legs"]} == {DAOJIAO}


async def test_the_datum_trap(live_server: LiveServer) -> None:
    sent = positions(opens=(2, 2))
    there = from_wgs84(np.array([m["lon"] for m in sent]), np.array([m["lat"] for m in sent]), "gcj02")
    shifted = [
        {**m, "lon": float(lon), "lat": float(lat)} for m, lon, lat in zip(sent, *there, strict=True)
    ]
    await publish(live_server, "MT-02", sent)
    await publish(live_server, "MT-03", [{**m, "datum": "gcj02"} for m in shifted])
    await publish(live_server, "MT-04", shifted)
    half = len(sent) // 2
    await publish(live_server, "MT-05", [*sent[:half], *shifted[half:]])
    true, declared = await trip_of(live_server, "MT-02"), await trip_of(live_server, "MT-03")
    assert check_way(true) == check_way(declared)
    for a, b in zip(true["legs"], declared["legs"], strict=True):
        assert (a["from"], a["to"]) == (b["from"], b["to"])
    assert declared["suspicions"] == true["suspicions"] == []
    wrong = await trip_of(live_server, "MT-04")
    assert ("datum", "gcj02") in [(s["kind"], s["datum"]) for s in wrong["suspicions"]]
    assert wrong["violations"] == []
    changed = await trip_of(live_server, "MT-05")
    assert [(s["kind"], s["datum"]) for s in changed["suspicions"]] == [("datum", "gcj02")]
    assert abs(changed["length_m"] - true["length_m"]) < 1000


async def seeds_way(server: LiveServer) -> tuple[list[tuple[float, float]], Locator]:
    """From the site in 麻涌 over the middles of the borders of 望牛墩, 洪梅 and 道滘 to the tip in 万江."""
    async with await connect(server.server.database_url, name="test-places") as conn:
        regions, _ = await load_outlines(conn, datetime.now(UTC))
        locator = await load_locator(conn)
    towns = {region.code: region.outline for region in regions if region.level == "town"}
    way = [MUCK_ROUTE[0]]
    for here, there in pairwise(FIVE):
        border = shapely.line_merge(shapely.intersection(towns[here], towns[there]))
        longest = max(shapely.get_parts(border), key=lambda part: part.length)
        middle, inside = longest.interpolate(0.5, normalized=True), towns[there].representative_point()
        way += [(middle.x, middle.y), (inside.x, inside.y)]
    return [*way, MUCK_ROUTE[-1]], locator


async def test_all_five_towns_of_the_seed_in_order_with_late_and_jittering_points(live_server: LiveServer) -> None:
    route, locator = await seeds_way(live_server)

    def town_of(lon: float, lat: float) -> str | None:
        return locator.points(np.array([lon]), np.array([lat]))[0].town

    async with people(live_server) as watching:
        await publish(live_server, "MT-08", late(jitter(positions(route=route), town_of)))
        trip = await trip_of(live_server, "MT-08")
        assert [leg["town"] for leg in trip["legs"]] == FIVE
        told = await handovers(watching["dispatcher"], "MT-08", 4)
        assert [(h["left"]["town"], h["entered"]["town"]) for h in told] == list(pairwise(FIVE))
        for name, area in PEOPLE.items():
            got = await handovers(watching[name], "MT-08", sum(area in (a, b) for a, b in pairwise(FIVE)))
            assert [h["entered"]["town"] for h in got if h["yours"]] == [area] * (area in FIVE[1:]), name
        _, parts = await case_of(live_server, trip)
        assert [part["town"] for part in parts] == FIVE
        assert [part["role"] for part in parts] == ["origin", "transit", "transit", "transit", "destination"]
        assert all(part["duty"] for part in parts)
        assert [v["town"] for v in trip["violations"]] == [p["town"] for p in parts if p["violations"]]
