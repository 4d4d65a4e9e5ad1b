"""What detectors remember outlives the process: a checkpoint now and then, and the way back from it.

A checkpoint is every detector's memory and how far each series was fed, of one moment
between two blocks whose alerts are written. After a restart the memory is taken up,
the stored rows behind it are fed again, and what they make known goes through the
lifecycle like everything else: an alert that exists is not raised twice, one that
a crash swallowed is raised now. Then delays, baselines and seasons are what they
would have been. A memory of a rule that has changed meanwhile is used where
``memory_fits``; else it is dropped, counted and named, and the active episodes are
taken up from their alerts.

Known limit: a metric that a known device sent for the first time between the checkpoint
and the crash is fed from the next value on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from alerting.checkpoint_store import Row, Saved, read_all, replace_all
from alerting.checkpoints import Memory, memory_of, parts_of
from alerting.detectors.base import Rule
from alerting.detectors.fed import CAMERA_EVENTS, PACKETS, POSITIONS, STATUSES, Fed
from alerting.metrics import CHECKPOINT_BYTES, CHECKPOINT_SECONDS, FED_AGAIN, MEMORY_DROPPED
from alerting.rules import memory_fits, parse_rule
from alerting.service import AlertService
from alerting.stored import (
    Behind,
    events_behind,
    merged,
    packets_behind,
    positions_behind,
    readings_behind,
    rows_of,
    statuses_behind,
)
from db.pool import Connection, Pool, unavailable
from domain.clock import from_us, to_us
from domain.devices import Device
from domain.errors import DatabaseUnavailable, SettingsError
from domain.readings import Block, Int32, Int64

log = logging.getLogger(__name__)

EVERY_S = 30.0
SHARE_MAX = 0.05
"""A checkpoint that takes long is made seldom: at most this share of the time."""
CATCH_UP_S = 30.0
ROWS_MAX = 10_000_000
EACH_MAX = 50_000
PACKETS_EACH_MAX = 1_000
"""Rows of one series that are fed again; a checkpoint is seldom more than a minute old."""
OTHERS = (PACKETS, POSITIONS, CAMERA_EVENTS, STATUSES)
NEW_SERIES_MAX = 100_000
NEW_SINCE = timedelta(seconds=10)
"""``device.last_seen`` is written every few seconds."""
NEW_BACK = timedelta(days=2)

SELECT_HEARD = """
SELECT key, run IS NOT NULL FROM device
WHERE NOT disabled AND (last_seen IS NULL OR last_seen >= %s) ORDER BY key"""


class Recovery:
    """Checkpoints of one alert service."""

    def __init__(
        self,
        pool: Pool,
        alerts: AlertService,
        device: Callable[[int], Device | None],
        metric_names: Callable[[], Sequence[str]],
        now_us: Callable[[], int],
        calibrated: Callable[[Block], Block] = lambda block: block,
    ) -> None:
        self._pool = pool
        self._alerts = alerts
        self._device = device
        self._metric_names = metric_names
        self._now_us = now_us
        self._calibrated = calibrated

    # ------------------------------------------------------------ there

    async def keep(self, every_s: float = EVERY_S) -> None:
        """Make a checkpoint at once and then regularly; runs until cancelled."""
        while True:
            began = time.monotonic()
            try:
                await self.save()
            except DatabaseUnavailable as error:
                log.info("the checkpoint waits for the next round: %s", error)
            took = time.monotonic() - began
            CHECKPOINT_SECONDS.set(took)
            await asyncio.sleep(max(every_s, took / SHARE_MAX))

    async def save(self) -> bool:
        """Make one; False when alerts wait to be written. Raises: DatabaseUnavailable."""
        saved_us = self._now_us()
        taken = await self._alerts.memory()
        if taken is None:
            return False
        with unavailable("writing a checkpoint"):
            async with self._pool.connection() as conn:
                CHECKPOINT_BYTES.set(await replace_all(conn, _rows(*taken, saved_us)))
        return True

    # ------------------------------------------------------------ and back

    async def recover(self, rules: Sequence[Rule]) -> None:
        """Start the alert service from the newest checkpoint. Call it once, before anything is fed.

        Raises: DatabaseUnavailable, and nothing was done; call it again then.
        """
        with unavailable("reading the checkpoint"):
            async with self._pool.connection() as conn:
                found = {saved.rule: saved for saved in await read_all(conn)}
        memories = {rule.id: m for rule in rules if (m := _memory(found.get(rule.id), rule)) is not None}
        fed = _fed(found.get(""))
        remembered = await self._alerts.start(memories if fed is not None else {}, fed)
        if fed is None:
            return
        for rule_id in memories.keys() - set(remembered):
            _dropped(rule_id, "shape", "it is of another kind of detector")
        rows = await self._feed_behind(fed, to_us(found[""].saved_at))
        FED_AGAIN.inc(rows)
        log.info("detectors go on from the checkpoint of %s: %d of %d rules remember, %d rows fed again",
                 found[""].saved_at.isoformat(timespec="seconds"), len(remembered), len(rules), rows)  # fmt: skip

    async def _feed_behind(self, fed: Memory, saved_us: int) -> int:
        """Feed what was stored after the checkpoint; whatever hinders that, detection goes on."""
        began, rows = time.monotonic(), 0
        try:
            with unavailable("reading what came after the checkpoint"):
                async with self._pool.connection() as conn:
                    async for block in self._behind(conn, fed, saved_us):
                        rows += rows_of(block)
                        await self._alerts.handle(block)
                        if time.monotonic() - began > CATCH_UP_S:
                            raise DatabaseUnavailable(f"it takes longer than {CATCH_UP_S:g} s")
        except DatabaseUnavailable as error:
            log.warning("after %d rows the rest behind the checkpoint is left out: %s", rows, error)
            self._alerts.resume_devices(None)
        return rows

    async def _behind(self, conn: Connection, saved: Memory, saved_us: int) -> AsyncIterator[Block]:
        fed = Fed()
        fed.load(saved)
        heard = await self._heard(conn, saved_us)

        def received_us(device: Int32, time_us: Int64) -> Int64:
            keys, of = np.unique(device, return_inverse=True)
            known = [self._device(key) for key in keys.tolist()]
            run = np.array([d is not None and d.run is not None for d in known], np.bool_)
            return np.where(run[of], time_us, np.maximum(time_us, saved_us))

        keys = [key for key, name in enumerate(self._metric_names()) if name]
        new = len(heard) * len(keys) <= NEW_SERIES_MAX
        series = {key: _series(fed, key, heard if new else {}) for key in keys}
        streams = {stream: _series(fed, stream, heard) for stream in OTHERS}
        blocks: list[Block] = []
        rows = 0
        for stored in (
            readings_behind(conn, series, received_us, EACH_MAX),
            packets_behind(conn, streams[PACKETS], received_us, PACKETS_EACH_MAX),
            positions_behind(conn, streams[POSITIONS], received_us, EACH_MAX),
            events_behind(conn, streams[CAMERA_EVENTS], received_us, EACH_MAX),
            statuses_behind(conn, streams[STATUSES], received_us, EACH_MAX),
        ):
            async for block in stored:
                blocks.append(self._whole(block))
                rows += rows_of(block)
                if rows > ROWS_MAX:
                    raise DatabaseUnavailable(f"there are more than {ROWS_MAX} of them")
        for block in merged(blocks, across_devices=True):
            yield self._calibrated(block)

    async def _heard(self, conn: Connection, saved_us: int) -> Mapping[int, int]:
        """Devices that may have sent something for the first time since then, and after when to look."""
        rows = await (await conn.execute(SELECT_HEARD, [from_us(saved_us) - NEW_SINCE])).fetchall()
        back_us = to_us(from_us(saved_us) - NEW_BACK)
        return {key: 0 if run else back_us for key, run in rows}

    def _whole(self, block: Block) -> Block:
        """The block; devices whose rows were cut off at their bound have their episodes taken up from alerts."""
        r = block.readings
        cut: set[int] = set()
        if len(r) >= EACH_MAX:
            series = Counter(zip(r.device.tolist(), r.metric.tolist(), strict=True))
            cut |= {device for (device, _), n in series.items() if n >= EACH_MAX}
        for w in block.waveforms:
            if len(w) >= PACKETS_EACH_MAX:
                cut |= {device for device, n in Counter(w.device.tolist()).items() if n >= PACKETS_EACH_MAX}
        if cut:
            log.warning("%d devices have more rows after the checkpoint than are fed again", len(cut))
            self._alerts.resume_devices(cut)
        return block


async def _rows(memories: Sequence[tuple[Rule, Memory]], fed: Memory, saved_us: int) -> AsyncIterator[Row]:
    """The checkpoint's rows; arrays become bytes in a thread, one part at a time."""
    everything = [("", 0, "", "{}", fed)] + [
        (rule.id, rule.version, rule.detector, rule.settings.model_dump_json(), memory) for rule, memory in memories
    ]
    for rule_id, version, detector, settings, memory in everything:
        parts, number = parts_of(memory), 0
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            yield rule_id, number, version, detector, settings, from_us(saved_us), part
            number += 1


def _memory(saved: Saved | None, rule: Rule) -> Memory | None:
    if saved is None or not rule.enabled:
        return None
    try:
        if saved.version != rule.version and not memory_fits(_rule_of(saved, rule), rule):
            _dropped(rule.id, "rule_changed", f"it was learnt under version {saved.version}")
            return None
        return memory_of(saved.parts)
    except (SettingsError, ValueError) as error:
        _dropped(rule.id, "unreadable", str(error))
        return None


def _rule_of(saved: Saved, rule: Rule) -> Rule:
    return parse_rule({"id": rule.id, "detector": saved.detector, "kind": rule.kind, "settings": saved.settings})


def _fed(saved: Saved | None) -> dict[str, Any] | None:
    try:
        return None if saved is None else memory_of(saved.parts)
    except ValueError as error:
        _dropped("", "unreadable", str(error))
        return None


def _dropped(rule_id: str, reason: str, because: str) -> None:
    MEMORY_DROPPED.labels(reason).inc()
    log.warning("what rule %s remembered is dropped: %s", rule_id or "(all)", because)


def _series(fed: Fed, series: int, heard: Mapping[int, int]) -> Behind:
    device, newest = fed.newest(series)
    new = np.array(sorted(heard.keys() - set(device.tolist())), np.int32)
    after = np.array([heard[key] for key in new.tolist()], np.int64)
    return Behind(np.concatenate([device, new]), np.concatenate([newest, after]))
