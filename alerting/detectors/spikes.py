"""One-sample spikes: a sample that stands alone is the electronics, not the ground.

Motion that a house can make is spread over neighbouring samples by the sensor's own
low-pass; a bit error or a contact fault is not. A sample is a lone spike when it is
at least ``ALONE`` times as large as every other sample of its axis in the packet. A
blast of three samples at 100 Hz (10-30-10) passes: its neighbours are a third of it.

Known crudeness: one spike an axis and packet is found, the largest; two of one size
hide each other, and so does shaking that fills the packet (then the spike does not
decide either). At a packet's edge the neighbour is unknown: the first sample of a
shock that begins with a packet's very last sample is taken for a spike, and lost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.readings import Bool, Float32, Float64

ALONE = 5.0
SAMPLES_MIN = 8
"""With fewer samples in a packet nothing can be said about the others."""


def remove_lone_spikes(x: Float64 | Float32, floor: float) -> NDArray[np.intp]:
    """Replace lone spikes of ``x (k, 3, m)``, deviations from rest, in place by their neighbours' mean.

    Only samples of size ``floor`` or more are looked at. Returns how many were
    replaced in each row, ``(k,)``.
    """
    found = np.zeros(len(x), np.intp)
    if x.shape[2] < SAMPLES_MIN:
        return found
    high, low = x.max(axis=2), x.min(axis=2)
    row, axis = np.nonzero(np.maximum(high, -low) >= floor)
    if len(row) == 0:
        return found
    line = x[row, axis]
    size = np.abs(line)
    n, m = size.shape
    at = size.argmax(axis=1)
    every = np.arange(n)
    top = size[every, at]
    size[every, at] = 0
    alone: Bool = top >= ALONE * size.max(axis=1)
    row, axis, at, line = row[alone], axis[alone], at[alone], line[alone]
    every = np.arange(len(row))
    before, after = np.where(at > 0, at - 1, at + 1), np.where(at < m - 1, at + 1, at - 1)
    x[row, axis, at] = (line[every, before] + line[every, after]) / 2
    np.add.at(found, row, 1)
    return found
