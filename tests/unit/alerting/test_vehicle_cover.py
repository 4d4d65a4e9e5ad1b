from __future__ import annotations

import pytest

from alerting.detectors.vehicle_cover import VehicleCover
from domain.alerts import Detection
from domain.readings import Position
from tests.unit.alerting.blocks import T0, S, default_rule


def at(second: float, cover: str | None = "open", bed: str | None = "loaded", late: bool = False) -> Position:
    t = T0 + round(second * S)
    return Position(3, t, -1, t, late, 113.5 + second / 1e4, 23.0, 40.0, 90.0, bed, cover)


def truck(**more: float) -> VehicleCover:
    return VehicleCover(default_rule("truck.uncovered", **more))


def phases(found: list[Detection]) -> list[tuple[str, float]]:
    return [(d.phase, (d.at_us - T0) / S) for d in found]


def test_open_over_a_loaded_bed_for_ten_seconds_with_its_place() -> None:
    found = truck().feed([at(0, "closed"), at(5), at(14), at(15), at(20), at(25, "closed")])
    assert phases(found) == [("onset", 5), ("clear", 25)]
    assert (found[0].severity, found[0].kind) == (3, "truck.uncovered")
    assert found[0].lon == pytest.approx(113.5015)


def test_an_empty_bed_may_be_open_and_a_moment_does_not_count() -> None:
    assert truck().feed([at(0, bed="empty"), at(60, bed="empty")]) == []
    assert truck().feed([at(0), at(8, "closed"), at(9), at(18)]) == []


def test_what_a_message_leaves_out_keeps_its_value() -> None:
    found = truck().feed([at(0), at(5, cover=None, bed=None), at(11, cover=None, bed=None)])
    assert phases(found) == [("onset", 0)]


def test_a_gap_starts_the_delay_anew() -> None:
    assert phases(truck().feed([at(0), at(130), at(139), at(140)])) == [("onset", 130)]


def test_off_delay() -> None:
    found = truck(off_delay_s=30).feed(
        [at(0), at(10), at(20, "closed"), at(25), at(40, "closed"), at(70, "closed")]
    )
    assert phases(found) == [("onset", 0), ("clear", 40)]


def test_late_and_repeated_positions_say_nothing() -> None:
    detector = truck()
    assert detector.feed([at(0, late=True), at(100, late=True)]) == []
    rows = [at(0), at(10)]
    assert phases(detector.feed(rows)) == [("onset", 0)]
    assert detector.feed(rows) == []


def test_a_restored_episode_ends() -> None:
    detector = truck()
    detector.restore(3, T0, T0 + 10 * S)
    assert phases(detector.feed([at(10), at(20, "closed")])) == [("clear", 20)]


@pytest.mark.parametrize("cut", range(6))
def test_a_stream_equals_its_blocks(cut: int) -> None:
    rows = [at(0), at(10), at(20, "closed"), at(30), at(39), at(41)]
    detector = truck()
    assert detector.feed(rows[:cut]) + detector.feed(rows[cut:]) == truck().feed(rows)
