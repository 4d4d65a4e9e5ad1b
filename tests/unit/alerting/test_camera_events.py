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


# ---------------------------------------------------------------- persistence, loitering, quiet


def fussy(**settings: object) -> CameraEvents:
    return CameraEvents(default_rule("camera.fire", **settings))


def test_one_glimpse_is_not_told_where_several_are_wanted() -> None:
    camera = fussy(persist_n=3)
    assert camera.feed([event(0), event(1, "update", score=0.2), event(2, "update"), event(3, "end")]) == []
    found = camera.feed([event(10, name="e2"), event(11, "update", name="e2"), event(12, "update", name="e2")])
    assert phases(found) == [("onset", 2, 10)]
    assert found[0].features["seen_n"] == 3
    assert phases(camera.feed([event(20, "end", name="e2")])) == [("clear", 2, 20)]


def test_who_stays_is_loitering_and_who_passes_is_not() -> None:
    camera = fussy(persist_s=60)
    assert camera.feed([event(0), event(30, "update"), event(50, "end")]) == []
    found = camera.feed([event(100, name="e2"), event(140, "update", name="e2"), event(161, "update", name="e2")])
    assert phases(found) == [("onset", 2, 100)]
    assert found[0].features["seen_s"] == 61


def test_two_who_take_turns_are_one_presence() -> None:
    camera = fussy(persist_s=60)
    events = [event(0), event(40, name="e2"), event(45, "end"), event(70, "update", name="e2")]
    assert phases(camera.feed(events)) == [("onset", 2, 0)]


def test_who_stayed_without_a_further_message_is_told_at_the_end() -> None:
    assert phases(fussy(persist_s=60).feed([event(0), event(90, "end")])) == [("onset", 2, 0), ("clear", 2, 90)]


def test_the_like_of_what_has_just_ended_is_not_told_again_unless_it_is_worse() -> None:
    camera = fussy(retrigger_s=120)
    first = [event(0), event(5, "end")]
    again = [event(60, name="e2"), event(65, "end", name="e2")]
    worse = [event(70, name="e3", score=0.95), event(75, "end", name="e3")]
    after = [event(300, name="e4")]
    found = phases(camera.feed([*first, *again, *worse, *after]))
    assert found == [("onset", 2, 0), ("clear", 2, 5), ("onset", 1, 70), ("clear", 1, 75), ("onset", 2, 300)]


def test_what_goes_on_past_the_quiet_time_is_told() -> None:
    camera = fussy(retrigger_s=120)
    camera.feed([event(0), event(5, "end")])
    later = [event(100, name="e2"), event(124, "update", name="e2"), event(126, "update", name="e2")]
    assert phases(camera.feed(later)) == [("onset", 2, 100)]


def test_the_best_picture_is_the_evidence() -> None:
    found = fire().feed(
        [
            event(0, snapshot_url="first", clip_url="c1"),
            event(1, "update", score=0.95, snapshot_url="best"),
            event(2, "update", score=0.7, snapshot_url="worse"),
            event(5, "end", score=None, clip_url="c2"),
        ]
    )
    assert [d.features["snapshot_url"] for d in found] == ["first", "best", "best"]
    assert found[-1].features["snapshot_score"] == 0.95


def test_what_waits_and_what_is_quiet_survive_in_a_snapshot() -> None:
    given = [
        event(0),
        event(5, "end"),
        event(10, name="e2"),
        event(80, "update", name="e2"),
        event(90, "end", name="e2"),
    ]
    whole = fussy(persist_s=60, retrigger_s=50).feed(given)
    for at in range(1, len(given)):
        first, second = (fussy(persist_s=60, retrigger_s=50) for _ in range(2))
        found = first.feed(given[:at])
        second.load(first.snapshot())
        assert phases(found + second.feed(given[at:])) == phases(whole)
