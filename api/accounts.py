"""Local accounts and what signs them in, over a connection the caller owns.

The command line and the demo use these beside the API. Nothing here decides who may
call it.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import msgspec

from api.queries.people import (
    ADD_SESSION,
    ADD_USER,
    AUDIT,
    DISABLE_USER,
    REPLACE_DEMO_USER,
    SIGN_OUT_USER,
    TOWNS_NAMED,
    USER,
    USERS,
)
from api.secrets import PASSWORD_MAX, PASSWORD_MIN, digest, hash_password, new_ticket, new_token
from db.pool import Connection
from domain.errors import CodeError, GridpulseError, NotFound
from domain.people import ROLES

TOKEN_TTL_S = 12 * 3600.0
TICKET_TTL_S = 30.0
AREA_DIGITS = (0, 6, 9, 12, 15)

DEMO_PASSWORD = "demo"
DEMO_TOWN = "麻涌镇"


class AccountError(GridpulseError):
    """An account cannot be made as asked; the message says why."""


def utc_now() -> datetime:
    """The wall clock, for callers without one of their own."""
    return datetime.now(UTC)


async def fetch_name(conn: Connection, sql: LiteralString, parameters: dict[str, Any]) -> str | None:
    """The first column of the first row, as text."""
    row = await (await conn.execute(sql, parameters)).fetchone()
    return None if row is None else str(row[0])


def check_account(name: str, password: str, role: str, area: str) -> None:
    """Refuse what the tables or good sense refuse.

    Raises: AccountError, CodeError.
    """
    if not 1 <= len(name) <= 64 or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name):
        raise AccountError(f"the name {name!r} is not 1 to 64 of A-Z a-z 0-9 . _ -")
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise AccountError(f"a password has at least {PASSWORD_MIN} characters (at most {PASSWORD_MAX})")
    if role not in ROLES:
        raise AccountError(f"the role {role!r} is none of {', '.join(ROLES)}")
    if len(area) not in AREA_DIGITS or not (area == "" or (area.isascii() and area.isdigit())):
        raise CodeError(
            f"the area {area!r} is no code: city 6 digits, town 9, village 12, cell 15; empty = the whole city"
        )


async def add_user(conn: Connection, name: str, password: str, role: str, area: str = "") -> None:
    """Make an account.

    Raises: AccountError (name taken, weak password, unknown role), CodeError (area).
    """
    check_account(name, password, role, area)
    password_hash = await asyncio.to_thread(hash_password, password)
    row = {"name": name, "password_hash": password_hash, "role": role, "area": area, "demo": False}
    async with conn.transaction():
        if await fetch_name(conn, ADD_USER, row) is None:
            raise AccountError(f"there is a user {name!r} already; `gridpulse user disable {name}` ends it")
        await audit(conn, "cli", "user.add", name, {"role": role, "area": area})


async def list_users(conn: Connection) -> list[dict[str, Any]]:
    """All accounts, without their hashes."""
    cursor = await conn.execute(USERS)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]


async def disable_user(conn: Connection, name: str, *, disabled: bool = True) -> None:
    """Disable (and sign out everywhere) or enable an account. Raises: NotFound."""
    async with conn.transaction():
        if await fetch_name(conn, DISABLE_USER, {"name": name, "disabled": disabled}) is None:
            raise NotFound(f"there is no user {name!r}; `gridpulse user list` shows all")
        if disabled:
            await conn.execute(SIGN_OUT_USER, {"name": name})
        await audit(conn, "cli", "user.disable" if disabled else "user.enable", name, {})


async def open_session(conn: Connection, name: str, now: datetime, ttl_s: float) -> tuple[str, datetime]:
    """A bearer token of an existing user, and when it ends."""
    token, expires_at = new_token(), now + timedelta(seconds=ttl_s)
    await add_session(conn, token, "bearer", name, expires_at)
    return token, expires_at


async def issue_token(conn: Connection, name: str, ttl_s: float = TOKEN_TTL_S) -> str:
    """A bearer token for an enabled user, for the command line. Raises: NotFound, AccountError."""
    if not 1 <= ttl_s <= 366 * 86400:
        raise AccountError("a token lives 1 second to 366 days; give --ttl in seconds")
    row = await (await conn.execute(USER, {"name": name})).fetchone()
    if row is None or row[-1]:
        raise NotFound(f"there is no enabled user {name!r}; `gridpulse user list` shows all")
    token, _ = await open_session(conn, name, utc_now(), ttl_s)
    await audit(conn, "cli", "token.issue", name, {"ttl_s": ttl_s})
    return token


async def issue_ticket(conn: Connection, name: str, ttl_s: float = TICKET_TTL_S) -> str:
    """A one-time ticket for a login link (``/#login=…``). Raises: psycopg's error for an unknown user."""
    ticket = new_ticket()
    await add_session(conn, ticket, "ticket", name, utc_now() + timedelta(seconds=ttl_s))
    return ticket


async def add_session(conn: Connection, secret: str, kind: str, name: str, expires_at: datetime) -> None:
    """Store the digest of a token or ticket."""
    row = {"digest": digest(secret), "kind": kind, "name": name, "expires_at": expires_at}
    await conn.execute(ADD_SESSION, row)


async def seed_demo_accounts(conn: Connection) -> list[tuple[str, str, str, str]]:
    """Make or renew the demo's accounts; returns (name, password, role, area) to print.

    The two that could change devices and rules get a new password at each start. A real
    account of the same name is left alone and not returned.
    """
    town = await fetch_name(conn, TOWNS_NAMED, {"name": DEMO_TOWN}) or "441900126"
    wanted = [
        ("dispatcher", DEMO_PASSWORD, "dispatcher", ""),
        ("machong", DEMO_PASSWORD, "responder", town),
        ("engineer", secrets.token_urlsafe(9), "engineer", ""),
        ("operator", secrets.token_urlsafe(9), "operator", ""),
    ]
    hashes = await asyncio.gather(*(asyncio.to_thread(hash_password, password) for _, password, _, _ in wanted))
    made = []
    for (name, password, role, area), password_hash in zip(wanted, hashes, strict=True):
        row = {"name": name, "password_hash": password_hash, "role": role, "area": area}
        if await fetch_name(conn, REPLACE_DEMO_USER, row) is not None:
            made.append((name, password, role, area))
    return made


async def audit(conn: Connection, actor: str, action: str, target: str, body: dict[str, Any]) -> None:
    """Write down who did what."""
    row = {"actor": actor, "action": action, "target": target, "body": msgspec.json.encode(body).decode()}
    await conn.execute(AUDIT, row)
