"""What the trip service asks of a store, and the rows that pass between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from alerting.trips.permits import Permissions

Row = tuple[int, float, float, float | None, str | None, str | None]
"""time_us, lon, lat, speed_kmh, bed, cover of a stored position."""


@dataclass(frozen=True, slots=True)
class StoredTrip:
    """A trip as the table has it; ``from_us`` to ``to_us`` is its time."""

    id: str
    from_us: int
    to_us: int
    state: str
    case_id: str | None


@dataclass(frozen=True, slots=True)
class StoredCrossing:
    """A hand-over that has been told and not withdrawn."""

    left: str | None
    entered: str | None
    at_us: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LegRow:
    """A leg of a trip for the table."""

    level: str
    number: int
    code: str | None
    from_us: int
    to_us: int
    because: str | None


@dataclass(frozen=True, slots=True)
class CaseWrite:
    """The city's prepared case: its body and its parts, (time_us, reason, body) each."""

    id: str
    body: dict[str, Any]
    parts: tuple[tuple[int, str, dict[str, Any]], ...]


@dataclass(frozen=True, slots=True)
class TripWrite:
    """A trip as it stands now. ``case`` None leaves the case as it is."""

    stored: StoredTrip
    device: int
    exercise: str | None
    because: str | None
    towns: tuple[str, ...]
    body: dict[str, Any]
    legs: tuple[LegRow, ...]
    case: CaseWrite | None


@dataclass(frozen=True, slots=True)
class HandoverWrite:
    """One more row of ``handover``."""

    device: int
    trip_id: str | None
    exercise: str | None
    change: str
    crossing: StoredCrossing


class TripStore(Protocol):
    """Durable trips. All methods raise DatabaseUnavailable when the database does not answer."""

    async def load_permissions(self) -> Permissions:
        """All works sites and truck permits."""
        ...

    async def trip_at(self, device: int, at_us: int) -> StoredTrip | None:
        """The newest trip of a vehicle that began at or before a time and was not withdrawn."""
        ...

    async def positions(self, device: int, from_us: int, limit: int) -> list[Row]:
        """A vehicle's positions from a time on, by time, at most ``limit``."""
        ...

    async def told(self, device: int, from_us: int) -> tuple[list[StoredTrip], list[StoredCrossing]]:
        """The trips that reach beyond a time, and the hand-overs since it that still stand."""
        ...

    async def write(self, trips: Sequence[TripWrite], handovers: Sequence[HandoverWrite], at_us: int) -> None:
        """All of it in one transaction; whoever waits for hand-overs is woken by the commit."""
        ...

    async def withdraw(self, trips: Sequence[StoredTrip], at_us: int) -> None:
        """Late points disproved these trips; their prepared cases are cancelled."""
        ...
