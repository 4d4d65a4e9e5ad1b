from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alerting.detectors.instrument_intensity import InstrumentIntensity
from alerting.detectors.spikes import ALONE, remove_lone_spikes
from alerting.detectors.sta_lta import StaLta
from alerting.detectors.vibration_limit import VibrationLimit
from domain.alerts import Detection
from simulators.signals import Footsteps, Piling, TruckPass, Wave, ambient
from tests.unit.alerting.blocks import cut, default_rule, devices


def naive(x: NDArray[Any], floor: float) -> NDArray[Any]:
    """Row by row, axis by axis."""
    out = x.copy()
    for each in out.reshape(-1, x.shape[2]):
        at = int(np.abs(each).argmax())
        others = np.delete(np.abs(each), at)
        if abs(each[at]) >= floor and abs(each[at]) >= ALONE * others.max():
            around = [each[i] for i in (at - 1, at + 1) if 0 <= i < len(each)]
            each[at] = np.mean(around)
    return out


@pytest.mark.parametrize("seed", range(5))
def test_matches_the_naive_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(20, 3, 32))
    for i in range(20):
        x[i, rng.integers(3), (0, 31, *rng.integers(1, 31, 3))[i % 5]] = rng.choice([-1, 1]) * rng.uniform(3, 60)
    wanted = naive(x, 5.0)
    count = remove_lone_spikes(x, 5.0)
    np.testing.assert_allclose(x, wanted)
    assert count.sum() > 5


def signal(*waves: Wave, rate_hz: float = 100.0, seconds: float = 40.0, seed: int = 1) -> NDArray[Any]:
    """Acceleration ``(3, n)`` in m/s² of waves over the noise of a quiet house."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    x = ambient(np.random.default_rng(seed), len(t), 0.0025) + sum(wave.at(t) for wave in waves)
    x[2] += 9.81
    return np.asarray(x)


def heard(x: NDArray[Any], rate_hz: float = 100.0, n: int = 100) -> dict[str, list[Detection]]:
    w = cut(x, rate_hz, n)
    return {
        "limit": VibrationLimit(default_rule("vibration.limit"), devices()).feed_waveforms(w),
        "shaking": StaLta(default_rule("vibration.shaking")).feed(w),
        "intensity": InstrumentIntensity(default_rule("vibration.intensity")).feed(w),
    }


@pytest.mark.parametrize("m_s2", [0.3, 2.0, 20.0, 500.0])
@pytest.mark.parametrize("at", [2000, 2037, 2099])
@pytest.mark.parametrize("rate_hz", [31.25, 100.0, 200.0])
def test_one_electronic_sample_raises_nothing(m_s2: float, at: int, rate_hz: float) -> None:
    x = signal(rate_hz=rate_hz, seconds=4200 / rate_hz)
    x[1, at] += m_s2
    assert heard(x, rate_hz) == {"limit": [], "shaking": [], "intensity": []}
    x[:, at] += m_s2
    assert heard(x, rate_hz) == {"limit": [], "shaking": [], "intensity": []}, "on all channels"


@pytest.mark.parametrize(("samples", "freq_hz"), [(3, 40.0), (4, 30.0), (6, 25.0), (10, 20.0)])
def test_a_blast_of_a_few_samples_is_not_missed(samples: int, freq_hz: float) -> None:
    """A short blast at 100 samples/s: one swing under a half sine, 30 mm/s, on all axes."""
    x = signal()
    t = np.arange(samples)
    swing = np.sin(np.pi * (t + 0.5) / samples) * np.cos(2 * np.pi * freq_hz * (t - samples / 2) / 100)
    x[:, 2030 : 2030 + samples] += np.array([1.0, 0.6, 0.8])[:, None] * 2 * np.pi * freq_hz * 0.03 * swing
    found = heard(x)
    assert [d.phase for d in found["limit"]][:1] == ["onset"]
    assert [d.phase for d in found["shaking"]][:1] == ["onset"]


def test_the_spike_beside_real_shaking_is_counted_in_the_evidence() -> None:
    x = signal(Piling(25.0, 6.0, 8.0, 12.0))
    clean = heard(x)["limit"][-1].value
    x[0, 2010] += 50.0
    found = heard(x)
    assert found["limit"][0].features["spikes_removed"] == 1
    assert found["shaking"][0].features["spikes_removed"] == 1
    assert found["limit"][-1].value == pytest.approx(clean, rel=0.01)


KNOCKS: dict[str, Wave] = {
    "footsteps beside the sensor": Footsteps(20.0, 8, peak_m_s2=0.08),
    "a door slams": Footsteps(20.0, 1, peak_m_s2=0.5),
    "children jump": Footsteps(20.0, 6, interval_s=1.3, peak_m_s2=0.3),
    "a truck in the street": TruckPass(25.0),
}
PHASES = np.arange(0, 0.25, 0.03)


@pytest.mark.parametrize("name", KNOCKS)
def test_what_is_not_shaking_does_not_raise_shaking(name: str) -> None:
    wave = KNOCKS[name]
    for late in PHASES:
        shifted = type(wave)(**{**vars(wave), next(iter(vars(wave))): next(iter(vars(wave).values())) + late})
        assert heard(signal(shifted))["shaking"] == [], late


def test_without_the_rule_the_knocks_would_be_shaking() -> None:
    w = cut(signal(KNOCKS["a door slams"]), 100.0, 100)
    assert StaLta(default_rule("vibration.shaking", sustained_s=0)).feed(w)
    w = cut(signal(KNOCKS["footsteps beside the sensor"]), 100.0, 100)
    assert StaLta(default_rule("vibration.shaking", sustained_s=0)).feed(w)
