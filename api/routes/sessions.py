"""Signing in and out, live tickets, and who there is."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.auth import Ports, SignedIn, address_of, door_of, require
from api.queries.people import USERS
from api.reader import reading
from api.schemas import Login, reply
from api.version import VERSION

router = APIRouter(tags=["session"])


@router.get("/about")
async def about(ports: Ports) -> Response:
    """What this server is; needs no session."""
    return reply({"demo": ports.demo, "version": VERSION, "timezone": ports.timezone, "role": ports.run_mode})


@router.post("/session")
async def sign_in(body: Login, request: Request) -> Response:
    """A bearer token for a username and password, or for the one-time ticket of a login link."""
    door = door_of(request)
    if body.ticket is not None:
        return reply(await door.login_by_ticket(body.ticket, address_of(request)))
    assert body.username is not None
    assert body.password is not None
    return reply(await door.login(body.username, body.password, address_of(request)))


@router.get("/session")
async def who(session: SignedIn) -> Response:
    """The account behind the token."""
    return reply({"user": session.user(), "expires_at": session.expires_at})


@router.delete("/session", status_code=204)
async def sign_out(session: SignedIn, request: Request) -> Response:
    """End the session and the live sockets that hang on it."""
    await door_of(request).sign_out(session)
    return Response(status_code=204)


@router.post("/live-ticket")
async def live_ticket(session: SignedIn, request: Request) -> Response:
    """A ticket for the live feed's hello: works once, for 30 s."""
    return reply({"ticket": await door_of(request).live_ticket(session)})


@router.get("/users")
async def users(session: SignedIn, ports: Ports) -> Response:
    """Accounts an alert can be assigned to."""
    require(session.actor, "users.read")
    async with reading(ports.pool) as reader:
        rows = await reader.rows(USERS)
    shown = [{name: row[name] for name in ("name", "role", "area")} for row in rows if not row["disabled"]]
    return reply({"items": shown, "next": None})
