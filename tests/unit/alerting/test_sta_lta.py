from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alerting.detectors.sta_lta import BIN_S, StaLta
from domain.alerts import Detection
from domain.readings import Waveforms
from tests.unit.alerting.blocks import T0, S, cut, default_rule, packets, some, told

RATES = (31.25, 100.0, 125.0, 200.0)


def detector(**more: Any) -> StaLta:
    return StaLta(default_rule("vibration.shaking", **more))


def noise(rate_hz: float, seconds: float, seed: int = 1, gal: float = 0.05) -> NDArray[Any]:
    signal = np.random.default_rng(seed).normal(scale=gal / 100, size=(3, round(seconds * rate_hz)))
    signal[2] += 9.81
    return signal


def burst(
    signal: NDArray[Any], rate_hz: float, begin: float, end: float, gal: float, freq: float = 3.0
) -> NDArray[Any]:
    t = np.arange(signal.shape[1]) / rate_hz
    out = signal.copy()
    out[0] += np.where((t >= begin) & (t < end), gal / 100 * np.sin(2 * np.pi * freq * t), 0)
    return out


def summary(found: list[Detection]) -> list[tuple[str, int, float]]:
    return [(d.phase, d.severity, round((d.at_us - T0) / S)) for d in found]


@pytest.mark.parametrize("rate_hz", RATES)
def test_a_burst_is_one_episode_and_noise_is_none(rate_hz: float) -> None:
    n = round(rate_hz)
    assert detector().feed(cut(noise(rate_hz, 60), rate_hz, n)) == []
    found = detector().feed(cut(burst(noise(rate_hz, 140), rate_hz, 30, 40, gal=30), rate_hz, n))
    onset, clear = found[0], found[-1]
    assert (onset.phase, onset.metric, onset.unit) == ("onset", "pga_gal", "gal")
    assert T0 + 30 * S <= onset.at_us <= T0 + 31 * S
    assert (clear.phase, clear.severity) == ("clear", 3), "30 gal"
    assert T0 + 40 * S <= clear.at_us <= T0 + 42 * S
    assert clear.value == pytest.approx(30, rel=0.05)
    assert {d.episode_us for d in found} == {onset.at_us}


def test_the_ratio_of_two_noises_says_nothing_below_the_floor() -> None:
    quiet = burst(noise(100, 60, gal=0.001), 100, 30, 40, gal=0.2)
    assert detector().feed(cut(quiet, 100, 100)) == []


def test_bursts_within_the_dead_time_are_one_episode() -> None:
    signal = burst(burst(noise(100, 200), 100, 30, 35, gal=5), 100, 70, 75, gal=5)
    assert [d.phase for d in detector().feed(cut(signal, 100, 100))] == ["onset", "clear"]
    assert [d.phase for d in detector(dead_s=20).feed(cut(signal, 100, 100))] == [
        "onset",
        "clear",
        "onset",
        "clear",
    ]


def test_severity_rises_with_the_peak() -> None:
    signal = noise(100, 120)
    for begin, gal in ((30, 5.0), (33, 30.0), (36, 100.0), (39, 200.0)):
        signal = burst(signal, 100, begin, begin + 3, gal)
    found = detector().feed(cut(signal, 100, 100))
    assert [d.severity for d in found] == [4, 3, 2, 1, 1]
    assert [d.limit for d in found] == [0.3, 22.0, 89.0, 178.0, 178.0]


def test_a_new_level_wears_out_instead_of_lasting_for_ever() -> None:
    signal = burst(noise(100, 120), 100, 30, 120, gal=5)
    found = detector(trigger_s_max=20, dead_s=20).feed(cut(signal, 100, 100))
    assert [d.phase for d in found] == ["onset", "clear"]


def test_a_gap_learns_the_noise_anew() -> None:
    before, after = noise(100, 30), noise(100, 30, seed=2, gal=2.0)
    w = cut(np.concatenate([before, after], axis=1), 100, 100)
    shifted = Waveforms(
        w.device, w.start_us + np.where(np.arange(60) >= 30, 60 * S, 0), w.rate_hz, w.unit, w.samples,
        w.axes, w.seq, w.received_us, w.late,
    )  # fmt: skip
    assert detector().feed(shifted) == []


def test_velocity_packets_and_late_ones_are_left_alone() -> None:
    loud = cut(burst(noise(100, 60), 100, 30, 40, gal=30), 100, 100)
    assert detector().feed(packets([1], [T0], loud.samples[:1], 100.0, "mm/s")) == []
    once = detector()
    assert once.feed(loud)
    assert once.feed(loud) == []


def test_a_restored_episode_ends_after_the_dead_time() -> None:
    d = detector()
    d.restore(1, T0 - 5 * S, T0 - S, severity=2, value=90.0)
    found = d.feed(cut(noise(100, 90), 100, 100))
    assert [(x.phase, x.severity, x.episode_us) for x in found] == [("clear", 2, T0 - 5 * S)]


# ---------------------------------------------------------------- naive reference, cuts


def naive_triggers(x: NDArray[Any], rate_hz: float, s: Any) -> list[int]:
    """Bin numbers at which the trigger goes on, from whole arrays: ``x (3, n)`` in m/s²."""
    n = round(rate_hz * BIN_S)
    bins = x[:, : x.shape[1] // n * n].reshape(3, -1, n)
    short, long = round(s.sta_s / BIN_S), round(s.lta_s / BIN_S)
    learnt: list[NDArray[Any]] = []
    background: Any = None
    triggered, on = False, []
    for j in range(bins.shape[1]):
        if j >= short and not triggered:
            learnt.append(bins[:, j - short])
        if len(learnt) < long or j < short - 1:
            continue
        window = np.concatenate(learnt[-long:], axis=1)
        mean, power = window.mean(axis=1, keepdims=True), window.var(axis=1)
        background = (
            power
            if background is None
            else background + (not triggered) * BIN_S / s.background_s * (power - background)
        )
        now = ((np.concatenate([bins[:, i] for i in range(j - short + 1, j + 1)], axis=1) - mean) ** 2).mean(
            axis=1
        )
        each = np.sqrt(now / np.minimum(power, background))
        strong = each[now >= (s.floor_gal / 100) ** 2]
        if not triggered and strong.size and strong.max() >= s.on:
            triggered = True
            on.append(j)
        elif triggered and (each.max() < s.off or now.max() < (s.floor_gal / 100) ** 2 / 4):
            triggered = False
    return on


@pytest.mark.parametrize("seed", range(6))
def test_triggers_match_the_naive_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    signal = noise(100, 120, seed)
    for _ in range(4):
        begin = rng.uniform(12, 110)
        signal = burst(signal, 100, begin, begin + rng.uniform(0.2, 6), gal=float(rng.uniform(0.2, 20)))
    d = detector(dead_s=0)
    found = [x for x in d.feed(cut(signal, 100, 100)) if x.phase == "onset"]
    bins = [round(((x.at_us - T0) / S * 100 + 1) / 25) - 1 for x in found]
    assert bins == naive_triggers(signal.astype(np.float32).astype(float), 100, d.settings)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=8), st.integers(0, 50))
def test_any_cut_into_packets_gives_the_same_episodes(lengths: list[int], seed: int) -> None:
    signal = burst(noise(100, 120, seed), 100, 31.7, 38, gal=12)
    whole = detector().feed(cut(signal, 100, 100))
    d, parts, at, i = detector(), list[Detection](), 0, 0
    while at < signal.shape[1]:
        n = min(lengths[i % len(lengths)] + 20, signal.shape[1] - at)
        parts += d.feed(packets([1], [T0 + at * 10_000], signal[None, :, at : at + n], 100.0))
        at, i = at + n, i + 1
    assert [(x.phase, x.at_us) for x in parts if x.phase != "update"] == [
        (x.phase, x.at_us) for x in whole if x.phase != "update"
    ]
    assert parts[-1].value == pytest.approx(whole[-1].value, rel=0.02), "the peak is taken over whole packets"


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 240), max_size=6), st.integers(0, 50))
def test_a_stream_equals_its_blocks(cuts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    w = [cut(burst(noise(50, 120, seed + d), 50, 30 + d, 36, gal=20), 50, 50, device=d + 1) for d in range(2)]
    order = rng.permutation(np.repeat([0, 1], 120))
    nth = [int((order[:i] == d).sum()) for i, d in enumerate(order)]
    mixed = packets(
        [int(d) + 1 for d in order], [int(w[d].start_us[i]) for d, i in zip(order, nth, strict=True)],
        np.stack([w[d].samples[i] for d, i in zip(order, nth, strict=True)]), 50.0,
    )  # fmt: skip
    d, parts = detector(), list[Detection]()
    for take in np.split(np.arange(240), sorted(cuts)):
        parts += d.feed(some(mixed, take))
    assert told(parts) == told(detector().feed(mixed))
