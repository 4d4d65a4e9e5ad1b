"""Triggers as columns: a bounded memory of who began to say something, where and when. Pure.

Refuses to know which of them belong together; ``label`` only holds what it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alerting import association_rules as rules
from alerting.detectors.rows import grown
from domain.readings import Bool, Float64, Int64

COLUMNS = ("t", "xyz", "device", "building", "severity", "shaking", "alert", "calls", "sharp", "label")

ROWS_MAX = 50_000
"""Triggers kept; beyond it the oldest arrivals are forgotten (counted in ``forgotten``)."""

KEPT_US = 3_720_000_000
"""How long after its arrival a trigger is kept: the background's hour and its gap, and a minute."""

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


class Stations:
    """Where the devices stand that are listened to, whether or not they ever said something."""

    def __init__(self) -> None:
        self._row: dict[int, int] = {}
        self._xyz: Float64 = np.zeros((0, 3))

    def put(self, device: int, lon: float, lat: float) -> None:
        """It is listened to, and stands here."""
        row = self._row.setdefault(device, len(self._row))
        self._xyz = grown(self._xyz, row + 1, np.nan)
        self._xyz[row] = rules.positions(lon, lat)

    def metres_from(self, xyz: Float64) -> Float64:
        """How far each is, ``(n,)``."""
        return rules.distance_m(self._xyz[: len(self._row)], xyz)


class Triggers:
    """The triggers in memory, a row each; columns are as long as ``len`` or longer.

    ``xyz (n, 3)``: metres, NaN without a place; ``building``: a number each; ``alert``: no mere pick;
    ``calls``: an alert for people, not for a sensor's maintainer; ``label``: its incident's number or -1;
    ``since_us``: event time of the first that came as it happened: from then on the background is counted.
    """

    def __init__(self) -> None:
        self.listed: list[Trigger] = []
        self.row_of: dict[Key, int] = {}
        self.forgotten = 0
        self.newest_us = 0
        self.since_us = 1 << 62
        self.stations = Stations()
        self._forget_at = 1024
        self._buildings: dict[str, int] = {}
        self.t: Int64 = np.zeros(0, np.int64)
        self.xyz: Float64 = np.zeros((0, 3))
        self.device: Int64 = np.zeros(0, np.int64)
        self.building: Int64 = np.zeros(0, np.int64)
        self.severity = np.zeros(0, np.int8)
        self.shaking: Bool = np.zeros(0, bool)
        self.alert: Bool = np.zeros(0, bool)
        self.calls: Bool = np.zeros(0, bool)
        self.sharp: Bool = np.zeros(0, bool)
        self.label: Int64 = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.listed)

    def append(self, triggers: Sequence[Trigger]) -> Int64:
        """Their rows, ``(n,)``."""
        first, n = len(self), len(self) + len(triggers)
        rows = np.arange(first, n)
        if not len(triggers):
            return rows
        for name in COLUMNS:
            setattr(self, name, grown(getattr(self, name), n))
        self.listed += triggers
        self.t[rows] = [t.t_us for t in triggers]
        nan = float("nan")
        self.xyz[rows] = rules.positions(
            [nan if t.lon is None else t.lon for t in triggers], [nan if t.lat is None else t.lat for t in triggers]
        )
        self.device[rows] = [t.key[1] for t in triggers]
        self.building[rows] = [self._building_of(t) for t in triggers]
        self.severity[rows] = [t.severity for t in triggers]
        self.shaking[rows] = [rules.family_of(t.kind) == "shaking" for t in triggers]
        self.alert[rows] = [not t.is_pick for t in triggers]
        self.calls[rows] = [not (t.is_pick or t.kind.startswith(rules.MAINTAINERS)) for t in triggers]
        self.sharp[rows] = [t.kind in rules.SHARP for t in triggers]
        self.label[rows] = -1
        self.since_us = min([self.since_us, *(t.t_us for t in triggers if not t.late)])
        self.newest_us = max(self.newest_us, *(t.received_us for t in triggers))
        for row, t in zip(rows.tolist(), triggers, strict=True):
            self.row_of[t.key] = row
        return rows

    def _building_of(self, t: Trigger) -> int:
        """A number for the building; a device without address is a building by itself."""
        return self._buildings.setdefault(t.building or f"device {t.key[1]}", len(self._buildings))

    def strengthen(self, row: int, severity: int) -> None:
        """A trigger got worse by its own level."""
        self.severity[row] = severity
        self.listed[row] = self.listed[row]._replace(severity=severity)

    def is_young(self, t: Trigger) -> bool:
        """Whether it arrived so lately that it still matters."""
        return self.newest_us - t.received_us <= KEPT_US

    def forget(self) -> Int64 | None:
        """Drop triggers that arrived long ago. Returns old row → new row or -1; None: all stay where they are."""
        n = len(self)
        if n < self._forget_at:
            return None
        keep = np.array([self.is_young(t) for t in self.listed])
        if keep.sum() > ROWS_MAX // 2 and n >= ROWS_MAX:
            keep[: n - ROWS_MAX // 2] = False
        self._forget_at = min(ROWS_MAX, int(keep.sum()) + max(1024, int(keep.sum()) // 8))
        if keep.all():
            return None
        self.forgotten += int(n - keep.sum())
        for name in COLUMNS:
            setattr(self, name, getattr(self, name)[:n][keep])
        self.listed = [t for t, kept in zip(self.listed, keep.tolist(), strict=True) if kept]
        self.row_of = {t.key: row for row, t in enumerate(self.listed)}
        return np.where(keep, np.cumsum(keep) - 1, -1)
