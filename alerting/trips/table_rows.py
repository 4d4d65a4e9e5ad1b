"""Rows of files of works sites, tips and truck permits (准运证): cells in, the database's columns out. Pure.

An outline or a corridor stands in its cell as WKT (``POLYGON((…))``, ``LINESTRING(…)``) or GeoJSON, in
the row's datum, and leaves in WGS-84.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import time
from typing import Any

import numpy as np
import shapely

from alerting.dispatch.cells import Cells
from domain.clock import from_us
from domain.errors import PayloadError
from geo.datum import DATUMS, to_wgs84

SITE_COLUMNS = (
    ("id", "kind", "name"),
    ("name_en", "outline", "lon", "lat", "datum", "radius_m", "from", "to"),
)
TRUCK_PERMIT_COLUMNS = (
    ("id", "vehicle"),
    ("towns", "corridor", "buffer_m", "datum", "hours", "from", "to"),
)
SITE_KINDS = ("load", "tip")
RADIUS_M_MAX = 5000.0
BUFFER_M, BUFFER_M_MAX = 200.0, 5000.0

_ID = (r"[A-Za-z0-9._-]{1,64}", "write 1 to 64 of A-Z a-z 0-9 . _ -")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def site_row(cells: Cells) -> tuple[Any, ...]:
    """A works site (``load``) or a tip: an outline, or a point with a radius."""
    outline = _shape(cells, "outline", ("Polygon", "MultiPolygon"))
    lon = lat = radius_m = None
    if not cells.text("outline"):
        lon, lat = cells.point()
        radius_m = cells.number("radius_m", 0.0, 1.0, RADIUS_M_MAX)
        if not cells.text("radius_m"):
            cells.bad("radius_m", "a site without an outline needs lon, lat and the metres round them")
    elif cells.text("lon") or cells.text("lat"):
        cells.bad("outline", "an outline and a point are given; keep one of the two")
    start, end = cells.period()
    id_, name = cells.matching("id", *_ID, needed=True), cells.needed("name")
    return (
        id_, cells.choice("kind", SITE_KINDS), name, cells.text("name_en"), outline, lon, lat, radius_m,
        from_us(start), None if end is None else from_us(end),
    )  # fmt: skip


def truck_permit_row(cells: Cells) -> tuple[Any, ...]:
    """What one truck may do; empty ``towns``, ``corridor`` and ``hours`` limit nothing."""
    corridor = _shape(cells, "corridor", ("LineString",))
    towns = [code for code in (_town(cells, said) for said in _listed(cells.text("towns"))) if code]
    hours = _hours(cells)
    start, end = cells.period()
    id_ = cells.matching("id", *_ID, needed=True)
    vehicle = cells.matching("vehicle", *_ID, needed=True)
    if not (towns or corridor or hours[0]) and not cells.wrong:
        cells.bad("towns", "the row limits nothing: give towns, a corridor or hours")
    return (
        id_, vehicle, towns, corridor, cells.number("buffer_m", BUFFER_M, 1.0, BUFFER_M_MAX), *hours,
        from_us(start), None if end is None else from_us(end),
    )  # fmt: skip


def _listed(text: str) -> list[str]:
    return [part for part in re.split(r"[;；、,，\s]+", text) if part]


def _town(cells: Cells, said: str) -> str:
    """A town's code, of its code or name."""
    code = said if said.isdecimal() else cells.places.get(said, "")
    if len(code) != 9:
        cells.bad("towns", f"{said!r} is no town: write names or 9-digit codes, such as 麻涌镇;441900124")
        return ""
    return code


def _hours(cells: Cells) -> tuple[time | None, time | None]:
    text = cells.text("hours")
    if not text:
        return None, None
    found = _HOURS.fullmatch(text)
    if found is None:
        cells.bad("hours", f"{text!r}: write 08:30-18:00, over midnight 20:00-06:00")
        return None, None
    first_hour, first_minute, last_hour, last_minute = (int(part) for part in found.groups())
    return time(first_hour, first_minute), time(last_hour, last_minute)


def _shape(cells: Cells, name: str, types: Sequence[str]) -> str | None:
    """A geometry's GeoJSON text in WGS-84, of WKT or GeoJSON; None where the cell is empty."""
    text = cells.text(name)
    if not text:
        return None
    try:
        given: Any = shapely.from_geojson(text) if text.lstrip().startswith("{") else shapely.from_wkt(text)
    except shapely.errors.GEOSException:
        given = None
    if given is None or given.geom_type not in types or given.is_empty:
        cells.bad(name, f"write a {' or '.join(types)} as WKT or GeoJSON, such as POLYGON((113.6 23, …))")
        return None
    if not cells.text("datum"):
        cells.bad("datum", f"write one of {', '.join(DATUMS)}; it is never guessed")
        return None
    shape = shapely.force_2d(given)
    xy = shapely.get_coordinates(shape)
    if not np.isfinite(xy).all() or (np.abs(xy) > (180.0, 90.0)).any():
        cells.bad(name, "a coordinate is no lon (within 180) and lat (within 90)")
        return None
    try:
        shape = shapely.transform(
            shape, lambda xy: np.round(np.column_stack(to_wgs84(xy[:, 0], xy[:, 1], cells.text("datum"))), 7)
        )
    except PayloadError as error:
        cells.wrong.append(error.detail)
        return None
    if not shape.is_valid:
        cells.bad(name, f"is not valid: {shapely.is_valid_reason(shape)}")
        return None
    return json.dumps(json.loads(shapely.to_geojson(shape)))
