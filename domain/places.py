"""Where something is: the result of a location, and the codes of a place.

Codes (China): town 9 digits, village 12, grid cell 15 (= village + 3), address
25 (Shenzhen's rule, district = 00). A shorter code is a prefix of the longer.
"""

from __future__ import annotations

from dataclasses import dataclass

from domain.devices import Device

CITY_LEVELS = ("grid", "village", "town", "city")
"""From the smallest territory to the largest: the way an alert climbs."""


IN_VIEW = "camera field of view"
"""The method of a place that a camera looks at."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a point lies and how sure we are.

    ``method``: device, building, nearest, text, ``camera field of view``, town
    only, area, or none; ``score`` in 0..1; ``distance_m`` to the address, metres.
    ``neighbours``: codes of territories whose border is near (``geo.borders``), nearest
    first; their names stand in ``names`` by code.
    """

    address_id: str | None
    address: str | None
    distance_m: float | None
    score: float
    method: str
    grid: str | None
    village: str | None
    town: str | None
    names: dict[str, str]
    data_version: str
    neighbours: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether at least the town is known."""
        return self.town is not None


UNKNOWN_PLACE = Place(None, None, None, 0.0, "none", None, None, None, {}, "")
"""The place of something nobody can place; such an alert goes to the city's desk."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What is known of where something happened.

    ``lon``, ``lat``: its own WGS-84 point where it is not the device's (a vehicle's);
    ``at_us``: event time, whose division decides; None = the division in force;
    ``box``: where in a camera's picture, x0, y0, x1, y1 in 0..1.
    """

    device: Device
    lon: float | None = None
    lat: float | None = None
    at_us: int | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Duty:
    """One unit that is told, in which role (lead, co, owner), and why."""

    unit: str
    role: str
    why: str
    name: dict[str, str]
