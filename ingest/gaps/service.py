"""Nothing lost without a word: gaps in each device's count are found, asked for, filled, and accounted.

``take`` sees every committed block; ``run`` does the rest once a second, beside
ingest and never before an acknowledgement: look whether the numbers are stored
after all (after a crash our own count is behind), write gaps down, ask devices.
While the database is away gaps wait here, as many as ``Sequences`` bounds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from domain.devices import Device
from domain.errors import DatabaseUnavailable
from domain.readings import Block
from ingest import metrics
from ingest.gaps.sequences import FILLED, Gap, Sequences, asked, due, question
from ingest.gaps.store import GapStore

log = logging.getLogger(__name__)

EVERY_S = 1.0
COUNTS_EVERY_S = 30.0
ASKED_AT_ONCE_MAX = 200
"""Commands a second: devices' answers come on top of the ordinary traffic."""

LOOKED_AT_MAX = 20_000
"""Open gaps that are looked at in one round; a hundred times what is asked, and 20 ms of work."""

Publish = Callable[[str, bytes], bool]


class GapService:
    """Gaps of one ingest process."""

    def __init__(
        self, store: GapStore, device: Callable[[int], Device | None], publish: Publish, now_us: Callable[[], int]
    ) -> None:
        self._store = store
        self._device = device
        self._publish = publish
        self._now_us = now_us
        self._sequences = Sequences()
        self._changed: dict[tuple[int, int, int], Gap] = {}
        self._checked: set[tuple[int, int, int]] = set()
        self._counts_at_us = 0

    async def start(self) -> None:
        """Take up counts and open gaps. Raises: DatabaseUnavailable."""
        counts, gaps = await self._store.load()
        self._sequences.begin(counts, gaps)
        metrics.SEQ_GAPS_OPEN.set(len(gaps))

    def take(self, block: Block) -> None:
        """Count a committed block."""
        for gap in self._sequences.take(block):
            self._changed[gap.key] = gap

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.step(self._now_us())
            except DatabaseUnavailable as error:
                log.info("gaps are looked at later: %s", error)

    async def close(self) -> None:
        """Write down how far each count is known, so that the next start need not look."""
        try:
            await self._write(self._sequences.counts(), list(self._changed.values()))
        except DatabaseUnavailable as error:
            log.info("counts are not written at the end: %s", error)

    async def step(self, now_us: int) -> None:
        """One round. Raises: DatabaseUnavailable; call again then."""
        ask, over = due(self._sequences.open(LOOKED_AT_MAX), now_us, ASKED_AT_ONCE_MAX)
        for gap in over:
            self._put(gap)
        for gap in ask:
            if gap.key not in self._checked:
                gap = await self._looked_up(gap)
            if gap.outcome is None and self._ask(gap):
                self._put(asked(gap, now_us))
        await self._save(now_us)

    async def _looked_up(self, gap: Gap) -> Gap:
        """A new gap without the numbers that are stored."""
        for seq in await self._store.stored(gap):
            now = self._sequences.current(gap)
            if now is None:
                break
            if (smaller := now.without(seq)) is not None:
                self._put(smaller)
        now = self._sequences.current(gap)
        if now is None:
            return gap._replace(missing=(), outcome=FILLED)
        metrics.SEQ_MISSING.inc(now.numbers)
        self._checked.add(gap.key)
        return now

    def _ask(self, gap: Gap) -> bool:
        device = self._device(gap.device)
        if device is None:
            return False
        prefix = f"runs/{device.run}/" if device.run else ""
        tree = "vehicles" if device.kind == "vehicle" else "sensors"
        first, last = question(gap)
        body = msgspec.json.encode({"resend": [first, last]})
        if not self._publish(f"{prefix}{tree}/{device.id}/command", body):
            return False
        metrics.RESEND_ASKED.inc()
        return True

    def _put(self, gap: Gap) -> None:
        self._sequences.replace(gap)
        self._changed[gap.key] = gap

    async def _save(self, now_us: int) -> None:
        """A gap is written once it has been looked up; before that it may be mere disorder.

        Counts go beyond it, so with them all gaps are written: a crash must not forget one.
        """
        counts: list[tuple[int, int, int]] = []
        if now_us - self._counts_at_us >= COUNTS_EVERY_S * 1e6:
            counts = self._sequences.counts()
            self._counts_at_us = now_us
        await self._write(counts, [g for g in self._changed.values() if counts or g.key in self._checked])
        for key in [k for k, g in self._changed.items() if g.outcome is not None and k not in self._checked]:
            del self._changed[key]  # it came by itself before anyone asked
        metrics.SEQ_GAPS_OPEN.set(self._sequences.count_open())

    async def _write(self, counts: list[tuple[int, int, int]], gaps: list[Gap]) -> None:
        if not (gaps or counts):
            return
        await self._store.save(counts, gaps)
        for gap in gaps:
            if self._changed.get(gap.key) is gap:
                del self._changed[gap.key]
            if gap.outcome is not None and gap.key in self._checked:
                self._checked.discard(gap.key)
                metrics.SEQ_GAPS_ENDED.labels(gap.outcome).inc()
                metrics.SEQ_FILLED.inc(gap.last - gap.first + 1 - gap.numbers)
