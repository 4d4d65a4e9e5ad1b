"""A rule tried on stored data: which alerts it would have raised, against the rules in force.

Both are run by fresh detectors over the same rows, so that the difference is the rule's.
Devices are read in groups, each through the whole window in event-time order: memory
is bounded by one slice, whatever the window. It has a connection of its own that
can only read, works in a thread, rests between slices, and ends at ``Limits``; what
was not read is said. Detectors begin without a memory, so what they must learn first
(a season) is missing at the window's beginning.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from alerting.detectors.bank import DetectorBank
from alerting.detectors.base import Rule
from alerting.dispatch.windows import CITY_ZONE
from alerting.lifecycle import REOPEN_US
from alerting.stored import (
    events_within,
    merged,
    packets_within,
    positions_within,
    readings_within,
    rows_of,
    statuses_within,
    with_data,
)
from db.pool import Connection, connect, unavailable
from domain.alerts import Detection
from domain.calibrated import Calibrations
from domain.clock import from_us, iso
from domain.devices import Device
from domain.readings import Block

SLICE_MIN, SLICE_MAX = timedelta(minutes=1), timedelta(days=7)
REST = 0.5
"""Seconds of rest for each second of work, so that ingest has the machine."""
ITEMS_MAX = 500
DEVICES_SHOWN = 100

READ_ONLY = b"SET default_transaction_read_only = on; SET statement_timeout = '30s'"
COUNT_RECORDED = """
SELECT count(*) FROM alert WHERE rule = %s AND exercise IS NULL AND started_at >= %s AND started_at < %s"""


@dataclass(frozen=True, slots=True)
class _Pace:
    """How much is read at once: devices, the first slice of time, and rows at least and at most."""

    devices: int
    slice: timedelta
    rows: tuple[int, int]


VALUES = _Pace(50, timedelta(hours=6), (100_000, 800_000))
PACKETS = _Pace(4, timedelta(minutes=10), (2_000, 10_000))

Progress = Callable[[float, str], Awaitable[None]]
"""(share done in 0..1, what is being read)"""


async def unheard(share: float, what: str) -> None:
    """For who does not want to know."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a back-test ends; what was not read then is said."""

    seconds: float = 60.0
    rows: int = 50_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A proposed rule, the rules in force, and the stored data to try them on."""

    proposed: Rule
    in_force: Sequence[Rule]
    devices: Sequence[Device]
    metrics: Mapping[str, int]
    begin_us: int
    end_us: int

    def before(self) -> list[Rule]:
        """The rules of the slot as they are."""
        mine = next((r.slot for r in self.in_force if r.id == self.proposed.id), self.proposed.slot)
        return [r for r in self.in_force if r.slot in (mine, self.proposed.slot)]

    def after(self) -> list[Rule]:
        """The same with the proposed rule in its place."""
        return [*(r for r in self.before() if r.id != self.proposed.id), self.proposed]

    def concerned(self) -> list[Device]:
        """Devices the rule means, as proposed or as it is; real ones, by id."""
        mine = [self.proposed, *(r for r in self.in_force if r.id == self.proposed.id)]
        found = [
            d
            for d in self.devices
            if d.run is None and any(r.applies_to.specificity(d) is not None for r in mine)
        ]
        return sorted(found, key=lambda d: d.id)


@dataclass(slots=True)
class WouldBe:
    """An alert that would have been: later episodes within the lifecycle's time fold into it."""

    rule: str
    device: int
    started_us: int
    severity: int
    value: float
    limit: float
    unit: str
    cleared_us: int | None = None
    count: int = 1


@dataclass(slots=True)
class Tally:
    """The alerts of one set of rules, and of the newest of each rule and device."""

    alerts: list[WouldBe] = field(default_factory=list)
    newest: dict[tuple[str, int], WouldBe] = field(default_factory=dict)

    def take(self, found: Sequence[Detection]) -> None:
        """Count what was noticed, as the lifecycle would when nobody closes an alert."""
        for d in found:
            last = self.newest.get((d.rule, d.device))
            if d.phase == "onset":
                if last is not None and last.cleared_us is not None and d.at_us - last.cleared_us <= REOPEN_US:
                    last.count, last.cleared_us = last.count + 1, None
                    last.severity = min(last.severity, d.severity)
                    continue
                last = WouldBe(d.rule, d.device, d.at_us, d.severity, d.value, d.limit, d.unit)
                self.newest[d.rule, d.device] = last
                self.alerts.append(last)
            elif last is not None:
                last.severity, last.value, last.limit = min(last.severity, d.severity), d.value, d.limit
                if d.phase == "clear":
                    last.cleared_us = d.at_us

    def json(self, ids: Mapping[int, str]) -> dict[str, Any]:
        """Counts in all ways people ask for, and the first alerts one by one."""
        alerts = sorted(self.alerts, key=lambda a: (a.started_us, a.device))
        days = Counter(from_us(a.started_us).astimezone(CITY_ZONE).date().isoformat() for a in alerts)
        devices = Counter(ids[a.device] for a in alerts)
        return {
            "alerts": len(alerts), "episodes": sum(a.count for a in alerts),
            "by_severity": {str(s): n for s, n in sorted(Counter(a.severity for a in alerts).items())},
            "by_day": [{"day": day, "alerts": n} for day, n in sorted(days.items())],
            "by_device": [{"device": device, "alerts": n} for device, n in devices.most_common(DEVICES_SHOWN)],
            "items": [
                {
                    "rule": a.rule, "device": ids[a.device], "started_at": iso(a.started_us),
                    "cleared_at": None if a.cleared_us is None else iso(a.cleared_us),
                    "severity": a.severity, "value": a.value, "limit": a.limit, "unit": a.unit, "count": a.count,
                }
                for a in alerts[:ITEMS_MAX]
            ],
        }  # fmt: skip


@dataclass(slots=True)
class _Run:
    """A back-test under way."""

    asked: Asked
    limits: Limits
    began: float
    conn: Connection
    calibrations: Calibrations
    would: Tally = field(default_factory=Tally)
    did: Tally = field(default_factory=Tally)
    rows: Counter[str] = field(default_factory=Counter)
    read: int = 0
    because: str | None = None

    def over(self) -> bool:
        """Whether a limit is reached; remembers which."""
        if time.monotonic() - self.began > self.limits.seconds:
            self.because = f"the time of {self.limits.seconds:g} s was over"
        elif self.rows.total() > self.limits.rows:
            self.because = f"{self.limits.rows} rows were read"
        return self.because is not None


async def backtest(url: str, asked: Asked, limits: Limits, progress: Progress) -> dict[str, Any]:
    """Try the proposed rule; see the module. Raises: DatabaseUnavailable."""
    began = time.monotonic()
    with unavailable("reading stored data"):
        async with await connect(url, name="gridpulse-backtest") as conn:
            await conn.execute(READ_ONLY)
            run = _Run(asked, limits, began, conn, Calibrations(asked.devices, asked.metrics))
            devices = await _with_data(run, asked.concerned())
            pace = PACKETS if "waveforms" in asked.proposed.settings.READS else VALUES
            for at in range(0, len(devices), pace.devices):
                group = devices[at : at + pace.devices]
                if not await _group(run, group, at / len(devices), len(group) / len(devices), pace, progress):
                    break
                run.read += len(group)
            times = [from_us(asked.begin_us), from_us(asked.end_us)]
            recorded = await (await conn.execute(COUNT_RECORDED, [asked.proposed.id, *times])).fetchone()
    ids = {device.key: device.id for device in asked.devices}
    await progress(1.0, "done")
    return {
        "rule": asked.proposed.id, "window": [iso(asked.begin_us), iso(asked.end_us)],
        "would": run.would.json(ids), "does": run.did.json(ids), "difference": _difference(run.would, run.did),
        "recorded": recorded[0] if recorded else 0,
        "read": {**{stream: run.rows[stream] for stream in sorted(run.rows)},
                 "devices": run.read, "of_devices": len(devices)},
        "complete": run.because is None, "incomplete_because": run.because,
        "took_s": round(time.monotonic() - began, 2),
    }  # fmt: skip


async def _with_data(run: _Run, devices: Sequence[Device]) -> list[Device]:
    """Those that sent anything the rule looks at."""
    asked, keys = run.asked, [device.key for device in devices]
    window = from_us(asked.begin_us), from_us(asked.end_us)
    found: set[int] = set()
    for stream in sorted(asked.proposed.settings.READS):
        found |= await with_data(run.conn, stream, keys, _metrics(asked), *window)
    return [device for device in devices if device.key in found]


async def _group(
    run: _Run, group: Sequence[Device], done: float, share: float, pace: _Pace, progress: Progress
) -> bool:
    """Some devices through the whole window; False, and they do not count, when a limit came first."""
    asked, by_key = run.asked, {device.key: device for device in run.asked.devices}
    names = _names(asked.metrics)
    would, did = (DetectorBank(rules, by_key.get, lambda: names) for rules in (asked.after(), asked.before()))
    tallies = Tally(), Tally()
    keys = [device.key for device in group]
    at_us, span = asked.begin_us, pace.slice
    while at_us < asked.end_us:
        begun, rows = time.monotonic(), 0
        until = min(asked.end_us, at_us + round(span / timedelta(microseconds=1)))
        async for block in _slice(run, keys, at_us, until):
            for tally, said in zip(tallies, await asyncio.to_thread(_both, would, did, block), strict=True):
                tally.take(said)
            rows += rows_of(block)
        if run.over():
            return False
        at_us = until
        past = (at_us - asked.begin_us) / (asked.end_us - asked.begin_us)
        await progress(done + share * past, f"{group[0].id} … {group[-1].id}, up to {iso(at_us)}")
        if rows < pace.rows[0]:
            span = min(span * 2, SLICE_MAX)
        elif rows > pace.rows[1]:
            span = max(span / 2, SLICE_MIN)
        await asyncio.sleep(REST * (time.monotonic() - begun))
    for mine, theirs in zip((run.would, run.did), tallies, strict=True):
        mine.alerts += theirs.alerts
    return True


def _both(one: DetectorBank, other: DetectorBank, block: Block) -> tuple[list[Detection], list[Detection]]:
    return one.feed(block), other.feed(block)


async def _slice(run: _Run, keys: Sequence[int], begin_us: int, end_us: int) -> AsyncIterator[Block]:
    """What the rule's detector looks at, of some devices, in event-time order per device."""
    reads = run.asked.proposed.settings.READS
    begin, end = from_us(begin_us), from_us(end_us)
    streams: dict[str, Callable[[], AsyncIterator[Block]]] = {
        "readings": lambda: readings_within(run.conn, keys, _metrics(run.asked), begin, end),
        "waveforms": lambda: packets_within(run.conn, keys, begin, end),
        "positions": lambda: positions_within(run.conn, keys, begin, end),
        "camera_events": lambda: events_within(run.conn, keys, begin, end),
        "statuses": lambda: statuses_within(run.conn, keys, begin, end),
    }
    blocks: list[Block] = []
    for stream, stored in streams.items():
        if stream in reads:
            found = [block async for block in stored()]
            run.rows[stream] += sum(map(rows_of, found))
            blocks += found
    for block in merged(blocks):
        yield run.calibrations.block(block)


def _metrics(asked: Asked) -> list[int]:
    """Keys of the metrics that any of the rules looks at; one that names none may look at all."""
    named = [rule.settings.metrics() for rule in (*asked.after(), *asked.before())]
    wanted = {metric for names in named for metric in names}
    return [key for name, key in asked.metrics.items() if name in wanted or not all(named)]


def _names(metrics: Mapping[str, int]) -> list[str]:
    names = [""] * (max(metrics.values(), default=-1) + 1)
    for name, key in metrics.items():
        names[key] = name
    return names


def _difference(would: Tally, did: Tally) -> dict[str, int]:
    """Alerts of a device that overlap in time are the same one; the rest is new, or gone."""
    theirs: dict[int, list[WouldBe]] = {}
    for alert in did.alerts:
        theirs.setdefault(alert.device, []).append(alert)
    met: set[int] = set()
    same = worse = milder = 0
    for alert in would.alerts:
        other = next((o for o in theirs.get(alert.device, ()) if id(o) not in met and _overlap(alert, o)), None)
        if other is not None:
            met.add(id(other))
            same += 1
            worse += alert.severity < other.severity
            milder += alert.severity > other.severity
    return {
        "same": same, "new": len(would.alerts) - same, "gone": len(did.alerts) - same,
        "worse": worse, "milder": milder,
    }  # fmt: skip


def _overlap(one: WouldBe, other: WouldBe) -> bool:
    never = 1 << 62
    return max(one.started_us, other.started_us) <= min(one.cleared_us or never, other.cleared_us or never)


