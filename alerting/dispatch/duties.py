"""Who is told: duty rows × matter × severity × place × time → units, with the reason for each.

A row names a kind pattern or a matter, the mildest severity it is told of, the
territory it holds for, when it holds, and whose unit acts: a department of a level,
the building's owner, the device's maintainer, or the works with a permit nearby.
The most specific matching lead row leads (``rank`` gives the order); leads that
lose help as ``co``. If nobody leads, the smallest known territory does
(属地兜底); without a known place it is the city's desk. So there is always exactly
one lead, and every step of the way can be shown. Pure.

``route`` here looks at every row: the plain meaning, which ``table.DutyTable`` must
match and which explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from alerting.dispatch.matters import matches
from alerting.dispatch.parties import NO_PARTIES, Parties, Party
from alerting.dispatch.windows import ALWAYS, Calendar, Moment, Window
from domain.places import CITY_LEVELS, Duty, Place

CITY = "441900"
CITY_NAMES = {"zh": "东莞市", "en": "Dongguan"}
FALLBACK_WHY = "属地兜底：无匹配的主办单位 · no lead matched, the smallest known territory takes it"
DESK_WHY = "地点不明，由市指挥中心受理 · place unknown, the city's desk takes it"
ROLES = ("lead", "co", "owner", "maintainer")
SOURCES = ("unit", "owner", "maintainer", "permit")


@dataclass(frozen=True, slots=True)
class DutyRow:
    """One row of table ``duty``; times are microseconds, ``valid_to_us`` None = open.

    ``name``: text with ``{place}``; ``department``: '' = the territory itself;
    ``place``: code prefix the row holds for; ``severity_min``: told when the alert's
    severity is this number or worse (1 is worst); ``matter``: exact code or '';
    ``source``: unit | owner | maintainer | permit; ``within_m``: how far a permit's site
    may be; ``batch_us``: when its batch started; ``ended_by``: the batch that ended it.
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
    matter: str = ""
    source: str = "unit"
    within_m: float = 0.0
    window: Window = ALWAYS
    batch: str = "default"
    batch_us: int = 0
    ended_by: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be routed. ``lon``, ``lat`` (WGS-84) find permits, ``device`` its maintainer."""

    kind: str
    severity: int
    place: Place
    at_us: int
    matter: str = ""
    device: str = ""
    device_kind: str = ""
    lon: float | None = None
    lat: float | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What rows refer to beside themselves: the calendar, and whose things are."""

    calendar: Calendar = field(default_factory=Calendar)
    parties: Parties = NO_PARTIES


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


def route(
    kind: str, severity: int, place: Place, rows: Sequence[DutyRow], at_us: int, context: Context | None = None
) -> Routing:
    """Who is told of an alert of ``kind`` and ``severity`` at ``place`` at this time."""
    return route_asked(Asked(kind, severity, place, at_us), rows, context or Context())


def route_asked(asked: Asked, rows: Iterable[DutyRow], context: Context) -> Routing:
    """Every row is looked at in the order of the table."""
    moment = context.calendar.moment(asked.at_us)
    steps: list[Step] = []
    told: list[DutyRow] = []
    for row in rows:
        reason = lost(row, asked, moment, context.parties)
        if reason is None:
            told.append(row)
        else:
            steps.append(Step(label(row), "lost", reason))
    return Routing(decide(told, asked, context.parties, steps), tuple(steps))


def decide(
    told: Sequence[DutyRow], asked: Asked, parties: Parties, steps: list[Step] | None = None
) -> tuple[Duty, ...]:
    """Rows that match, in the table's order, to units, lead first; adds to ``steps`` when given."""
    lead: DutyRow | None = None
    best: tuple[float, ...] = ()
    for row in told:
        if row.role == "lead" and (lead is None or (this := rank(row)) > best):
            lead, best = row, rank(row) if lead is None else this
    duties: dict[str, Duty] = {}
    names: dict[str, dict[str, str]] = {}
    if lead is None:
        fallback = _fallback(asked.place)
        duties[fallback.unit] = fallback
        if steps is not None:
            steps.append(Step("fallback", "told", fallback.why))
    else:
        for duty in _duties(lead, "lead", asked, parties, names):
            duties.setdefault(duty.unit, duty)
        if steps is not None:
            steps.append(Step(label(lead), "told", "leads: the most specific lead row that matches"))
    for row in told:
        if row is lead:
            continue
        demoted = row.role == "lead"
        for duty in _duties(row, "co" if demoted else row.role, asked, parties, names):
            duties.setdefault(duty.unit, duty)  # a unit is told once, in the first role it was given
        if steps is not None:
            why = f"helps: {_beaten(row, lead)}" if demoted and lead else f"told as {row.role}"
            steps.append(Step(label(row), "demoted" if demoted else "told", why))
    return tuple(duties.values())


def lost(row: DutyRow, asked: Asked, moment: Moment, parties: Parties) -> str | None:
    """Why the row does not apply, or None."""
    place, at_us = asked.place, asked.at_us
    if not matches(row.kind, asked.kind):
        return f"kind {asked.kind} is not {row.kind}"
    if row.matter and row.matter != asked.matter:
        return f"matter {asked.matter or 'unknown'} is not {row.matter}"
    if row.place and not deepest(place).startswith(row.place):
        return f"the place is not within {row.place}"
    if asked.severity > row.severity_min:
        return f"severity {asked.severity} is milder than {row.severity_min}"
    if row.valid_to_us is not None and at_us >= row.valid_to_us:
        return f"batch {row.ended_by} took its place" if row.ended_by else "not valid at this time"
    if at_us < row.valid_from_us:
        return "not valid at this time"
    if row.window is not ALWAYS and not row.window.holds(moment):
        return "not its days or hours"
    if row.level != "city" and territory(row.level, place) is None:
        return f"the {row.level} is unknown"
    if row.source != "unit":
        return _nobody(row, asked, parties)
    return None


def _nobody(row: DutyRow, asked: Asked, parties: Parties) -> str | None:
    """Why there is no owner or no works nearby; a maintainer not known is the row's own unit."""
    if row.source == "owner" and parties.owner(asked.place) is None:
        return "the building's owner is not known"
    if row.source == "permit" and not parties.permits(asked.lon, asked.lat, asked.at_us, row.within_m):
        return f"no works with a permit within {row.within_m:g} m"
    return None


RANK_WORDS = (
    "its place is narrower", "it names the matter", "its kind is narrower", "its batch is newer",
    "it is for graver severities", "its hours are narrower", "its territory is smaller",
)  # fmt: skip


def rank(row: DutyRow) -> tuple[float, ...]:
    """The order of leads, most specific last; see RANK_WORDS. Equal ranks: the earlier row."""
    return (
        len(row.place), bool(row.matter), len(row.kind.rstrip("*")), row.batch_us, -row.severity_min,
        0 if row.window is ALWAYS else -row.window.minutes + ALWAYS.minutes, -CITY_LEVELS.index(row.level),
    )  # fmt: skip


def _beaten(row: DutyRow, lead: DutyRow) -> str:
    for word, mine, its in zip(RANK_WORDS, rank(row), rank(lead), strict=True):
        if mine != its:
            return f"{label(lead)} is more specific: {word}"
    return f"{label(lead)} stands before it"


def label(row: DutyRow) -> str:
    """A row in one line."""
    subject = f"{row.kind} {row.matter}".strip() if row.matter else row.kind
    where = f" in {row.place}" if row.place else ""
    whose = "" if row.source == "unit" else f" {row.source}"
    who = f"{row.level}:{row.department or 'territory'}{whose}"
    return f"{subject}{where} @{who} {row.role} (severity ≤ {row.severity_min})"


def deepest(place: Place) -> str:
    """The longest known code; codes are nested, so its prefixes are all there is."""
    return place.grid or place.village or place.town or CITY


def territory(level: str, place: Place) -> str | None:
    """The place's code at a level, None when unknown."""
    if level == "city":
        return place.town[:6] if place.town else CITY
    code: str | None = getattr(place, level)
    return code


def _place_names(level: str, place: Place) -> dict[str, str]:
    """Chinese and English name of the territory; a cell is its village's name and its own number."""
    if level == "city":
        return CITY_NAMES
    of = "village" if level == "grid" else level
    code = territory(of, place) or ""
    zh = place.names.get(of) or code
    names = {"zh": zh, "en": place.names.get(f"{of}_en") or zh}
    if level == "grid" and place.grid:
        cell = place.grid[-3:]
        names = {"zh": f"{names['zh']}{cell}网格", "en": f"{names['en']} cell {cell}"}
    return names


def _duties(
    row: DutyRow, role: str, asked: Asked, parties: Parties, names: dict[str, dict[str, str]]
) -> Iterator[Duty]:
    """The units a matching row tells; ``names`` remembers the territories' names of one routing."""
    why, place = row.why, asked.place
    if row.source == "owner" and (owner := parties.owner(place)):
        yield _party(owner, role, why)
        return
    if row.source == "maintainer" and (keeper := parties.maintainer(asked.device, asked.device_kind, place)):
        yield _party(keeper, role, why)
        return
    if row.source == "permit":
        near = parties.permits(asked.lon, asked.lat, asked.at_us, row.within_m)
        if not row.department:
            for permit in near:
                yield _party(permit.party, role, f"{why} ({permit.id})")
                role = "co" if role == "lead" else role  # the nearest leads, not all of them
            return
        why = f"{why} ({', '.join(permit.id for permit in near)})"
    here = names.get(row.level)
    if here is None:
        here = names[row.level] = _place_names(row.level, place)
    unit = f"{row.level}:{territory(row.level, place)}" + (f":{row.department}" if row.department else "")
    name = {"zh": row.name.replace("{place}", here["zh"]), "en": row.name_en.replace("{place}", here["en"])}
    yield Duty(unit, role, why, name)


def _party(party: Party, role: str, why: str) -> Duty:
    return Duty(party.unit, role, why, {"zh": party.name, "en": party.name_en or party.name})


def _fallback(place: Place) -> Duty:
    for level in CITY_LEVELS[:-1]:
        code = territory(level, place)
        if code is not None:
            return Duty(f"{level}:{code}", "lead", FALLBACK_WHY, _place_names(level, place))
    name = {"zh": f"{CITY_NAMES['zh']}指挥中心", "en": f"{CITY_NAMES['en']} city desk"}
    return Duty(f"city:{CITY}:desk", "lead", DESK_WHY, name)
