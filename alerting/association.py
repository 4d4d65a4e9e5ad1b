"""Association: triggers of many devices into incidents, by event time alone. Pure.

A trigger is an alert's onset, or a *pick*: an onset too faint to tell a person,
which counts as soon as neighbours saw it too. What belongs together is said by
``association_rules``; here it is kept: a bounded memory of triggers as columns, and
incidents that grow, merge and never split. Every rule looks at the set of triggers and not at
their order (a link never goes away by another trigger), so any cut of the stream and any
order within lateness ends in the same incidents; only the way there differs.

The owner adds triggers, takes ``changed`` and ``moved`` to be written, and says
``settle()`` when they are: until then nothing is forgotten, so a failed write is tried again.
Refuses to judge clocks (``association_clock``) and to know a database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from alerting import association_rules as rules
from alerting.detectors.rows import grown
from domain.readings import Bool, Float64, Int64

COLUMNS = (
    "_t", "_xyz", "_device", "_building", "_severity", "_shaking", "_alert", "_calls", "_sharp", "_label",
)  # fmt: skip
ROWS_MAX = 50_000
"""Triggers kept; beyond it the oldest arrivals are forgotten (counted in ``forgotten``)."""

KEPT_US = 3_720_000_000
"""How long after its arrival a trigger is kept: the background's hour and its gap, and a minute."""

NEAR_MAX = 24
"""Of many fitting neighbours the nearest decide: so many are beyond any doubt."""

LINK_US_MAX = round((rules.CORE_M_MAX / rules.V_M_S + rules.SLACK_S) * 1e6)
"""Triggers farther apart in time never found an event."""

CLOCKS_MAX = 1000
"""Triggers with a wrong clock that are remembered to be named."""

Key = tuple[str, int, int]
"""Rule, device and episode of an alert; a pick's rule is empty."""


class Trigger(NamedTuple):
    """One device began to say something. ``severity`` by its own level; ``incident``: its alert's already.

    ``building``: the address, None = unknown; ``clock_off_us``: device clock minus
    truth where it is wrong (then ``t_us`` is not to be believed), else 0.
    """

    key: Key
    device_id: str
    kind: str
    severity: int
    t_us: int
    received_us: int
    lon: float | None
    lat: float | None
    building: str | None
    code: str | None = None
    late: bool = False
    clock_off_us: int = 0
    incident: str | None = None

    @property
    def is_pick(self) -> bool:
        """Whether no alert stands behind it."""
        return not self.key[0]


@dataclass(frozen=True, slots=True)
class NewIncident:
    """This trigger made the incident known."""

    incident: str
    because: str


@dataclass(frozen=True, slots=True)
class Joins:
    """It belongs to an incident: metres from and seconds after its first member."""

    incident: str
    distance_m: float | None
    lag_s: float
    because: str


@dataclass(frozen=True, slots=True)
class Stays:
    """It stands alone, for now."""

    because: str


@dataclass(frozen=True, slots=True)
class Fault:
    """It is left out: the device's clock cannot be right. ``incident``: where it would have belonged."""

    incident: str | None
    offset_s: float
    because: str


Decision = NewIncident | Joins | Stays | Fault


@dataclass(slots=True, eq=False)
class Event:
    """An incident as association sees it.

    ``how``: the rule, of ``_RANK``; ``rows``: its triggers; ``detected_us``: event time at
    which enough of its stations had begun, ``known_us``: arrival of what made it known.
    """

    number: int
    id: str
    how: str
    detected_us: int = 0
    known_us: int = 0
    rows: list[int] = field(default_factory=list)
    low: Float64 = field(default_factory=lambda: np.full(3, np.inf))
    high: Float64 = field(default_factory=lambda: np.full(3, -np.inf))
    first_us: int = 1 << 62
    last_us: int = -(1 << 62)
    confirmed_us: int = -(1 << 62)
    merged_into: str | None = None
    absorbed: list[str] = field(default_factory=list)
    clocks: dict[str, float] = field(default_factory=dict)
    needed: int = 2
    spread_us: int = 0
    first_row: int = -1
    devices: int = 0
    is_restored: bool = False
    has_other: bool = False
    is_written: bool = False

    @property
    def is_wide(self) -> bool:
        """Whether it is an event of an area."""
        return self.how in ("stations", "plum")

    @property
    def size_m(self) -> float:
        """The diagonal of the box of its stations, 0 without a place."""
        return float(np.sqrt(((self.high - self.low) ** 2).sum())) if self.high[0] >= self.low[0] else 0.0


class Association:
    """The triggers and incidents of one city, or of one exercise. ``new_id`` names incidents."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self.triggers: list[Trigger] = []
        self.events: dict[int, Event] = {}
        self.changed: dict[int, Event] = {}
        self.moved: dict[Key, Decision] = {}
        self.forgotten = 0
        self.newest_us = 0
        self._row_of: dict[Key, int] = {}
        self._off: dict[Key, Trigger] = {}
        self._numbers = 0
        self._forget_at = 1024
        self._buildings: dict[str, int] = {}
        self._t = np.zeros(0, np.int64)
        self._xyz = np.zeros((0, 3))
        self._device = np.zeros(0, np.int64)
        self._building = np.zeros(0, np.int64)
        self._severity = np.zeros(0, np.int8)
        self._shaking = np.zeros(0, bool)
        self._alert = np.zeros(0, bool)
        self._calls = np.zeros(0, bool)
        self._sharp = np.zeros(0, bool)
        self._label = np.zeros(0, np.int64)

    # ------------------------------------------------------------ in and out

    def add(self, triggers: Iterable[Trigger]) -> None:
        """Take triggers in; what becomes of them stands in ``changed`` and ``moved``. Known ones change nothing."""
        fresh = [t for t in triggers if t.key not in self._row_of and t.key not in self._off]
        fresh = list({t.key: t for t in fresh}.values())
        off = [t for t in fresh if t.clock_off_us]
        rows = self._append([t for t in fresh if not t.clock_off_us])
        for t in off:
            self._leave_out(t)
        self._weigh(rows)
        for row in rows.tolist():
            t = self.triggers[row]
            if self._label[row] < 0 and not t.is_pick and t.key not in self.moved:
                self.moved[t.key] = Stays(self._alone(t))

    def strengthen(self, key: Key, severity: int) -> None:
        """An alert got worse by its own level: neighbours may now confirm it."""
        row = self._row_of.get(key)
        if row is None or severity >= self._severity[row]:
            return
        self._severity[row] = severity
        self.triggers[row] = self.triggers[row]._replace(severity=severity)
        if self._label[row] >= 0:
            self._touch(self.events[int(self._label[row])])
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
        rows = self._append(triggers)
        for row in rows.tolist():
            mine = by_id.get(self.triggers[row].incident or "")
            if mine is not None:
                self._put(mine, np.array([row]))
        self.changed.clear()
        self.moved.clear()

    def members(self, event: Event) -> list[Trigger]:
        """Its triggers, the first first."""
        return sorted((self.triggers[row] for row in event.rows), key=lambda t: (t.t_us, t.key))

    # ------------------------------------------------------------ columns

    def _append(self, triggers: Sequence[Trigger]) -> Int64:
        first, n = len(self.triggers), len(self.triggers) + len(triggers)
        rows = np.arange(first, n)
        if not len(triggers):
            return rows
        for name in COLUMNS:
            setattr(self, name, grown(getattr(self, name), n))
        self.triggers += triggers
        self._t[rows] = [t.t_us for t in triggers]
        nan = float("nan")
        self._xyz[rows] = rules.positions(
            [nan if t.lon is None else t.lon for t in triggers], [nan if t.lat is None else t.lat for t in triggers]
        )
        self._device[rows] = [t.key[1] for t in triggers]
        self._building[rows] = [self._building_of(t) for t in triggers]
        self._severity[rows] = [t.severity for t in triggers]
        self._shaking[rows] = [rules.family_of(t.kind) == "shaking" for t in triggers]
        self._alert[rows] = [not t.is_pick for t in triggers]
        self._calls[rows] = [not (t.is_pick or t.kind.startswith(rules.MAINTAINERS)) for t in triggers]
        self._sharp[rows] = [t.kind in rules.SHARP for t in triggers]
        self._label[rows] = -1
        self.newest_us = max(self.newest_us, *(t.received_us for t in triggers))
        for row, t in zip(rows.tolist(), triggers, strict=True):
            self._row_of[t.key] = row
        return rows

    def _building_of(self, t: Trigger) -> int:
        """A number for the building; a device without address is a building by itself."""
        return self._buildings.setdefault(t.building or f"device {t.key[1]}", len(self._buildings))

    def _forget(self) -> None:
        """Drop triggers that arrived long ago, and incidents that can take nothing more."""
        n = len(self.triggers)
        if n < self._forget_at:
            return
        keep = np.array([self.newest_us - t.received_us <= KEPT_US for t in self.triggers])
        if keep.sum() > ROWS_MAX // 2 and n >= ROWS_MAX:
            keep[: n - ROWS_MAX // 2] = False
        self._forget_at = min(ROWS_MAX, int(keep.sum()) + max(1024, int(keep.sum()) // 8))
        if keep.all():
            return
        self.forgotten += int(n - keep.sum())
        new_row = np.where(keep, np.cumsum(keep) - 1, -1)
        for name in COLUMNS:
            setattr(self, name, getattr(self, name)[:n][keep])
        self.triggers = [t for t, kept in zip(self.triggers, keep.tolist(), strict=True) if kept]
        self._row_of = {t.key: row for row, t in enumerate(self.triggers)}
        for number, event in list(self.events.items()):
            event.rows = [int(new_row[row]) for row in event.rows if new_row[row] >= 0]
            event.first_row = int(new_row[event.first_row])
            if not event.rows:
                del self.events[number]
        self._off = {k: t for k, t in self._off.items() if self.newest_us - t.received_us <= KEPT_US}

    # ------------------------------------------------------------ the rules, in order

    def _weigh(self, rows: Int64) -> None:
        """What the new (or stronger) rows make known."""
        if not len(rows):
            return
        for row in rows.tolist():
            self._inherit(row)
        for event in [e for e in self.events.values() if e.merged_into is None]:
            if event.is_wide or event.how == "storm":
                self._absorb(event)
        shaking = rows[self._shaking[rows]]
        for row in self._linked_to(shaking):
            if not self._in_wide(row):
                self._stations(row)
            if not self._in_wide(row) and self._severity[row] <= rules.PLUM_SEVERITY:
                self._plum(row)
        self._join_wide()
        calling = rows[self._calls[rows]]
        for row in calling.tolist():
            if self._label[row] < 0:
                self._storm(row)
        for row in calling.tolist():
            self._spot(row)

    def _inherit(self, row: int) -> None:
        """An alert that came back is in its incident already."""
        wanted = self.triggers[row].incident
        if wanted is None or self._label[row] >= 0:
            return
        for event in self.events.values():
            if event.id == wanted and event.merged_into is None:
                event.confirmed_us = max(event.confirmed_us, int(self._t[row]))
                self._put(event, np.array([row]))
                self._touch(event)

    def _linked_to(self, rows: Int64) -> list[int]:
        """Rows of shaking not in an area event that fit one of these, these included, by time."""
        open_rows = np.flatnonzero(self._shaking[: len(self.triggers)])
        open_rows = open_rows[~self._wide_rows(open_rows) & np.isfinite(self._xyz[open_rows, 0])]
        hit = np.isin(open_rows, rows)
        if not hit.all():
            rows = rows[np.isfinite(self._xyz[rows, 0])]
            apart = np.abs(self._t[open_rows][:, None] - self._t[rows][None]).min(axis=1, initial=1 << 62)
            near = apart <= LINK_US_MAX
            for at in np.flatnonzero(near & ~hit).tolist():
                row = open_rows[at]
                metres = rules.distance_m(self._xyz[rows], self._xyz[row])
                hit[at] = bool(rules.fits(metres, self._t[rows] - self._t[row]).any())
        found = open_rows[hit]
        return [int(r) for r in found[np.argsort(self._t[found], kind="stable")]]

    def _wide_rows(self, rows: Int64) -> Bool:
        """Which rows are in an area event."""
        wide = [number for number, event in self.events.items() if event.is_wide]
        return np.isin(self._label[rows], wide)

    def _in_wide(self, row: int) -> bool:
        label = int(self._label[row])
        return label >= 0 and self.events[label].is_wide

    def _stations(self, row: int) -> None:
        """The N-station rule round one trigger."""
        n = len(self.triggers)
        metres = rules.distance_m(self._xyz[:n], self._xyz[row])
        dt = self._t[:n] - self._t[row]
        linked = self._shaking[:n] & (self._building[:n] != self._building[row]) & np.isfinite(metres)
        linked &= rules.fits(metres, dt) & (metres <= rules.CORE_M_MAX)
        found = np.flatnonzero(linked)
        if len(found) < rules.STATIONS_MIN - 1:
            return
        found = found[np.lexsort((self._t[found], metres[found]))]
        _, first = np.unique(self._building[found], return_index=True)
        found = found[np.sort(first)][:NEAR_MAX]
        quiet = self._background(row, metres, dt)
        every = len(quiet) + 1.0
        fit, apart = self._fit_one_another(found)
        for k in range(rules.STATIONS_MIN - 1, len(found) + 1):
            reach = float(metres[found[k - 1]])
            if metres[found[0]] > max(rules.REACH_M_MIN, rules.ALOOF_OF_SIZE * float(apart[:k, :k].max())):
                continue
            near = float(np.count_nonzero(quiet <= reach)) + 1.0
            needed = rules.stations_needed(reach, near, every)
            if not (self._sharp[row] and self._sharp[found[:k]].all()):
                needed = max(needed, rules.STATIONS_MIN_BLUNT)
            if k + 1 >= needed and _clique(fit[:k, :k], min(needed, 4) - 1):
                self._found("stations", np.append(found[:k], row), needed)
                return

    def _background(self, row: int, metres: Float64, dt: Int64) -> Float64:
        """Distances of the hour's triggers before this one; those of events too, or noise would hide in them."""
        n = len(self.triggers)
        before = (dt < -rules.BACKGROUND_GAP_S * 1e6) & (dt >= -(rules.BACKGROUND_S + rules.BACKGROUND_GAP_S) * 1e6)
        rows = np.flatnonzero(before & self._shaking[:n] & np.isfinite(metres))
        return metres[rows]

    def _fit_one_another(self, rows: Int64) -> tuple[Bool, Float64]:
        """``(k, k)``: which pairs one wave can have reached, in different buildings; and metres between them."""
        xyz, t = self._xyz[rows], self._t[rows]
        metres = rules.distance_m(xyz[:, None], xyz[None])
        fit = rules.fits(metres, t[:, None] - t[None])
        return np.asarray(fit & (self._building[rows][:, None] != self._building[rows][None])), metres

    def _plum(self, row: int) -> None:
        """Two neighbouring buildings that both shake strongly."""
        n = len(self.triggers)
        metres = rules.distance_m(self._xyz[:n], self._xyz[row])
        near = self._shaking[:n] & self._alert[:n] & (self._severity[:n] <= rules.PLUM_SEVERITY)
        near &= (self._building[:n] != self._building[row]) & (metres <= rules.PLUM_M)
        found = np.flatnonzero(near)
        found = found[rules.fits(metres[found], self._t[found] - self._t[row])]
        if len(found):
            self._found("plum", np.append(found, row), 2)

    def _storm(self, row: int) -> None:
        """Many places in alarm within seconds, and no other explanation."""
        n = len(self.triggers)
        late, early = self._t[:n] - self._t[row], round(rules.STORM_S * 1e6)
        rows = np.flatnonzero(self._calls[:n] & (np.abs(late) <= early))
        rows = rows[~self._wide_rows(rows)]
        if len(rows) < rules.STORM_PLACES:
            return
        t = np.sort(self._t[rows])
        _, first = np.unique(self._building[rows], return_index=True)
        once = np.sort(self._t[rows[np.sort(first)]])
        k = rules.STORM_PLACES - 1
        if len(once) > k and len(t) > k and (once[k:] - once[: len(once) - k] <= early).any():
            self._found("storm", rows, rules.STORM_PLACES)

    def _spot(self, row: int) -> None:
        """Other sensors of the building, and other senses beside it."""
        label, kind = int(self._label[row]), self.triggers[row].kind
        if (label >= 0 and (self.events[label].is_wide or self.events[label].how == "storm")) or not (
            rules.goes_with_others(kind)
        ):
            return
        n = len(self.triggers)
        dt = np.abs(self._t[:n] - self._t[row])
        house = self._building[:n] == self._building[row]
        metres = rules.distance_m(self._xyz[:n], self._xyz[row])
        rows = np.flatnonzero(self._alert[:n] & (house | (metres <= rules.SPOT_M)) & (dt <= rules.SPOT_S * 1e6))
        taken = []
        for other in rows.tolist():
            theirs, number = self.triggers[other], int(self._label[other])
            if other == row or not rules.goes_with_others(theirs.kind):
                continue
            if number >= 0 and (self.events[number].is_wide or self.events[number].how == "storm"):
                continue
            alike = rules.family_of(theirs.kind) == rules.family_of(kind)
            senses = rules.sense_of(theirs.kind) != rules.sense_of(kind)
            same = house[other] and self._device[other] != self._device[row] and dt[other] <= rules.BUILDING_S * 1e6
            if (alike and same) or (senses and self._device[other] != self._device[row]):
                taken.append(other)
        if taken:
            self._found("spot", np.array([*taken, row]), 2)

    # ------------------------------------------------------------ incidents

    def _found(self, how: str, rows: Int64, needed: int) -> None:
        """These rows are one incident: the oldest of those they are in already, or a new one."""
        numbers = sorted({int(n) for n in self._label[rows] if n >= 0})
        there = [self.events[n] for n in numbers if self._may_take(how, self.events[n])]
        event = min(there, key=lambda e: (not e.is_written, e.number), default=None)
        if event is None:
            self._numbers += 1
            event = self.events[self._numbers] = Event(self._numbers, self._new_id(), how, needed=needed)
        if _RANK[how] > _RANK[event.how]:
            event.how, event.needed = how, needed
        rows = rows[[n < 0 or self._may_take(how, self.events[int(n)]) for n in self._label[rows]]]
        event.confirmed_us = max(event.confirmed_us, int(self._t[rows].max()))
        self._put(event, rows)
        self._touch(event)
        if event.is_wide or event.how == "storm":
            self._absorb(event)

    @staticmethod
    def _may_take(how: str, other: Event) -> bool:
        """An event of an area leaves a house with a fire by itself: somebody must go there. A spot takes spots."""
        if how in ("stations", "plum"):
            return not (other.how == "spot" and other.has_other)
        return other.how == "spot" or (how == other.how)

    def _absorb(self, event: Event) -> None:
        """Take in all that reaches the event in space and time, again and again until nothing does."""
        while event.merged_into is None:
            n = len(self.triggers)
            t, until = self._t[:n], event.confirmed_us + rules.SPAN_S_MAX * 1e6
            rest = (self._label[:n] != event.number) & (t <= until)
            if event.how == "storm":
                near = self._calls[:n] & (t >= event.first_us - rules.STORM_S * 1e6)
                near &= t <= event.last_us + rules.STORM_S * 1e6
                rows = np.flatnonzero(rest & near)
                rows = rows[~self._wide_rows(rows)]
            else:
                rest &= self._shaking[:n] & (t >= event.first_us - rules.SLACK_S * 1e6)
                rows = np.flatnonzero(rest)
                beyond = np.maximum(0, np.maximum(event.low - self._xyz[rows], self._xyz[rows] - event.high))
                gap = np.sqrt((beyond**2).sum(axis=1))
                soon = t[rows] <= event.last_us + (gap / rules.SLOW_M_S + rules.TAIL_S) * 1e6
                rows = rows[soon & (gap <= max(rules.REACH_M_MIN, rules.REACH_OF_SIZE * event.size_m))]
            rows = rows[[n < 0 or self._may_take(event.how, self.events[int(n)]) for n in self._label[rows]]]
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
                reach = max(rules.REACH_M_MIN, rules.REACH_OF_SIZE * max(early.size_m, late.size_m))
                if np.sqrt((beyond**2).sum()) <= reach:
                    kept, lost = (early, late) if early.is_written or not late.is_written else (late, early)
                    self._put(kept, np.array(lost.rows))
                    self._touch(kept)
                    self._absorb(kept)

    def _put(self, event: Event, rows: Int64) -> None:
        """Label the rows; an incident that loses a row to another goes over to it whole."""
        for number in {int(n) for n in self._label[rows] if n >= 0 and n != event.number}:
            rows = np.union1d(rows, np.array(self._merge(self.events[number], event)))
        fresh = np.unique(rows[self._label[rows] != event.number])
        if not len(fresh):
            return
        fresh = fresh[np.argsort(self._t[fresh], kind="stable")]
        is_new = not event.rows and not event.is_written
        self._label[fresh] = event.number
        event.rows += fresh.tolist()
        event.has_other = event.has_other or any(
            rules.family_of(self.triggers[row].kind) not in ("shaking", "structure") for row in fresh.tolist()
        )
        event.first_us = min(event.first_us, int(self._t[fresh].min()))
        event.last_us = max(event.last_us, int(self._t[fresh].max()))
        placed = self._xyz[fresh][np.isfinite(self._xyz[fresh, 0])]
        if len(placed):
            event.low = np.minimum(event.low, placed.min(axis=0))
            event.high = np.maximum(event.high, placed.max(axis=0))
        self._tell(event, fresh, is_new)
        self._name_clocks(event)

    def _merge(self, lost: Event, into: Event) -> list[int]:
        """One incident goes over to another; returns its rows, free again."""
        rows = list(lost.rows)
        self._label[rows] = -1
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
        rows = rows[np.argsort(self._t[rows], kind="stable")]
        _, first = np.unique(self._device[rows], return_index=True)
        times = np.sort(self._t[rows[first]])
        if event.how == "stations":
            event.needed = self._enough(rows[np.sort(first)])
        if len(times) >= event.needed:
            enough = int(times[event.needed - 1])
            event.detected_us = min(event.detected_us, enough) if event.is_restored else enough
        event.detected_us = event.detected_us or int(times[-1])
        event.spread_us = max(event.spread_us, int(times[-1] - times[0]))
        event.devices = max(event.devices, len(times))
        event.known_us = event.known_us or max(self.triggers[row].received_us for row in event.rows)
        self.changed[event.number] = event

    def _enough(self, rows: Int64) -> int:
        """How many of these stations, from the first on, chance does not explain: said by the set alone."""
        n = len(self.triggers)
        metres = rules.distance_m(self._xyz[:n], self._xyz[rows[0]])
        quiet = self._background(int(rows[0]), metres, self._t[:n] - self._t[rows[0]])
        for stations in range(rules.STATIONS_MIN, min(len(rows), rules.STATIONS_MAX) + 1):
            reach = float(np.nanmax(metres[rows[:stations]]))
            near = float(np.count_nonzero(quiet <= reach)) + 1
            least = rules.STATIONS_MIN if self._sharp[rows[:stations]].all() else rules.STATIONS_MIN_BLUNT
            if max(least, rules.stations_needed(reach, near, len(quiet) + 1)) <= stations:
                return stations
        return min(len(rows), rules.STATIONS_MAX)

    def _tell(self, event: Event, rows: Int64, is_new: bool) -> None:
        """The decision for each alert among the rows."""
        at = int(np.argmin(self._t[event.rows])) if is_new or event.first_row < 0 else None
        first = event.first_row = event.rows[at] if at is not None else event.first_row
        if self._t[rows[0]] < self._t[first]:
            first = event.first_row = int(rows[0])
        metres = rules.distance_m(self._xyz[rows], self._xyz[first])
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
                beyond = np.maximum(0, np.maximum(event.low - xyz, xyz - event.high))
                if np.sqrt((beyond**2).sum()) <= max(rules.REACH_M_MIN, rules.REACH_OF_SIZE * event.size_m):
                    event.clocks[t.device_id] = round(t.clock_off_us / 1e6, 1)
                    if event.rows:
                        self._touch(event)

    def _alone(self, t: Trigger) -> str:
        """Why a trigger stays alone."""
        if t.lon is None and t.building is None:
            return "nobody knows where it is, and fewer than a storm's number began with it"
        return "no other sensor of the building, no neighbour in travel time, nothing else at the spot"


_RANK = {"spot": 0, "storm": 1, "plum": 2, "stations": 3}


def because(how: str) -> str:
    """A rule in words."""
    return {
        "spot": "sensors at one spot",
        "storm": "many places in alarm within seconds",
        "plum": "neighbouring buildings shake strongly",
        "stations": "stations within one wave's travel time",
    }[how]


def _clique(fit: Bool, size: int) -> bool:
    """Whether ``size`` (2 or 3) of these fit one another."""
    if size <= 2:
        return bool(fit.any())
    links = fit.astype(np.int32)
    return bool(((links @ links) * links).any())
