"""Rules as checked settings: which detector watches what, for which devices, and when it speaks.

A rule is data (table ``rule``); this module turns it into types or says in one
sentence what is wrong. ``remarks`` says what is not wrong but looks like a mistake.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from alerting.applies import AppliesTo
from alerting.detectors.base import Rule, RuleSettings
from alerting.detectors.catalogue import DETECTORS
from alerting.units import misfit
from domain.clock import iso, to_us
from domain.errors import SettingsError

FIELDS = ("id", "detector", "kind", "applies_to", "valid_from", "valid_to", "enabled", "settings")
"""What makes a rule; version, who changed it and why come beside."""

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
KIND = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*")
NEAR_NAMES = 3


def parse_rule(row: Mapping[str, Any]) -> Rule:
    """A rule of ``id, detector, kind, settings`` and optionally the others of ``FIELDS`` and ``version``.

    ``valid_from``, ``valid_to``: aware datetimes or ISO 8601 with a zone. Raises SettingsError
    that names the rule, the setting and what is wrong with it.
    """
    name = str(row.get("id") or "")
    if not name:
        raise SettingsError("a rule without id; give each rule a short unique id")
    if not ID.fullmatch(name):
        raise SettingsError(f"rule {name!r}: an id is 1 to 64 of A-Za-z0-9._- and begins with a letter or digit")
    detector = DETECTORS.get(str(row.get("detector")))
    if detector is None:
        near = _near(str(row.get("detector")), DETECTORS)
        raise SettingsError(
            f"rule {name}: unknown detector {row.get('detector')!r}{near}; "
            f"use one of {', '.join(sorted(DETECTORS))}"
        )
    kind = str(row.get("kind") or "")
    if not KIND.fullmatch(kind):
        wrong = f"kind {kind!r} is not words of a-z joined by dots" if kind else "kind is missing"
        raise SettingsError(f"rule {name}: {wrong}; give what its alerts are called, e.g. fire.smoke")
    try:
        applies_to = AppliesTo.model_validate(row.get("applies_to") or {})
    except ValidationError as error:
        raise SettingsError(f"rule {name}: applies_to: {_first(error)}") from error
    try:
        settings = detector.settings.model_validate(row.get("settings"))
    except ValidationError as error:
        raise SettingsError(f"rule {name}: {_first(error)}") from error
    if wrong := impossible(settings):
        raise SettingsError(f"rule {name}: {wrong}")
    begins, ends = (_moment(name, field, row.get(field)) for field in ("valid_from", "valid_to"))
    if begins is not None and ends is not None and ends <= begins:
        raise SettingsError(f"rule {name}: valid_to must lie after valid_from")
    return Rule(
        name, str(row["detector"]), kind, settings, int(row.get("version", 1)), bool(row.get("enabled", True)),
        applies_to, begins, ends, str(row.get("changed_by") or ""),
    )  # fmt: skip


def parse_rules(rows: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """All rules; raises SettingsError for a wrong one or an id given twice."""
    rules = [parse_rule(row) for row in rows]
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            raise SettingsError(f"rule {rule.id} is given twice; ids must be unique")
        seen.add(rule.id)
    return rules


def rule_json(rule: Rule) -> dict[str, Any]:
    """The rule as JSON with every setting it goes by, the defaults too; ``parse_rule`` takes it back."""
    return {
        "id": rule.id, "detector": rule.detector, "kind": rule.kind,
        "applies_to": rule.applies_to.model_dump(mode="json", exclude_defaults=True),
        "valid_from": None if rule.valid_from_us is None else iso(rule.valid_from_us),
        "valid_to": None if rule.valid_to_us is None else iso(rule.valid_to_us),
        "enabled": rule.enabled, "settings": rule.settings.model_dump(mode="json"),
    }  # fmt: skip


def impossible(settings: RuleSettings) -> str:
    """What no sensor of this metric could say: a level beyond its range, a unit that is not its own. Else ''."""
    metric = getattr(settings, "metric", None)
    if not isinstance(metric, str):
        return ""
    levels = getattr(settings, "levels", None)
    values = list(levels.values()) if isinstance(levels, dict) else []
    clear = getattr(settings, "clear", None)
    return misfit(metric, getattr(settings, "unit", "") or "", [*values, *([clear] if clear is not None else [])])


def remarks(rule: Rule, metrics: Iterable[str], others: Sequence[Rule]) -> list[str]:
    """What looks like a mistake: metrics nobody has sent, a rule that means exactly the same devices.

    ``metrics``: names that are known; ``others``: the rules beside it.
    """
    known = set(metrics)
    found = [
        f"no device has sent the metric {metric!r} so far{_near(metric, known)}"
        for metric in rule.settings.metrics()
        if metric not in known
    ]
    found += [
        f"rule {other.id} is for the same kind, metric and devices; "
        f"{min(rule.id, other.id)} holds, because it comes first by name"
        for other in others
        if other.id != rule.id
        and other.enabled
        and other.slot == rule.slot
        and other.applies_to == rule.applies_to
        and _overlap(rule, other)
    ]
    return found


def memory_fits(old: Rule, new: Rule) -> bool:
    """Whether what a detector learnt under ``old`` is worth as much under ``new``."""
    if (old.id, old.detector, old.slot) != (new.id, new.detector, new.slot):
        return False
    keeps = new.settings.KEEPS
    before, after = dict(old.settings), dict(new.settings)
    return all(before[name] == after[name] for name in after if name not in keeps)


def _overlap(one: Rule, other: Rule) -> bool:
    never = 1 << 62
    begins = max(one.valid_from_us or -never, other.valid_from_us or -never)
    return begins < min(one.valid_to_us or never, other.valid_to_us or never)


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), NEAR_NAMES, 0.75)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _moment(name: str, field: str, given: Any) -> int | None:
    if given is None or given == "":
        return None
    try:
        when = given if isinstance(given, datetime) else datetime.fromisoformat(str(given))
    except ValueError as error:
        raise SettingsError(f"rule {name}: {field} {given!r} is not ISO 8601") from error
    if when.tzinfo is None:
        raise SettingsError(f"rule {name}: {field} {given!r} needs a zone, such as 2027-01-01T00:00:00+08:00")
    return to_us(when)


def _first(error: ValidationError) -> str:
    """The first complaint in one line."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "settings"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"
