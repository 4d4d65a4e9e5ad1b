from __future__ import annotations

from dataclasses import replace

import pytest

from alerting.detectors.camera_events import CameraEvents
from domain.alerts import Detection
from domain.readings import CameraEvent
from tests.unit.alerting.blocks import T0, S, default_rule


def event(
    second: float, phase: str = "start", name: str = "e1", score: float | None = 0.8, **more: object
) -> CameraEvent:
    base = CameraEvent(7, name, phase, T0 + round(second * S), T0 + round(second * S), False, "fire", score)
    return replace(base, **more)  # type: ignore[arg-type]


def fire() -> CameraEvents:
    return CameraEvents(default_rule("camera.fire"))


def phases(found: list[Detection]) -> list[tuple[str, int, float]]:
    return [(d.phase, d.severity, (d.at_us - T0) / S) for d in found]


def test_start_update_end_is_one_episode_with_its_evidence() -> None:
    found = fire().feed(
        [
            event(0, box=(0.1, 0.1, 0.2, 0.2), snapshot_url="s"),
            event(1, "update", score=0.95),
            event(5, "end"),
        ]
    )
    assert phases(found) == [("onset", 2, 0), ("update", 1, 1), ("clear", 1, 5)]
    assert found[0].kind == "camera.fire"
    assert found[0].features["event_id"] == "e1"
    assert found[0].features["snapshot_url"] == "s"
    assert {d.episode_us for d in found} == {T0}


def test_a_low_score_waits_for_a_better_one() -> None:
    found = fire().feed([event(0, score=0.3), event(1, "update", score=0.7), event(2, "end")])
    assert phases(found) == [("onset", 2, 1), ("clear", 2, 2)]


def test_no_score_counts() -> None:
    assert phases(fire().feed([event(0, score=None)])) == [("onset", 1, 0)]


def test_other_types_late_and_repeated_messages_say_nothing() -> None:
    camera = fire()
    assert camera.feed([event(0, type="smoke"), event(0, late=True), event(0, "end")]) == []
    both = [event(0), event(1, "update")]
    assert phases(camera.feed(both)) == [("onset", 2, 0)]
    assert camera.feed(both) == []


def test_overlapping_events_end_with_the_last() -> None:
    found = fire().feed([event(0), event(1, name="e2"), event(2, "end"), event(3, "end", name="e2")])
    assert phases(found) == [("onset", 2, 0), ("update", 2, 1), ("clear", 2, 3)]


def test_an_event_without_end_is_given_up() -> None:
    found = fire().feed([event(0), event(301, name="e2")])
    assert phases(found) == [("onset", 2, 0), ("clear", 2, 300), ("onset", 2, 301)]


def test_a_restored_episode_ends() -> None:
    camera = fire()
    camera.restore(7, T0, T0 + S, 2, {"events": ["e1"], "score": 0.8})
    assert camera.feed([event(0), event(1, "update")]) == []
    assert phases(camera.feed([event(9, "end")])) == [("clear", 2, 9)]


@pytest.mark.parametrize("cut", range(5))
def test_a_stream_equals_its_blocks(cut: int) -> None:
    events = [
        event(0),
        event(1, name="e2", score=0.95),
        event(2, "end"),
        event(3, "end", name="e2"),
        event(9, name="e3"),
    ]
    camera = fire()
    assert camera.feed(events[:cut]) + camera.feed(events[cut:]) == fire().feed(events)
