"""Gaps and counts in PostgreSQL. Refuses to decide anything."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.types.multirange import Multirange
from psycopg.types.range import Range as PgRange

from db.pool import Pool, unavailable
from domain.clock import from_us, to_us
from ingest.gaps.sequences import Gap, Range

LOAD_COUNTS = "SELECT device, highest, newest FROM seq_count"
LOAD_OPEN = """
SELECT device, first, last, missing, after_at, before_at, opened_at, asks, ask_at FROM seq_gap
WHERE outcome IS NULL ORDER BY opened_at
"""
UPSERT_COUNTS = """
INSERT INTO seq_count (device, highest, newest)
SELECT * FROM unnest(%s::int[], %s::bigint[], %s::timestamptz[])
ON CONFLICT (device) DO UPDATE SET highest = excluded.highest, newest = excluded.newest
"""
UPSERT_GAP = """
INSERT INTO seq_gap (device, first, last, opened_at, missing, after_at, before_at, asks, ask_at, outcome, closed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s::text IS NULL THEN NULL ELSE now() END)
ON CONFLICT (device, first, opened_at) DO UPDATE SET missing = excluded.missing, asks = excluded.asks,
    ask_at = excluded.ask_at, outcome = excluded.outcome, closed_at = excluded.closed_at
"""
# The event times of the messages around a gap bound its search; a day more on each side for what was out of order.
_OF_GAP = "time BETWEEN gap.after AND gap.before AND seq BETWEEN gap.first AND gap.last"
STORED = f"""
SELECT DISTINCT gap.n, known.seq
FROM unnest(%s::int[], %s::int[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::timestamptz[])
         AS gap (n, device, first, last, after, before),
     LATERAL (
        SELECT seq FROM reading WHERE reading.device = gap.device AND {_OF_GAP}
        UNION ALL SELECT seq FROM waveform WHERE waveform.device = gap.device AND {_OF_GAP}
        UNION ALL SELECT seq FROM position WHERE position.device = gap.device AND {_OF_GAP}
     ) AS known
"""
DAY_US = 86_400_000_000


class GapStore:
    """Over the server's pool. All methods raise DatabaseUnavailable when the database does not answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def load(self) -> tuple[list[tuple[int, int, int]], list[Gap]]:
        """(device, highest, newest_us) of all counts, and the open gaps."""
        with unavailable("reading gaps"):
            async with self._pool.connection() as conn:
                counts = await (await conn.execute(LOAD_COUNTS)).fetchall()
                gaps = await (await conn.execute(LOAD_OPEN)).fetchall()
        return (
            [(int(device), int(highest), to_us(newest)) for device, highest, newest in counts],
            [
                Gap(device, first, last, tuple((r.lower, r.upper - 1) for r in missing), to_us(after),
                    to_us(before), to_us(opened), asks, to_us(ask_at) if ask_at else 0)
                for device, first, last, missing, after, before, opened, asks, ask_at in gaps
            ],
        )  # fmt: skip

    async def save(self, counts: Sequence[tuple[int, int, int]], gaps: Sequence[Gap]) -> None:
        """Counts and gaps as they stand, in one transaction."""
        with unavailable("writing gaps"):
            async with self._pool.connection() as conn, conn.transaction():
                if counts:
                    devices, highest, newest_us = (list(column) for column in zip(*counts, strict=True))
                    await conn.execute(UPSERT_COUNTS, [devices, highest, [from_us(us) for us in newest_us]])
                if gaps:
                    async with conn.cursor() as cursor:
                        await cursor.executemany(UPSERT_GAP, [_row(gap) for gap in gaps])

    async def stored(self, gaps: Sequence[Gap]) -> list[tuple[int, int]]:
        """(place in ``gaps``, number): which missing numbers lie in the database all the same."""
        with unavailable("looking for stored numbers"):
            async with self._pool.connection() as conn:
                asked = zip(*(_search(index, gap) for index, gap in enumerate(gaps)), strict=True)
                cursor = await conn.execute(STORED.encode(), [list(column) for column in asked])
                rows = await cursor.fetchall()
        return [(int(index), int(seq)) for index, seq in rows]


def _search(index: int, gap: Gap) -> tuple[object, ...]:
    first, last = gap.missing[0][0], gap.missing[-1][1]
    after_us, before_us = max(gap.after_us - DAY_US, 0), gap.before_us + DAY_US
    return index, gap.device, first, last, from_us(after_us), from_us(before_us)


def _row(gap: Gap) -> tuple[object, ...]:
    return (
        gap.device, gap.first, gap.last, from_us(gap.opened_us), multirange(gap.missing),
        from_us(max(gap.after_us, 0)), from_us(gap.before_us), gap.asks,
        from_us(gap.ask_at_us) if gap.ask_at_us else None, gap.outcome, gap.outcome,
    )  # fmt: skip


def multirange(missing: Sequence[Range]) -> Multirange[int]:
    """PostgreSQL's word for these numbers; upper bounds are exclusive there."""
    return Multirange([PgRange(first, last + 1) for first, last in missing])


