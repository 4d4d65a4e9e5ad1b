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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

from alerting import lifecycle
from alerting.detectors.bank import DetectorBank
from alerting.detectors.base import Rule
from alerting.dispatch.duties import Asked, Routing
from alerting.dispatch.matters import kind_of, matter_of
from alerting.dispatch.rota import OnDuty, Rota
from alerting.dispatch.table import DutyTable
from alerting.dispatch.windows import CITY_ZONE
from alerting.lifecycle import Change, Ignored, Raise
from alerting.metrics import ALERTS_RAISED, DETECTIONS, DETECTIONS_IGNORED, WRITE_CONFLICTS, stage_seconds
from alerting.neighbours import explained, with_neighbours
from alerting.ports import AlertStore, Pair, Stale, Write
from alerting.replacing import own_point, replaced
from alerting.ulid import ulid
from domain.alerts import Alert, Detection
from domain.devices import Device
from domain.errors import DatabaseUnavailable, NotFound, VersionConflict
from domain.people import Actor
from domain.places import Duty, Place
from domain.readings import Block

log = logging.getLogger(__name__)

DETECTOR = "detector"
SYSTEM = "system"
ATTEMPTS = 5
RELOAD_US = 30_000_000
MOVES_AT_ONCE = 500

PlaceAll = Callable[[Sequence[tuple[Device, float | None, float | None]]], list[Place]]


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
    ) -> None:
        self._store = store
        self._device = device
        self._place = place
        self._now_us = now_us
        self._observe_stage = observe_stage
        self._bank = DetectorBank(rules, device, metric_names)
        self._newest: dict[Pair, Alert] = {}
        self._pending: list[_Noticed] = []
        self._zone = zone
        self._duties = DutyTable([])
        self._rota = Rota()
        self._duty_stamp = ""
        self._reloaded_us = 0
        self._writing = asyncio.Lock()

    async def start(self) -> None:
        """Load duties and open alerts, and give detectors their active episodes back."""
        await self.load_duties()
        for alert in await self._store.load_open():
            self._newest[alert.rule, alert.device] = alert
        for alert in self._newest.values():
            if alert.condition == "active":
                window = alert.evidence.get("window_us") or (alert.episode_us, alert.episode_us)
                self._bank.restore(alert, newest_us=int(window[1]), episode_us=int(window[0]))

    async def handle(self, block: Block) -> None:
        """Detect, decide and write what one committed block makes known.

        Raises DatabaseUnavailable; call again with the same block then.
        """
        async with self._writing:
            found = self._bank.feed(block)
            if found:
                now = self._now_us()
                for detection in found:
                    DETECTIONS.labels(detection.rule, detection.phase).inc()
                    self._pending.append(_Noticed(detection, block.committed_us, now))
            if self._pending:
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
    ) -> Routing:
        """Who would be told (now, unless ``at_us``), and why.

        ``kind`` may be a matter's code (``standard:code``), or empty when ``matter`` is
        given; ``lon``, ``lat`` (WGS-84) find works with a permit nearby.
        """
        if ":" in kind:
            kind, matter = "", matter or kind
        known = kind or kind_of(matter or "") or ""
        at_us = self._now_us() if at_us is None else at_us
        asked = Asked(known, severity, place, at_us, matter or matter_of(known) or "", lon=lon, lat=lat)
        own = self._duties.explain(asked)
        return explained(own, place, lambda beside: self._duties.explain(replace(asked, place=beside)))

    def on_duty(self, unit: str, at_us: int) -> OnDuty:
        """Who of a unit is on duty at a time, and who takes over."""
        return self._rota.on_duty(unit, at_us)

    def _moves(self, alerts: Sequence[Alert], found: dict[str, Place], because: str) -> list[Write]:
        """The next alerts that lie elsewhere now, at most ``MOVES_AT_ONCE``; ``found`` keeps places asked for."""
        unasked = [alert for alert in alerts if alert.id not in found and alert.state != "closed"]
        asked = [(device := self._known(alert.device), *own_point(alert, device)) for alert in unasked]
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
            written = await self._store.write(plan.writes) if plan.writes else []
            if isinstance(written, Stale):
                WRITE_CONFLICTS.inc()
                await self._read_again(written.pairs)
                continue
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
            decision = lifecycle.on_detection(before, d, placed_us)
            match decision:
                case Ignored(reason):
                    plan.ignored.append(reason)
                    continue
                case Raise(reason):
                    alert = self._alert(n, places[id(d)], placed_us)
                    change = Change(alert, "raised", f"rule {d.rule}: {reason}")
                case Change():
                    change = self._told_anew(before, decision, placed_us)
            plan.after[pair] = change.alert
            plan.writes.append(Write(change, DETECTOR, placed_us))
        return plan

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
        asked = [(self._known(d.device), d.lon, d.lat) for d in onsets]
        found = self._place(asked) if asked else []
        return {id(d): place for d, place in zip(onsets, found, strict=True)}

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
            evidence={"rule": d.rule, "window_us": d.window_us, "features": {**d.features, **d.evidence}},
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
        self._duty_stamp = stamp
