"""What the API needs from the rest of the house, as callables; server/wiring.py fills it in.

The API imports neither ingest nor alerting: it knows their verbs only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from api.hub import Hub
from db.pool import Pool
from domain.errors import NotAllowed
from domain.people import Actor
from domain.places import Duty, Place
from geo.borders import Ground, empty_ground
from geo.search import Found

Readiness = Mapping[str, Mapping[str, Any]]
"""Check name → ``{"ok": bool, "detail": str}``."""


class Act(Protocol):
    """Move an alert: acknowledge, assign, comment, shelve, unshelve, close, reopen."""

    async def __call__(self, action: str, alert_id: str, body: dict[str, Any], actor: Actor) -> dict[str, Any]:
        """The alert after the change. Raises NotFound, NotAllowed, VersionConflict, TransitionRefused."""
        ...


class Locate(Protocol):
    """Places of WGS-84 points in bulk."""

    def __call__(self, lon: Any, lat: Any) -> Sequence[Place]:
        """Arrays of degrees, shape ``(n,)``, to ``n`` places."""
        ...


class Route(Protocol):
    """Who would be told."""

    def __call__(
        self,
        kind: str,
        severity: int,
        place: Place,
        *,
        matter: str | None = None,
        at_us: int | None = None,
        lon: float | None = None,
        lat: float | None = None,
    ) -> tuple[Sequence[Duty], Sequence[Any]]:
        """The duties and, step by step, why; now unless ``at_us``. WGS-84 degrees find works nearby."""
        ...


class OnDuty(Protocol):
    """Who of a unit answers at a time."""

    def __call__(self, unit: str, at_us: int) -> Mapping[str, Any]:
        """``people`` (name, contact), ``desk``, ``why``, ``until`` and ``then``; times are ISO 8601 or None."""
        ...


def desk_only(unit: str, at_us: int) -> Mapping[str, Any]:
    """For a house without a rota."""
    return {"people": [], "desk": True, "why": "", "until": None, "then": []}


class Search(Protocol):
    """Addresses and places by what people type."""

    def __call__(self, typed: str, limit: int) -> Sequence[Found] | None:
        """A few places and up to ``limit`` addresses, each best first; None when there is no index (yet)."""
        ...


def no_search(typed: str, limit: int) -> Sequence[Found] | None:
    """For a house without an index: the database is asked for the words."""
    return None


def no_hash(password: str) -> str:
    """For a house without a broker. Raises: NotAllowed."""
    raise NotAllowed("this server makes no broker credentials")


class PlaceDevice(Protocol):
    """The place of a device from what the registry knows of it."""

    def __call__(self, address_id: str | None, lon: float | None, lat: float | None) -> Place:
        """WGS-84 degrees; an unknown place when nothing is known."""
        ...


@dataclass(frozen=True, slots=True)
class ApiPorts:
    """All that ``create_app`` is given.

    ``readiness``: the checks of ``/readyz`` beside the API's own; ``now_us``: the
    wall clock, microseconds since 1970; ``demo``: demo accounts exist; ``run_mode``:
    all | ingest | api; ``ground``: outlines and addresses as they are now.
    """

    pool: Pool
    hub: Hub
    act: Act
    locate: Locate
    route: Route
    place_device: PlaceDevice
    readiness: Callable[[], Awaitable[Readiness]]
    now_us: Callable[[], int]
    demo: bool = False
    run_mode: str = "all"
    timezone: str = "Asia/Shanghai"
    on_duty: OnDuty = desk_only
    ground: Callable[[], Ground] = empty_ground
    search: Search = no_search
    hash_device_password: Callable[[str], str] = no_hash
