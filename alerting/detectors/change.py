"""A jump between two values, compared with how this sensor usually moves: |difference| / its mean.

Exponentially weighted like ``level.py`` (Huber 1964 for the clipping). For water,
gas and temperature, where the speed of the rise is the danger and the level says it
late. After a silence of ``gap_s`` the first value is not compared.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from alerting.detectors.base import Rule
from alerting.detectors.scalar import TINY, Days, Judged, ScalarDetector, ScalarSettings, Step, ew_rate, zeros
from domain.readings import Float64

CLIP = 3.0
FREE = 10
FLOOR = 1e-9


class ChangeSettings(ScalarSettings):
    """An unusual jump; ``memory_s``: how long usual jumps are remembered."""

    memory_s: Days = Field(86_400.0, gt=0)


class Change(ScalarDetector):
    """One rule over all devices that send its metric."""

    FIELDS: ClassVar = {**ScalarDetector.FIELDS, "_count": 0, "_last": 0, "_size": 0}

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        assert isinstance(rule.settings, ChangeSettings)
        self.settings = rule.settings
        self._count: NDArray[np.float32] = np.zeros(0, np.float32)
        self._last: Float64 = zeros(0)
        self._size: Float64 = zeros(0)

    def judge(self, at: Step) -> Judged:
        """|value - last value| / mean absolute difference, from before the value."""
        r, count = at.row, self._count[at.row].astype(np.float64)
        last, size = self._last[r], self._size[r]
        near = at.gap_s <= self.settings.gap_s  # not NaN, which a first value has
        settled = count >= FREE
        jump = np.where(near, np.abs(at.value - last), 0.0)
        least = np.maximum(size, FLOOR * np.abs(last))
        scale = np.maximum(least, TINY)
        z = np.where(near & settled, jump / scale, np.nan)
        reach = np.where(settled, CLIP * least, np.inf)
        rate = ew_rate(at.gap_s, self.settings.memory_s, count)
        self._size[r] = np.where(near, size + rate * (np.minimum(jump, reach) - size), size)
        self._count[r] = count + near
        self._last[r] = at.value
        return Judged(z, last, scale)
