"""What devices sent: readings, waveforms, and the ledger of it all."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import queries, waves
from api.auth import Ports, SignedIn, require
from api.paging import LIMIT_DEFAULT, cursor_time, decode_cursor, encode_cursor
from api.ports import ApiPorts
from api.queries import Reader, reading
from api.routes.devices import find_device
from api.schemas import DEVICE_ID, Cursor, Exercise, From, Limit, Many, Text, Time, To, page, split, step_seconds
from domain.clock import from_us
from domain.errors import NotFound, PayloadError

router = APIRouter(tags=["received"])

POINTS_MAX = 10_000
PACKETS_MAX = 20_000
PACKET_SPAN_MAX = timedelta(minutes=10)
"""A packet that began this much before the window may still reach into it."""

DEFAULT_SPAN = timedelta(hours=1)

Device = Annotated[str, Query(pattern=DEVICE_ID)]


def window(ports: ApiPorts, from_: datetime | None, to: datetime | None) -> tuple[datetime, datetime]:
    """The asked time; left out: the last hour. Raises: PayloadError ``bad_time``."""
    end = to or from_us(ports.now_us())
    try:
        start = from_ or end - DEFAULT_SPAN
    except OverflowError as error:
        raise PayloadError("bad_time", "to: no such time") from error
    if start >= end:
        raise PayloadError("bad_time", "from must be before to")
    return start, end


def check_step(step_s: float, span_s: float, metrics: int) -> None:
    """Raises PayloadError ``step_too_small`` that names the smallest step which fits."""
    if (math.ceil(span_s / step_s) + 1) * max(1, metrics) > POINTS_MAX:
        smallest = math.ceil(span_s * max(1, metrics) / (POINTS_MAX - 2 * max(1, metrics)))
        raise PayloadError(
            "step_too_small", f"more than {POINTS_MAX} points; the smallest step here is {smallest} s"
        )


@router.get("/readings")
async def readings(
    session: SignedIn,
    ports: Ports,
    device: Device,
    metric: Many = [],  # noqa: B006  FastAPI copies it
    from_: From = None,
    to: To = None,
    step: Annotated[str | None, Query(max_length=20, description="rollup: 30, 30s, 5m, 1h, 1d")] = None,
    exercise: Exercise = None,
) -> Response:
    """Readings by time; with `step` the average, smallest, largest and count of each bucket."""
    start, end = window(ports, from_, to)
    span_s = (end - start).total_seconds()
    step_s = step_seconds(step) if step else None
    names = split(metric)
    async with reading(ports.pool) as reader:
        row = await find_device(reader, ports, session.actor, device, exercise)
        parameters = {"device": row["key"], "from": start, "to": end, "names": names or None}
        await check_metrics(reader, names)
        metrics = {m["key"]: m["name"] for m in await reader.rows(queries.METRICS_OF_DEVICE, parameters)}
        if step_s is not None:
            check_step(step_s, span_s, len(metrics))
        parameters |= {"metrics": list(metrics), "step_s": step_s, "limit": POINTS_MAX + 1}
        sql = queries.READINGS if step_s is None else queries.READINGS_BY_STEP
        rows = await reader.rows(sql, parameters)
    if len(rows) > POINTS_MAX:
        check_step(span_s / POINTS_MAX / 2, span_s, len(metrics))
    items = [reading_json(row, metrics) for row in rows]
    return page(items, None, device=device, metrics=sorted(metrics.values()), step_s=step_s)


async def check_metrics(reader: Reader, names: list[str]) -> None:
    """Raises NotFound for a metric that nothing ever sent."""
    known = {row["name"] for row in await reader.rows(queries.KNOWN_METRICS, {"names": names})} if names else set()
    if missing := sorted(set(names) - known):
        raise NotFound(f"no device ever sent the metric {', '.join(missing)}")


def reading_json(row: dict[str, Any], metrics: dict[int, str]) -> dict[str, Any]:
    """A reading, or a bucket whose ``value`` is its average."""
    shown = {**row, "metric": metrics[row["metric"]]}
    return shown if "value" in shown else {**shown, "value": shown["avg"]}


@router.get("/waveforms")
async def waveforms(
    session: SignedIn, ports: Ports, device: Device, from_: From = None, to: To = None, exercise: Exercise = None
) -> Response:
    """Samples in their unit, joined where packets touch; over 10,000 of them only the envelope (`decimated`)."""
    start, end = window(ports, from_, to)
    async with reading(ports.pool) as reader:
        row = await find_device(reader, ports, session.actor, device, exercise)
        parameters = {
            "device": row["key"],
            "before": start - PACKET_SPAN_MAX,
            "to": end,
            "limit": PACKETS_MAX + 1,
        }
        rows = await reader.rows(queries.WAVEFORMS, parameters)
    if len(rows) > PACKETS_MAX:
        raise PayloadError("too_much", f"more than {PACKETS_MAX} packets; ask for a shorter time")
    items, decimated = waves.items_of(rows, start, end)
    return page(items, None, device=device, decimated=decimated)


@router.get("/ledger")
async def ledger(
    session: SignedIn,
    ports: Ports,
    since: Time | None = None,
    device: Annotated[str | None, Query(pattern=DEVICE_ID)] = None,
    exercise: Exercise = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Messages by device and minute of arrival: received = stored + duplicate + rejected + quarantined."""
    require(session.actor, "ledger.read")
    after_us, after_key = decode_cursor("ledger", cursor, int, int) if cursor else (None, 0)
    parameters = {
        "area": session.actor.area, "device": device, "exercise": exercise or None, "limit": limit + 1,
        "since": since or from_us(ports.now_us()) - DEFAULT_SPAN,
        "after": None if after_us is None else cursor_time("ledger", after_us), "after_key": after_key,
    }  # fmt: skip
    async with reading(ports.pool) as reader:
        rows = await reader.rows(queries.LEDGER, parameters)
    next_ = None
    if len(rows) > limit:
        last = rows[limit - 1]
        next_ = encode_cursor("ledger", round(last["minute"].timestamp() * 1e6), last["key"])
    items = [ledger_json(row) for row in rows[:limit]]
    return page(items, next_)


def ledger_json(row: dict[str, Any]) -> dict[str, Any]:
    """One device's minute and whether its sums agree; an unknown device is null."""
    parts = ("stored", "duplicate", "rejected", "quarantined")
    shown = {name: row[name] for name in ("minute", "received", *parts)}
    return {
        "device": row["id"] or None, "exercise": row["run"], **shown,
        "balanced": row["received"] == sum(row[part] for part in parts),
    }  # fmt: skip


@router.get("/quarantine")
async def quarantine(
    session: SignedIn,
    ports: Ports,
    reason: Text | None = None,
    device: Text | None = None,
    exercise: Exercise = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Messages that broke a rule, newest first, with the reason and the first 1,000 bytes."""
    require(session.actor, "quarantine.read")
    after = decode_cursor("quarantine", cursor, int)[0] if cursor else None
    parameters = {
        "area": session.actor.area, "reason": reason, "device": device, "exercise": exercise or None,
        "after": after, "limit": limit + 1,
    }  # fmt: skip
    async with reading(ports.pool) as reader:
        rows = await reader.rows(queries.QUARANTINE, parameters)
    next_ = encode_cursor("quarantine", rows[limit - 1]["id"]) if len(rows) > limit else None
    items = [{**row, "head": bytes(row["head"]).decode(errors="replace")} for row in rows[:limit]]
    return page(items, next_)
