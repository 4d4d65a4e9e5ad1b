"""Connections: one pool a process, and the one place where psycopg's errors become ours.

Writers that stream blocks hold a dedicated connection of their own
(``connect``); everything else borrows from the pool. Nothing here retries: the
caller knows whether its work may be repeated.
"""

from __future__ import annotations

import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain.errors import DatabaseUnavailable

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Pool = AsyncConnectionPool[psycopg.AsyncConnection[tuple[Any, ...]]]

CONNECT_TIMEOUT_S = 5
POOL_WAIT_S = 10.0
KEEPALIVES: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Over a network that lost us: an idle connection is given up after 25 s, one with bytes under way after 30 s
(the kernel's own patience with these is a quarter of an hour)."""

OUR_OWN_CLASSES = frozenset(
    {
        "0A",  # feature not supported
        "20", "21",  # case not found, cardinality
        "22",  # data exception: a value the column cannot hold
        "23",  # integrity constraint
        "26", "34",  # statement, cursor name
        "42",  # syntax, unknown table, no right
        "54",  # program limit: a row too large for its index
        "P0",  # raised by a function of ours
    }
)  # fmt: skip
"""Classes of SQLSTATE that speak of the statement or its values: saying it again does not help.

Everything else (shutdown, disk full, deadlock, cancelled, read-only, I/O error, internal
error …) speaks of the server: the same work may succeed later, so it is never dropped.
"""


def is_unavailable(error: BaseException) -> bool:
    """Whether the same work may succeed later without anything being changed in it."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate
    if state is not None:
        return state[:2] not in OUR_OWN_CLASSES
    # Without a state the server said nothing: the connection itself broke.
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


@contextmanager
def unavailable(doing: str) -> Iterator[None]:
    """Translate "not now" of the database into DatabaseUnavailable; let our mistakes through."""
    try:
        yield
    except (psycopg.Error, PoolTimeout) as error:
        if is_unavailable(error):
            text = str(error).strip().splitlines()
            raise DatabaseUnavailable(f"{doing}: {text[0] if text else type(error).__name__}") from error
        raise


async def connect(url: str, *, name: str) -> Connection:
    """A dedicated connection in autocommit mode.

    Raises: DatabaseUnavailable.
    """
    with unavailable("connecting to the database"):
        return await psycopg.AsyncConnection.connect(
            url, autocommit=True, application_name=name, connect_timeout=CONNECT_TIMEOUT_S, **KEEPALIVES
        )


async def answers_still(conn: Connection) -> None:
    """Ask a connection to which something was said while nobody used it: farewells, mostly.

    Asking each time would cost every borrower a round trip.
    """
    waiting = select.poll()
    waiting.register(conn.fileno(), select.POLLIN)
    if waiting.poll(0):
        await AsyncConnectionPool.check_connection(conn)


@asynccontextmanager
async def open_pool(url: str, *, name: str, min_size: int = 1, max_size: int = 8) -> AsyncIterator[Pool]:
    """An opened pool that answered once; a connection from it is also a transaction.

    Raises: DatabaseUnavailable when nothing answers within ``POOL_WAIT_S``.
    """
    pool: Pool = AsyncConnectionPool(
        url,
        min_size=min_size,
        max_size=max_size,
        timeout=POOL_WAIT_S,
        open=False,
        name=name,
        check=answers_still,
        kwargs={"application_name": name, "connect_timeout": CONNECT_TIMEOUT_S, **KEEPALIVES},
    )
    async with pool:
        with unavailable("connecting to the database"):
            await pool.wait(timeout=POOL_WAIT_S)
        yield pool
