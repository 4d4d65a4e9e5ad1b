"""Many rows onto the map and into cells (落图进格): which matched, how, how surely, and why others did not.

Takes any CSV that says where things are: ``address_id``, ``lon``, ``lat``, ``datum``,
``text`` (an address as people write it), in any mixture; other columns are carried along.
The best thing a row says decides: a registered address, then words and coordinate
together, then either alone. What a row declares (``town``, ``village``, ``grid``, or the cell in
the id of an address file) is held against what was found, and never silently
overruled: such a row is doubtful, with both sides named. Pure; nothing is written.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from domain.addresses import address_rule
from domain.errors import CodeError, ImportFileError, PayloadError
from domain.places import UNKNOWN_PLACE, Place
from geo.codes import parse_address
from geo.imports import degrees_of, in_range, text_of
from geo.locate import Locator
from geo.search import AddressFinder
from geo.text_place import locate_text

ALIASES: Mapping[str, tuple[str, ...]] = {
    "id": ("编号", "设备编号", "编码"), "text": ("address", "地址", "详细地址"),
    "lon": ("lng", "longitude", "经度"), "lat": ("latitude", "纬度"), "datum": ("坐标系",),
    "address_id": ("地址编码", "标准地址编码"),
    "town": ("镇街", "镇街道"), "village": ("村社区", "村"), "grid": ("网格", "网格编码"),
}  # fmt: skip
"""What a column may be called beside its own name."""

FOUND_COLUMNS = (
    "match", "match_method", "match_score", "match_distance_m", "match_address_id", "match_address", "match_grid",
    "match_village", "match_town", "match_village_name", "match_town_name", "match_why", "match_data_version",
)  # fmt: skip
MATCHED, DOUBTFUL, UNMATCHED = "matched", "doubtful", "not matched"
SURE = 0.6
"""The least score of words alone that counts as matched; below it a person looks."""
STEP = 500


@dataclass(slots=True)
class MatchRow:
    """One row: where it stands, its cells, and what it says of its place; ``wrong``: why it cannot be used."""

    line: int
    record: list[str]
    lon: float | None = None
    lat: float | None = None
    datum: str = ""
    address_id: str = ""
    text: str = ""
    town: str = ""
    declared: tuple[str, ...] = ()
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Match:
    """What became of a row; ``why``: what is doubtful or missing, empty for a plain match."""

    row: MatchRow
    verdict: str
    place: Place
    why: tuple[str, ...] = ()

    def cells(self) -> list[str]:
        """The row's cells and ``FOUND_COLUMNS`` behind them."""
        p = self.place
        found = (
            self.verdict, p.method, f"{p.score:.3f}", "" if p.distance_m is None else f"{p.distance_m:.1f}",
            p.address_id, p.address, p.grid, p.village, p.town, p.names.get("village"), p.names.get("town"),
            "; ".join(self.why), p.data_version,
        )  # fmt: skip
        return [*self.row.record, *(str(value or "") for value in found)]


def read_rows(content: bytes, datum: str | None = None) -> tuple[list[str], list[MatchRow]]:
    """The header and the rows of a CSV file; ``datum`` holds where a row names none. Raises: ImportFileError."""
    reader = csv.reader(io.StringIO(text_of(content), newline=""), strict=True)
    rows: list[MatchRow] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        at = _columns(header)
        line = reader.line_num + 1
        for record in reader:
            if any(value.strip() for value in record):
                rows.append(_row(line, header, record, at, datum))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ImportFileError(f"line {reader.line_num}: not CSV: {error}") from error
    _to_wgs84(rows)
    return header, rows


def match_rows(
    rows: Sequence[MatchRow],
    locator: Locator,
    finder: AddressFinder | None,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Match]:
    """What becomes of each row, in order; ``finder`` is needed where rows have words."""
    for start in range(0, len(rows), STEP):
        part = rows[start : start + STEP]
        lon, lat = (
            np.array([math.nan if v is None else v for v in values], np.float64)
            for values in ([row.lon for row in part], [row.lat for row in part])
        )
        for row, point in zip(part, locator.points(lon, lat), strict=True):
            yield _match(row, point, locator, finder)
        progress(start + len(part))


def summary(matches: Sequence[Match]) -> list[str]:
    """Counts by verdict and method, then the reasons by how often they were met."""
    verdicts = Counter(match.verdict for match in matches)
    methods = Counter(match.place.method for match in matches if match.verdict == MATCHED)
    how = ", ".join(f"{count} {method}" for method, count in methods.most_common())
    lines = [
        f"{len(matches)} rows: {verdicts[MATCHED]} matched{f' ({how})' if how else ''},"
        f" {verdicts[DOUBTFUL]} doubtful, {verdicts[UNMATCHED]} not matched"
    ]
    why = Counter(reason.partition(":")[0] for match in matches for reason in match.why)
    return lines + [f"  {count} {reason}" for reason, count in why.most_common()]


# ---------------------------------------------------------------- one row


def _match(row: MatchRow, point: Place, locator: Locator, finder: AddressFinder | None) -> Match:
    if row.wrong:
        return Match(row, UNMATCHED, UNKNOWN_PLACE, tuple(row.wrong))
    place, why = _found(row, point, locator, finder)
    if not place.known:
        return Match(row, UNMATCHED, place, (*why, *_nowhere(row, point)))
    why += _against_declared(row, place, locator)
    if place.grid is None:
        why.append(f"no cell: only the {'village' if place.village else 'town'} is known there")
    if place.method == "text" and place.score < SURE:
        why.append(f"not sure: the words fit with score {place.score:g} only")
    return Match(row, DOUBTFUL if why else MATCHED, place, tuple(why))


def _found(
    row: MatchRow, point: Place, locator: Locator, finder: AddressFinder | None
) -> tuple[Place, list[str]]:
    """The place by the best thing the row says, and what speaks against it."""
    why: list[str] = []
    if row.address_id:
        place = locator.device(row.address_id, row.lon, row.lat)
        if place.method in ("device", "building"):
            if point.town is not None and point.town != place.town:
                why.append(f"conflict: the address lies in {_named(place)}, the coordinate in {_named(point)}")
            return place, why
        why.append(f"unknown address: {row.address_id} is not in the address table")
    if row.text and finder is not None:
        told = locate_text(row.text, locator, finder, row.lon, row.lat)
        why += [f"conflict: {conflict.said}" for conflict in told.conflicts]
        if told.place.known:
            place = told.place
            # The words may name no more than a town; the coordinate that agrees is finer.
            if place.grid is None and point.town == place.town and point.grid is not None:
                place = point
            return place, why
        if len(told.candidates) > 1:
            why.append(f"several places: the words may mean {_candidates(told.candidates, locator)}")
    return point, why


def _nowhere(row: MatchRow, point: Place) -> list[str]:
    if row.lon is not None:
        return ["outside: the coordinate lies in no territory known here"]
    if row.text:
        return ["no place in the words: neither town, village nor a known road"]
    return [] if row.address_id else ["nothing to go by: no address id, no coordinate, no words"]


def _against_declared(row: MatchRow, place: Place, locator: Locator) -> list[str]:
    """What the row says of its territory, by code or name, against what was found."""
    codes = [code for code in (place.grid, place.village, place.town) if code]
    names = {place.names.get(level, "") for level in ("town", "village")}
    differs = []
    for said in row.declared:
        if said.isdecimal():
            fits = any(code.startswith(said) or said.startswith(code) for code in codes[:1])
            named = f"{said} {locator.names_of(said).get('town', '')}".strip()
        else:
            stems = {_stem(name) for name in names}
            fits, named = _stem(said) in stems, said
        if not fits:
            differs.append(f"conflict: the row declares {named}, it was found in {_named(place)}")
    return differs


def _stem(name: str) -> str:
    for ending in ("街道办事处", "街道", "社区", "镇", "村", "园区"):
        if name.endswith(ending) and len(name) > len(ending) + 1:
            return name.removesuffix(ending)
    return name


def _named(place: Place) -> str:
    names = [place.names[level] for level in ("town", "village") if place.names.get(level)]
    return f"{place.grid or place.village or place.town} {''.join(names)}".strip()


def _candidates(candidates: Sequence[Any], locator: Locator) -> str:
    shown = []
    for candidate in candidates[:3]:
        names = locator.names_of(candidate.code)
        shown.append("".join(names.get(level, "") for level in ("town", "village")) or candidate.code)
    return ", ".join(shown) + (f" or {len(candidates) - 3} more" if len(candidates) > 3 else "")


# ---------------------------------------------------------------- the file


def _columns(header: Sequence[str]) -> dict[str, int]:
    at: dict[str, int] = {}
    for name, others in ALIASES.items():
        found = [i for i, column in enumerate(header) if column.lower() in (name, *others)]
        if len(found) > 1:
            raise ImportFileError(f"columns {header[found[0]]!r} and {header[found[1]]!r} both stand for {name!r}")
        if found:
            at[name] = found[0]
    if not {"text", "address_id"} & at.keys() and not {"lon", "lat"} <= at.keys():
        raise ImportFileError(
            "the first line names nothing to match by; it needs address_id, or lon and lat, or text"
            " (also: 地址, 经度, 纬度)"
        )
    return at


def _row(line: int, header: Sequence[str], record: list[str], at: Mapping[str, int], datum: str | None) -> MatchRow:
    row = MatchRow(line, record)
    if len(record) != len(header):
        row.wrong.append(f"bad row: {len(record)} fields, the first line has {len(header)}")
        row.record = [*record, *[""] * len(header)][: len(header)]
        return row
    said = {name: record[i].strip() for name, i in at.items()}
    row.text = said.get("text", "")
    _coordinate(row, said, datum)
    if said.get("address_id"):
        try:
            row.address_id = parse_address(said["address_id"]).code
        except CodeError as error:
            row.wrong.append(f"bad code: {error}")
    row.town = said.get("town", "")
    row.declared = tuple(said[name] for name in ("grid", "village", "town") if said.get(name))
    if not row.declared and len(said.get("id", "")) == address_rule().length and said["id"].isdecimal():
        try:
            code = parse_address(said["id"])
            row.declared = (code.cell or code.village,)
        except CodeError as error:
            row.wrong.append(f"bad code: {error}")
    return row


def _coordinate(row: MatchRow, said: Mapping[str, str], datum: str | None) -> None:
    """The row's two numbers as they stand, and their datum."""
    if not said.get("lon") and not said.get("lat"):
        return
    try:
        lon, lat = float(said.get("lon", "")), float(said.get("lat", ""))
    except ValueError:
        lon = lat = math.nan
    if not (math.isfinite(lon) and math.isfinite(lat)):
        row.wrong.append(f"bad coordinate: {said.get('lon')!r}, {said.get('lat')!r} are no two numbers")
        return
    row.datum = said.get("datum") or datum or ""
    if not row.datum:
        row.wrong.append("no datum: fill the column datum, or add --datum; it is never guessed")
        return
    row.lon, row.lat = lon, lat


def _to_wgs84(rows: Sequence[MatchRow]) -> None:
    """All coordinates, those of one datum at once; those that are none become a reason."""
    by_datum: dict[str, list[MatchRow]] = {}
    for row in rows:
        if row.lon is not None:
            by_datum.setdefault(row.datum, []).append(row)
    for datum, several in by_datum.items():
        x, y = (np.array([getattr(row, axis) for row in several], np.float64) for axis in ("lon", "lat"))
        try:
            good = in_range(x, y, datum)
        except PayloadError as error:
            good = np.zeros(len(several), np.bool_)
            for row in several:
                row.wrong.append(f"bad datum: {error.detail}")
        lon, lat = degrees_of(x[good], y[good], datum) if good.any() else (x, y)
        converted = iter(zip(lon.tolist(), lat.tolist(), strict=True))
        for row, fits, given_x, given_y in zip(several, good.tolist(), x.tolist(), y.tolist(), strict=True):
            if fits:
                row.lon, row.lat = next(converted)
                continue
            row.lon = row.lat = None
            if not row.wrong:
                row.wrong.append(f"bad coordinate: {given_x:g}, {given_y:g} are none in {datum}; swapped?")
