"""The part "The sensor" of an alert: whether it is heard of, and what is wrong with itself."""

from __future__ import annotations

import re
import time

import pytest
from playwright.async_api import expect

from db.pool import connect
from tests.browser.conftest import LiveServer, VisitorMaker
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.stack]


CARDS = """async () => {
  const { SensorCard } = await import("/js/sensor.js");
  const { useLanguage } = await import("/js/i18n.js");
  const words = async (language, floor, metric = "value") => {
    await useLanguage(language);
    const device = { floor, status: "silent", faults: [], last_seen: "2026-11-01T00:00:00Z" };
    const card = new SensorCard({ get: async () => device });
    const timeline = { received: "2026-11-01T01:00:00Z" };
    card.show({ id: "A", condition: "active", metric, device: { id: "D" }, timeline });
    await new Promise((done) => setTimeout(done, 50));
    const text = card.node.textContent;
    card.clear();
    return text;
  };
  const said = [];
  for (const language of ["zh", "en"]) for (const floor of [0, 1, -1]) said.push(await words(language, floor));
  return [...said, await words("en", 1, "silent_s"), await words("en", 1)];
}"""
"""Texts of cards of a device that is silent since an hour before the alert."""
FLOORS = ("1 楼", "2 楼", "地下 1 层", "ground floor", "floor 1", "basement 1")


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
    await expect(sensor).to_contain_text(re.compile(r"last heard \d+ s ago"))
    await expect(sensor).not_to_contain_text("silent")
    await expect(sensor).to_contain_text("online · last heard", timeout=30_000)
    await expect(sensor).to_contain_text("No fault of its own is known")
    await expect(sensor.locator("li")).to_have_count(0)

    await someone.open(doubted)
    await expect(sensor.locator(".sensor-doubt")).to_be_visible()
    await expect(sensor.locator("li")).to_contain_text("Battery is low")
    await expect(sensor).to_contain_text("battery 3%")
    await expect(sensor).not_to_contain_text("No fault of its own")


async def test_the_fault_itself_does_not_say_that_there_is_none(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    await someone.sign_in()
    await someone.open(await live_server.raise_alert(metric="battery_pct", value=3.0))
    sensor = someone.page.locator("#detail .sensor")
    await expect(sensor).to_contain_text("last heard")
    await expect(sensor).not_to_contain_text("No fault of its own")
    await expect(sensor.locator(".sensor-doubt")).to_have_count(0)


async def test_storeys_are_counted_as_people_count_them(visitor: VisitorMaker) -> None:
    someone = await visitor()
    await someone.sign_in()
    said = await someone.page.evaluate(CARDS)
    for text, floor in zip(said, FLOORS, strict=False):
        assert floor in text
    assert "silent · last heard" in said[6], "a silence was not heard"
    assert "silent" not in said[7], "the registry is behind the alert"
