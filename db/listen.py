"""LISTEN with a poll behind it: a notification may be missed, a change may not.

The channel only wakes; what changed is read from the tables, on the same connection by
who must be quick (borrowing one costs more round trips than the reading). A lost
connection is replaced, and each new one counts as a wake-up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from psycopg import Error, sql

from db.pool import Connection, connect
from domain.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

RECONNECT_S = 1.0


async def wakeups(url: str, channel: str, *, poll_s: float, name: str) -> AsyncIterator[Connection]:
    """Yield at once, then on every notification of ``channel`` and at least each ``poll_s`` seconds.

    What is yielded is the listening connection, in autocommit mode; it is the caller's until the
    next is asked for. Notifications that come while the caller works are folded into one.
    """
    while True:
        try:
            conn = await connect(url, name=name)
            async with conn:
                await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                while True:
                    yield conn
                    async for _ in conn.notifies(timeout=poll_s, stop_after=1):
                        pass
        except (DatabaseUnavailable, Error) as error:
            log.warning("the database does not answer on channel %s, trying again: %s", channel, error)
            await asyncio.sleep(RECONNECT_S)
