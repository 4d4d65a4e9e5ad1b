"""Works sites, tips and truck permits: where a load may come from, go to, and by which way and hours.

Pure. A rule is silent where there is no permit data: no valid permit of the vehicle
says nothing about its route and hours, no known tip says nothing about where it tips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

import shapely

from geo.datum import to_wgs84
from geo.geodesy import LocalPlane, distance_m
from geo.tracks import FOREIGN_DATUMS

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Site:
    """A works site (``load``) or a tip (``tip``): an outline, or a point with a radius, WGS-84."""

    id: str
    kind: str
    name: dict[str, str]
    outline: Any | None
    lon: float | None
    lat: float | None
    radius_m: float | None
    valid_from_us: int
    valid_to_us: int | None

    def holds(self, lon: float, lat: float) -> bool:
        """Whether a WGS-84 point lies in it."""
        if self.outline is not None:
            return bool(shapely.intersects_xy(self.outline, lon, lat))
        assert self.lon is not None
        assert self.lat is not None
        assert self.radius_m is not None
        return float(distance_m(lon, lat, self.lon, self.lat)) <= self.radius_m

    def valid(self, at_us: int) -> bool:
        """Whether it is in use at an event time."""
        return self.valid_from_us <= at_us and (self.valid_to_us is None or at_us < self.valid_to_us)


@dataclass(frozen=True, slots=True)
class Permit:
    """One truck's permission (准运证).

    ``towns`` empty: any town; ``corridor``: WGS-84 lon, lat points with ``buffer_m`` on
    each side, empty: any road; ``hours``: seconds of the local day from and to, over
    midnight when from > to; None: any time.
    """

    id: str
    vehicle: str
    towns: tuple[str, ...]
    corridor: tuple[tuple[float, float], ...]
    buffer_m: float
    hours: tuple[int, int] | None
    valid_from_us: int
    valid_to_us: int | None
    _way: list[Any] = field(default_factory=list, compare=False, repr=False)

    def valid(self, at_us: int) -> bool:
        """Whether it holds at an event time."""
        return self.valid_from_us <= at_us and (self.valid_to_us is None or at_us < self.valid_to_us)

    def on_route(self, lon: float, lat: float, town: str | None) -> bool:
        """Whether a point lies in a permitted town and within the corridor."""
        if self.towns and town not in self.towns:
            return False
        return not self.corridor or self.off_corridor_m(lon, lat) <= self.buffer_m

    def off_corridor_m(self, lon: float, lat: float) -> float:
        """Metres from the corridor's line."""
        if not self._way:
            plane = LocalPlane(*self.corridor[0])
            x, y = plane.to_xy([p[0] for p in self.corridor], [p[1] for p in self.corridor])
            line = shapely.linestrings(x, y)
            shapely.prepare(line)
            self._way.extend((plane, line))
        plane, line = self._way
        x, y = plane.to_xy(lon, lat)
        return float(shapely.distance(line, shapely.points(x, y)))

    def in_hours(self, at_us: int, zone: tzinfo) -> bool:
        """Whether the local time of day lies in the permitted hours."""
        if self.hours is None:
            return True
        local = datetime.fromtimestamp(at_us / 1e6, UTC).astimezone(zone)
        second = local.hour * 3600 + local.minute * 60 + local.second
        first, last = self.hours
        return first <= second < last if first <= last else second >= first or second < last


@dataclass(frozen=True, slots=True)
class Permissions:
    """All sites and permits as they are in the database."""

    sites: tuple[Site, ...] = ()
    permits: tuple[Permit, ...] = ()

    def of(self, vehicle: str) -> tuple[Permit, ...]:
        """The vehicle's permits, valid or not."""
        return tuple(p for p in self.permits if p.vehicle == vehicle)

    def site_at(self, kind: str, lon: float, lat: float, at_us: int) -> Site | None:
        """The site of this kind that holds a point then; of several the first."""
        return next((s for s in self.sites if s.kind == kind and s.valid(at_us) and s.holds(lon, lat)), None)

    def knows(self, kind: str, at_us: int) -> bool:
        """Whether any site of this kind is in use then."""
        return any(s.kind == kind and s.valid(at_us) for s in self.sites)

    def datum_of(self, kind: str, lon: float, lat: float, at_us: int) -> tuple[str, Site] | None:
        """The foreign datum under which a point in no site would lie in one; None when none or as sent."""
        if self.site_at(kind, lon, lat, at_us) is not None:
            return None
        for datum in FOREIGN_DATUMS:
            true_lon, true_lat = to_wgs84(lon, lat, datum)
            site = self.site_at(kind, float(true_lon), float(true_lat), at_us)
            if site is not None:
                return datum, site
        return None


def permits_at(permits: Sequence[Permit], at_us: int) -> list[Permit]:
    """Those that hold at an event time."""
    return [p for p in permits if p.valid(at_us)]
