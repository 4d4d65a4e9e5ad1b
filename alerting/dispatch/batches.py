"""Batches of duty rows: each holds from its start, and may end others.

Nothing is deleted when a new table comes: rows keep their batch, and what holds at a
time follows from the batches' starts. A batch ends the batches it ``replaces`` (``*``
= every batch that started before it); besides, of two rows about exactly the same
thing the one of the newer batch holds from its start on. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from alerting.dispatch.duties import DutyRow


@dataclass(frozen=True, slots=True)
class Batch:
    """One row of table ``duty_batch``; ``starts_us`` microseconds."""

    name: str
    starts_us: int = 0
    replaces: tuple[str, ...] = ()
    note: str = ""

    def ends(self, other: Batch) -> bool:
        """Whether the other batch is over once this one starts."""
        return other.starts_us <= self.starts_us and other.name != self.name and (
            other.name in self.replaces or "*" in self.replaces
        )  # fmt: skip


def in_force(rows: Sequence[DutyRow], batches: Iterable[Batch]) -> list[DutyRow]:
    """The rows with the validity that follows from their batches; a batch not listed started at 0."""
    known = {batch.name: batch for batch in batches}
    for row in rows:
        known.setdefault(row.batch, Batch(row.batch))
    ended: dict[str, tuple[int, str]] = {}
    for batch in known.values():
        over = [(by.starts_us, by.name) for by in known.values() if by.ends(batch)]
        if over:
            ended[batch.name] = min(over)
    started = [_within(row, known[row.batch], ended.get(row.batch)) for row in rows]
    return _newest_of_each(started) if len(known) > 1 else started


def _within(row: DutyRow, batch: Batch, over: tuple[int, str] | None) -> DutyRow:
    """The row, not before its batch starts and not after it is ended."""
    start = max(row.valid_from_us, batch.starts_us)
    if start != row.valid_from_us or batch.starts_us != row.batch_us:
        row = replace(row, valid_from_us=start, batch_us=batch.starts_us)
    return row if over is None else _cut(row, *over)


def _cut(row: DutyRow, at_us: int, by: str) -> DutyRow:
    if row.valid_to_us is not None and row.valid_to_us <= at_us:
        return row
    return replace(row, valid_to_us=at_us, ended_by=by)


def _newest_of_each(rows: Sequence[DutyRow]) -> list[DutyRow]:
    """Rows about the same thing: each ends where the next newer batch's begins."""
    same: dict[tuple[object, ...], list[int]] = {}
    for i, row in enumerate(rows):
        same.setdefault(_subject(row), []).append(i)
    found = list(rows)
    for group in same.values():
        if len(group) > 1:
            for i in group:
                newer = [rows[j] for j in group if rows[j].batch_us > rows[i].batch_us]
                if newer:
                    first = min(newer, key=lambda row: row.valid_from_us)
                    found[i] = _cut(found[i], first.valid_from_us, first.batch)
    return found


def _subject(row: DutyRow) -> tuple[object, ...]:
    """What a row is about: two leads for the same are rivals, two helpers only if they are one unit."""
    scope = (row.role, row.kind, row.matter, row.place, row.severity_min, row.window)
    return scope if row.role == "lead" else (*scope, row.level, row.department, row.source)
