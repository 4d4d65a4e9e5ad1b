"""Blocks in, alerts written: detectors, lifecycle, place and duty joined.

``handle`` is called for each committed block before the broker is told, so it may
see a block twice; detectors skip rows they have seen and the database holds one
alert per episode, so a second time changes nothing. When the database does not
answer, ``handle`` raises DatabaseUnavailable, the lifecycle in memory stays as it
was, and the detections wait here: call ``handle`` again with the same block
until it works, and they are written first. They are bounded by one block, because
the caller waits.

The alerts in memory (the newest of each rule and device that is open or active)
are a cache: other processes act on alerts too. Every write checks versions; on a
mismatch the alerts are read again and the batch is decided again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

from alerting import lifecycle
from alerting.detectors.bank import DetectorBank, Memory
from alerting.detectors.base import Rule
from alerting.dispatch.duties import Asked, Routing
from alerting.dispatch.matters import kind_of, matter_of
from alerting.dispatch.rota import OnDuty, Rota
from alerting.dispatch.table import DutyTable
from alerting.dispatch.windows import CITY_ZONE
from alerting.incidents.desk import IncidentDesk, IncidentWrite, with_decision
from alerting.lifecycle import Change, Ignored, Raise
from alerting.metrics import (
    ALERTS_RAISED,
    DETECTIONS,
    DETECTIONS_IGNORED,
    RULES_RETIRED,
    SERIES_NOT_NOTED,
    WRITE_CONFLICTS,
    stage_seconds,
)
from alerting.neighbours import explained, with_neighbours
from alerting.ports import AlertStore, Pair, Stale, Write
from alerting.replacing import own_point, replaced
from alerting.retiring import retirements
from alerting.ulid import ulid
from domain.alerts import Alert, Detection
from domain.devices import Device
from domain.errors import DatabaseUnavailable, NotFound, VersionConflict
from domain.people import Actor
from domain.places import Duty, Place, Whereabouts
from domain.readings import Block

log = logging.getLogger(__name__)

DETECTOR = "detector"
SYSTEM = "system"
ATTEMPTS = 5
RELOAD_US = 30_000_000
MOVES_AT_ONCE = 500

PlaceAll = Callable[[Sequence[Whereabouts]], list[Place]]


@dataclass(frozen=True, slots=True)
class _Noticed:
    """A detection on its way to being written."""

    detection: Detection
    committed_us: int
    detected_us: int


@dataclass(slots=True)
class _Plan:
    """What a batch of detections comes to."""

    writes: list[Write] = field(default_factory=list)
    after: dict[Pair, Alert] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    begun: list[tuple[Detection, Alert]] = field(default_factory=list)
    worse: list[tuple[Detection, Alert]] = field(default_factory=list)
    incidents: list[IncidentWrite] = field(default_factory=list)


class AlertService:
    """Alerting of one process; see the module for how it fails and recovers."""

    def __init__(
        self,
        store: AlertStore,
        rules: Sequence[Rule],
        device: Callable[[int], Device | None],
        metric_names: Callable[[], Sequence[str]],
        place: PlaceAll,
        now_us: Callable[[], int],
        observe_stage: Callable[[str, float], None] | None = None,
        zone: ZoneInfo = CITY_ZONE,
        division_changed_since: Callable[[int], bool] = lambda at_us: False,
    ) -> None:
        self._store = store
        self._device = device
        self._place = place
        self._division_changed_since = division_changed_since
        self._now_us = now_us
        self._observe_stage = observe_stage
        self._bank = DetectorBank(rules, device, metric_names)
        self._ended: Mapping[str, str] = {}
        self._desk = IncidentDesk(device, lambda: ulid(now_us()))
        self._newest: dict[Pair, Alert] = {}
        self._pending: list[_Noticed] = []
        self._zone = zone
        self._duties = DutyTable([])
        self._rota = Rota()
        self._duty_stamp = ""
        self._reloaded_us = 0
        self._writing = asyncio.Lock()

    async def start(
        self, memories: Mapping[str, Memory] | None = None, fed: Memory | None = None
    ) -> Collection[str]:
        """Load duties and open alerts, and give detectors their memory back, else their active episodes.

        ``memories``: of a checkpoint, by rule; ``fed``: how far its series were fed. Returns the
        rules whose memory was taken. Feed the rows behind it to ``handle`` before any new ones.
        """
        await self.load_duties()
        for alert in await self._store.load_open():
            self._newest[alert.rule, alert.device] = alert
        self._desk.resume(await self._store.load_incidents(), self._newest.values())
        remembered = {rule for rule, memory in (memories or {}).items() if self._bank.load(rule, memory)}
        if fed is not None:
            self._bank.fed.load(fed)
        self._resume(alert for alert in self._newest.values() if alert.rule not in remembered)
        return remembered

    def resume_devices(self, devices: Collection[int] | None) -> None:
        """Not all rows of these devices (None = of any) are fed again: episodes are taken up from their alerts."""
        self._resume(alert for alert in self._newest.values() if devices is None or alert.device in devices)

    def _resume(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            if alert.condition == "active":
                self._bank.restore(alert, lifecycle.newest_us(alert), lifecycle.episode_us(alert))

    async def set_rules(self, rules: Sequence[Rule], ended: Mapping[str, str]) -> None:
        """Judge by other rules from the next block on; what a changed rule may keep, it keeps.

        ``ended``: rules that are switched off or gone, and why. Raises DatabaseUnavailable when their
        alerts cannot be told now; ``retire`` does it later.
        """
        async with self._writing:
            anew = set(self._bank.update(rules))
            self._ended = dict(ended)
            self._resume(alert for alert in self._newest.values() if alert.rule in anew)
            self._pending = [n for n in self._pending if n.detection.rule not in self._ended]
        await self.retire()

    def forget_devices(self) -> None:
        """The registry has changed: devices may be another rule's now."""
        self._bank.forget_devices()

    async def retire(self) -> int:
        """End the condition of active alerts whose rule judges their device no longer, each with the reason."""
        async with self._writing:
            now = self._now_us()
            changes = retirements(self._newest.values(), self._bank, self._ended, now)[:MOVES_AT_ONCE]
            written = await self._store.write([Write(change, SYSTEM, now) for change in changes]) if changes else []
            if isinstance(written, Stale):
                WRITE_CONFLICTS.inc()
                await self._read_again(written.pairs)
                return 0
            RULES_RETIRED.inc(len(changes))
            for change in changes:
                self._bank.forget(change.alert.rule, change.alert.device)
                self._learn(change.alert)
            return len(changes)

    async def memory(self) -> tuple[list[tuple[Rule, Memory]], Memory] | None:
        """What all detectors remember and how far they were fed, of one moment between two blocks.

        None while detections wait to be written: a memory that is ahead of its alerts would lose them.
        """
        async with self._writing:
            SERIES_NOT_NOTED.set(self._bank.fed.full)
            return None if self._pending else (self._bank.snapshot(), self._bank.fed.snapshot())

    async def handle(self, block: Block) -> None:
        """Detect, decide and write what one committed block makes known.

        Raises DatabaseUnavailable; call again with the same block then.
        """
        async with self._writing:
            found = self._bank.feed(block)
            self._desk.watch(block)
            if found:
                now = self._now_us()
                for detection in found:
                    DETECTIONS.labels(detection.rule, detection.phase).inc()
                    self._pending.append(_Noticed(detection, block.committed_us, now))
            if self._pending or self._desk.waiting:
                await self._write_all_pending()

    async def take(self, detections: Sequence[Detection], committed_us: int) -> None:
        """Detections of who judges longer than a block, like trips. Twice is harmless; raises as ``handle``."""
        async with self._writing:
            now = self._now_us()
            for detection in detections:
                DETECTIONS.labels(detection.rule, detection.phase).inc()
                self._pending.append(_Noticed(detection, committed_us, now))
            if self._pending:
                await self._write_pending()

    async def act(self, action: str, alert_id: str, body: dict[str, Any], actor: Actor) -> dict[str, Any]:
        """A person's action; returns the alert's JSON afterwards.

        Raises NotFound (no such alert, or outside the actor's area), NotAllowed,
        VersionConflict, TransitionRefused, PayloadError, DatabaseUnavailable.
        """
        version = lifecycle.version_of(body)
        now = self._now_us()

        def decide(alert: Alert, current: dict[str, Any]) -> Change:
            if not actor.sees(alert.place.grid, alert.place.village, alert.place.town):
                raise NotFound(f"no alert {alert_id} within the area of {actor.name}")
            if alert.version != version:
                raise VersionConflict(
                    f"the alert is at version {alert.version}, you have read {version}: look again, then decide",
                    current,
                )
            return lifecycle.on_action(alert, action, body, actor.role, actor.name, now)

        alert, current = await self._store.act(alert_id, decide, actor.name, now)
        self._learn(alert)
        return current

    async def replace_places(self, because: str) -> int:
        """Place open alerts anew after the division changed, each with a record; returns how many moved.

        Call it once ``place`` answers by the new division. Raises DatabaseUnavailable;
        call again then, what has moved already stays as it is.
        """
        moved, conflicts = 0, 0
        found: dict[str, Place] = {}
        while True:
            # Under the lock no alert is on its way that was placed by the old division.
            async with self._writing:
                writes = self._moves(await self._store.load_open(), found, because)
                written = await self._store.write(writes) if writes else []
                if not isinstance(written, Stale):
                    for write in writes:
                        self._learn(write.change.alert)
            if isinstance(written, Stale):
                conflicts += 1
                WRITE_CONFLICTS.inc()
                if conflicts == ATTEMPTS:
                    raise DatabaseUnavailable(f"alerts changed under {ATTEMPTS} attempts to place them anew")
            else:
                moved += len(writes)
                if len(writes) < MOVES_AT_ONCE:
                    return moved

    async def tick(self, now_us: int) -> None:
        """End shelvings whose time has come and read duties anew now and then; call each second or so."""
        async with self._writing:
            if self._desk.waiting:
                await self._write_all_pending()
        for alert_id in await self._store.due_shelves(now_us):

            def decide(alert: Alert, _: dict[str, Any]) -> Change | None:
                decision = lifecycle.on_expiry(alert, now_us)
                return decision if isinstance(decision, Change) else None

            try:
                alert, _ = await self._store.act(alert_id, decide, SYSTEM, now_us)
            except NotFound:
                continue  # purged between the two statements
            self._learn(alert)
        if now_us - self._reloaded_us >= RELOAD_US:
            await self.load_duties()
            self._reloaded_us = now_us

    def route(
        self,
        kind: str,
        severity: int,
        place: Place,
        *,
        matter: str | None = None,
        at_us: int | None = None,
        lon: float | None = None,
        lat: float | None = None,
        device: str = "",
        device_kind: str = "",
    ) -> Routing:
        """Who would be told (now, unless ``at_us``), and why.

        ``kind`` may be a matter's code (``standard:code``), or empty when ``matter`` is
        given; ``lon``, ``lat`` (WGS-84) find works with a permit nearby, ``device`` its maintainer.
        """
        if ":" in kind:
            kind, matter = "", matter or kind
        known = kind or kind_of(matter or "") or ""
        at_us = self._now_us() if at_us is None else at_us
        asked = Asked(
            known, severity, place, at_us, matter or matter_of(known) or "", device, device_kind, lon, lat
        )
        own = self._duties.explain(asked)
        return explained(own, place, lambda beside: self._duties.explain(replace(asked, place=beside)))

    def on_duty(self, unit: str, at_us: int) -> OnDuty:
        """Who of a unit is on duty at a time, and who takes over."""
        return self._rota.on_duty(unit, at_us)

    def _moves(self, alerts: Sequence[Alert], found: dict[str, Place], because: str) -> list[Write]:
        """The next alerts that lie elsewhere now, at most ``MOVES_AT_ONCE``; ``found`` keeps places asked for."""
        unasked = [alert for alert in alerts if alert.id not in found and alert.state != "closed"]
        asked = [self._stands(alert) for alert in unasked]
        places = self._place(asked) if asked else []
        found.update(zip((alert.id for alert in unasked), places, strict=True))
        at_us = self._now_us()
        writes: list[Write] = []
        for alert in alerts:
            change = replaced(alert, found[alert.id], at_us, because) if alert.id in found else None
            if change is not None and len(writes) < MOVES_AT_ONCE:
                told = replace(change.alert, duty=self._duty(change.alert, at_us))
                writes.append(Write(replace(change, alert=told), SYSTEM, at_us))
        return writes

    # ------------------------------------------------------------ detections to changes

    async def _write_all_pending(self) -> None:
        """Write what is pending; one that can never be written must not hold up the others."""
        try:
            await self._write_pending()
        except DatabaseUnavailable:
            raise
        except Exception:
            log.exception("%d detections cannot be written together; trying one by one", len(self._pending))
            self._desk.give_up()
        rest, self._pending = self._pending, []
        for at, noticed in enumerate(rest):
            self._pending = [noticed]
            try:
                await self._write_pending()
            except DatabaseUnavailable:
                self._pending = rest[at:]
                raise
            except Exception:
                DETECTIONS_IGNORED.labels("write_error").inc()
                log.exception("a detection cannot be written and is given up: %s", noticed.detection)
        self._pending = []

    async def _write_pending(self) -> None:
        for _ in range(ATTEMPTS):
            plan = self._plan(self._pending)
            written = await self._store.write(plan.writes, plan.incidents) if plan.writes or plan.incidents else []
            if isinstance(written, Stale):
                WRITE_CONFLICTS.inc()
                await self._read_again(written.pairs)
                continue
            self._desk.settle(plan.incidents)
            self._pending.clear()
            self._keep(plan)
            return
        raise DatabaseUnavailable(
            f"alerts changed under {ATTEMPTS} attempts to write; the detections are kept and written next time"
        )

    def _plan(self, noticed: Sequence[_Noticed]) -> _Plan:
        plan = _Plan()
        onsets = [n.detection for n in noticed if n.detection.phase == "onset"]
        places = self._places(onsets)
        placed_us = self._now_us()
        for n in noticed:
            d = n.detection
            pair = (d.rule, d.device)
            before = plan.after.get(pair) or self._newest.get(pair)
            device = self._device(d.device)
            if d.phase == "onset" and device is not None and device.disabled:
                plan.ignored.append("device_disabled")
                continue
            d = self._desk.as_alone(d, before)
            decision = lifecycle.on_detection(before, d, placed_us)
            match decision:
                case Ignored(reason):
                    plan.ignored.append(reason)
                    continue
                case Raise(reason):
                    alert = self._alert(replace(n, detection=d), places[id(n.detection)], placed_us)
                    change = Change(alert, "raised", f"rule {d.rule}: {reason}")
                case Change():
                    change = self._told_anew(before, decision, placed_us)
            plan.writes.append(Write(change, DETECTOR, placed_us))
            if isinstance(decision, Raise) and (moved := self._moved_since(change.alert, d, placed_us)):
                change = moved
                plan.writes.append(Write(change, SYSTEM, placed_us))
            plan.after[pair] = change.alert
            if d.phase == "onset":
                plan.begun.append((d, change.alert))
            elif d.phase == "update":
                plan.worse.append((d, change.alert))
        self._associate(plan, placed_us)
        return plan

    def _associate(self, plan: _Plan, at_us: int) -> None:
        """Which incidents the plan's alerts make, and what that changes in them and in earlier ones."""
        rows: dict[str, list[int]] = {}
        for row, write in enumerate(plan.writes):
            rows.setdefault(write.change.alert.id, []).append(row)
        for key, decision in self._desk.weigh(plan.begun, plan.worse).items():
            before = plan.after.get(key[:2]) or self._newest.get(key[:2])
            if before is None or self._desk.alert_of(key) != before.id:
                continue
            moved = with_decision(before, decision)
            if before.id in rows:
                for row in rows[before.id]:
                    write = plan.writes[row]
                    told = replace(write.change, alert=with_decision(write.change.alert, decision))
                    plan.writes[row] = replace(write, change=self._told_anew(write.change.alert, told, at_us))
                plan.after[key[:2]] = plan.writes[rows[before.id][-1]].change.alert
            elif moved.incident_id != before.incident_id:
                reason = f"incident {moved.incident_id}: {decision.because}"
                moved = replace(moved, version=before.version + 1, updated_us=at_us)
                change = self._told_anew(before, Change(moved, "updated", reason), at_us)
                plan.writes.append(Write(change, DETECTOR, at_us))
                plan.after[key[:2]] = change.alert
        plan.incidents = self._desk.writes(at_us)

    def _moved_since(self, alert: Alert, d: Detection, at_us: int) -> Change | None:
        """A late alert that a new division has moved since its event: it is open, so it follows, with a record."""
        if not self._division_changed_since(d.at_us):
            return None
        [place] = self._place([replace(self._whereabouts(d), at_us=None)])
        change = replaced(alert, place, at_us, "new division since the event")
        return change and replace(change, alert=replace(change.alert, duty=self._duty(change.alert, at_us)))

    def _told_anew(self, before: Alert | None, change: Change, at_us: int) -> Change:
        """A worse alert concerns more people: its duties are found again."""
        alert = change.alert
        if before is None or alert.severity == before.severity:
            return change
        return replace(change, alert=replace(alert, duty=self._duty(alert, at_us)))

    def _duty(self, alert: Alert, at_us: int) -> tuple[Duty, ...]:
        asked = Asked(
            alert.kind, alert.severity, alert.place, at_us, alert.matter or "", alert.device_id, alert.device_kind,
            alert.lon, alert.lat,
        )  # fmt: skip
        own = self._duties.route(asked)
        return with_neighbours(own, alert.place, lambda beside: self._duties.route(replace(asked, place=beside)))

    def _places(self, onsets: Sequence[Detection]) -> dict[int, Place]:
        asked = [self._whereabouts(d) for d in onsets]
        found = self._place(asked) if asked else []
        return {id(d): place for d, place in zip(onsets, found, strict=True)}

    def _whereabouts(self, d: Detection) -> Whereabouts:
        """Of an onset: the place is that of its event time."""
        return Whereabouts(self._known(d.device), d.lon, d.lat, d.at_us, d.features.get("box"))

    def _stands(self, alert: Alert) -> Whereabouts:
        """Of an open alert: the place is that of now."""
        device = self._known(alert.device)
        box = (alert.evidence.get("features") or {}).get("box")
        return Whereabouts(device, *own_point(alert, device), box=box)

    def _known(self, key: int) -> Device:
        return self._device(key) or Device(key, f"key-{key}", "unknown")

    def _alert(self, n: _Noticed, place: Place, placed_us: int) -> Alert:
        d, device = n.detection, self._known(n.detection.device)
        here = (d.lon, d.lat) if d.lon is not None else (device.lon, device.lat)
        alert = Alert(
            id=ulid(placed_us), version=1, kind=d.kind, matter=matter_of(d.kind), rule=d.rule, severity=d.severity,
            condition="active", state="new", title=d.title, device=d.device, device_id=device.id,
            device_kind=device.kind, episode_us=d.episode_us, started_us=d.at_us, updated_us=placed_us,
            cleared_us=None, late=d.late, count=1, value=d.value, limit=d.limit, unit=d.unit, metric=d.metric,
            lon=here[0], lat=here[1], exercise=device.run, place=place,
            evidence={
                "rule": d.rule, "rule_version": d.rule_version, "window_us": d.window_us,
                "features": {**d.features, **d.evidence},
            },
            timeline_us={
                "sampled": d.sampled_us, "received": d.received_us, "committed": n.committed_us,
                "detected": n.detected_us, "placed": placed_us,
            },
        )  # fmt: skip
        alert.duty = self._duty(alert, placed_us)
        return alert

    # ------------------------------------------------------------ memory

    def _keep(self, plan: _Plan) -> None:
        """Take over what has been written."""
        for reason in plan.ignored:
            DETECTIONS_IGNORED.labels(reason).inc()
        for write in plan.writes:
            alert = write.change.alert
            if write.change.change == "raised":
                ALERTS_RAISED.labels(alert.kind, alert.severity).inc()
                if self._observe_stage is not None:
                    for stage, seconds in stage_seconds(alert.timeline_us):
                        self._observe_stage(stage, seconds)
        for alert in plan.after.values():
            self._learn(alert)

    def _learn(self, alert: Alert) -> None:
        """Remember an alert as it was just written, unless a newer one is known; forget it when over."""
        pair = (alert.rule, alert.device)
        known = self._newest.get(pair)
        if known is not None:
            newer = known.version > alert.version if known.id == alert.id else known.episode_us > alert.episode_us
            if newer:
                return
        if alert.state == "closed" and alert.condition == "cleared":
            self._newest.pop(pair, None)
        else:
            self._newest[pair] = alert

    async def _read_again(self, pairs: Sequence[Pair]) -> None:
        found = await self._store.newest(pairs)
        for pair in pairs:
            self._newest.pop(pair, None)
            if pair in found:
                self._newest[pair] = found[pair]

    async def load_duties(self) -> None:
        """Read the duty tables again if they have changed. Raises: DatabaseUnavailable."""
        stamp = await self._store.duty_stamp()
        if stamp == self._duty_stamp:
            return
        rows = await self._store.load_duties()
        context, self._rota = await self._store.load_duty_context(self._zone)
        self._duties = await asyncio.to_thread(DutyTable, rows, context)
        self._bank.use_calendar(context.calendar)
        self._duty_stamp = stamp
