"""Nothing lost without a word: gaps in each device's count are found, asked for, filled, and accounted.

``take`` sees every committed block, before its messages are acknowledged, and writes
down where a device's count began: without that, what server and broker lose together
would not be missed. ``run`` does the rest once a second, beside ingest: look whether
the numbers are stored after all (after a crash our own count is behind), write gaps
down, ask devices. While the database is away gaps wait here, as many as ``Sequences``
bounds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from domain.devices import Device
from domain.errors import DatabaseUnavailable
from domain.readings import Block
from ingest import metrics
from ingest.gaps.sequences import Gap, Sequences, asked, due, question
from ingest.gaps.store import GapStore

log = logging.getLogger(__name__)

EVERY_S = 1.0
COUNTS_EVERY_S = 30.0
CLOSE_WITHIN_S = 3.0
LOOKED_AT_ONCE_MAX = 20_000
"""Open gaps looked at in one round: devices that misnumber everything must not hold up the event loop."""
ASKED_AT_ONCE_MAX = 200
"""Commands a second: devices' answers come on top of the ordinary traffic."""

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
        self._written: set[tuple[int, int, int]] = set()  # open in the table, so their end must be written too
        self._counts_at_us = 0
        self._taken_up: list[Gap] = []  # from before the start and not yet looked up

    async def start(self) -> None:
        """Take up counts and open gaps. Raises: DatabaseUnavailable."""
        counts, gaps = await self._store.load()
        self._sequences.begin(counts, gaps)
        self._taken_up = gaps
        self._written = {gap.key for gap in gaps}
        metrics.SEQ_GAPS_OPEN.set(len(gaps))

    async def take(self, block: Block) -> None:
        """Count a committed block. Raises: DatabaseUnavailable; call again then, with the same block."""
        for gap in self._sequences.take(block):
            self._changed[gap.key] = gap
        if begun := self._sequences.begun:
            await self._store.save(begun, [])
            self._sequences.begun = []

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.step(self._now_us())
            except DatabaseUnavailable as error:
                log.info("gaps are looked at later: %s", error)

    async def close(self) -> None:
        """Write down how far each count is known, so that the next start need not look.

        A database that stands still must not hold up the end: the next start looks, then.
        """
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._write(self._sequences.counts(), list(self._changed.values()))
        except (DatabaseUnavailable, TimeoutError) as error:
            log.info("counts are not written at the end: %s", str(error) or "no answer")

    async def step(self, now_us: int) -> None:
        """One round. Raises: DatabaseUnavailable; call again then."""
        ask, over = due(self._sequences.open(LOOKED_AT_ONCE_MAX), now_us, ASKED_AT_ONCE_MAX)
        for gap in over:
            self._put(gap)
        # What came just before a crash may lie in the database with its gap still written as open.
        before, later = self._taken_up[:ASKED_AT_ONCE_MAX], self._taken_up[ASKED_AT_ONCE_MAX:]
        new = {gap.key: gap for gap in (*before, *ask) if gap.key not in self._checked}
        await self._look_up([now for gap in new.values() if (now := self._sequences.current(gap)) is not None])
        self._taken_up = later
        for gap in ask:
            now = self._sequences.current(gap)
            if now is not None and self._ask(now):
                self._put(asked(now, now_us))
        await self._save(now_us)

    async def _look_up(self, gaps: Sequence[Gap]) -> None:
        """Take out of new gaps what is stored all the same; what is left is missing."""
        for index, seq in await self._store.stored(gaps) if gaps else []:
            now = self._sequences.current(gaps[index])
            if now is not None:
                self._put(now.without(seq))
        for gap in gaps:
            now = self._sequences.current(gap)
            if now is not None:
                metrics.SEQ_MISSING.inc(now.count)
                self._checked.add(gap.key)

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
        if abs(now_us - self._counts_at_us) >= COUNTS_EVERY_S * 1e6:  # backward too: clocks are put right
            counts = self._sequences.counts()
            self._counts_at_us = now_us
        known = self._checked | self._written
        await self._write(counts, [g for g in self._changed.values() if counts or g.key in known])
        for key in [k for k, g in self._changed.items() if g.outcome is not None and k not in known]:
            del self._changed[key]  # it came by itself before anyone asked
        metrics.SEQ_GAPS_OPEN.set(self._sequences.count_open())

    async def _write(self, counts: list[tuple[int, int, int]], gaps: list[Gap]) -> None:
        if not (gaps or counts):
            return
        await self._store.save(counts, gaps)
        for gap in gaps:
            if self._changed.get(gap.key) is gap:
                del self._changed[gap.key]
            if gap.outcome is None:
                self._written.add(gap.key)
                continue
            self._written.discard(gap.key)
            if gap.key in self._checked:
                self._checked.discard(gap.key)
                metrics.SEQ_GAPS_ENDED.labels(gap.outcome).inc()
                metrics.SEQ_FILLED.inc(gap.last - gap.first + 1 - gap.count)
