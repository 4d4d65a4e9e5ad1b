"""Values for a process without ingest: what the tables say has changed, once a second.

Crude on purpose: devices come with their last sign of life but without their newest
readings, which a page asks for one device at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from api.feed import Feed
from api.queries.received import POSITIONS_AFTER, SEEN_AFTER
from api.reader import reading
from api.values import Fresh
from db.pool import Pool
from domain.clock import from_us, iso, to_us
from domain.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

EVERY_S = 1.0
OVERLAP = timedelta(seconds=2)
"""A commit may show a little after its time; newest wins, so seeing one twice is harmless."""


async def poll_values(pool: Pool, feed: Feed, now_us: Callable[[], int]) -> None:
    """Feed the values channels from the tables until cancelled."""
    after = from_us(now_us())
    while True:
        await asyncio.sleep(EVERY_S)
        started = from_us(now_us())
        if feed.subscriptions:
            try:
                fresh = await positions_since(pool, after - OVERLAP)
                fresh.devices = await devices_since(pool, after - OVERLAP)
            except DatabaseUnavailable as error:
                log.warning("cannot poll values now, trying again: %s", error)
                continue
            feed.send(fresh)
        after = started


async def positions_since(pool: Pool, after: datetime) -> Fresh:
    """The newest position of every vehicle that sent one after a time."""
    async with reading(pool, asked=False) as reader:
        rows = await reader.rows(POSITIONS_AFTER, {"after": after})
    return Fresh(vehicles=by_key(rows))


async def devices_since(pool: Pool, after: datetime) -> dict[int, dict[str, Any]]:
    """Signs of life after a time."""
    async with reading(pool, asked=False) as reader:
        rows = await reader.rows(SEEN_AFTER, {"after": after})
    return by_key(rows)


def by_key(rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Rows by their ``key``, times as text."""
    return {
        row["key"]: {name: iso(to_us(v)) if name == "t" else v for name, v in row.items() if name != "key"}
        for row in rows
    }
