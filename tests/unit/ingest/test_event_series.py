"""A camera's events of one type are a series of their own."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

from ingest.batching import assemble, event_series, mark_late
from ingest.messages import Message, Rules, decode
from ingest.timeliness import Timeliness

NOW_S = 1_795_413_600
RULES = Rules(ZoneInfo("Asia/Shanghai"), auto_register=True, runs_as_live=True)


def event(type_: str, t: float) -> Message:
    body = {"event_id": f"{type_}{t}", "phase": "start", "t": t, "type": type_}
    return Message("cameras/A/events", json.dumps(body).encode(), NOW_S * 1_000_000, None, False, 1, 1)


def test_an_event_of_one_type_does_not_make_one_of_another_late() -> None:
    decoded, _ = decode([event("car", NOW_S), event("fire", NOW_S - 5), event("fire", NOW_S - 6)], RULES)
    rows = assemble(decoded, {("A", None): 1}, {})
    mark_late(rows, Timeliness())
    assert [e.late for _, e in rows.camera_events] == [False, False, True]


def test_senders_cannot_grow_the_series_without_end() -> None:
    assert len({event_series(f"type{n}") for n in range(20_000)}) <= 1024
