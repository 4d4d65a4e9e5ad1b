"""Detection rules: read, changed with a version, and tried on stored data before they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from api.auth import Ports, SignedIn, require
from api.ports import ApiPorts, RuleBook
from api.schemas import Body, From, Text, To, page, reply
from domain.clock import to_us
from domain.errors import GridpulseError, NotAllowed, NotFound, PayloadError
from domain.people import Actor

router = APIRouter(tags=["rules"])

RULE_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
RuleId = Annotated[str, Path(pattern=RULE_ID)]
BACKTEST_S_MAX = 300.0
Seconds = Annotated[float, Query(gt=0, le=BACKTEST_S_MAX, description="ends after this time, done or not")]
PROGRESS = "application/x-ndjson"


class RuleBody(Body):
    """A rule as it is written; ``version``: the one that was read, left out for a new rule."""

    detector: Text
    kind: Text
    settings: dict[str, Any]
    applies_to: dict[str, Any] = Field(default_factory=dict)
    valid_from: Text | None = None
    valid_to: Text | None = None
    enabled: bool = True
    version: Annotated[int, Field(ge=0)] | None = None
    note: Annotated[str, Field(max_length=500)] = ""


class ProposedRule(Body):
    """What is proposed; what is left out stays as the rule is."""

    detector: Text | None = None
    kind: Text | None = None
    settings: dict[str, Any] | None = None
    applies_to: dict[str, Any] | None = None
    valid_from: Text | None = None
    valid_to: Text | None = None


def book_of(ports: ApiPorts) -> RuleBook:
    """The rules of this house."""
    if ports.rules is None:
        raise NotFound("this server keeps no rules")
    return ports.rules


@router.get("/rules")
async def rules(session: SignedIn, ports: Ports) -> Response:
    """All rules with every setting they go by, the defaults too."""
    return page(await book_of(ports).all(), None)


@router.get("/rules/{rule_id}")
async def rule(session: SignedIn, ports: Ports, rule_id: RuleId) -> Response:
    """One rule with its versions: who changed what, when and why."""
    return reply(await book_of(ports).get(rule_id))


@router.put("/rules/{rule_id}")
async def put_rule(session: SignedIn, ports: Ports, rule_id: RuleId, body: RuleBody) -> Response:
    """Write a rule, 201 when it is new; running servers follow within seconds.

    409 with the current rule when `version` is old. What looks like a mistake is in `warnings`.
    """
    require(session.actor, "rules.write")
    await check_area(book_of(ports), session.actor, rule_id, body.applies_to)
    written, new = await book_of(ports).put(rule_id, body.model_dump(), session.actor.name)
    return reply(written, 201 if new else 200)


@router.delete("/rules/{rule_id}", status_code=204)
async def delete_rule(
    session: SignedIn,
    ports: Ports,
    rule_id: RuleId,
    version: Annotated[int, Query(ge=1, description="the one that was read")],
    note: Annotated[Text, Query(description="why")] = "",
) -> Response:
    """Remove a rule: its active alerts end with the reason, its history stays."""
    require(session.actor, "rules.write")
    await check_area(book_of(ports), session.actor, rule_id, None)
    await book_of(ports).delete(rule_id, version, session.actor.name, note)
    return Response(status_code=204)


@router.post("/rules/{rule_id}/backtest")
async def backtest_rule(
    session: SignedIn,
    ports: Ports,
    rule_id: RuleId,
    body: ProposedRule | None = None,
    from_: From = None,
    to: To = None,
    seconds: Seconds = 60.0,
    progress: Annotated[bool, Query(description="lines of JSON: how far it is, the result last")] = False,
) -> Response:
    """Try a rule (as proposed in the body, else as it is) on the stored data of the last 7 days.

    What it would have raised, against what the rules in force do with the same data. Nothing is written.
    """
    require(session.actor, "rules.write")
    await check_area(book_of(ports), session.actor, rule_id, None if body is None else body.applies_to)
    proposed = None if body is None else body.model_dump(exclude_unset=True)
    window: dict[str, Any] = {
        "begin_us": None if from_ is None else to_us(from_), "end_us": None if to is None else to_us(to),
        "seconds": seconds,
    }  # fmt: skip
    if not progress:
        return reply(await book_of(ports).backtest(rule_id, proposed, **window))
    return StreamingResponse(lines(book_of(ports), rule_id, proposed, window), media_type=PROGRESS)


async def check_area(book: RuleBook, actor: Actor, rule_id: str, proposed: dict[str, Any] | None) -> None:
    """Who is responsible for a part of the city touches rules for that part only. Raises: NotAllowed."""
    if not actor.area:
        return
    known = [rule["applies_to"] for rule in await book.all() if rule["id"] == rule_id]
    for applies_to in (*known, *([] if proposed is None else [proposed])):
        places = applies_to.get("places") or [""]
        if not all(str(place).startswith(actor.area) for place in places):
            raise NotAllowed(f"this rule is not for your area alone: applies_to.places must lie in {actor.area}")


async def lines(
    book: RuleBook, rule_id: str, proposed: dict[str, Any] | None, window: dict[str, Any]
) -> AsyncIterator[bytes]:
    """A line for each step; who goes away ends the back-test."""
    newest: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=1)

    async def tell(share: float, what: str) -> None:
        if newest.full():
            newest.get_nowait()  # newest wins
        newest.put_nowait({"progress": round(share, 4), "reading": what})

    work = asyncio.create_task(book.backtest(rule_id, proposed, **window, progress=tell), name="back-test")
    try:
        while not work.done():
            step = asyncio.create_task(newest.get())
            await asyncio.wait([work, step], return_when=asyncio.FIRST_COMPLETED)
            if step.done():
                yield msgspec.json.encode(step.result()) + b"\n"
            else:
                step.cancel()
        yield msgspec.json.encode({"result": work.result()}) + b"\n"
    except GridpulseError as error:
        reason = {"reason": error.reason} if isinstance(error, PayloadError) else {}
        yield msgspec.json.encode({"error": str(error), **reason}) + b"\n"
    finally:
        work.cancel()
