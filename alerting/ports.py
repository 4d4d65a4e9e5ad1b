"""What the service asks of a store: the shape that the real and the fake one share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from alerting.detectors.base import Rule
from alerting.dispatch.duties import Context, DutyRow
from alerting.dispatch.rota import Rota
from alerting.lifecycle import Change
from domain.alerts import Alert

Pair = tuple[str, int]
"""(rule, device key): a detector's condition has one newest alert."""

Decide = Callable[[Alert, dict[str, Any]], Change | None]
"""The locked alert and its JSON → the change, or None for none; may raise to refuse."""


@dataclass(frozen=True, slots=True)
class Write:
    """One change to be written; version 1 is a new alert."""

    change: Change
    actor: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Stale:
    """Nothing was written: these alerts are not (or already) as the writer thought."""

    pairs: tuple[Pair, ...]


class AlertStore(Protocol):
    """Durable alerts. All methods raise DatabaseUnavailable when the database does not answer."""

    async def load_rules(self) -> list[Rule]:
        """All rules, the defaults put in first when there are none; raises SettingsError."""
        ...

    async def load_duties(self) -> list[DutyRow]:
        """All duty rows, the defaults put in first when there are none."""
        ...

    async def duty_stamp(self) -> str:
        """Changes whenever what ``load_duties`` and ``load_duty_context`` read has changed."""
        ...

    async def load_duty_context(self, zone: ZoneInfo) -> tuple[Context, Rota]:
        """What duty rows refer to: the calendar, whose things are, and who is on duty."""
        ...

    async def load_open(self) -> list[Alert]:
        """Alerts not closed, or closed with their condition still active; oldest episode first."""
        ...

    async def newest(self, pairs: Sequence[Pair]) -> dict[Pair, Alert]:
        """The newest alert of each pair that has one."""
        ...

    async def write(self, writes: Sequence[Write]) -> list[int] | Stale:
        """All changes in one transaction, in order; their cursors, or Stale and nothing written."""
        ...

    async def act(self, alert_id: str, decide: Decide, actor: str, at_us: int) -> tuple[Alert, dict[str, Any]]:
        """Lock one alert, decide, write; the alert and its JSON as they stand. Raises NotFound."""
        ...

    async def due_shelves(self, now_us: int) -> list[str]:
        """Ids of alerts whose shelving is over."""
        ...
