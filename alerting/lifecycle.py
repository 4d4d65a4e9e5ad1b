"""How an alert moves: one table of states and events, and what the events change.

Two axes. ``condition`` follows the detector (active | cleared); ``state`` is the
people's (new | acknowledged | assigned | closed). Only ``MOVES`` below moves the
state. Every function takes the alert and an event and returns a decision with
its reason; nothing here reads a clock or writes.

Choices, after ISA-18.2 / IEC 62682 (``alarms.md``, B2):

- a rise of severity re-alarms: acknowledged → new. An assigned alert stays with
  its assignee, a person is on it. A closed one comes back as new: somebody
  closed it by force while it went on, and now it is worse.
- an alert that recurs while active, or within ``REOPEN_US`` of clearing (event
  time) and before it was closed, is the same alert again with ``count`` + 1, so
  that a chattering sensor is one line; its state stays unless severity rises.
- closing an active alert needs ``force`` and a reason; a new episode after that is a
  new alert.
- shelving hides nothing from queries; it says until when nobody wants to be told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from domain.alerts import Alert, Detection
from domain.clock import US_PER_S, from_us, iso, to_us
from domain.errors import NotAllowed, PayloadError, TransitionRefused

STATES = ("new", "acknowledged", "assigned", "closed")
ACTIONS = ("acknowledge", "assign", "comment", "shelve", "unshelve", "close", "reopen")
MACHINE_EVENTS = ("update", "worsen", "recur", "clear", "expire")
EVENTS = (*ACTIONS, *MACHINE_EVENTS)

REOPEN_US = 600 * US_PER_S
SHELVE_US_MAX = 24 * 3600 * US_PER_S
TEXT_MAX = 2000

# state → event → next state. What is not listed is refused, with the reason in REFUSED.
MOVES: Mapping[str, Mapping[str, str]] = {
    "new": {
        "acknowledge": "acknowledged", "assign": "assigned", "comment": "new", "shelve": "new",
        "unshelve": "new", "close": "closed", "expire": "new",
        "update": "new", "worsen": "new", "recur": "new", "clear": "new",
    },
    "acknowledged": {
        "assign": "assigned", "comment": "acknowledged", "shelve": "acknowledged",
        "unshelve": "acknowledged", "close": "closed", "expire": "acknowledged",
        "update": "acknowledged", "worsen": "new", "recur": "acknowledged", "clear": "acknowledged",
    },
    "assigned": {
        "assign": "assigned", "comment": "assigned", "shelve": "assigned",
        "unshelve": "assigned", "close": "closed", "expire": "assigned",
        "update": "assigned", "worsen": "assigned", "recur": "assigned", "clear": "assigned",
    },
    "closed": {
        "comment": "closed", "reopen": "new",
        "update": "closed", "worsen": "new", "clear": "closed",
    },
}  # fmt: skip

REFUSED: Mapping[tuple[str, str], str] = {
    ("new", "reopen"): "it is not closed",
    ("acknowledged", "acknowledge"): "it is acknowledged already",
    ("acknowledged", "reopen"): "it is not closed",
    ("assigned", "acknowledge"): "it is assigned, which says more than acknowledged",
    ("assigned", "reopen"): "it is not closed",
    ("closed", "acknowledge"): "it is closed; reopen it first",
    ("closed", "assign"): "it is closed; reopen it first",
    ("closed", "shelve"): "it is closed; reopen it first",
    ("closed", "unshelve"): "it is closed, and closing ended the shelving",
    ("closed", "close"): "it is closed already",
    ("closed", "recur"): "it is closed; the next episode is a new alert",
    ("closed", "expire"): "it is closed, and closing ended the shelving",
}

WHO: Mapping[str, frozenset[str]] = {
    "acknowledge": frozenset({"responder", "dispatcher", "operator"}),
    "assign": frozenset({"dispatcher", "operator"}),
    "comment": frozenset({"responder", "dispatcher", "engineer", "operator"}),
    "shelve": frozenset({"dispatcher", "engineer", "operator"}),
    "unshelve": frozenset({"dispatcher", "engineer", "operator"}),
    "close": frozenset({"responder", "dispatcher", "operator"}),
    "reopen": frozenset({"responder", "dispatcher", "operator"}),
}

CHANGE_OF = {
    "acknowledge": "acknowledged", "assign": "assigned", "comment": "commented", "shelve": "shelved",
    "unshelve": "unshelved", "close": "closed", "reopen": "reopened", "expire": "unshelved",
    "update": "updated", "worsen": "updated", "recur": "updated", "clear": "cleared",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Raise:
    """A new alert is due."""

    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """The alert as it should stand, the word for the change and why."""

    alert: Alert
    change: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing changes; ``reason`` is a short stable word that a counter carries."""

    reason: str


Decision = Raise | Change | Ignored


def next_state(state: str, event: str) -> str:
    """The state after ``event``; raises TransitionRefused with the reason."""
    moved = MOVES[state].get(event)
    if moved is None:
        allowed = ", ".join(a for a in ACTIONS if a in MOVES[state])
        raise TransitionRefused(
            f"cannot {event} this alert: {REFUSED[state, event]}. While {state}, these are possible: {allowed}"
        )
    return moved


# ---------------------------------------------------------------- detections


def episode_us(alert: Alert) -> int:
    """Event time of the onset of the alert's newest episode (later ones fold into it)."""
    window = alert.evidence.get("window_us")
    return int(window[0]) if window else alert.episode_us


def on_detection(alert: Alert | None, d: Detection, now_us: int) -> Decision:
    """What a detection means for the newest alert of the same rule and device, if any."""
    if d.phase == "onset":
        return _on_onset(alert, d, now_us)
    if alert is None:
        return Ignored("no_alert")
    if episode_us(alert) != d.episode_us or alert.condition != "active":
        return Ignored("other_episode")
    if d.phase == "clear":
        moved = _moved(alert, "clear", d, now_us)
        return Change(replace(moved, condition="cleared", cleared_us=d.at_us), "cleared", _because(d, "below"))
    if d.severity < alert.severity:
        return Change(_moved(alert, "worsen", d, now_us), "updated", _because(d, "severity rose"))
    if d.sampled_us <= newest_us(alert):
        return Ignored("repeated")
    return Change(_moved(alert, "update", d, now_us), "updated", _because(d, "new peak"))


def _on_onset(alert: Alert | None, d: Detection, now_us: int) -> Decision:
    if alert is None:
        return Raise("first of its rule and device")
    if d.episode_us <= episode_us(alert):
        return Ignored("repeated")
    if alert.state == "closed":
        return Raise("the one before is closed")
    if alert.condition == "cleared" and d.at_us - (alert.cleared_us or alert.updated_us) > REOPEN_US:
        return Raise("the one before cleared long ago")
    event = "worsen" if d.severity < alert.severity else "recur"
    again = replace(_moved(alert, event, d, now_us), condition="active", cleared_us=None, count=alert.count + 1)
    return Change(again, "updated", _because(d, f"came back, {again.count} times now"))


def _moved(alert: Alert, event: str, d: Detection, now_us: int) -> Alert:
    evidence: dict[str, Any] = {
        "rule": d.rule, "rule_version": d.rule_version, "window_us": d.window_us,
        "features": {**d.features, **d.evidence},
    }  # fmt: skip
    if "association" in alert.evidence:
        evidence["association"] = alert.evidence["association"]
    return replace(
        alert, state=next_state(alert.state, event), version=alert.version + 1, updated_us=now_us,
        severity=min(alert.severity, d.severity), value=d.value, evidence=evidence,
        limit=d.limit if math.isfinite(d.limit) else alert.limit,
        late=alert.late or d.late,
    )  # fmt: skip


def on_retired(alert: Alert, because: str, at_us: int, now_us: int) -> Decision:
    """The rule of an active alert judges its device no longer: the condition ends, people still decide."""
    if alert.condition != "active":
        return Ignored("not_active")
    moved = replace(
        alert, state=next_state(alert.state, "clear"), version=alert.version + 1, updated_us=now_us,
        condition="cleared", cleared_us=max(at_us, newest_us(alert)),
    )  # fmt: skip
    return Change(moved, "cleared", f"rule {alert.rule}: {because}")


def newest_us(alert: Alert) -> int:
    """Event time of the newest sample that the alert knows of."""
    window = alert.evidence.get("window_us")
    return int(window[1]) if window else alert.episode_us


def _because(d: Detection, what: str) -> str:
    if what == "below":
        return f"rule {d.rule}: back to normal at {iso(d.at_us)}"
    return f"rule {d.rule}: {what}; {d.metric} {d.value:g} {d.unit}, limit {d.limit:g}".replace("  ", " ")


# ---------------------------------------------------------------- people


def on_action(alert: Alert, action: str, body: Mapping[str, Any], role: str, name: str, now_us: int) -> Change:
    """The alert after a person's action.

    Raises NotAllowed (role), TransitionRefused (state or an active condition),
    PayloadError (body). The caller has compared versions and areas.
    """
    if action not in ACTIONS:
        raise PayloadError("bad_action", f"unknown action {action!r}; use one of {', '.join(ACTIONS)}")
    if role not in WHO[action]:
        raise NotAllowed(f"role {role} may not {action} alerts; {', '.join(sorted(WHO[action]))} may")
    state = next_state(alert.state, action)
    changed = replace(alert, state=state, version=alert.version + 1, updated_us=now_us)
    reason = _text(body, "reason", required=action in ("shelve", "close", "reopen"))
    if action == "assign":
        changed.assignee = _text(body, "assignee", required=True)
        reason = f"to {changed.assignee}" + (f": {reason}" if reason else "")
    elif action == "comment":
        reason = _text(body, "text", required=True)
    elif action == "shelve":
        changed.shelved_until_us = _until(body, now_us)
        reason = f"until {iso(changed.shelved_until_us)}: {reason}"
    elif action == "unshelve":
        if alert.shelved_until_us is None:
            raise TransitionRefused("cannot unshelve this alert: it is not shelved")
        changed.shelved_until_us = None
    elif action == "close":
        if alert.condition == "active" and body.get("force") is not True:
            raise TransitionRefused(
                "cannot close this alert: its condition is still active. Wait until it clears,"
                ' or close it with "force": true and a reason'
            )
        changed.shelved_until_us = None
    elif action == "reopen":
        changed.assignee = None
    return Change(changed, CHANGE_OF[action], reason)


def on_expiry(alert: Alert, now_us: int) -> Decision:
    """The end of a shelving whose time has come."""
    if alert.shelved_until_us is None or alert.shelved_until_us > now_us:
        return Ignored("not_due")
    state = next_state(alert.state, "expire")
    changed = replace(
        alert, state=state, version=alert.version + 1, updated_us=now_us, shelved_until_us=None
    )
    return Change(changed, "unshelved", "the time it was shelved for is over")


def version_of(body: Mapping[str, Any]) -> int:
    """The version the caller has read; raises PayloadError when missing."""
    version = body.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise PayloadError("bad_body", '"version" is missing: send the version of the alert you have read')
    return version


def _text(body: Mapping[str, Any], field: str, *, required: bool) -> str:
    value = body.get(field)
    if value is None or value == "":
        if required:
            raise PayloadError("bad_body", f'"{field}" is missing or empty; this action needs it')
        return ""
    if not isinstance(value, str) or len(value) > TEXT_MAX or not value.strip():
        raise PayloadError("bad_body", f'"{field}" must be a text of at most {TEXT_MAX} characters')
    return value.strip()


def _until(body: Mapping[str, Any], now_us: int) -> int:
    minutes, until = body.get("minutes"), body.get("until")
    if isinstance(minutes, int | float) and not isinstance(minutes, bool):
        if not 0 < minutes <= 24 * 60:
            raise PayloadError("bad_body", '"minutes" must lie between 0 and 1440 (24 hours)')
        return now_us + round(minutes * 60 * US_PER_S)
    if not isinstance(until, str):
        raise PayloadError("bad_body", 'shelve needs "until" (ISO 8601 with zone) or "minutes"')
    try:
        when = datetime.fromisoformat(until)
    except ValueError as error:
        raise PayloadError("bad_body", f'"until" is not ISO 8601: {until!r}') from error
    if when.tzinfo is None:
        raise PayloadError("bad_body", '"until" needs a zone, e.g. 2026-01-01T08:00:00Z')
    us = to_us(when)
    if not now_us < us <= now_us + SHELVE_US_MAX:
        raise PayloadError("bad_body", f'"until" must lie within 24 hours of now, {from_us(now_us).isoformat()}')
    return us
