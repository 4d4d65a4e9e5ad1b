"""The path from broker to commit: take, decode, store, detect, acknowledge, in that order.

One batch at a time, made of whatever has arrived: alone when it is quiet (so
latency is one commit), thousands when it is busy. Nothing is acknowledged before
its rows or its quarantine row are committed and the detectors have had it; while
the database is away the batch waits, the receive maximum fills up, and the broker
holds the rest. A message the database will never take is found by halving and put
into quarantine; it does not stop the others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import TypeVar

import numpy as np

from domain.errors import DatabaseUnavailable, PayloadError
from domain.readings import Block
from ingest import metrics
from ingest.batching import Rows, assemble, mark_late, series_of
from ingest.ledger import Account
from ingest.messages import CLOCK_PROPERTY, Decoded, Message, Refusal, Rules, decode
from ingest.registry import Admitted, Registry
from ingest.session import Arrivals, MqttSession
from ingest.store import IngestStore
from ingest.timeliness import Timeliness

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Sink = Callable[[Block], Awaitable[None]]
Translate = Callable[[list[Decoded], list[Refusal]], list[Refusal]]
"""Contents of other vendors' messages are put behind the first; the refusals that are left."""

BATCH_MESSAGES_MAX = 10_000
FINISH_WITHIN_S = 3.0
RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)


class IngestService:
    """Joins session, decoding, registry and store; ``sink`` gets every committed block.

    ``translate``: reads what is refused for its topic, other vendors' messages.
    """

    def __init__(
        self,
        session: MqttSession,
        store: IngestStore,
        registry: Registry,
        rules: Rules,
        sink: Sink,
        *,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        translate: Translate = lambda decoded, refused: refused,
    ) -> None:
        self._translate = translate
        self._turn = asyncio.Lock()
        self._session = session
        self._store = store
        self._registry = registry
        self._rules = rules
        self._sink = sink
        self._now_us = now_us
        self._timeliness = Timeliness()
        self.waiting_for_database = False

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            arrivals = await self._session.arrivals()
            for messages in batches(arrivals):
                metrics.BACKLOG.set(self._session.statistics().pending + len(messages))
                await finish(self._in_turn(messages, "mqtt"))
            metrics.BACKLOG.set(self._session.statistics().pending)
            metrics.STALE_ACKNOWLEDGEMENTS.set(self._session.statistics().stale_acknowledgements)

    async def submit(self, messages: Sequence[Message]) -> None:
        """Messages that came another way (HTTP): returns once they are committed or quarantined.

        They take their turn between the broker's batches. Do not cancel it: it ends by itself.
        """
        await self._in_turn(messages, "http")

    async def _in_turn(self, messages: Sequence[Message], source: str) -> None:
        async with self._turn:
            await self.take(messages, source)

    async def take(self, messages: Sequence[Message], source: str = "mqtt") -> None:
        """One batch, to its acknowledgement."""
        metrics.RECEIVED.labels(source).inc(len(messages))
        decoded, refused = decode(messages, self._rules)
        metrics.IGNORED.inc(len(messages) - len(decoded) - len(refused))
        refused = self._translate(decoded, refused)
        admitted = await self._until_it_works(lambda: self._registry.admit(decoded, self._rules))
        rows, broken = await self._assemble(admitted)
        await self._commit(rows, [*refused, *admitted.refused, *broken], Account(admitted.keys))
        block = rows.block(self._now_us())
        await self._until_it_works(lambda: self._detect(block))
        for epoch, group in groupby(messages, key=lambda message: message.epoch):
            ids = [message.packet_id for message in group if message.packet_id]
            self._session.acknowledge(epoch, ids)
            metrics.ACKNOWLEDGED.inc(len(ids))
        self._registry.heard(rows.device, {d.topic.run for d in admitted.decoded if d.topic.run}, self._now_us())

    async def _assemble(self, admitted: Admitted) -> tuple[Rows, list[Refusal]]:
        rows, broken = assemble_or_refuse(admitted)
        unknown = self._timeliness.unknown(*series_of(rows))
        if unknown:
            for device, series, newest_us in await self._until_it_works(lambda: self._store.floors(unknown)):
                self._timeliness.set_floor(device, series, newest_us)
        mark_late(rows, self._timeliness)
        return rows, broken

    async def _commit(self, rows: Rows, refused: Sequence[Refusal], account: Account) -> None:
        """Store rows and refusals; what the database will never take becomes a refusal."""
        try:
            with metrics.STORE_SECONDS.time():
                stored = await self._until_it_works(lambda: self._store.write(rows, refused, account))
        except PayloadError as error:
            if len(rows.decoded) == 0:
                raise
            log.error("the database refuses a batch of %d messages: %s", len(rows.decoded), error.detail)
            await self._put_aside(rows, refused, account, error)
            return
        metrics.STORED.inc(stored.readings + stored.packets + stored.positions)
        metrics.DUPLICATES.inc(int(np.count_nonzero(~stored.message_stored)))
        for refusal in refused:
            metrics.QUARANTINED.labels(refusal.reason).inc()

    async def _put_aside(
        self, rows: Rows, refused: Sequence[Refusal], account: Account, why: PayloadError
    ) -> None:
        n = len(rows.decoded)
        if n == 1:
            d = rows.decoded[0]
            refusal = Refusal(d.message, d.topic.device_id, d.topic.run, why.reason, why.detail)
            await self._commit(rows.part([]), [*refused, refusal], account)
            return
        await self._commit(rows.part(range(n // 2)), refused, account)
        await self._commit(rows.part(range(n // 2, n)), [], account)

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
        attempt = 0
        while True:
            try:
                result = await work()
            except DatabaseUnavailable as error:
                if attempt == 0:
                    log.warning("ingest waits for the database: %s", error)
                self.waiting_for_database = True
                metrics.WAITING.set(1)
                await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1
            else:
                if attempt:
                    log.warning("the database is back after %d tries", attempt)
                self.waiting_for_database = False
                metrics.WAITING.set(0)
                return result


def assemble_or_refuse(admitted: Admitted) -> tuple[Rows, list[Refusal]]:
    """Columns of a batch; a message that breaks them, by a mistake of ours, is refused instead of all."""
    try:
        return assemble(admitted.decoded, admitted.keys, admitted.metrics), []
    except Exception:
        log.exception("a message breaks its batch; looking for it")
    good: list[Decoded] = []
    broken: list[Refusal] = []
    for d in admitted.decoded:
        try:
            assemble([d], admitted.keys, admitted.metrics)
            good.append(d)
        except Exception as error:  # noqa: BLE001  logged above, kept whole in quarantine
            detail = f"{type(error).__name__}: {error}"
            broken.append(Refusal(d.message, d.topic.device_id, d.topic.run, "decoder_error", detail))
    return assemble(good, admitted.keys, admitted.metrics), broken


async def finish(batch: Coroutine[None, None, None]) -> None:
    """Run a batch to its end even when we are told to stop meanwhile, so that its commit is acknowledged."""
    work = asyncio.ensure_future(batch)
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        with suppress(TimeoutError):
            await asyncio.wait_for(work, FINISH_WITHIN_S)
        raise


def batches(arrivals: Sequence[Arrivals]) -> Iterator[list[Message]]:
    """Messages in the order received, in batches of at most BATCH_MESSAGES_MAX."""
    messages = [
        Message(
            packet.topic,
            packet.payload,
            block.received_us,
            clock_property(packet.user_properties),
            packet.duplicate,
            block.epoch,
            packet.packet_id,
        )
        for block in arrivals
        for packet in block.packets
    ]
    for start in range(0, len(messages), BATCH_MESSAGES_MAX):
        yield messages[start : start + BATCH_MESSAGES_MAX]


def clock_property(properties: Sequence[tuple[str, str]]) -> str | None:
    """The run's clock among the user properties, as sent."""
    for name, value in properties:
        if name == CLOCK_PROPERTY:
            return value
    return None
