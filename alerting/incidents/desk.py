"""Joins alerts to incidents: alerts of one batch in, what is to be written out. Pure; no clock, no database.

Real devices and each exercise have an association of their own, so that they never
mix. What was decided stays pending until ``settle()``: when a write fails, the next
``weigh`` says the same again, with the alerts' ids of that attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alerting.association import (
    Association,
    Decision,
    Event,
    Fault,
    Joins,
    Key,
    NewIncident,
    Stays,
    Trigger,
)
from alerting.association_clock import ClockWatch
from alerting.association_picks import PICK_KIND, Picker
from alerting.incidents.words import body_of, event_of, memory_of
from alerting.lifecycle import episode_us
from domain.alerts import Alert, Detection
from domain.devices import Device
from domain.readings import Block

ENGINES_MAX = 64
"""Exercises whose triggers are in memory; beyond it the one begun first is forgotten."""

ALONE: Mapping[str, int] = {"vibration.shaking": 4}
"""Kinds that alone are a notice of this severity: anybody can shake one sensor."""

CROWD = 20
TELLING_US_PER_TRIGGER = 5_000
TELLING_US_MAX = 1_000_000
"""Each telling costs what the incident is large, and the alert that made it grow waits for it. So a crowd tells
its growth only so often: of 20 triggers each 0.1 s, of 200 and more each second."""

DANGEROUS = 2
"""Unless its own level is this bad: then one sensor is enough."""

Pair = tuple[str, int]


@dataclass(frozen=True, slots=True)
class IncidentWrite:
    """One change of an incident; ``body`` lacks what the store adds: version, cursor, state, condition."""

    id: str
    change: str
    reason: str
    body: Mapping[str, Any]
    memory: Mapping[str, Any]
    at_us: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class StoredIncident:
    """An incident as it is read at the start."""

    id: str
    exercise: str | None
    memory: Mapping[str, Any]
    body: Mapping[str, Any]


class IncidentDesk:
    """See the module. ``device``: the registry; ``new_id``: names of incidents."""

    def __init__(self, device: Callable[[int], Device | None], new_id: Callable[[], str]) -> None:
        self._device = device
        self._new_id = new_id
        self._clock = ClockWatch()
        self._picker = Picker()
        self._engines: dict[str | None, Association] = {}
        self._ids: dict[Key, str] = {}
        self._told: dict[str, tuple[int, str, int, int, int, int]] = {}
        self._picks: list[Trigger] = []
        self._told_us: dict[str, int] = {}
        self._later: list[tuple[Association, Event]] = []

    @property
    def waiting(self) -> bool:
        """Whether something is to be written though no alert is."""
        return bool(self._picks) or any(e.changed or e.moved for e in self._engines.values())

    # ------------------------------------------------------------ what comes in

    def watch(self, block: Block) -> None:
        """Look at clocks, and for onsets too faint for an alert."""
        self._clock.watch(block)
        picks = self._picker.feed(block)
        for key in self._picker.newcomers():
            device = self._device(key)
            if device is not None and device.lon is not None and device.lat is not None:
                self._engine(device.run).listen(key, device.lon, device.lat)
        for d in picks:
            device = self._device(d.device)
            if device is not None and not device.disabled and device.lon is not None:
                self._picks.append(self._pick(d, device))

    def resume(self, incidents: Sequence[StoredIncident], alerts: Iterable[Alert]) -> None:
        """Take up open incidents and their alerts after a restart."""
        by_run: dict[str | None, tuple[list[StoredIncident], list[Trigger]]] = {}
        for incident in incidents:
            by_run.setdefault(incident.exercise, ([], []))[0].append(incident)
            self._told[incident.id] = _summary(incident.body)
        for alert in alerts:
            trigger = self._again(alert)
            self._ids[trigger.key] = alert.id
            by_run.setdefault(alert.exercise, ([], []))[1].append(trigger)
        for run, (known, triggers) in by_run.items():
            self._engine(run).resume([event_of(i.id, i.memory) for i in known], triggers)

    # ------------------------------------------------------------ what goes out

    def as_alone(self, d: Detection, before: Alert | None) -> Detection:
        """A detection as it stands while nobody else saw it; its own severity stays in the evidence."""
        notice = ALONE.get(d.kind)
        if notice is None or not DANGEROUS < d.severity < notice:
            return d
        if before is not None and before.incident_id is not None and before.condition == "active":
            return d
        return replace(d, severity=notice, evidence={**d.evidence, "own_severity": d.severity})

    def weigh(
        self, begun: Sequence[tuple[Detection, Alert]], worse: Sequence[tuple[Detection, Alert]]
    ) -> dict[Key, Decision]:
        """What becomes of alerts that began (or came back) and of those that got worse."""
        by_run: dict[str | None, list[Trigger]] = {}
        for pick in self._picks:
            device = self._device(pick.key[1])
            by_run.setdefault(device.run if device else None, []).append(pick)
        for d, alert in begun:
            trigger = self._trigger(d, alert)
            self._ids[trigger.key] = alert.id
            by_run.setdefault(alert.exercise, []).append(trigger)
        for run, triggers in by_run.items():
            self._engine(run).add(triggers)
        self._picks.clear()
        for d, alert in worse:
            self._engine(alert.exercise).strengthen((d.rule, d.device, d.episode_us), _own_severity(d))
        return {key: said for engine in self._engines.values() for key, said in engine.moved.items()}

    def writes(self, at_us: int) -> list[IncidentWrite]:
        """The incidents that changed, as they stand; call it when the alerts have their ids."""
        found = []
        self._later = []
        for run, engine in self._engines.items():
            for event in engine.changed.values():
                if self._can_wait(event, at_us):
                    self._later.append((engine, event))
                    continue
                if event.merged_into is not None:
                    lost = {"merged_into": event.merged_into}
                    reason = f"it is part of incident {event.merged_into}"
                    found.append(IncidentWrite(event.id, "merged", reason, lost, {}, at_us, is_new=False))
                    continue
                body = body_of(event, engine, self._ids, run, at_us)
                change = self._change(event.id, body, is_new=not event.is_written)
                if change is not None:
                    reason = str(body["why"][0]["en"])
                    memory = memory_of(event)
                    found.append(IncidentWrite(event.id, change, reason, body, memory, at_us, not event.is_written))
        return sorted(found, key=lambda w: (not w.is_new, w.id))

    def alert_of(self, key: Key) -> str | None:
        """The id of the alert behind a trigger."""
        return self._ids.get(key)

    def give_up(self) -> None:
        """What cannot be written must not hold up alerts: it is forgotten, and told with the next change."""
        for engine in self._engines.values():
            engine.changed.clear()
            engine.moved.clear()

    def settle(self, written: Sequence[IncidentWrite]) -> None:
        """All of it is written."""
        for write in written:
            if write.change == "merged":
                self._told.pop(write.id, None)
            else:
                self._told[write.id] = _summary(write.body)
            self._told_us[write.id] = write.at_us
        for engine in self._engines.values():
            engine.settle()
        for engine, event in self._later:
            engine.changed[event.number] = event
        self._trim()

    # ------------------------------------------------------------ helpers

    def _can_wait(self, event: Event, at_us: int) -> bool:
        """Whether a crowd's growth was told a moment ago; the next write or tick tells it."""
        if len(event.rows) < CROWD or not event.is_written or event.merged_into is not None:
            return False
        pause_us = min(len(event.rows) * TELLING_US_PER_TRIGGER, TELLING_US_MAX)
        return 0 <= at_us - self._told_us.get(event.id, 0) < pause_us

    def _engine(self, run: str | None) -> Association:
        if run not in self._engines:
            self._engines[run] = Association(self._new_id)
            idle = [r for r, e in self._engines.items() if r not in (None, run) and not e.changed and not e.moved]
            if len(self._engines) > ENGINES_MAX and idle:
                del self._engines[idle[0]]
        return self._engines[run]

    def _trim(self) -> None:
        """Forget names of what association has forgotten."""
        kept = sum(len(engine.triggers) for engine in self._engines.values())
        if len(self._ids) > 2 * kept + 1000:
            known = {t.key for engine in self._engines.values() for t in engine.triggers}
            self._ids = {key: alert for key, alert in self._ids.items() if key in known}
            ids = {event.id for engine in self._engines.values() for event in engine.events.values()}
            self._told = {i: said for i, said in self._told.items() if i in ids}
            self._told_us = {i: us for i, us in self._told_us.items() if i in ids}

    def _change(self, incident: str, body: Mapping[str, Any], *, is_new: bool) -> str | None:
        """The word for the change; None when there is nothing to tell."""
        if is_new:
            return "raised"
        now, before = _summary(body), self._told.get(incident)
        if before is None:
            return "updated"
        if now == before:
            return None
        if now[0] < before[0]:
            return "worsened"
        return "grew" if now[2:4] != before[2:4] and now[1] == before[1] else "updated"

    def _pick(self, d: Detection, device: Device) -> Trigger:
        return Trigger(
            ("", d.device, d.episode_us), device.id, PICK_KIND, 4, d.at_us, d.received_us, device.lon, device.lat,
            device.address_id, None, d.late, self._clock.offset_us(d.device),
        )  # fmt: skip

    def _trigger(self, d: Detection, alert: Alert) -> Trigger:
        place = alert.place
        return Trigger(
            (d.rule, d.device, d.episode_us), alert.device_id, d.kind, _own_severity(d), d.episode_us,
            d.received_us, alert.lon, alert.lat, self._building(alert),
            place.grid or place.village or place.town, d.late, self._clock.offset_us(d.device), alert.incident_id,
        )  # fmt: skip

    def _again(self, alert: Alert) -> Trigger:
        """The trigger of a stored alert."""
        place, features = alert.place, alert.evidence.get("features") or {}
        association = alert.evidence.get("association") or {}
        t_us = episode_us(alert)
        return Trigger(
            (alert.rule, alert.device, t_us), alert.device_id, alert.kind,
            min(alert.severity, int(features.get("own_severity") or 4)), t_us,
            alert.timeline_us.get("received", alert.updated_us), alert.lon, alert.lat, self._building(alert),
            place.grid or place.village or place.town, alert.late,
            round(float(association.get("offset_s") or 0) * 1e6), alert.incident_id,
        )  # fmt: skip

    def _building(self, alert: Alert) -> str | None:
        device = self._device(alert.device)
        if device is not None and device.address_id:
            return device.address_id
        return alert.place.address_id if alert.place.method in ("device", "building") else None


def _own_severity(d: Detection) -> int:
    return int(d.evidence.get("own_severity") or d.severity)


def _summary(body: Mapping[str, Any]) -> tuple[int, str, int, int, int, int]:
    """What a change of an incident is told by."""
    return (
        body["severity"], body["kind"], body["alert_count"], body["devices"], len(body["clock_faults"]),
        len(body["why"]),
    )  # fmt: skip


def with_decision(alert: Alert, decision: Decision) -> Alert:
    """The alert with what association decided, and the severity that comes with not being alone."""
    association, incident, severity = decision_json(decision), alert.incident_id, alert.severity
    if isinstance(decision, NewIncident | Joins):
        incident = decision.incident
        own = (alert.evidence.get("features") or {}).get("own_severity")
        severity = min(severity, int(own)) if own else severity
    return replace(
        alert, incident_id=incident, severity=severity, evidence={**alert.evidence, "association": association}
    )


def decision_json(decision: Decision) -> dict[str, Any]:
    """A decision as it is kept with the alert."""
    match decision:
        case NewIncident(incident, because):
            return {"decision": "new_incident", "incident_id": incident, "because": because}
        case Joins(incident, distance_m, lag_s, because):
            return {"decision": "joins", "incident_id": incident, "distance_m": distance_m, "lag_s": lag_s,
                    "because": because}  # fmt: skip
        case Stays(because):
            return {"decision": "stays", "because": because}
        case Fault(incident, offset_s, because):
            return {"decision": "fault", "incident_id": incident, "offset_s": offset_s, "because": because}
