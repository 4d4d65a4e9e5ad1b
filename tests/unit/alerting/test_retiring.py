"""Alerts whose rule judges them no more: which, from when on, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from alerting.detectors.bank import DetectorBank
from alerting.retiring import retirements
from alerting.rules import parse_rule
from domain.alerts import Alert
from domain.clock import iso
from tests.unit.alerting.blocks import METRICS, T0, S, devices
from tests.unit.alerting.store_contract import alert

NOW = T0 + 1000 * S


def bank(**more: Any) -> DetectorBank:
    settings = {"metric": "temperature_c", "levels": {"3": 60}, "clear": 10,
                "title": {"zh": "热", "en": "Hot"}}  # fmt: skip
    row = {"id": "heat", "detector": "threshold", "kind": "fire.temperature", "settings": settings, **more}
    return DetectorBank([parse_rule(row)], devices(), lambda: METRICS)


def heat(**more: Any) -> Alert:
    return replace(alert(rule="heat"), **more)


def over(alerts: list[Alert], judged: DetectorBank, **ended: str) -> list[tuple[str, str, str, str]]:
    changes = retirements(alerts, judged, ended, NOW)
    return [(c.alert.id, c.alert.condition, c.alert.state, c.reason) for c in changes]


def test_an_alert_whose_rule_holds_goes_on() -> None:
    assert over([heat()], bank()) == []


def test_a_rule_that_is_off_ends_what_is_active_and_people_still_decide() -> None:
    given = [heat(), heat(id="2", condition="cleared"), heat(id="3", state="closed"), alert("4", rule="trip.x")]
    assert over(given, bank(enabled=False), heat="switched off by li") == [
        ("01A", "cleared", "new", "rule heat: switched off by li"),
        ("3", "cleared", "closed", "rule heat: switched off by li"),
    ]


def test_a_rule_that_is_no_more_in_force_ends_real_alerts_by_now_and_exercises_by_their_own_clock() -> None:
    ended = bank(valid_to=iso(T0 + 500 * S))
    exercise = heat(id="2", exercise="run-1", evidence={"window_us": (T0, T0 + 100 * S)})
    later = heat(id="3", exercise="run-1", evidence={"window_us": (T0, T0 + 600 * S)})
    assert [row[0] for row in over([heat(), exercise, later], ended)] == ["01A", "3"]


def test_it_is_cleared_when_it_was_last_known_not_before() -> None:
    [change] = retirements([heat(evidence={"window_us": (T0, NOW + 5 * S)})], bank(), {"heat": "x"}, NOW)
    assert change.alert.cleared_us == NOW + 5 * S
    assert change.alert.version == 2
