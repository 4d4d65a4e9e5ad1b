"""Concentric zones (圈层) round a point: what lies in which ring, and who is told there.

A ring is ``(inner, outer]``: what stands exactly on an edge belongs to the inner
ring, so a thing is in one ring only. Territories are in every ring they have ground
in. A ring takes the strictest action that a rule wants anywhere in it, so a ring
drawn wider than the rule's evacuates too many rather than too few.

Rules come as rows of table ``zone_rule``; only the rows with the longest kind
pattern count, so a city's own rows for ``fire.*`` replace the general ones whole.
Pure: nothing here reads a database or a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.errors import PayloadError
from domain.places import CITY_LEVELS

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

ZONE_RADII_M = (50.0, 200.0, 500.0)
"""The rings where neither the caller nor a rule names others."""

RADIUS_M_MAX = 5_000.0
RINGS_MAX = 8

PLANE_SLACK = 1.01
"""The plane's scale is off by up to 0.2 %: so much farther one looks on it for what is within some metres."""

_AXIS_M = 6378137.0
_ECCENTRICITY2 = 0.00669437999014


def check_radii(radii_m: Sequence[float]) -> tuple[float, ...]:
    """Outer edges of rings, rising. Raises: PayloadError ``bad_radii``."""
    rising = all(a < b for a, b in pairwise(radii_m))
    if not 1 <= len(radii_m) <= RINGS_MAX or not rising or not 0 < radii_m[0] <= radii_m[-1] <= RADIUS_M_MAX:
        raise PayloadError(
            "bad_radii",
            f"radii: one to {RINGS_MAX} rising numbers of metres up to {RADIUS_M_MAX:g}, such as 50,200,500",
        )
    return tuple(float(radius) for radius in radii_m)


def ring_of(metres: ArrayLike, radii_m: Sequence[float]) -> Int64:
    """The ring of each distance, ``(n,)``; ``len(radii_m)`` = outside all (NaN too)."""
    return np.searchsorted(np.asarray(radii_m, np.float64), np.asarray(metres, np.float64), side="left")


def ground_m(lon: ArrayLike, lat: ArrayLike, lon2: ArrayLike, lat2: ArrayLike) -> Float64:
    """Metres between points a few kilometres apart, by the WGS-84 radii at their middle latitude (1e-5)."""
    one, two = np.asarray(lat, np.float64), np.asarray(lat2, np.float64)
    angle = np.radians((one + two) / 2.0)
    magic = 1.0 - _ECCENTRICITY2 * np.sin(angle) ** 2
    turned = np.asarray(lon2, np.float64) - np.asarray(lon, np.float64)
    east = np.radians(turned) * _AXIS_M / np.sqrt(magic) * np.cos(angle)
    north = np.radians(two - one) * _AXIS_M * (1.0 - _ECCENTRICITY2) / magic**1.5
    return np.asarray(np.hypot(east, north))


@dataclass(frozen=True, slots=True)
class Near:
    """Pairs of a query point and a thing near it, by point, then metres, then row; all ``(m,)``."""

    point: Int64
    row: Int64
    metres: Float64

    def pairs(self) -> Iterator[tuple[int, int, float]]:
        """One (point, row, metres) after the other."""
        return zip(self.point.tolist(), self.row.tolist(), self.metres.tolist(), strict=True)


@dataclass(frozen=True, slots=True)
class TerritoryNear:
    """A territory and the metres to its nearest and farthest ground from a point."""

    level: str
    code: str
    nearest_m: float
    farthest_m: float

    def in_ring(self, inner_m: float, outer_m: float) -> bool:
        """Whether it has ground in the ring; the innermost ring holds the point itself."""
        return self.nearest_m <= outer_m and (self.farthest_m > inner_m or inner_m == 0)


@dataclass(frozen=True, slots=True)
class ZoneRule:
    """One row of table ``zone_rule``: within ``radius_m`` this action, told to that unit of each territory.

    ``severity_min``: holds for alerts of this severity or worse; ``department`` '' =
    the territory itself; ``name``: text with ``{place}``.
    """

    kind: str
    severity_min: int
    radius_m: float
    action: str
    level: str
    department: str
    name: str
    name_en: str
    why: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """A unit that is told in a ring, and why."""

    unit: str
    name: Mapping[str, str]
    why: str


@dataclass(frozen=True, slots=True)
class Ring:
    """One ring: its edges in metres, what is done in it (None = no rule says), and who is told."""

    inner_m: float
    outer_m: float
    action: str | None
    recipients: tuple[Recipient, ...]
    territories: tuple[TerritoryNear, ...]


def rules_in_force(rules: Sequence[ZoneRule], severity: int) -> list[ZoneRule]:
    """Of rows that fit the kind: those for this severity with the longest pattern, by radius."""
    told = [rule for rule in rules if severity <= rule.severity_min]
    longest = max((len(rule.kind) for rule in told), default=0)
    return sorted((r for r in told if len(r.kind) == longest), key=lambda r: (r.radius_m, r.level, r.department))


def radii_of(rules: Sequence[ZoneRule]) -> tuple[float, ...]:
    """The rings that the rules in force draw, or the usual ones."""
    return tuple(sorted({rule.radius_m for rule in rules})) or ZONE_RADII_M


def draw_rings(
    radii_m: Sequence[float],
    rules: Sequence[ZoneRule],
    territories: Sequence[TerritoryNear],
    name_of: Callable[[str], Mapping[str, str]],
    otherwise: Recipient | None = None,
) -> list[Ring]:
    """The rings, innermost first, by ``rules_in_force``.

    ``name_of``: a territory's code to its name, zh and en; ``otherwise``: who is told
    in a ring that wants something done and touches no territory, so never nobody.
    """
    rings = []
    for inner, outer in zip((0.0, *radii_m), radii_m, strict=False):
        inside = tuple(t for t in territories if t.in_ring(inner, outer))
        edge = min((rule.radius_m for rule in rules if rule.radius_m > inner), default=None)
        told = [rule for rule in rules if rule.radius_m == edge]
        recipients = _recipients(told, inside, name_of)
        if told and not recipients and otherwise is not None:
            recipients = (otherwise,)
        rings.append(Ring(inner, outer, told[0].action if told else None, recipients, inside))
    return rings


def _recipients(
    rules: Sequence[ZoneRule], inside: Sequence[TerritoryNear], name_of: Callable[[str], Mapping[str, str]]
) -> tuple[Recipient, ...]:
    found: dict[str, Recipient] = {}
    for rule in rules:
        for level, code in _codes(rule.level, inside):
            unit = f"{level}:{code}" + (f":{rule.department}" if rule.department else "")
            names = name_of(code)
            name = {
                "zh": rule.name.replace("{place}", names["zh"]), "en": rule.name_en.replace("{place}", names["en"]),
            }  # fmt: skip
            found.setdefault(unit, Recipient(unit, name, rule.why))
    return tuple(found.values())


def _codes(level: str, inside: Sequence[TerritoryNear]) -> list[tuple[str, str]]:
    """The territories of a level, or of the next larger one that is known there."""
    for wanted in CITY_LEVELS[CITY_LEVELS.index(level) :]:
        if wanted == "city":
            return [("city", code) for code in dict.fromkeys(t.code[:6] for t in inside)]
        codes = [(wanted, t.code) for t in inside if t.level == wanted]
        if codes:
            return codes
    return []


def ring_json(ring: Ring) -> dict[str, Any]:
    """A ring without what stands in it."""
    return {
        "from_m": ring.inner_m, "to_m": ring.outer_m, "action": ring.action,
        "action_name": dict(ACTION_NAMES[ring.action]) if ring.action else None,
        "recipients": [{"unit": r.unit, "name": dict(r.name), "why": r.why} for r in ring.recipients],
    }  # fmt: skip


ACTION_NAMES: Mapping[str, Mapping[str, str]] = {
    "evacuate": {"zh": "疏散", "en": "Evacuate"},
    "control": {"zh": "管控", "en": "Control access"},
    "notify": {"zh": "告知", "en": "Notify"},
}
