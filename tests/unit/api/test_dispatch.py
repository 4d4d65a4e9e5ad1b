"""Who gets which change: no change twice, none left out, whatever the order of snapshot and dispatch."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.changes import Change, change_of, stage_seconds
from api.client import Client, Identity
from api.dispatch import REPLAY_MAX, Dispatcher, reload_reason
from api.filters import AlertFilter, facts_of
from domain.people import Actor


class Nowhere:
    async def send_text(self, data: str) -> None:
        return

    async def close(self, code: int, reason: str | None = None) -> None:
        return


def client(area: str = "") -> Client:
    return Client(Nowhere(), Identity(Actor("a", "dispatcher", area), None, 2**60))


def alert(severity: int = 2, town: str = "441900126", **given: Any) -> dict[str, Any]:
    place = {"town": town, "village": town + "001", "grid": town + "001001"}
    known = {"id": "A", "kind": "k", "location": None, "exercise": None}
    return {**known, "severity": severity, "place": place, **given}


def change(cursor: int, before: dict[str, Any] | None = None, **given: Any) -> Change:
    body = alert(**given)
    return Change(cursor, "updated", body, facts_of(body), None if before is None else facts_of(before))


def cursors(c: Client) -> list[int]:
    return [json.loads(text)["cursor"] for text, _ in c.queue]


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_a_subscriber_gets_each_change_beyond_its_cursor_once(begin: int, read: int, live: int) -> None:
    """Dispatch runs while a snapshot of any moment is read; together they are gap-free."""
    begin, read, live = sorted((begin, read, live))
    dispatcher, c = Dispatcher(), client()
    for n in range(1, begin + 1):
        dispatcher.dispatch(change(n), 0)
    subscription = dispatcher.add(c, "a", AlertFilter())
    for n in range(begin + 1, live + 1):
        dispatcher.dispatch(change(n), 0)
    dispatcher.go_live(subscription, read, 0)
    for n in range(live + 1, 15):
        dispatcher.dispatch(change(n), 0)
    assert cursors(c) == list(range(read + 1, 15))


def test_a_snapshot_newer_than_the_hub_is_not_repeated() -> None:
    dispatcher, c = Dispatcher(), client()
    dispatcher.go_live(dispatcher.add(c, "a", AlertFilter()), 5, 0)
    for n in range(3, 8):
        dispatcher.dispatch(change(n), 0)
    assert cursors(c) == [6, 7]


def test_too_many_changes_while_catching_up_is_lagging() -> None:
    dispatcher, c = Dispatcher(waiting_max=3), client()
    dispatcher.add(c, "a", AlertFilter())
    for n in range(5):
        dispatcher.dispatch(change(n), 0)
    assert c.closing is not None
    assert c.closing[0] == 4008


def test_views_are_encoded_once_and_removed_when_empty() -> None:
    dispatcher, one, two, other = Dispatcher(), client(), client(), client()
    subscriptions = [dispatcher.add(c, id_, AlertFilter()) for c, id_ in ((one, "a"), (two, "a"), (other, "b"))]
    for subscription in subscriptions:
        dispatcher.go_live(subscription, 0, 0)
    moved = change(1)
    assert dispatcher.dispatch(moved, 7_000_000) == 3
    assert one.queue[0][0] is two.queue[0][0]
    assert json.loads(other.queue[0][0])["id"] == "b"
    assert json.loads(one.queue[0][0])["alert"]["timeline"]["pushed"] == "1970-01-01T00:00:07.000000Z"
    assert moved.fresh
    for subscription in subscriptions:
        dispatcher.remove(subscription)
        dispatcher.remove(subscription)
    assert not dispatcher.views


def test_a_known_pushed_time_is_kept() -> None:
    body = json.dumps(alert(timeline={"sampled": "2026-01-01T00:00:00Z"}))
    moved = change_of({"cursor": 1, "change": "updated", "body": body, "before": None, "pushed_us": 1_000_000})
    message = json.loads(moved.frame("a", 9_000_000))
    assert message["alert"]["timeline"]["pushed"] == "1970-01-01T00:00:01.000000Z"
    assert not moved.fresh


@pytest.mark.parametrize(
    ("severity", "before", "area", "town", "wanted"),
    [
        (1, None, "", "441900126", True),
        (2, None, "", "441900126", False),
        (2, 1, "", "441900126", True),  # it left the filter: whoever shows it must know
        (1, None, "441900126", "441900126", True),
        (1, None, "441900006", "441900126", False),
        (2, 1, "441900006", "441900126", False),
    ],
)
def test_area_and_filter(severity: int, before: int | None, area: str, town: str, wanted: bool) -> None:
    old = None if before is None else alert(severity=before, town=town)
    moved = change(1, old, severity=severity, town=town)
    assert moved.wanted(Actor("a", "responder", area), AlertFilter(severity=(1,))) is wanted


@pytest.mark.parametrize(
    ("since", "oldest", "newest", "issued", "why"),
    [
        (0, 1, 9, 9, None),
        (9, 1, 9, 9, None),
        (9, 1, 8, 9, None),  # 9 was given out and rolled back, or is not committed yet
        (10, 1, 9, 9, "unknown"),
        (0, None, None, 0, None),
        (3, None, None, 3, None),
        (2, None, None, 3, "gone"),
        (1, 3, 9, 9, "gone"),
        (2, 3, 9, 9, None),
        (0, 1, REPLAY_MAX + 1, REPLAY_MAX + 1, "more than"),
    ],
)
def test_which_cursors_can_be_replayed(
    since: int, oldest: int | None, newest: int | None, issued: int, why: str | None
) -> None:
    reason = reload_reason(since, oldest, newest, issued)
    assert reason is None if why is None else why in (reason or "")


def test_seconds_of_the_stages() -> None:
    timeline = {
        "sampled": "2026-01-01T00:00:09Z",  # a clock that runs ahead measures nothing
        "received": "2026-01-01T00:00:00Z",
        "committed": "2026-01-01T00:00:00.010Z",
        "pushed": "2026-01-01T00:00:00.030Z",
    }
    assert stage_seconds(timeline) == pytest.approx({"committed": 0.01, "pushed": 0.02, "total": 0.03})
