"""Files of rules: TOML in, checked rules and problems with their line out.

    [[rule]]
    id = "fire.smoke.kitchens"
    detector = "threshold"
    kind = "fire.smoke"
    applies_to = { products = ["KX-9"], places = ["441900003"] }
    valid_from = 2027-01-01
    note = "kitchens steam"
      [rule.settings]
      metric = "smoke_ppm"
      …

A bad rule never hides the good ones: it becomes a Problem with the line of what is
wrong in it. ``[[rules]]`` is taken too. A file that is no TOML raises ImportFileError. Pure.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from alerting.detectors.base import Rule
from alerting.dispatch.table_import import Problem, parse_table
from alerting.dispatch.windows import CITY_ZONE
from alerting.rules import FIELDS, parse_rule
from domain.errors import ImportFileError, SettingsError

TABLES = ("rule", "rules")
OPENS = re.compile(r"\s*\[\[\s*rules?\s*\]\]")
WRONG = re.compile(r"rule [^:]+: (?:unknown |an )?([A-Za-z_]+)")


@dataclass(slots=True)
class ParsedRules:
    """Good rules as rows for the table, and as types; what is wrong with the others."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def parse_rule_file(content: bytes, *, toml: bool, zone: ZoneInfo = CITY_ZONE) -> ParsedRules:
    """The rules of a file; ``zone``: of times that name none. Raises: ImportFileError."""
    parsed = ParsedRules()
    seen: dict[str, str] = {}
    for where, lines, row in _toml(content, zone) if toml else _csv(content, parsed):
        try:
            if unknown := [name for name in row if name not in (*FIELDS, "note")]:
                near = difflib.get_close_matches(unknown[0], FIELDS, 1)
                hint = f", did you mean {near[0]}?" if near else f"; known are: {', '.join((*FIELDS, 'note'))}"
                raise SettingsError(f"rule {row.get('id')}: {unknown[0]} is not known here{hint}")
            rule = parse_rule(row)
            if rule.id in seen:
                raise SettingsError(f"rule {rule.id}: id is that of {seen[rule.id]} too; keep one of the two")
        except SettingsError as error:
            parsed.problems.append(Problem(_line(where, lines, str(error)), str(error)))
            continue
        seen[rule.id] = where
        parsed.rows.append(row)
        parsed.rules.append(rule)
    return parsed


def _toml(content: bytes, zone: ZoneInfo) -> list[tuple[str, Mapping[int, str], dict[str, Any]]]:
    try:
        text = content.decode("utf-8-sig")
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ImportFileError(f"line {line}: not UTF-8; save the file as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ImportFileError(f"not TOML: {error}") from error
    if unknown := sorted(set(document) - set(TABLES)):
        raise ImportFileError(f"unknown table {unknown[0]!r}; write [[rule]] for each rule")
    tables = [document.get(table, []) for table in TABLES]
    rows = [row for table in tables if isinstance(table, list) for row in table]
    if not all(isinstance(table, list) for table in tables) or not all(isinstance(row, dict) for row in rows):
        raise ImportFileError("write [[rule]] and what it is made of below it")
    lines = text.splitlines()
    opens = [number for number, line in enumerate(lines, 1) if OPENS.match(line)]
    found: list[tuple[str, Mapping[int, str], dict[str, Any]]] = []
    for number, row in enumerate(rows):
        begin = opens[number] if number < len(opens) else 1
        end = opens[number + 1] if number + 1 < len(opens) else len(lines) + 1
        segment = {at: lines[at - 1] for at in range(begin, end)}
        found.append((f"line {begin}", segment, {name: _zoned(value, zone) for name, value in row.items()}))
    return found


def _csv(content: bytes, parsed: ParsedRules) -> list[tuple[str, Mapping[int, str], dict[str, Any]]]:
    """Columns id, detector, kind, settings (JSON), enabled."""
    table = parse_table("rules", content)
    parsed.problems += table.problems
    names = ("id", "detector", "kind", "enabled", "settings")
    rows: Sequence[tuple[Any, ...]] = table.rows
    return [("another line", {}, dict(zip(names, (*row[:4], json.loads(row[4])), strict=True))) for row in rows]


def _zoned(value: Any, zone: ZoneInfo) -> Any:
    """A date is its midnight in the city, a time without a zone is the city's."""
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=zone)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=zone).astimezone(UTC)
    return value


def _line(where: str, lines: Mapping[int, str], error: str) -> str:
    """The line of the setting which the error names, else of the rule."""
    match = WRONG.match(error)
    if match is not None:
        key = re.compile(rf"""\s*["']?{match[1]}["']?\s*=|.*\b{match[1]}\s*=|\s*\[[\w.]*\.{match[1]}\]""")
        for number, line in lines.items():
            if key.match(line):
                return f"line {number}"
    return where
