"""A vehicle's track cut into stays by town and by cell, in event time.

- **Borders have hysteresis.** A new town (or cell) is entered when the vehicle has
  been in it without a break over ``border_m`` metres or ``border_s`` seconds; the
  entry counts from the first point there. Shorter excursions stay with the place
  the vehicle was in and are counted as ``strays``.
- **Silence ends a stay.** After more than ``gap_s`` the stay ends with reason
  ``gap`` at its last point; nothing is claimed about the way in between.
- **No movement is invented.** A point that cannot have been driven to is set aside;
  when the next ones come back it was a stray (``jump``), when three in a row agree
  among themselves the track goes on from there with a break. A break whose vector
  is that of a datum is a suspicion ``datum``: somebody changed coordinate systems.

``TrackFold`` takes points of rising event time one by one, so a stream equals its
blocks. A late point is put in its place by folding again. Pure: the place of each
point comes with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt

from geo.datum import from_wgs84, to_wgs84
from geo.geodesy import EARTH_RADIUS_M

US_PER_S = 1_000_000
FOREIGN_DATUMS = ("gcj02", "bd09")


@dataclass(frozen=True, slots=True)
class TrackRules:
    """Bounds of the cut; metres, seconds, km/h."""

    border_m: float = 50.0
    border_s: float = 180.0
    gap_s: float = 300.0
    speed_kmh_max: float = 200.0
    noise_m: float = 150.0
    """A step below this is never called a jump, whatever the time between."""
    agree_points: int = 3


DEFAULT_RULES = TrackRules()


@dataclass(frozen=True, slots=True)
class Fix:
    """One position with its place; the track does not judge ``bed``, ``cover`` and ``speed_kmh``."""

    time_us: int
    lon: float
    lat: float
    town: str | None
    village: str | None = None
    grid: str | None = None
    speed_kmh: float | None = None
    bed: str | None = None
    cover: str | None = None


@dataclass(slots=True)
class Stay:
    """A stretch within one town or cell; ``code`` None is outside all of them.

    ``ended_because``: border, gap, jump, or None while it goes on. ``settled``: long
    enough not to be jitter. ``entry``, ``exit``: its first and last own point.
    """

    code: str | None
    entry: Fix
    exit: Fix
    points: int = 1
    strays: int = 0
    length_m: float = 0.0
    settled: bool = False
    ended_because: str | None = None

    @property
    def from_us(self) -> int:
        """Event time of the first point."""
        return self.entry.time_us

    @property
    def to_us(self) -> int:
        """Event time of the last point."""
        return self.exit.time_us


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Something about the positions that cannot be true. ``kind``: jump or datum.

    ``datum``: the coordinate system that would explain it; ``metres``: how far off.
    """

    kind: str
    time_us: int
    lon: float
    lat: float
    metres: float
    datum: str | None = None


@dataclass(slots=True)
class _Excursion:
    """Points in another place than the current stay's, not yet enough to be a stay."""

    code: str | None
    first: Fix
    last: Fix
    points: int
    length_m: float


class Borders:
    """One level's stays: the current one is the last."""

    def __init__(self, rules: TrackRules) -> None:
        self.rules = rules
        self.stays: list[Stay] = []
        self._away: _Excursion | None = None
        self._anchor: Fix | None = None

    def add(self, fix: Fix, code: str | None, step_m: float) -> None:
        """The next point and the metres to it."""
        stay = self.stays[-1] if self.stays else None
        if stay is None or stay.ended_because is not None:
            self.stays.append(Stay(code, fix, fix))
            self._anchor, self._away = fix, None
        elif code == stay.code:
            self._stay_on(stay, fix, step_m)
        else:
            self._go_away(stay, fix, code, step_m)

    def end(self, because: str) -> None:
        """A break: what was an excursion belongs to the stay that ends."""
        if self.stays and self.stays[-1].ended_because is None:
            self._return(self.stays[-1])
            self.stays[-1].ended_because = because

    def forget_before(self, time_us: int) -> None:
        """Drop ended stays that ended before; the current one remains."""
        self.stays = [*(s for s in self.stays[:-1] if s.to_us >= time_us), *self.stays[-1:]]

    def _stay_on(self, stay: Stay, fix: Fix, step_m: float) -> None:
        if self._away is not None:
            self._return(stay)
            self._anchor = fix
        stay.exit, stay.points, stay.length_m = fix, stay.points + 1, stay.length_m + step_m
        anchor = self._anchor
        assert anchor is not None
        if not stay.settled and self._enough(anchor, fix):
            stay.settled = True

    def _go_away(self, stay: Stay, fix: Fix, code: str | None, step_m: float) -> None:
        away = self._away
        if away is None or away.code != code:
            self._return(stay)
            away = self._away = _Excursion(code, fix, fix, 0, 0.0)
        away.last, away.points, away.length_m = fix, away.points + 1, away.length_m + step_m
        if not self._enough(away.first, fix):
            return
        self._away, self._anchor = None, away.first
        if stay.settled or stay.points > 1:
            stay.ended_because = "border"
            self.stays.append(Stay(code, away.first, fix, away.points, 0, away.length_m, settled=True))
        else:  # a single point before anything was certain: the track began here
            stay.code, stay.exit, stay.settled = code, fix, True
            stay.points, stay.strays = stay.points + away.points, stay.strays + 1
            stay.length_m += away.length_m

    def _return(self, stay: Stay) -> None:
        away, self._away = self._away, None
        if away is not None:
            stay.points, stay.strays = stay.points + away.points, stay.strays + away.points
            stay.length_m += away.length_m

    def _enough(self, first: Fix, fix: Fix) -> bool:
        stayed_us = fix.time_us - first.time_us
        return metres_between(first, fix) >= self.rules.border_m or stayed_us >= self.rules.border_s * US_PER_S


@dataclass(slots=True)
class Track:
    """What a track comes to."""

    towns: list[Stay]
    cells: list[Stay]
    suspicions: list[Suspicion]


class TrackFold:
    """Points of rising event time in, stays and suspicions out."""

    def __init__(self, rules: TrackRules = DEFAULT_RULES) -> None:
        self.rules = rules
        self.towns, self.cells = Borders(rules), Borders(rules)
        self.suspicions: list[Suspicion] = []
        self.newest_us: int | None = None
        self._last: Fix | None = None
        self._doubted: list[Fix] = []

    def add(self, fix: Fix) -> list[Fix]:
        """The points that are accepted by this one: none, itself, or with those doubted before it.

        ``fix`` must be newer than all before it.
        """
        assert self.newest_us is None or fix.time_us > self.newest_us, "late points need a new fold"
        self.newest_us = fix.time_us
        last = self._last
        if last is None:
            return self._accept([fix])
        if fix.time_us - last.time_us > self.rules.gap_s * US_PER_S:
            self._dismiss()
            self._break("gap")
            return self._accept([fix])
        goes_on = bool(self._doubted) and self._reachable(self._doubted[-1], fix)
        # With time every jump can be driven: then the slower of the two ways is the likelier.
        if self._reachable(last, fix) and not (goes_on and _speed(self._doubted[-1], fix) < _speed(last, fix)):
            self._dismiss()
            return self._accept([fix])
        if not goes_on:
            self._dismiss()
        self._doubted.append(fix)
        if len(self._doubted) < self.rules.agree_points:
            return []
        accepted, self._doubted = self._doubted, []
        self.suspicions.append(explain(last, accepted[0]))
        self._break("jump")
        return self._accept(accepted)

    @property
    def track(self) -> Track:
        """The stays so far; unfinished ones are live objects."""
        return Track(self.towns.stays, self.cells.stays, self.suspicions)

    def forget_before(self, time_us: int) -> None:
        """Drop what ended before, so that a vehicle that never rests does not grow."""
        self.towns.forget_before(time_us)
        self.cells.forget_before(time_us)
        self.suspicions = [s for s in self.suspicions if s.time_us >= time_us]

    def _accept(self, fixes: list[Fix]) -> list[Fix]:
        for fix in fixes:
            broken = not self.towns.stays or self.towns.stays[-1].ended_because is not None
            step_m = 0.0 if broken or self._last is None else metres_between(self._last, fix)
            self.towns.add(fix, fix.town, step_m)
            self.cells.add(fix, fix.grid, step_m)
            self._last = fix
        return fixes

    def _break(self, because: str) -> None:
        self.towns.end(because)
        self.cells.end(because)

    def _dismiss(self) -> None:
        """The doubted points were strays."""
        last = self._last
        assert last is not None
        self.suspicions += [
            Suspicion("jump", p.time_us, p.lon, p.lat, metres_between(last, p)) for p in self._doubted
        ]
        self._doubted = []

    def _reachable(self, a: Fix, b: Fix) -> bool:
        far_m = metres_between(a, b)
        seconds = (b.time_us - a.time_us) / US_PER_S
        return far_m <= self.rules.noise_m or far_m <= self.rules.speed_kmh_max / 3.6 * seconds


def fold_track(fixes: Iterable[Fix], rules: TrackRules = DEFAULT_RULES) -> Track:
    """The track of points in any order; of two with one event time the first counts."""
    by_time: dict[int, Fix] = {}
    for fix in fixes:
        by_time.setdefault(fix.time_us, fix)
    fold = TrackFold(rules)
    for time_us in sorted(by_time):
        fold.add(by_time[time_us])
    return fold.track


@dataclass(frozen=True, slots=True)
class Crossing:
    """A border crossed: from the town left to the town entered, None outside all towns."""

    left: Stay
    entered: Stay


def crossings(towns: Iterable[Stay]) -> list[Crossing]:
    """Changes of town, over gaps too, once both sides are certain."""
    found: list[Crossing] = []
    before: Stay | None = None
    for stay in towns:
        if not stay.settled:
            continue
        if before is not None and before.code != stay.code:
            found.append(Crossing(before, stay))
        before = stay
    return found


def explain(last: Fix, first: Fix) -> Suspicion:
    """Why a track goes on elsewhere: another datum when its shift explains most of the jump."""
    jump_m = metres_between(last, first)
    best, best_m = None, jump_m / 2
    for datum in FOREIGN_DATUMS:
        for convert in (from_wgs84, to_wgs84):
            lon, lat = convert(last.lon, last.lat, datum)
            rest_m = _metres(float(lon), float(lat), first.lon, first.lat)
            if rest_m < best_m:
                best, best_m = datum, rest_m
    return Suspicion("datum" if best else "jump", first.time_us, first.lon, first.lat, jump_m, best)


def _speed(a: Fix, b: Fix) -> float:
    return metres_between(a, b) / (b.time_us - a.time_us)


def metres_between(a: Fix, b: Fix) -> float:
    """Metres from a to b."""
    return _metres(a.lon, a.lat, b.lon, b.lat)


def _metres(lon1: float, lat1: float, lon2: float, lat2: float) -> float:
    """Haversine as in ``geodesy.distance_m``; one pair is 20 times faster without arrays."""
    a1, a2 = radians(lat1), radians(lat2)
    h = sin((a2 - a1) / 2) ** 2 + cos(a1) * cos(a2) * sin(radians(lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_M * asin(sqrt(min(1.0, h)))
