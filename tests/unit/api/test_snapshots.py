"""When a kept snapshot will do for a new subscription."""

from __future__ import annotations

import json

from api.filters import AlertFilter
from api.snapshots import KEPT_MAX, KEPT_US, Snapshot, Snapshots

ALL = ("alerts", "", AlertFilter())


def test_a_kept_snapshot_must_cover_what_was_dispatched_before() -> None:
    kept = Snapshots()
    kept.keep(ALL, Snapshot(7, 1000, "", None))
    assert kept.fresh(ALL, 7, 1000) is not None
    assert kept.fresh(ALL, 6, 1000) is not None
    assert kept.fresh(ALL, 8, 1000) is None
    assert kept.fresh(ALL, None, 1000) is None
    assert kept.fresh(("alerts", "441900126", AlertFilter()), 7, 1000) is None
    assert kept.fresh(("alerts", "", AlertFilter(severity=(1,))), 7, 1000) is None


def test_it_is_kept_for_a_moment_and_few() -> None:
    kept = Snapshots()
    for n in range(KEPT_MAX + 3):
        kept.keep(("alerts", str(n), AlertFilter()), Snapshot(7, 1000, "", None))
    assert len(kept.kept) == KEPT_MAX
    assert kept.fresh(("alerts", str(n), AlertFilter()), 7, 1000 + KEPT_US) is not None
    assert kept.fresh(("alerts", str(n), AlertFilter()), 7, 1001 + KEPT_US) is None
    assert not kept.kept


def test_its_frame_says_when_not_all_are_there() -> None:
    whole = json.loads(Snapshot(7, 0, '{"id":"A"},{"id":"B"}', None).frame("a"))
    assert whole == {"type": "snapshot", "id": "a", "cursor": 7, "items": [{"id": "A"}, {"id": "B"}]}
    part = json.loads(Snapshot(7, 0, "", 6000).frame("a"))
    assert (part["truncated"], part["open"], part["items"]) == (True, 6000, [])
