"""What every array detector remembers can be saved and taken up by a new one, at any moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from alerting.detectors.sta_lta import StaLta
from alerting.detectors.threshold import Threshold
from alerting.detectors.vibration_limit import VibrationLimit
from domain.readings import Block
from tests.unit.alerting.blocks import T0 as START
from tests.unit.alerting.blocks import TEMPERATURE, S, block, cut, default_rule, devices, readings, some, told

METRICS = {"temperature_c": TEMPERATURE}


def warm() -> list[Block]:
    values = [20, 61, 62, 80, 76, 91, 58, 54, 50, 20, 61, 90]
    return [block(readings([(1, TEMPERATURE, START + i * S, float(v))])) for i, v in enumerate(values)]


def shaken() -> list[Block]:
    rng = np.random.default_rng(5)
    signal = rng.normal(scale=0.0005, size=(3, 12_000))
    signal[:, 4_000:5_000] += 0.3 * np.sin(np.arange(1_000) / 3)
    packets = cut(signal, 100.0, 100)
    return [block(waveforms=(some(packets, [i]),)) for i in range(len(packets))]


CASES: dict[str, tuple[Callable[[], Any], Callable[[], list[Block]]]] = {
    "threshold": (lambda: Threshold(default_rule("fire.temperature")), warm),
    "vibration_limit": (lambda: VibrationLimit(default_rule("vibration.limit"), devices()), shaken),
    "sta_lta": (lambda: StaLta(default_rule("vibration.shaking")), shaken),
}


@pytest.mark.parametrize("name", CASES)
def test_a_detector_that_takes_up_saved_state_says_what_the_first_would_have_said(name: str) -> None:
    make, given = CASES[name]
    whole = make()
    expected = [d for b in given() for d in whole.detect(b, METRICS)]
    assert {d.phase for d in expected} >= {"onset", "clear"}
    for at in range(1, len(given()), 7):
        first, second = make(), make()
        found = [d for b in given()[:at] for d in first.detect(b, METRICS)]
        second.load(first.snapshot())
        found += [d for b in given()[at:] for d in second.detect(b, METRICS)]
        assert told(found) == told(expected)


def test_a_snapshot_is_a_copy() -> None:
    detector = Threshold(default_rule("fire.temperature"))
    blocks = warm()
    detector.detect(blocks[0], METRICS)
    saved = detector.snapshot()
    before = {name: array.copy() for name, array in saved.items()}
    for b in blocks[1:]:
        detector.detect(b, METRICS)
    assert all(np.array_equal(saved[name], before[name]) for name in saved)


def test_state_of_another_shape_is_refused_by_name() -> None:
    detector = Threshold(default_rule("fire.temperature"))
    other = Threshold(default_rule("fire.temperature", levels={3: 60}))
    detector.detect(warm()[0], METRICS)
    with pytest.raises(ValueError, match="_since"):
        other.load(detector.snapshot())
