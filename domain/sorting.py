"""The order of rows by two columns of whole numbers. Pure: numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.integer[Any]]


def order_by(major: Whole, minor: Whole) -> NDArray[np.int64]:
    """Places ``(n,)`` by ``major``, then ``minor``, then as they stand.

    Packed into one number with their place, where 63 bits are enough: numpy sorts that
    twenty times faster than it finds a stable order by two columns.
    """
    n = len(major)
    if n == 0:
        return np.zeros(0, np.int64)
    low, lowest = int(major.min()), int(minor.min())
    span, bits = int(minor.max()) - lowest + 1, n.bit_length()
    if (int(major.max()) - low + 1) * span << bits >= 1 << 63:
        return np.asarray(np.lexsort((minor, major)), np.int64)
    packed = (major.astype(np.int64) - low) * span + (minor.astype(np.int64) - lowest)
    packed = packed << bits | np.arange(n)
    packed.sort()
    return np.asarray(packed & ((1 << bits) - 1))


def begins(*columns: Whole) -> NDArray[np.bool_]:
    """Where a row differs from the one before it in any column ``(n,)``; the first does."""
    out = np.ones(len(columns[0]), bool)
    if len(out) > 1:
        changes = out[1:]
        np.not_equal(columns[0][1:], columns[0][:-1], out=changes)
        for column in columns[1:]:
            changes |= column[1:] != column[:-1]
    return out
