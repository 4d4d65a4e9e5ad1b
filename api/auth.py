"""Who is asking and what the role allows.

Login is limited per user and address before any password is looked at, and takes
the same time for a name that does not exist. Tokens are opaque and looked up on
every request, so that signing out holds at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, Request

from api import accounts
from api.metrics import LOGINS
from api.ports import ApiPorts
from api.problems import NotSignedIn, TooManyTries
from api.queries.people import SESSION, SIGN_OUT, TAKE_TICKET, USER
from api.reader import reading, writing
from api.secrets import digest, new_ticket, verify_password
from api.throttle import Throttle
from db.pool import Connection
from domain.clock import from_us
from domain.errors import NotAllowed
from domain.people import Actor

LOGIN_BURST = 8
LOGIN_EVERY_S = 5.0
LOGIN_BURST_ADDRESS = 40
LOGIN_EVERY_S_ADDRESS = 1.0
HOOK_BURST = 20
HOOK_EVERY_S = 3.0
"""Wrong secrets of hooks, by address."""

HASHING_AT_ONCE = 2

PERMISSIONS: dict[str, frozenset[str]] = {
    "responder": frozenset({"acknowledge", "comment", "close", "reopen"}),
    "dispatcher": frozenset(
        {"acknowledge", "assign", "comment", "shelve", "unshelve", "close", "reopen", "users.read", "ledger.read"}
    ),
    "engineer": frozenset(
        {
            "comment", "shelve", "unshelve", "devices.write", "rules.write", "quarantine.read",
            "quarantine.replay", "ledger.read", "users.read", "hooks.write",
        }
    ),
    "operator": frozenset(
        {
            "acknowledge", "assign", "comment", "shelve", "unshelve", "close", "reopen",
            "devices.write", "rules.write", "quarantine.read", "quarantine.replay", "ledger.read", "users.read",
            "hooks.write",
        }
    ),
}  # fmt: skip
"""Role → what it may do beside reading what lies in its area."""


@dataclass(frozen=True, slots=True)
class Session:
    """One request's signed-in account; ``digest`` names its bearer token."""

    actor: Actor
    language: str
    expires_at: datetime
    digest: bytes

    def user(self) -> dict[str, str]:
        """The account as clients see it."""
        actor = self.actor
        return {"name": actor.name, "role": actor.role, "area": actor.area, "language": self.language}


def require(actor: Actor, permission: str) -> None:
    """Raises NotAllowed when the role lacks the permission."""
    if permission not in PERMISSIONS.get(actor.role, frozenset()):
        able = [role for role, permissions in PERMISSIONS.items() if permission in permissions]
        raise NotAllowed(f"the role {actor.role} may not do this ({permission}); {' or '.join(able)} may")


class Door:
    """Logins: the limits, the hashing and the sessions."""

    def __init__(self, ports: ApiPorts) -> None:
        self.ports = ports
        self.by_user = Throttle(burst=LOGIN_BURST, every_s=LOGIN_EVERY_S)
        self.by_address = Throttle(burst=LOGIN_BURST_ADDRESS, every_s=LOGIN_EVERY_S_ADDRESS)
        self.by_hook = Throttle(burst=HOOK_BURST, every_s=HOOK_EVERY_S)
        self.hashing = asyncio.Semaphore(HASHING_AT_ONCE)

    def now(self) -> datetime:
        """The ports' clock."""
        return from_us(self.ports.now_us())

    def limit(self, name: str, address: str) -> None:
        """Raises TooManyTries."""
        now_s = self.ports.now_us() / 1e6
        wait_s = max(self.by_address.take(address, now_s), self.by_user.take((name, address), now_s))
        if wait_s > 0:
            LOGINS.labels("limited").inc()
            raise TooManyTries(f"too many tries; wait {max(1, round(wait_s))} s", wait_s)

    async def login(self, name: str, password: str, address: str) -> dict[str, Any]:
        """A session for a name and password. Raises: NotSignedIn, TooManyTries."""
        self.limit(name, address)
        async with reading(self.ports.pool) as reader:
            user = await reader.row(USER, {"name": name})
        async with self.hashing:
            known = user["password_hash"] if user else None
            fits = await asyncio.to_thread(verify_password, password, known)
        if not fits or user is None or user["disabled"]:
            LOGINS.labels("refused").inc()
            raise NotSignedIn("the name or the password is wrong")
        self.by_user.forgive((name, address))
        return await self.open(user)

    async def login_by_ticket(self, ticket: str, address: str) -> dict[str, Any]:
        """A session for a one-time ticket of a login link. Raises: NotSignedIn, TooManyTries."""
        self.limit("", address)
        async with writing(self.ports.pool) as conn:
            user = await take_ticket(conn, ticket, self.now())
        if user is None:
            LOGINS.labels("refused").inc()
            raise NotSignedIn("this login link was used before, or is older than its lifetime; ask for a new one")
        self.by_user.forgive(("", address))
        return await self.open(user)

    async def open(self, user: dict[str, Any]) -> dict[str, Any]:
        """The answer to a login."""
        async with writing(self.ports.pool) as conn:
            token, expires_at = await accounts.open_session(conn, user["name"], self.now(), accounts.TOKEN_TTL_S)
        LOGINS.labels("in").inc()
        shown = {field: user[field] for field in ("name", "role", "area", "language")}
        return {"token": token, "expires_at": expires_at, "user": shown}

    async def session(self, token: str) -> Session:
        """The session of a bearer token. Raises: NotSignedIn."""
        found = digest(token)
        async with reading(self.ports.pool) as reader:
            row = await reader.row(SESSION, {"digest": found, "kind": "bearer", "now": self.now()})
        if row is None:
            raise NotSignedIn("this token is not valid (any more); sign in again")
        return Session(Actor(row["name"], row["role"], row["area"]), row["language"], row["expires_at"], found)

    async def live_ticket(self, session: Session) -> str:
        """A one-time ticket for the live feed, bound to the session."""
        ticket = new_ticket(session.digest)
        ends = min(self.now() + timedelta(seconds=accounts.TICKET_TTL_S), session.expires_at)
        async with writing(self.ports.pool) as conn:
            await accounts.add_session(conn, ticket, "ticket", session.actor.name, ends)
        return ticket

    async def sign_out(self, session: Session) -> None:
        """End a session and its sockets."""
        async with writing(self.ports.pool) as conn:
            await conn.execute(SIGN_OUT, {"digest": session.digest})
        self.ports.hub.recheck_soon()


async def take_ticket(conn: Connection, ticket: str, now: datetime) -> dict[str, Any] | None:
    """Use a ticket up: its user, or None when it is unknown, used or too old."""
    cursor = await conn.execute(TAKE_TICKET, {"digest": digest(ticket), "now": now})
    row = await cursor.fetchone()
    return None if row is None else dict(zip(("name", "role", "area", "language"), row, strict=True))


def door_of(request: Request) -> Door:
    """The app's door."""
    door: Door = request.app.state.door
    return door


def ports_of(request: Request) -> ApiPorts:
    """The app's ports."""
    ports: ApiPorts = request.app.state.ports
    return ports


def address_of(request: Request) -> str:
    """The caller's address, for limits only."""
    return request.client.host if request.client else ""


async def signed_in(request: Request) -> Session:
    """The session of the request's bearer token. Raises: NotSignedIn."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotSignedIn("send `Authorization: Bearer TOKEN`; POST /api/v1/session gives one")
    return await door_of(request).session(token.strip())


SignedIn = Annotated[Session, Depends(signed_in)]
Ports = Annotated[ApiPorts, Depends(ports_of)]
