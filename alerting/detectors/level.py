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
from alerting.detectors.scalar import Days, ScalarSettings, zeros
from alerting.detectors.steps import Steps
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

    def judge(self, own: _Own, at: Steps) -> Judged:
        """|value - mean| / mean absolute deviation, both from before the value."""
        value, fresh = at.laid(at.value), own.count == 0
        if np.count_nonzero(fresh):
            own.mean[fresh] = value[: len(fresh)][fresh]
        count = at.counted(own.count.astype(np.float64))
        settled = count >= FREE
        rate = at.laid(ew_rate(at.gap_s, self.settings.memory_s, count))
        free = None if settled.all() else ~at.laid(settled)
        means, devs = np.empty(len(value)), np.empty(len(value))
        for part in at.rounds():
            k, step = part.stop - part.start, rate[part]
            mean, dev = own.mean[:k], own.dev[:k]
            means[part], devs[part] = mean, dev
            apart = value[part] - mean
            reach = CLIP * np.maximum(dev, FLOOR * np.abs(mean))
            if free is not None:
                reach[free[part]] = np.inf
            pulled = np.minimum(np.maximum(apart, -reach), reach)
            mean += step * pulled
            dev += step * (np.abs(pulled) - dev)
        own.count += at.length
        mean, dev = at.back(means), at.back(devs)
        scale = np.maximum(np.maximum(dev, FLOOR * np.abs(mean)), TINY)
        return Judged(np.where(settled, np.abs(at.value - mean) / scale, np.nan), mean, scale)
