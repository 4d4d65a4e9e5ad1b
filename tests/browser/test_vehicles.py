"""Hand-overs, trips and the way to who is told, as a responder sees them."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from alerting.duty_store import put_rows
from api.accounts import add_user
from db.pool import connect
from domain.clock import from_us
from tests.acceptance.test_truck_story import DAOJIAO, positions
from tests.browser.conftest import LiveServer, VisitorMaker
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.stack]


async def test_a_truck_that_becomes_yours_is_told_on_the_phone_and_its_trip_is_shown(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    async with await connect(live_server.database_url, name="test-account") as conn:
        await add_user(conn, "t-daojiao", "a long password 1", "responder", DAOJIAO)
    town = await visitor(width=390, height=844, language="zh")
    city = await visitor()
    await town.sign_in(name="t-daojiao", area=DAOJIAO)
    await city.sign_in()
    for message in positions():
        await live_server.publish("vehicles/MT-06/position", message)

    banner = town.page.locator("#handover")
    await expect(banner).to_contain_text(re.compile("车辆 MT-06 已由.*驶入道滘镇，现归你处负责"))
    assert await town.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await town.page.locator("#vehicles-tab").click()
    sheet = town.page.locator("#vehicles")
    await expect(sheet.locator(".handovers li.is-yours")).to_have_count(1)
    await expect(sheet.locator(".trip")).to_have_count(1)
    await expect(sheet.locator(".trip .legs li strong")).to_have_text(["道滘镇"])  # the rest is not this town's
    await sheet.locator("button").first.click()
    # By now the truck has left: it is no longer this town's.
    await expect(banner).to_be_hidden()
    await town.page.reload()
    await town.live()
    await town.page.locator("#vehicles-tab").click()
    await expect(sheet.locator(".handovers li")).to_have_count(2)

    await city.page.locator("#vehicles-button").click()
    trip = city.page.locator("#vehicles .trip", has_text="MT-06")
    await expect(trip.locator("h4")).to_have_text(re.compile("Machong → Wanjiang"))
    await expect(trip).to_contain_text("City case (prepared)")
    await expect(trip.locator(".violations li")).to_have_count(1)
    await city.page.keyboard.press("Escape")
    await expect(city.page.locator("#handover")).to_be_hidden()  # who sees both sides is not interrupted

    alert = await live_server.found("MT-06")
    await city.open(alert)
    await expect(city.page.locator("#detail .trip-card .legs li").first).to_contain_text("Machong")


async def test_the_steps_say_who_is_on_duty_and_which_rows_lost(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    alert = await live_server.raise_alert(value=82.0)
    [lead] = [duty["unit"] for duty in alert["duty"] if duty["role"] == "lead"]
    async with await connect(live_server.database_url, name="test-rota") as conn:
        await put_rows(conn, "rota", [(lead, "张三", "138 0000 0001", "", "", "", from_us(0), None)])
    someone = await visitor(width=390, height=844)
    await someone.sign_in()

    async def called() -> bool:
        """The server hears of the rota a moment later."""
        await someone.page.goto(f"{live_server.base_url}/?map=svg#alert={alert['id']}")
        await someone.page.reload()
        await someone.live()
        await someone.page.locator("#detail .steps summary").wait_for()
        return bool(await someone.page.locator("#detail .call").count())

    await until(called, "the person on duty is shown", 60.0)
    call = someone.page.locator("#detail .is-lead .call")
    await expect(call).to_have_attribute("href", "tel:13800000001")
    await expect(someone.page.locator("#detail .is-lead .on-duty")).to_contain_text("张三")
    await someone.page.locator("#detail .steps summary").click()
    steps = someone.page.locator("#detail .step-list li")
    await expect(steps.filter(has_text="Told").first).to_be_visible()
    assert await someone.page.locator("#detail .step-lost").count() > 5
    assert await someone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
