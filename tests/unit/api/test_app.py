"""The application without a database: what it says then, and its documents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import httpx2
import pytest
from psycopg_pool import PoolTimeout

from api.app import create_app, uvicorn_options
from api.hub import Hub
from api.ports import ApiPorts
from db.pool import Pool
from domain.places import UNKNOWN_PLACE, Place


class GonePool:
    """A pool whose database does not answer."""

    def connection(self) -> Any:
        raise PoolTimeout("couldn't get a connection after 10.00 sec")


def ports() -> ApiPorts:
    pool = cast(Pool, GonePool())

    async def act(action: str, alert_id: str, body: dict[str, Any], actor: object) -> dict[str, Any]:
        raise AssertionError("nobody gets this far")

    async def readiness() -> dict[str, dict[str, Any]]:
        return {"database": {"ok": False, "detail": "gone"}, "broker": {"ok": True, "detail": ""}}

    def locate(lon: Any, lat: Any, at_us: Any = None) -> list[Place]:
        return [UNKNOWN_PLACE]

    return ApiPorts(
        pool=pool, hub=Hub(pool, "postgresql://nowhere", lambda: 0), act=act, locate=locate,
        route=lambda kind, severity, place, **asked: ([], []),
        place_device=lambda address_id, lon, lat: UNKNOWN_PLACE,
        readiness=readiness, now_us=lambda: 0,
    )  # fmt: skip


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=create_app(ports()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_without_a_database_it_is_503_and_says_when_to_come_back(http: httpx2.AsyncClient) -> None:
    for answer in (
        await http.get("/api/v1/alerts", headers={"Authorization": "Bearer x"}),
        await http.post("/api/v1/session", json={"username": "a", "password": "b"}),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert answer.headers["content-type"] == "application/problem+json"


async def test_alive_but_not_ready(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/healthz")).status_code == 200
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()["ok"]) == (503, False)


async def test_every_path_of_the_foundation_is_there(http: httpx2.AsyncClient) -> None:
    openapi = (await http.get("/api/openapi.json")).json()
    paths = {path.removeprefix("/api/v1") for path in openapi["paths"]}
    assert paths >= {
        "/session", "/live-ticket", "/devices", "/devices/{device_id}", "/readings", "/waveforms", "/alerts",
        "/alerts/{alert_id}", "/alerts/{alert_id}/{action}", "/locate", "/addresses", "/addresses/{address_id}",
        "/regions", "/grids", "/route", "/cameras/near", "/vehicles/{vehicle_id}/track", "/ledger", "/stats/alarms",
        "/quarantine", "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    for path in openapi["paths"].values():
        for operation in path.values():
            assert operation["description"]


async def test_every_read_needs_a_token(http: httpx2.AsyncClient) -> None:
    openapi = (await http.get("/api/openapi.json")).json()
    open_to_all = {"/api/v1/about", "/api/asyncapi.json", "/healthz", "/readyz", "/metrics"}
    for path, operations in openapi["paths"].items():
        if "get" in operations and path not in open_to_all:
            concrete = path.replace("{device_id}", "x").replace("{alert_id}", "x").replace("{vehicle_id}", "x")
            answer = await http.get(concrete.replace("{address_id}", "1" * 25))
            assert answer.status_code in (401, 422), path
            if answer.status_code == 422:
                assert "query" in {e["in"] for e in answer.json()["errors"]}, path


def test_the_server_is_started_without_compression_and_with_bounds() -> None:
    options = uvicorn_options()
    assert options["ws_per_message_deflate"] is False
    assert (options["ws_max_size"], options["ws_max_queue"]) == (16 * 1024, 32)
