"""One owner at a time: an advisory lock held by a connection, with a term that rises with every owner.

The database gives the lock back when the owner's connection dies, and the next one in
line takes it. An owner whose connection broke may go on only if nobody took the lock
meanwhile (the term is still its own); else what it remembers is old, and it must
begin anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable

from psycopg import Error

from db import locks
from db.pool import Connection, connect
from domain.errors import DatabaseUnavailable, OwnershipLost

log = logging.getLogger(__name__)

TRY_EVERY_S = 1.0
CHECK_EVERY_S = 1.0
CHECK_WITHIN_S = 5.0

TRY_LOCK = "SELECT pg_try_advisory_lock(%s)"
NEXT_TERM = "UPDATE detection_owner SET term = term + 1, owner = %s, since = now() RETURNING term"
SELECT_OWNER = "SELECT term, owner, since FROM detection_owner"


class Lease:
    """Who detects. ``held`` is set while this process does; ``tell(True | False)`` hears of each change."""

    def __init__(self, url: str, tell: Callable[[bool], None] = lambda held: None) -> None:
        self._url = url
        self._tell = tell
        self._conn: Connection | None = None
        self.held = asyncio.Event()
        self.term = 0
        self.waiting = False
        self.owner = f"{socket.gethostname()}:{os.getpid()}"

    async def acquire(self) -> None:
        """Return once this process is the owner; stands by as long as another one is."""
        while True:
            try:
                if await self._take():
                    self.waiting = False
                    return
                if not self.waiting:
                    log.warning("another process detects on this database (%s); standing by", await self._who())
                self.waiting = True
            except (DatabaseUnavailable, Error) as error:
                log.info("the ownership of detection is asked for again: %s", error)
                await self._close()
            await asyncio.sleep(TRY_EVERY_S)

    async def keep(self) -> None:
        """Watch over the lock for ever. Raises: OwnershipLost when another process took it."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            try:
                async with asyncio.timeout(CHECK_WITHIN_S):
                    assert self._conn is not None
                    await self._conn.execute("SELECT 1")
            except (TimeoutError, Error) as error:
                log.warning("the connection that owns detection broke: %s", error)
                self._let_go()
                await self._close()
                await self._take_again()

    async def release(self) -> None:
        """Let the next one have it."""
        self._let_go()
        await self._close()

    async def _take(self) -> bool:
        if self._conn is None or self._conn.closed:
            self._conn = await connect(self._url, name="gridpulse-detection-owner")
        row = await (await self._conn.execute(TRY_LOCK, [locks.DETECTION])).fetchone()
        if row is None or not row[0]:
            return False
        term = await (await self._conn.execute(NEXT_TERM, [self.owner])).fetchone()
        assert term is not None
        self.term = int(term[0])
        self._hold()
        return True

    async def _take_again(self) -> None:
        while True:
            try:
                self._conn = await connect(self._url, name="gridpulse-detection-owner")
                locked = await (await self._conn.execute(TRY_LOCK, [locks.DETECTION])).fetchone()
                row = await (await self._conn.execute(SELECT_OWNER)).fetchone()
            except (DatabaseUnavailable, Error) as error:
                log.info("the ownership of detection is asked for again: %s", error)
                await self._close()
            else:
                assert row is not None
                if int(row[0]) != self.term:
                    await self._close()
                    raise OwnershipLost(f"{row[1]} detects on this database now; start again to stand by for it")
                if locked is not None and locked[0]:
                    self._hold()
                    return
                await self._close()
            await asyncio.sleep(TRY_EVERY_S)

    async def _who(self) -> str:
        assert self._conn is not None
        row = await (await self._conn.execute(SELECT_OWNER)).fetchone()
        return f"{row[1]} since {row[2]:%Y-%m-%d %H:%M:%S}" if row else "unknown"

    def _hold(self) -> None:
        self.held.set()
        self._tell(True)

    def _let_go(self) -> None:
        self.held.clear()
        self._tell(False)

    async def _close(self) -> None:
        if self._conn is not None:
            conn, self._conn = self._conn, None
            await conn.close()
