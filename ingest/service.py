"""The path from broker to commit and on: take, decode, store, detect, acknowledge, in that order.

Two steps run at the same time, each on its own batch: while one batch is looked at by
the detectors and acknowledged, the next is being committed, and what arrives meanwhile
is decoded. Nothing is acknowledged before its rows or its quarantine row are committed
and the detectors have had it, and all in the order received. A batch is whatever has
arrived: one message when it is quiet (so latency is one commit), as much as a commit
takes in ``pace.COMMIT_S`` when it is busy. While the database is away the batch waits,
the source's bounds fill up, and the broker holds the rest. A message the database will
never take is found by halving and put into quarantine; it does not stop the others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count, repeat
from typing import Any, TypeVar

import numpy as np

from domain.errors import DatabaseUnavailable, PayloadError
from domain.readings import Block
from ingest import metrics
from ingest.batching import Rows, lay_out, mark_late, series_of
from ingest.columns import ReadingColumns
from ingest.ledger import Account
from ingest.messages import Checked, Decoded, Message, Refusal, Rules, decode, decode_block, joined
from ingest.pace import Pace
from ingest.registry import Admitted, Registry
from ingest.source import Deliveries, Source
from ingest.store import IngestStore
from ingest.timeliness import Timeliness

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Sink = Callable[[Block], Awaitable[None]]
Translate = Callable[[list[Decoded], list[Refusal]], list[Refusal]]
"""Contents of other vendors' messages are put behind the first; the refusals that are left."""

DECODE_AHEAD_BYTES = 64 * 1024
"""While a commit runs, decoding begins when so much has arrived: small pieces cost more a message."""
BATCHES_COMMITTED_MAX = 2
"""Batches that are committed and wait for the detectors; then the next commit waits too."""
FINISH_WITHIN_S = 3.0
RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class _Part:
    """One read, decoded."""

    checked: Checked
    acknowledge: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Committed:
    """A batch that is durable: for the detectors, then for whoever waits for the word."""

    block: Block
    parts: Sequence[_Part]


class IngestService:
    """Joins a source, decoding, registry and stores; ``sink`` gets every committed block.

    ``stores``: connections on which the parts of a large batch are written at the same time.
    ``translate``: reads what is refused for its topic, other vendors' messages.
    """

    def __init__(
        self,
        source: Source[Any],
        stores: Sequence[IngestStore],
        registry: Registry,
        rules: Rules,
        sink: Sink,
        *,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        translate: Translate = lambda decoded, refused: refused,
    ) -> None:
        self._source = source
        self._translate = translate
        self._stores = stores
        self._registry = registry
        self._rules = rules
        self._sink = sink
        self._now_us = now_us
        self._timeliness = Timeliness()
        self._pace = Pace()
        self._arrived: deque[list[Deliveries[Any]]] = deque()
        self._decoded: deque[_Part] = deque()
        self._committing = asyncio.Lock()
        self._committed: asyncio.Queue[_Committed | None] = asyncio.Queue(BATCHES_COMMITTED_MAX)
        self._waiting = 0

    @property
    def waiting_for_database(self) -> bool:
        """Whether a batch cannot go on without the database."""
        return self._waiting > 0

    async def run(self) -> None:
        """Work until cancelled; what is committed by then is still looked at and acknowledged."""
        storing = asyncio.create_task(self._store_batches(), name="ingest: commit")
        looking = asyncio.create_task(self._look_at_batches(), name="ingest: detect and acknowledge")
        try:
            done, _ = await asyncio.wait({storing, looking}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except asyncio.CancelledError:
            storing.cancel()
            await asyncio.wait({storing})
            with suppress(TimeoutError):
                async with asyncio.timeout(FINISH_WITHIN_S):
                    await self._committed.put(None)
                    await asyncio.wait({looking})
            raise
        finally:
            for task in (storing, looking):
                task.cancel()
            await asyncio.gather(storing, looking, return_exceptions=True)

    async def submit(self, messages: Sequence[Message], came_by: str = "http") -> tuple[int, Sequence[Refusal]]:
        """Messages that came another way than from the source; returns once they are safe.

        How many contents were taken in, and what went to quarantine. ``run`` must be at work.
        Raises: nothing of the messages' own.
        """
        safe: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def acknowledge() -> None:
            if not safe.done():  # whoever asked may have gone
                safe.set_result(None)

        checked = self._check(messages, came_by)
        contents = len(checked.decoded) + len(checked.refused)
        refused = await self._take([_Part(checked, acknowledge)])
        await safe
        return contents - len(refused), refused

    # ------------------------------------------------------------ decode and commit

    async def _store_batches(self) -> None:
        while True:
            if not self._decoded and not self._arrived:
                self._arrived += grouped(await self._source.deliveries())
            while self._arrived and sum(part.checked.rows for part in self._decoded) < self._pace.rows:
                self._decode_next()
                await asyncio.sleep(0)
            parts = self._next_parts()
            metrics.BACKLOG.set(self._source.backlog())
            ahead = asyncio.create_task(self._decode_ahead(), name="ingest: decode ahead")
            try:
                await settled(self._take(parts))
            finally:
                ahead.cancel()

    async def _decode_ahead(self) -> None:
        """Cancelled at any await: what has arrived stays in ``_arrived``, what is decoded in ``_decoded``."""
        while True:
            if not self._arrived:
                self._arrived += grouped(await self._source.deliveries(DECODE_AHEAD_BYTES))
            self._decode_next()
            await asyncio.sleep(0)

    def _decode_next(self) -> None:
        group = self._arrived.popleft()
        messages = [message for deliveries in group for message in deliveries.messages]
        checked = self._check(messages, "mqtt")
        tokens = [deliveries.token for deliveries in group]
        self._decoded.append(_Part(checked, partial(self._acknowledge, tokens)))

    def _check(self, messages: Sequence[Message], came_by: str) -> Checked:
        """Messages counted and decoded, ours first, then those of other vendors."""
        metrics.RECEIVED.labels(came_by).inc(len(messages))
        ours = decode_or_one_by_one(messages, self._rules)
        metrics.IGNORED.inc(len(messages) - len(ours.decoded) - len(ours.refused))
        return Checked(ours.decoded, self._translate(ours.decoded, ours.refused), ours.readings)

    def _acknowledge(self, tokens: Sequence[Any]) -> None:
        for token in tokens:
            self._source.acknowledge(token)

    def _next_parts(self) -> list[_Part]:
        """As many parts as one commit should take, at least one."""
        parts = [self._decoded.popleft()]
        rows = parts[0].checked.rows
        while self._decoded and rows + self._decoded[0].checked.rows <= self._pace.rows:
            parts.append(self._decoded.popleft())
            rows += parts[-1].checked.rows
        return parts

    async def _take(self, parts: Sequence[_Part]) -> Sequence[Refusal]:
        """Commit one batch and hand it on; one at a time, in the order asked. Returns what is in quarantine."""
        async with self._committing:
            checked = joined([part.checked for part in parts])
            admitted = await self._until_it_works(lambda: self._registry.admit(checked, self._rules))
            rows, broken = await self._lay_out(admitted)
            refused = [*checked.refused, *admitted.refused, *broken]
            began_s = time.monotonic()
            quarantined = await self._commit(rows, refused, Account(admitted.keys))
            self._pace.learn(checked.rows, time.monotonic() - began_s)
            committed_us = self._now_us()
            await self._committed.put(_Committed(rows.block(committed_us), parts))
            runs = {d.topic.run for d in admitted.decoded if d.topic.run}
            self._registry.heard(rows.device, runs, committed_us)
            return quarantined

    async def _lay_out(self, admitted: Admitted) -> tuple[Rows, list[Refusal]]:
        rows, broken = lay_out_or_refuse(admitted)
        unknown = self._timeliness.unknown(*series_of(rows))
        if unknown:
            clock_us = {int(key): d.clock_us for key, d in zip(rows.device, rows.decoded, strict=True)}
            for device, series, newest_us in await self._until_it_works(lambda: self._stores[0].floors(unknown)):
                self._timeliness.set_floor(device, series, min(newest_us, clock_us[device]))
        mark_late(rows, self._timeliness)
        return rows, broken

    async def _commit(self, rows: Rows, refused: Sequence[Refusal], account: Account) -> Sequence[Refusal]:
        """Store rows and refusals, a large batch in several transactions. Returns all refusals."""
        lanes = rows.lanes(len(self._stores))
        if len(lanes) == 1:
            return await self._commit_in(self._stores[0], rows, refused, account)
        shares = [refused, *[()] * (len(lanes) - 1)]
        work = map(self._commit_in, self._stores, lanes, shares, repeat(account))
        all_refused: list[Refusal] = []
        for done in await asyncio.gather(*work, return_exceptions=True):  # none is left at work when another failed
            if isinstance(done, BaseException):
                raise done
            all_refused += done
        return all_refused

    async def _commit_in(
        self, store: IngestStore, rows: Rows, refused: Sequence[Refusal], account: Account
    ) -> Sequence[Refusal]:
        """In one transaction; what the database will never take becomes a refusal. Returns all refusals."""
        try:
            with metrics.STORE_SECONDS.time():
                stored = await self._until_it_works(lambda: store.write(rows, refused, account))
        except PayloadError as error:
            if len(rows.decoded) == 0:
                raise
            log.error("the database refuses a batch of %d messages: %s", len(rows.decoded), error.detail)
            return await self._put_aside(store, rows, refused, account, error)
        metrics.STORED.inc(stored.readings + stored.packets + stored.positions)
        metrics.DUPLICATES.inc(int(np.count_nonzero(~stored.message_stored)))
        for refusal in refused:
            metrics.QUARANTINED.labels(refusal.reason).inc()
        return refused

    async def _put_aside(
        self, store: IngestStore, rows: Rows, refused: Sequence[Refusal], account: Account, why: PayloadError
    ) -> Sequence[Refusal]:
        n = len(rows.decoded)
        if n == 1:
            d = rows.decoded[0]
            refusal = Refusal(d.message, d.topic.device_id, d.topic.run, why.reason, why.detail)
            return await self._commit_in(store, rows.part([]), [*refused, refusal], account)
        first = await self._commit_in(store, rows.part(range(n // 2)), refused, account)
        return [*first, *await self._commit_in(store, rows.part(range(n // 2, n)), [], account)]

    # ------------------------------------------------------------ detect and acknowledge

    async def _look_at_batches(self) -> None:
        while (batch := await self._committed.get()) is not None:
            block = batch.block
            await self._until_it_works(partial(self._detect, block))
            for part in batch.parts:
                part.acknowledge()
            metrics.BACKLOG.set(self._source.backlog())

    async def _detect(self, block: Block) -> None:
        try:
            await self._sink(block)
        except DatabaseUnavailable:
            raise
        except Exception:
            metrics.DETECTION_ERRORS.inc()
            log.exception("detection failed on a block; its readings are stored, its alerts are not raised")

    async def _until_it_works(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Repeat while the database is away; the broker waits with us."""
        try:
            return await work()
        except DatabaseUnavailable as error:
            log.warning("ingest waits for the database: %s", error)
        self._waiting += 1
        metrics.WAITING.set(1)
        try:
            for attempt in count():
                await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                with suppress(DatabaseUnavailable):
                    result = await work()
                    log.warning("the database is back after %d tries", attempt + 2)
                    return result
        finally:
            self._waiting -= 1
            metrics.WAITING.set(min(self._waiting, 1))
        raise AssertionError("count() has no end")


def decode_or_one_by_one(messages: Sequence[Message], rules: Rules) -> Checked:
    """The block decoded; slowly, should a mistake of ours make the quick way stumble over it."""
    try:
        return decode_block(messages, rules)
    except Exception:
        log.exception("a block cannot be decoded at once; decoding it message by message")
        return Checked(*decode(messages, rules), ReadingColumns.none())


def lay_out_or_refuse(admitted: Admitted) -> tuple[Rows, list[Refusal]]:
    """Columns of a batch; a message that breaks them, by a mistake of ours, is refused instead of all."""
    decoded, device, metrics_, readings = admitted.decoded, admitted.device, admitted.metrics, admitted.readings
    try:
        return lay_out(decoded, device, metrics_, readings), []
    except Exception:
        log.exception("a message breaks its batch; looking for it")
    broken: list[Refusal] = []
    keep = np.ones(len(decoded), dtype=np.bool_)
    for row, d in enumerate(decoded):
        alone = np.zeros(len(decoded), dtype=np.bool_)
        alone[row] = True
        try:
            lay_out([d], device[alone], metrics_, readings.kept(alone))
        except Exception as error:  # noqa: BLE001  logged above, kept whole in quarantine
            keep[row] = False
            detail = f"{type(error).__name__}: {error}"
            broken.append(Refusal(d.message, d.topic.device_id, d.topic.run, "decoder_error", detail))
    good = [d for row, d in enumerate(decoded) if keep[row]]
    return lay_out(good, device[keep], metrics_, readings.kept(keep)), broken


def grouped(arrived: Sequence[Deliveries[Any]]) -> list[list[Deliveries[Any]]]:
    """Neighbouring reads together, up to ``DECODE_AHEAD_BYTES``; a larger read is a group by itself."""
    groups: list[list[Deliveries[Any]]] = []
    size_bytes = DECODE_AHEAD_BYTES
    for deliveries in arrived:
        if size_bytes + deliveries.size_bytes > DECODE_AHEAD_BYTES:
            groups.append([])
            size_bytes = 0
        groups[-1].append(deliveries)
        size_bytes += deliveries.size_bytes
    return groups


async def settled(work: Awaitable[Result]) -> Result:
    """Run a commit to its end even when we are told to stop meanwhile, then pass the word on."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(TimeoutError):
            await asyncio.wait_for(task, FINISH_WITHIN_S)
        raise
