"""Association: triggers of many devices into incidents, by event time alone. Pure.

A trigger is an alert's onset, or a *pick*: an onset too faint to tell a person,
which counts as soon as neighbours saw it too. What belongs together is said by
``association_rules`` and searched by ``association_found`` in the memory of
``association_triggers``; here incidents are made of it, which grow, merge and never split. So any cut
of the stream and any order within lateness ends in the same incidents; only the way there differs.

The owner adds triggers, takes ``changed`` and ``moved`` to be written, and says
``settle()`` when they are: until then nothing is forgotten, so a failed write is tried again.
Refuses to judge clocks (``association_clock``) and to know a database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from alerting import association_found as found
from alerting import association_rules as rules
from alerting.association_events import (
    LARGE,
    RANK,
    WIDE,
    Decision,
    Event,
    Fault,
    Joins,
    NewIncident,
    Stays,
    because,
)
from alerting.association_triggers import Key, Trigger, Triggers
from domain.readings import Bool, Int64

__all__ = ["Association", "Decision", "Event", "Fault", "Joins", "Key", "NewIncident", "Stays", "Trigger"]

CLOCKS_MAX = 1000
"""Triggers with a wrong clock that are remembered to be named."""


class Association:
    """The triggers and incidents of one city, or of one exercise. ``new_id`` names incidents."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self.events: dict[int, Event] = {}
        self.changed: dict[int, Event] = {}
        self.moved: dict[Key, Decision] = {}
        self._memory = Triggers()
        self._off: dict[Key, Trigger] = {}
        self._numbers = 0

    @property
    def triggers(self) -> list[Trigger]:
        """Those in memory."""
        return self._memory.listed

    @property
    def forgotten(self) -> int:
        """Triggers that were in memory."""
        return self._memory.forgotten

    # ------------------------------------------------------------ in and out

    def add(self, triggers: Iterable[Trigger]) -> None:
        """Take triggers in; what becomes of them stands in ``changed`` and ``moved``. Known ones change nothing."""
        fresh = [t for t in triggers if t.key not in self._memory.row_of and t.key not in self._off]
        fresh = list({t.key: t for t in fresh}.values())
        off = [t for t in fresh if t.clock_off_us]
        rows = self._memory.append([t for t in fresh if not t.clock_off_us])
        for t in off:
            self._leave_out(t)
        self._weigh(rows)
        for row in rows.tolist():
            t = self.triggers[row]
            if self._memory.label[row] < 0 and not t.is_pick and t.key not in self.moved:
                self.moved[t.key] = Stays(self._alone(t))

    def listen(self, device: int, lon: float, lat: float) -> None:
        """A device is there that would tell of shaking: what is assumed of its city until it is known."""
        self._memory.stations.put(device, lon, lat)

    def strengthen(self, key: Key, severity: int) -> None:
        """An alert got worse by its own level: neighbours may now confirm it."""
        row = self._memory.row_of.get(key)
        if row is None or severity >= self._memory.severity[row]:
            return
        self._memory.strengthen(row, severity)
        if self._memory.label[row] >= 0:
            self._touch(self.events[int(self._memory.label[row])])
        self._weigh(np.array([row]))

    def settle(self) -> None:
        """All that was changed is written; forget what is too old to matter."""
        for event in self.changed.values():
            event.is_written = True
        self.changed.clear()
        self.moved.clear()
        self._forget()

    def resume(self, events: Sequence[Event], triggers: Sequence[Trigger]) -> None:
        """Take up incidents and their alerts after a restart; ``triggers`` name their incident."""
        by_id = {}
        for event in events:
            self._numbers += 1
            event.number, event.is_written, event.is_restored = self._numbers, True, True
            self.events[event.number] = by_id[event.id] = event
        listened_since_us = self._memory.since_us
        rows = self._memory.append(triggers)
        self._memory.since_us = listened_since_us  # what was heard before the restart is not in memory
        for row in rows.tolist():
            mine = by_id.get(self.triggers[row].incident or "")
            if mine is not None:
                self._put(mine, np.array([row]))
        self.changed.clear()
        self.moved.clear()

    def _forget(self) -> None:
        """Drop what is too old, and incidents that can take nothing more."""
        new_row = self._memory.forget()
        if new_row is None:
            return
        for number, event in list(self.events.items()):
            event.rows = [int(new_row[row]) for row in event.rows if new_row[row] >= 0]
            event.first_row = int(new_row[event.first_row])
            if not event.rows:
                del self.events[number]
        self._off = {k: t for k, t in self._off.items() if self._memory.is_young(t)}

    def members(self, event: Event) -> list[Trigger]:
        """Its triggers, the first first."""
        return sorted((self.triggers[row] for row in event.rows), key=lambda t: (t.t_us, t.key))

    # ------------------------------------------------------------ the rules, in order

    def _weigh(self, rows: Int64) -> None:
        """What the new (or stronger) rows make known."""
        if not len(rows):
            return
        for row in rows.tolist():
            self._inherit(row)
        for event in [e for e in self.events.values() if e.merged_into is None]:
            if event.how in LARGE:
                self._absorb(event)
        shaking = rows[self._memory.shaking[rows]]
        for row in found.linked_to(self._memory, shaking, self._not_wide):
            if self._how(row) not in WIDE and (seen := found.stations(self._memory, row)) is not None:
                self._found("stations", *seen)
            if self._how(row) not in WIDE and self._memory.severity[row] <= rules.PLUM_SEVERITY:
                self._found("plum", found.plum(self._memory, row), 2)
        self._join_wide()
        calling = rows[self._memory.calls[rows]]
        for row in calling.tolist():
            if not self._how(row):
                self._found("storm", found.storm(self._memory, row, self._not_wide), rules.STORM_PLACES)
        for row in calling.tolist():
            if self._how(row) not in LARGE:
                self._found("spot", found.spot(self._memory, row, self._not_large), 2)

    def _inherit(self, row: int) -> None:
        """An alert that came back is in its incident already."""
        wanted = self.triggers[row].incident
        if wanted is None or self._memory.label[row] >= 0:
            return
        for event in self.events.values():
            if event.id == wanted and event.merged_into is None:
                event.confirmed_us = max(event.confirmed_us, int(self._memory.t[row]))
                self._put(event, np.array([row]))
                self._touch(event)

    def _how(self, row: int) -> str:
        """The rule of its incident, empty without one."""
        label = int(self._memory.label[row])
        return self.events[label].how if label >= 0 else ""

    def _not_wide(self, rows: Int64) -> Bool:
        """Which rows are in no area event."""
        return self._not_in(rows, WIDE)

    def _not_large(self, rows: Int64) -> Bool:
        """Which rows are in nothing larger than a spot."""
        return self._not_in(rows, LARGE)

    def _not_in(self, rows: Int64, hows: Sequence[str]) -> Bool:
        numbers = [number for number, event in self.events.items() if event.how in hows]
        return np.isin(self._memory.label[rows], numbers, invert=True)

    # ------------------------------------------------------------ incidents

    def _found(self, how: str, rows: Int64 | None, needed: int) -> None:
        """These rows, if any, are one incident: the oldest of those they are in already, or a new one."""
        if rows is None:
            return
        numbers = sorted({int(n) for n in self._memory.label[rows] if n >= 0})
        there = [self.events[n] for n in numbers if self._may_take(how, self.events[n])]
        event = min(there, key=lambda e: (not e.is_written, e.number), default=None)
        if event is None:
            self._numbers += 1
            event = self.events[self._numbers] = Event(self._numbers, self._new_id(), how, needed=needed)
        if RANK[how] > RANK[event.how]:
            event.how, event.needed = how, needed
        rows = rows[[n < 0 or self._may_take(how, self.events[int(n)]) for n in self._memory.label[rows]]]
        event.confirmed_us = max(event.confirmed_us, int(self._memory.t[rows].max()))
        self._put(event, rows)
        self._touch(event)
        if event.how in LARGE:
            self._absorb(event)

    @staticmethod
    def _may_take(how: str, other: Event) -> bool:
        """An event of an area leaves a house with a fire by itself: somebody must go there. A spot takes spots."""
        if how in WIDE:
            return not (other.how == "spot" and other.has_other)
        return other.how == "spot" or (how == other.how)

    def _absorb(self, event: Event) -> None:
        """Take in all that reaches the event in space and time, again and again until nothing does."""
        while event.merged_into is None:
            n = len(self._memory)
            t, until = self._memory.t[:n], event.confirmed_us + rules.SPAN_S_MAX * 1e6
            rest = (self._memory.label[:n] != event.number) & (t <= until)
            if event.how == "storm":
                near = self._memory.calls[:n] & (t >= event.first_us - rules.STORM_S * 1e6)
                near &= t <= event.last_us + rules.STORM_S * 1e6
                rows = np.flatnonzero(rest & near)
                rows = rows[self._not_wide(rows)]
            else:
                rest &= self._memory.shaking[:n] & (t >= event.first_us - rules.SLACK_S * 1e6)
                rows = np.flatnonzero(rest)
                gap = event.gap_m(self._memory.xyz[rows])
                soon = t[rows] <= event.last_us + (gap / rules.SLOW_M_S + rules.TAIL_S) * 1e6
                rows = rows[soon & (gap <= event.reach_m)]
            rows = rows[[n < 0 or self._may_take(event.how, self.events[int(n)]) for n in self._memory.label[rows]]]
            if not len(rows):
                return
            self._put(event, rows)
            self._touch(event)

    def _join_wide(self) -> None:
        """Events of one ground within the time of one are one: the coda of a quake is no second quake."""
        wide = sorted((e for e in self.events.values() if e.is_wide), key=lambda e: (e.first_us, e.number))
        for at, early in enumerate(wide):
            for late in wide[at + 1 :]:
                if early.number not in self.events or late.number not in self.events:
                    continue
                if late.first_us > early.confirmed_us + rules.SPAN_S_MAX * 1e6:
                    continue
                beyond = np.maximum(0, np.maximum(early.low - late.high, late.low - early.high))
                reach = max(early.reach_m, late.reach_m)
                if np.sqrt((beyond**2).sum()) <= reach:
                    kept, lost = (early, late) if early.is_written or not late.is_written else (late, early)
                    self._put(kept, np.array(lost.rows))
                    self._touch(kept)
                    self._absorb(kept)

    def _put(self, event: Event, rows: Int64) -> None:
        """Label the rows; an incident that loses a row to another goes over to it whole."""
        for number in {int(n) for n in self._memory.label[rows] if n >= 0 and n != event.number}:
            rows = np.union1d(rows, np.array(self._merge(self.events[number], event)))
        fresh = np.unique(rows[self._memory.label[rows] != event.number])
        if not len(fresh):
            return
        fresh = fresh[np.argsort(self._memory.t[fresh], kind="stable")]
        is_new = not event.rows and not event.is_written
        self._memory.label[fresh] = event.number
        event.rows += fresh.tolist()
        event.has_other = event.has_other or any(
            rules.family_of(self.triggers[row].kind) not in ("shaking", "structure") for row in fresh.tolist()
        )
        event.first_us = min(event.first_us, int(self._memory.t[fresh].min()))
        event.last_us = max(event.last_us, int(self._memory.t[fresh].max()))
        placed = self._memory.xyz[fresh][np.isfinite(self._memory.xyz[fresh, 0])]
        if len(placed):
            event.low = np.minimum(event.low, placed.min(axis=0))
            event.high = np.maximum(event.high, placed.max(axis=0))
        self._tell(event, fresh, is_new)
        self._name_clocks(event)

    def _merge(self, lost: Event, into: Event) -> list[int]:
        """One incident goes over to another; returns its rows, free again."""
        rows = list(lost.rows)
        self._memory.label[rows] = -1
        lost.rows, lost.first_row = [], -1
        lost.merged_into = into.id
        into.confirmed_us = max(into.confirmed_us, lost.confirmed_us)
        into.clocks.update(lost.clocks)
        if lost.is_written:
            into.absorbed.append(lost.id)
            self.changed[lost.number] = lost
        else:
            self.changed.pop(lost.number, None)
        del self.events[lost.number]
        return rows

    def _touch(self, event: Event) -> None:
        """It has to be written. When it was known is said by its stations, whatever came in which order."""
        rows = np.array(event.rows)
        rows = rows[np.argsort(self._memory.t[rows], kind="stable")]
        _, first = np.unique(self._memory.device[rows], return_index=True)
        times = np.sort(self._memory.t[rows[first]])
        if event.how == "stations":
            event.needed = found.stations_enough(self._memory, rows[np.sort(first)])
        if len(times) >= event.needed:
            enough = int(times[event.needed - 1])
            event.detected_us = min(event.detected_us, enough) if event.is_restored else enough
        event.detected_us = event.detected_us or int(times[-1])
        event.spread_us = max(event.spread_us, int(times[-1] - times[0]))
        event.devices = max(event.devices, len(times))
        event.known_us = event.known_us or max(self.triggers[row].received_us for row in event.rows)
        self.changed[event.number] = event

    def _tell(self, event: Event, rows: Int64, is_new: bool) -> None:
        """The decision for each alert among the rows."""
        at = int(np.argmin(self._memory.t[event.rows])) if is_new or event.first_row < 0 else None
        first = event.first_row = event.rows[at] if at is not None else event.first_row
        if self._memory.t[rows[0]] < self._memory.t[first]:
            first = event.first_row = int(rows[0])
        metres = rules.distance_m(self._memory.xyz[rows], self._memory.xyz[first])
        known = np.isfinite(metres)
        for row, m, is_known in zip(rows.tolist(), metres.tolist(), known.tolist(), strict=True):
            t = self.triggers[row]
            if t.is_pick or (t.incident == event.id and not is_new):
                continue
            lag_s = (t.t_us - event.first_us) / 1e6
            if is_new and row == rows[-1]:
                self.moved[t.key] = NewIncident(event.id, because(event.how))
            else:
                away = round(m, 1) if is_known else None
                self.moved[t.key] = Joins(event.id, away, round(lag_s, 3), because(event.how))
            self.triggers[row] = t._replace(incident=event.id)

    # ------------------------------------------------------------ clocks

    def _leave_out(self, t: Trigger) -> None:
        """A clock that cannot be right: named in the incident to which the true time would put it."""
        offset_s = round(t.clock_off_us / 1e6, 1)
        self._off[t.key] = t
        if len(self._off) > CLOCKS_MAX:
            self._off.pop(next(iter(self._off)))
        for event in list(self.events.values()):
            self._name_clocks(event)
        if not t.is_pick:
            where = next((e.id for e in self.events.values() if t.device_id in e.clocks), None)
            text = f"its clock is {abs(offset_s):g} s {'ahead' if offset_s > 0 else 'behind'}, by what arrives"
            self.moved[t.key] = Fault(where, offset_s, text)

    def _name_clocks(self, event: Event) -> None:
        """Devices whose clocks are off and whose corrected time lies in the event."""
        if not event.is_wide:
            return
        for t in self._off.values():
            true_us = t.t_us - t.clock_off_us
            if t.device_id in event.clocks or t.lon is None or t.lat is None:
                continue
            if event.first_us - 60e6 <= true_us <= event.confirmed_us + rules.SPAN_S_MAX * 1e6:
                xyz = rules.positions(t.lon, t.lat)
                if event.gap_m(xyz) <= event.reach_m:
                    event.clocks[t.device_id] = round(t.clock_off_us / 1e6, 1)
                    if event.rows:
                        self._touch(event)

    def _alone(self, t: Trigger) -> str:
        """Why a trigger stays alone."""
        if t.lon is None and t.building is None:
            return "nobody knows where it is, and fewer than a storm's number began with it"
        return "no other sensor of the building, no neighbour in travel time, nothing else at the spot"
