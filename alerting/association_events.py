"""Words of association: an incident as it grows, and what is decided about a trigger, with the reason. Pure.

Refuses to decide anything: these are values.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from alerting import association_rules as rules
from domain.readings import Float64

RANK = {"spot": 0, "storm": 1, "plum": 2, "stations": 3}
"""The rules that found incidents; what a stronger one has said stands."""

WIDE = ("stations", "plum")
LARGE = ("stations", "plum", "storm")


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

    ``how``: the rule, of ``RANK``; ``rows``: its triggers; ``detected_us``: event time at
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
        return self.how in WIDE

    @property
    def size_m(self) -> float:
        """The diagonal of the box of its stations, 0 without a place."""
        return float(np.sqrt(((self.high - self.low) ** 2).sum())) if self.high[0] >= self.low[0] else 0.0

    @property
    def reach_m(self) -> float:
        """How far beyond that box it takes stations."""
        return max(rules.REACH_M_MIN, rules.REACH_OF_SIZE * self.size_m)

    def gap_m(self, xyz: Float64) -> Float64:
        """Metres from the box to positions ``(..., 3)``, 0 inside."""
        beyond = np.maximum(0, np.maximum(self.low - xyz, xyz - self.high))
        return np.asarray(np.sqrt((beyond**2).sum(axis=-1)))


def because(how: str) -> str:
    """A rule in words."""
    return {
        "spot": "sensors at one spot",
        "storm": "many places in alarm within seconds",
        "plum": "neighbouring buildings shake strongly",
        "stations": "stations within one wave's travel time",
    }[how]
