"""Every waveform detector: a stream equals its blocks, over random cuts, gaps, order of devices and repetitions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.default_rules import DEFAULT_RULES
from alerting.detectors.base import Detector
from alerting.detectors.catalogue import DETECTORS
from alerting.detectors.instrument_intensity import InstrumentIntensity
from alerting.detectors.natural_frequency import NaturalFrequency
from alerting.detectors.rows import DeviceState
from alerting.detectors.sta_lta import StaLta
from alerting.detectors.vibration_limit import VibrationLimit
from domain.alerts import Detection
from domain.readings import Waveforms
from tests.unit.alerting.blocks import T0, S, block, default_rule, devices, packets, some, told

RATE_HZ = 50.0
DEVICES, SECONDS = 3, 200


def limit(**more: Any) -> VibrationLimit:
    return VibrationLimit(default_rule("vibration.limit", **more), devices())


def shaking(**more: Any) -> StaLta:
    return StaLta(default_rule("vibration.shaking", **more))


def frequency() -> NaturalFrequency:
    quick = {"every": 1, "windows": 4, "learn": 4, "drop": {"3": 0.03}, "shaking_gal": 1000, "prominence": 1.5}
    return NaturalFrequency(default_rule("structure.frequency", **quick))


DETECTED: dict[str, Callable[[], Any]] = {
    "limit, DIN 4150-3": limit,
    "limit, vector sum": lambda: limit(standard="sn640312a-permanent", clear_after_s=5),
    "STA/LTA, classic": lambda: shaking(dead_s=10),
    "STA/LTA, recursive": lambda: shaking(form="recursive", dead_s=10),
    "STA/LTA, not frozen": lambda: shaking(freeze=False, dead_s=10),
    "intensity, China": lambda: InstrumentIntensity(default_rule("vibration.intensity", quiet_s=10)),
    "intensity, Japan": lambda: InstrumentIntensity(
        default_rule("vibration.intensity", quiet_s=10, scale="jma", levels={"3": 2.0, "2": 3.0})
    ),
    "own frequency": frequency,
}


@cache
def stream(name: str, seed: int) -> Waveforms:
    """Packets of three houses in random order: bursts of all sizes, lone spikes, gaps, some packets twice."""
    rng = np.random.default_rng(seed)
    per_packet, t = 50, np.arange(SECONDS * 50) / RATE_HZ
    if name == "own frequency":
        per_packet, t = 200, np.arange(1000 * 50) / RATE_HZ
    count = len(t) // per_packet
    signals, starts = [], []
    for _ in range(DEVICES):
        x = rng.normal(scale=5e-4, size=(3, len(t)))
        for _ in range(4):
            begin, size, hz = rng.uniform(15, SECONDS - 20), 10 ** rng.uniform(-2, 0.3), rng.uniform(2, 15)
            envelope = np.where(t > begin, (t - begin) * np.exp(1 - (t - begin)), 0)
            share, phase = rng.uniform(0, 1, (3, 1)), rng.uniform(0, 6, (3, 1))
            x += size * envelope * share * np.sin(2 * np.pi * hz * t + phase)
        x[rng.integers(3), rng.integers(0, len(t), 3)] += 30
        swing = np.where(t < 0.6 * t[-1], 2.5, 2.2)
        x[0] += 1e-3 * np.sin(2 * np.pi * np.cumsum(swing) / RATE_HZ)
        x[2] += 9.81
        pause = np.cumsum(rng.random(count) < 0.01)
        signals.append(x.reshape(3, count, per_packet).transpose(1, 0, 2))
        starts.append(T0 + np.round(np.arange(count) * per_packet / RATE_HZ * S + pause * 20 * S).astype(np.int64))
    order = rng.permutation(np.repeat(np.arange(DEVICES), count))
    nth = np.zeros(len(order), int)
    for d in range(DEVICES):
        nth[order == d] = np.arange(count)
    again = np.sort(np.append(np.arange(len(order)), rng.integers(0, len(order), 20)))
    order, nth = order[again], nth[again]
    return packets(
        (order + 1).tolist(), [int(starts[d][i]) for d, i in zip(order, nth, strict=True)],
        np.stack([signals[d][i] for d, i in zip(order, nth, strict=True)]), RATE_HZ,
    )  # fmt: skip


def heard(detector: Detector, w: Waveforms) -> list[Detection]:
    return detector.detect(block(waveforms=(w,)), {"": 0})


def everything(found: list[Detection]) -> list[Any]:
    return sorted(((*row, d.features) for row, d in zip(told(found), by_time(found), strict=True)), key=repr)


def by_time(found: list[Detection]) -> list[Detection]:
    return sorted(found, key=lambda d: (d.device, d.sampled_us))


@pytest.mark.parametrize("name", DETECTED)
@settings(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(0, 620), max_size=12), seed=st.integers(0, 5))
def test_a_stream_equals_its_blocks(name: str, cuts: list[int], seed: int) -> None:
    w = stream(name, seed)
    whole = heard(DETECTED[name](), w)
    detector, parts = DETECTED[name](), list[Detection]()
    for take in np.split(np.arange(len(w)), sorted(cuts)):
        parts += heard(detector, some(w, take))
    assert everything(parts) == everything(whole)


@pytest.mark.parametrize("name", DETECTED)
def test_the_streams_make_the_detectors_speak(name: str) -> None:
    phases = {d.phase for seed in range(6) for d in heard(DETECTED[name](), stream(name, seed))}
    assert phases >= ({"onset"} if name == "own frequency" else {"onset", "clear"})


@pytest.mark.parametrize("name", DETECTED)
def test_one_packet_at_a_time_and_each_device_alone_give_the_same(name: str) -> None:
    w = stream(name, 1)
    whole = heard(DETECTED[name](), w)
    single, parts = DETECTED[name](), list[Detection]()
    for i in range(len(w)):
        parts += heard(single, some(w, [i]))
    assert everything(parts) == everything(whole)
    alone = [d for key in range(1, DEVICES + 1) for d in heard(DETECTED[name](), some(w, w.device == key))]
    assert everything(alone) == everything(whole)


@pytest.mark.parametrize("name", DETECTED)
@pytest.mark.parametrize("at", [1, 333])
def test_saved_state_says_what_the_first_would_have_said(name: str, at: int) -> None:
    w = stream(name, 2)
    whole = everything(heard(DETECTED[name](), w))
    first, second = DETECTED[name](), DETECTED[name]()
    found = heard(first, some(w, slice(0, at)))
    second.load(first.snapshot())
    assert everything(found + heard(second, some(w, slice(at, None)))) == whole


@pytest.mark.parametrize("name", DETECTED)
def test_late_packets_say_nothing(name: str) -> None:
    w = stream(name, 3)
    late = Waveforms(w.device, w.start_us, w.rate_hz, w.unit, w.samples, w.axes, w.seq, w.received_us,
                     np.ones(len(w), bool))  # fmt: skip
    assert heard(DETECTED[name](), late) == []


def test_every_waveform_detector_of_the_default_rules_is_here() -> None:
    """Whoever adds one adds it above."""
    mine = {type(make()) for make in DETECTED.values()}
    for row in DEFAULT_RULES:
        detector = DETECTORS[row["detector"]].make(default_rule(row["id"]), devices())
        if isinstance(detector, DeviceState) and row["kind"].startswith(("vibration.", "structure.frequency")):
            assert type(detector) in mine, row["id"]
