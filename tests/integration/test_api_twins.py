"""What is said twice says the same: SQL and Python filters, the polled and the pushed values; accounts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api import accounts
from api.filters import facts_of, parse_filter
from api.queries.alerts import SNAPSHOT
from api.reader import reading
from db.devices import DeviceRow, upsert_devices
from db.pool import Pool
from domain.clock import from_us
from domain.errors import NotFound
from domain.people import Actor
from tests.integration.api_house import MACHONG, WANJIANG, House, house, now_us, place_at, run_house
from tests.unit.api.test_values import block, packets

pytestmark = pytest.mark.stack
__all__ = ["house"]

FILTERS: list[dict[str, Any]] = [
    {}, {"severity": [1]}, {"severity": [2, 4]}, {"town": [MACHONG]}, {"town": ["no"]}, {"grid": [MACHONG]},
    {"grid": [MACHONG + "001001", WANJIANG]}, {"kind": ["fire.*"]}, {"kind": ["vibration.limit", "fire.*"]},
    {"kind": ["vibration"]}, {"bbox": [113.6, 23.0, 113.6, 23.0]}, {"bbox": [0, 0, 1, 1]}, {"exercise": True},
    {"exercise": "run-1"}, {"severity": [1], "kind": ["fire.*"], "exercise": True},
]  # fmt: skip
AREAS = ["", MACHONG, MACHONG + "001", MACHONG + "001001", WANJIANG, "441900999"]


async def test_snapshot_sql_and_live_filter_choose_the_same(house: House) -> None:
    towns = [MACHONG, WANJIANG, None]
    for n in range(24):
        await house.writer.raised(
            f"A{n:02}", severity=1 + n % 4, town=towns[n % 3], kind=("fire.smoke", "vibration.limit")[n % 2],
            exercise=(None, None, "run-1", "run-2")[n // 6],
        )  # fmt: skip
    await house.writer.raised("A99", severity=4, town=MACHONG, kind="device.silent")
    plain = [parse_filter(given) for given in FILTERS]
    responder = Actor("a", "responder", "")
    for wanted in [*plain, *(given.for_eyes_of(responder) for given in plain)]:
        for area in AREAS:
            parameters = {**wanted.sql_parameters(), "area": area, "limit": 100}
            async with reading(house.pool) as reader:
                rows = await reader.rows(SNAPSHOT, parameters)
            by_sql = {json.loads(row["alert"])["id"] for row in rows}
            facts = {id_: facts_of(body) for id_, body in house.writer.bodies.items()}
            actor = Actor("a", "responder", area)
            by_python = {
                id_ for id_, f in facts.items() if actor.sees(f.grid, f.village, f.town) and wanted.matches(f)
            }
            assert by_sql == by_python, (wanted, area)
            if "device.*" in wanted.without:
                assert "A99" not in by_sql


async def registered(pool: Pool) -> list[int]:
    rows = [
        DeviceRow(id="VB-1", kind="vibration", lon=113.6, lat=23.0, place=place_at(MACHONG)),
        DeviceRow(id="VB-2", kind="vibration", lon=113.7, lat=23.0, place=place_at(WANJIANG)),
        DeviceRow(id="MT-1", kind="vehicle"),
    ]
    async with pool.connection() as conn:
        await conn.execute("INSERT INTO metric (name) VALUES ('ppv_mm_s')")
        return await upsert_devices(conn, rows)


async def test_committed_blocks_reach_the_values_channels(house: House) -> None:
    one, two, _ = await registered(house.pool)
    async with house.live("machong") as client:
        await client.send(type="subscribe", id="d", channel="devices")
        await client.send(type="subscribe", id="w", channel="waveform", device="VB-1")
        await client.send(type="subscribe", id="x", channel="waveform", device="VB-2")
        assert "VB-2" in (await client.until("error"))["reason"]
        house.hub.offer_block(block([(one, 1, 1, 0.5), (two, 1, 1, 0.7)], waveforms=(packets(one),)))
        got = {m["type"]: m for m in (await client.next(), await client.next())}
    assert [(i["id"], i["values"]) for i in got["devices"]["items"]] == [("VB-1", {"ppv_mm_s": 0.5})]
    assert got["waveform"]["items"][0]["x"] == [1, 1, 1, 1]


@pytest.fixture
async def polling(pool: Pool, database_url: str) -> AsyncIterator[House]:
    async with run_house(pool, database_url, ingest_here=False) as running:
        yield running


async def test_without_ingest_the_values_are_polled(polling: House) -> None:
    _, _, truck = await registered(polling.pool)
    async with polling.live() as client:
        await client.send(type="subscribe", id="d", channel="devices")
        await client.send(type="subscribe", id="v", channel="vehicles")
        await client.send(type="ping")
        await client.until("pong")
        async with polling.pool.connection() as conn:
            at = from_us(now_us())
            await conn.execute("UPDATE device SET last_seen = %s, online = true WHERE id = 'VB-1'", [at])
            await conn.execute(
                "INSERT INTO position (time, device, lon, lat, seq, late) VALUES (%s, %s, 113.6, 23.0, 1, false)",
                [at, truck],
            )
        got: dict[str, Any] = {}
        async with asyncio.timeout(10):
            while set(got) != {"devices", "vehicles"}:
                message = await client.next()
                got[message["type"]] = message["items"][0]
    assert (got["devices"]["id"], got["devices"]["online"]) == ("VB-1", True)
    assert (got["vehicles"]["id"], got["vehicles"]["lat"]) == ("MT-1", 23.0)


async def test_demo_accounts_are_made_once_and_leave_real_ones_alone(pool: Pool) -> None:
    async with pool.connection() as conn:
        await accounts.add_user(conn, "operator", "a real password", "operator")
    for _ in range(2):
        async with pool.connection() as conn:
            made = await accounts.seed_demo_accounts(conn)
        assert [(name, role, area) for name, _, role, area in made] == [
            ("dispatcher", "dispatcher", ""),
            ("machong", "responder", "441900126"),
            ("engineer", "engineer", ""),
        ]
    async with pool.connection() as conn:
        users = {user["name"]: user for user in await accounts.list_users(conn)}
    assert (users["dispatcher"]["demo"], users["operator"]["demo"]) == (True, False)


async def test_accounts_of_the_command_line(pool: Pool) -> None:
    async with pool.connection() as conn:
        await accounts.add_user(conn, "li", "long enough", "responder", MACHONG)
    async with pool.connection() as conn:
        with pytest.raises(accounts.AccountError, match="already"):
            await accounts.add_user(conn, "li", "long enough", "responder")
        await accounts.issue_token(conn, "li", 60)
        await accounts.disable_user(conn, "li")
        row = await (await conn.execute("SELECT count(*) FROM app_session")).fetchone()
        assert row == (0,)
        with pytest.raises(NotFound):
            await accounts.issue_token(conn, "li", 60)
        with pytest.raises(accounts.AccountError):
            await accounts.issue_token(conn, "li", 0)
        with pytest.raises(NotFound):
            await accounts.disable_user(conn, "nobody")
        await accounts.disable_user(conn, "li", disabled=False)
        assert await accounts.issue_token(conn, "li", 60)
