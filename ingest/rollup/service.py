"""Rollups kept beside ingest: each minute what has closed, and again what got late readings.

The order makes a crash harmless anywhere. First the horizon moves (from then on commits
mark what they add before it), then the commit under way ends, then one transaction
rolls what is before the horizon and says so. Recomputed is always from readings, and
replaced. A mark is removed in the transaction that recomputed its hour.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from domain.errors import DatabaseUnavailable
from ingest import metrics
from ingest.rollup.horizon import HOUR_US, MINUTE_US, Horizon, floor_us
from ingest.rollup.store import RollupStore

log = logging.getLogger(__name__)

GRACE_US = 10_000_000
"""A minute is rolled this long after its end: what is on its way then needs no mark."""
SPAN_US = HOUR_US
"""At most so much in one transaction, when there is much to make up for."""
REDO_MARKS = 500
REDO_BATCHES_MAX = 20
"""Marks worked off in one transaction, and transactions a minute; the rest waits for the next."""
RETRY_S = 5.0


class RollupService:
    """The rollups of one ingest process."""

    def __init__(self, store: RollupStore, horizon: Horizon, now_us: Callable[[], int]) -> None:
        self._store = store
        self._horizon = horizon
        self._now_us = now_us
        self._through_us = 0

    async def start(self) -> None:
        """Take up where the last process ended; before the first commit. Raises: DatabaseUnavailable."""
        self._through_us = await self._store.begin(closed_minute(self._now_us()))
        self._horizon.begin(await self._store.newest(floor_us(self._through_us, HOUR_US)))
        await self._horizon.move(self._through_us)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            wait_s = RETRY_S
            try:
                await self.step(self._now_us())
                wait_s = (closed_minute(self._now_us()) + MINUTE_US + GRACE_US - self._now_us()) / 1e6
            except DatabaseUnavailable as error:
                log.info("rollups wait for the database: %s", error)
            metrics.ROLLUP_LAG_SECONDS.set(max(0.0, (self._now_us() - self._through_us) / 1e6))
            await asyncio.sleep(max(wait_s, 0.1))

    async def step(self, now_us: int) -> None:
        """Roll everything that has closed, then work off marks. Raises: DatabaseUnavailable; call again then."""
        target_us = closed_minute(now_us)
        while self._through_us < target_us:
            await self._roll(min(target_us, self._through_us + SPAN_US))
        await self._redo()
        metrics.ROLLUP_DIRTY_HOURS.set(await self._store.count_dirty())

    async def _roll(self, to_us: int) -> None:
        from_us = self._through_us
        await self._horizon.move(to_us)
        devices = self._horizon.active(from_us)
        hour_devices = self._horizon.active(floor_us(from_us, HOUR_US))
        self._through_us = await self._store.roll(from_us, to_us, devices, hour_devices)

    async def _redo(self) -> None:
        for _ in range(REDO_BATCHES_MAX):
            marks = await self._store.dirty(REDO_MARKS)
            if not marks:
                return
            # First forgotten, then recomputed: what is committed in between writes a mark of its own.
            await self._horizon.forget((device, hour_us) for _, device, hour_us in marks)
            metrics.ROLLUP_HOURS_REDONE.inc(await self._store.redo(marks))


def closed_minute(now_us: int) -> int:
    """Up to where minutes are closed, with the grace for what is on its way."""
    return floor_us(now_us - GRACE_US, MINUTE_US)
