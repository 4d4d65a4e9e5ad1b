"""Calibrations put on blocks: columns say what a loop over rows says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.calibrated import Calibrations, calibrated, one_packet
from domain.calibration import AXES, Calibration, calibrations_of, checked_calibration
from domain.clock import to_us
from domain.devices import Device
from domain.errors import PayloadError
from domain.readings import Block, Readings, Waveforms

METRICS = {"tilt_x_deg": 3, "temperature_c": 0, "x": 7}
HOUR_US = 3_600_000_000


def device(key: int, calibration: dict[str, Any] | None = None) -> Device:
    return Device(key, f"D-{key}", "tilt", calibration=calibrations_of(checked_calibration(calibration or {})))


def readings(rows: list[tuple[int, int, int, float]]) -> Readings:
    n = len(rows)
    of = list(zip(*rows, strict=True)) or [()] * 4
    return Readings(
        np.array(of[0], np.int32), np.array(of[1], np.int32), np.array(of[2], np.int64),
        np.array(of[3], np.float64), np.full(n, -1, np.int64), np.zeros(n, np.int64), np.zeros(n, np.bool_),
    )  # fmt: skip


def packets(rows: list[tuple[int, int, list[bool]]], m: int = 4, seed: int = 0) -> Waveforms:
    n = len(rows)
    samples = np.random.default_rng(seed).normal(size=(n, 3, m)).astype(np.float32)
    axes = np.array([axes for _, _, axes in rows], np.bool_).reshape(n, 3)
    return Waveforms(
        np.array([d for d, _, _ in rows], np.int32), np.array([t for _, t, _ in rows], np.int64), 100.0, "m/s2",
        samples * axes[:, :, None], axes, np.full(n, -1, np.int64), np.zeros(n, np.int64), np.zeros(n, np.bool_),
    )  # fmt: skip


def block(r: Readings, *w: Waveforms) -> Block:
    return Block(r, w, (), (), (), 0)


def test_a_block_of_devices_without_one_is_the_same_block() -> None:
    one = block(readings([(1, 3, 5, 2.0)]), packets([(1, 5, [True] * 3)]))
    assert Calibrations([device(1)], METRICS).block(one) is one
    others = Calibrations([device(9, {"x": {"scale": 2}})], METRICS).block(one)
    assert others.readings is one.readings
    assert others.waveforms[0] is one.waveforms[0]
    assert Calibrations([device(0, {"unheard_of": {"scale": 2}})], METRICS).block(one).readings.value[0] == 2.0


def test_scale_and_offset_of_a_metric_and_the_raw_block_stays() -> None:
    raw = block(readings([(1, 3, 5, 2.0), (2, 3, 5, 2.0), (1, 0, 5, 2.0)]))
    seen = Calibrations([device(1, {"tilt_x_deg": {"scale": -2, "offset": 0.5}})], METRICS).block(raw)
    assert seen.readings.value.tolist() == [-3.5, 2.0, 2.0]
    assert raw.readings.value.tolist() == [2.0, 2.0, 2.0]


def test_one_after_the_other() -> None:
    spans = [
        {"scale": 3, "from": "2026-05-01T09:00:00+08:00"},
        {"scale": 2, "from": "2026-04-01T00:00:00Z", "until": "2026-05-01T01:00:00Z"},
    ]
    checked = checked_calibration({"x": spans})
    assert [one["scale"] for one in checked["x"]] == [2.0, 3.0]  # type: ignore[index]
    found = calibrations_of(checked)
    assert [c.scale for c in found] == [2.0, 3.0]
    change = found[1].from_us
    assert found[0].until_us == change
    times = [found[0].from_us - 1, found[0].from_us, change - 1, change]
    seen = Calibrations([device(4, {"x": spans})], METRICS).readings(readings([(4, 7, t, 1.0) for t in times]))
    assert seen.value.tolist() == [1.0, 2.0, 2.0, 3.0]
    assert calibrated(found, np.ones(4), np.array(times), np.zeros(4, bool), ["x", ""]).tolist() == [1, 2, 2, 3]


def test_a_sensor_mounted_on_its_side() -> None:
    """x lies along the raw z, upside down; y is as it is; the raw x, which is missing, lies along z."""
    raw = packets([(1, 10, [False, True, True]), (2, 10, [True] * 3)])
    turned = device(1, {"x": {"axis": "z", "scale": -1}, "z": {"axis": "x"}})
    seen = Calibrations([turned], METRICS).packets(raw)
    assert seen.axes.tolist() == [[True, True, False], [True] * 3]
    assert np.array_equal(seen.samples[0, 0], -raw.samples[0, 2])
    assert np.array_equal(seen.samples[0, 1], raw.samples[0, 1])
    assert not seen.samples[0, 2].any()
    assert np.array_equal(seen.samples[1], raw.samples[1])


def test_nothing_becomes_infinite() -> None:
    at_most = {"scale": 1e12, "offset": 1e12}
    worst = device(1, {"tilt_x_deg": at_most, "x": at_most})
    seen = Calibrations([worst], METRICS).block(
        block(readings([(1, 3, 5, 1.7e308), (1, 3, 5, -1.7e308)]), packets([(1, 5, [True] * 3)]))
    )
    assert np.isfinite(seen.readings.value).all()
    huge = packets([(1, 5, [True] * 3)])
    huge.samples[:] = 3e38
    assert np.isfinite(Calibrations([worst], METRICS).packets(huge).samples).all()


HOURS = st.one_of(st.none(), st.integers(0, 5))
SCALES = st.floats(-9, 9, allow_nan=False).filter(bool)


@st.composite
def device_lists(draw: st.DrawFn) -> list[Device]:
    devices = []
    for key in draw(st.sets(st.integers(1, 6), max_size=5)):
        found: list[Calibration] = []
        for metric in draw(st.sets(st.sampled_from([*METRICS, "y", "z", "none"]), max_size=4)):
            edges = sorted(draw(st.sets(st.integers(0, 8), max_size=4)))
            axis = draw(st.sampled_from(AXES)) if metric in AXES else None
            found += [
                Calibration(metric, draw(SCALES), draw(SCALES), a * HOUR_US, b * HOUR_US, axis)
                for a, b in zip(edges[::2], edges[1::2], strict=False)
            ]
        devices.append(Device(key, f"D-{key}", "tilt", calibration=tuple(found)))
    return devices


@given(
    devices=device_lists(),
    rows=st.lists(
        st.tuples(st.integers(1, 8), st.sampled_from([0, 3, 7, 8]), st.integers(0, 9 * HOUR_US),
                  st.floats(-1e6, 1e6, allow_nan=False)), max_size=20,
    ),
    shakes=st.lists(
        st.tuples(st.integers(1, 8), st.integers(0, 9 * HOUR_US), st.lists(st.booleans(), min_size=3, max_size=3)),
        min_size=1, max_size=8,
    ),
)  # fmt: skip
def test_columns_say_what_a_loop_says(devices: list[Device], rows: list[Any], shakes: list[Any]) -> None:
    by_key, names = {d.key: d for d in devices}, {key: name for name, key in METRICS.items()}
    raw = block(readings(rows), packets(shakes))
    seen = Calibrations(devices, METRICS).block(raw)
    for at, (key, metric, t, value) in enumerate(rows):
        mine = by_key[key].calibration if key in by_key else ()
        for c in mine:
            if c.metric == names.get(metric) and c.from_us <= t < c.until_us:
                value = value * c.scale + c.offset
        assert seen.readings.value[at] == value
    w, out = raw.waveforms[0], seen.waveforms[0]
    for at, (key, t, axes) in enumerate(shakes):
        mine = by_key[key].calibration if key in by_key else ()
        samples, there = one_packet(mine, t, w.samples[at].astype(np.float64), axes)
        assert out.axes[at].tolist() == there
        np.testing.assert_allclose(out.samples[at], samples, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"from": "may"}, "from"),
        ({"from": "2026-05-01T08:00:00"}, "no zone"),
        ({"from": "2026-05-01T08:30:00Z"}, "whole hour"),
        ({"from": "2026-05-01T08:00:00+05:30"}, "whole hour"),
        ({"until": "0001-01-01T00:00:00+08:00"}, "until"),
        ({"from": "2026-05-01T08:00:00Z", "until": "2026-05-01T08:00:00Z"}, "before until"),
        ({"axis": "w"}, "axis"),
        ([], "0 calibrations"),
        ([{}] * 17, "17 calibrations"),
        ([{}, {}], "of the next"),
        ([{"until": "2026-05-02T00:00:00Z"}, {"from": "2026-05-01T00:00:00Z"}], "of the next"),
        ([3], "must be an object"),
    ],
)
def test_times_and_axes_that_cannot_be_are_named(given: Any, named: str) -> None:
    with pytest.raises(PayloadError, match=named):
        checked_calibration({"x": given})


def test_only_axes_have_an_axis_and_years_have_four_digits() -> None:
    with pytest.raises(PayloadError, match="axis"):
        checked_calibration({"tilt_x_deg": {"axis": "x"}})
    checked = checked_calibration({"x": {"from": "0999-01-01T00:00:00Z"}})
    assert calibrations_of(checked)[0].from_us < to_us(datetime(1000, 1, 1, tzinfo=UTC))
