"""One alert change on its way to many clients: decided once, encoded once per distinct view.

Pure: a change comes from a row of ``alert_change``, and leaves as text. The views
(area, filter, subscription id) are few, the clients many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

import msgspec

from api.filters import AlertFacts, AlertFilter, facts_of
from api.messages import alert_frame
from domain.clock import iso, to_us
from domain.people import Actor

STAGES = ("sampled", "received", "committed", "detected", "placed", "pushed")
"""The timeline of an alert, in order."""


@dataclass(slots=True)
class Change:
    """A committed change: the alert after it, and what filters looked at before it.

    ``pushed_us``: first push to any live client, None while there was none.
    """

    cursor: int
    change: str
    alert: dict[str, Any]
    facts: AlertFacts
    before: AlertFacts | None = None
    pushed_us: int | None = None
    fresh: bool = False
    encoded: str | None = None
    frames: dict[str, str] = field(default_factory=dict)

    def wanted(self, actor: Actor, wanted: AlertFilter) -> bool:
        """Whether a subscriber gets this change.

        The area is checked on the alert as it is now. A filter also takes what it
        took before: whoever shows an alert must learn that it left.
        """
        if not actor.sees(self.facts.grid, self.facts.village, self.facts.town):
            return False
        return wanted.matches(self.facts) or (self.before is not None and wanted.matches(self.before))

    @property
    def timeline(self) -> dict[str, str]:
        """The alert's timeline with the time of its first push, when there was one."""
        known: dict[str, str] = dict(self.alert.get("timeline") or {})
        if self.pushed_us is not None:
            known["pushed"] = iso(self.pushed_us)
        return known

    def frame(self, id_: str, now_us: int, area: str = "") -> str:
        """The message of this change for subscriptions called ``id_``; the first one sets the pushed time.

        ``area``: of the user; who may see an alert sees all of it.
        """
        if self.encoded is None:
            if self.pushed_us is None:
                self.pushed_us, self.fresh = now_us, True
            self.encoded = msgspec.json.encode({**self.alert, "timeline": self.timeline}).decode()
        text = self.frames.get(id_)
        if text is None:
            text = self.frames[id_] = alert_frame(id_, self.cursor, self.change, self.encoded)
        return text


def change_of(row: Mapping[str, Any]) -> Change:
    """A change from a row of ``CHANGES_AFTER``: cursor, change, body, before, pushed_us."""
    before = row["before"]
    alert = msgspec.json.decode(row["body"])
    return Change(
        cursor=row["cursor"],
        change=row["change"],
        alert=alert,
        facts=facts_of(alert),
        before=None if before is None else facts_of(msgspec.json.decode(before)),
        pushed_us=row["pushed_us"],
    )


def stage_seconds(timeline: Mapping[str, str]) -> dict[str, float]:
    """Seconds from each known point of a timeline to the next; ``total`` from received to pushed.

    Steps that go back (another machine's clock, a run's clock) are left out: they
    measure nothing.
    """
    at_us = {stage: iso_to_us(timeline[stage]) for stage in STAGES if timeline.get(stage)}
    known = list(at_us)
    steps = {later: (at_us[later] - at_us[earlier]) / 1e6 for earlier, later in pairwise(known)}
    if "received" in at_us and "pushed" in at_us:
        steps["total"] = (at_us["pushed"] - at_us["received"]) / 1e6
    return {stage: seconds for stage, seconds in steps.items() if seconds >= 0}


def iso_to_us(text: str) -> int:
    """Microseconds since 1970 of our own ISO text."""
    return to_us(datetime.fromisoformat(text))
