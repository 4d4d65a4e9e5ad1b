"""Where things are and who answers for it: locate, territories, addresses, routes, cameras near a point.

Every coordinate that comes in carries its datum (left out: WGS-84, and the answer
says so); every coordinate that goes out is WGS-84.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from api import queries
from api.auth import Ports, SignedIn
from api.filters import parse_bbox
from api.paging import LIMIT_DEFAULT, decode_cursor, encode_cursor
from api.ports import ApiPorts
from api.queries import reading
from api.schemas import (
    Cursor,
    Datum,
    Lat,
    Limit,
    Lon,
    Text,
    device_json,
    location,
    page,
    pattern,
    place_json,
    reply,
)
from domain.clock import from_us
from domain.errors import NotFound, PayloadError
from domain.places import Place
from geo.datum import to_wgs84
from geo.geodesy import distance_m

router = APIRouter(tags=["places"])

METRES_PER_DEGREE = 111_195.0
RADIUS_MAX_M = 50_000.0
Bbox = tuple[float, float, float, float]


def locate_point(ports: ApiPorts, lon: float, lat: float, datum: str) -> tuple[float, float, Place]:
    """A point in WGS-84 and its place."""
    east, north = to_wgs84(lon, lat, datum)
    return east, north, ports.locate(np.array([east]), np.array([north]))[0]


@router.get("/locate")
async def locate(session: SignedIn, ports: Ports, lon: Lon, lat: Lat, datum: Datum = "wgs84") -> Response:
    """Address, cell, village and town of a point, how far and how sure."""
    east, north, place = locate_point(ports, lon, lat, datum)
    return reply({**place_json(place), "location": location(east, north), "datum": datum})


@router.get("/route")
async def route(
    session: SignedIn,
    ports: Ports,
    lon: Lon,
    lat: Lat,
    severity: Annotated[int, Query(ge=1, le=4)],
    kind: Annotated[Text | None, Query(description="an alert kind, such as vibration.limit")] = None,
    matter: Annotated[Text | None, Query(description="a matter's code, such as local:08999")] = None,
    datum: Datum = "wgs84",
) -> Response:
    """Who would be told of such an alert there, and why, step by step."""
    about = kind or matter
    if about is None:
        raise PayloadError("bad_query", "name the alert's kind or its matter")
    east, north, place = locate_point(ports, lon, lat, datum)
    duties, steps = ports.route(about, severity, place)
    return reply(
        {
            "kind": kind, "matter": matter, "severity": severity, "location": location(east, north),
            "datum": datum, "place": place_json(place), "duty": [asdict(duty) for duty in duties],
            "steps": list(steps),
        }
    )  # fmt: skip


@router.get("/regions")
async def regions(
    session: SignedIn,
    ports: Ports,
    level: Literal["city", "town", "village"] = "town",
    parent: Annotated[str | None, Query(pattern=r"^[0-9]{6,12}$")] = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Territories of a level with their outlines (GeoJSON geometries, WGS-84)."""
    after = decode_cursor("regions", cursor, str)[0] if cursor else None
    parameters = {
        "level": level, "parent": parent, "after": after, "limit": limit + 1, "now": from_us(ports.now_us()),
    }  # fmt: skip
    async with reading(ports.pool) as reader:
        rows = await reader.rows(queries.REGIONS, parameters)
    next_ = encode_cursor("regions", rows[limit - 1]["code"]) if len(rows) > limit else None
    return page(rows[:limit], next_)


@router.get("/grids")
async def grids(
    session: SignedIn,
    ports: Ports,
    bbox: Annotated[Text | None, Query(description="west,south,east,north in WGS-84")] = None,
    within: Annotated[str | None, Query(pattern=r"^[0-9]{6,15}$", description="code prefix")] = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Grid cells that touch a box, or lie within a town or village; one of the two is needed."""
    box = parse_box(bbox) if bbox else None
    if box is None and within is None:
        raise PayloadError("bad_query", "give a bbox, or `within` with a town's or village's code")
    after = decode_cursor("grids", cursor, str)[0] if cursor else None
    # The table has no boxes of its own; a city's few thousand cells are tested here.
    parameters = {
        "prefix": within, "after": after, "now": from_us(ports.now_us()),
        "limit": limit + 1 if box is None else None,
    }  # fmt: skip
    async with reading(ports.pool) as reader:
        rows = await reader.rows(queries.GRIDS, parameters)
    found = rows if box is None else [row for row in rows if touches(box, row["outline"])]
    next_ = encode_cursor("grids", found[limit - 1]["code"]) if len(found) > limit else None
    return page(found[:limit], next_)


def parse_box(text: str) -> Bbox:
    """``w,s,e,n``. Raises: PayloadError ``bad_filter``."""
    try:
        box = parse_bbox([float(part) for part in text.split(",")])
    except ValueError as error:
        raise PayloadError("bad_filter", "bbox: four numbers, west,south,east,north") from error
    assert box is not None
    return box


def touches(box: Bbox, geometry: dict[str, Any]) -> bool:
    """Whether the geometry's own box and ``box`` have a point in common."""
    points = list(positions(geometry["coordinates"]))
    lons, lats = [p[0] for p in points], [p[1] for p in points]
    west, south, east, north = box
    return min(lons) <= east and max(lons) >= west and min(lats) <= north and max(lats) >= south


def positions(coordinates: Any) -> Iterator[list[float]]:
    """All positions of GeoJSON coordinates, however deep."""
    if coordinates and isinstance(coordinates[0], int | float):
        yield coordinates
    else:
        for part in coordinates:
            yield from positions(part)


@router.get("/addresses")
async def addresses(
    session: SignedIn,
    ports: Ports,
    q: Annotated[Text, Query(min_length=1)],
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """Addresses whose text has every word of `q`."""
    after = decode_cursor("addresses", cursor, str)[0] if cursor else None
    parameters = {"patterns": [pattern(word) for word in q.split()] or ["%"], "after": after, "limit": limit + 1}
    async with reading(ports.pool) as reader:
        rows = await reader.rows(queries.ADDRESSES, parameters)
    next_ = encode_cursor("addresses", rows[limit - 1]["id"]) if len(rows) > limit else None
    return page([address_json(row) for row in rows[:limit]], next_)


def address_json(row: dict[str, Any]) -> dict[str, Any]:
    """An address with its codes, which are nested."""
    rest = {name: value for name, value in row.items() if name not in ("lon", "lat")}
    grid = row["grid"]
    return {**rest, "village": grid[:12], "town": grid[:9], "location": location(row["lon"], row["lat"])}


@router.get("/addresses/{address_id}")
async def address(
    session: SignedIn, ports: Ports, address_id: Annotated[str, Path(pattern=r"^[0-9]{25}$")]
) -> Response:
    """One address."""
    async with reading(ports.pool) as reader:
        row = await reader.row(queries.ADDRESS, {"id": address_id})
    if row is None:
        raise NotFound(f"there is no address {address_id}; GET /api/v1/addresses?q= finds them by text")
    return reply(address_json(row))


@router.get("/cameras/near")
async def cameras_near(
    session: SignedIn,
    ports: Ports,
    lon: Lon,
    lat: Lat,
    radius_m: Annotated[float, Query(gt=0, le=RADIUS_MAX_M)] = 500.0,
    datum: Datum = "wgs84",
    limit: Limit = 20,
) -> Response:
    """Cameras around a point, nearest first; `in_view` where range and bearing say that it sees the point."""
    east, north = to_wgs84(lon, lat, datum)
    dlat = radius_m / METRES_PER_DEGREE
    dlon = dlat / max(0.01, math.cos(math.radians(north)))
    parameters = {
        "west": east - dlon, "east": east + dlon, "south": north - dlat, "north": north + dlat,
        "area": session.actor.area, "now": from_us(ports.now_us()),
    }  # fmt: skip
    async with reading(ports.pool) as reader:
        rows = await reader.rows(queries.CAMERAS_IN_BOX, parameters)
    far = distance_m(east, north, np.array([r["lon"] for r in rows]), np.array([r["lat"] for r in rows]))
    found = [
        {**device_json(row), "distance_m": round(float(d), 1), "in_view": in_view(row, east, north, float(d))}
        for d, row in sorted(zip(far, rows, strict=True), key=lambda pair: (pair[0], pair[1]["id"]))
        if d <= radius_m
    ]
    return page(found[:limit], None, datum=datum, location=location(east, north))


def in_view(row: dict[str, Any], lon: float, lat: float, distance: float) -> bool | None:
    """Whether the point is within range and field of view; None when the camera's are not known."""
    if row["bearing_deg"] is None or row["fov_deg"] is None or row["range_m"] is None:
        return None
    east = (lon - row["lon"]) * math.cos(math.radians(lat))
    bearing = math.degrees(math.atan2(east, lat - row["lat"]))
    off = abs((bearing - row["bearing_deg"] + 180.0) % 360.0 - 180.0)
    return bool(distance <= row["range_m"] and off <= row["fov_deg"] / 2)
