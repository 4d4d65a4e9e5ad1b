"""Waveform rows to what a plot needs: joined packets, thinned to an envelope when there are too many.

The envelope keeps of each run of samples its smallest and largest in the order
they came, so a peak is never thinned away. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.calibrated import one_packet
from domain.calibration import AXES, Calibration
from domain.clock import iso, to_us

POINTS_MAX = 10_000
DTYPES = {"f4": "<f4", "i2": "<i2"}

GAP_SAMPLES = 1.5
"""Packets this close to one another are one stretch."""


@dataclass(slots=True)
class Stretch:
    """Samples without a gap: ``samples (axes, m)`` in ``unit`` from ``start_us`` on."""

    start_us: int
    rate_hz: float
    unit: str
    axes: tuple[str, ...]
    samples: NDArray[np.float64]

    @property
    def next_us(self) -> float:
        """When the sample after the last would be."""
        return self.start_us + float(self.samples.shape[1]) / self.rate_hz * 1e6


def decode(row: Mapping[str, Any], given: Sequence[Calibration] = ()) -> Stretch:
    """One row of ``waveform``: little-endian 3 x n, multiplied by scale; only the axes it carried.

    ``given``: the device's calibrations, put on.
    """
    dtype = np.dtype(DTYPES[row["encoding"]])
    samples = np.frombuffer(row["samples"], dtype).reshape(3, row["n"]).astype(np.float64) * row["scale"]
    start_us, axes = to_us(row["time"]), [bool(row["axes"] >> axis & 1) for axis in range(3)]
    if given:
        samples, axes = one_packet(given, start_us, samples, axes)
    names = tuple(name for name, carried in zip(AXES, axes, strict=True) if carried)
    return Stretch(start_us, row["rate_hz"], row["unit"], names, samples[axes])


def join(packets: Sequence[Stretch]) -> list[Stretch]:
    """Packets in the order of time, joined where nothing lies between them."""
    groups: list[list[Stretch]] = []
    for packet in packets:
        last = groups[-1][-1] if groups else None
        if last is not None and follows(last, packet):
            groups[-1].append(packet)
        else:
            groups.append([packet])
    return [
        Stretch(g[0].start_us, g[0].rate_hz, g[0].unit, g[0].axes, np.concatenate([p.samples for p in g], axis=1))
        for g in groups
    ]


def follows(last: Stretch, packet: Stretch) -> bool:
    """Whether a packet goes on where the last one ended."""
    same = (last.rate_hz, last.unit, last.axes) == (packet.rate_hz, packet.unit, packet.axes)
    return same and abs(packet.start_us - last.next_us) <= GAP_SAMPLES / last.rate_hz * 1e6


def cut(stretch: Stretch, from_us: int, to_us_: int) -> Stretch:
    """The samples with from <= time < to."""
    step_us = 1e6 / stretch.rate_hz
    first = max(0, int(np.ceil((from_us - stretch.start_us) / step_us - 1e-6)))
    end = max(first, min(stretch.samples.shape[1], int(np.ceil((to_us_ - stretch.start_us) / step_us - 1e-6))))
    start_us = stretch.start_us + round(first * step_us)
    return Stretch(start_us, stretch.rate_hz, stretch.unit, stretch.axes, stretch.samples[:, first:end])


def envelope(samples: NDArray[np.float64], per: int) -> NDArray[np.float64]:
    """Of each ``per`` samples the smallest and largest, in the order they came: ``(axes, 2 * ceil(m / per))``.

    The last, shorter run is filled up with its last sample, which changes neither.
    """
    runs = -(-samples.shape[1] // per)
    padded = np.pad(samples, ((0, 0), (0, runs * per - samples.shape[1])), mode="edge")
    blocks = padded.reshape(samples.shape[0], runs, per)
    low, high = blocks.argmin(axis=2), blocks.argmax(axis=2)
    chosen = np.sort(np.stack([low, high], axis=2), axis=2)
    return np.take_along_axis(blocks, chosen, axis=2).reshape(samples.shape[0], runs * 2)


def items_of(
    rows: Sequence[Mapping[str, Any]],
    from_: datetime,
    to: datetime,
    given: Sequence[Calibration] = (),
    points_max: int = POINTS_MAX,
) -> tuple[list[dict[str, Any]], bool]:
    """The answer's items and whether they were thinned to at most about ``points_max`` points."""
    from_us, until_us = to_us(from_), to_us(to)
    stretches = [cut(stretch, from_us, until_us) for stretch in join([decode(row, given) for row in rows])]
    stretches = [stretch for stretch in stretches if stretch.samples.size]
    total = sum(stretch.samples.size for stretch in stretches)
    if total <= points_max:
        return [item(stretch, stretch.samples, stretch.rate_hz) for stretch in stretches], False
    per = max(2, -(-2 * total // points_max))
    items = []
    for stretch in stretches:
        kept = envelope(stretch.samples, per)
        items.append(item(stretch, kept, stretch.rate_hz * 2 / per) | {"samples_per_point": per / 2})
    return items, True


def item(stretch: Stretch, samples: NDArray[np.float64], rate_hz: float) -> dict[str, Any]:
    """One stretch as JSON."""
    shown: dict[str, Any] = {"t": iso(stretch.start_us), "rate_hz": rate_hz, "unit": stretch.unit}
    for name, values in zip(stretch.axes, samples, strict=True):
        shown[name] = values.round(7).tolist()
    return shown
