from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alerting.detectors.natural_frequency import NaturalFrequency
from alerting.rules import parse_rule
from domain.alerts import Detection
from tests.unit.alerting.blocks import T0, S, cut, default_rule, some

QUICK = {"every": 1, "windows": 8}
"""An estimate every 164 s instead of every 87 min, so that hours of signal stand for days."""
RATE_HZ = 31.25


def tracker(**more: Any) -> NaturalFrequency:
    return NaturalFrequency(default_rule("structure.frequency", **{**QUICK, **more}))


def house(hours: float, hz: Any, seed: int = 1, damping: float = 0.015, gal: float = 0.1) -> NDArray[Any]:
    """Ambient vibration ``(3, n)`` in m/s²: a mode driven by white noise on both horizontal axes, over MEMS noise.

    ``hz(t)``: the mode's frequency by time in hours; the response is made piece by piece of 64 s.
    """
    rng = np.random.default_rng(seed)
    piece = 2000
    out = []
    for k in range(round(hours * 3600 * RATE_HZ / piece)):
        f0 = hz(k * piece / RATE_HZ / 3600)
        f = np.fft.rfftfreq(2 * piece, 1 / RATE_HZ)
        mode = 1 / np.maximum(np.abs(1 - (f / f0) ** 2 + 2j * damping * f / f0), 1e-9)
        drive = np.fft.rfft(rng.normal(size=(2, 2 * piece)), axis=1)
        swing = np.fft.irfft(drive * mode, axis=1)[:, :piece]
        swing /= np.sqrt((mode**2).mean())
        x = rng.normal(scale=0.05, size=(3, piece))
        x[0] += gal * swing[0]
        x[1] += 0.6 * gal * swing[1]
        out.append(x)
    signal = np.concatenate(out, axis=1) / 100
    signal[2] += 9.81
    return signal


def told(found: list[Detection]) -> list[tuple[str, int, float]]:
    return [(d.phase, d.severity, round((d.sampled_us - T0) / S / 3600, 2)) for d in found]


@pytest.mark.parametrize(("hz", "seed"), [(1.4, 1), (2.3, 2), (3.1, 3), (5.0, 4)])
def test_a_planted_drop_is_found_with_its_size_and_its_error(hz: float, seed: int) -> None:
    signal = house(7, lambda t: hz if t < 2.5 else 0.9 * hz, seed)
    d = tracker()
    found = d.feed(cut(signal, RATE_HZ, 128))
    assert [x.phase for x in found][:1] == ["onset"]
    assert all(x.severity == 3 for x in found), "10 % is past 6 % and not past 12 %"
    onset = found[0]
    assert 2.5 < (onset.at_us - T0) / S / 3600 < 3.5
    assert onset.features["reference_hz"] == pytest.approx(hz, rel=0.01)
    final = float(d._recent[0])
    assert final == pytest.approx(0.9 * hz, rel=0.01)
    assert 0 < onset.features["drop_error_pct"] < 3


@pytest.mark.parametrize("seed", range(2))
def test_a_day_of_warmth_and_no_damage_stays_quiet(seed: int) -> None:
    def hz(t: float) -> float:
        return float(2.2 * (1 + 0.015 * np.sin(2 * np.pi * t / 6)))

    assert tracker().feed(cut(house(12, hz, seed), RATE_HZ, 128)) == []


def test_noise_without_a_mode_learns_nothing() -> None:
    d = tracker()
    assert d.feed(cut(house(4, lambda t: 2.0, gal=0.0), RATE_HZ, 128)) == []
    assert d._learnt[0] == 0


def test_it_clears_when_the_house_is_repaired_and_worsens_when_it_is_not() -> None:
    def hz(t: float) -> float:
        return 2.0 if t < 2 or t > 5.5 else 1.84 if t < 3.5 else 1.68

    found = tracker().feed(cut(house(8, hz), RATE_HZ, 128))
    assert [(phase, severity) for phase, severity, _ in told(found)] == [("onset", 3), ("update", 2), ("clear", 2)]
    assert len({x.episode_us for x in found}) == 1


def test_strong_shaking_and_gaps_spoil_their_windows_only() -> None:
    signal = house(3, lambda t: 2.0)
    n = signal.shape[1]
    burst = slice(n // 2, n // 2 + 3000)
    signal[0, burst] += 0.2 * np.sin(2 * np.pi * 1.6 * np.arange(3000) / RATE_HZ)
    w = cut(signal, RATE_HZ, 128)
    d = tracker()
    assert d.feed(some(w, np.arange(len(w)) % 31 != 5)) == []
    assert d._reference[0] == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("rate_hz", [31.25, 50.0, 100.0, 125.0, 200.0])
def test_a_line_is_placed_between_the_bins_at_every_rate(rate_hz: float) -> None:
    t = np.arange(round(200 * rate_hz)) / rate_hz
    signal = np.random.default_rng(1).normal(scale=2e-4, size=(3, len(t)))
    signal[0] += 0.002 * np.sin(2 * np.pi * 2.345 * t)
    d = tracker(windows=4, learn=4)
    d.feed(cut(signal, rate_hz, 77))
    assert d._learnt[0] >= 1
    assert d._reference[0] == pytest.approx(2.345, abs=0.01)


def test_one_window_in_eight_is_taken_by_default() -> None:
    d = NaturalFrequency(default_rule("structure.frequency"))
    d.feed(cut(house(1, lambda t: 2.0), RATE_HZ, 128))
    windows = 3600 * RATE_HZ / (1.25 * 256 * 2)
    assert d._windows[0] == pytest.approx(windows / 8, abs=1.1)


def test_wrong_settings_are_named() -> None:
    row = {"id": "x", "detector": "natural_frequency", "kind": "structure.frequency"}
    with pytest.raises(Exception, match="from_hz"):
        parse_rule({**row, "settings": {"title": {"zh": "x", "en": "x"}, "from_hz": 4, "to_hz": 3}})
    with pytest.raises(Exception, match="drop"):
        parse_rule({**row, "settings": {"title": {"zh": "x", "en": "x"}, "drop": {"3": 0.2, "2": 0.1}}})
