"""Files of duties and of what they refer to, of rules, and of works sites and truck permits: text in, rows out.

CSV names its columns in the first line; lines before it that begin with ``#`` are
remarks, and in a duties file they may say ``# batch: 2027-q1``, ``# starts: 2027-01-01``,
``# replaces: default`` and ``# note: …``. TOML has the same under ``[batch]`` and one
``[[duties]]`` (or ``[[matters]]`` …) a row, with the columns as keys; GeoJSON (sites and
truck permits) has them as properties beside the outline or corridor. A bad row never
hides the good ones: it becomes a Problem with its line and every reason. A file that
cannot be read at all raises ImportFileError. Pure.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

from alerting.dispatch.batches import Batch
from alerting.dispatch.cells import Cells
from alerting.dispatch.duties import ROLES, SOURCES, DutyRow
from alerting.dispatch.parties import REACH_M_MAX
from alerting.dispatch.windows import CITY_ZONE, DAY_KINDS
from alerting.rules import parse_rule
from alerting.trips.table_rows import SITE_COLUMNS, TRUCK_PERMIT_COLUMNS, site_row, truck_permit_row
from domain.addresses import address_rule
from domain.clock import from_us
from domain.errors import ImportFileError, SettingsError
from domain.places import CITY_LEVELS

COLUMNS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # what: (needed, others)
    "duties": (
        ("level", "role"),
        ("kind", "matter", "severity", "place", "department", "source", "name", "name_en", "why", "days", "hours",
         "from", "to", "within_m"),
    ),
    "matters": (("code", "name"), ("name_en", "class", "department")),
    "rules": (("id", "detector", "kind", "settings"), ("enabled",)),
    "units": (("id", "name"), ("name_en", "desk", "contact")),
    "rota": (("unit", "person"), ("contact", "instead_of", "days", "hours", "from", "to")),
    "holidays": (("day", "kind"), ("name",)),
    "owners": (("building", "unit", "name"), ("name_en",)),
    "maintainers": (("unit", "name"), ("name_en", "device", "kind", "place")),
    "permits": (("id", "name", "unit", "lon", "lat", "from", "to"), ("name_en", "radius_m", "datum")),
    "sites": SITE_COLUMNS,
    "truck-permits": TRUCK_PERMIT_COLUMNS,
}  # fmt: skip
TABLE_KINDS = tuple(COLUMNS)
SHAPES = {"sites": "outline", "truck-permits": "corridor"}
"""Which column the geometry of a GeoJSON feature is."""

MATTER_CODE = (r"[a-z0-9-]+:[0-9A-Za-z]+", "write standard:code, such as gb47678-2026:08011")
BATCH_WORDS = ("batch", "starts", "replaces", "note")

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One row that cannot be taken: where it stands and why."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(slots=True)
class ParsedTable:
    """The good rows, in the columns the database takes; ``duties`` for a duties file, with days and hours."""

    what: str
    rows: list[Row] = field(default_factory=list)
    duties: list[tuple[DutyRow, str, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    batch: Batch = field(default_factory=lambda: Batch("default"))

    @property
    def count(self) -> int:
        """Good rows."""
        return len(self.rows) + len(self.duties)


def parse_table(
    what: str,
    content: bytes,
    places: Mapping[str, str] | None = None,
    *,
    suffix: str = ".csv",
    zone: ZoneInfo = CITY_ZONE,
    datum: str | None = None,
) -> ParsedTable:
    """The rows of a file.

    ``places``: names that stand for codes (a name that is two places' must be left out);
    ``suffix``: ``.toml``, ``.geojson`` or ``.json``, else CSV; ``zone``: of times, ``datum``: of
    coordinates that name none. Raises: ImportFileError.
    """
    text = _text(content)
    words, records = _READ.get(suffix.lower(), _csv)(what, text)
    parsed = ParsedTable(what, batch=_batch(words, zone) if what == "duties" else Batch("default"))
    seen: dict[object, str] = {}
    for where, record in records:
        if isinstance(record, str):
            parsed.problems.append(Problem(where, record))
            continue
        if datum is not None and not record.get("datum"):
            record = {**record, "datum": datum}
        cells = Cells(record, places or {}, zone)
        row = _PARSE[what](cells)
        key = _key(what, row)
        if not cells.wrong and key in seen:
            cells.wrong.append(f"the same as {seen[key]}; keep one of the two")
        if cells.wrong:
            parsed.problems.append(Problem(where, "; ".join(cells.wrong)))
            continue
        seen[key] = where
        if what == "duties":
            duty, days, hours = row
            parsed.duties.append((replace(duty, batch=parsed.batch.name), days, hours))
        else:
            parsed.rows.append(row)
    return parsed


# ---------------------------------------------------------------- what stands in a row


def _duty(cells: Cells) -> Row:
    matter = cells.matching("matter", *MATTER_CODE)
    kind = cells.matching("kind", r"\*|[a-z][a-z0-9_.-]*(\.\*)?", "write a kind, such as fire.smoke or fire.*")
    if not kind and not matter:
        cells.bad("kind", "name a kind (such as fire.*) or a matter, or * for every kind")
    source = cells.choice("source", SOURCES, "unit")
    department = cells.matching("department", r"[a-z0-9-]{1,64}", "write a short word in a-z, such as housing")
    name = cells.text("name")
    if not name and (source == "unit" or department):
        cells.bad("name", "the unit's name is missing; {place} in it stands for the territory's name")
    within_m = cells.number("within_m", 0.0, 0.0, REACH_M_MAX)
    if source == "permit" and within_m == 0.0:
        cells.bad("within_m", "a row of source permit needs the metres within which the works count")
    role = cells.choice("role", ROLES)
    if role == "lead" and source in ("owner", "permit"):
        cells.bad("role", f"a {source} cannot lead: it may be unknown; write co")
    window = cells.window()
    start, end = cells.period()
    row = DutyRow(
        kind or "*", cells.choice("level", CITY_LEVELS), department, name, cells.text("name_en") or name, role,
        cells.text("why") or "按职责表 · by the duty table", round(cells.number("severity", 4, 1, 4)),
        cells.place("place"), start, end, matter, source, within_m, window,
    )  # fmt: skip
    return row, DAY_KINDS.get(cells.text("days"), cells.text("days")), cells.text("hours")


def _matter(cells: Cells) -> Row:
    code = cells.matching("code", *MATTER_CODE, needed=True)
    standard, _, number = code.partition(":")
    if standard.startswith("gb47678") and not re.fullmatch(r"[0-9]{5}|[0-9]{11}", number):
        cells.bad("code", "a matter of GB/T 47678.5 has 5 digits, or 11 with the division before them")
    name, name_en = cells.needed("name"), cells.text("name_en")
    return code, name, name_en, standard, cells.text("class"), cells.text("department")


def _rule(cells: Cells) -> Row:
    settings, enabled = cells.mapping("settings"), cells.flag("enabled", True)
    words = {name: cells.text(name) for name in ("id", "detector", "kind")}
    if not cells.wrong:
        try:
            parse_rule({**words, "settings": settings})
        except SettingsError as error:
            cells.wrong.append(str(error))
    return words["id"], words["detector"], words["kind"], enabled, json.dumps(settings, ensure_ascii=False)


def _unit_id(cells: Cells, name: str) -> str:
    return cells.matching(name, r"[a-z]+:[0-9A-Za-z]+(:[a-z0-9-]+)?", "write level:code or level:code:department",
                          needed=True)  # fmt: skip


def _unit(cells: Cells) -> Row:
    name, name_en = cells.needed("name"), cells.text("name_en")
    return _unit_id(cells, "id"), name, name_en, cells.text("desk"), cells.text("contact")


def _rota(cells: Cells) -> Row:
    cells.window()
    start, end = cells.period()
    person = cells.needed("person")
    if person and cells.text("instead_of") == person:
        cells.bad("instead_of", f"{person} cannot stand in for {person}")
    days = DAY_KINDS.get(cells.text("days"), cells.text("days"))
    until = None if end is None else from_us(end)
    return (_unit_id(cells, "unit"), person, cells.text("contact"), cells.text("instead_of"), days,
            cells.text("hours"), from_us(start), until)  # fmt: skip


def _holiday(cells: Cells) -> Row:
    return cells.day("day"), cells.choice("kind", ("holiday", "workday")), cells.text("name")


def _owner(cells: Cells) -> Row:
    digits = address_rule().building_length
    how = f"write the first {digits} digits of the building's addresses"
    building = cells.matching("building", rf"[0-9]{{{digits}}}", how, needed=True)
    return building, cells.needed("unit"), cells.needed("name"), cells.text("name_en")


def _maintainer(cells: Cells) -> Row:
    device, kind, place = cells.text("device"), cells.text("kind"), cells.place("place")
    if device and (kind or place):
        cells.bad("device", "a row for one device names neither kind nor place")
    return device, kind, place, cells.needed("unit"), cells.needed("name"), cells.text("name_en")


def _permit(cells: Cells) -> Row:
    lon, lat = cells.point()
    start, end = cells.period()
    if end is None:
        cells.bad("to", "a permit ends; give its last moment")
    return (cells.needed("id"), cells.needed("name"), cells.text("name_en"), cells.needed("unit"), lon, lat,
            cells.number("radius_m", 0.0, 0.0, REACH_M_MAX), from_us(start), from_us(end or 0))  # fmt: skip


_PARSE: Mapping[str, Callable[[Cells], Row]] = {
    "duties": _duty, "matters": _matter, "rules": _rule, "units": _unit, "rota": _rota, "holidays": _holiday,
    "owners": _owner, "maintainers": _maintainer, "permits": _permit, "sites": site_row,
    "truck-permits": truck_permit_row,
}  # fmt: skip


def _key(what: str, row: Row) -> object:
    if what == "duties":
        duty: DutyRow = row[0]
        return replace(duty, name="", name_en="", why="")
    if what == "maintainers":
        return row[:3]
    return row if what == "rota" else row[0]


# ---------------------------------------------------------------- files


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ImportFileError(f'line {line}: not UTF-8; save the file as UTF-8 (Excel: "CSV UTF-8")') from error


Records = Iterator[tuple[str, dict[str, Any] | str]]


def _csv(what: str, text: str) -> tuple[dict[str, str], Records]:
    words: dict[str, str] = {}
    lines = text.splitlines(keepends=True)
    first = 0
    while first < len(lines) and (not lines[first].strip() or lines[first].lstrip().startswith("#")):
        name, _, value = lines[first].lstrip("# ").partition(":")
        if name.strip() in BATCH_WORDS:
            words[name.strip()] = value.strip().rstrip(",")  # spreadsheets fill the line with commas
        first += 1
    return words, _records(what, "".join(lines[first:]), first)


def _records(what: str, text: str, skipped: int) -> Records:
    needed, others = COLUMNS[what]
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_names(what, header, "the first line")
        if missing := [name for name in needed if name not in header]:
            known = ",".join(needed + others)
            raise ImportFileError(f"the first line lacks the column {missing[0]!r}; known are: {known}")
        line = reader.line_num + 1
        for record in reader:
            where = f"line {line + skipped}"
            line = reader.line_num + 1
            if not any(value.strip() for value in record):
                continue
            if len(record) != len(header):
                yield where, f"{len(record)} fields, the first line has {len(header)}"
            else:
                yield where, {name: value.strip() for name, value in zip(header, record, strict=True)}
    except csv.Error as error:
        raise ImportFileError(f"line {reader.line_num + skipped}: not CSV: {error}") from error


def _check_names(what: str, names: Sequence[str], where: str) -> None:
    needed, others = COLUMNS[what]
    for name in names:
        if name not in needed + others:
            raise ImportFileError(f"unknown column {name!r} in {where}; known are: {','.join(needed + others)}")
        if names.count(name) > 1:
            raise ImportFileError(f"column {name!r} stands twice in {where}")


def _toml(what: str, text: str) -> tuple[dict[str, str], Records]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ImportFileError(f"not TOML: {error}") from error
    if unknown := sorted(set(document) - {what, "batch"}):
        raise ImportFileError(f"unknown table {unknown[0]!r}; write [[{what}]] for each row")
    rows = document.get(what, [])
    head = document.get("batch", {})
    if not isinstance(rows, list) or not isinstance(head, dict):
        raise ImportFileError(f"write [batch] once and [[{what}]] for each row")
    words = {("batch" if name == "name" else str(name)): _listed(value) for name, value in head.items()}
    return words, _tables(what, text, rows)


def _geojson(what: str, text: str) -> tuple[dict[str, str], Records]:
    if what not in SHAPES:
        raise ImportFileError(f"{what} have no outlines: write CSV or TOML")
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ImportFileError(f"line {error.lineno}: not GeoJSON: {error.msg}") from error
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list):
        raise ImportFileError("not GeoJSON: expected an object of type FeatureCollection with a list of features")
    return {}, _properties(what, features)


def _properties(what: str, features: Sequence[Any]) -> Records:
    needed, others = COLUMNS[what]
    for number, feature in enumerate(features, 1):
        where = f"feature {number}"
        properties = feature.get("properties") if isinstance(feature, dict) else None
        if not isinstance(properties, dict):
            yield where, "not a feature with properties"
        elif unknown := [name for name in properties if name not in needed + others]:
            yield where, f"unknown property {unknown[0]!r}; known are: {','.join(needed + others)}"
        else:
            record = {name: "" if v is None else str(v).strip() for name, v in properties.items()}
            if geometry := feature.get("geometry"):
                record |= _geometry(SHAPES[what], geometry)
            yield where, record


def _geometry(column: str, geometry: Any) -> dict[str, str]:
    """A point's degrees as ``lon`` and ``lat``, any other shape as the column's text."""
    if isinstance(geometry, dict) and geometry.get("type") == "Point" and column == "outline":
        lon, lat, *_ = [*map(str, geometry.get("coordinates") or []), "", ""]
        return {"lon": lon, "lat": lat}
    return {column: json.dumps(geometry)}


_READ = {".toml": _toml, ".geojson": _geojson, ".json": _geojson}


def _listed(value: Any) -> str:
    return ", ".join(str(part) for part in value) if isinstance(value, list) else str(value)


def _tables(what: str, text: str, rows: Sequence[Any]) -> Records:
    opens = re.compile(rf"\s*\[\[\s*{what}\s*\]\]")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if opens.match(line)]
    needed, others = COLUMNS[what]
    for number, row in enumerate(rows):
        where = f"line {lines[number]}" if number < len(lines) else f"row {number + 1}"
        if not isinstance(row, dict):
            yield where, f"write [[{what}]] and the columns below it"
        elif unknown := [name for name in row if name not in needed + others]:
            yield where, f"unknown column {unknown[0]!r}; known are: {','.join(needed + others)}"
        else:
            yield where, {name: v if isinstance(v, dict) else str(v).strip() for name, v in row.items()}


def _batch(words: Mapping[str, str], zone: ZoneInfo) -> Batch:
    if unknown := sorted(set(words) - set(BATCH_WORDS)):
        raise ImportFileError(f"unknown word {unknown[0]!r} of the batch; known are: {', '.join(BATCH_WORDS)}")
    cells = Cells(words, {}, zone)
    name = cells.matching("batch", r"[A-Za-z0-9._-]{1,64}", "write a short name, such as 2027-q1", needed=True)
    starts_us = cells.time("starts")
    if cells.wrong:
        raise ImportFileError(
            f"{'; '.join(cells.wrong)} (a duties file says at its top: # batch: 2027-q1 and # starts: 2027-01-01)"
        )
    replaces = tuple(part for part in re.split(r"[,\s]+", words.get("replaces", "")) if part)
    return Batch(name, starts_us or 0, replaces, words.get("note", ""))
