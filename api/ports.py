"""What the API needs from the rest of the house, as callables; server/wiring.py fills it in.

The API imports neither ingest nor alerting: it knows their verbs only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from api.hub import Hub
from db.media import MediaFolder
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

    def __call__(self, lon: Any, lat: Any, at_us: Any = None) -> Sequence[Place]:
        """Arrays of degrees, shape ``(n,)``, to ``n`` places now, or in the divisions of event times ``(n,)``."""
        ...


class GroundAt(Protocol):
    """Outlines and addresses."""

    def __call__(self, at_us: int | None = None) -> Ground:
        """As they are now, or as they were at an event time."""
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
        device: str = "",
        device_kind: str = "",
    ) -> tuple[Sequence[Duty], Sequence[Any]]:
        """The duties and, step by step, why; now unless ``at_us``.

        WGS-84 degrees find works nearby, the device its maintainer.
        """
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
class Received:
    """What became of a hook's body: contents taken in, and (reason, detail) of each that is in quarantine."""

    accepted: int
    quarantined: Sequence[tuple[str, str]] = ()


class TakeHook(Protocol):
    """Hand a vendor's message over to ingest."""

    async def __call__(self, adapter: str, device: str | None, picture: str | None, body: bytes) -> Received:
        """Returns once it is committed or quarantined. Raises: DatabaseUnavailable."""
        ...


@dataclass(slots=True)
class HookPorts:
    """The HTTP intake: which adapters are open, their secrets (adapter → secret), and how many are under way."""

    take: TakeHook
    adapters: frozenset[str]
    secrets: Mapping[str, str] = field(repr=False)
    under_way: int = 0


class RuleBook(Protocol):
    """Detection rules. All raise DatabaseUnavailable."""
    async def all(self) -> list[dict[str, Any]]:
        """All rules, by id."""
    async def get(self, rule_id: str) -> dict[str, Any]:
        """One rule with its ``versions``. Raises NotFound."""
    async def put(self, rule_id: str, body: Mapping[str, Any], actor: str) -> tuple[dict[str, Any], bool]:
        """The rule as it is then, with ``warnings``; whether it is new. Raises PayloadError, VersionConflict."""
    async def delete(self, rule_id: str, version: int | None, actor: str, note: str) -> None:
        """Remove a rule. Raises NotFound, VersionConflict."""
    async def backtest(
        self,
        rule_id: str,
        body: Mapping[str, Any] | None,
        *,
        begin_us: int | None = None,
        end_us: int | None = None,
        seconds: float = 60.0,
        progress: Callable[[float, str], Awaitable[None]] | None = None,
    ) -> dict[str, Any]:
        """What a rule would have raised over stored data. Raises NotFound, PayloadError."""
@dataclass(frozen=True, slots=True)
class ApiPorts:
    """All that ``create_app`` is given.

    ``readiness``: the checks of ``/readyz`` beside the API's own; ``now_us``: the
    wall clock, microseconds since 1970; ``demo``: demo accounts exist; ``run_mode``:
    all | ingest | api; ``ground``: outlines and addresses as they are now; ``hooks``:
    None in a process without ingest; ``media``: the folder of pictures and clips.
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
    ground: GroundAt = empty_ground
    search: Search = no_search
    hooks: HookPorts | None = None
    media: MediaFolder | None = None
    rules: RuleBook | None = None
    hash_device_password: Callable[[str], str] = no_hash
