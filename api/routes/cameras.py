"""Cameras: those near a point in the order in which to turn to them, and what their pictures can confirm."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from api.auth import Ports, SignedIn
from api.ports import ApiPorts
from api.queries.devices import CAMERAS_IN_BOX, DEVICE
from api.queries.places import OPEN_ALERTS_IN_BOX
from api.reader import Reader, reading
from api.routes.alerts import find_alert
from api.schemas import DEVICE_ID, Datum, Lat, Limit, Lon, Text, device_json, location, page
from domain.clock import from_us
from domain.errors import NotFound
from domain.people import Actor
from geo.cameras import IGNORED, Cameras, confirmable, look, sight_json, what_a_picture_shows
from geo.datum import to_wgs84

router = APIRouter(tags=["places"])

METRES_PER_DEGREE = 110_500.0
"""A little less than anywhere on the earth, so that a box in degrees holds the whole circle."""

RADIUS_MAX_M = 50_000.0
Radius = Annotated[float, Query(gt=0, le=RADIUS_MAX_M)]


@router.get("/cameras/near")
async def cameras_near(
    session: SignedIn,
    ports: Ports,
    lon: Lon,
    lat: Lat,
    radius_m: Radius = 500.0,
    datum: Datum = "wgs84",
    limit: Limit = 20,
) -> Response:
    """Cameras around a point in order: those that can see it, best first, then unknown ones, then the others."""
    east, north = to_wgs84(lon, lat, datum)
    async with reading(ports.pool) as reader:
        found = await cameras_round(reader, ports, session.actor, east, north, radius_m)
    return page(found[:limit], None, datum=datum, location=location(east, north), ignored=IGNORED)


@router.get("/alerts/{alert_id}/cameras")
async def cameras_of_alert(
    session: SignedIn, ports: Ports, alert_id: Text, radius_m: Radius = 500.0, limit: Limit = 20
) -> Response:
    """Cameras around an alert in order; `can_confirm` where a picture shows what such an alert is about."""
    async with reading(ports.pool) as reader:
        alert = await find_alert(reader, alert_id, session.actor)
        lon, lat = point_of(alert)
        found = await cameras_round(reader, ports, session.actor, lon, lat, radius_m)
    shows = what_a_picture_shows(alert["kind"])
    items = [{**item, "can_confirm": item["can_see"] if shows else False} for item in found[:limit]]
    return page(items, None, alert_id=alert_id, location=location(lon, lat), look_for=shows, ignored=IGNORED)


@router.get("/cameras/{camera_id}/alerts")
async def alerts_of_camera(
    session: SignedIn, ports: Ports, camera_id: Annotated[str, Path(pattern=DEVICE_ID)], limit: Limit = 20
) -> Response:
    """Open alerts that this camera's picture can confirm, best in view first, and what to look for."""
    asked = {"id": camera_id, "exercise": None, "area": session.actor.area, "now": from_us(ports.now_us())}
    async with reading(ports.pool) as reader:
        row = await reader.row(DEVICE, asked)
        if row is None or row["kind"] != "camera":
            raise NotFound(f"there is no camera {camera_id!r} (in your area)")
        if row["lon"] is None or row["range_m"] is None or row["fov_deg"] is None:
            return page([], None, why="the registry lacks this camera's place, range or field of view")
        box = box_round(row["lon"], row["lat"], row["range_m"])
        alerts = await reader.rows(OPEN_ALERTS_IN_BOX, {**box, "area": session.actor.area})
    camera = Cameras.of_rows([row])
    lon, lat = (np.array([alert[name] for alert in alerts], np.float64) for name in ("lon", "lat"))
    items = [
        {
            "score": score, "look_for": what_a_picture_shows(alerts[at]["kind"]),
            "alert": msgspec.Raw(alerts[at]["alert"].encode()),
        }
        for at, score in confirmable(camera, [alert["kind"] for alert in alerts], lon, lat)[:limit]
    ]  # fmt: skip
    return page(items, None, ignored=IGNORED)


def point_of(alert: dict[str, Any]) -> tuple[float, float]:
    """Where an alert is. Raises: NotFound when nobody knows."""
    where = alert.get("location")
    if not where:
        raise NotFound("this alert has no place: register where its device stands, or ask by a point")
    return float(where["lon"]), float(where["lat"])


def box_round(lon: float, lat: float, radius_m: float) -> dict[str, float]:
    """A box of degrees that holds a circle."""
    north = radius_m / METRES_PER_DEGREE
    east = north / max(0.01, math.cos(math.radians(lat)))
    return {"west": lon - east, "east": lon + east, "south": lat - north, "north": lat + north}


async def cameras_round(
    reader: Reader, ports: ApiPorts, actor: Actor, lon: float, lat: float, radius_m: float
) -> list[dict[str, Any]]:
    """Cameras of the actor's area within a radius, in the order of ``Sight.order``."""
    parameters = {**box_round(lon, lat, radius_m), "area": actor.area, "now": from_us(ports.now_us())}
    rows = await reader.rows(CAMERAS_IN_BOX, parameters)
    cameras = Cameras.of_rows(rows)
    seen = look(cameras, lon, lat)
    shown = [
        {**device_json(rows[at]), **sight_json(seen, at)}
        for at in seen.order(cameras.id)
        if seen.distance_m[at] <= radius_m
    ]
    return [{**item, "in_view": item["can_see"]} for item in shown]
