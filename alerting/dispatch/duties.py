"""Who is told: duty rows × kind × severity × place → units, with the reason for each.

A row names a kind pattern, the mildest severity it is told of, the level of the
territory whose unit acts, the department and the role. The most specific
matching lead row leads (longest place prefix, then longest kind pattern, then
strictest severity); leads that lose help as ``co``. If nobody leads, the
smallest known territory does (属地兜底); without a known place it is the city's
desk. So there is always somebody, and every step of the way can be shown. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alerting.dispatch.matters import matches
from domain.places import CITY_LEVELS, Duty, Place

CITY = "441900"
CITY_NAMES = {"zh": "东莞市", "en": "Dongguan"}
FALLBACK_WHY = "属地兜底：无匹配的主办单位 · no lead matched, the smallest known territory takes it"
DESK_WHY = "地点不明，由市指挥中心受理 · place unknown, the city's desk takes it"


@dataclass(frozen=True, slots=True)
class DutyRow:
    """One row of table ``duty``; times are microseconds, ``valid_to_us`` None = open.

    ``name``: text with ``{place}``; ``department``: '' = the territory itself;
    ``place``: code prefix the row holds for; ``severity_min``: told when the
    alert's severity is this number or worse (1 is worst).
    """

    kind: str
    level: str
    department: str
    name: str
    name_en: str
    role: str
    why: str
    severity_min: int = 4
    place: str = ""
    valid_from_us: int = 0
    valid_to_us: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One row's fate on the way: ``outcome`` is told, demoted, or lost."""

    row: str
    outcome: str
    why: str


@dataclass(frozen=True, slots=True)
class Routing:
    """The units that are told, lead first, and how it came to that."""

    duties: tuple[Duty, ...]
    steps: tuple[Step, ...]

    def steps_json(self) -> list[dict[str, Any]]:
        """The steps as plain objects."""
        return [{"row": s.row, "outcome": s.outcome, "why": s.why} for s in self.steps]


def route(kind: str, severity: int, place: Place, rows: Sequence[DutyRow], at_us: int) -> Routing:
    """Who is told of an alert of ``kind`` and ``severity`` at ``place`` at this time."""
    steps: list[Step] = []
    told: list[DutyRow] = []
    for row in rows:
        lost = _lost(row, kind, severity, place, at_us)
        if lost is None:
            told.append(row)
        else:
            steps.append(Step(_label(row), "lost", lost))
    leads = sorted((r for r in told if r.role == "lead"), key=_specificity, reverse=True)
    lead = leads[0] if leads else None
    duties: dict[str, Duty] = {}
    if lead is not None:
        steps.append(Step(_label(lead), "told", "leads: the most specific lead row that matches"))
        _add(duties, _duty(lead, place, "lead"))
    else:
        fallback = _fallback(place)
        steps.append(Step("fallback", "told", fallback.why))
        _add(duties, fallback)
    for row in told:
        if row is lead:
            continue
        demoted = row.role == "lead"
        outcome = f"helps: {_label(lead)} is more specific" if demoted and lead else f"told as {row.role}"
        steps.append(Step(_label(row), "demoted" if demoted else "told", outcome))
        _add(duties, _duty(row, place, "co" if demoted else row.role))
    return Routing(tuple(duties.values()), tuple(steps))


def _lost(row: DutyRow, kind: str, severity: int, place: Place, at_us: int) -> str | None:
    """Why the row does not apply, or None."""
    if not matches(row.kind, kind):
        return f"kind {kind} is not {row.kind}"
    if severity > row.severity_min:
        return f"severity {severity} is milder than {row.severity_min}"
    if at_us < row.valid_from_us or (row.valid_to_us is not None and at_us >= row.valid_to_us):
        return "not valid at this time"
    if row.level != "city" and _code(row.level, place) is None:
        return f"the {row.level} is unknown"
    if row.place and not any((_code(level, place) or "").startswith(row.place) for level in CITY_LEVELS):
        return f"the place is not within {row.place}"
    return None


def _code(level: str, place: Place) -> str | None:
    if level == "city":
        return place.town[:6] if place.town else CITY
    code: str | None = {"grid": place.grid, "village": place.village, "town": place.town}[level]
    return code


def _specificity(row: DutyRow) -> tuple[int, int, int]:
    return (len(row.place), len(row.kind.rstrip("*")), -row.severity_min)


def _label(row: DutyRow) -> str:
    return f"{row.kind} @{row.level}:{row.department or 'territory'} {row.role} (severity ≤ {row.severity_min})"


def _place_names(level: str, place: Place) -> dict[str, str]:
    """Chinese and English name of the territory; a cell is its village's name and its own number."""
    if level == "city":
        return CITY_NAMES
    of = "village" if level == "grid" else level
    code = _code(of, place) or ""
    zh = place.names.get(of) or code
    names = {"zh": zh, "en": place.names.get(f"{of}_en") or zh}
    if level == "grid" and place.grid:
        cell = place.grid[-3:]
        names = {"zh": f"{names['zh']}{cell}网格", "en": f"{names['en']} cell {cell}"}
    return names


def _duty(row: DutyRow, place: Place, role: str) -> Duty:
    names = _place_names(row.level, place)
    unit = f"{row.level}:{_code(row.level, place)}" + (f":{row.department}" if row.department else "")
    name = {"zh": row.name.replace("{place}", names["zh"]), "en": row.name_en.replace("{place}", names["en"])}
    return Duty(unit, role, row.why, name)


def _fallback(place: Place) -> Duty:
    for level in CITY_LEVELS[:-1]:
        code = _code(level, place)
        if code is not None:
            return Duty(f"{level}:{code}", "lead", FALLBACK_WHY, _place_names(level, place))
    name = {"zh": f"{CITY_NAMES['zh']}指挥中心", "en": f"{CITY_NAMES['en']} city desk"}
    return Duty(f"city:{CITY}:desk", "lead", DESK_WHY, name)


def _add(duties: dict[str, Duty], duty: Duty) -> None:
    """A unit is told once, in the first role it was given."""
    duties.setdefault(duty.unit, duty)
