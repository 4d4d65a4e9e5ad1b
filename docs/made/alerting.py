"""Rules, detectors, states and duties, as a new home has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from alerting import lifecycle
from alerting.default_rules import DEFAULT_RULES
from alerting.detectors import din4150
from alerting.detectors.catalogue import DETECTORS
from alerting.dispatch.defaults import DEFAULT_DUTIES
from alerting.dispatch.matters import MATTERS
from alerting.rules import parse_rule
from docs.made.markdown import Row, code, table
from docs.made.words import DIN_HZ
from domain.devices import BUILDING_CLASSES


def transitions() -> str:
    """state × event → state; a dash is refused."""
    rows = [
        (code(event), *(code(lifecycle.MOVES[state].get(event)) or "—" for state in lifecycle.STATES))
        for event in lifecycle.EVENTS
    ]
    return table(("event", *(code(state) for state in lifecycle.STATES)), rows)


def refusals() -> str:
    """Why a move is refused."""
    rows = [(code(state), code(event), why) for (state, event), why in lifecycle.REFUSED.items()]
    return table(("state", "event", "refused because"), rows)


def actions() -> str:
    """Who may do what, what the change is called, and what the body needs."""
    rows = [
        (code(action), code(lifecycle.CHANGE_OF[action]), ", ".join(sorted(lifecycle.WHO[action])))
        for action in lifecycle.ACTIONS
    ]
    return table(("action", "`change` in the feed", "roles"), rows)


def default_rules() -> str:
    """The rules of a new home."""
    return table(("rule", "kind", "watches", "severities", "ends", "title"), [rule_row(r) for r in DEFAULT_RULES])


def rule_row(row: Mapping[str, Any]) -> Row:
    """One default rule in words."""
    s = parse_rule(row).settings
    return code(row["id"]), code(row["kind"]), *s.words(), f"{s.title.zh} · {s.title.en}"


def detector_settings(name: str) -> str:
    """The settings a rule of this detector takes."""
    rows = []
    for field_name, field in DETECTORS[name].settings.model_fields.items():
        if field_name != "title":
            default = "needed" if field.is_required() else code(field.default)
            rows.append((code(field_name), default, setting_type(field.annotation)))
    return table(("setting", "default", "type"), rows)


def setting_type(given: Any) -> str:
    """A rule setting's type in words."""
    text = str(given)
    if "Literal" in text:
        return ", ".join(code(choice) for choice in re.findall(r"'([^']+)'", text))
    if "dict" in text:
        return "severity → number"
    return {"<class 'str'>": "text", "<class 'bool'>": "boolean", "<class 'int'>": "integer"}.get(text, "number")


def din4150_points() -> str:
    """Limits at the frequencies the tests check."""
    rows = []
    for building in BUILDING_CLASSES:
        at = [f"{din4150.limit_mm_s(building, hz):g}" for hz in DIN_HZ]
        top = f"{din4150.limit_mm_s(building, None, 'top_floor'):g}"
        rows.append((code(building), *at, f"{din4150.limit_mm_s(building, None):g}", top))
    head = ("class", *(f"{hz:g} Hz" for hz in DIN_HZ), "unknown", "top floor")
    return table(head, rows)


def duties() -> str:
    """The duty rows of a new home."""
    rows = [
        (code(d.kind), f"≤ {d.severity_min}", d.level, d.role, code(d.department), d.source,
         f"{d.name} · {d.name_en}", d.why)
        for d in DEFAULT_DUTIES
    ]  # fmt: skip
    return table(("kind", "severity", "level", "role", "department", "source", "unit", "why"), rows)


def matters() -> str:
    """Alert kind → matter of city management."""
    rows = [(code(kind), code(matter), f"{zh} · {en}") for kind, (matter, zh, en) in MATTERS.items()]
    return table(("kind", "matter", "name"), rows)
