"""Who is told of one alert: now, with whoever is on duty, and every step of the way there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.auth import Ports, SignedIn
from api.reader import reading
from api.routes.alerts import find_alert
from api.schemas import Text, reply
from domain.clock import iso
from domain.places import Place

router = APIRouter(tags=["alerts"])


@router.get("/alerts/{alert_id}/route")
async def route_of_alert(session: SignedIn, ports: Ports, alert_id: Text) -> Response:
    """Who would be told of this alert now, who of them is on duty, and which rows matched, lost, and why.

    `duty` of the alert itself says who was told when it was raised, became worse or moved.
    """
    async with reading(ports.pool) as reader:
        alert = await find_alert(reader, alert_id, session.actor)
    at_us = ports.now_us()
    point = alert.get("location") or {}
    device = alert.get("device") or {}
    duties, steps = ports.route(
        alert["kind"], alert["severity"], place_of(alert.get("place") or {}), matter=alert.get("matter"),
        at_us=at_us, lon=point.get("lon"), lat=point.get("lat"), device=device.get("id", ""),
        device_kind=device.get("kind", ""),
    )  # fmt: skip
    told = {duty["unit"] for duty in alert.get("duty") or ()}
    return reply(
        {
            "alert_id": alert_id, "at": iso(at_us),
            "duty": [
                {**asdict(duty), "told": duty.unit in told, "on_duty": ports.on_duty(duty.unit, at_us)}
                for duty in duties
            ],
            "steps": list(steps),
        }
    )  # fmt: skip


def place_of(body: dict[str, Any]) -> Place:
    """An alert's place, out of its JSON."""
    given = {name: body.get(name) for name in ("address_id", "address", "distance_m", "grid", "village", "town")}
    return Place(
        **given, score=body.get("score") or 0.0, method=body.get("method") or "none", names=body.get("names") or {},
        data_version=body.get("data_version") or "", neighbours=tuple(body.get("neighbours") or ()),
    )  # fmt: skip
