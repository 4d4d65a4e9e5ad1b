"""What every ``AlertStore`` must do; run on the fake in unit tests and on PostgreSQL in integration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from alerting.lifecycle import Change
from alerting.ports import AlertStore, Stale, Write
from domain.alerts import Alert
from domain.errors import NotFound, TransitionRefused
from domain.places import Duty, Place
from tests.unit.alerting.blocks import T0, S

PLACE = Place(
    "a", "岗贝路1号", 3.2, 0.98, "device", "441900003001004", "441900003001", "441900003",
    {"village": "岗贝社区", "town": "东城街道"}, "v1",
)  # fmt: skip


def alert(alert_id: str = "01A", device: int = 7, episode_us: int = T0, **more: Any) -> Alert:
    base = Alert(
        id=alert_id, version=1, kind="vibration.limit", matter="local:08999", rule="vibration.limit", severity=2,
        condition="active", state="new", title={"zh": "房屋振动超限", "en": "Building vibration over limit"},
        device=device, device_id=f"VB-{device:04d}", device_kind="vibration", episode_us=episode_us,
        started_us=episode_us, updated_us=T0 + 2 * S, cleared_us=None, late=False, count=1, value=6.1, limit=5.0,
        unit="mm/s", metric="ppv_mm_s", lon=113.75, lat=23.02, exercise=None, place=PLACE,
        duty=(Duty("town:441900003:housing", "lead", "why", {"zh": "住建局", "en": "Housing"}),),
        evidence={"rule": "vibration.limit", "rule_version": 1, "window_us": (episode_us, episode_us + S),
                  "features": {"axis": "x"}},
        timeline_us={"sampled": T0 + S, "received": T0 + S, "committed": T0 + 2 * S, "detected": T0 + 2 * S,
                     "placed": T0 + 2 * S},
    )  # fmt: skip
    return replace(base, **more)


def write(a: Alert, change: str = "raised") -> Write:
    return Write(Change(a, change, "because"), "detector", T0)


async def what_is_written_is_read_back_whole(store: AlertStore) -> None:
    first = alert()
    assert await store.write([]) == []
    cursors = await store.write([write(first), write(alert("01B", device=8))])
    assert isinstance(cursors, list)
    assert cursors == sorted(set(cursors))
    assert await store.load_open() == [first, alert("01B", device=8)]
    assert await store.newest([("vibration.limit", 7), ("vibration.limit", 99)]) == {
        ("vibration.limit", 7): first
    }


async def several_changes_of_one_alert_fit_in_one_batch(store: AlertStore) -> None:
    first = alert()
    second = replace(first, version=2, severity=1)
    third = replace(second, version=3, condition="cleared", cleared_us=T0 + 9 * S)
    cursors = await store.write([write(first), write(second, "updated"), write(third, "cleared")])
    assert isinstance(cursors, list)
    assert len(cursors) == 3
    assert await store.load_open() == [third]


async def an_episode_is_written_once(store: AlertStore) -> None:
    await store.write([write(alert())])
    again = await store.write([write(alert("01C", device=9)), write(alert("01B"))])
    assert again == Stale((("vibration.limit", 7),))
    assert [a.id for a in await store.load_open()] == ["01A"], "nothing of the batch was written"


async def an_old_version_writes_nothing(store: AlertStore) -> None:
    await store.write([write(alert())])
    moved = replace(alert(), version=3, severity=1)
    assert await store.write([write(moved, "updated")]) == Stale((("vibration.limit", 7),))
    assert await store.write([write(replace(moved, id="gone", device=3), "updated")]) == Stale(
        (("vibration.limit", 3),)
    )
    assert await store.load_open() == [alert()]


async def the_newest_of_a_pair_is_its_newest_episode(store: AlertStore) -> None:
    later = alert("01B", episode_us=T0 + 60 * S)
    await store.write([write(later), write(alert())])
    assert await store.newest([("vibration.limit", 7)]) == {("vibration.limit", 7): later}
    assert [a.id for a in await store.load_open()] == ["01A", "01B"]


async def closed_and_cleared_is_no_longer_open(store: AlertStore) -> None:
    await store.write(
        [
            write(alert(state="closed", condition="active")),
            write(alert("01B", device=8, state="closed", condition="cleared")),
        ]
    )
    assert [a.id for a in await store.load_open()] == ["01A"]


async def an_action_sees_the_stored_alert_and_is_appended(store: AlertStore) -> None:
    await store.write([write(alert())])

    def acknowledge(a: Alert, body: dict[str, Any]) -> Change:
        assert a == alert()
        assert body["id"] == "01A"
        return Change(replace(a, version=2, state="acknowledged"), "acknowledged", "seen")

    after, body = await store.act("01A", acknowledge, "li", T0)
    assert (after.state, body["state"], body["version"]) == ("acknowledged", "acknowledged", 2)
    assert [a.state for a in await store.load_open()] == ["acknowledged"]
    same, unchanged = await store.act("01A", lambda a, _: None, "li", T0)
    assert (same, unchanged) == (after, body)


async def a_refused_action_changes_nothing(store: AlertStore) -> None:
    await store.write([write(alert())])

    def refuse(a: Alert, _: dict[str, Any]) -> Change:
        raise TransitionRefused("no")

    with pytest.raises(TransitionRefused):
        await store.act("01A", refuse, "li", T0)
    with pytest.raises(NotFound):
        await store.act("nobody", refuse, "li", T0)
    assert await store.load_open() == [alert()]


async def shelves_come_due(store: AlertStore) -> None:
    await store.write([
        write(alert(shelved_until_us=T0 + 10 * S)), write(alert("01B", device=8, shelved_until_us=T0 + 30 * S)),
        write(alert("01C", device=9, state="closed", shelved_until_us=T0)),
    ])  # fmt: skip
    assert await store.due_shelves(T0 + 9 * S) == []
    assert await store.due_shelves(T0 + 10 * S) == ["01A"]


async def defaults_are_there_from_the_start_and_only_once(store: AlertStore) -> None:
    rules, duties = await store.load_rules(), await store.load_duties()
    assert {r.id for r in rules} >= {"vibration.limit", "fire.smoke", "truck.uncovered"}
    assert len(duties) > 20
    assert (len(await store.load_rules()), len(await store.load_duties())) == (len(rules), len(duties))


CONTRACT: list[Callable[[AlertStore], Awaitable[None]]] = [
    what_is_written_is_read_back_whole,
    several_changes_of_one_alert_fit_in_one_batch,
    an_episode_is_written_once,
    an_old_version_writes_nothing,
    the_newest_of_a_pair_is_its_newest_episode,
    closed_and_cleared_is_no_longer_open,
    an_action_sees_the_stored_alert_and_is_appended,
    a_refused_action_changes_nothing,
    shelves_come_due,
    defaults_are_there_from_the_start_and_only_once,
]
