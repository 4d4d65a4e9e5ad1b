"""An ``AlertStore`` in memory; it passes the same contract tests as the real one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from alerting.detectors.base import Rule
from alerting.dispatch.defaults import DEFAULT_DUTIES
from alerting.dispatch.duties import Context, DutyRow
from alerting.dispatch.parties import NO_PARTIES
from alerting.dispatch.rota import Rota
from alerting.dispatch.windows import Calendar
from alerting.ports import Decide, Pair, Stale, Write
from alerting.render import alert_json
from domain.alerts import Alert
from domain.errors import DatabaseUnavailable, NotFound
from tests.unit.alerting.blocks import default_rules


class FakeStore:
    """Alerts as objects; ``down``: how many next calls fail, ``after_commit``: fail though it was written."""

    def __init__(self) -> None:
        self.alerts: dict[str, Alert] = {}
        self.changes: list[tuple[int, str, str, str, dict[str, Any]]] = []  # cursor, change, actor, reason, body
        self.down = 0
        self.after_commit = False
        self.duties = list(DEFAULT_DUTIES)
        self.parties = NO_PARTIES

    def _answer(self) -> None:
        if self.down:
            self.down -= 1
            raise DatabaseUnavailable("the fake is down")

    async def load_rules(self) -> list[Rule]:
        self._answer()
        return default_rules()

    async def load_duties(self) -> list[DutyRow]:
        self._answer()
        return list(self.duties)

    async def duty_stamp(self) -> str:
        self._answer()
        return f"{id(self.duties)} {id(self.parties)}"

    async def load_duty_context(self, zone: ZoneInfo) -> tuple[Context, Rota]:
        self._answer()
        calendar = Calendar(zone)
        return Context(calendar, self.parties), Rota(calendar)

    async def load_open(self) -> list[Alert]:
        self._answer()
        found = [a for a in self.alerts.values() if a.state != "closed" or a.condition == "active"]
        return [replace(a) for a in sorted(found, key=lambda a: (a.episode_us, a.id))]

    async def newest(self, pairs: Sequence[Pair]) -> dict[Pair, Alert]:
        self._answer()
        found: dict[Pair, Alert] = {}
        for a in sorted(self.alerts.values(), key=lambda a: a.episode_us):
            if (a.rule, a.device) in pairs:
                found[a.rule, a.device] = replace(a)
        return found

    async def write(self, writes: Sequence[Write]) -> list[int] | Stale:
        if not writes:
            return []
        self._answer()
        before, stale = dict(self.alerts), []
        for write in writes:
            a = write.change.alert
            known = self.alerts.get(a.id)
            taken = {(b.rule, b.device, b.episode_us) for b in self.alerts.values() if b.id != a.id}
            if (known.version if known else 0) != a.version - 1 or (a.rule, a.device, a.episode_us) in taken:
                stale.append((a.rule, a.device))
                continue
            self.alerts[a.id] = replace(a)
        if stale:
            self.alerts = before
            return Stale(tuple(stale))
        cursors = [self._append(w.change.alert, w.change.change, w.actor, w.change.reason) for w in writes]
        if self.after_commit:
            self.after_commit = False
            raise DatabaseUnavailable("the answer to the commit was lost")
        return cursors

    async def act(self, alert_id: str, decide: Decide, actor: str, at_us: int) -> tuple[Alert, dict[str, Any]]:
        self._answer()
        alert = self.alerts.get(alert_id)
        if alert is None:
            raise NotFound(f"no alert {alert_id}")
        body = next(b for _, _, _, _, b in reversed(self.changes) if b["id"] == alert_id)
        change = decide(replace(alert), body)
        if change is None:
            return alert, body
        self.alerts[alert_id] = replace(change.alert)
        self._append(change.alert, change.change, actor, change.reason)
        return change.alert, self.changes[-1][4]

    async def due_shelves(self, now_us: int) -> list[str]:
        self._answer()
        due = [a for a in self.alerts.values() if a.shelved_until_us is not None and a.shelved_until_us <= now_us]
        return sorted(a.id for a in due if a.state != "closed")

    def _append(self, alert: Alert, change: str, actor: str, reason: str) -> int:
        cursor = len(self.changes) + 1
        self.changes.append((cursor, change, actor, reason, alert_json(alert, cursor)))
        return cursor
