"""Faults of a device, noticed on its series: one episode a device, however many of its metrics are hit.

Who looks after the device wants one word about it. So the first series at fault
begins the episode, further ones update it, and the last one to recover ends it.
Faults are rare: what is said is plain Python, what is looked at for each reading
is the detector's own, in columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from alerting.detectors.base import Rule
from alerting.detectors.rows import SeriesState, is_late
from domain.alerts import Alert, Detection
from domain.readings import Bool, Int64

MAINTAINER_SEVERITY = 4


@dataclass(frozen=True, slots=True)
class Sign:
    """What a series shows at one reading: ``value`` against ``limit``, and why in ``features``."""

    at_us: int
    sampled_us: int
    received_us: int
    value: float
    limit: float
    unit: str = ""
    features: Mapping[str, Any] | None = None


class SeriesFaults(SeriesState):
    """The base of detectors that judge each series of a device; subclasses add to ``FIELDS``."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule
        self._active: Bool = np.zeros(0, bool)
        self._episode: Int64 = np.zeros(0, np.int64)

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart, for the metrics it names that are known by key."""
        keys = alert.evidence.get("features", {}).get("metric_keys", [])
        row = self.series_of(np.full(len(keys), alert.device, np.int32), np.array(keys, np.int32))
        self._active[row], self._episode[row] = True, episode_us

    def begin(self, row: int, sign: Sign, names: Mapping[int, str]) -> Detection:
        """A series goes wrong: the device's onset, or an update when it is known to be at fault."""
        others = self._at_fault(int(self.device[row]))
        self._active[row] = True
        self._episode[row] = self._episode[others[0]] if len(others) else sign.at_us
        return self._say("update" if len(others) else "onset", row, sign, names)

    def end(self, row: int, sign: Sign, names: Mapping[int, str]) -> Detection:
        """A series is right again: the device's clear once no other is at fault, else an update."""
        self._active[row] = False
        others = self._at_fault(int(self.device[row]))
        return self._say("update" if len(others) else "clear", row, sign, names)

    def _at_fault(self, device: int) -> Int64:
        n = len(self)
        return np.flatnonzero(self._active[:n] & (self.device == device))

    def _say(self, phase: str, row: int, sign: Sign, names: Mapping[int, str]) -> Detection:
        device = int(self.device[row])
        at_fault = self.metric[self._at_fault(device)].tolist()
        metric = names.get(int(self.metric[row]), "")
        episode_us = int(self._episode[row])
        known = sorted(names.get(m, str(m)) for m in at_fault)
        features = {**(sign.features or {}), "metric_keys": at_fault, "metrics": known}
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=device, episode_us=episode_us,
            at_us=sign.at_us, sampled_us=sign.sampled_us, received_us=sign.received_us,
            severity=MAINTAINER_SEVERITY, metric=metric, value=sign.value, limit=sign.limit, unit=sign.unit,
            late=is_late(sign.received_us, sign.sampled_us), title=self.rule.title,
            window_us=(episode_us, sign.sampled_us), features=features,
        )  # fmt: skip


def names_of(metrics: Mapping[str, int]) -> dict[int, str]:
    """Metric names by key."""
    return {key: name for name, key in metrics.items()}
