from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alerting.detectors.biquads import INPUT, Biquad, BiquadTree, high_pass, low_pass, velocity
from alerting.detectors.intensity import (
    amplitude,
    gbt17742,
    intensity_filters,
    jma_class,
    jma_fft_level,
    jma_filter,
    jma_of_level,
    kunugi_stages,
    samples_exceeded,
    stages_used,
)

RATES = (31.25, 50.0, 100.0, 125.0, 200.0)


@pytest.mark.parametrize(
    ("pga", "pgv", "expected"),
    [(0.457, 0.0381, 5.5), (0.936, 0.0817, 6.5), (1e-6, 1e-6, 1.0), (1e4, 1e4, 12.0), (0.01, 0.0005, 1.0),
     (5.0, 0.001, 4.8)],
)  # fmt: skip
def test_gbt17742_check_pairs_and_ends(pga: float, pgv: float, expected: float) -> None:
    assert gbt17742(np.array([pga]), np.array([pgv]))[0] == expected


def test_gbt17742_takes_velocity_alone_only_when_both_are_six_or_more() -> None:
    pga = np.array([10 ** ((5.99 - 6.59) / 3.17), 10 ** ((6.01 - 6.59) / 3.17)])
    pgv = np.full(2, 10 ** ((8.0 - 9.77) / 3.0))
    assert gbt17742(pga, pgv).tolist() == [7.0, 8.0]


@pytest.mark.parametrize(
    ("a0", "intensity", "name"),
    [(0.34, 0.0, "0"),
     (1.0, 0.9, "1"), (10.0, 2.9, "3"), (127.0, 5.1, "5+"), (400.0, 6.1, "6+"), (700.0, 6.6, "7")],
)  # fmt: skip
def test_jma_of_a_level(a0: float, intensity: float, name: str) -> None:
    got = float(jma_of_level(np.array([a0]))[0])
    assert got == pytest.approx(intensity)
    assert jma_class(got) == name


def test_jma_rounds_the_third_decimal_and_cuts_to_one() -> None:
    level = 10 ** ((np.array([4.494, 4.495, 4.4999, 4.51]) - 0.94) / 2)
    assert jma_of_level(level).tolist() == [4.4, 4.5, 4.5, 4.5]


def test_jma_classes_begin_where_the_agency_has_them() -> None:
    at = (0.4, 0.5, 1.5, 2.5, 3.5, 4.5, 5.0, 5.5, 6.0, 6.5)
    assert [jma_class(each) for each in at] == ["0", "1", "2", "3", "4", "5-", "5+", "6-", "6+", "7"]


def by_hand(nodes: list[Biquad], x: NDArray[Any]) -> list[NDArray[Any]]:
    """The naive reference: each difference equation, sample by sample, in double precision."""
    outputs: list[NDArray[Any]] = []
    for node in nodes:
        u = x if node.parent == INPUT else outputs[node.parent]
        y = np.zeros(len(x))
        for n in range(len(x)):
            y[n] = sum(node.b[k] * u[n - k] for k in range(3) if n >= k)
            y[n] -= sum(node.a[k - 1] * y[n - k] for k in (1, 2) if n >= k)
        outputs.append(y)
    return outputs


@pytest.mark.parametrize("rate_hz", RATES)
def test_filters_match_their_difference_equations_over_any_packets(rate_hz: float) -> None:
    tree = intensity_filters(rate_hz)
    x = np.random.default_rng(1).normal(size=600)
    state, parts = np.zeros((2, 3, tree.order), np.float32), []
    for piece in np.split(x.astype(np.float32), [7, 8, 250]):
        y, state = tree.run(np.broadcast_to(piece, (2, 3, len(piece))).copy(), state)
        parts.append(y[1, 2])
    whole = np.concatenate(parts, axis=1)
    wanted = by_hand(list(tree.nodes), x.astype(np.float32).astype(float))
    for got, number in zip(whole, tree.outputs, strict=True):
        # Single precision; how its sums round differs between processors. 0.2 % is 0.002 of an intensity.
        np.testing.assert_allclose(got, wanted[number], atol=2e-3 * np.abs(wanted[number]).max())


def response(nodes: list[Biquad], number: int, freq: NDArray[Any], rate_hz: float) -> NDArray[Any]:
    z = np.exp(-2j * np.pi * freq / rate_hz)
    node = nodes[number]
    own = (node.b[0] + node.b[1] * z + node.b[2] * z * z) / (1 + node.a[0] * z + node.a[1] * z * z)
    before = 1.0 if node.parent == INPUT else response(nodes, node.parent, freq, rate_hz)
    return np.asarray(own * before)


@pytest.mark.parametrize("rate_hz", [31.25, 50.0, 62.5, 80.0, 100.0, 125.0, 200.0])
def test_the_realtime_filter_has_the_jma_filters_amplitude(rate_hz: float) -> None:
    f = np.array([0.2, 0.5, 1, 2, 4, 6, 8, 10])
    f = f[f <= 0.26 * rate_hz]
    ratio = amplitude(kunugi_stages(rate_hz), f, rate_hz) / jma_filter(f)
    assert np.all((ratio > 0.97) & (ratio < 1.03)), ratio


@pytest.mark.parametrize(
    ("rate_hz", "stages"), [(31.25, 3), (50.0, 4), (62.5, 5), (80.0, 5), (100.0, 6), (125.0, 6), (200.0, 6)]
)
def test_stages_are_chosen_by_the_rate_and_all_poles_lie_well_inside(rate_hz: float, stages: int) -> None:
    chosen = kunugi_stages(rate_hz)
    assert stages_used(rate_hz) == stages
    assert len(chosen) == min(6, stages + 1), "a fitted low-pass stands for what was left out"
    assert max(np.abs(np.roots([1, *stage.a])).max() for stage in chosen) < 0.99


@pytest.mark.parametrize("rate_hz", RATES)
def test_white_noise_for_twenty_minutes_stays_finite_and_bounded(rate_hz: float) -> None:
    tree = intensity_filters(rate_hz)
    x = np.random.default_rng(3).normal(size=(1, 3, round(1200 * rate_hz))).astype(np.float32)
    y, state = tree.run(x, np.zeros((1, 3, tree.order), np.float32))
    assert np.isfinite(y).all()
    assert np.isfinite(state).all()
    assert np.abs(y).max() < 20


def test_band_pass_keeps_one_hertz_and_cuts_both_sides() -> None:
    tree = intensity_filters(100.0)
    f = np.array([0.02, 0.1, 1.0, 5.0, 10.0, 25.0])
    acc = np.abs(response(list(tree.nodes), tree.outputs[1], f, 100.0))
    assert acc[2:4] == pytest.approx([1, 1], rel=0.02)
    assert acc[[1, 4]] == pytest.approx([0.707, 0.707], rel=0.02)
    assert acc[0] < 0.05
    assert acc[5] < 0.03
    vel = np.abs(response(list(tree.nodes), tree.outputs[2], f, 100.0)) * 2 * np.pi * f
    assert vel[2:4] == pytest.approx([1, 1], rel=0.03)


def test_building_blocks() -> None:
    nodes = [low_pass(100, 10), high_pass(100, 1, 0), velocity(100, 1, 0)]
    tree = BiquadTree(nodes, (1, 2))
    assert tree.matrix(5).shape == (11, 16)


def quake(rate_hz: float, seed: int, gal: float) -> NDArray[Any]:
    """A minute like an earthquake, ``(3, n)`` gal: coloured noise under an envelope, corner by seed."""
    rng = np.random.default_rng(seed)
    n = round(60 * rate_hz)
    t = np.arange(n) / rate_hz
    envelope = np.where(t > 10, (t - 10) / 4 * np.exp(1 - (t - 10) / 4), 0)
    spectrum = np.fft.rfft(rng.normal(size=(3, n)), axis=1)
    f = np.fft.rfftfreq(n, 1 / rate_hz)
    corner = rng.uniform(0.3, 2)
    shape = (f / corner) ** 2 / (1 + (f / corner) ** 2) * np.exp(-f / rng.uniform(4, 9))
    x = np.fft.irfft(spectrum * shape, n, axis=1) * envelope
    return np.asarray(x / np.abs(x).max() * gal)


def realtime_level(x_gal: NDArray[Any], rate_hz: float) -> float:
    tree = intensity_filters(rate_hz)
    y, _ = tree.run(x_gal[None].astype(np.float32), np.zeros((1, 3, tree.order), np.float32))
    vector = np.sqrt((y[0, :, 0].astype(float) ** 2).sum(axis=0))
    count = samples_exceeded(rate_hz)
    return float(np.sort(vector)[-count])


@pytest.mark.parametrize("rate_hz", [50.0, 100.0, 125.0, 200.0])
@pytest.mark.parametrize("seed", range(8))
def test_the_realtime_form_is_within_a_tenth_of_the_fft_form(rate_hz: float, seed: int) -> None:
    x = quake(rate_hz, seed, gal=20.0 * 2**seed)
    fft, live = (2 * np.log10(a) + 0.94 for a in (jma_fft_level(x, rate_hz), realtime_level(x, rate_hz)))
    assert live == pytest.approx(fft, abs=0.1)
