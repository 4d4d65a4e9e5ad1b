"""Divisions as they were, are and are planned: one Locator for each, so that an event lies in that of its time.

An alert or a leg that comes late, from a buffer, a gateway or a file, lies in the
village that was there when it happened; whoever places it by the division of its
arrival gives the same data two answers. The Locators share their addresses, which have
no validity; an address whose cell is not in that division is placed by its point.

Bounds: the newest ``PAST_MAX`` divisions of the past are held, what is older is placed
by the oldest of them; of those to come only the next is held, because its first
seconds are on their way before it is swapped in. A time from before the first import
is placed by the division in force: generated borders do not come back.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from db.pool import Connection
from domain.clock import to_us
from geo.borders import Ground
from geo.grids import Cell, Region
from geo.locate import Locator
from geo.polygons import PolygonIndex
from geo.store import SELECT_VERSIONS, load_locator, load_outlines, real_places

Int64 = NDArray[np.int64]

PAST_MAX = 8
BEGINNING_US = -(2**62)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SELECT_TIMES = """
SELECT DISTINCT at FROM (
    SELECT valid_from AS at FROM region UNION ALL SELECT valid_to FROM region
    UNION ALL SELECT valid_from FROM grid_cell UNION ALL SELECT valid_to FROM grid_cell
) AS times WHERE at > '1970-01-01Z' ORDER BY at"""


class Timeline:
    """Locators by the time they hold from; immutable but for what is made on demand."""

    def __init__(
        self, current: Locator, divisions: Sequence[tuple[int, Locator]] = (), now_us: int | None = None
    ) -> None:
        """``divisions``: (holds from, Locator) in order of time, the current one among them."""
        self._starts = [start for start, _ in divisions] or [BEGINNING_US]
        self._locators = [locator for _, locator in divisions] or [current]
        self._now = len(self._starts) - 1 if now_us is None else self._row(now_us)
        self._grounds: dict[int, Ground] = {}
        assert self._locators[self._now] is current

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def locator(self) -> Locator:
        """The division in force."""
        return self._locators[self._now]

    def at(self, at_us: int | None) -> Locator:
        """The division of an event time; None = the one in force."""
        return self._locators[self._row(at_us)]

    def ground(self, at_us: int | None = None) -> Ground:
        """The ground of the division of an event time."""
        locator = self.at(at_us)
        found = self._grounds.get(id(locator))
        if found is None:
            found = self._grounds[id(locator)] = Ground(locator)
        return found

    def changed_since(self, at_us: int) -> bool:
        """Whether the division in force is a later one than that of an event time."""
        row = self._row(at_us)
        return row < self._now and self._locators[row] is not self.locator

    def rows(self, at_us: Int64) -> Int64:
        """For event times ``(n,)`` which division each belongs to; for ``of_row``."""
        return np.maximum(np.searchsorted(self._starts, at_us, side="right") - 1, 0).astype(np.int64)

    def of_row(self, row: int) -> Locator:
        """The division of a row of ``rows``."""
        return self._locators[row]

    def _row(self, at_us: int | None) -> int:
        if at_us is None:
            return self._now
        return max(bisect_right(self._starts, at_us) - 1, 0)


async def load_timeline(conn: Connection, now: datetime) -> Timeline:
    """The divisions of the past and the next one round the one in force."""
    current = await load_locator(conn, now)
    times = [row[0] for row in await (await conn.execute(SELECT_TIMES)).fetchall()]
    past = [at for at in times if at <= now]
    if not times:
        return Timeline(current)
    real = await real_places(conn, now)
    # The first lies before any change; each change begins the next one.
    begins = [EPOCH, *past]
    divisions: list[tuple[int, Locator]] = []
    for begin in begins[-PAST_MAX - 1 : -1]:
        locator = await _divided(conn, begin, current, real=real)
        divisions.append((to_us(begin) if divisions else BEGINNING_US, locator))
    divisions.append((to_us(begins[-1]) if divisions else BEGINNING_US, current))
    if len(times) > len(past):
        coming = times[len(past)]
        divisions.append((to_us(coming), await _divided(conn, coming, current, real=real)))
    return Timeline(current, divisions, to_us(now))


async def _divided(conn: Connection, at: datetime, current: Locator, *, real: bool) -> Locator:
    """The Locator of another time: its outlines, the addresses of today."""
    if real and not await real_places(conn, at):
        return current
    regions, cells = await load_outlines(conn, at)
    found = await (await conn.execute(SELECT_VERSIONS, {"real": real, "at": at})).fetchall()
    version = "+".join(str(row[0]) for row in found)
    return await asyncio.to_thread(with_outlines, current, regions, cells, version)


def with_outlines(locator: Locator, regions: Sequence[Region], cells: Sequence[Cell], version: str) -> Locator:
    """The same addresses under other outlines."""
    layers = [PolygonIndex([c.code for c in cells], [c.outline for c in cells])]
    for level in ("village", "town"):
        chosen = [r for r in regions if r.level == level]
        layers.append(PolygonIndex([r.code for r in chosen], [r.outline for r in chosen]))
    return Locator(layers, {r.code: (r.name, r.name_en) for r in regions}, locator.addresses, version)
