"""Incidents on the page: one row for what belongs together, by mouse, keyboard and on a phone."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import expect

from simulators.publisher import Publisher
from tests.browser.conftest import LiveServer, VisitorMaker
from tests.fix_server import server_home

pytestmark = [pytest.mark.browser, pytest.mark.stack]

HOUSE = ("VB-0001", "VB-0002", "VB-0003")
"""The demo city's one house with several sensors."""


@pytest.fixture(scope="module")
async def live_server(chromium: str) -> AsyncIterator[LiveServer]:
    """A city of its own: other tests' alarms come from all over it, and a house would be part of that storm."""
    with server_home(GRIDPULSE_AUTO_REGISTER="true", GRIDPULSE_RUNS_AS_LIVE="true") as server:
        await asyncio.to_thread(server.start, "--no-demo", city=True)
        async with Publisher(server.mqtt_url, "browser-incidents") as publisher:
            yield LiveServer(server.base_url, server.database_url, publisher)


async def shake_house(server: LiveServer) -> None:
    """All three sensors over their limit at the same second."""
    for device in HOUSE:
        server.seq += 1
        reading = {"t": time.time(), "seq": server.seq, "values": {"ppv_mm_s": 21.0}}
        await server.publish(f"sensors/{device}/readings", reading)


async def test_members_fold_under_one_row_that_opens_by_mouse_and_keyboard(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    await someone.sign_in()
    page = someone.page
    await shake_house(live_server)
    row = page.locator(".row-incident", has_text="One building")
    await expect(row).to_contain_text("3 devices", timeout=20_000)
    await expect(row).to_contain_text(re.compile(r"radius \d+ m"))
    members = page.locator(".row-member")
    await expect(members).to_have_count(0)
    # What is counted is what the list shows: one red row, whatever the severities of its members.
    await expect(page.locator("#summary")).to_have_text("1 open, 1 new (3 alerts)")
    red = page.locator(".severity-chip[data-level='1']")
    await expect(red.locator(".severity-count")).to_have_text("1")
    await red.click()
    await expect(row).to_contain_text("3 alerts")
    await expect(page.locator("#summary")).to_have_text("1 of 1 shown")
    await red.click()
    await row.click()
    await expect(members).to_have_count(3)
    await expect(row.locator(".row-why li").first).to_contain_text("3 devices at one spot")
    await page.keyboard.press("Enter")
    await expect(members).to_have_count(0)
    await page.keyboard.press("Enter")
    await expect(members).to_have_count(3)
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await expect(page.locator("#detail")).to_contain_text(re.compile("joined the incident|made the incident known"))
    await page.keyboard.press("Escape")
    await page.click("#language")
    await expect(page.locator(".row-incident").first).to_contain_text(re.compile("台设备"))
    await expect(page.locator("#map .map-incidents path")).not_to_have_count(0)


async def test_on_a_phone_the_incident_is_a_row_as_well(visitor: VisitorMaker, live_server: LiveServer) -> None:
    someone = await visitor(width=390, height=844, language="zh", has_touch=True, is_mobile=True)
    await someone.sign_in()
    await shake_house(live_server)
    row = someone.page.locator(".row-incident", has_text="单栋房屋")
    await expect(row).to_contain_text("台设备", timeout=20_000)
    await row.tap()
    await expect(someone.page.locator(".row-member").first).to_be_visible()
    box = await row.bounding_box()
    assert box is not None
    assert box["width"] <= 390
    assert box["height"] >= 44
