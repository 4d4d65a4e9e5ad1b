"""Binary COPY of columns.

PostgreSQL's binary format: an 11-byte signature, flags, an empty header
extension, then for each row a field count and for each field its length and its
big-endian bytes, then -1. Rows whose fields are all of fixed size are built as
one numpy record array, so a block costs no Python per row. (PostgreSQL
documentation, "COPY", "Binary Format".)
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncCursor, sql

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)
PG_EPOCH_US = 946_684_800_000_000
"""2000-01-01 in microseconds since 1970: where PostgreSQL's timestamps begin."""

WRITE_BYTES_MAX = 128 * 1024
"""Larger writes to libpq are slower (measured), so buffers are cut."""

FIELD_TYPES: Mapping[str, str] = {
    "timestamptz": ">i8",
    "int2": ">i2",
    "int4": ">i4",
    "int8": ">i8",
    "float8": ">f8",
    "bool": "|u1",
}


def pack_columns(types: Sequence[str], columns: Sequence[NDArray[Any]]) -> bytes:
    """Rows of fixed-size, never-null fields in COPY's binary format, without header and trailer.

    ``types``: names of ``FIELD_TYPES``; ``columns``: arrays of one length;
    timestamptz columns hold microseconds since 1970.
    """
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for number, type_ in enumerate(types):
        fields += [(f"length{number}", ">i4"), (f"value{number}", FIELD_TYPES[type_])]
    rows = np.empty(len(columns[0]), dtype=np.dtype(fields))
    rows["fields"] = len(types)
    for number, (type_, column) in enumerate(zip(types, columns, strict=True)):
        rows[f"length{number}"] = np.dtype(FIELD_TYPES[type_]).itemsize
        rows[f"value{number}"] = column - PG_EPOCH_US if type_ == "timestamptz" else column
    return rows.tobytes()


def copy_statement(table: str, columns: Sequence[str]) -> sql.Composed:
    """``COPY table (columns) FROM STDIN (FORMAT BINARY)`` with quoted names."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table), names)


async def copy_packed(cursor: AsyncCursor[Any], table: str, columns: Sequence[str], packed: bytes) -> None:
    """Send rows packed by ``pack_columns``."""
    body = memoryview(HEADER + packed + TRAILER)
    async with cursor.copy(copy_statement(table, columns)) as copy:
        for start in range(0, len(body), WRITE_BYTES_MAX):
            await copy.write(bytes(body[start : start + WRITE_BYTES_MAX]))


async def copy_columns(
    cursor: AsyncCursor[Any], table: str, columns: Mapping[str, tuple[str, NDArray[Any]]]
) -> None:
    """COPY fixed-size columns: name → (type, array). Raises psycopg's errors."""
    packed = pack_columns([t for t, _ in columns.values()], [a for _, a in columns.values()])
    await copy_packed(cursor, table, list(columns), packed)


async def copy_rows(
    cursor: AsyncCursor[Any], table: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]
) -> None:
    """COPY rows of any types: ``columns`` are (name, PostgreSQL type). Raises psycopg's errors."""
    async with cursor.copy(copy_statement(table, [name for name, _ in columns])) as copy:
        copy.set_types([type_ for _, type_ in columns])
        for row in rows:
            await copy.write_row(row)
