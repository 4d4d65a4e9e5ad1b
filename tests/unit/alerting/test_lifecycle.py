from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from alerting import lifecycle
from alerting.lifecycle import ACTIONS, EVENTS, MOVES, REFUSED, STATES, WHO, Change, Ignored, Raise
from domain.alerts import Alert, Detection
from domain.clock import iso
from domain.errors import NotAllowed, PayloadError, TransitionRefused
from domain.people import ROLES
from tests.unit.alerting.blocks import T0, S
from tests.unit.alerting.store_contract import alert

NOW = T0 + 3600 * S
BODIES: dict[str, dict[str, Any]] = {
    "acknowledge": {}, "assign": {"assignee": "li"}, "comment": {"text": "seen"},
    "shelve": {"minutes": 30, "reason": "works next door"}, "unshelve": {}, "close": {"reason": "checked"},
    "reopen": {"reason": "again"},
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", EVENTS)
def test_every_state_meets_every_event(state: str, event: str) -> None:
    moved = MOVES[state].get(event)
    assert (moved is None) == ((state, event) in REFUSED), (
        "each pair moves or is refused with a reason, never both"
    )
    if moved is not None:
        assert moved in STATES
        assert lifecycle.next_state(state, event) == moved
    else:
        with pytest.raises(TransitionRefused, match="cannot"):
            lifecycle.next_state(state, event)


def acted(a: Alert, action: str, role: str = "operator", **body: Any) -> Change:
    return lifecycle.on_action(a, action, {**BODIES[action], **body}, role, "li", NOW)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("role", ROLES)
def test_actions_follow_the_table_and_the_roles(state: str, action: str, role: str) -> None:
    before = alert(state=state, condition="cleared", shelved_until_us=T0)
    if role not in WHO[action]:
        with pytest.raises(NotAllowed, match="may"):
            acted(before, action, role)
    elif action not in MOVES[state]:
        with pytest.raises(TransitionRefused):
            acted(before, action, role)
    else:
        change = acted(before, action, role)
        assert (change.alert.state, change.alert.version) == (MOVES[state][action], 2)
        assert change.alert.updated_us == NOW
        assert before.version == 1, "the given alert is left as it was"


def test_closing_an_active_alert_needs_force_and_a_reason() -> None:
    with pytest.raises(TransitionRefused, match="still active"):
        acted(alert(), "close")
    change = acted(alert(), "close", force=True)
    assert (change.alert.state, change.alert.condition, change.change, change.reason) == (
        "closed", "active", "closed", "checked",
    )  # fmt: skip


def test_shelving() -> None:
    change = acted(alert(), "shelve")
    assert change.alert.shelved_until_us == NOW + 1800 * S
    assert "works next door" in change.reason
    assert acted(alert(), "shelve", minutes=None, until=iso(NOW + S)).alert.shelved_until_us == NOW + S
    assert isinstance(lifecycle.on_expiry(change.alert, NOW + 1799 * S), Ignored)
    over = lifecycle.on_expiry(change.alert, NOW + 1800 * S)
    assert isinstance(over, Change)
    assert (over.change, over.alert.shelved_until_us, over.alert.version) == ("unshelved", None, 3)
    with pytest.raises(TransitionRefused, match="not shelved"):
        acted(alert(), "unshelve")


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("shelve", {"reason": ""}), ("shelve", {"minutes": 0}), ("shelve", {"minutes": 1441}),
        ("shelve", {"minutes": True}),
        ("shelve", {"minutes": None}), ("shelve", {"minutes": None, "until": "tomorrow"}),
        ("shelve", {"minutes": None, "until": "2023-11-14T23:30:00"}),
        ("shelve", {"minutes": None, "until": iso(NOW - 1)}),
        ("shelve", {"minutes": None, "until": iso(NOW + 86_401 * S)}),
        ("close", {"reason": None}), ("close", {"reason": "  "}), ("close", {"reason": 5}),
        ("comment", {"text": ""}), ("comment", {"text": "x" * 2001}), ("assign", {"assignee": None}),
    ],
)  # fmt: skip
def test_a_body_that_lacks_something_says_what(action: str, body: dict[str, Any]) -> None:
    with pytest.raises(PayloadError, match="bad_body"):
        acted(alert(condition="cleared"), action, **body)


def test_versions_must_be_numbers() -> None:
    assert lifecycle.version_of({"version": 3}) == 3
    for wrong in ({}, {"version": "3"}, {"version": True}):
        with pytest.raises(PayloadError, match="version"):
            lifecycle.version_of(wrong)
    with pytest.raises(PayloadError, match="unknown action"):
        lifecycle.on_action(alert(), "explode", {}, "operator", "li", NOW)


# ---------------------------------------------------------------- detections


def seen(phase: str, second: float = 0, episode: float = 0, severity: int = 2, **more: Any) -> Detection:
    at, began = T0 + round(second * S), T0 + round(episode * S)
    return Detection(
        "vibration.limit", "vibration.limit", phase, 7, began, at, at, at, severity, "ppv_mm_s", 7.0, 5.0, "mm/s",
        False, {"zh": "z", "en": "e"}, (began, at), **more,
    )  # fmt: skip


def decided(a: Alert | None, d: Detection) -> lifecycle.Decision:
    return lifecycle.on_detection(a, d, NOW)


def changed(a: Alert, d: Detection) -> Change:
    decision = decided(a, d)
    assert isinstance(decision, Change), decision
    assert decision.reason
    return decision


def test_a_first_onset_is_a_new_alert_and_a_repeated_one_is_not() -> None:
    assert isinstance(decided(None, seen("onset")), Raise)
    assert decided(alert(), seen("onset")) == Ignored("repeated")
    assert decided(alert(condition="cleared", state="closed", cleared_us=T0), seen("onset")) == Ignored(
        "repeated"
    )


def test_an_onset_while_active_or_soon_after_folds() -> None:
    c = changed(alert(), seen("onset", 100, 100))
    assert (c.change, c.alert.count, c.alert.condition) == ("updated", 2, "active")
    quiet = alert(condition="cleared", cleared_us=T0 + 10 * S, state="acknowledged")
    c = changed(quiet, seen("onset", 610, 610))
    assert (c.alert.count, c.alert.condition, c.alert.cleared_us, c.alert.state) == (
        2,
        "active",
        None,
        "acknowledged",
    )
    assert lifecycle.episode_us(c.alert) == T0 + 610 * S
    assert c.alert.episode_us == T0, "the first episode still names the alert"
    assert decided(c.alert, seen("onset", 610, 610)) == Ignored("repeated")


def test_an_onset_long_after_or_after_closing_is_a_new_alert() -> None:
    quiet = alert(condition="cleared", cleared_us=T0 + 10 * S)
    assert isinstance(decided(quiet, seen("onset", 611, 611)), Raise)
    assert isinstance(decided(alert(state="closed"), seen("onset", 5, 5)), Raise)


@pytest.mark.parametrize(
    ("state", "after"), [("new", "new"), ("acknowledged", "new"), ("assigned", "assigned"), ("closed", "new")]
)
def test_a_rise_of_severity_alarms_again(state: str, after: str) -> None:
    c = changed(alert(state=state), seen("update", 5, severity=1))
    assert (c.alert.state, c.alert.severity, c.change) == (after, 1, "updated")
    assert "severity rose" in c.reason


def test_a_recurrence_with_a_worse_severity_alarms_again_too() -> None:
    quiet = alert(condition="cleared", cleared_us=T0, state="acknowledged")
    assert changed(quiet, seen("onset", 5, 5, severity=1)).alert.state == "new"


def test_a_new_peak_keeps_state_and_never_lowers_severity() -> None:
    c = changed(alert(state="acknowledged"), seen("update", 5, severity=3))
    assert (c.alert.state, c.alert.severity, c.alert.value) == ("acknowledged", 2, 7.0)
    assert decided(c.alert, seen("update", 5, severity=3)) == Ignored("repeated")


def test_clearing_leaves_the_state_to_people() -> None:
    c = changed(alert(state="new"), seen("clear", 30))
    assert (c.change, c.alert.condition, c.alert.state, c.alert.cleared_us) == (
        "cleared",
        "cleared",
        "new",
        T0 + 30 * S,
    )
    assert decided(c.alert, seen("clear", 30)) == Ignored("other_episode")
    assert changed(alert(state="closed"), seen("clear", 30)).alert.state == "closed"


def test_a_clear_that_knows_no_limit_keeps_the_one_that_was_told() -> None:
    end = replace(seen("clear", 30), limit=math.nan)
    assert changed(alert(), end).alert.limit == alert().limit
    assert changed(alert(), replace(end, limit=4.5)).alert.limit == 4.5


def test_words_about_unknown_or_other_episodes_are_ignored() -> None:
    assert decided(None, seen("clear")) == Ignored("no_alert")
    assert decided(None, seen("update")) == Ignored("no_alert")
    assert decided(alert(), seen("clear", 5, episode=4)) == Ignored("other_episode")
