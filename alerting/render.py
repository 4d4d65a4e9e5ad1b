"""An alert as the contract's JSON object (section 7), and back.

``alert.body`` and ``alert_change.body`` hold exactly this object. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from domain.alerts import Alert
from domain.clock import iso, to_us
from domain.places import Duty, Place


def _iso(us: int | None) -> str | None:
    return None if us is None else iso(us)


def _us(text: str | None) -> int | None:
    return None if text is None else to_us(datetime.fromisoformat(text))


def _place(place: Place) -> dict[str, Any]:
    neighbours = {"neighbours": list(place.neighbours)} if place.neighbours else {}
    return {
        "address_id": place.address_id, "address": place.address, "distance_m": place.distance_m,
        "score": place.score, "method": place.method, "grid": place.grid, "village": place.village,
        "town": place.town, "names": dict(place.names), "data_version": place.data_version,
        **neighbours,
    }  # fmt: skip


def alert_json(alert: Alert, cursor: int) -> dict[str, Any]:
    """The contract's object; ``assignee`` is there only once somebody is assigned."""
    window = alert.evidence.get("window_us")
    located = alert.lon is not None and alert.lat is not None
    body: dict[str, Any] = {
        "id": alert.id, "cursor": cursor, "version": alert.version,
        "kind": alert.kind, "matter": alert.matter, "severity": alert.severity,
        "condition": alert.condition, "state": alert.state, "shelved_until": _iso(alert.shelved_until_us),
        "title": dict(alert.title), "started_at": iso(alert.started_us), "updated_at": iso(alert.updated_us),
        "cleared_at": _iso(alert.cleared_us), "late": alert.late, "count": alert.count,
        "device": {"id": alert.device_id, "kind": alert.device_kind},
        "incident_id": alert.incident_id, "case_id": alert.case_id, "exercise": alert.exercise,
        "value": alert.value, "limit": alert.limit, "unit": alert.unit, "metric": alert.metric,
        "location": {"lon": alert.lon, "lat": alert.lat} if located else None,
        "place": _place(alert.place),
        "duty": [{"unit": d.unit, "role": d.role, "why": d.why, "name": dict(d.name)} for d in alert.duty],
        "evidence": {
            "rule": alert.evidence.get("rule", alert.rule),
            "rule_version": alert.evidence.get("rule_version"),
            "window": [iso(int(us)) for us in window] if window else [],
            "features": alert.evidence.get("features", {}),
            **({"association": alert.evidence["association"]} if "association" in alert.evidence else {}),
        },
        "timeline": {stage: iso(us) for stage, us in alert.timeline_us.items()},
    }  # fmt: skip
    if alert.assignee is not None:
        body["assignee"] = alert.assignee
    return body


def alert_of(body: Mapping[str, Any], rule: str, device: int, episode_us: int) -> Alert:
    """The alert of its JSON and the three columns that the JSON does not carry."""
    place, evidence = body["place"], body["evidence"]
    location = body["location"] or {}
    started_us, updated_us = _us(body["started_at"]), _us(body["updated_at"])
    assert started_us is not None
    assert updated_us is not None
    return Alert(
        id=body["id"], version=body["version"], kind=body["kind"], matter=body["matter"], rule=rule,
        severity=body["severity"], condition=body["condition"], state=body["state"], title=dict(body["title"]),
        device=device, device_id=body["device"]["id"], device_kind=body["device"]["kind"],
        episode_us=episode_us, started_us=started_us, updated_us=updated_us, cleared_us=_us(body["cleared_at"]),
        late=body["late"], count=body["count"], value=body["value"], limit=body["limit"], unit=body["unit"],
        metric=body["metric"], lon=location.get("lon"), lat=location.get("lat"), exercise=body["exercise"],
        place=Place(**{
            **place, "names": dict(place["names"]), "neighbours": tuple(place.get("neighbours", ())),
        }),
        duty=tuple(Duty(d["unit"], d["role"], d["why"], d.get("name", {})) for d in body["duty"]),
        evidence={
            "rule": evidence["rule"], "rule_version": evidence.get("rule_version"),
            "features": evidence["features"],
            "window_us": tuple(us for us in map(_us, evidence["window"]) if us is not None),
            **({"association": evidence["association"]} if "association" in evidence else {}),
        },
        timeline_us={stage: us for stage, us in ((s, _us(t)) for s, t in body["timeline"].items()) if us},
        shelved_until_us=_us(body["shelved_until"]), assignee=body.get("assignee"),
        incident_id=body["incident_id"], case_id=body["case_id"],
    )  # fmt: skip
