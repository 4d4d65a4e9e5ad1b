"""The hub's copy of the device registry: key → id, kind, run and place codes; metric names by key.

Reloaded when ``device_changed`` is notified, and once in a while for a
notification that got lost. A key it does not know yet is simply not shown until
the next reload: only values pass through here, never alerts.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from api.queries.devices import METRIC_NAMES, REGISTRY
from api.reader import reading
from db.devices import CHANNEL
from db.listen import wakeups
from db.pool import Pool
from domain.errors import DatabaseUnavailable
from domain.people import Actor

log = logging.getLogger(__name__)

RELOAD_S = 30.0


@dataclass(frozen=True, slots=True)
class Known:
    """What the values channels need of a device."""

    id: str
    kind: str
    run: str | None
    town: str | None
    village: str | None
    grid: str | None

    def seen_by(self, actor: Actor) -> bool:
        """Whether it lies in the actor's area."""
        return actor.sees(self.grid, self.village, self.town)


class Registry:
    """The copy and its reloading."""

    def __init__(self, pool: Pool, database_url: str) -> None:
        self.pool = pool
        self.database_url = database_url
        self.devices: dict[int, Known] = {}
        self.metrics: dict[int, str] = {}

    async def run(self) -> None:
        """Keep the copy current until cancelled."""
        async for _ in wakeups(self.database_url, CHANNEL, poll_s=RELOAD_S, name="gridpulse-live-registry"):
            try:
                await self.load()
            except DatabaseUnavailable as error:
                log.warning("cannot read the registry now, trying again later: %s", error)

    async def load(self) -> None:
        """Read everything anew. Raises: DatabaseUnavailable."""
        async with reading(self.pool, asked=False) as reader:
            rows = await reader.rows(REGISTRY)
            names = await reader.rows(METRIC_NAMES)
        self.devices = {
            row["key"]: Known(row["id"], row["kind"], row["run"], row["town"], row["village"], row["grid"])
            for row in rows
        }
        self.metrics = {row["key"]: row["name"] for row in names}

    def metric(self, key: int) -> str | None:
        """A metric's name."""
        return self.metrics.get(key)

    def key_of(self, device_id: str, exercise: str | None) -> int | None:
        """The key of a device by its id; the real one unless a run is named."""
        wanted = None if exercise == "any" else exercise
        return next((key for key, d in self.devices.items() if d.id == device_id and d.run == wanted), None)
