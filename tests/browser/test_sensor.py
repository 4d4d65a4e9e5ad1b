"""The part "The sensor" of an alert: whether it is heard of, and what is wrong with itself."""

from __future__ import annotations

import time

import pytest
from playwright.async_api import expect

from db.pool import connect
from tests.browser.conftest import LiveServer, VisitorMaker
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.stack]


async def low_on_battery(live_server: LiveServer, device: str) -> None:
    """The device says so; wait for the alert to its maintainer."""
    await live_server.publish(f"sensors/{device}/status", {"t": time.time(), "online": True, "battery_pct": 3})

    async def known() -> bool:
        async with await connect(live_server.database_url, name="test") as conn:
            cursor = await conn.execute(
                "SELECT 1 FROM alert WHERE kind = 'device.battery' AND body #>> '{device,id}' = %s", [device]
            )
            return await cursor.fetchone() is not None

    await until(known, "the battery's alert")


async def test_a_sensor_with_a_fault_of_its_own_is_doubted(visitor: VisitorMaker, live_server: LiveServer) -> None:
    someone = await visitor()
    await someone.sign_in()
    sound = await live_server.raise_alert(value=82.0)
    doubted = await live_server.raise_alert(value=83.0)
    await low_on_battery(live_server, doubted["device"]["id"])
    sensor = someone.page.locator("#detail .sensor")

    await someone.open(sound)
    await expect(sensor).to_contain_text("last heard")
    await expect(sensor).not_to_contain_text("silent")
    await expect(sensor).to_contain_text("online · last heard", timeout=30_000)
    await expect(sensor).to_contain_text("No fault of its own is known")
    await expect(sensor.locator("li")).to_have_count(0)

    await someone.open(doubted)
    await expect(sensor.locator(".sensor-doubt")).to_be_visible()
    await expect(sensor.locator("li")).to_contain_text("Battery is low")
    await expect(sensor).to_contain_text("battery 3%")
    await expect(sensor).not_to_contain_text("No fault of its own")
