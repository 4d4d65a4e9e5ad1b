from __future__ import annotations

import json

from alerting.render import alert_json, alert_of
from domain.places import UNKNOWN_PLACE
from tests.unit.alerting.blocks import T0, S
from tests.unit.alerting.store_contract import alert

KEYS = {
    "id", "cursor", "version", "kind", "matter", "severity", "condition", "state", "shelved_until", "title",
    "started_at", "updated_at", "cleared_at", "late", "count", "device", "incident_id", "case_id", "exercise",
    "value", "limit", "unit", "metric", "location", "place", "duty", "evidence", "timeline",
}  # fmt: skip


def test_the_keys_are_the_contracts() -> None:
    body = alert_json(alert(), 12)
    assert set(body) == KEYS
    assert (body["cursor"], body["version"], body["device"]) == (
        12,
        1,
        {"id": "VB-0007", "kind": "vibration"},
    )
    assert set(body["place"]) == {
        "address_id", "address", "distance_m", "score", "method", "grid", "village", "town", "names",
        "data_version",
    }  # fmt: skip
    assert set(body["evidence"]) == {"rule", "rule_version", "window", "features"}
    assert list(body["timeline"]) == ["sampled", "received", "committed", "detected", "placed"]
    assert body["started_at"] == "2023-11-14T22:13:20.000000Z"


def test_there_and_back_through_json() -> None:
    whole = alert(
        shelved_until_us=T0 + S, cleared_us=T0 + 5, assignee="li", exercise="run-1", incident_id="i"
    )
    bare = alert(lon=None, lat=None, place=UNKNOWN_PLACE, duty=(), matter=None)
    for a in (whole, bare):
        body = json.loads(json.dumps(alert_json(a, 3)))
        assert alert_of(body, a.rule, a.device, a.episode_us) == a
    assert alert_json(bare, 1)["location"] is None
