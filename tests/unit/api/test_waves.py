"""Waveform rows to plots: joined, cut, thinned without losing a peak."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.waves import cut, decode, envelope, items_of, join
from domain.clock import from_us

T0 = 1_790_000_000_000_000


def row(samples: Any, start_us: int = T0, rate_hz: float = 100.0, axes: int = 7) -> dict[str, Any]:
    samples = np.asarray(samples, "<f4")
    return {
        "time": from_us(start_us), "rate_hz": rate_hz, "unit": "mm/s", "n": samples.shape[1], "axes": axes,
        "encoding": "f4", "scale": 1.0, "samples": samples.tobytes(),
    }  # fmt: skip


def test_decoding_scales_and_leaves_out_axes_that_were_not_sent() -> None:
    raw = np.array([[1, 2], [0, 0], [-3, 4]], "<i2")
    packet = row(np.zeros((3, 2)), axes=5) | {"encoding": "i2", "scale": 0.5, "samples": raw.tobytes()}
    stretch = decode(packet)
    assert stretch.axes == ("x", "z")
    assert stretch.samples.tolist() == [[0.5, 1.0], [-1.5, 2.0]]


def test_packets_that_touch_are_one_stretch_and_a_gap_is_kept() -> None:
    packets = [decode(row(np.ones((3, 100)), T0 + s * 1_000_000)) for s in (0, 1, 3)]
    joined = join(packets)
    assert [stretch.samples.shape for stretch in joined] == [(3, 200), (3, 100)]
    assert len(join([packets[0], decode(row(np.ones((3, 100)), T0 + 1_000_000, rate_hz=50))])) == 2


def test_the_cut_takes_from_and_leaves_to() -> None:
    stretch = decode(row(np.tile(np.arange(100), (3, 1))))
    part = cut(stretch, T0 + 100_000, T0 + 200_000)
    assert part.samples[0].tolist() == list(range(10, 20))
    assert part.start_us == T0 + 100_000
    assert cut(stretch, T0 - 10_000_000, T0 - 5_000_000).samples.size == 0


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=200), st.integers(2, 50))
def test_an_envelope_keeps_every_peak(values: list[float], per: int) -> None:
    samples = np.array([values])
    kept = envelope(samples, per)
    for n in range(0, len(values), per):
        run = values[n : n + per]
        assert sorted(kept[0, 2 * (n // per) : 2 * (n // per) + 2]) == [min(run), max(run)]


@pytest.mark.parametrize(("points", "thinned"), [(100, False), (200, False), (201, True), (5000, True)])
def test_over_the_limit_only_the_envelope(points: int, thinned: bool) -> None:
    values = np.zeros((3, points))
    values[0, points // 2] = 7.0
    items, decimated = items_of([row(values, axes=1)], from_us(T0), from_us(T0 + 10**9), points_max=200)
    assert decimated is thinned
    (item,) = items
    assert len(item["x"]) <= 200
    assert max(item["x"]) == 7.0
    seconds = len(item["x"]) / item["rate_hz"]
    assert seconds == pytest.approx(points / 100, rel=0.05)


def test_nothing_gives_nothing() -> None:
    assert items_of([], from_us(T0), from_us(T0 + 1)) == ([], False)
