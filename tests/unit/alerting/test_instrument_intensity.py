from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alerting.detectors.instrument_intensity import InstrumentIntensity
from alerting.detectors.intensity import gbt17742, intensity_filters, jma_fft_level, jma_of_level
from alerting.rules import parse_rule
from domain.alerts import Alert
from domain.errors import SettingsError
from simulators.signals import WaveTrain, ambient
from tests.unit.alerting.blocks import T0, S, cut, default_rule, packets

RATE_HZ = 100.0


def detector(**more: Any) -> InstrumentIntensity:
    return InstrumentIntensity(default_rule("vibration.intensity", **more))


def quake(gal: float, seconds: float = 120.0, rate_hz: float = RATE_HZ, seed: int = 1) -> NDArray[Any]:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    x = ambient(np.random.default_rng(seed), len(t), 0.0025)
    x += WaveTrain(20.0, 5.0, (gal / 100, 0.9 * gal / 100, 0.5 * gal / 100), (1.2, 4.0), seed).at(t)
    x[2] += 9.81
    return x


@pytest.mark.parametrize("rate_hz", [31.25, 100.0, 200.0, 250.0])
@pytest.mark.parametrize("gal", [60.0, 250.0])
def test_an_episode_has_the_intensity_of_its_record(gal: float, rate_hz: float) -> None:
    x = quake(gal, rate_hz=rate_hz)
    found = detector().feed(cut(x, rate_hz, round(rate_hz)))
    assert [found[0].phase, found[-1].phase] == ["onset", "clear"]
    final = found[-1]
    about = x - np.array([[0.0], [0.0], [9.81]])
    y, _ = intensity_filters(rate_hz).run(
        about[None].astype(np.float32), np.zeros((1, 3, intensity_filters(rate_hz).order), np.float32)
    )
    vector = np.sqrt((y[0] ** 2).sum(axis=0)).max(axis=1)
    whole = float(gbt17742(vector[1:2], vector[2:3])[0])
    assert final.value == final.features["intensity_cn"] == pytest.approx(whole, abs=0.11)
    fft = float(jma_of_level(np.array([jma_fft_level(about * 100, rate_hz)]))[0])
    assert final.features["intensity_jma"] == pytest.approx(fft, abs=0.11), "both are cut to one decimal"
    assert final.unit == ""
    assert final.features["jma_class"]


def test_severities_follow_the_levels_and_only_rise() -> None:
    found = detector().feed(cut(quake(300.0), RATE_HZ, 100))
    severities = [d.severity for d in found]
    assert severities == sorted(severities, reverse=True)
    assert found[-1].severity == (1 if found[-1].value >= 7 else 2)
    assert [d.value for d in found] == sorted(d.value for d in found)
    assert {d.episode_us for d in found} == {found[0].at_us}
    assert T0 + 20 * S < found[0].at_us < T0 + 24 * S


def test_the_japanese_scale_decides_when_the_rule_says_so() -> None:
    found = detector(scale="jma", levels={"3": 3.0, "2": 4.5}).feed(cut(quake(120.0), RATE_HZ, 100))
    assert found[-1].value == found[-1].features["intensity_jma"]
    assert found[-1].features["scale"] == "JMA"


def test_noise_velocity_packets_and_low_rates_say_nothing() -> None:
    assert detector().feed(cut(quake(0.0), RATE_HZ, 100)) == []
    loud = cut(quake(300.0), RATE_HZ, 100)
    assert detector().feed(packets([1], [T0], loud.samples[25:26], RATE_HZ, "mm/s")) == []
    assert detector().feed(replace(loud, rate_hz=10.0)) == []


def test_late_and_repeated_packets_say_nothing() -> None:
    d, w = detector(), cut(quake(300.0), RATE_HZ, 100)
    assert d.feed(w)
    assert d.feed(w) == []


def test_a_box_turned_over_wears_out() -> None:
    x = ambient(np.random.default_rng(1), 60_000, 0.0025)
    x[2, :30_000] += 9.81
    x[2, 30_000:] -= 9.81
    found = detector(awake_s_max=60).feed(cut(x, RATE_HZ, 100))
    assert [found[0].phase, found[-1].phase] == ["onset", "clear"]
    assert found[-1].at_us < T0 + 400 * S


def test_a_restored_episode_ends_when_it_is_quiet() -> None:
    d = detector()
    alert = Alert(
        "A", 1, "vibration.intensity", None, "vibration.intensity", 2, "active", "new", {}, 1, "VB-1", "vibration",
        T0 - 9 * S, T0 - 9 * S, T0, None, False, 1, 6.2, 6.0, "", "intensity", None, None, None,
    )  # fmt: skip
    d.resume(alert, T0 - 9 * S, T0 - S)
    (clear,) = d.feed(cut(quake(0.0), RATE_HZ, 100))
    assert (clear.phase, clear.severity, clear.episode_us, clear.value) == ("clear", 2, T0 - 9 * S, 6.2)


def test_levels_must_rise() -> None:
    row = {"id": "i", "detector": "instrument_intensity", "kind": "vibration.intensity"}
    with pytest.raises(SettingsError, match="higher intensity"):
        parse_rule({**row, "settings": {"title": {"zh": "x", "en": "x"}, "levels": {"3": 6, "2": 5}}})
