"""How the alarms behave: counts, rate and the worst offenders (IEC 62682's simple measures)."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter
from starlette.responses import Response

from api.auth import Ports, SignedIn
from api.filters import AlertFilter
from api.queries.alarms import ALERT_COUNTS, ALERTS_BY_STATE, ALERTS_PER_10_MIN, ALERTS_TOP, OPERATOR_ALARMS
from api.reader import reading
from api.routes.received import window
from api.schemas import Exercise, From, To, reply
from domain.errors import PayloadError

router = APIRouter(tags=["stats"])

SPAN_MAX = timedelta(days=31)


@router.get("/stats/alarms")
async def alarms(
    session: SignedIn, ports: Ports, from_: From = None, to: To = None, exercise: Exercise = None
) -> Response:
    """Alarms of a time (left out: the last hour): by state and severity, per 10 minutes, the ten most frequent."""
    start, end = window(ports, from_, to)
    if end - start > SPAN_MAX:
        raise PayloadError("bad_time", f"at most {SPAN_MAX.days} days at once")
    parameters = {
        **AlertFilter(exercise=exercise or None).for_eyes_of(session.actor).sql_parameters(),
        "area": session.actor.area,
        "from": start,
        "to": end,
    }
    async with reading(ports.pool) as reader:
        totals = await reader.row(ALERT_COUNTS, parameters)
        called = await reader.row(OPERATOR_ALARMS, parameters)
        by_state = await reader.rows(ALERTS_BY_STATE, parameters)
        per_10_min = await reader.rows(ALERTS_PER_10_MIN, parameters)
        top = await reader.rows(ALERTS_TOP, parameters)
    assert totals is not None
    assert called is not None
    totals = {**totals, **called, "operator_alarms": called["incidents"] + called["alone"]}
    return reply(
        {
            "from": start, "to": end, "totals": totals, "by_state": by_state, "per_10_min": per_10_min,
            "peak_per_10_min": max((row["alerts"] for row in per_10_min), default=0), "top": top,
        }
    )  # fmt: skip
