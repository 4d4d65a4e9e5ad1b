"""The account of what was received: the ledger, gaps in devices' counts, and quarantine."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.auth import Ports, SignedIn, require
from api.paging import LIMIT_DEFAULT, cursor_time, decode_cursor, encode_cursor
from api.queries.ledger import ASK_REPLAY, GAPS, LEDGER, QUARANTINE
from api.reader import one, reading, writing
from api.schemas import DEVICE_ID, Cursor, Exercise, Limit, Text, Time, page, reply
from domain.clock import from_us, to_us
from domain.errors import PayloadError

router = APIRouter(tags=["ledger"])

DEFAULT_SPAN = timedelta(hours=1)


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
        rows = await reader.rows(LEDGER, parameters)
    next_ = None
    if len(rows) > limit:
        last = rows[limit - 1]
        next_ = encode_cursor("ledger", to_us(last["minute"]), last["key"])
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


@router.get("/ledger/gaps")
async def gaps(
    session: SignedIn,
    ports: Ports,
    since: Time | None = None,
    device: Annotated[str | None, Query(pattern=DEVICE_ID)] = None,
    state: Annotated[str | None, Query(pattern="^(open|filled|lost|given_up)$")] = None,
    exercise: Exercise = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Gaps in devices' own counts, newest first: what is missing, how often it was asked for; open ones always."""
    require(session.actor, "ledger.read")
    after_us, after_key, after_first = decode_cursor("gaps", cursor, int, int, int) if cursor else (None, 0, 0)
    parameters = {
        "area": session.actor.area, "device": device, "state": state, "exercise": exercise or None,
        "limit": limit + 1, "since": since or from_us(ports.now_us()) - DEFAULT_SPAN,
        "after": None if after_us is None else cursor_time("gaps", after_us), "after_key": after_key,
        "after_first": after_first,
    }  # fmt: skip
    async with reading(ports.pool) as reader:
        rows = await reader.rows(GAPS, parameters)
    next_ = None
    if len(rows) > limit:
        last = rows[limit - 1]
        next_ = encode_cursor("gaps", to_us(last["opened_at"]), last["key"], last["first"])
    return page([{k: v for k, v in row.items() if k != "key"} for row in rows[:limit]], next_)


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
        rows = await reader.rows(QUARANTINE, parameters)
    next_ = encode_cursor("quarantine", rows[limit - 1]["id"]) if len(rows) > limit else None
    items = [{**row, "head": bytes(row["head"]).decode(errors="replace")} for row in rows[:limit]]
    return page(items, next_)


class ReplayBody(BaseModel):
    """Which quarantined messages to send in again: ids, or all of a reason or a device."""

    model_config = ConfigDict(extra="forbid")
    ids: Annotated[list[int], Field(max_length=1000)] | None = None
    reason: str | None = None
    device: str | None = None


@router.post("/quarantine/replay", status_code=202)
async def replay(session: SignedIn, ports: Ports, body: ReplayBody) -> Response:
    """Send quarantined messages in again, after what stopped them was mended; answers how many were asked for."""
    require(session.actor, "quarantine.replay")
    if body.ids is None and body.reason is None and body.device is None:
        raise PayloadError("bad_body", "say which: ids, reason or device")
    async with writing(ports.pool) as conn:
        row = await one(conn, ASK_REPLAY, {**body.model_dump(), "area": session.actor.area})
    return reply({"asked": row["asked"]}, status=202)
