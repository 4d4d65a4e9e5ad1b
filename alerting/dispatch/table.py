"""The duty table, compiled: an alert looks only at rows that can concern it.

Rows lie by (kind pattern, matter) and then by the place's code prefix. An alert finds
the few patterns that fit its kind once (kept by kind), and asks each for the prefixes
of its place: some ten dictionary reads, whatever the size of the table. The answer is
that of ``duties.route_asked`` over all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alerting.dispatch.duties import Asked, Context, DutyRow, Routing, Step, decide, deepest, label, lost
from alerting.dispatch.matters import matches
from alerting.dispatch.windows import Moment
from domain.places import Duty

LOST_ROWS_MAX = 200
"""Rows that lost which an explanation lists one by one; the rest is counted."""

KINDS_KEPT_MAX = 4096

_SOME_MOMENT = Moment(0, 0, True, True)
"""For tables in which no row asks for the time of day."""

_Numbered = tuple[int, DutyRow]
_ByPlace = dict[str, list[_Numbered]]


class DutyTable:
    """Immutable; a changed table is a new one."""

    def __init__(self, rows: Sequence[DutyRow], context: Context | None = None) -> None:
        self.rows = rows
        self.context = context or Context()
        self._index: dict[tuple[str, str], _ByPlace] = {}
        lengths: set[int] = set()
        self._timed = False
        for number, row in enumerate(rows):
            places = self._index.setdefault((row.kind, row.matter), {})
            places.setdefault(row.place, []).append((number, row))
            lengths.add(len(row.place))
            self._timed = self._timed or not row.window.always
        self._lengths = sorted(lengths)
        self._of: dict[tuple[str, str], list[_ByPlace]] = {}

    def route(self, asked: Asked) -> tuple[Duty, ...]:
        """The units that are told, lead first; nothing is said of the way there."""
        found = list(self._candidates(asked))
        found.sort()
        moment = self.context.calendar.moment(asked.at_us) if self._timed else _SOME_MOMENT
        parties = self.context.parties
        told = [row for _, row in found if lost(row, asked, moment, parties) is None]
        return decide(told, asked, parties)

    def explain(self, asked: Asked) -> Routing:
        """The same with every step: what lost and why (at most ``LOST_ROWS_MAX`` one by one), what won."""
        candidates = sorted(self._candidates(asked))
        moment, parties = self.context.calendar.moment(asked.at_us), self.context.parties
        near: list[Step] = []
        told: list[DutyRow] = []
        for _, row in candidates:
            reason = lost(row, asked, moment, parties)
            if reason is None:
                told.append(row)
            else:
                near.append(Step(label(row), "lost", reason))
        steps = near[:LOST_ROWS_MAX]
        seen = {number for number, _ in candidates}
        for number, row in self._others(asked, seen):
            if len(steps) >= LOST_ROWS_MAX:
                break
            reason = lost(row, asked, moment, parties)
            assert reason is not None, f"the index has missed row {number}"
            steps.append(Step(label(row), "lost", reason))
        unsaid = len(self.rows) - len(told) - len(steps)
        if unsaid > 0:
            why = "another kind, matter or place" if len(near) <= LOST_ROWS_MAX else "as the ones above"
            steps.append(Step(f"{unsaid} more rows", "lost", why))
        return Routing(decide(told, asked, parties, steps), tuple(steps))

    def _candidates(self, asked: Asked) -> Iterator[_Numbered]:
        code = deepest(asked.place)
        prefixes = [code[:length] for length in self._lengths if length <= len(code)]
        for places in self._fitting(asked.kind, asked.matter):
            for prefix in prefixes:
                bucket = places.get(prefix)
                if bucket is not None:
                    yield from bucket

    def _fitting(self, kind: str, matter: str) -> list[_ByPlace]:
        """The parts of the index for a kind and matter; kept, because few kinds come often."""
        known = self._of.get((kind, matter))
        if known is None:
            known = [
                places
                for (pattern, only), places in self._index.items()
                if (not only or only == matter) and matches(pattern, kind)
            ]
            if len(self._of) >= KINDS_KEPT_MAX:
                self._of.clear()
            self._of[kind, matter] = known
        return known

    def _others(self, asked: Asked, seen: set[int]) -> Iterator[_Numbered]:
        """Rows that are no candidates: those of the kind and matter elsewhere first."""
        fitting = self._fitting(asked.kind, asked.matter)
        if len(self.rows) <= LOST_ROWS_MAX:
            yield from ((i, row) for i, row in enumerate(self.rows) if i not in seen)
            return
        chosen = {id(places) for places in fitting}
        others = (places for places in self._index.values() if id(places) not in chosen)
        for group in (fitting, others):
            for places in group:
                for bucket in places.values():
                    yield from (numbered for numbered in bucket if numbered[0] not in seen)
