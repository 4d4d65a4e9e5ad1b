"""The page as people use it: signed in, on the real feed, in a real browser."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.conftest import LiveServer, VisitorMaker

pytestmark = [pytest.mark.browser, pytest.mark.stack]

KEY_ON_SCREEN = re.compile(
    r"\b(?:action|detail|stage|state|list|filter|chip|place|why|duty|times|plot|row)\.[a-z_]+\b"
)


async def act(server: LiveServer, alert: dict[str, Any], action: str, **body: Any) -> dict[str, Any]:
    """What a colleague does at another desk."""
    api = f"{server.base_url}/api/v1"
    async with httpx2.AsyncClient() as client:
        token = {"Authorization": f"Bearer {await server.token()}"}
        current = (await client.get(f"{api}/alerts/{alert['id']}", headers=token)).json()
        answer = await client.post(
            f"{api}/alerts/{alert['id']}/{action}", headers=token, json={"version": current["version"], **body}
        )
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()
    return changed


def row(page: Page, alert: dict[str, Any]) -> Any:
    return page.locator(f"#alerts [data-key='{alert['id']}']")


# ------------------------------------------------------------------ signing in


async def test_a_wrong_password_is_told_and_the_right_one_opens_the_live_list(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    someone.expected.append("401")
    page = someone.page
    await page.goto(f"{live_server.base_url}/?map=svg")
    await page.fill("input[name=username]", "dispatcher")
    await page.fill("input[name=password]", "not this")
    await page.click("button[type=submit]")
    await expect(page.locator(".login-message")).to_have_text("User name or password is wrong.")
    await page.fill("input[name=password]", live_server.dispatcher_password)
    await page.click("button[type=submit]")
    await someone.live()
    await expect(page.locator("#connection-text")).to_have_text("Live")
    await expect(page.locator("#demo")).to_be_visible()
    await page.click("#sign-out")
    await expect(page.locator(".login-card")).to_be_visible()
    assert await someone.app("connection") == "stopped"
    await page.reload()
    await expect(page.locator(".login-card")).to_be_visible()


async def test_a_login_link_works_once_and_leaves_the_address_bar(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    link = live_server.login_url + await live_server.ticket()
    await someone.page.goto(link)
    await someone.live()
    assert "login" not in someone.page.url
    await someone.page.reload()
    await someone.live()
    other = await visitor()
    other.expected.append("401")
    await other.page.goto(link)
    await expect(other.page.locator(".login-message")).to_contain_text("used or has expired")


# ------------------------------------------------------------------ live alerts


async def test_a_new_alert_appears_with_place_and_lead_and_steals_no_focus(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    await someone.sign_in()
    page = someone.page
    await page.press("body", "/")
    await expect(page.locator("#search")).to_be_focused()
    alert = await live_server.raise_alert(value=95.0)
    assert alert["severity"] == 1
    await expect(row(page, alert)).to_be_visible()
    await expect(row(page, alert)).to_contain_text(alert["title"]["en"])
    await expect(row(page, alert)).to_contain_text(alert["place"]["address"])
    await expect(row(page, alert).locator(".chip").first).to_have_text("New")
    await expect(row(page, alert).locator(".mark-1")).to_have_attribute("aria-label", "Severity Ⅰ")
    await expect(page.locator("#assertive")).to_contain_text(alert["title"]["en"])
    await expect(page.locator("#search")).to_be_focused()
    assert re.match(r"\(\d+\) Gridpulse", await page.title())
    first = await page.locator("#alerts .row").first.get_attribute("class")
    assert first is not None
    assert "severity-1" in first


async def test_a_lesser_alert_is_announced_politely_and_filters_find_it(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    await someone.sign_in()
    page = someone.page
    alert = await live_server.raise_alert(value=62.0)
    assert alert["severity"] == 3
    await expect(page.locator("#polite")).to_contain_text("severity Ⅲ")
    await page.fill("#search", alert["device"]["id"].lower())
    await expect(page.locator("#alerts .row")).to_have_count(1)
    await expect(page.locator("#summary")).to_contain_text("1 of")
    await page.click(".severity-chip[data-level='1']")
    await expect(page.locator("#list-empty")).to_have_text("No alert passes the filter.")
    await page.click("#clear-filter")
    await page.select_option("#town-filter", alert["place"]["town"])
    await expect(row(page, alert)).to_be_visible()
    await page.select_option("#state-filter", "assigned")
    await expect(row(page, alert)).to_have_count(0)


async def test_the_map_draws_towns_and_alerts_and_flies_to_the_chosen_one(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    alert = await live_server.raise_alert(value=77.0)
    await someone.sign_in(webgl=True)
    await someone.map_idle()
    drawn = await someone.app("map")
    assert drawn["kind"] == "webgl"
    assert drawn["towns"] == 33
    assert drawn["alerts"] >= 1
    await someone.wait("window.__app.rendered('alerts') >= 1 && __app.rendered('towns') >= 33")
    await someone.open(alert)
    await someone.wait("window.__app.map.idle && window.__app.rendered('alert-chosen') === 1")
    assert await someone.app("rendered('towns')") < 33


async def test_without_webgl_a_drawing_takes_the_maps_place_and_a_town_filters(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    alert = await live_server.raise_alert(value=78.0)
    await someone.sign_in()
    page = someone.page
    await someone.wait("window.__app.map?.kind === 'svg' && window.__app.map.alerts > 0")
    assert (await someone.app("map"))["towns"] == 33
    town = page.locator(f".map-town[data-code='{alert['place']['town']}']")
    await expect(town).to_have_class(re.compile(r"worst-[12]"))
    await town.dispatch_event("click")
    await expect(page.locator("#town-filter")).to_have_value(alert["place"]["town"])
    await expect(row(page, alert)).to_be_visible()


# ------------------------------------------------------------------ one alert


async def test_the_detail_says_where_why_who_and_how_fast(visitor: VisitorMaker, live_server: LiveServer) -> None:
    someone = await visitor()
    await someone.sign_in()
    alert = await live_server.raise_alert(value=81.0)
    await expect(row(someone.page, alert)).to_be_visible()
    await someone.open(alert)
    detail = someone.page.locator("#detail")
    await expect(detail.locator("h2")).to_have_text(alert["title"]["en"])
    await expect(detail.locator(".address")).to_have_text(alert["place"]["address"])
    for code in ("address_id", "grid", "village", "town"):
        await expect(detail.get_by_text(alert["place"][code], exact=True)).to_be_visible()
    await expect(detail.locator(".value-number")).to_have_text("81")
    await expect(detail.locator(".value-limit")).to_contain_text(f"{alert['limit']:g}")
    await expect(detail.locator(".duty tbody tr")).to_have_count(len(alert["duty"]))
    assert len(alert["duty"]) >= 1
    await expect(detail.locator(".times tr")).to_have_count(6)
    await expect(detail.locator(".times-total")).to_contain_text("in all")
    clock = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$")
    await expect(detail.locator(".times-clock").first).to_have_text(clock)
    await expect(detail.locator(".history li").first).to_contain_text("raised")
    await someone.wait("window.__app.plot && window.__app.plot.kind === 'readings'")
    assert (await someone.app("plot"))["points"] >= 1
    await expect(detail.locator(".plot canvas")).to_have_count(1)


async def test_a_shaken_house_shows_its_waveform(visitor: VisitorMaker, live_server: LiveServer) -> None:
    someone = await visitor()
    await someone.sign_in()
    alert = await live_server.shake()
    await expect(row(someone.page, alert)).to_be_visible()
    await someone.open(alert)
    await someone.wait("window.__app.plot && window.__app.plot.kind === 'waveform'")
    assert (await someone.app("plot"))["points"] >= 300
    await expect(someone.page.locator(".plot canvas")).to_have_count(3)
    await expect(someone.page.locator(".plot-peak").first).to_contain_text(re.compile(r"peak 1\.[56]"))


async def test_the_keyboard_acknowledges_and_the_server_knows(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    alert = await live_server.raise_alert(value=82.0)
    await someone.sign_in()
    page = someone.page
    await page.fill("#search", alert["device"]["id"])
    await expect(page.locator("#alerts .row")).to_have_count(1)
    await page.press("#search", "Escape")
    await page.press("body", "j")
    await page.keyboard.press("Enter")
    await expect(page.locator("#detail h2")).to_be_visible()
    await page.keyboard.press("a")
    await expect(row(page, alert).locator(".chip").first).to_have_text("Acknowledged")
    await expect(page.locator(".history li").first).to_contain_text("dispatcher")
    stored = await live_server.alert_of(alert["device"]["id"])
    assert stored is not None
    assert stored["state"] == "acknowledged"
    await page.keyboard.press("a")
    await expect(page.locator("#toast")).to_contain_text("already")
    await page.keyboard.press("Escape")
    await expect(page.locator("#detail")).to_be_hidden()
    await expect(row(page, alert)).to_be_focused()


async def test_a_colleague_who_was_faster_is_named(visitor: VisitorMaker, live_server: LiveServer) -> None:
    someone = await visitor()
    someone.expected.append("409")
    alert = await live_server.raise_alert(value=83.0)
    await someone.sign_in()
    await someone.open(alert)

    async def too_late(route: Route) -> None:
        await act(live_server, alert, "assign", assignee="machong")
        await route.continue_()

    await someone.page.route("**/acknowledge", too_late)
    await someone.page.click("[data-action=acknowledge]")
    message = someone.page.locator(".action-message")
    await expect(message).to_contain_text("dispatcher changed this alert")
    await expect(message).to_contain_text("assigned")
    await expect(someone.page.locator("#detail .detail-head .chip").first).to_have_text("Assigned")


async def test_closing_asks_for_a_reason_and_closed_alerts_can_come_back(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    alert = await live_server.raise_alert(value=84.0)
    await someone.sign_in()
    page = someone.page
    await someone.open(alert)
    await page.click("[data-action=close]")
    await page.click(".action-form button[type=submit]")
    await expect(page.locator(".action-form")).to_be_visible()
    await page.fill(".action-form [name=reason]", "checked on site")
    await page.check(".action-form [name=force]")
    await page.click(".action-form button[type=submit]")
    await expect(row(page, alert)).to_have_count(0)
    await expect(page.locator(".history li").first).to_contain_text("checked on site")
    await page.click(".back")
    await page.select_option("#state-filter", "closed")
    await someone.open(alert)
    await page.click("[data-action=reopen]")
    await page.fill(".action-form [name=reason]", "it smoulders")
    await page.click(".action-form button[type=submit]")
    await expect(page.locator("#detail .detail-head .chip").first).to_have_text("New")
    await page.select_option("#state-filter", "")
    await expect(row(page, alert)).to_be_visible()


async def test_shelving_keeps_the_alert_in_the_list_and_says_until_when(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    alert = await live_server.raise_alert(value=85.0)
    await someone.sign_in()
    page = someone.page
    await someone.open(alert)
    await page.click("[data-action=shelve]")
    await page.select_option(".action-form [name=minutes]", "60")
    await page.fill(".action-form [name=reason]", "known works")
    await page.click(".action-form button[type=submit]")
    await expect(row(page, alert)).to_contain_text(re.compile(r"Shelved until \d\d:\d\d"))
    await page.click("[data-action=unshelve]")
    await expect(row(page, alert)).not_to_contain_text("Shelved")


async def test_markup_in_a_comment_stays_text(visitor: VisitorMaker, live_server: LiveServer) -> None:
    someone = await visitor()
    alert = await live_server.raise_alert(value=86.0)
    markup = "<img src=x onerror='window.pwned = 1'><script>window.pwned = 1</script>"
    await act(live_server, alert, "comment", text=markup)
    await someone.sign_in()
    await someone.open(alert)
    await expect(someone.page.locator(".history-reason").first).to_have_text(markup)
    assert await someone.page.evaluate("window.pwned ?? null") is None
    assert await someone.page.locator("#detail img, #detail script").count() == 0


# ------------------------------------------------------------------ the feed breaks


async def test_a_lost_connection_is_told_and_nothing_is_missed(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    someone.expected.append("ERR_FAILED")
    await someone.sign_in()
    page = someone.page
    before = await someone.app("cursor")
    await page.route("**/live-ticket", lambda route: route.abort())
    await someone.app("dropConnection()")
    await expect(page.locator("#stale")).to_be_visible()
    await expect(page.locator("#stale-text")).to_contain_text("may be stale")
    await expect(page.locator("#connection-text")).to_have_text("Reconnecting")
    alert = await live_server.raise_alert(value=87.0)
    await act(live_server, alert, "comment", text="while away")
    await expect(row(page, alert)).to_have_count(0)
    await page.unroute("**/live-ticket")
    # It may have come back by itself already.
    await page.evaluate("document.getElementById('retry').click()")
    await someone.live()
    await expect(row(page, alert)).to_be_visible()
    await expect(page.locator("#stale")).to_be_hidden()
    await someone.wait(f"window.__app.cursor >= {before + 2}")


async def test_a_session_that_ends_elsewhere_asks_to_sign_in_again(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    someone.expected.append("401")
    await someone.sign_in()
    await someone.page.evaluate(
        """async () => {
            const { token } = JSON.parse(sessionStorage.getItem("gridpulse.session"));
            await fetch("/api/v1/session", { method: "DELETE", headers: { Authorization: `Bearer ${token}` } });
        }"""
    )
    await expect(someone.page.locator(".login-message")).to_contain_text("Your session ended")


# ------------------------------------------------------------------ languages, sizes


async def texts_on(page: Page) -> str:
    return str(await page.evaluate("document.body.innerText"))


async def test_both_languages_are_whole_and_the_choice_is_remembered(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor(language="zh")
    alert = await live_server.raise_alert(value=88.0)
    await someone.sign_in()
    page = someone.page
    await someone.open(alert)
    await expect(page.locator(".history li")).not_to_have_count(0)
    await expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    await expect(page.locator("#detail h2")).to_have_text(alert["title"]["zh"])
    assert KEY_ON_SCREEN.search(await texts_on(page)) is None
    await page.click("#language")
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await expect(page.locator("#detail h2")).to_have_text(alert["title"]["en"])
    assert KEY_ON_SCREEN.search(await texts_on(page)) is None
    await page.reload()
    await someone.live()
    await expect(page.locator("#connection-text")).to_have_text("Live")
    await expect(page.locator("#detail h2")).to_have_text(alert["title"]["en"])


async def test_times_are_the_citys_not_the_computers(visitor: VisitorMaker) -> None:
    someone = await visitor()
    await someone.sign_in()
    await expect(someone.page.locator("#clock")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d UTC\+8$"))
    shown = await someone.page.locator("#clock").inner_text()
    hour = await someone.page.evaluate("(new Date().getUTCHours() + 8) % 24")
    assert abs(int(shown[:2]) - hour) in (0, 1, 23)


TOO_SMALL = """() => [...document.querySelectorAll("button, select, input:not([type=checkbox]), .row, .toggle")]
    .filter((node) => node.checkVisibility({ visibilityProperty: true }) && !node.closest(".maplibregl-map"))
    .map((node) => [node.id || node.className || node.textContent, node.getBoundingClientRect()])
    .filter(([, box]) => box.height < 43.5).map(([name, box]) => `${name} ${box.height}`)"""
OUTSIDE = """() => [...document.querySelectorAll(".bar *, .detail-head *, .actions button")]
    .filter((node) => node.checkVisibility() && !(node instanceof SVGElement))
    .filter((node) => node.getBoundingClientRect().right > innerWidth + 0.5)
    .map((node) => node.id || node.className)"""
WIDER = "document.documentElement.scrollWidth > innerWidth"


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_phone_shows_the_list_then_the_alert_as_a_sheet(
    visitor: VisitorMaker, live_server: LiveServer, language: str
) -> None:
    someone = await visitor(width=375, height=740, language=language, has_touch=True, is_mobile=True)
    alert = await live_server.raise_alert(value=89.0)
    await someone.sign_in()
    page = someone.page
    await expect(row(page, alert)).to_be_visible()
    assert await page.evaluate(TOO_SMALL) == []
    assert not await page.evaluate(WIDER)
    await page.click("#menu-button")
    await expect(page.locator("#sign-out")).to_be_visible()
    assert await page.evaluate(TOO_SMALL) == []
    await page.click("#menu-button")
    await expect(page.locator("#sign-out")).to_be_hidden()
    await page.click("[data-tab=map]")
    await expect(page.locator("#map-home")).to_be_visible()
    await expect(page.locator("#search")).to_be_hidden()
    await page.click("[data-tab=list]")
    await someone.open(alert)
    box = await page.locator("#detail").bounding_box()
    assert box == {"x": 0, "y": 0, "width": 375, "height": 740}
    await someone.wait("window.__app.plot")
    assert await page.evaluate(TOO_SMALL) == []
    assert not await page.evaluate(WIDER)
    await page.go_back()
    await expect(page.locator("#detail")).to_be_hidden()
    await expect(row(page, alert)).to_be_visible()


@pytest.mark.parametrize("width", [320, 760, 1024, 1280, 1920])
async def test_nothing_overflows_at_any_width(visitor: VisitorMaker, live_server: LiveServer, width: int) -> None:
    someone = await visitor(width=width, height=800)
    await someone.sign_in()
    alerts = await someone.app("alerts")
    if not alerts:
        await live_server.raise_alert(value=91.0)
    await someone.page.locator("#alerts .row").first.click()
    await expect(someone.page.locator("#detail")).to_be_visible()
    assert not await someone.page.evaluate(WIDER)
    assert await someone.page.evaluate(OUTSIDE) == []


async def test_sound_waits_for_a_gesture_and_then_tells_new_alerts(
    visitor: VisitorMaker, live_server: LiveServer
) -> None:
    someone = await visitor()
    await someone.sign_in()
    await live_server.raise_alert(value=92.0)
    await someone.wait("window.__app.alerts > 0")
    assert await someone.app("sounds") == 0
    await someone.page.click("#sound")
    await expect(someone.page.locator("#sound")).to_have_attribute("aria-pressed", "true")
    heard = await someone.app("sounds")
    await live_server.raise_alert(value=76.0)
    await someone.wait(f"window.__app.sounds > {heard}")


async def test_a_flood_is_named_with_its_towns(visitor: VisitorMaker, live_server: LiveServer) -> None:
    someone = await visitor()
    await someone.sign_in()
    for _ in range(11):
        await live_server.raise_alert(kind="smoke", metric="smoke_ppm", value=700.0)
    await expect(someone.page.locator("#flood")).to_contain_text(re.compile(r"Alert flood: \d+ in 10 minutes.* — "))
