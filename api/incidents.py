"""Incidents on their way to clients: who may see which, and what of each. Pure.

An incident may lie in several territories. Whoever has one of them sees it, with the
whole size and reason, but of its members only those in the own area.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from api.filters import AlertFilter, inside, kind_matches
from domain.people import Actor

CHANNEL = "incidents"
AS_FAULT = "device.instant"
"""What an electronic fault counts as where faults of devices are left out."""


@dataclass(slots=True)
class IncidentChange:
    """A committed change: the incident after it, and severity, kind and places before it."""

    cursor: int
    change: str
    incident: dict[str, Any]
    before: dict[str, Any] | None = None
    frames: dict[tuple[str, str], str] = field(default_factory=dict)
    fresh: bool = False
    pushed_us: int | None = None

    def wanted(self, actor: Actor, wanted: AlertFilter) -> bool:
        """Whether a subscriber gets this change; as with alerts, also when it just stopped passing the filter."""
        if not lies_in(self.incident, actor.area):
            return False
        return matches(self.incident, wanted) or (self.before is not None and matches(self.before, wanted))

    def frame(self, id_: str, now_us: int, area: str = "") -> str:
        """The message of this change for subscriptions called ``id_`` of users with this area."""
        text = self.frames.get((id_, area))
        if text is None:
            incident = within(self.incident, area)
            text = self.frames[id_, area] = msgspec.json.encode({
                "type": "incident", "id": id_, "cursor": self.cursor, "change": self.change, "incident": incident,
            }).decode()  # fmt: skip
        return text


def incident_change_of(row: Mapping[str, Any]) -> IncidentChange:
    """A change from a row of ``CHANGES_AFTER``: cursor, change, body, before."""
    before = row["before"]
    decoded = None if before is None else msgspec.json.decode(before)
    return IncidentChange(row["cursor"], row["change"], msgspec.json.decode(row["body"]), decoded)


def in_area(code: str | None, area: str) -> bool:
    """Whether a place lies in an area, or the area in it."""
    return bool(code) and (str(code).startswith(area) or area.startswith(str(code)))


def lies_in(incident: Mapping[str, Any], area: str) -> bool:
    """Whether any of it lies in the area; without a known place it is the city's."""
    return not area or any(in_area(code, area) for code in incident.get("places") or ())


def matches(incident: Mapping[str, Any], wanted: AlertFilter) -> bool:
    """Whether it passes a filter; ``kind`` is the incident's, ``bbox`` looks at its centre."""
    places, center = incident.get("places") or (), incident.get("center") or {}
    return (
        wanted.matches_exercise(incident.get("exercise"))
        and (not wanted.severity or incident["severity"] in wanted.severity)
        and (not wanted.kind or any(kind_matches(incident["kind"], kind) for kind in wanted.kind))
        and not (incident["kind"] == "device_fault" and any(kind_matches(AS_FAULT, k) for k in wanted.without))
        and (not wanted.town or any(code[:9] in wanted.town for code in places))
        and (not wanted.grid or any(in_area(code, prefix) for code in places for prefix in wanted.grid))
        and (wanted.bbox is None or inside(wanted.bbox, center.get("lon"), center.get("lat")))
    )


def within(incident: Mapping[str, Any], area: str) -> dict[str, Any]:
    """The incident as a user with this area sees it."""
    if not area:
        return dict(incident)
    members = [m for m in incident.get("members") or () if in_area(m.get("place"), area)]
    alerts = {m["alert"] for m in members}
    return {
        **incident, "members": members, "alerts": [a for a in incident.get("alerts") or () if a in alerts],
        "places": [code for code in incident.get("places") or () if in_area(code, area)], "clock_faults": [],
    }  # fmt: skip
