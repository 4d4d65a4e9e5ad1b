"""Which pictures and clips are wanted, and what became of them. Refuses to decide anything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.pool import Pool, unavailable

WANTED = """
WITH named AS (
    SELECT snapshot_url AS url, false AS clip, max(time) AS at FROM camera_event
    WHERE time > %(since)s AND snapshot_url LIKE 'http%%' GROUP BY 1
    UNION ALL
    SELECT clip_url, true, max(time) FROM camera_event WHERE time > %(since)s AND clip_url LIKE 'http%%' GROUP BY 1
)
SELECT named.url, bool_or(named.clip), coalesce(max(media.tries), 0) FROM named LEFT JOIN media USING (url)
WHERE media.url IS NULL OR (media.state = 'failed' AND media.next_try_at <= %(now)s)
GROUP BY named.url ORDER BY max(named.at) DESC LIMIT %(limit)s
"""
WRITE = """
INSERT INTO media (url, state, reason, name, bytes, tries, next_try_at, at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (url) DO UPDATE SET state = excluded.state, reason = excluded.reason, name = excluded.name,
    bytes = excluded.bytes, tries = excluded.tries, next_try_at = excluded.next_try_at, at = excluded.at
"""
FORGET = "DELETE FROM media WHERE at < %s"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A picture or clip to fetch; ``tries`` before this one."""

    url: str
    clip: bool
    tries: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one."""

    url: str
    state: str
    reason: str
    name: str | None
    bytes: int
    tries: int
    next_try_at: datetime | None


async def wanted(pool: Pool, since: datetime, now: datetime, limit: int) -> list[Wanted]:
    """The newest that are not settled. Raises: DatabaseUnavailable."""
    with unavailable("asking which pictures are wanted"):
        async with pool.connection() as conn:
            cursor = await conn.execute(WANTED, {"since": since, "now": now, "limit": limit})
            return [Wanted(str(url), bool(clip), int(tries)) for url, clip, tries in await cursor.fetchall()]


async def write(pool: Pool, outcome: Outcome, at: datetime) -> None:
    """Raises: DatabaseUnavailable."""
    o = outcome
    with unavailable("noting a picture"):
        async with pool.connection() as conn:
            await conn.execute(WRITE, [o.url, o.state, o.reason[:500], o.name, o.bytes, o.tries, o.next_try_at, at])


async def forget(pool: Pool, before: datetime) -> None:
    """Rows of files that are gone by age. Raises: DatabaseUnavailable."""
    with unavailable("forgetting old pictures"):
        async with pool.connection() as conn:
            await conn.execute(FORGET, [before])
