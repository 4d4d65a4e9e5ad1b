"""What speaks for an incident: each rule's search for the rows that belong with one row. Pure.

Every rule looks at the set of triggers and not at their order: a link between two never goes away by
a third. Returns rows; refuses to make, grow or merge incidents (``association``), and to hold numbers
(``association_rules``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alerting import association_rules as rules
from alerting.association_triggers import Triggers
from domain.readings import Bool, Float64, Int64

LINK_US_MAX = round((rules.CORE_M_MAX / rules.V_M_S + rules.SLACK_S) * 1e6)
"""Triggers farther apart in time never found an event."""


Free = Callable[[Int64], Bool]
"""Which of some rows nothing explains yet."""


def linked_to(memory: Triggers, rows: Int64, free: Free) -> list[int]:
    """Free rows of shaking that fit one of these, these included, by time."""
    open_rows = np.flatnonzero(memory.shaking[: len(memory)])
    open_rows = open_rows[free(open_rows) & np.isfinite(memory.xyz[open_rows, 0])]
    hit = np.isin(open_rows, rows)
    if not hit.all():
        rows = rows[np.isfinite(memory.xyz[rows, 0])]
        apart = np.abs(memory.t[open_rows][:, None] - memory.t[rows][None]).min(axis=1, initial=1 << 62)
        near = apart <= LINK_US_MAX
        for at in np.flatnonzero(near & ~hit).tolist():
            row = open_rows[at]
            metres = rules.distance_m(memory.xyz[rows], memory.xyz[row])
            hit[at] = bool(rules.fits(metres, memory.t[rows] - memory.t[row]).any())
    found = open_rows[hit]
    return [int(r) for r in found[np.argsort(memory.t[found], kind="stable")]]


def stations(memory: Triggers, row: int) -> tuple[Int64, int] | None:
    """The N-station rule round one trigger: the rows of an event, and how many stations it needed."""
    n = len(memory)
    metres = rules.distance_m(memory.xyz[:n], memory.xyz[row])
    dt = memory.t[:n] - memory.t[row]
    linked = memory.shaking[:n] & (memory.building[:n] != memory.building[row]) & np.isfinite(metres)
    linked &= rules.fits(metres, dt) & (metres <= rules.CORE_M_MAX)
    found = np.flatnonzero(linked)
    if len(found) < rules.STATIONS_MIN - 1:
        return None
    found = found[np.lexsort((memory.t[found], metres[found]))]
    _, first = np.unique(memory.building[found], return_index=True)
    found = found[np.sort(first)][: rules.STATIONS_MAX - 1]
    background = Background(memory, row)
    fit, apart = _fit_one_another(memory, found)
    for k in range(rules.STATIONS_MIN - 1, len(found) + 1):
        reach = float(metres[found[k - 1]])
        if metres[found[0]] > max(rules.REACH_M_MIN, rules.ALOOF_OF_SIZE * float(apart[:k, :k].max())):
            continue
        needed = background.stations_needed(reach)
        if not (memory.sharp[row] and memory.sharp[found[:k]].all()):
            needed = max(needed, rules.STATIONS_MIN_BLUNT)
        if k + 1 >= needed and _clique(fit[:k, :k], min(needed, 4) - 1):
            return np.append(found[:k], row), needed
    return None


def stations_enough(memory: Triggers, rows: Int64) -> int:
    """How many of these stations, from the first on, chance does not explain: said by the set alone."""
    background = Background(memory, int(rows[0]))
    rows = rows[: rules.STATIONS_MAX]
    reaches = np.fmax.accumulate(rules.distance_m(memory.xyz[rows], memory.xyz[rows[0]])).tolist()
    for count in range(rules.STATIONS_MIN, len(rows) + 1):
        least = rules.STATIONS_MIN if memory.sharp[rows[:count]].all() else rules.STATIONS_MIN_BLUNT
        if max(least, background.stations_needed(reaches[count - 1])) <= count:
            return count
    return len(rows)


def plum(memory: Triggers, row: int) -> Int64 | None:
    """Two neighbouring buildings that both shake strongly."""
    n = len(memory)
    metres = rules.distance_m(memory.xyz[:n], memory.xyz[row])
    near = memory.shaking[:n] & memory.alert[:n] & (memory.severity[:n] <= rules.PLUM_SEVERITY)
    near &= (memory.building[:n] != memory.building[row]) & (metres <= rules.PLUM_M)
    found = np.flatnonzero(near)
    found = found[rules.fits(metres[found], memory.t[found] - memory.t[row])]
    return np.append(found, row) if len(found) else None


def storm(memory: Triggers, row: int, free: Free) -> Int64 | None:
    """Many places in alarm within seconds, and no other explanation."""
    n = len(memory)
    early = round(rules.STORM_S * 1e6)
    rows = np.flatnonzero(memory.calls[:n] & (np.abs(memory.t[:n] - memory.t[row]) <= early))
    rows = rows[free(rows)]
    if len(rows) < rules.STORM_PLACES:
        return None
    t = np.sort(memory.t[rows])
    _, first = np.unique(memory.building[rows], return_index=True)
    once = np.sort(memory.t[rows[np.sort(first)]])
    k = rules.STORM_PLACES - 1
    if len(once) > k and len(t) > k and (once[k:] - once[: len(once) - k] <= early).any():
        return rows
    return None


def spot(memory: Triggers, row: int, free: Free) -> Int64 | None:
    """Other sensors of the building, and other senses beside it."""
    kind = memory.listed[row].kind
    if not rules.goes_with_others(kind):
        return None
    n = len(memory)
    dt = np.abs(memory.t[:n] - memory.t[row])
    house = memory.building[:n] == memory.building[row]
    metres = rules.distance_m(memory.xyz[:n], memory.xyz[row])
    rows = np.flatnonzero(memory.alert[:n] & (house | (metres <= rules.SPOT_M)) & (dt <= rules.SPOT_S * 1e6))
    taken = []
    for other in rows[free(rows)].tolist():
        theirs = memory.listed[other].kind
        if memory.device[other] == memory.device[row] or not rules.goes_with_others(theirs):
            continue
        alike = rules.family_of(theirs) == rules.family_of(kind)
        senses = rules.sense_of(theirs) != rules.sense_of(kind)
        if senses or (alike and house[other] and dt[other] <= rules.BUILDING_S * 1e6):
            taken.append(other)
    return np.array([*taken, row]) if taken else None


class Background:
    """How often chance begins something round one trigger; events count too, or noise would hide in them."""

    def __init__(self, memory: Triggers, row: int) -> None:
        n, gap_s = len(memory), rules.BACKGROUND_GAP_S
        dt = memory.t[:n] - memory.t[row]
        before = (dt < -gap_s * 1e6) & (dt >= -(rules.BACKGROUND_S + gap_s) * 1e6)
        quiet = rules.distance_m(memory.xyz[np.flatnonzero(before & memory.shaking[:n])], memory.xyz[row])
        self._quiet = np.sort(quiet[np.isfinite(quiet)])
        self._listened_s = (int(memory.t[row]) - memory.since_us) / 1e6 - gap_s
        is_young = self._listened_s < rules.BACKGROUND_S
        self._stations = np.sort(memory.stations.metres_from(memory.xyz[row])) if is_young else np.zeros(0)
        self._every = rules.background_an_hour(len(self._quiet), self._listened_s, len(self._stations))
        self._allowed = rules.chance_allowed(self._listened_s)

    def stations_needed(self, reach_m: float) -> int:
        """How many stations within ``reach_m`` chance does not explain."""
        seen = int(np.searchsorted(self._quiet, reach_m, side="right"))
        there = int(np.searchsorted(self._stations, reach_m, side="right"))
        near = rules.background_an_hour(seen, self._listened_s, there)
        return rules.stations_needed(reach_m, near, self._every, self._allowed)


def _fit_one_another(memory: Triggers, rows: Int64) -> tuple[Bool, Float64]:
    """``(k, k)``: which pairs one wave can have reached, in different buildings; and metres between them."""
    xyz, t = memory.xyz[rows], memory.t[rows]
    metres = rules.distance_m(xyz[:, None], xyz[None])
    fit = rules.fits(metres, t[:, None] - t[None])
    return np.asarray(fit & (memory.building[rows][:, None] != memory.building[rows][None])), metres


def _clique(fit: Bool, size: int) -> bool:
    """Whether ``size`` (2 or 3) of these fit one another."""
    if size <= 2:
        return bool(fit.any())
    links = fit.astype(np.int32)
    return bool(((links @ links) * links).any())
