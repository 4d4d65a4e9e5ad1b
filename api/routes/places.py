"""Where things are and who answers for it: locate, territories, addresses, routes.

Every coordinate that comes in carries its datum (left out: WGS-84, and the answer
says so); every coordinate that goes out is WGS-84.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from api.auth import Ports, SignedIn
from api.filters import parse_bbox
from api.paging import LIMIT_DEFAULT, decode_cursor, encode_cursor
from api.ports import ApiPorts
from api.queries.places import (
    ADDRESS,
    ADDRESS_ALIASES,
    ADDRESSES,
    ADDRESSES_BY_ID,
    ADDRESSES_OF_BUILDING,
    GRIDS,
    REGIONS,
)
from api.reader import reading
from api.schemas import (
    AddressId,
    Cursor,
    Datum,
    Lat,
    Limit,
    Lon,
    Text,
    location,
    page,
    pattern,
    place_json,
    reply,
)
from domain.addresses import address_rule
from domain.clock import from_us, iso, to_us
from domain.errors import NotFound, PayloadError
from domain.places import Place
from geo.datum import to_wgs84
from geo.search import Found

router = APIRouter(tags=["places"])

Bbox = tuple[float, float, float, float]


At = Annotated[datetime | None, Query(description="ISO 8601 with a zone; left out: now")]


def locate_point(
    ports: ApiPorts, lon: float, lat: float, datum: str, at_us: int | None = None
) -> tuple[float, float, Place]:
    """A point in WGS-84 and its place, now or in the division of then, with the neighbours whose border is near."""
    east, north = to_wgs84(lon, lat, datum)
    x, y = np.array([east]), np.array([north])
    places = ports.locate(x, y) if at_us is None else ports.locate(x, y, np.array([at_us]))
    return east, north, ports.ground(at_us).with_neighbours(places, x, y)[0]


def time_of(at: datetime | None) -> int | None:
    """The time asked for, microseconds; None where none was. Raises: PayloadError ``bad_query``."""
    if at is not None and at.tzinfo is None:
        raise PayloadError("bad_query", "at: give the time with its zone, such as 2026-11-23T08:00:00+08:00")
    return None if at is None else to_us(at)


@router.get("/locate")
async def locate(
    session: SignedIn, ports: Ports, lon: Lon, lat: Lat, datum: Datum = "wgs84", at: At = None
) -> Response:
    """Address, cell, village and town of a point, how far and how sure; by the division of then with ``at``."""
    east, north, place = locate_point(ports, lon, lat, datum, time_of(at))
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
    at: At = None,
    datum: Datum = "wgs84",
) -> Response:
    """Who would be told of such an alert there and then, who of them is on duty, and why, step by step."""
    if kind is None and matter is None:
        raise PayloadError("bad_query", "name the alert's kind or its matter")
    asked_us = time_of(at)
    at_us = ports.now_us() if asked_us is None else asked_us
    east, north, place = locate_point(ports, lon, lat, datum, asked_us)
    duties, steps = ports.route(kind or "", severity, place, matter=matter, at_us=at_us, lon=east, lat=north)
    return reply(
        {
            "kind": kind, "matter": matter, "severity": severity, "at": iso(at_us),
            "location": location(east, north), "datum": datum, "place": place_json(place),
            "duty": [{**asdict(duty), "on_duty": ports.on_duty(duty.unit, at_us)} for duty in duties],
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
        rows = await reader.rows(REGIONS, parameters)
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
        rows = await reader.rows(GRIDS, parameters)
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
    """Addresses by what people type: names with typos, old names, pinyin, initials; with score and reasons."""
    if ports.search("", 1) is None:
        return await addresses_with_words(ports, q, limit, cursor)
    start = max(0, decode_cursor("found", cursor, int)[0]) if cursor else 0
    found = await asyncio.to_thread(ports.search, q, start + limit + 1) or ()
    chosen = [f for f in found if f.kind == "address"][start:]
    async with reading(ports.pool) as reader:
        rows = await reader.rows(ADDRESSES_BY_ID, {"ids": [f.code for f in chosen[:limit]]})
    there = {row["id"]: address_json(row) for row in rows}
    items = [
        {**there[f.code], "score": f.score, "reasons": f.reasons} for f in chosen[:limit] if f.code in there
    ]
    next_ = encode_cursor("found", start + limit) if len(chosen) > limit else None
    return page(items, next_, places=[found_json(f) for f in found if f.kind != "address"])


def found_json(found: Found) -> dict[str, Any]:
    """A town, village or road that was found; a road's code is its village's."""
    return {
        "kind": found.kind, "code": found.code, "text": found.text, "score": found.score, "reasons": found.reasons,
    }  # fmt: skip


async def addresses_with_words(ports: ApiPorts, q: str, limit: int, cursor: str | None) -> Response:
    """Addresses whose text has every word of `q`, in the order of their ids: for a house without the index."""
    after = decode_cursor("addresses", cursor, str)[0] if cursor else None
    parameters = {"patterns": [pattern(word) for word in q.split()] or ["%"], "after": after, "limit": limit + 1}
    async with reading(ports.pool) as reader:
        rows = await reader.rows(ADDRESSES, parameters)
    next_ = encode_cursor("addresses", rows[limit - 1]["id"]) if len(rows) > limit else None
    return page([address_json(row) for row in rows[:limit]], next_)


def address_json(row: dict[str, Any]) -> dict[str, Any]:
    """An address with its codes, which are nested."""
    rest = {name: value for name, value in row.items() if name not in ("lon", "lat")}
    grid = row["grid"]
    return {**rest, "village": grid[:12], "town": grid[:9], "location": location(row["lon"], row["lat"])}


@router.get("/addresses/{address_id}")
async def address(
    session: SignedIn, ports: Ports, address_id: Annotated[AddressId, Path()]
) -> Response:
    """One address: its levels down to the room, other and old names with their time, and the building's others."""
    rule = address_rule()
    building = rule.building(address_id)
    async with reading(ports.pool) as reader:
        row = await reader.row(ADDRESS, {"id": address_id})
        if row is None:
            raise NotFound(f"there is no address {address_id}; GET /api/v1/addresses?q= finds them by text")
        aliases = await reader.rows(ADDRESS_ALIASES, {"id": address_id})
        within = {"id": address_id, "building": building, "length": rule.length}
        others = await reader.rows(ADDRESSES_OF_BUILDING, within)
    levels = {"city": address_id[:6], "town": row["grid"][:9], "village": row["grid"][:12], "grid": row["grid"]}
    house = {"building": building, "room": rule.room(address_id) or None}
    return reply({**address_json(row), "levels": {**levels, **house}, "aliases": aliases, "in_building": others})
