"""Alerts: the list, one with its history and evidence, and the actions.

What lies outside the caller's area does not exist for the caller: 404.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from api.auth import Ports, SignedIn, require
from api.filters import from_query
from api.media import kept_links
from api.paging import LIMIT_DEFAULT, cursor_time, decode_cursor, encode_cursor
from api.queries.alerts import ALERT, CLOSED_ALERTS, HISTORY, OPEN_ALERTS
from api.reader import Reader, reading
from api.schemas import (
    Action,
    ActionBody,
    Cursor,
    Exercise,
    Limit,
    Many,
    Text,
    Time,
    page,
    pattern,
    reply,
    split,
)
from domain.clock import from_us, to_us
from domain.errors import NotFound, PayloadError
from domain.people import Actor

router = APIRouter(tags=["alerts"])

OPEN = ("new", "acknowledged", "assigned")
STATES = (*OPEN, "closed")
CURSOR = "alerts"
MARGIN_US = 30_000_000
"""The evidence's links show this much before and after the window."""


def states(given: list[str]) -> list[str]:
    """States asked for; ``open`` stands for all but closed; none = all."""
    wanted = [state for name in given for state in (OPEN if name == "open" else (name,))]
    if unknown := sorted(set(wanted) - set(STATES)):
        raise PayloadError("bad_filter", f"state: {', '.join(unknown)} is none of {', '.join(STATES)}, open")
    return wanted or list(STATES)


def integers(given: list[str]) -> list[int]:
    """Severities as numbers. Raises: PayloadError."""
    try:
        return [int(value) for value in given]
    except ValueError as error:
        raise PayloadError("bad_filter", "severity: 1 (red) to 4 (blue)") from error


@router.get("/alerts")
async def alerts(
    session: SignedIn,
    ports: Ports,
    state: Many = [],  # noqa: B006  FastAPI copies it
    severity: Many = [],  # noqa: B006
    town: Many = [],  # noqa: B006
    grid: Many = [],  # noqa: B006
    kind: Many = [],  # noqa: B006
    bbox: Annotated[Text | None, Query(description="west,south,east,north in WGS-84")] = None,
    condition: Annotated[str | None, Query(pattern="^(active|cleared)$")] = None,
    since: Annotated[Time | None, Query(description="leaves out closed alerts that changed before")] = None,
    exercise: Exercise = None,
    q: Annotated[Text | None, Query(description="in title, device, address, names, or a whole id")] = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Open alerts first, the worst and newest first, then closed ones; `since` never hides an open one."""
    wanted = from_query(
        integers(split(severity)), split(town), split(grid), split(kind), bbox, exercise
    ).for_eyes_of(session.actor)
    parameters = {
        **wanted.sql_parameters(),
        "area": session.actor.area,
        "condition": condition,
        "pattern": pattern(q),
        "exact": q,
        "since": since,
    }
    asked = states(split(state))
    async with reading(ports.pool) as reader:
        rows, next_ = await list_page(reader, parameters, asked, limit, cursor)
    return page([msgspec.Raw(row["alert"].encode()) for row in rows], next_)


async def list_page(
    reader: Reader, parameters: Mapping[str, Any], asked: list[str], limit: int, cursor: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """One page over the two parts of the list, and the cursor of the next."""
    part, severity, at_us, id_ = "open", 0, 0, None
    if cursor:
        part, severity, at_us, id_ = decode_cursor(CURSOR, cursor, str, int, int, str)
    after = {"after_severity": severity, "after_at": cursor_time(CURSOR, at_us), "after_id": id_}
    rows: list[dict[str, Any]] = []
    if part == "open" and (still_open := [state for state in asked if state != "closed"]):
        rows = await reader.rows(
            OPEN_ALERTS, {**parameters, **after, "state": still_open, "limit": limit + 1}
        )
    if part == "open":
        after = {"after_severity": 0, "after_at": from_us(0), "after_id": None}
    opened = len(rows)
    if opened <= limit and "closed" in asked:
        rows += await reader.rows(
            CLOSED_ALERTS, {**parameters, **after, "state": ["closed"], "limit": limit + 1 - opened}
        )
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    part = "open" if limit <= opened else "closed"
    return rows[:limit], encode_cursor(CURSOR, part, last["severity"], to_us(last["started_at"]), last["id"])


async def find_alert(reader: Reader, alert_id: str, actor: Actor) -> dict[str, Any]:
    """An alert within the actor's area. Raises: NotFound."""
    row = await reader.row(ALERT, {"id": alert_id, "area": actor.area})
    if row is None:
        raise NotFound(f"there is no alert {alert_id!r} (in your area)")
    found: dict[str, Any] = msgspec.json.decode(row["alert"])
    return found


def evidence_links(alert: Mapping[str, Any]) -> dict[str, str]:
    """Where the samples and readings around the alert's window are."""
    window = (alert.get("evidence") or {}).get("window")
    device = (alert.get("device") or {}).get("id")
    if not window or not device:
        return {}
    first, last = (to_us(datetime.fromisoformat(at)) for at in window)
    common = {
        "device": device,
        "from": from_us(first - MARGIN_US).isoformat().replace("+00:00", "Z"),
        "to": from_us(last + MARGIN_US).isoformat().replace("+00:00", "Z"),
    }
    if alert.get("exercise"):
        common["exercise"] = alert["exercise"]
    readings = {**common, "metric": alert["metric"]} if alert.get("metric") else common
    return {
        "waveforms": "/api/v1/waveforms?" + urlencode(common),
        "readings": "/api/v1/readings?" + urlencode(readings),
    }


@router.get("/alerts/{alert_id}")
async def alert(session: SignedIn, ports: Ports, alert_id: Text) -> Response:
    """One alert with `history`, every change of it oldest first, and links in `evidence`."""
    async with reading(ports.pool) as reader:
        found = await find_alert(reader, alert_id, session.actor)
        history = await reader.rows(HISTORY, {"id": alert_id})
        links = evidence_links(found) | await kept_links(reader, ports.media, found)
    evidence = {**(found.get("evidence") or {}), "links": links}
    return reply({**found, "evidence": evidence, "history": history})


@router.post("/alerts/{alert_id}/{action}")
async def act(session: SignedIn, ports: Ports, alert_id: Text, action: Action, body: ActionBody) -> Response:
    """Move an alert; 409 with `current` when it changed since the caller read it."""
    require(session.actor, action)
    fields = body.for_action(action, from_us(ports.now_us()))
    async with reading(ports.pool) as reader:
        await find_alert(reader, alert_id, session.actor)
    return reply(await ports.act(action, alert_id, fields, session.actor))


