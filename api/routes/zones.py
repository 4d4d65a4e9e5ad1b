"""Places that are not points: rings round an alert and what is in them, and events over an area."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query
from starlette.responses import Response

from api.auth import Ports, SignedIn
from api.paging import LIMIT_DEFAULT, decode_cursor, encode_cursor
from api.ports import ApiPorts
from api.queries.devices import CAMERAS_IN_BOX
from api.queries.places import DEVICES_IN_BOX, KEY_PLACES_IN_BOX, ZONE_RULES
from api.reader import Reader, Row, reading
from api.routes.alerts import find_alert
from api.routes.cameras import box_round, point_of
from api.schemas import Cursor, Datum, Limit, Text, device_json, location, page, place_json, reply, split
from domain.clock import from_us
from domain.errors import PayloadError
from domain.people import Actor
from geo.borders import Ground
from geo.datum import to_wgs84
from geo.zones import (
    Recipient,
    Ring,
    TerritoryNear,
    ZoneRule,
    check_radii,
    draw_rings,
    ground_m,
    radii_of,
    ring_json,
    ring_of,
    rules_in_force,
)

router = APIRouter(tags=["places"])

POINTS_MAX = 1000
What = Literal["devices", "cameras", "key_places", "addresses"]
Radii = Annotated[Text | None, Query(description="rising metres, such as 50,200,500; left out: the rules' own")]


@dataclass(frozen=True, slots=True)
class Contents:
    """Things of one sort round a point, nearest first: metres, ids, and how to show one."""

    metres: Sequence[float]
    ids: Sequence[str]
    shown: Callable[[int], dict[str, Any]]

    def json(self, at: int) -> dict[str, Any]:
        """One of them."""
        return {**self.shown(at), "distance_m": round(self.metres[at], 1)}


@router.get("/alerts/{alert_id}/zones")
async def zones(
    session: SignedIn, ports: Ports, alert_id: Text, radii: Radii = None, limit: Limit = 20
) -> Response:
    """Rings round an alert: what to do and whom to tell in each, how much stands there, and the nearest of it."""
    ground = ports.ground()
    async with reading(ports.pool) as reader:
        alert = await find_alert(reader, alert_id, session.actor)
        lon, lat = point_of(alert)
        rules = await rules_of(reader, ports, alert)
        edges = edges_of(radii, rules)
        contents = {
            what: await contents_of(reader, ports, ground, session.actor, what, lon, lat, edges[-1])
            for what in ("devices", "cameras", "key_places", "addresses")
        }
    territories = ground.territories(lon, lat, edges[-1])
    rings = draw_rings(edges, rules, territories, ground.name, lead_of(alert))
    patterns = sorted({rule.kind for rule in rules})
    severity = alert["severity"]
    because = f"rules of {', '.join(patterns)}" if rules else f"no rule for {alert['kind']} at severity {severity}"
    return reply(
        {
            "alert_id": alert_id, "location": location(lon, lat), "radii_m": edges, "because": because,
            "rings": [shown_ring(ring, at, edges, contents, ground, limit) for at, ring in enumerate(rings)],
            "data_version": ground.locator.version,
        }
    )  # fmt: skip


@router.get("/alerts/{alert_id}/zones/{what}")
async def zone_contents(
    session: SignedIn,
    ports: Ports,
    alert_id: Text,
    what: What,
    radii: Radii = None,
    ring: Annotated[int | None, Query(ge=1, description="1 = the innermost; left out: all")] = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Everything of one sort in the rings round an alert, or in one ring, nearest first."""
    after = tuple(decode_cursor("zones", cursor, float, str)) if cursor else None
    async with reading(ports.pool) as reader:
        alert = await find_alert(reader, alert_id, session.actor)
        lon, lat = point_of(alert)
        edges = edges_of(radii, await rules_of(reader, ports, alert))
        if ring is not None and ring > len(edges):
            raise PayloadError("bad_query", f"ring: there are {len(edges)} rings")
        found = await contents_of(reader, ports, ports.ground(), session.actor, what, lon, lat, edges[-1])
    rings = ring_of(found.metres, edges).tolist()
    rows = [
        at
        for at, inside in enumerate(rings)
        if (ring is None or inside == ring - 1) and (after is None or (found.metres[at], found.ids[at]) > after)
    ]
    shown = rows[:limit]
    last = encode_cursor("zones", found.metres[shown[-1]], found.ids[shown[-1]]) if len(rows) > limit else None
    return page([{**found.json(at), "ring": rings[at] + 1} for at in shown], last, radii_m=edges)


@router.get("/route/area")
async def route_area(
    session: SignedIn,
    ports: Ports,
    point: Annotated[list[Text], Query(description="lon,lat; repeated, one for each point")],
    severity: Annotated[int, Query(ge=1, le=4)],
    kind: Annotated[Text | None, Query(description="an alert kind, such as vibration.limit")] = None,
    matter: Annotated[Text | None, Query(description="a matter's code, such as local:08999")] = None,
    datum: Datum = "wgs84",
) -> Response:
    """Who would be told of one event over all these points: the lowest unit that holds them, and its duties."""
    if kind is None and matter is None:
        raise PayloadError("bad_query", "name the event's kind or its matter")
    lon, lat = points_of(point, datum)
    places = ports.locate(lon, lat)
    ground = ports.ground()
    unit = ground.lowest_unit(places)
    duties, steps = ports.route(kind or "", severity, unit.place, matter=matter)
    return reply(
        {
            "kind": kind, "matter": matter, "severity": severity, "datum": datum,
            "unit": {
                "level": unit.level, "code": unit.code, "why": unit.why,
                "name": ground.name(unit.code) if unit.code else None,
            },
            "place": place_json(unit.place), "duty": [asdict(duty) for duty in duties], "steps": list(steps),
            "points": [
                {"location": location(x, y), "grid": p.grid, "village": p.village, "town": p.town}
                for x, y, p in zip(lon.tolist(), lat.tolist(), places, strict=True)
            ],
        }
    )  # fmt: skip


def points_of(texts: Sequence[str], datum: str) -> tuple[Any, Any]:
    """WGS-84 arrays of ``lon,lat`` texts. Raises: PayloadError ``bad_query``."""
    if not 1 <= len(texts) <= POINTS_MAX:
        raise PayloadError("bad_query", f"point: 1 to {POINTS_MAX} of them")
    try:
        pairs = np.array([[float(part) for part in text.split(",")] for text in texts], np.float64)
    except ValueError as error:
        raise PayloadError("bad_query", "point: two numbers, lon,lat") from error
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.all(np.abs(pairs) <= (180.0, 90.0)):
        raise PayloadError("bad_query", "point: two numbers, lon (within 180) and lat (within 90)")
    lon, lat = to_wgs84(pairs[:, 0], pairs[:, 1], datum)
    return np.asarray(lon), np.asarray(lat)


async def rules_of(reader: Reader, ports: ApiPorts, alert: Mapping[str, Any]) -> list[ZoneRule]:
    """The zone rules in force for an alert."""
    asked = {"kind": alert["kind"], "now": from_us(ports.now_us())}
    rows = await reader.rows(ZONE_RULES, asked)
    return rules_in_force([ZoneRule(**row) for row in rows], int(alert["severity"]))


def edges_of(radii: str | None, rules: Sequence[ZoneRule]) -> tuple[float, ...]:
    """The rings asked for, or those of the rules. Raises: PayloadError ``bad_radii``."""
    if radii is None:
        return radii_of(rules)
    try:
        return check_radii([float(text) for text in split([radii])])
    except ValueError as error:
        raise PayloadError("bad_radii", "radii: numbers of metres, such as 50,200,500") from error


def lead_of(alert: Mapping[str, Any]) -> Recipient | None:
    """The alert's own lead, who is told where a ring touches no territory."""
    lead = next((duty for duty in alert.get("duty") or () if duty["role"] == "lead"), None)
    if lead is None:
        return None
    return Recipient(lead["unit"], lead.get("name", {}), "圈内无已知区域，由主办单位负责 · no territory known")


async def contents_of(
    reader: Reader, ports: ApiPorts, ground: Ground, actor: Actor, what: str, lon: float, lat: float,
    radius_m: float,
) -> Contents:
    """Everything of one sort within the outermost ring; devices and cameras of the actor's area only."""
    if what == "addresses":
        near = ground.addresses(lon, lat, radius_m)
        rows = near.row.tolist()
        ids = [ground.locator.addresses.id(row) for row in rows]
        return Contents(near.metres.tolist(), ids, lambda at: ground.address(rows[at]))
    asked = {**box_round(lon, lat, radius_m), "area": actor.area, "now": from_us(ports.now_us())}
    if what == "cameras":
        return by_distance(await reader.rows(CAMERAS_IN_BOX, asked), lon, lat, radius_m, device_json)
    if what == "devices":
        return by_distance(await reader.rows(DEVICES_IN_BOX, asked), lon, lat, radius_m, located)
    return by_distance(await reader.rows(KEY_PLACES_IN_BOX, asked), lon, lat, radius_m, located)


def by_distance(
    rows: Sequence[Row], lon: float, lat: float, radius_m: float, shown: Callable[[Row], dict[str, Any]]
) -> Contents:
    """Rows with a point, those within the radius, nearest first, then by id."""
    metres = ground_m(lon, lat, [row["lon"] for row in rows], [row["lat"] for row in rows]).tolist()
    near = sorted((m, row["id"], at) for at, (m, row) in enumerate(zip(metres, rows, strict=True)) if m <= radius_m)
    return Contents([m for m, _, _ in near], [id_ for _, id_, _ in near], lambda at: shown(rows[near[at][2]]))


def located(row: Row) -> dict[str, Any]:
    """A row with its point as ``location`` and its codes as ``place``."""
    moved = ("lon", "lat", "town", "village", "grid")
    return {
        **{name: value for name, value in row.items() if name not in moved},
        "location": location(row["lon"], row["lat"]),
        "place": {level: row[level] for level in ("town", "village", "grid")},
    }


def shown_ring(
    ring: Ring, number: int, edges: Sequence[float], contents: Mapping[str, Contents], ground: Ground, limit: int
) -> dict[str, Any]:
    """A ring with counts and the nearest ``limit`` of each sort."""
    counts: dict[str, int] = {}
    lists: dict[str, Any] = {}
    for what, found in contents.items():
        rows = np.flatnonzero(ring_of(found.metres, edges) == number).tolist()
        counts[what], lists[what] = len(rows), [found.json(at) for at in rows[:limit]]
    for level, plural in (("grid", "grids"), ("village", "villages"), ("town", "towns")):
        inside = [t for t in ring.territories if t.level == level]
        counts[plural], lists[plural] = len(inside), [territory_json(t, ground) for t in inside[:limit]]
    return {"ring": number + 1, **ring_json(ring), "counts": counts, **lists}


def territory_json(territory: TerritoryNear, ground: Ground) -> dict[str, Any]:
    """A territory with its name and the metres to its nearest ground."""
    return {"code": territory.code, "name": ground.name(territory.code), "distance_m": territory.nearest_m}
