"""Files of regions, cells, addresses, devices and cameras: text in, rows and problems out.

A bad row never hides the good ones: it becomes a Problem with its line (CSV) or
feature number (GeoJSON) and a reason. Only a file that cannot be read at all
raises ``ImportFileError``. Coordinates come out in WGS-84; a coordinate without a
datum is a bad row, because guessing one would route to the wrong town.

regions    GeoJSON, properties code, name, and optionally name_en, kind, datum
grids      GeoJSON, properties code (15 digits), and optionally datum
           (features of a Shapefile or GeoPackage come from ``vector_files``)
addresses  CSV id,text,lon,lat and optionally road,number,grid,datum
devices    CSV id,kind and optionally name,lon,lat,datum,address_id,building_class,mount,period_s,product,town,
           building,floor,calibration (JSON)
cameras    CSV id and optionally name,lon,lat,datum,address_id,bearing_deg,fov_deg,range_m,height_m,gb28181_id,
           town

``town`` is where the file says a device stands, by code or name: ``datum_proof`` holds the
coordinates against it. ``datum`` may also be a CGCS2000 zone such as ``epsg:4547``; lon and lat are
the easting and northing in metres then.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray

from db.devices import DeviceRow
from domain.calibration import checked_calibration
from domain.devices import BUILDING_CLASSES, building_of
from domain.errors import CodeError, ImportFileError, PayloadError
from geo.codes import parse_address, parse_cell, parse_division, parse_town, parse_video_device
from geo.datum import DATUMS, check_datum, to_wgs84
from geo.grids import Cell, Region
from geo.projected import TransverseMercator, zone_of_epsg
from geo.vector_files import Feature

Row = TypeVar("Row")
Float64 = NDArray[np.float64]

DEVICE_COLUMNS = (
    "id", "kind", "name", "lon", "lat", "datum", "address_id", "building_class", "mount", "period_s",
    "product", "town", "building", "floor", "calibration",
)  # fmt: skip
CAMERA_COLUMNS = (
    "id", "name", "lon", "lat", "datum", "address_id",
    "bearing_deg", "fov_deg", "range_m", "height_m", "gb28181_id", "town",
)  # fmt: skip
ADDRESS_COLUMNS = ("id", "text", "road", "number", "grid", "lon", "lat", "datum", "aliases")
MOUNTS = ("foundation", "top_floor")

_ZONE_REACH_M = 450_000.0  # 4 degrees from the middle, on the equator

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One row that cannot be taken: where it stands and why."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Parsed(Generic[Row]):
    """The good rows of a file, in its order, and the bad ones."""

    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AddressRow:
    """One address; ``lon``, ``lat`` are WGS-84; ``aliases``: what people call it beside its text."""

    id: str
    text: str
    road: str
    number: str
    grid: str
    lon: float
    lat: float
    aliases: tuple[str, ...] = ()


class _BadRow(Exception):
    """What is wrong with the row at hand."""


def parse_regions(
    content: bytes | Sequence[Feature], datum: str | None = None, *, mend: bool = False
) -> Parsed[Region]:
    """Regions of a GeoJSON file or of features; ``datum`` holds where a feature names none.

    ``mend``: rings that are not closed are closed, and outlines that cross
    themselves are let through, for ``validate`` to repair.
    """
    return _take(_features(content), lambda at: _region(at, datum, mend), lambda region: region.code)


def parse_cells(
    content: bytes | Sequence[Feature], datum: str | None = None, *, mend: bool = False
) -> Parsed[Cell]:
    """Grid cells of a GeoJSON file or of features; ``mend`` as for regions."""
    return _take(_features(content), lambda at: _cell(at, datum, mend), lambda cell: cell.code)


def parse_addresses(content: bytes, datum: str | None = None) -> Parsed[AddressRow]:
    """Addresses of a CSV file."""
    lines = _lines(content, ADDRESS_COLUMNS, ("id", "text", "lon", "lat"))
    return _take(lines, lambda at: _address(at, datum), lambda address: address.id)


def parse_devices(content: bytes, datum: str | None = None) -> Parsed[DeviceRow]:
    """Devices of a CSV file, not yet placed."""
    lines = _lines(content, DEVICE_COLUMNS, ("id", "kind"))
    return _take(lines, lambda at: _device(at, datum), lambda device: device.id)


def parse_cameras(content: bytes, datum: str | None = None) -> Parsed[DeviceRow]:
    """Cameras of a CSV file, not yet placed."""
    lines = _lines(content, CAMERA_COLUMNS, ("id",))
    return _take(lines, lambda at: _camera(at, datum), lambda camera: camera.id)


def declared_towns(content: bytes, what: str) -> dict[str, str]:
    """Id → the town a devices or cameras file says it lies in, where it says so."""
    known, needed = (DEVICE_COLUMNS, ("id", "kind")) if what == "devices" else (CAMERA_COLUMNS, ("id",))
    return {
        line["id"]: line["town"]
        for _, line in _lines(content, known, needed)
        if not isinstance(line, _BadRow) and line.get("town")
    }


def check_import_datum(datum: str) -> str:
    """A datum, or a CGCS2000 zone as ``epsg:4547``; raises PayloadError("bad_datum") otherwise."""
    if not datum.startswith("epsg:"):
        return check_datum(datum)
    if _zone(datum) is None:
        raise PayloadError(
            "bad_datum",
            f"datum {datum!r} is no Gauss-Kruger zone of CGCS2000 (epsg:4491 to epsg:4554);"
            f" or write one of {', '.join(DATUMS)}",
        )
    return datum


def _zone(datum: str) -> TransverseMercator | None:
    number = datum.removeprefix("epsg:")
    return zone_of_epsg(int(number)) if number.isdecimal() and len(number) < 9 else None


def _take(
    source: Iterator[tuple[str, Any]], parse: Callable[[Any], Row], key: Callable[[Row], str]
) -> Parsed[Row]:
    parsed: Parsed[Row] = Parsed()
    seen: dict[str, str] = {}
    for where, raw in source:
        try:
            if isinstance(raw, _BadRow):
                raise raw
            row = parse(raw)
            if key(row) in seen:
                _bad(f"{key(row)} is already on {seen[key(row)]}; keep one of the two")
        except (_BadRow, CodeError, PayloadError) as error:
            parsed.problems.append(Problem(where, error.detail if isinstance(error, PayloadError) else str(error)))
            continue
        seen[key(row)] = where
        parsed.rows.append(row)
    return parsed


def _bad(reason: str) -> NoReturn:
    raise _BadRow(reason)


def _lines(content: bytes, known: Sequence[str], needed: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Each CSV record with its line number; a header that does not fit stops the file."""
    reader = csv.reader(io.StringIO(text_of(content), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if missing := [name for name in needed if name not in header]:
            raise ImportFileError(
                f"the first line lacks the column {missing[0]!r}; it must name columns: {','.join(known)}"
            )
        if unknown := [name for name in header if name not in known]:
            raise ImportFileError(f"unknown column {unknown[0]!r} in the first line; known are: {','.join(known)}")
        line = reader.line_num + 1
        for record in reader:
            if any(value.strip() for value in record):
                yield f"line {line}", _record(header, record)
            line = reader.line_num + 1
    except csv.Error as error:
        raise ImportFileError(f"line {reader.line_num}: not CSV: {error}") from error


def _record(header: Sequence[str], record: Sequence[str]) -> dict[str, str] | _BadRow:
    if len(record) != len(header):
        return _BadRow(f"{len(record)} fields, the first line has {len(header)}")
    return {name: value.strip() for name, value in zip(header, record, strict=True)}


def _features(content: bytes | Sequence[Feature]) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, bytes):
        yield from ((f"feature {number}", feature) for number, feature in enumerate(content, 1))
        return
    try:
        document = json.loads(text_of(content), parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ImportFileError(f"line {error.lineno}: not GeoJSON: {error.msg}") from error
    except RecursionError as error:
        raise ImportFileError("not GeoJSON: nested too deeply") from error
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list):
        raise ImportFileError("not GeoJSON: expected an object of type FeatureCollection with a list of features")
    for number, feature in enumerate(features, 1):
        fits = isinstance(feature, dict) and isinstance(feature.get("properties"), dict)
        yield f"feature {number}", feature if fits else _BadRow("not a feature with properties")


def _no_constant(name: str) -> NoReturn:
    raise ImportFileError(f"not GeoJSON: {name} is no JSON number")


def text_of(content: bytes) -> str:
    """UTF-8 text, with or without a byte order mark. Raises: ImportFileError that names the line."""
    if (zero := content.find(0)) >= 0:
        line = content.count(10, 0, zero) + 1
        raise ImportFileError(f"line {line}: a zero byte; save the file as UTF-8 text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ImportFileError(f'line {line}: not UTF-8; save the file as UTF-8 (Excel: "CSV UTF-8")') from error


def _region(feature: dict[str, Any], datum: str | None, mend: bool) -> Region:
    words = _words(feature, ("code", "name", "name_en", "kind", "datum"))
    division = parse_division(words["code"])
    if not words["name"]:
        _bad("property name is missing")
    outline = _outline(feature, words["datum"] or datum, mend)
    kind = words["kind"] or division.kind
    return Region(division.code, division.level, words["name"], outline, words["name_en"], kind)


def _cell(feature: dict[str, Any], datum: str | None, mend: bool) -> Cell:
    words = _words(feature, ("code", "datum"))
    return Cell(parse_cell(words["code"]).code, _outline(feature, words["datum"] or datum, mend))


def _words(feature: dict[str, Any], names: Sequence[str]) -> dict[str, str]:
    words = {}
    for name in names:
        value = feature["properties"].get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            _bad(f"property {name} must be a text")
        words[name] = "" if value is None else str(value).strip()
        if "\0" in words[name] or any("\ud800" <= letter <= "\udfff" for letter in words[name]):
            _bad(f"property {name} has a character that is no text")
    if not words["code"]:
        _bad("property code is missing")
    return words


def _outline(feature: dict[str, Any], datum: str | None, mend: bool) -> Any:
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict) or geometry.get("type") not in ("Polygon", "MultiPolygon"):
        _bad("geometry must be a Polygon or MultiPolygon")
    if datum is None:
        _bad("no datum; add a property datum to the feature, or --datum to the command")
    try:
        given = shapely.force_2d(shapely.from_geojson(json.dumps(_closed(geometry) if mend else geometry)))
    except (shapely.errors.GEOSException, TypeError) as error:
        raise _BadRow(f"geometry cannot be read: {error}") from error
    if given.is_empty:
        _bad("geometry is empty")
    if not np.isfinite(shapely.get_coordinates(given)).all():
        _bad("a coordinate is not finite")
    outline = shapely.transform(given, lambda xy: np.column_stack(_degrees(xy[:, 0], xy[:, 1], datum)))
    if not outline.is_valid and not mend:
        _bad(f"outline is not valid: {shapely.is_valid_reason(outline)}; --repair mends what is safe")
    return outline


def _closed(geometry: dict[str, Any]) -> dict[str, Any]:
    """The geometry with every ring ended where it began."""
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    closed = [
        [[*ring, ring[0]] if ring[0] != ring[-1] else ring for ring in rings if len(ring) > 2] for rings in polygons
    ]
    return {"type": "MultiPolygon", "coordinates": closed}


def degrees_of(x: Float64, y: Float64, datum: str) -> tuple[Float64, Float64]:
    """WGS-84 degrees of coordinates ``in_range`` of a datum or zone."""
    zone = _zone(datum) if datum.startswith("epsg:") else None
    return to_wgs84(x, y, datum) if zone is None else zone.to_lonlat(x, y)


def in_range(x: Float64, y: Float64, datum: str) -> NDArray[np.bool_]:
    """Which coordinates can be some of a datum or zone. Raises: PayloadError("bad_datum")."""
    check_import_datum(datum)
    zone = _zone(datum) if datum.startswith("epsg:") else None
    if zone is None:
        return np.asarray((np.abs(x) <= 180) & (np.abs(y) <= 90))
    return np.asarray((np.abs(x - zone.false_easting) <= _ZONE_REACH_M) & (np.abs(y) <= 1e7))


def _degrees(x: Float64, y: Float64, datum: str) -> tuple[Float64, Float64]:
    """WGS-84 degrees of coordinates in a datum or zone; a bad row where they are none."""
    fits = in_range(x, y, datum).all()
    if datum.startswith("epsg:"):
        if not fits:
            _bad(f"easting {x[0]:.0f}, northing {y[0]:.0f} are not metres of {datum}; another zone, or degrees?")
    else:
        _check_range(float(x.min()), float(y.min()))
        _check_range(float(x.max()), float(y.max()))
    return degrees_of(x, y, datum)


def _address(line: Mapping[str, str], datum: str | None) -> AddressRow:
    code = parse_address(line["id"])
    if not line["text"]:
        _bad("text is empty")
    point = _point(line, datum)
    if point is None:
        _bad("lon and lat are empty; an address needs both")
    grid = parse_cell(line["grid"]).code if line.get("grid") else code.cell
    if grid is None:
        _bad("grid is empty; ids without a base grid do not say which cell an address lies in")
    said = [alias.strip() for alias in re.split(r"[;；|]", line.get("aliases", ""))]
    aliases = tuple(dict.fromkeys(alias for alias in said if alias and alias != line["text"]))
    road, number = line.get("road", ""), line.get("number", "")
    return AddressRow(code.code, line["text"], road, number, grid, *point[:2], aliases)


def _device(line: Mapping[str, str], datum: str | None) -> DeviceRow:
    if not _KIND.fullmatch(line["kind"]):
        _bad(f"kind {line['kind']!r} must be a word of a-z, 0-9 and _, e.g. vibration")
    return DeviceRow(
        **_registered(line, datum),
        kind=line["kind"],
        building_class=_one_of(line, "building_class", BUILDING_CLASSES, "residential"),
        mount=_one_of(line, "mount", MOUNTS, "foundation"),
        period_s=_number(line, "period_s", 0.001, 1e9),
        product=line.get("product", "")[:64],
        floor=_floor(line),
        calibration=_calibration(line),
    )


def _building(line: Mapping[str, str]) -> str | None:
    try:
        return building_of(line.get("building") or None, line.get("address_id") or None)
    except PayloadError as error:
        _bad(error.detail)


def _floor(line: Mapping[str, str]) -> int | None:
    floor = _number(line, "floor", -20.0, 200.0)
    if floor is None:
        return None
    if floor != int(floor):
        _bad(f"floor {floor:g} must be a whole number; 0 is the ground floor")
    return int(floor)


def _calibration(line: Mapping[str, str]) -> dict[str, Any]:
    text = line.get("calibration", "")
    if not text:
        return {}
    try:
        return checked_calibration(json.loads(text))
    except ValueError:
        _bad('calibration is not JSON, e.g. {"tilt_x_deg": {"scale": 1.02}}')
    except PayloadError as error:
        _bad(error.detail)


def _camera(line: Mapping[str, str], datum: str | None) -> DeviceRow:
    gb28181 = line.get("gb28181_id") or None
    if gb28181 is not None:
        parse_video_device(gb28181)
    lens = (
        _number(line, "bearing_deg", 0.0, 360.0),
        _number(line, "fov_deg", 0.1, 360.0),
        _number(line, "range_m", 0.1, 100_000.0),
        _number(line, "height_m", -100.0, 1000.0),
        gb28181,
    )
    return DeviceRow(**_registered(line, datum), kind="camera", camera=lens)


def _registered(line: Mapping[str, str], datum: str | None) -> dict[str, Any]:
    """What devices and cameras share."""
    if not _ID.fullmatch(line["id"]):
        _bad(f"id {line['id']!r} must be 1 to 64 of A-Z a-z 0-9 . _ -")
    if (town := line.get("town", "")).isdecimal():
        parse_town(town)
    address = parse_address(line["address_id"]).code if line.get("address_id") else None
    lon, lat, given = _point(line, datum) or (None, None, None)
    return {
        "id": line["id"],
        "name": line.get("name", ""),
        "lon": lon,
        "lat": lat,
        "datum_given": given,
        "address_id": address,
        "building": _building(line),
    }


def _point(line: Mapping[str, str], datum: str | None) -> tuple[float, float, str] | None:
    """WGS-84 degrees and the datum they came in; None where both are empty."""
    lon, lat = _number(line, "lon", -math.inf, math.inf), _number(line, "lat", -math.inf, math.inf)
    if lon is None and lat is None:
        return None
    if lon is None or lat is None:
        _bad("only one of lon and lat is given; write both or none")
    given = line.get("datum") or datum
    if given is None or not given.startswith("epsg:"):
        _check_range(lon, lat)
    if given is None:
        _bad("lon and lat without a datum; fill the column datum, or add --datum to the command")
    if not given.startswith("epsg:"):
        x, y = to_wgs84(lon, lat, given)
        return round(x, 7), round(y, 7), given
    xs, ys = _degrees(np.array([lon]), np.array([lat]), given)
    return round(float(xs[0]), 7), round(float(ys[0]), 7), "cgcs2000"


def _check_range(lon: float, lat: float) -> None:
    if not (math.isfinite(lon) and math.isfinite(lat)):
        _bad("a coordinate is not finite")
    if abs(lat) > 90 and abs(lat) <= 180 and abs(lon) <= 90:
        _bad(f"lat {lat:g} is beyond 90 degrees: lon and lat look swapped")
    if abs(lon) > 180 or abs(lat) > 90:
        _bad(f"lon {lon:g}, lat {lat:g} are no degrees (lon within 180, lat within 90)")


def _number(line: Mapping[str, str], name: str, low: float, high: float) -> float | None:
    text = line.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        _bad(f"{name} {text!r} is no number")
    if not math.isfinite(value):
        _bad(f"{name} {text!r} is not finite")
    if not low <= value <= high:
        _bad(f"{name} {text} must be from {low:g} to {high:g}")
    return value


def _one_of(line: Mapping[str, str], name: str, allowed: Sequence[str], otherwise: str) -> str:
    value = line.get(name) or otherwise
    if value not in allowed:
        _bad(f"{name} {value!r} must be one of {', '.join(allowed)}")
    return value
