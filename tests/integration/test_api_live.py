"""The live feed over a real socket, fed by committed changes only."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.accounts import disable_user, issue_ticket
from api.client import Client, Identity
from api.filters import AlertFilter
from api.hub import Hub
from api.messages import SubscribeAlerts
from domain.people import Actor
from tests.integration.api_house import MACHONG, WANJIANG, House, LiveClient, eventually, house, now_us

pytestmark = pytest.mark.stack
__all__ = ["house"]


def live_url(house: House) -> str:
    return house.url.replace("http", "ws", 1) + "/api/v1/live"


async def close_code(client: LiveClient) -> int | None:
    await rest(client)
    return client.socket.close_code


async def rest(client: LiveClient) -> list[dict[str, Any]]:
    """Everything until it is closed."""
    found = []
    try:
        while True:
            found.append(await client.next())
    except ConnectionClosed:
        return found


async def test_snapshot_then_live(house: House) -> None:
    first = await house.writer.raised("A1")
    async with house.live() as client:
        await client.send(type="subscribe", id="a", channel="alerts")
        snapshot = await client.next()
        assert (snapshot["type"], snapshot["id"], snapshot["cursor"]) == ("snapshot", "a", first)
        assert [alert["id"] for alert in snapshot["items"]] == ["A1"]
        second = await house.writer.raised("A2")
        third = await house.writer.changed("A1", "cleared", condition="cleared")
        messages = await client.up_to(third)
    assert [(m["cursor"], m["change"], m["alert"]["id"]) for m in messages] == [
        (second, "raised", "A2"),
        (third, "cleared", "A1"),
    ]
    assert messages[0]["alert"]["timeline"]["pushed"].endswith("Z")


async def test_a_client_that_is_quicker_than_the_hub_misses_nothing(house: House, database_url: str) -> None:
    """After a restart clients come back before the hub has read where the changes begin."""
    hub = Hub(house.pool, database_url, now_us)
    client = Client(Nowhere(), Identity(Actor("dispatcher", "dispatcher", ""), None, 1 << 60))
    first = await house.writer.raised("A1")
    await hub.subscribe_alerts(client, SubscribeAlerts("a", AlertFilter(), None))
    await hub.subscribe_alerts(client, SubscribeAlerts("b", AlertFilter(), first))
    async with house.pool.connection() as conn:
        second = await house.writer.raised("A2")
        await hub.catch_up(conn)
        third = await house.writer.raised("A3")
        await hub.catch_up(conn)
    frames = [json.loads(text) for text, _ in client.queue]
    got = [(frame["id"], frame["cursor"]) for frame in frames if frame["type"] == "alert"]
    assert sorted(got) == [("a", second), ("a", third), ("b", second), ("b", third)]


class Nowhere:
    async def send_text(self, data: str) -> None:
        pass

    async def close(self, code: int, reason: str | None = None) -> None:
        pass


async def test_a_cut_client_gets_every_missed_change_once_and_in_order(house: House) -> None:
    cursors = [await house.writer.raised(f"A{n}") for n in range(5)]
    async with house.live() as client:
        await client.send(type="subscribe", id="a", channel="alerts")
        known = (await client.next())["cursor"]
    missed = [await house.writer.changed(f"A{n % 5}", value=float(n)) for n in range(700)]
    # Changes go on while the client catches up.
    async with asyncio.TaskGroup() as group:
        group.create_task(keep_changing(house, 200))
        async with house.live() as client:
            await client.send(type="subscribe", id="a", channel="alerts", since=known)
            await client.send(type="ping")
            seen = [m["cursor"] for m in await client.up_to(missed[-1])]
            seen += [m["cursor"] for m in [await client.next() for _ in range(201)] if m["type"] == "alert"]
    newest = house.writer.bodies["A0"]["cursor"]
    assert seen == list(range(known + 1, newest + 1))
    assert cursors == list(range(1, 6))


async def keep_changing(house: House, times: int) -> None:
    for n in range(times):
        await house.writer.changed("A0", value=float(n))


async def test_since_the_newest_cursor_brings_only_what_comes(house: House) -> None:
    newest = await house.writer.raised("A1")
    async with house.live() as client:
        await client.send(type="subscribe", id="a", channel="alerts", since=newest)
        await client.send(type="ping")
        assert (await client.next())["type"] == "pong"
        after = await house.writer.raised("A2")
        assert [m["cursor"] for m in await client.up_to(after)] == [after]


async def test_unknown_and_purged_cursors_ask_for_a_snapshot(house: House) -> None:
    for n in range(4):
        await house.writer.raised(f"A{n}")
    async with house.live() as client:
        await client.send(type="subscribe", id="a", channel="alerts", since=4711)
        assert (await client.next())["type"] == "reload"
        async with house.pool.connection() as conn:
            await conn.execute("DELETE FROM alert_change WHERE cursor <= 2")
        await client.send(type="subscribe", id="a", channel="alerts", since=1)
        reload = await client.next()
        assert (reload["type"], reload["id"]) == ("reload", "a")
        await client.send(type="subscribe", id="a", channel="alerts")
        assert (await client.next())["cursor"] == 4


async def test_a_lost_notification_costs_a_second_and_no_change(house: House) -> None:
    house.writer.notify = False
    async with house.live() as client:
        await client.send(type="subscribe", id="a", channel="alerts")
        await client.until("snapshot")
        cursor = await house.writer.raised("A1")
        assert [m["cursor"] for m in await client.up_to(cursor)] == [cursor]


async def test_filters_hold_for_snapshot_and_live(house: House) -> None:
    await house.writer.raised("red", severity=1)
    await house.writer.raised("blue", severity=4)
    await house.writer.raised("drill", severity=1, exercise="run-1")
    async with house.live() as client:
        await client.send(type="subscribe", id="a", channel="alerts", filter={"severity": [1]})
        assert [a["id"] for a in (await client.next())["items"]] == ["red"]
        await client.send(type="subscribe", id="b", channel="alerts", filter={"severity": [1]}, exercise=True)
        assert {a["id"] for a in (await client.next())["items"]} == {"red", "drill"}
        await client.send(type="unsubscribe", id="b")
        await house.writer.raised("orange", severity=2)
        await house.writer.raised("smoke", severity=1, kind="fire.smoke", exercise="run-1")
        last = await house.writer.changed("blue", severity=1)
        left = await house.writer.changed("red", severity=3)
        messages = await client.up_to(left)
    assert [(m["alert"]["id"], m["cursor"]) for m in messages] == [("blue", last), ("red", left)]


async def test_a_user_sees_only_the_own_area(house: House) -> None:
    await house.writer.raised("here", town=MACHONG)
    await house.writer.raised("there", town=WANJIANG)
    await house.writer.raised("nowhere", town=None)
    async with house.live("machong") as client:
        await client.send(type="subscribe", id="a", channel="alerts")
        assert [a["id"] for a in (await client.next())["items"]] == ["here"]
        await house.writer.changed("there")
        await house.writer.changed("nowhere")
        mine = await house.writer.changed("here")
        assert [m["cursor"] for m in await client.up_to(mine)] == [mine]
    async with house.live("machong") as client:
        await client.send(type="subscribe", id="a", channel="alerts", since=1)
        assert {m["alert"]["id"] for m in await client.up_to(mine)} == {"here"}


async def test_the_first_push_is_written_down_once(house: House) -> None:
    async with house.live() as client:
        await client.send(type="subscribe", id="a", channel="alerts")
        await client.until("snapshot")
        await house.writer.raised("A1")
        frame = await client.until("alert")
        pushed = frame["alert"]["timeline"]["pushed"]

        async def stored() -> str | None:
            alert = (await house.get("/api/v1/alerts/A1")).json()
            found: str | None = alert["timeline"].get("pushed")
            return found

        assert await eventually(stored) == pushed
        await house.writer.changed("A1", "acknowledged", state="acknowledged")
        assert (await client.until("alert"))["alert"]["timeline"]["pushed"] == pushed
    metrics = (await house.http.get("/metrics")).text
    assert 'gridpulse_alert_latency_seconds_count{stage="pushed"}' in metrics


async def test_a_client_that_does_not_read_is_told_to_resume(house: House) -> None:
    text = "x" * 200_000
    await house.writer.raised("A1", unit=text)
    async with house.live(max_queue=1, max_size=None) as slow, house.live(max_size=None) as quick:
        for client in (slow, quick):
            await client.send(type="subscribe", id="a", channel="alerts")
            known = await client.until("snapshot")
        lagging: list[Client] = []
        while not lagging:
            cursor = await house.writer.changed("A1")
            assert (await quick.up_to(cursor))[-1]["cursor"] == cursor  # nobody waits for the slow one
            lagging = [c for c in house.hub.clients if c.closing is not None]
        last = await rest(slow)
        assert last[-1]["type"] == "lagging"
        assert slow.socket.close_code == 4008
        seen = max((m["cursor"] for m in last if m["type"] == "alert"), default=known["cursor"])
    async with house.live(max_size=None) as again:
        await again.send(type="subscribe", id="a", channel="alerts", since=seen)
        assert [m["cursor"] for m in await again.up_to(cursor)] == list(range(seen + 1, cursor + 1))


@pytest.mark.parametrize(
    "first",
    ["no json", "[]", '{"type":"ping"}', '{"type":"hello","token":"wrong"}', '{"type":"hello","ticket":"x.y"}'],
)
async def test_without_a_good_hello_it_closes_4001(house: House, first: str) -> None:
    async with connect(live_url(house)) as socket:
        await socket.send(first)
        assert await close_code(LiveClient(socket)) == 4001


async def test_without_any_hello_it_closes_4001(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.live.HELLO_S", 0.05)
    async with connect(live_url(house)) as socket:
        assert await close_code(LiveClient(socket)) == 4001


async def test_a_ticket_works_once(house: House) -> None:
    answer = await house.http.post("/api/v1/live-ticket", headers=house.as_user("machong"))
    ticket = answer.json()["ticket"]
    async with connect(live_url(house)) as socket:
        client = LiveClient(socket)
        await client.send(type="hello", ticket=ticket)
        await client.send(type="ping")
        assert (await client.next()) == {"type": "pong"}
    async with connect(live_url(house)) as socket:
        client = LiveClient(socket)
        await client.send(type="hello", ticket=ticket)
        assert await close_code(client) == 4001


async def test_signing_out_closes_4009(house: House) -> None:
    login = await house.http.post("/api/v1/session", json={"username": "dispatcher", "password": "correct horse"})
    bearer = {"Authorization": f"Bearer {login.json()['token']}"}
    ticket = (await house.http.post("/api/v1/live-ticket", headers=bearer)).json()["ticket"]
    async with connect(live_url(house)) as socket, house.live("dispatcher") as other:
        client = LiveClient(socket)
        await client.send(type="hello", ticket=ticket)
        await client.send(type="ping")
        await client.until("pong")
        assert (await house.http.delete("/api/v1/session", headers=bearer)).status_code == 204
        assert await close_code(client) == 4009
        await other.send(type="ping")
        await other.until("pong")


async def test_a_disabled_account_is_closed_at_the_next_check(house: House) -> None:
    async with house.live("machong") as client:
        await client.send(type="ping")
        await client.until("pong")
        async with house.pool.connection() as conn:
            await disable_user(conn, "machong")
        house.hub.recheck_soon()
        assert await close_code(client) == 4009


async def test_a_login_link_signs_in_once(house: House) -> None:
    async with house.pool.connection() as conn:
        ticket = await issue_ticket(conn, "dispatcher")
    first = await house.http.post("/api/v1/session", json={"ticket": ticket})
    assert first.json()["user"]["name"] == "dispatcher"
    assert (await house.http.post("/api/v1/session", json={"ticket": ticket})).status_code == 401


async def test_a_page_of_another_site_is_refused(house: House) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(live_url(house), origin="https://evil.example"):  # type: ignore[arg-type]
            pass
    assert refused.value.response.status_code == 403


async def test_bad_messages_get_an_error_and_the_socket_stays(house: House) -> None:
    async with house.live() as client:
        unknown = ('{"type":"subscribe","channel":"nope"}', '{"type":"unsubscribe","id":"z"}')
        for bad in ("no json", "[]", "{}", *unknown):
            await client.socket.send(bad)
            assert (await client.next())["type"] == "error"
        await client.socket.send(b"\xff\xfe")
        assert (await client.next())["type"] == "error"
        await client.send(type="subscribe", channel="waveform", device="NOPE")
        assert "NOPE" in (await client.next())["reason"]
        await client.send(type="subscribe", id="a", channel="alerts")
        await client.until("snapshot")
        await client.send(type="subscribe", id="a", channel="alerts")
        assert "in use" in (await client.next())["reason"]


async def test_too_many_messages_end_the_connection(house: House) -> None:
    async with house.live() as client:
        for _ in range(80):
            await client.socket.send(json.dumps({"type": "ping"}))
        assert await close_code(client) == 1008


async def test_a_message_over_the_limit_ends_the_connection(house: House) -> None:
    async with house.live() as client:
        await client.socket.send("x" * 20_000)
        assert await close_code(client) == 1009


async def test_at_most_twenty_subscriptions(house: House) -> None:
    async with house.live() as client:
        for n in range(21):
            await client.send(type="subscribe", id=f"d{n}", channel="devices")
        assert "20" in (await client.until("error"))["reason"]
        await eventually(lambda: len(house.hub.feed.subscriptions) == 20)
    await eventually(lambda: not house.hub.feed.subscriptions and not house.hub.clients)
