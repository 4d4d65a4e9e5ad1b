"""A value far from where this sensor usually is: a robust mean and mean absolute deviation that follow slowly.

Huber, "Robust Estimation of a Location Parameter" (1964): each update is clipped at
``CLIP`` deviations, so that an event does not teach the baseline; exponentially
weighted, so that a sensor costs two numbers. Has no idea of the time of day: where a
day has a shape, ``season.py`` sees more.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from alerting.detectors.base import Rule
from alerting.detectors.kernel import TINY, Judged, Kernel, KernelOwn, ew_rate
from alerting.detectors.scalar import Days, ScalarSettings, Step, zeros
from domain.readings import Float32, Float64

CLIP = 3.0
FREE = 10
"""Values taken unclipped, to begin with."""
FLOOR = 1e-9
"""Smallest scatter, as a share of the value: below it lies the arithmetic."""


class LevelSettings(ScalarSettings):
    """A value far from its usual level; ``memory_s``: how long the level remembers."""

    memory_s: Days = Field(86_400.0, gt=0)


class _Own(KernelOwn):
    NAMES = (*KernelOwn.NAMES, "count", "mean", "dev")

    count: Float32
    mean: Float64
    dev: Float64


class Level(Kernel[_Own]):
    """See the module."""

    OWN = _Own
    FIELDS: ClassVar = {**Kernel.FIELDS, "_count": 0, "_mean": 0, "_dev": 0}

    def __init__(self, *rules: Rule) -> None:
        super().__init__(*rules)
        assert isinstance(self.common, LevelSettings)
        self.settings = self.common
        self._count: Float32 = np.zeros(0, np.float32)
        self._mean: Float64 = zeros(0)
        self._dev: Float64 = zeros(0)

    def judge(self, own: _Own, at: Step) -> Judged:
        """|value - mean| / mean absolute deviation, both from before the value."""
        count, dev = own.count.astype(np.float64), own.dev
        mean = np.where(count > 0, own.mean, at.value)
        apart, settled = at.value - mean, count >= FREE
        least = np.maximum(dev, FLOOR * np.abs(mean))
        scale = np.maximum(least, TINY)
        z = np.where(settled, np.abs(apart) / scale, np.nan)
        reach = np.where(settled, CLIP * least, np.inf)
        pulled = np.minimum(np.maximum(apart, -reach), reach)
        rate = ew_rate(at.gap_s, self.settings.memory_s, count)
        own.mean[:] = mean + rate * pulled
        own.dev += rate * (np.abs(pulled) - dev)
        own.count += 1
        return Judged(z, mean, scale)
