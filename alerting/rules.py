"""Rules as checked settings: which detector watches what, and when it speaks.

A rule is data (table ``rule``); this module turns it into types or says in one
sentence what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from alerting.detectors.base import Rule
from alerting.detectors.catalogue import DETECTORS
from domain.errors import SettingsError


def parse_rule(row: Mapping[str, Any]) -> Rule:
    """A rule of ``id, detector, kind, settings`` and optionally ``version, enabled``.

    Raises SettingsError that names the rule, the setting and what is wrong with it.
    """
    name = str(row.get("id") or "")
    if not name:
        raise SettingsError("a rule without id; give each rule a short unique id")
    detector = DETECTORS.get(str(row.get("detector")))
    if detector is None:
        raise SettingsError(
            f"rule {name}: unknown detector {row.get('detector')!r}; use one of {', '.join(sorted(DETECTORS))}"
        )
    kind = str(row.get("kind") or "")
    if not kind:
        raise SettingsError(f"rule {name}: kind is missing; give what its alerts are called, e.g. fire.smoke")
    try:
        settings = detector.settings.model_validate(row.get("settings"))
    except ValidationError as error:
        raise SettingsError(f"rule {name}: {_first(error)}") from error
    version, enabled = int(row.get("version", 1)), bool(row.get("enabled", True))
    return Rule(name, str(row["detector"]), kind, settings, version, enabled)


def parse_rules(rows: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """All rules; raises SettingsError for a wrong one or an id given twice."""
    rules = [parse_rule(row) for row in rows]
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            raise SettingsError(f"rule {rule.id} is given twice; ids must be unique")
        seen.add(rule.id)
    return rules


def _first(error: ValidationError) -> str:
    """The first complaint in one line."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "settings"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"
