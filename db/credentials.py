"""Who may log in at the broker: accounts of devices and gateways, and the certificates of devices.

Only rows are written here; the server that owns the broker makes its files from them
as soon as the transaction commits. Names that begin with ``gridpulse-`` are our own
programs' and are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from db.pool import Connection
from domain.errors import NotAllowed

CHANNEL = "broker_changed"
RESERVED = "gridpulse-"

UPSERT = """
INSERT INTO broker_account (username, password_hash, gateway, children, topics) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (username) DO UPDATE SET password_hash = excluded.password_hash, gateway = excluded.gateway,
    children = excluded.children, topics = excluded.topics, disabled = false
"""
# An account in force keeps its password and rights; one that was closed must not get its old password back.
ENSURE = """
INSERT INTO broker_account (username, password_hash) VALUES (%(username)s, %(hash)s)
ON CONFLICT (username) DO UPDATE SET disabled = false, password_hash =
    CASE WHEN broker_account.disabled THEN excluded.password_hash ELSE broker_account.password_hash END
RETURNING password_hash = %(hash)s
"""
SET_PASSWORD = "UPDATE broker_account SET password_hash = %s WHERE username = %s RETURNING username"
SET_DISABLED = "UPDATE broker_account SET disabled = %s WHERE username = %s RETURNING username"
HAS_ACCOUNT = "SELECT true FROM broker_account WHERE username = %s AND NOT disabled"

ADD_CERTIFICATE = "INSERT INTO device_certificate (serial, device, issued_at, not_after) VALUES (%s, %s, %s, %s)"
REVOKE_DEVICE = """
UPDATE device_certificate SET revoked_at = now() WHERE device = %s AND revoked_at IS NULL RETURNING serial
"""
REVOKE_SERIAL = """
UPDATE device_certificate SET revoked_at = now() WHERE serial = %s AND revoked_at IS NULL RETURNING device
"""
# One that has run out is refused for that, and need not be listed.
SELECT_REVOKED = """
SELECT serial, device, revoked_at FROM device_certificate
WHERE revoked_at IS NOT NULL AND not_after > now() - interval '1 day' ORDER BY serial
"""
SELECT_CERTIFICATES = """
SELECT serial, device, issued_at, not_after, revoked_at FROM device_certificate
WHERE %(device)s::text IS NULL OR device = %(device)s::text ORDER BY device, issued_at LIMIT 1000
"""


@dataclass(frozen=True, slots=True)
class Revoked:
    """A certificate that must not be let in any more; ``serial`` is hexadecimal."""

    serial: str
    device: str
    at: datetime


async def let_in(
    conn: Connection,
    username: str,
    password_hash: str,
    *,
    gateway: bool,
    children: Sequence[str],
    topics: Sequence[str] = (),
) -> None:
    """Let a device or gateway in under this password; ``topics``: a bridge's own filters.

    Raises: NotAllowed for a reserved name.
    """
    refuse_reserved(username)
    async with conn.transaction():
        await conn.execute(UPSERT, [username, password_hash, gateway, list(children), list(topics)])
        await notify(conn)


async def let_in_by_certificate(
    conn: Connection, username: str, unknown_hash: str, serial: str, issued_at: datetime, not_after: datetime
) -> bool:
    """Note a certificate and see that its device has an account; ``unknown_hash`` is nobody's password.

    True when the account is a new one, under that password. Raises: NotAllowed for a reserved name.
    """
    refuse_reserved(username)
    async with conn.transaction():
        made = await (await conn.execute(ENSURE, {"username": username, "hash": unknown_hash})).fetchone()
        await conn.execute(ADD_CERTIFICATE, [serial, username, issued_at, not_after])
        await notify(conn)
    return made is not None and bool(made[0])


async def set_password(conn: Connection, username: str, password_hash: str) -> bool:
    """Give an account another password; False when there is none of that name."""
    async with conn.transaction():
        cursor = await conn.execute(SET_PASSWORD, [password_hash, username])
        await notify(conn)
        return await cursor.fetchone() is not None


async def set_disabled(conn: Connection, username: str, disabled: bool) -> bool:
    """Shut an account out or let it in again; False when there is none of that name."""
    async with conn.transaction():
        cursor = await conn.execute(SET_DISABLED, [disabled, username])
        await notify(conn)
        return await cursor.fetchone() is not None


async def revoke(conn: Connection, username: str) -> tuple[bool, int]:
    """Take a device's account and all its certificates away: was there an account, how many certificates."""
    async with conn.transaction():
        had = await (await conn.execute(HAS_ACCOUNT, [username])).fetchone()
        await conn.execute(SET_DISABLED, [True, username])
        serials = await (await conn.execute(REVOKE_DEVICE, [username])).fetchall()
        await notify(conn)
    return had is not None, len(serials)


async def revoke_certificate(conn: Connection, serial: str) -> str | None:
    """Take one certificate away; its device, or None when no good certificate has this serial."""
    async with conn.transaction():
        row = await (await conn.execute(REVOKE_SERIAL, [serial])).fetchone()
        await notify(conn)
    return None if row is None else str(row[0])


async def revoked_certificates(conn: Connection) -> list[Revoked]:
    """All that belongs on the revocation list now."""
    rows = await (await conn.execute(SELECT_REVOKED)).fetchall()
    return [Revoked(str(serial), str(device), at) for serial, device, at in rows]


def refuse_reserved(username: str) -> None:
    """Raises: NotAllowed for the names of our own programs."""
    if username.startswith(RESERVED):
        raise NotAllowed(f"names that begin with {RESERVED} belong to Gridpulse itself: take another id")


async def notify(conn: Connection) -> None:
    """Wake the server that owns the broker's files, once this transaction commits."""
    await conn.execute("SELECT pg_notify(%s, '')", [CHANNEL])
