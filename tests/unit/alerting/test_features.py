from __future__ import annotations

import math

import numpy as np
import pytest

from alerting.detectors.features import arias_m_s, crest, described, dominant_hz, pga, rms

RATE_HZ = 100.0
T = np.arange(1000) / RATE_HZ


def sine(amplitude: float = 0.5, freq_hz: float = 5.0) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    x = np.zeros((2, 3, len(T)))
    x[0, 0] = amplitude * np.sin(2 * np.pi * freq_hz * T)
    x[1, 2] = 2 * amplitude * np.cos(2 * np.pi * freq_hz * T)
    return x


def test_a_sine_has_the_features_of_a_sine() -> None:
    x = sine()
    assert pga(x) == pytest.approx([0.5, 1.0], rel=1e-3)
    assert rms(x)[0] == pytest.approx([0.5 / math.sqrt(2), 0, 0])
    assert crest(x) == pytest.approx([math.sqrt(2)] * 2, rel=1e-3)
    assert arias_m_s(x, RATE_HZ)[0] == pytest.approx(math.pi / (2 * 9.80665) * 0.25 / 2 * 10)


@pytest.mark.parametrize("freq_hz", [1.37, 5.0, 12.34, 33.3])
def test_the_dominant_frequency_lies_between_the_bins(freq_hz: float) -> None:
    assert dominant_hz(sine(freq_hz=freq_hz), RATE_HZ) == pytest.approx([freq_hz] * 2, abs=0.01)


def test_columns_match_the_naive_reference() -> None:
    x = np.random.default_rng(1).normal(size=(5, 3, 64))
    for row, peak, ratio, arias in zip(x, pga(x), crest(x), arias_m_s(x, RATE_HZ), strict=True):
        assert peak == pytest.approx(max(math.sqrt(sum(v * v for v in sample)) for sample in row.T))
        about = row - row.mean(axis=1, keepdims=True)
        axis = np.abs(about).max(axis=1).argmax()
        assert ratio == pytest.approx(np.abs(about[axis]).max() / np.sqrt((about[axis] ** 2).mean()))
        assert arias == pytest.approx(math.pi / (2 * 9.80665) * (row**2).sum() / RATE_HZ)


def test_as_evidence() -> None:
    first, second = described(sine(), RATE_HZ)
    assert first["pga_gal"] == pytest.approx(50, rel=1e-3)
    assert second["rms_gal"] == pytest.approx(70.71, rel=1e-3)
    assert first["dominant_hz"] == pytest.approx(5.0, abs=0.01)
    assert described(np.zeros((1, 3, 50)), RATE_HZ)[0]["dominant_hz"] is None
    assert described(np.zeros((1, 3, 5)), RATE_HZ)[0]["pga_gal"] == 0
    assert described(np.zeros((0, 3, 5)), RATE_HZ) == []
