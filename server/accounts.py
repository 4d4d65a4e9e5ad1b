"""Device accounts: the database's list, and the broker's files made from it.

The running server owns the broker's files; a command only writes the list and
wakes the server. A glob of children is expanded to the registered devices it
matches, so a device registered later is let in at the next change. A device that is
disabled in the registry is not let in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from db.credentials import CHANNEL, Revoked, revoked_certificates
from db.listen import wakeups
from db.pool import Pool, unavailable
from domain.errors import DatabaseUnavailable
from server.embedded.broker_accounts import BrokerAccount

log = logging.getLogger(__name__)

POLL_S = 30.0
#: The revocation list holds for a year only (`server.embedded.authority.LIST_DAYS`).
RENEW_S = 86_400.0

SELECT = """
SELECT username, password_hash, gateway, children, topics FROM broker_account
WHERE NOT disabled AND username NOT LIKE 'gridpulse-%'
  AND NOT EXISTS (SELECT FROM device WHERE id = username AND run IS NULL AND device.disabled)
ORDER BY username
"""
SELECT_IDS = "SELECT id FROM device WHERE run IS NULL AND NOT disabled ORDER BY id"
EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Door:
    """Who is let in at the broker, and which certificates are not."""

    accounts: list[BrokerAccount]
    revoked: list[Revoked]


async def load_door(pool: Pool) -> Door:
    """All accounts that are let in, globs expanded, and the revoked. Raises: DatabaseUnavailable."""
    with unavailable("reading the broker's accounts"):
        async with pool.connection() as conn, conn.transaction():
            rows = await (await conn.execute(SELECT)).fetchall()
            ids = [str(row[0]) for row in await (await conn.execute(SELECT_IDS)).fetchall()]
            revoked = await revoked_certificates(conn)
    accounts = [
        BrokerAccount(
            str(username), str(password_hash), "gateway" if gateway else "device",
            expand([str(child) for child in children], ids), tuple(str(topic) for topic in topics),
        )
        for username, password_hash, gateway, children, topics in rows
    ]  # fmt: skip
    return Door(accounts, revoked)


def expand(children: Sequence[str], ids: Sequence[str]) -> tuple[str, ...]:
    """The ids that the globs match; ``*`` alone stays what it is: every device, also later ones."""
    if EVERYTHING in children:
        return (EVERYTHING,)
    literal = {child for child in children if not any(sign in child for sign in "*?[")}
    matched = {id_ for id_ in ids for child in children if fnmatchcase(id_, child)}
    return tuple(sorted(literal | matched))


async def follow_accounts(
    url: str, pool: Pool, write: Callable[[Sequence[BrokerAccount], Sequence[Revoked]], Awaitable[None]]
) -> None:
    """Keep the broker's files equal to the database's list, until cancelled."""
    written: Door | None = None
    written_at_s, clock = 0.0, asyncio.get_running_loop().time
    async for _ in wakeups(url, CHANNEL, poll_s=POLL_S, name="gridpulse-accounts"):
        try:
            door = await load_door(pool)
        except DatabaseUnavailable as error:
            log.info("the broker's accounts are read again later: %s", error)
            continue
        if door != written or clock() - written_at_s > RENEW_S:
            await write(door.accounts, door.revoked)
            written, written_at_s = door, clock()
