"""Other names of addresses: what an import brings. Replaced texts are kept by the database itself."""

from __future__ import annotations

from collections.abc import Sequence

from db.pool import Connection
from geo.store import notify_places

INSERT_ALIASES = """
INSERT INTO address_alias (address_id, text, kind)
SELECT n.id, n.text, 'other name' FROM unnest(%s::text[], %s::text[]) AS n (id, text)
ON CONFLICT (address_id, text) DO UPDATE SET kind = 'other name', valid_to = NULL
WHERE address_alias.valid_to IS NOT NULL"""


async def put_aliases(conn: Connection, aliases: Sequence[tuple[str, str]]) -> int:
    """Add names (address id, name) to addresses that are there; returns how many are new or said again."""
    ids, texts = (list(column) for column in zip(*aliases, strict=True))
    cursor = await conn.execute(INSERT_ALIASES, [ids, texts])
    if cursor.rowcount:
        await notify_places(conn)
    return cursor.rowcount
