from __future__ import annotations

from alerting.detectors.bank import DetectorBank
from alerting.detectors.base import Rule
from domain.readings import CameraEvent, Position
from tests.unit.alerting.blocks import T0, S, block, default_rules, devices, readings


def test_every_part_of_a_block_reaches_its_detectors() -> None:
    bank = DetectorBank(default_rules(), devices(), lambda: ("", "smoke_ppm", "ppv_mm_s"))
    event = CameraEvent(5, "e", "start", T0, T0, False, "fire", 0.95)
    positions = tuple(
        Position(6, T0 + s * S, -1, T0 + s * S, False, 113.5, 23.0, None, None, "loaded", "open") for s in (0, 10)
    )
    given = block(readings([(1, 1, T0, 400.0), (2, 2, T0, 6.0)]), events=(event,), positions=positions)
    assert [(d.kind, d.device) for d in bank.feed(given)] == [
        ("vibration.limit", 2), ("fire.smoke", 1), ("camera.fire", 5), ("truck.uncovered", 6),
    ]  # fmt: skip
    assert bank.feed(block()) == []


def test_metrics_that_appear_later_are_picked_up() -> None:
    names = [""]
    bank = DetectorBank(default_rules(), devices(), lambda: names)
    assert bank.feed(block(readings([(1, 1, T0, 400.0)]))) == []
    names.append("smoke_ppm")
    assert [d.kind for d in bank.feed(block(readings([(1, 1, T0 + S, 400.0)])))] == ["fire.smoke"]


def test_a_disabled_rule_says_nothing() -> None:
    rules = [Rule(r.id, r.detector, r.kind, r.settings, enabled=False) for r in default_rules()]
    bank = DetectorBank(rules, devices(), lambda: ("", "smoke_ppm"))
    assert bank.feed(block(readings([(1, 1, T0, 400.0)]))) == []
