"""Files of key places: CSV in, rows and problems out.

CSV id,kind,name,lon,lat and optionally name_en,datum,address_id,people. As in
``geo.imports``, a bad row becomes a Problem with its line and never hides the good
ones, coordinates come out in WGS-84, and a datum is never guessed.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping

from domain.errors import CodeError, ImportFileError, PayloadError
from geo.codes import parse_address
from geo.datum import to_wgs84
from geo.imports import Parsed, Problem
from geo.key_places import KINDS, KeyPlace

COLUMNS = ("id", "kind", "name", "name_en", "lon", "lat", "datum", "address_id", "people")
NEEDED = ("id", "kind", "name", "lon", "lat")
PEOPLE_MAX = 1_000_000

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class _BadRow(Exception):
    """What is wrong with the row at hand."""


def parse_key_places(content: bytes, datum: str | None = None) -> Parsed[KeyPlace]:
    """Key places of a CSV file; ``datum`` holds where a row names none. Raises: ImportFileError."""
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = [name.strip() for name in next(reader, [])]
        _check_header(header)
        parsed: Parsed[KeyPlace] = Parsed()
        seen: dict[str, str] = {}
        line = reader.line_num + 1
        for record in reader:
            where, line = f"line {line}", reader.line_num + 1
            if not any(value.strip() for value in record):
                continue
            try:
                row = _row(header, record, datum)
                if row.id in seen:
                    raise _BadRow(f"{row.id} is already on {seen[row.id]}; keep one of the two")
            except (_BadRow, CodeError, PayloadError) as error:
                reason = error.detail if isinstance(error, PayloadError) else str(error)
                parsed.problems.append(Problem(where, reason))
                continue
            seen[row.id] = where
            parsed.rows.append(row)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ImportFileError(f'line {line}: not UTF-8; save the file as UTF-8 (Excel: "CSV UTF-8")') from error
    except csv.Error as error:
        raise ImportFileError(f"not CSV: {error}") from error
    return parsed


def _check_header(header: list[str]) -> None:
    missing = [name for name in NEEDED if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    if missing or unknown:
        wrong = f"lacks the column {missing[0]!r}" if missing else f"has an unknown column {unknown[0]!r}"
        raise ImportFileError(f"the first line {wrong}; known are: {','.join(COLUMNS)}")


def _row(header: list[str], record: list[str], datum: str | None) -> KeyPlace:
    if len(record) != len(header):
        raise _BadRow(f"{len(record)} fields, the first line has {len(header)}")
    line = {name: value.strip() for name, value in zip(header, record, strict=True)}
    if not _ID.fullmatch(line["id"]):
        raise _BadRow(f"id {line['id']!r} must be 1 to 64 of A-Z a-z 0-9 . _ -")
    if line["kind"] not in KINDS:
        raise _BadRow(f"kind {line['kind']!r} must be one of {', '.join(KINDS)}")
    if not line["name"] or "\0" in line["name"]:
        raise _BadRow("name is empty" if not line["name"] else "name has a zero byte")
    lon, lat = _point(line, datum)
    address = parse_address(line["address_id"]).code if line.get("address_id") else None
    return KeyPlace(
        line["id"], line["kind"], line["name"], lon, lat, line.get("name_en", ""), address, _people(line)
    )  # fmt: skip


def _point(line: Mapping[str, str], datum: str | None) -> tuple[float, float]:
    lon, lat = _degrees(line, "lon"), _degrees(line, "lat")
    if abs(lat) > 90 and abs(lat) <= 180 and abs(lon) <= 90:
        raise _BadRow(f"lat {lat:g} is beyond 90 degrees: lon and lat look swapped")
    if abs(lon) > 180 or abs(lat) > 90:
        raise _BadRow(f"lon {lon:g}, lat {lat:g} are no degrees (lon within 180, lat within 90)")
    given = line.get("datum") or datum
    if given is None:
        raise _BadRow("lon and lat without a datum; fill the column datum, or add --datum to the command")
    x, y = to_wgs84(lon, lat, given)
    return round(x, 7), round(y, 7)


def _degrees(line: Mapping[str, str], name: str) -> float:
    try:
        value = float(line[name])
    except ValueError:
        raise _BadRow(f"{name} {line[name]!r} is no number") from None
    if not math.isfinite(value):
        raise _BadRow(f"{name} {line[name]!r} is not finite")
    return value


def _people(line: Mapping[str, str]) -> int | None:
    text = line.get("people", "")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,7}", text) or int(text) > PEOPLE_MAX:
        raise _BadRow(f"people {text!r} must be a whole number up to {PEOPLE_MAX}")
    return int(text)
