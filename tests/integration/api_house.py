"""A real API on a real database and port, with alerts written by a small SQL writer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx2
import pytest
import uvicorn
from psycopg.types.json import Jsonb
from websockets.asyncio.client import ClientConnection, connect

from api.accounts import issue_token
from api.app import create_app, uvicorn_options
from api.hub import Hub
from api.ports import ApiPorts, Readiness
from api.queries.people import ADD_USER
from api.secrets import hash_password
from db.pool import Connection, Pool
from domain.clock import from_us, iso
from domain.errors import NotAllowed, TransitionRefused, VersionConflict
from domain.people import Actor
from domain.places import UNKNOWN_PLACE, Duty, Place
from server.embedded.broker_accounts import hash_password as hash_device_password
from tests.fix_stack import free_port
from tests.waiting import ended

MACHONG = "441900126"
WANJIANG = "441900006"
T0_US = 1_790_000_000_000_000
PASSWORD = "correct horse"
DEADLINE_S = 15.0


def place_at(town: str | None) -> Place:
    if town is None:
        return UNKNOWN_PLACE
    village = town + "001"
    return Place(None, None, None, 1.0, "device", village + "001", village, town, {"town": f"town {town}"}, "v1")


def locate(lon: Any, lat: Any, at_us: Any = None) -> list[Place]:
    """West of 113.65 is Machong, east of it Wanjiang."""
    return [place_at(MACHONG if x < 113.65 else WANJIANG) for x in lon]


@dataclass
class Writer:
    """Alerts and changes as the alert service writes them: one transaction, cursor, notification."""

    pool: Pool
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    notify: bool = True

    async def raised(self, id_: str, **given: Any) -> int:
        town = given.pop("town", MACHONG)
        place = place_at(town)
        us = given.pop("started_us", T0_US)
        body: dict[str, Any] = {
            "id": id_, "version": 1, "kind": "vibration.limit", "matter": None, "severity": 2,
            "condition": "active", "state": "new", "shelved_until": None,
            "title": {"zh": "房屋振动超限", "en": "Building vibration over limit"},
            "started_at": iso(us), "updated_at": iso(us), "cleared_at": None, "late": False, "count": 1,
            "device": {"id": "VB-0001", "kind": "vibration"}, "incident_id": None, "case_id": None,
            "exercise": None, "value": 6.1, "limit": 5.0, "unit": "mm/s", "metric": "ppv_mm_s",
            "location": {"lon": 113.6, "lat": 23.0} if town else None,
            "place": {"grid": place.grid, "village": place.village, "town": place.town, "names": place.names},
            "duty": [], "evidence": {"rule": "r1", "window": [iso(us), iso(us + 1_000_000)], "features": {}},
            "timeline": {"sampled": iso(us), "received": iso(us + 1000), "committed": iso(us + 2000)},
        }  # fmt: skip
        body.update(given)
        return await self.write(body, "raised")

    async def changed(self, id_: str, change: str = "updated", **given: Any) -> int:
        body = {**self.bodies[id_], **given, "version": self.bodies[id_]["version"] + 1}
        return await self.write(body, change)

    async def write(self, body: dict[str, Any], change: str, actor: str = "detector") -> int:
        async with self.pool.connection() as conn:
            row = await (await conn.execute("SELECT next_alert_cursor()")).fetchone()
            assert row is not None
            cursor = int(str(row[0]))
            body["cursor"] = cursor
            place, at = body["place"], from_us(T0_US)
            await conn.execute(
                """INSERT INTO alert (id, version, cursor, kind, rule, device, episode, severity, condition, state,
                       town, village, grid, exercise, started_at, updated_at, body)
                   VALUES (%(id)s, %(version)s, %(cursor)s, %(kind)s, %(id)s, 1, %(at)s, %(severity)s,
                       %(condition)s, %(state)s, %(town)s, %(village)s, %(grid)s, %(exercise)s, %(started_at)s,
                       %(updated_at)s, %(body)s)
                   ON CONFLICT (id) DO UPDATE SET version = excluded.version, cursor = excluded.cursor,
                       severity = excluded.severity, condition = excluded.condition, state = excluded.state,
                       updated_at = excluded.updated_at, body = excluded.body""",
                {**{k: body[k] for k in ("id", "version", "cursor", "kind", "severity", "condition", "state",
                                         "exercise", "started_at", "updated_at")},
                 "town": place["town"], "village": place["village"], "grid": place["grid"], "at": at,
                 "body": Jsonb(body)},
            )  # fmt: skip
            await conn.execute(
                """INSERT INTO alert_change (cursor, alert_id, version, change, actor, at, reason, exercise, body)
                   VALUES (%s, %s, %s, %s, %s, %s, '', %s, %s)""",
                [cursor, body["id"], body["version"], change, actor, at, body["exercise"], Jsonb(body)],
            )
            if self.notify:
                await conn.execute("SELECT pg_notify('alert_change', %s)", [str(cursor)])
        self.bodies[body["id"]] = body
        return cursor

    async def act(self, action: str, alert_id: str, body: dict[str, Any], actor: Actor) -> dict[str, Any]:
        """A stand-in of the alert service with its errors."""
        current = self.bodies[alert_id]
        if actor.role == "engineer" and action == "acknowledge":
            raise NotAllowed("engineers do not acknowledge")
        if body["version"] != current["version"]:
            raise VersionConflict("the alert has changed", current)
        if current["state"] == "closed":
            raise TransitionRefused("it is closed; reopen it first")
        moves = {"acknowledge": "acknowledged", "assign": "assigned", "close": "closed"}
        changed = {**current, "state": moves.get(action, current["state"]), "version": current["version"] + 1}
        await self.write(changed, {"acknowledge": "acknowledged"}.get(action, action), actor.name)
        return self.bodies[alert_id]


@dataclass
class House:
    url: str
    pool: Pool
    hub: Hub
    writer: Writer
    http: httpx2.AsyncClient
    ready: dict[str, Any]
    tokens: dict[str, str]

    def as_user(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[name]}"}

    async def get(self, path: str, *, user: str = "dispatcher", **query: Any) -> httpx2.Response:
        return await self.http.get(path, headers=self.as_user(user), params=query)

    @asynccontextmanager
    async def live(self, user: str = "dispatcher", **options: Any) -> AsyncIterator[LiveClient]:
        address = self.url.replace("http", "ws", 1) + "/api/v1/live"
        async with connect(address, compression=None, **options) as socket:
            client = LiveClient(socket)
            await client.send(type="hello", token=self.tokens[user])
            yield client


@dataclass
class LiveClient:
    socket: ClientConnection

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            message: dict[str, Any] = json.loads(await self.socket.recv())
            return message

    async def until(self, type_: str) -> dict[str, Any]:
        while (message := await self.next())["type"] != type_:
            pass
        return message

    async def up_to(self, cursor: int) -> list[dict[str, Any]]:
        """Alert messages until this cursor."""
        found: list[dict[str, Any]] = []
        while not found or found[-1]["cursor"] < cursor:
            message = await self.next()
            assert message["type"] == "alert", message
            found.append(message)
        return found


async def eventually(check: Callable[[], Any], seconds: float = DEADLINE_S) -> Any:
    """Poll until it is true; the value."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.02)


@cache
def password_hash() -> str:
    return hash_password(PASSWORD)


async def make_users(conn: Connection) -> dict[str, str]:
    users = [
        ("dispatcher", "dispatcher", ""), ("machong", "responder", MACHONG), ("engineer", "engineer", ""),
        ("operator", "operator", ""),
    ]  # fmt: skip
    for name, role, area in users:
        row = {"name": name, "password_hash": password_hash(), "role": role, "area": area, "demo": False}
        await conn.execute(ADD_USER, row)
    return {name: await issue_token(conn, name) for name, _, _ in users}


def route(kind: str, severity: int, place: Place, **asked: Any) -> tuple[Sequence[Duty], Sequence[str]]:
    return [Duty("unit", "lead", "because", {"zh": "单位", "en": "Unit"})], [f"{kind} {severity} {place.town}"]


def now_us() -> int:
    return time.time_ns() // 1000


@asynccontextmanager
async def run_house(pool: Pool, database_url: str, **hub_options: Any) -> AsyncIterator[House]:
    writer = Writer(pool)
    checks: dict[str, Any] = {"database": {"ok": True, "detail": ""}}

    async def readiness() -> Readiness:
        return checks

    hub = Hub(pool, database_url, now_us, locate=locate, **hub_options)
    ports = ApiPorts(
        pool=pool, hub=hub, act=writer.act, locate=locate, route=route,
        place_device=lambda address_id, lon, lat: place_at(None) if lon is None else locate([lon], [lat])[0],
        readiness=readiness, now_us=now_us, demo=True, hash_device_password=hash_device_password,
    )  # fmt: skip
    async with pool.connection() as conn:
        tokens = await make_users(conn)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(ports), host="127.0.0.1", port=port, **uvicorn_options()))
    server.__dict__["capture_signals"] = nullcontext  # the signals are the test run's
    url = f"http://127.0.0.1:{port}"
    following = [asyncio.ensure_future(work()) for _, work in hub.parts]
    serving = asyncio.create_task(server.serve())
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=20.0) as http:
            await eventually(lambda: server.started and hub.newest is not None)
            yield House(url, pool, hub, writer, http, checks, tokens)
    finally:
        server.should_exit = True
        server.force_exit = True
        await serving
        await ended(*following)


@pytest.fixture
async def house(pool: Pool, database_url: str) -> AsyncIterator[House]:
    async with run_house(pool, database_url) as running:
        yield running
