"""The one way the API reaches the database: reads in one read-only transaction with a time limit and UTC.

Holds no SQL of its own: that is ``api.queries``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString

from psycopg import AsyncConnection, errors
from psycopg.rows import dict_row

from db.pool import Connection, Pool, unavailable
from domain.errors import DatabaseUnavailable, PayloadError

Row = dict[str, Any]

# Repeatable read: the parts of one answer (a snapshot and its cursor) are of one moment.
BEGIN_READ = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL statement_timeout = '5s';
SET LOCAL TimeZone = 'UTC'
"""


class Reader:
    """A read-only transaction; rows come as dictionaries, times as aware UTC."""

    def __init__(self, conn: AsyncConnection[Any]) -> None:
        self.conn = conn

    async def rows(self, sql: LiteralString, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> list[Row]:
        """All rows."""
        async with self.conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(sql, parameters)
            return await cursor.fetchall()

    async def row(self, sql: LiteralString, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> Row | None:
        """The first row, if any."""
        async with self.conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(sql, parameters)
            return await cursor.fetchone()


@asynccontextmanager
async def reading(pool: Pool, *, asked: bool = True) -> AsyncIterator[Reader]:
    """A reader from the pool. ``asked``: somebody outside chose what is read, and can ask for less.

    Raises: DatabaseUnavailable; PayloadError ``too_much`` when the time limit ran out on
    something asked (else it is the database that is slow: DatabaseUnavailable).
    """
    with unavailable("reading"):
        try:
            async with pool.connection() as conn:
                await conn.execute(BEGIN_READ)
                yield Reader(conn)
        except errors.QueryCanceled as error:
            if not asked:
                raise DatabaseUnavailable("reading: the database took longer than 5 s") from error
            raise PayloadError("too_much", "this took longer than 5 s; ask for less, or a shorter time") from error
        except errors.DataError as error:
            raise PayloadError("bad_value", str(error).splitlines()[0]) from error


@asynccontextmanager
async def writing(pool: Pool) -> AsyncIterator[Connection]:
    """A connection whose work is one transaction. Raises: DatabaseUnavailable."""
    with unavailable("writing"):
        async with pool.connection() as conn:
            yield conn


async def one(conn: Connection, sql: LiteralString, parameters: Mapping[str, Any]) -> Row:
    """The one row that a statement always answers."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(sql, parameters)
        row = await cursor.fetchone()
    assert row is not None
    return row
