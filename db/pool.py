"""Connections: one pool a process, and the one place where psycopg's errors become ours.

Writers that stream blocks hold a dedicated connection of their own
(``connect``); everything else borrows from the pool. Nothing here retries: the
caller knows whether its work may be repeated.
"""

from __future__ import annotations

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
KEEPALIVES: dict[str, Any] = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}

RETRYABLE_SQLSTATES = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "55P03",  # lock_not_available
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "57P05",  # idle_session_timeout
        "53100",  # disk_full: stop acknowledging, do not drop
        "53200",  # out_of_memory
        "53300",  # too_many_connections
        "25006",  # read_only_sql_transaction: a standby took the name
    }
)
"""What the server says when the same work may succeed later (class 08 besides)."""


def is_unavailable(error: BaseException) -> bool:
    """Whether the same work may succeed later without anything being changed in it."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate
    if state is not None:
        return state in RETRYABLE_SQLSTATES or state.startswith("08")
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
        check=AsyncConnectionPool.check_connection,
        kwargs={"application_name": name, "connect_timeout": CONNECT_TIMEOUT_S, **KEEPALIVES},
    )
    async with pool:
        with unavailable("connecting to the database"):
            await pool.wait(timeout=POOL_WAIT_S)
        yield pool
