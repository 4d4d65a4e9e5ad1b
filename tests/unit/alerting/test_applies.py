"""For whom a rule is, and which of several is the more specific."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from alerting.applies import EVERYWHERE, AppliesTo
from alerting.detectors.bank import DetectorBank
from alerting.holders import Holders
from alerting.rules import parse_rule
from domain.devices import Device
from tests.unit.alerting.blocks import METRICS, T0, TEMPERATURE, S, block, readings
from tests.unit.alerting.streams import signals

VB = Device(1, "VB-0001", "vibration", product="KX-9", building_class="sensitive", grid="441900003001004")
SM = Device(2, "SM-0001", "smoke", town="441900006")
BARE = Device(3, "x", "sensor")
KNOWN = {device.key: device for device in (VB, SM, BARE)}


def rule(rule_id: str, level: float = 60, kind: str = "fire.temperature", **more: Any) -> Any:
    settings = {"metric": "temperature_c", "levels": {"3": level}, "clear": 10,
                "title": {"zh": "热", "en": "Hot"}}  # fmt: skip
    return parse_rule({"id": rule_id, "detector": "threshold", "kind": kind, "settings": settings, **more})


@pytest.mark.parametrize(
    ("given", "for_whom"),
    [
        ({}, {1, 2, 3}),
        ({"kinds": ["smoke", "vibration"]}, {1, 2}),
        ({"products": ["KX-9"]}, {1}),
        ({"building_classes": ["sensitive"]}, {1}),
        ({"devices": ["VB-*"]}, {1}),
        ({"devices": ["??-0001"]}, {1, 2}),
        ({"devices": ["x"]}, {3}),
        ({"places": ["441900003"]}, {1}),
        ({"places": ["441900"]}, {1, 2}),
        ({"places": ["441900003001004"]}, {1}),
        ({"kinds": ["smoke"], "places": ["441900003"]}, set()),
        ({"except_devices": ["VB-*", "x"]}, {2}),
    ],
)
def test_what_is_given_must_all_be_true(given: dict[str, Any], for_whom: set[int]) -> None:
    applies = AppliesTo.model_validate(given)
    assert {d.key for d in KNOWN.values() if applies.specificity(d) is not None} == for_whom


def test_from_the_narrowest_to_the_widest() -> None:
    narrow_to_wide = [
        {"devices": ["VB-0001"]}, {"devices": ["VB-00*"]}, {"devices": ["VB-*"]}, {"products": ["KX-9"]},
        {"places": ["441900003001"], "kinds": ["vibration"]}, {"places": ["441900003001"]},
        {"places": ["441900003"]}, {"building_classes": ["sensitive"]}, {"kinds": ["vibration"]}, {},
    ]  # fmt: skip
    found = [AppliesTo.model_validate(given).specificity(VB) for given in narrow_to_wide]
    assert None not in found
    assert found == sorted(found, reverse=True)  # type: ignore[type-var]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "wrong",
    [{"kinds": ["Smoke!"]}, {"places": ["44190"]}, {"devices": ["a b"]}, {"town": "441900003"},
     {"devices": ["a"], "except_devices": ["a"]}],
)  # fmt: skip
def test_what_nobody_can_mean_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AppliesTo.model_validate(wrong)


def hot(bank: DetectorBank, *at: tuple[int, float, float]) -> list[tuple[str, int]]:
    rows = [(device, TEMPERATURE, T0 + round(s * S), v) for device, s, v in at]
    return sorted((d.rule, d.device) for d in bank.feed(block(readings(rows))))


def bank(*rules: Any) -> DetectorBank:
    return DetectorBank(rules, KNOWN.get, lambda: METRICS)


def test_each_device_is_judged_by_one_rule_of_a_slot() -> None:
    one = bank(rule("all"), rule("smoke", 200, applies_to={"kinds": ["smoke"]}),
               rule("other-kind", kind="x.y"))  # fmt: skip
    assert hot(one, (1, 0, 70), (2, 0, 70), (9, 0, 70)) == [
        ("all", 1), ("all", 9), ("other-kind", 1), ("other-kind", 2), ("other-kind", 9),
    ]  # fmt: skip
    assert ("smoke", 2) in hot(one, (2, 1, 201))


def test_a_rule_that_is_off_leaves_its_devices_to_the_next_and_equals_go_by_name() -> None:
    smoke: dict[str, Any] = {"applies_to": {"kinds": ["smoke"]}}
    assert hot(bank(rule("all"), rule("smoke", **smoke, enabled=False)), (2, 0, 70)) == [("all", 2)]
    assert hot(bank(rule("b"), rule("a")), (2, 0, 70)) == [("a", 2)]


def test_validity_is_of_the_rows_event_time() -> None:
    noon = "2023-11-14T22:13:30Z"  # T0 + 10 s
    night = rule("night", 30, valid_from=noon, valid_to="2023-11-14T22:13:40Z", applies_to={"kinds": ["smoke"]})
    one = bank(rule("all"), night)
    assert hot(one, (2, 9.999, 40), (2, 10, 40), (1, 10, 40)) == [("night", 2)]
    two = bank(rule("all"), night)
    assert hot(two, (2, 9.999, 70), (2, 19.999, 40), (2, 20, 70)) == [("all", 2), ("night", 2)]
    holders = Holders([rule("all"), night], KNOWN.get)
    at = [T0 + s * S for s in (0, 10, 19, 20)]
    assert [holders.holds("night", 2, t) for t in at] == [False, True, True, False]
    assert [holders.holds("all", 2, t) for t in at] == [True, False, False, True]


def test_a_registry_that_changed_is_asked_anew() -> None:
    known = dict(KNOWN)
    one = DetectorBank([rule("smoke", applies_to={"kinds": ["smoke"]})], known.get, lambda: METRICS)
    assert hot(one, (3, 0, 70)) == []
    known[3] = Device(3, "x", "smoke")
    assert hot(one, (3, 1, 70)) == []
    one.forget_devices()
    assert hot(one, (3, 2, 70)) == [("smoke", 3)]


def test_one_rule_for_everybody_costs_nothing() -> None:
    one = bank(rule("all"))
    given = block(readings([(1, TEMPERATURE, T0, 20.0)]))
    assert one._holders.part("all", given) is given
    assert rule("all").applies_to is EVERYWHERE or rule("all").applies_to == EVERYWHERE


def test_parts_are_cut_from_every_stream() -> None:
    given = signals(1, 40)[20]
    parts = Holders([rule("mine", applies_to={"devices": ["VB-0001"]})], KNOWN.get).part("mine", given)
    assert set(parts.readings.device.tolist()) <= {1}
    assert len(parts.readings) == int(np.count_nonzero(given.readings.device == 1))
    assert [w.device.tolist() for w in parts.waveforms] == [[1]]
    assert {e.device for e in parts.camera_events} <= {1}
    assert {p.device for p in parts.positions} == {1}
