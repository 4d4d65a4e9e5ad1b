"""Vehicles: where they have been, by town and cell, and their trips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from api.auth import Ports, SignedIn
from api.handovers import handover_json
from api.paging import LIMIT_DEFAULT, cursor_time, decode_cursor, encode_cursor
from api.ports import ApiPorts
from api.queries.received import TRACK
from api.queries.trips import ALL_TRIPS, HANDOVERS_BEFORE, HANDOVERS_OF_TRIPS, TRIPS
from api.reader import Reader, reading
from api.routes.devices import find_device
from api.routes.received import POINTS_MAX, window
from api.schemas import DEVICE_ID, Cursor, Exercise, From, Limit, To, page
from domain.clock import from_us, to_us
from domain.errors import NotFound
from domain.people import Actor
from domain.places import Place
from geo.tracks import Fix, Stay, fold_track

router = APIRouter(tags=["vehicles"])

VehicleId = Annotated[str, Path(pattern=DEVICE_ID)]


@router.get("/vehicles/{vehicle_id}/track")
async def track(
    session: SignedIn,
    ports: Ports,
    vehicle_id: VehicleId,
    from_: From = None,
    to: To = None,
    exercise: Exercise = None,
) -> Response:
    """Positions by time; the legs by town and cell with when and why each ended; and what cannot be true."""
    start, end = window(ports, from_, to)
    async with reading(ports.pool) as reader:
        row = await find_device(reader, ports, everywhere(session.actor), vehicle_id, exercise)
        parameters = {"device": row["key"], "from": start, "to": end, "limit": POINTS_MAX + 1}
        rows = await reader.rows(TRACK, parameters)
    truncated, rows = len(rows) > POINTS_MAX, rows[:POINTS_MAX]
    places = located(ports, rows) if rows else []
    actor = session.actor
    points = [r for r, p in zip(rows, places, strict=True) if actor.sees(p.grid, p.village, p.town)]
    if actor.area and not points:
        raise NotFound(f"there is no track of {vehicle_id!r} in your area and time")
    names = {p.town: p.names.get("town") for p in places}
    folded = fold_track(fix_of(r, p) for r, p in zip(rows, places, strict=True))
    legs = [
        {"town": s.code, "name": names.get(s.code), **stay_json(s)} for s in folded.towns if overlaps(actor, s.code)
    ]
    cells = [{"grid": s.code, **stay_json(s)} for s in folded.cells if overlaps(actor, s.code)]
    suspicions = [
        {"kind": s.kind, "at": from_us(s.time_us), "lon": s.lon, "lat": s.lat, "metres": round(s.metres),
         "datum": s.datum}
        for s in folded.suspicions
        if not actor.area or any(r["lon"] == s.lon and r["lat"] == s.lat for r in points)
    ]  # fmt: skip
    return page(
        points, None, vehicle=vehicle_id, legs=legs, cells=cells, suspicions=suspicions, truncated=truncated
    )


def located(ports: ApiPorts, rows: Sequence[dict[str, Any]]) -> Sequence[Place]:
    """Each position in the division of its own time, as its trip has it."""
    times_us = np.array([to_us(r["t"]) for r in rows])
    return ports.locate(np.array([r["lon"] for r in rows]), np.array([r["lat"] for r in rows]), times_us)


def everywhere(actor: Actor) -> Actor:
    """The account without its area: a vehicle has no place of its own."""
    return Actor(actor.name, actor.role, "")


def overlaps(actor: Actor, code: str | None) -> bool:
    """Whether a territory lies in the actor's area, or the area in it."""
    return actor.sees(code) or (code is not None and actor.area.startswith(code))


def fix_of(row: dict[str, Any], place: Place) -> Fix:
    """A stored position with its place."""
    return Fix(to_us(row["t"]), row["lon"], row["lat"], place.town, place.village, place.grid)


def stay_json(stay: Stay) -> dict[str, Any]:
    """Times and size of a stay."""
    return {
        "from": from_us(stay.from_us), "to": from_us(stay.to_us), "points": stay.points, "strays": stay.strays,
        "length_m": round(stay.length_m), "settled": stay.settled, "because": stay.ended_because,
    }  # fmt: skip


@router.get("/vehicles/{vehicle_id}/trips")
async def trips(
    session: SignedIn,
    ports: Ports,
    vehicle_id: VehicleId,
    exercise: Exercise = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Trips, newest first: origin, legs by town, destination, violations by town, hand-overs, the city's case."""
    async with reading(ports.pool) as reader:
        row = await find_device(reader, ports, everywhere(session.actor), vehicle_id, exercise)
        asked = {"device": row["key"]}
        return await trips_page(reader, TRIPS, asked, session.actor, limit, cursor, vehicle=vehicle_id)


@router.get("/trips")
async def all_trips(
    session: SignedIn,
    ports: Ports,
    state: Annotated[Literal["under way", "ended"] | None, Query()] = None,
    exercise: Exercise = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Trips of all vehicles through the account's area, newest first, each as `GET /vehicles/{id}/trips` has it."""
    asked = {"state": state, "exercise": exercise}
    async with reading(ports.pool) as reader:
        return await trips_page(reader, ALL_TRIPS, asked, session.actor, limit, cursor)


@router.get("/handovers")
async def handovers(
    session: SignedIn,
    ports: Ports,
    exercise: Exercise = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Hand-overs at borders, newest first, in the words of the live feed: what one sees who was away."""
    before = decode_cursor("handovers", cursor, int)[0] if cursor else None
    asked = {"before": before, "exercise": exercise, "area": session.actor.area, "limit": limit + 1}
    async with reading(ports.pool) as reader:
        rows = await reader.rows(HANDOVERS_BEFORE, asked)
    next_ = encode_cursor("handovers", rows[limit - 1]["seq"]) if len(rows) > limit else None
    shown = [handover_json(row, session.actor) for row in rows[:limit]]
    return page([one for one in shown if one is not None], next_)


async def trips_page(
    reader: Reader, query: str, asked: dict[str, Any], actor: Actor, limit: int, cursor: str | None, **members: Any
) -> Response:
    """One page of a query of trips."""
    after_us, after_id = decode_cursor("trips", cursor, int, str) if cursor else (None, "")
    after = None if after_us is None else cursor_time("trips", after_us)
    rows = await reader.rows(
        query, {**asked, "area": actor.area, "limit": limit + 1, "after_id": after_id, "after": after}
    )
    shown = rows[:limit]
    told = await reader.rows(HANDOVERS_OF_TRIPS, {"trips": [r["id"] for r in shown]})
    next_ = None
    if len(rows) > limit:
        next_ = encode_cursor("trips", to_us(shown[-1]["started_at"]), shown[-1]["id"])
    return page([trip_json(r["body"], told, actor) for r in shown], next_, **members)


def trip_json(body: dict[str, Any], told: list[dict[str, Any]], actor: Actor) -> dict[str, Any]:
    """A trip as far as it lies in the actor's area."""
    handovers = [
        {"seq": h["seq"], "change": h["change"], **h["body"]}
        for h in told
        if h["trip_id"] == body["id"]
        and (overlaps(actor, h["body"]["left"]["town"]) or overlaps(actor, h["body"]["entered"]["town"]))
    ]
    legs = [leg for leg in body["legs"] if overlaps(actor, leg["town"])]
    cells = [cell for cell in body["cells"] if overlaps(actor, cell["grid"])]
    violations = [v for v in body["violations"] if actor.sees(v["grid"], v["village"], v["town"])]
    ends = {side: body[side] if visible_end(body[side], actor) else None for side in ("origin", "destination")}
    shown = {**body, **ends, "legs": legs, "cells": cells, "violations": violations, "handovers": handovers}
    if actor.area:
        shown["suspicions"] = []
    return shown


def visible_end(end: dict[str, Any] | None, actor: Actor) -> bool:
    """Whether a trip's origin or destination lies in the actor's area."""
    return end is not None and actor.sees(end["grid"], end["town"])
