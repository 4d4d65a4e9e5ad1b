"""Memory of every detector in the catalogue: taken at any moment, as bytes and back, nothing is lost."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from alerting.checkpoints import PART_BYTES, memory_of, parts_of
from alerting.detectors.bank import DetectorBank
from alerting.detectors.base import Rule
from alerting.detectors.catalogue import DETECTORS
from domain.alerts import Detection
from domain.readings import Block
from tests.unit.alerting.blocks import devices, told
from tests.unit.alerting.streams import METRICS, example_rules, signals

RULES = example_rules()
SECONDS = 200
BLOCKS = signals(7, SECONDS)


def bank(rules: list[Rule]) -> DetectorBank:
    return DetectorBank(rules, devices(), lambda: METRICS)


def heard(detectors: DetectorBank, blocks: Iterable[Block]) -> list[Detection]:
    return [d for b in blocks for d in detectors.feed(b)]


def test_every_detector_of_the_catalogue_is_tried() -> None:
    assert {rule.detector for rule in RULES} == set(DETECTORS)


def test_the_stream_makes_detectors_speak() -> None:
    found = heard(bank(RULES), BLOCKS)
    speaking = {rule.detector for rule in RULES if any(d.rule == rule.id for d in found)}
    assert speaking >= {"threshold", "vibration_limit", "sta_lta", "camera_event", "vehicle_cover"}
    assert {d.phase for d in found} == {"onset", "update", "clear"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_memory_taken_at_any_moment_goes_on_as_if_nothing_had_happened(rule: Rule) -> None:
    expected = told(heard(bank([rule]), BLOCKS))
    rng = np.random.default_rng(len(rule.id))
    for _ in range(4):
        cuts = sorted({0, *rng.integers(1, SECONDS, 3).tolist(), SECONDS})
        found: list[Detection] = []
        memory = None
        for begin, end in pairwise(cuts):
            fresh = bank([rule])
            if memory is not None:
                assert fresh.load(rule.id, memory_of(list(parts_of(memory))))
                # What came just before the crash may be delivered again.
                assert heard(fresh, BLOCKS[max(0, begin - 3) : begin]) == []
            found += heard(fresh, BLOCKS[begin:end])
            [(_, memory)] = fresh.snapshot()
        assert told(found) == expected


def test_a_memory_is_a_copy() -> None:
    one = bank(RULES)
    heard(one, BLOCKS[:40])
    taken = [(rule.id, {n: a.copy() for n, a in memory.items()}, memory) for rule, memory in one.snapshot()]
    heard(one, BLOCKS[40:90])
    for rule_id, copy, memory in taken:
        for name, array in copy.items():
            same = np.array_equal(array, memory[name], equal_nan=array.dtype.kind == "f")
            assert same, f"{rule_id} {name}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_device_that_is_forgotten_begins_anew_and_the_others_go_on(rule: Rule) -> None:
    forgetful, whole = bank([rule]), bank([rule])
    heard(forgetful, BLOCKS[:45])
    heard(whole, BLOCKS[:45])
    forgetful.forget(rule.id, 2)
    forgetful.forget(rule.id, 99)
    rest = [told(d for d in heard(b, BLOCKS[45:]) if d.device != 2) for b in (forgetful, whole)]
    assert rest[0] == rest[1]


def test_memory_of_another_kind_is_refused_and_the_detector_begins_anew() -> None:
    threshold = next(rule for rule in RULES if rule.id == "fire.smoke")
    camera = next(rule for rule in RULES if rule.detector == "camera_event")
    one = bank([threshold, camera])
    memories = {rule.id: memory for rule, memory in one.snapshot()}
    assert not one.load(threshold.id, memories[camera.id])
    assert not one.load(camera.id, memories[threshold.id])
    assert heard(one, BLOCKS[:60])


def test_a_large_memory_comes_in_parts() -> None:
    rows = 3 * PART_BYTES // 1000
    noise = np.random.default_rng(1).normal(size=(rows, 124))
    memory: dict[str, Any] = {"keys": np.arange(rows, dtype=np.int32), "x": noise}
    parts = list(parts_of(memory))
    assert len(parts) == 3
    again = memory_of(parts)
    assert all(np.array_equal(again[name], memory[name]) for name in memory)


@pytest.mark.parametrize("parts", [[], [b"nonsense"], [b""]])
def test_bytes_that_are_not_ours_are_refused(parts: list[bytes]) -> None:
    with pytest.raises(ValueError, match="saved state"):
        memory_of(parts)


def test_how_far_series_were_fed_is_kept_and_late_rows_do_not_count() -> None:
    one = bank(RULES)
    heard(one, BLOCKS[:30])
    again = bank(RULES)
    again.fed.load(memory_of(list(parts_of(one.fed.snapshot()))))
    assert again.fed.series() == one.fed.series()
    for series in one.fed.series():
        device, newest = one.fed.newest(series)
        other = again.fed.newest(series)
        assert np.array_equal(device, other[0])
        assert np.array_equal(newest, other[1])
    assert {-1, -2, -3} <= set(one.fed.series())
