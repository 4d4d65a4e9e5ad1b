"""Device accounts: the database's list, and the broker's files made from it.

The running server owns the broker's files; a command only writes the list and
wakes the server. A glob of children is expanded to the registered devices it
matches, so a device registered later is let in at the next change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from db.listen import wakeups
from db.pool import Connection, Pool, unavailable
from domain.errors import DatabaseUnavailable
from server.embedded.broker_accounts import BrokerAccount, hash_password

log = logging.getLogger(__name__)

CHANNEL = "broker_changed"
POLL_S = 30.0

UPSERT = """
INSERT INTO broker_account (username, password_hash, gateway, children, topics) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (username) DO UPDATE SET password_hash = excluded.password_hash, gateway = excluded.gateway,
    children = excluded.children, topics = excluded.topics, disabled = false
"""
SET_PASSWORD = "UPDATE broker_account SET password_hash = %s WHERE username = %s RETURNING username"
SET_DISABLED = "UPDATE broker_account SET disabled = %s WHERE username = %s RETURNING username"
SELECT = """
SELECT username, password_hash, gateway, children, topics FROM broker_account WHERE NOT disabled ORDER BY username
"""
SELECT_IDS = "SELECT id FROM device WHERE run IS NULL AND NOT disabled ORDER BY id"
EVERYTHING = "*"


async def write_account(
    conn: Connection,
    username: str,
    password: str,
    *,
    gateway: bool,
    children: Sequence[str],
    topics: Sequence[str] = (),
) -> None:
    """Let a device or gateway in under this password (its hash is kept)."""
    async with conn.transaction():
        await conn.execute(UPSERT, [username, hash_password(password), gateway, list(children), list(topics)])
        await notify(conn)


async def set_password(conn: Connection, username: str, password: str) -> bool:
    """Give an account another password; False when there is none of that name."""
    async with conn.transaction():
        cursor = await conn.execute(SET_PASSWORD, [hash_password(password), username])
        await notify(conn)
        return await cursor.fetchone() is not None


async def set_disabled(conn: Connection, username: str, disabled: bool) -> bool:
    """Shut an account out or let it in again; False when there is none of that name."""
    async with conn.transaction():
        cursor = await conn.execute(SET_DISABLED, [disabled, username])
        await notify(conn)
        return await cursor.fetchone() is not None


async def notify(conn: Connection) -> None:
    """Wake the server that owns the broker's files, once this transaction commits."""
    await conn.execute("SELECT pg_notify(%s, '')", [CHANNEL])


async def load_accounts(pool: Pool) -> list[BrokerAccount]:
    """All accounts that are let in, globs expanded. Raises: DatabaseUnavailable."""
    with unavailable("reading the broker's accounts"):
        async with pool.connection() as conn:
            rows = await (await conn.execute(SELECT)).fetchall()
            ids = [str(row[0]) for row in await (await conn.execute(SELECT_IDS)).fetchall()]
    return [
        BrokerAccount(
            str(username), str(password_hash), "gateway" if gateway else "device",
            expand([str(child) for child in children], ids), tuple(str(topic) for topic in topics),
        )
        for username, password_hash, gateway, children, topics in rows
    ]  # fmt: skip


def expand(children: Sequence[str], ids: Sequence[str]) -> tuple[str, ...]:
    """The ids that the globs match; ``*`` alone stays what it is: every device, also later ones."""
    if EVERYTHING in children:
        return (EVERYTHING,)
    literal = {child for child in children if not any(sign in child for sign in "*?[")}
    matched = {id_ for id_ in ids for child in children if fnmatchcase(id_, child)}
    return tuple(sorted(literal | matched))


async def follow_accounts(
    url: str, pool: Pool, write: Callable[[Sequence[BrokerAccount]], None]
) -> None:
    """Keep the broker's files equal to the database's list, until cancelled."""
    written: list[BrokerAccount] | None = None
    async for _ in wakeups(url, CHANNEL, poll_s=POLL_S, name="gridpulse-accounts"):
        try:
            accounts = await load_accounts(pool)
        except DatabaseUnavailable as error:
            log.info("the broker's accounts are read again later: %s", error)
            continue
        if accounts != written:
            write(accounts)
            written = accounts
