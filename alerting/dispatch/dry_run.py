"""What a new duty table would have done with alerts that were: who would have been told instead.

Both tables are asked at the alert's own time. The new batch counts as though it had
started long before, because it is its rows that are tried and not its date. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from alerting.dispatch.batches import Batch, in_force
from alerting.dispatch.duties import Asked, Context, DutyRow
from alerting.dispatch.table import DutyTable
from domain.alerts import Alert
from domain.clock import iso
from domain.places import Duty

LONG_BEFORE_US = 1
"""A start after that of the rows of a new home (0) and before every alert."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One alert that would have gone elsewhere: unit to role before and after, lead first."""

    alert: Alert
    before: tuple[Duty, ...]
    after: tuple[Duty, ...]

    def __str__(self) -> str:
        a = self.alert
        where = a.place.names.get("village") or a.place.names.get("town") or "地点不明 · place unknown"
        changes = [
            f"lead {_name(self.before[0])} -> {_name(self.after[0])}"
            if self.before[0].unit != self.after[0].unit
            else f"lead stays {_name(self.after[0])}"
        ]
        old, new = ({d.unit: d for d in duties} for duties in (self.before, self.after))
        changes += [f"+ {_name(duty)}" for unit, duty in new.items() if unit not in old]
        changes += [f"- {_name(duty)}" for unit, duty in old.items() if unit not in new]
        return f"{iso(a.started_us)} {a.kind} severity {a.severity} {a.device_id} {where}: {', '.join(changes)}"


def _name(duty: Duty) -> str:
    return duty.name.get("zh") or duty.unit


def tables(
    rows: Sequence[DutyRow], batches: Sequence[Batch], new: Batch, new_rows: Sequence[DutyRow], context: Context
) -> tuple[DutyTable, DutyTable]:
    """The table as it is, and as it would be with the new batch in force."""
    others = [batch for batch in batches if batch.name != new.name]
    newest_us = max([LONG_BEFORE_US, *(batch.starts_us + 1 for batch in others)])
    kept = [row for row in rows if row.batch != new.name]
    with_new = in_force([*kept, *new_rows], [*others, replace(new, starts_us=newest_us)])
    return (
        DutyTable(in_force(rows, batches), context),
        DutyTable([_as_if_long_ago(row, new.name, newest_us) for row in with_new], context),
    )


def _as_if_long_ago(row: DutyRow, name: str, newest_us: int) -> DutyRow:
    """Rows of the tried batch that wait for its start alone hold from ever; what it ends has ended by then."""
    if row.batch == name:
        return replace(row, valid_from_us=0) if row.valid_from_us <= newest_us else row
    return replace(row, valid_to_us=0) if row.ended_by == name else row


def moved(alerts: Iterable[Alert], before: DutyTable, after: DutyTable) -> Iterator[Moved]:
    """Alerts whose lead or whose units differ, in the order given."""
    for alert in alerts:
        asked = Asked(
            alert.kind, alert.severity, alert.place, alert.started_us, alert.matter or "", alert.device_id,
            alert.device_kind, alert.lon, alert.lat,
        )  # fmt: skip
        was, would_be = before.route(asked), after.route(asked)
        if was[0].unit != would_be[0].unit or {d.unit for d in was} != {d.unit for d in would_be}:
            yield Moved(alert, was, would_be)
