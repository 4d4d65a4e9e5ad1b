"""Which device and metric has which key: the database's registry, held in memory.

Unknown devices are registered where that is allowed (always within a run, whose
devices are its own), else their messages are refused. Changes made by others
arrive through ``device_changed``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from db.devices import CHANNEL, load_devices, register_devices
from db.listen import wakeups
from db.pool import Pool, unavailable
from db.runs import touch_runs
from domain.calibrated import Calibrations
from domain.clock import from_us
from domain.devices import Device
from domain.errors import DatabaseUnavailable
from domain.readings import Block, Int32
from ingest.batching import Keys
from ingest.codec import Values
from ingest.columns import ReadingColumns
from ingest.messages import Checked, Decoded, Refusal, Rules, metric_names
from ingest.store import UPDATE_LAST_SEEN, load_metrics
from ingest.topics import TOPICS_CACHED, Topic

log = logging.getLogger(__name__)

HEARD_EVERY_S = 5.0
RELOAD_EVERY_S = 30.0

DEVICES_MAX = 500_000
METRICS_MAX = 10_000
"""Bounds on what senders can make us remember; beyond them messages go to quarantine."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Messages with known devices and metrics, the others, and the keys as they were then.

    ``device (messages,)``: the key of each one's device. The registry may be read anew at
    any time; a batch goes through with one view of it.
    """

    decoded: Sequence[Decoded]
    refused: Sequence[Refusal]
    readings: ReadingColumns
    device: Int32
    keys: Keys
    metrics: Mapping[str, int]


class Registry:
    """Devices by (id, run) and by key, metrics by name and by key."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.version = 0
        self.keys: dict[tuple[str, str | None], int] = {}
        self._key_of: dict[Topic, int] = {}  # of topics met lately: one look-up a message
        self.metrics: dict[str, int] = {}
        self._by_key: dict[int, Device] = {}
        self._disabled: frozenset[int] = frozenset()
        self._metric_names: list[str] = []
        self._calibrations: Calibrations | None = None  # made anew when devices or metrics are others
        self._loading = asyncio.Lock()
        self._heard: dict[int, int] = {}
        self._runs_heard: set[str] = set()
        self._save = asyncio.Event()
        self._runs_known: set[str] = set()

    async def load(self) -> None:
        """Read everything anew. Raises: DatabaseUnavailable.

        One load at a time: an older view of the table must not replace a newer one.
        """
        async with self._loading:
            with unavailable("reading the device registry"):
                async with self._pool.connection() as conn:
                    devices = await load_devices(conn)
                    metrics = await load_metrics(conn)
            if devices != list(self._by_key.values()):
                self.version += 1  # a device is new, gone, or another than it was
                self._calibrations = None
            self._by_key = {device.key: device for device in devices}
            self._disabled = frozenset(device.key for device in devices if device.disabled)
            self.keys = {(device.id, device.run): device.key for device in devices}
            self._key_of = {}
            self._keep_metrics(metrics)

    def device(self, key: int) -> Device | None:
        """The device with this key."""
        return self._by_key.get(key)

    def devices(self) -> Sequence[Device]:
        """All devices."""
        return list(self._by_key.values())

    def metric_names(self) -> Sequence[str]:
        """Metric names; the index is the metric's key, gaps are empty."""
        return self._metric_names

    def calibrated(self, raw: Block) -> Block:
        """What was received, as the devices' calibrations say."""
        if self._calibrations is None:
            self._calibrations = Calibrations(self._by_key.values(), self.metrics)
        return self._calibrations.block(raw)

    def heard(self, keys: Int32, runs: Set[str], at_us: int) -> None:
        """Remember that these devices and runs sent something; ``keep_heard`` writes it down."""
        self._heard.update(dict.fromkeys(keys.tolist(), at_us))
        self._runs_heard |= runs
        if not runs <= self._runs_known:
            self._runs_known |= runs
            self._save.set()

    async def keep_heard(self) -> None:
        """Keep ``device.last_seen`` and ``run.newest_at`` fresh, every few seconds for all at once."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARD_EVERY_S):  # wait_for of Python 3.11 can swallow a cancellation
                    await self._save.wait()
            self._save.clear()
            heard, self._heard = self._heard, {}
            runs, self._runs_heard = self._runs_heard, set()
            try:
                await self._save_heard(heard, runs)
            except DatabaseUnavailable as error:
                log.info("last_seen is noted later: %s", error)
                self._heard = heard | self._heard
                self._runs_heard |= runs

    async def _save_heard(self, heard: dict[int, int], runs: Set[str]) -> None:
        with unavailable("noting when devices were last heard"):
            async with self._pool.connection() as conn:
                if runs:
                    await touch_runs(conn, sorted(runs))
                if heard:
                    keys = sorted(heard)
                    await conn.execute(UPDATE_LAST_SEEN, [keys, [from_us(heard[key]) for key in keys]])

    async def follow(self, url: str) -> None:
        """Read the registry anew whenever someone changed it."""
        async for _ in wakeups(url, CHANNEL, poll_s=RELOAD_EVERY_S, name="gridpulse-registry"):
            try:
                await self.load()
            except DatabaseUnavailable as error:
                log.info("the registry is read again later: %s", error)

    async def admit(self, checked: Checked, rules: Rules) -> Admitted:
        """Give every message's device and metrics a key, or refuse the message.

        Raises: DatabaseUnavailable.
        """
        names = metric_names(checked.decoded) | set(checked.readings.metric)
        device = self._known_keys(checked.decoded)
        if not device.all() or not names <= self.metrics.keys():
            await self._make_known(checked.decoded, names, rules)
            device = self._known_keys(checked.decoded)
        nameless = names - self.metrics.keys()
        welcome = device > 0
        if self._disabled:
            welcome &= ~np.isin(device, list(self._disabled))
        if welcome.all() and not nameless:
            return Admitted(checked.decoded, [], checked.readings, device, self.keys, self.metrics)
        return self._parted(checked, device, nameless)

    def _parted(self, checked: Checked, device: Int32, nameless: Set[str]) -> Admitted:
        """The welcome and the others, each of these with its reason."""
        keys, metrics, columns = self.keys, self.metrics, checked.readings
        unnamed = {m for m, name in zip(columns.message.tolist(), columns.metric, strict=True) if name in nameless}
        admitted: list[Decoded] = []
        refused: list[Refusal] = []
        keep = np.ones(len(device), dtype=np.bool_)
        for row, d in enumerate(checked.decoded):
            reason = objection(d, int(device[row]), self._disabled, row in unnamed or names_one_of(d, nameless))
            if reason is None:
                admitted.append(d)
            else:
                keep[row] = False
                refused.append(Refusal(d.message, d.topic.device_id, d.topic.run, *reason))
        return Admitted(admitted, refused, columns.kept(keep), device[keep], keys, metrics)

    def _known_keys(self, decoded: Sequence[Decoded]) -> Int32:
        """The key of each message's device, ``(messages,)``; 0 = not registered."""
        known = self._key_of
        found = [known.get(d.topic) for d in decoded]
        if None in found:
            if len(known) > TOPICS_CACHED:
                known.clear()
            for row, key in enumerate(found):
                if key is None:
                    topic = decoded[row].topic
                    found[row] = key = self.keys.get((topic.device_id, topic.run), 0)
                    if key:
                        known[topic] = key
        return np.array(found, dtype=np.int32)

    async def _make_known(self, decoded: Sequence[Decoded], names: Set[str], rules: Rules) -> None:
        wanted = {
            (d.topic.device_id, d.topic.run): d.topic.device_kind
            for d in decoded
            if (d.topic.device_id, d.topic.run) not in self.keys
            and (rules.auto_register or d.topic.run is not None)
        }
        room = max(0, DEVICES_MAX - len(self.keys))
        if wanted and room:
            with unavailable("registering new devices"):
                async with self._pool.connection() as conn:
                    await register_devices(
                        conn, [(id_, run, kind) for (id_, run), kind in list(wanted.items())[:room]]
                    )
            await self.load()
        unnamed = names - self.metrics.keys()
        if unnamed and len(self.metrics) < METRICS_MAX:
            with unavailable("adding metrics"):
                async with self._loading, self._pool.connection() as conn:
                    self._keep_metrics(await load_metrics(conn, sorted(unnamed)))

    def _keep_metrics(self, metrics: dict[str, int]) -> None:
        if metrics != self.metrics:
            self._calibrations = None
        self.metrics = metrics
        names = [""] * (max(metrics.values(), default=-1) + 1)
        for name, key in metrics.items():
            names[key] = name
        self._metric_names = names


def objection(decoded: Decoded, key: int, disabled: Set[int], nameless: bool) -> tuple[str, str] | None:
    """Why a message with good contents is refused all the same: reason and what to do; None = it is not."""
    device_id = decoded.topic.device_id
    if not key:
        how = f"`gridpulse device add {device_id}`, or set GRIDPULSE_AUTO_REGISTER"
        return "unknown_device", f"{device_id} is not registered: {how}"
    if key in disabled:
        return "disabled_device", f"{device_id} is disabled: `gridpulse device list`"
    if nameless:
        return "too_many_metrics", f"there are {METRICS_MAX} metrics already"
    return None


def names_one_of(decoded: Decoded, names: Set[str]) -> bool:
    """Whether readings that are not columns name one of these metrics."""
    return type(decoded.content) is Values and not names.isdisjoint(decoded.content.metric)
