"""Fetches the pictures and clips that stored events name, and keeps the folder within its bounds.

What is wanted is asked of the database, so a restart loses nothing and nothing queues in
memory. An event older than an hour is no longer fetched for. A host that fails is tried
again after some seconds, then minutes, then given up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from db.media import PICTURES, MediaFolder
from db.pool import Pool
from domain.errors import DatabaseUnavailable, PayloadError
from ingest import metrics
from ingest.media import store
from ingest.media.fetch import Failed, Refused, fetch
from ingest.media.hosts import AllowedHost, target
from ingest.media.store import Outcome, Wanted

log = logging.getLogger(__name__)

PICTURE_BYTES_MAX = 4 * 1024 * 1024
CLIP_BYTES_MAX = 64 * 1024 * 1024
PICTURE_S_MAX, CLIP_S_MAX = 10.0, 60.0
AT_ONCE = 3
ROUND_MAX = 60
POLL_S = 10.0
WITHIN = timedelta(hours=1)
RETRY_S = (5.0, 60.0, 300.0)
SWEEP_EVERY_S = 600.0


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long and how much: the oldest go first."""

    days: float
    bytes_max: int


class MediaService:
    """Two parts: ``run`` fetches (nothing where no host is allowed), ``sweep`` removes."""

    def __init__(self, pool: Pool, folder: MediaFolder, hosts: Sequence[AllowedHost], keeping: Keeping) -> None:
        self._pool = pool
        self._folder = folder
        self._hosts = tuple(hosts)
        self._keeping = keeping
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Events came that may name pictures."""
        self._wake.set()

    async def run(self) -> None:
        """Fetch what is wanted, until cancelled."""
        if not self._hosts:
            await asyncio.Event().wait()
        while True:
            more = False
            try:
                more = await self.round()
            except DatabaseUnavailable as error:
                log.info("pictures are fetched later: %s", error)
            if not more:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):  # wait_for of Python 3.11 can swallow a cancellation
                        await self._wake.wait()
                self._wake.clear()

    async def round(self) -> bool:
        """Fetch the newest that are wanted; whether there may be more. Raises: DatabaseUnavailable."""
        now = datetime.now(UTC)
        items = await store.wanted(self._pool, now - WITHIN, now, ROUND_MAX)
        for start in range(0, len(items), AT_ONCE):
            outcomes = await asyncio.gather(*(self._one(item) for item in items[start : start + AT_ONCE]))
            for outcome in outcomes:
                metrics.MEDIA.labels(outcome.state).inc()
                await store.write(self._pool, outcome, datetime.now(UTC))
        return len(items) == ROUND_MAX

    async def _one(self, item: Wanted) -> Outcome:
        where = target(item.url, self._hosts)
        if isinstance(where, str):
            return Outcome(item.url, "refused", where, None, 0, item.tries + 1, None)
        bytes_max, seconds = (CLIP_BYTES_MAX, CLIP_S_MAX) if item.clip else (PICTURE_BYTES_MAX, PICTURE_S_MAX)
        kinds = frozenset({"mp4"}) if item.clip else PICTURES
        try:
            content = await asyncio.to_thread(fetch, where, bytes_max=bytes_max, seconds_max=seconds)
            name = await asyncio.to_thread(self._folder.put, content, kinds)
        except (Refused, PayloadError) as error:
            return Outcome(item.url, "refused", str(error), None, 0, item.tries + 1, None)
        except (Failed, OSError) as error:
            again = RETRY_S[item.tries] if item.tries < len(RETRY_S) else None
            at = None if again is None else datetime.now(UTC) + timedelta(seconds=again)
            return Outcome(item.url, "failed", str(error), None, 0, item.tries + 1, at)
        return Outcome(item.url, "stored", "", name, len(content), item.tries + 1, None)

    async def sweep(self) -> None:
        """Remove what is too old or too much, every few minutes, until cancelled."""
        while True:
            older_than_s = time.time() - self._keeping.days * 86400
            try:
                swept = await asyncio.to_thread(self._folder.sweep, older_than_s, self._keeping.bytes_max)
                metrics.MEDIA_BYTES.set(swept.bytes)
                metrics.MEDIA.labels("removed").inc(swept.removed)
                await store.forget(self._pool, datetime.fromtimestamp(older_than_s, UTC))
            except (OSError, DatabaseUnavailable) as error:
                log.warning("old pictures are removed later: %s", error)
            await asyncio.sleep(SWEEP_EVERY_S)
