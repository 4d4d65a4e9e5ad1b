"""The search over the database's addresses: replaced texts stay findable, and the API answers by it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
import shapely

from db.pool import Pool
from geo.addresses import AddressColumns
from geo.grids import Region
from geo.locate import Locator
from geo.search import AddressFinder
from geo.store import load_aliases, load_locator, write_city
from server import finding as finding_module
from server.commands.imports import Options, import_file
from server.finding import Finding
from tests.fix_server import Server
from tests.waiting import ended

pytestmark = pytest.mark.stack

ID = "4419001262000100001000000"
REGIONS = [
    Region("441900", "city", "东莞市", shapely.box(113.5, 22.9, 113.7, 23.1)),
    Region("441900126", "town", "麻涌镇", shapely.box(113.5, 22.9, 113.6, 23.1)),
    Region("441900126200", "village", "麻三村", shapely.box(113.5, 22.9, 113.55, 23.1)),
]


async def store(pool: Pool, text: str) -> None:
    one = AddressColumns([ID], [text], [""], [""], ["441900126200001"], np.array([113.52]), np.array([23.0]))
    async with pool.connection() as conn:
        await write_city(conn, REGIONS, [], one, version="v1", generated=False)


@pytest.mark.parametrize("beside_max", [0, finding_module.BESIDE_MAX])
async def test_a_replaced_text_is_kept_and_found(
    pool: Pool, beside_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding_module, "BESIDE_MAX", beside_max)
    await store(pool, "东莞市麻涌镇麻三村旧墟街9号")
    holder: dict[str, Locator] = {}

    async def load() -> None:
        async with pool.connection() as conn:
            holder["now"] = await load_locator(conn)

    async def first(typed: str) -> str:
        end = time.monotonic() + 15
        while time.monotonic() < end:
            if (found := finding.find(typed, 1)) and found[-1].kind == "address" and found[-1].score == 1.0:
                return found[-1].text
            await asyncio.sleep(0.05)
        raise AssertionError(f"not found: {typed}")

    await load()
    finding = Finding(pool, lambda: holder["now"])
    assert finding.find("麻三村", 1) is None
    following = asyncio.create_task(finding.follow())
    try:
        assert await first("麻三村旧墟街9号") == "东莞市麻涌镇麻三村旧墟街9号"
        async with pool.connection() as conn:
            await conn.execute("UPDATE address SET text = '东莞市麻涌镇麻三村新沙路7号' WHERE id = %s", [ID])
            assert [a.text for a in await load_aliases(conn)] == ["东莞市麻涌镇麻三村旧墟街9号"]
        await load()
        assert await first("麻三村新沙路7号") == "东莞市麻涌镇麻三村新沙路7号"
        assert await first("麻三村旧墟街9号") == "东莞市麻涌镇麻三村新沙路7号"
    finally:
        await ended(following)


async def test_other_names_come_with_the_file_and_stay_with_their_address(pool: Pool, tmp_path: Path) -> None:
    await store(pool, "东莞市麻涌镇麻三村旧墟街9号")
    path = tmp_path / "addresses.csv"
    path.write_text(
        "id,text,lon,lat,aliases\n"
        f"{ID},东莞市麻涌镇麻三村旧墟街9号,113.52,23.0,麻三供销社;老供销社；东莞市麻涌镇麻三村旧墟街9号\n"
        f"{ID[:19]}000305,东莞市麻涌镇麻三村旧墟街9号305房,113.52,23.0,\n",
        encoding="utf-8",
    )
    async with pool.connection() as conn:
        dry = await import_file(conn, "addresses", path, Options(datum="wgs84", dry_run=True))
        assert await load_aliases(conn) == []
        for _ in range(2):
            await import_file(conn, "addresses", path, Options(datum="wgs84"))
        aliases = await load_aliases(conn)
        locator = await load_locator(conn)
    assert dry.summary() == "addresses: 1 new, 0 changed, 1 the same, 0 bad; dry run, nothing written"
    assert [(a.address_id, a.text, a.kind) for a in aliases] == [
        (ID, "麻三供销社", "other name"), (ID, "老供销社", "other name"),
    ]  # fmt: skip
    finder = AddressFinder.build(locator.addresses, locator.names, aliases)
    assert next(found.code for found in finder.find("老供销社", 3) if found.kind == "address") == ID


def test_an_address_has_its_levels_and_its_building(city_server: Server) -> None:
    token = city_server.token()
    city_server.wait(
        lambda: bool(city_server.get("/addresses", token, q="gaobu").get("places")), "the search to know the city"
    )
    (one, *_) = city_server.get("/addresses", token, q="麻涌", limit=1)["items"]
    whole = city_server.get(f"/addresses/{one['id']}", token)
    assert whole["levels"] == {
        "city": one["id"][:6], "town": one["town"], "village": one["village"], "grid": one["grid"],
        "building": one["id"][:19], "room": None,
    }  # fmt: skip
    assert (whole["aliases"], whole["in_building"]) == ([], [])


def test_the_api_finds_by_pinyin_with_score_reasons_and_pages(city_server: Server) -> None:
    token = city_server.token()
    city_server.wait(
        lambda: bool(city_server.get("/addresses", token, q="gaobu").get("places")), "the search to know the city"
    )
    answer = city_server.get("/addresses", token, q="gaobu", limit=3)
    assert answer["places"][0]["text"] == "高埗镇"
    assert {item["town"] for item in answer["items"]} == {"441900129"}
    text = answer["items"][0]["text"]
    (best, *_) = city_server.get("/addresses", token, q=text)["items"]
    assert (best["text"], best["score"]) == (text, 1.0)
    assert best["reasons"]
    following = city_server.get("/addresses", token, q="gaobu", limit=3, cursor=answer["next"])
    assert not {i["id"] for i in following["items"]} & {i["id"] for i in answer["items"]}
