"""A real M7.2 through broker, database and detectors to a client and the page."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.async_api import async_playwright

from tests.acceptance.live import live_feed
from tests.acceptance.openeew import Station, stations
from tests.fix_server import SHARED, Server, server_home
from tests.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.alone]

RECORDING = SHARED / "openeew/2018-02-16.jsonl.gz"
SCREENSHOT = Path("test-results/real-quake.png")
MAPPED = re.compile(r"(\d{3})\s+→ (\S+)")

if not RECORDING.exists():
    pytest.skip(f"{RECORDING} is not here", allow_module_level=True)


@pytest.fixture(scope="module")
def quake_server() -> Iterator[Server]:
    with server_home(GRIDPULSE_RUNS_AS_LIVE="true") as server:
        server.start("--no-demo", city=True)
        yield server


@pytest.fixture(scope="module")
def truth() -> dict[str, Station]:
    return stations(RECORDING)


async def collect(server: Server, token: str, into: list[dict[str, Any]]) -> None:
    async with live_feed(server.base_url, token) as live:
        while True:
            frame = await live.frame_whenever()
            if frame["type"] == "alert":
                into.append(frame)


async def test_a_real_quake_is_stored_whole_and_alerts_the_houses_that_shook(
    quake_server: Server, truth: dict[str, Station]
) -> None:
    server, frames = quake_server, list[dict[str, Any]]()
    token = server.token()
    listening = asyncio.create_task(collect(server, token, frames))
    done = await asyncio.to_thread(
        server.cli, "replay", str(RECORDING), "--map-to", "demo", "--as-live", "--speed", "10", timeout=170
    )
    places = dict(MAPPED.findall(done.stdout + done.stderr))
    assert set(places) == set(truth), done.stdout + done.stderr
    distinct = sum(station.distinct for station in truth.values())

    with psycopg.connect(server.database_url, autocommit=True) as conn:

        def stored() -> int:
            row = conn.execute("SELECT count(*) FROM waveform").fetchone()
            assert row is not None
            return int(row[0])

        server.wait(lambda: stored() >= distinct, f"{distinct} packets stored")
        assert stored() == distinct
        assert conn.execute("SELECT count(*) FROM quarantine").fetchone() == (0,)

    def raised() -> set[str]:
        return {frame["alert"]["device"]["id"] for frame in frames if frame["change"] == "raised"}

    shook = {places[name] for name, station in truth.items() if station.shook}
    still = {places[name] for name, station in truth.items() if station.still}
    server.wait(lambda: shook <= raised(), f"alerts of the {len(shook)} stations that shook")
    listening.cancel()
    assert not still & raised()
    for frame in frames:
        assert complete(frame["alert"])
    # Two stations' clocks are half an hour behind: what they say is true, but it is not now.
    late = {frame["alert"]["device"]["id"] for frame in frames if frame["alert"]["late"]}
    assert late == {places["012"], places["015"]}
    cursors = [frame["cursor"] for frame in frames]
    assert cursors == sorted(set(cursors))


def complete(alert: dict[str, Any]) -> bool:
    """Every alert says where, whose and why."""
    place, duty = alert["place"], alert["duty"]
    return bool(
        len(place["address_id"]) == 25
        and len(place["grid"]) == 15
        and place["address"]
        and duty
        and duty[0]["role"] == "lead"
        and all(d["unit"] and d["why"] for d in duty)
        and alert["evidence"]["rule"]
        and alert["evidence"]["features"]
        and alert["timeline"]["detected"]
    )


@pytest.mark.browser
async def test_the_page_shows_the_quakes_alerts(quake_server: Server) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("GRIDPULSE_REQUIRE_BROWSER"):
            pytest.fail("Chromium is required here and not installed")
        pytest.skip("Chromium is not installed: apt-get install chromium fonts-noto-cjk")
    server = quake_server
    token = server.token()
    open_alerts = server.get("/alerts", token, limit=1000)["items"]
    SCREENSHOT.parent.mkdir(parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = await browser.new_page(viewport={"width": 1440, "height": 900})
        await page.goto(f"{server.base_url}/")
        await page.fill("input[name=username]", "dispatcher")
        await page.fill("input[name=password]", "demo")
        await page.press("input[name=password]", "Enter")

        async def all_there() -> bool:
            return bool(await page.evaluate("() => window.__app?.alerts") == len(open_alerts))

        await until(all_there, f"{len(open_alerts)} alerts on the page")
        worst = min(open_alerts, key=lambda alert: (alert["severity"], alert["started_at"]))
        await page.get_by_text(worst["place"]["address"]).first.click()
        await page.wait_for_selector("canvas", timeout=30_000)
        await page.screenshot(path=str(SCREENSHOT))
        text = await page.inner_text("body")
        await browser.close()
    assert worst["duty"][0]["name"]["zh"] in text


ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--disable-quic",
]  # fmt: skip
