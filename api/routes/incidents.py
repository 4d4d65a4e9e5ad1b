"""Incidents: alerts that belong together, each as one thing with its members, reasons and duties."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.auth import Ports, SignedIn
from api.filters import from_query
from api.incidents import within
from api.paging import LIMIT_DEFAULT, cursor_time, decode_cursor, encode_cursor
from api.ports import ApiPorts
from api.queries.incidents import ALERTS_OF_INCIDENT, INCIDENT, INCIDENT_HISTORY, INCIDENTS_LISTED
from api.reader import Reader, reading
from api.routes.alerts import integers
from api.schemas import Cursor, Exercise, Limit, Many, Text, Time, page, place_json, reply, split
from domain.clock import to_us
from domain.errors import NotFound, PayloadError
from domain.people import Actor
from domain.places import UNKNOWN_PLACE, Place

router = APIRouter(tags=["incidents"])

STATES = ("open", "closed")
CURSOR = "incidents"
MEMBERS_MAX = 10_000
"""Alerts of one incident in its detail; beyond, the list of alerts has them all by `incident`."""


def states(given: list[str]) -> list[str]:
    """States asked for; none = all. Raises: PayloadError."""
    if unknown := sorted(set(given) - set(STATES)):
        raise PayloadError("bad_filter", f"state: {', '.join(unknown)} is none of {', '.join(STATES)}")
    return given or list(STATES)


@router.get("/incidents")
async def incidents(
    session: SignedIn,
    ports: Ports,
    state: Many = [],  # noqa: B006  FastAPI copies it
    severity: Many = [],  # noqa: B006
    kind: Many = [],  # noqa: B006
    town: Many = [],  # noqa: B006
    grid: Many = [],  # noqa: B006
    bbox: Annotated[Text | None, Query(description="west,south,east,north in WGS-84; looks at the centre")] = None,
    since: Annotated[Time | None, Query(description="leaves out closed incidents that changed before")] = None,
    exercise: Exercise = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Incidents, the newest first; `since` never hides an open one. At most 200 members of each are listed."""
    area = session.actor.area
    after_us, after_id = decode_cursor(CURSOR, cursor, int, str) if cursor else (0, None)
    wanted = from_query(
        integers(split(severity)), split(town), split(grid), split(kind), bbox, exercise
    ).for_eyes_of(session.actor)
    parameters = {
        **wanted.sql_parameters(), "area": area, "state": states(split(state)), "since": since, "limit": limit + 1,
        "after_id": after_id, "after_at": cursor_time(CURSOR, after_us),
    }  # fmt: skip
    async with reading(ports.pool) as reader:
        rows = await reader.rows(INCIDENTS_LISTED, parameters)
    shown = rows[:limit]
    next_ = None
    if len(rows) > limit:
        next_ = encode_cursor(CURSOR, to_us(shown[-1]["started_at"]), shown[-1]["id"])
    return page([within(row["body"], area) for row in shown], next_)


@router.get("/incidents/{incident_id}")
async def incident(session: SignedIn, ports: Ports, incident_id: Text) -> Response:
    """One incident with all its alerts, its `history`, the lowest `unit` that holds it and who is told (`duty`)."""
    async with reading(ports.pool) as reader:
        found = await find_incident(reader, incident_id, session.actor)
        parameters = {"id": incident_id, "area": session.actor.area, "limit": MEMBERS_MAX}
        alerts = await reader.rows(ALERTS_OF_INCIDENT, parameters)
        history = await reader.rows(INCIDENT_HISTORY, {"id": incident_id})
    return reply({
        **found, "alerts": [row["id"] for row in alerts],
        "members": with_states(found.get("members") or [], alerts), **whose(ports, found), "history": history,
    })  # fmt: skip


async def find_incident(reader: Reader, incident_id: str, actor: Actor) -> dict[str, Any]:
    """An incident of which some lies in the actor's area. Raises: NotFound."""
    row = await reader.row(INCIDENT, {"id": incident_id, "area": actor.area})
    if row is None:
        raise NotFound(f"there is no incident {incident_id!r} (in your area)")
    return within(row["body"], actor.area)


def with_states(members: list[dict[str, Any]], alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The members with what has become of their alerts; those beyond the incident's own list follow."""
    by_id = {row["id"]: row for row in alerts}
    listed = {m["alert"] for m in members}
    names = ("state", "condition", "severity")
    known = [{**m, **{n: by_id[m["alert"]][n] for n in names}} if m["alert"] in by_id else m for m in members]
    rest = [{"alert": row["id"], "device": row["device"], "kind": row["kind"], **{n: row[n] for n in names}}
            for row in alerts if row["id"] not in listed]  # fmt: skip
    return known + rest


def whose(ports: ApiPorts, found: dict[str, Any]) -> dict[str, Any]:
    """The lowest unit that holds all places, and its duties for what the alerts are."""
    ground = ports.ground()
    places = [_place_of(code) for code in found.get("places") or []]
    unit = ground.lowest_unit(places or [UNKNOWN_PLACE])
    center = found.get("center") or {}
    duties, steps = ports.route(
        found.get("alert_kind") or "vibration.shaking", found["severity"], unit.place,
        lon=center.get("lon"), lat=center.get("lat"),
    )  # fmt: skip
    return {
        "unit": {"level": unit.level, "code": unit.code, "why": unit.why, "place": place_json(unit.place)},
        "duty": [{"unit": d.unit, "role": d.role, "why": d.why, "name": dict(d.name)} for d in duties],
        "duty_why": list(steps),
    }


def _place_of(code: str) -> Place:
    """A code as a place, as far down as it goes."""
    grid, village = (code if len(code) == 15 else None), (code[:12] if len(code) >= 12 else None)
    return replace(UNKNOWN_PLACE, grid=grid, village=village, town=code[:9] if len(code) >= 9 else None)
