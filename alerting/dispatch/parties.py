"""Whose it is: the building's owner, the sensor's maintainer, and the works with a permit nearby.

Looked up while an alert is routed, so every answer is one of a few dictionary
reads: permits lie in squares of 0.02 degrees (about 2 km), and a point asks its own
square and the eight around it, which is why no reach may exceed 2 km. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from domain.addresses import address_rule
from domain.places import Place

REACH_M_MAX = 1000.0
"""Of a permit's own radius and of a row's ``within_m`` each."""

_SQUARE_DEG = 0.02
_M_PER_DEG = 111_195.0


@dataclass(frozen=True, slots=True)
class Party:
    """A unit by name, outside the table of territories."""

    unit: str
    name: str
    name_en: str = ""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns a building; ``building``: the building part of its addresses."""

    building: str
    party: Party


@dataclass(frozen=True, slots=True)
class Maintainer:
    """Who keeps a device working: by its id, else by its kind ('' = any) and the place's code prefix."""

    party: Party
    device: str = ""
    kind: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Permit:
    """Works allowed at a place for a time: WGS-84 degrees, metres, microseconds."""

    id: str
    party: Party
    lon: float
    lat: float
    radius_m: float
    valid_from_us: int
    valid_to_us: int


@dataclass(frozen=True, slots=True)
class Parties:
    """All of them, ready to be asked."""

    owners: dict[str, Party] = field(default_factory=dict)
    maintainers: dict[tuple[str, str, str], Party] = field(default_factory=dict)
    squares: dict[tuple[int, int], tuple[Permit, ...]] = field(default_factory=dict)

    @classmethod
    def build(
        cls, owners: Iterable[Owner] = (), maintainers: Iterable[Maintainer] = (), permits: Iterable[Permit] = ()
    ) -> Parties:
        """From the tables' rows."""
        squares: dict[tuple[int, int], list[Permit]] = {}
        for permit in permits:
            squares.setdefault(_square(permit.lon, permit.lat), []).append(permit)
        return cls(
            {owner.building: owner.party for owner in owners},
            {(m.device, m.kind, m.place): m.party for m in maintainers},
            {square: tuple(found) for square, found in squares.items()},
        )

    def owner(self, place: Place) -> Party | None:
        """Who owns the building at this place."""
        return self.owners.get(address_rule().building(place.address_id)) if place.address_id else None

    def maintainer(self, device: str, kind: str, place: Place) -> Party | None:
        """Who maintains this device: its own row, else the longest place prefix, its kind before any kind."""
        if not self.maintainers:
            return None
        if device and (own := self.maintainers.get((device, "", ""))):
            return own
        code = place.grid or place.village or place.town or ""
        for length in range(len(code), -1, -1):
            for of_kind in (kind, "") if kind else ("",):
                found = self.maintainers.get(("", of_kind, code[:length]))
                if found is not None:
                    return found
        return None

    def permits(self, lon: float | None, lat: float | None, at_us: int, within_m: float) -> Sequence[Permit]:
        """Permits valid now whose site is at most ``within_m`` away, nearest first."""
        if lon is None or lat is None or not self.squares:
            return ()
        x, y = _square(lon, lat)
        found: list[tuple[float, str, Permit]] = []
        for square in [(x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]:
            for permit in self.squares.get(square, ()):
                if permit.valid_from_us <= at_us < permit.valid_to_us:
                    away = max(0.0, _distance_m(lon, lat, permit) - permit.radius_m)
                    if away <= within_m:
                        found.append((away, permit.id, permit))
        return [permit for _, _, permit in sorted(found, key=lambda f: f[:2])]


NO_PARTIES = Parties()


def _square(lon: float, lat: float) -> tuple[int, int]:
    return math.floor(lon / _SQUARE_DEG), math.floor(lat / _SQUARE_DEG)


def _distance_m(lon: float, lat: float, permit: Permit) -> float:
    east = (permit.lon - lon) * math.cos(math.radians(lat))
    return math.hypot(east, permit.lat - lat) * _M_PER_DEG
