"""The part "Around it" of an alert: cameras and rings, asked for when someone opens it."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import LiveServer, VisitorMaker

pytestmark = [pytest.mark.browser, pytest.mark.stack]


async def test_the_cameras_and_rings_round_an_alert_are_shown_on_demand(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    await someone.sign_in()
    alert = await live_server.raise_alert(value=81.0)
    await expect(someone.page.locator(f"#alerts [data-key='{alert['id']}']")).to_be_visible()
    await someone.open(alert)
    around = someone.page.locator("#detail .around")
    await expect(around.locator(".around-ring")).to_have_count(0)
    await around.locator("summary").click()
    await expect(around.locator(".around-ring")).to_have_count(3)
    await expect(around.locator(".around-ring h3").first).to_have_text(re.compile(r"^0 to 50 m"))
    await expect(around.locator(".around-ring").first).to_contain_text("Addresses")
    await expect(around).to_contain_text(re.compile("In the picture look for|No camera nearby"))
