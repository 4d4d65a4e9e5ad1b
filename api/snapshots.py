"""Snapshots of open alerts or incidents: read in one moment with their cursor, shared by equal views for a moment.

A snapshot of cursor C followed by every change beyond C is right at any time, so
one that covers all that was dispatched before a subscription began will do for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from api.filters import AlertFilter
from api.incidents import CHANNEL as INCIDENTS
from api.incidents import within
from api.messages import frame
from api.queries.alerts import NEWEST_CURSOR, SNAPSHOT, SNAPSHOT_COUNT
from api.queries.incidents import INCIDENTS_LISTED
from api.reader import reading
from db.pool import Pool

ALERTS_MAX = 5_000
"""Open alerts in one frame; beyond, the worst and newest come and ``open`` says how many there are."""

KEPT_US = 2_000_000
KEPT_MAX = 8

View = tuple[str, str, AlertFilter]
"""Channel, area and filter."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Encoded alerts as of ``cursor``; ``open`` is their whole number when not all are here."""

    cursor: int
    made_us: int
    items: str
    open: int | None

    def frame(self, id_: str) -> str:
        """The message for a subscription."""
        more = {} if self.open is None else {"truncated": True, "open": self.open}
        head = frame("snapshot", id=id_, cursor=self.cursor, **more)
        return f'{head[:-1]},"items":[{self.items}]}}'


class Snapshots:
    """The newest snapshot of a few views, each for at most ``KEPT_US``."""

    def __init__(self) -> None:
        self.kept: dict[View, Snapshot] = {}

    def fresh(self, view: View, reached: int | None, now_us: int) -> Snapshot | None:
        """A kept snapshot that covers the changes up to ``reached``; None when that is not known."""
        self.kept = {v: s for v, s in self.kept.items() if 0 <= now_us - s.made_us <= KEPT_US}
        made = self.kept.get(view)
        return made if made is not None and reached is not None and made.cursor >= reached else None

    def keep(self, view: View, made: Snapshot) -> None:
        """Keep the newest; the oldest gives way."""
        self.kept.pop(view, None)
        self.kept[view] = made
        if len(self.kept) > KEPT_MAX:
            self.kept.pop(next(iter(self.kept)))


async def read_snapshot(pool: Pool, channel: str, area: str, wanted: AlertFilter, now_us: int) -> Snapshot:
    """All open alerts or incidents of a view and the newest cursor, of one moment. Raises: DatabaseUnavailable."""
    parameters = {**wanted.sql_parameters(), "area": area, "limit": ALERTS_MAX + 1}
    if channel == INCIDENTS:
        return await read_incidents(pool, area, parameters, now_us)
    async with reading(pool, asked=False) as reader:
        newest = await reader.row(NEWEST_CURSOR)
        rows = await reader.rows(SNAPSHOT, parameters)
        count = await reader.row(SNAPSHOT_COUNT, parameters) if len(rows) > ALERTS_MAX else None
    assert newest is not None
    items = ",".join(row["alert"] for row in rows[:ALERTS_MAX])
    return Snapshot(newest["cursor"], now_us, items, None if count is None else count["open"])


async def read_incidents(pool: Pool, area: str, parameters: Mapping[str, Any], now_us: int) -> Snapshot:
    """The same of incidents."""
    asked = {**parameters, "state": ["open"], "since": None, "after_id": None, "after_at": None}
    async with reading(pool, asked=False) as reader:
        newest = await reader.row(NEWEST_CURSOR)
        rows = await reader.rows(INCIDENTS_LISTED, asked)
    assert newest is not None
    shown = rows[:ALERTS_MAX]
    items = ",".join(msgspec.json.encode(within(row["body"], area)).decode() for row in shown)
    return Snapshot(newest["cursor"], now_us, items, len(rows) if len(rows) > ALERTS_MAX else None)
