"""A battery that runs out: the charge a device states in its status messages, or as a reading ``battery_pct``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, model_validator

from alerting.detectors.base import Rule, RuleSettings, Words
from alerting.detectors.faults import MAINTAINER_SEVERITY
from alerting.detectors.rows import NEVER, DeviceState, is_late
from domain.alerts import Alert, Detection
from domain.readings import Block, Bool, Float64, Int64

METRIC = "battery_pct"

Percent = Annotated[float, Field(ge=0, le=100)]


class BatterySettings(RuleSettings):
    """``low_pct`` begins, ``charged_pct`` ends."""

    low_pct: Percent = 20.0
    charged_pct: Percent = 30.0

    @model_validator(mode="after")
    def _apart(self) -> BatterySettings:
        if self.charged_pct <= self.low_pct:
            raise ValueError(f"charged_pct {self.charged_pct} must be above low_pct {self.low_pct}")
        return self

    def words(self) -> Words:
        """The rule in words."""
        return Words(f"`{METRIC}` of status messages and readings", f"4: ≤ {self.low_pct:g} %",
                     f"{self.charged_pct:g} % or more")  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Charge:
    device: int
    time_us: int
    received_us: int
    pct: float


class Battery(DeviceState):
    """One rule over all devices that state their charge."""

    FIELDS: ClassVar = {"_newest": NEVER, "_active": 0, "_episode": 0, "_least": 0}

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        assert isinstance(rule.settings, BatterySettings)
        self.rule = rule
        self.settings = rule.settings
        self._newest: Int64 = np.zeros(0, np.int64)
        self._active: Bool = np.zeros(0, bool)
        self._episode: Int64 = np.zeros(0, np.int64)
        self._least: Float64 = np.zeros(0)

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart."""
        row = self.rows_of(np.array([alert.device], np.int32))
        self._active[row], self._episode[row], self._newest[row] = True, episode_us, newest_us
        self._least[row] = alert.value

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge what the block says of batteries."""
        return [d for charge in charges(block, metrics.get(METRIC)) for d in self._judge(charge)]

    def _judge(self, c: _Charge) -> Iterator[Detection]:
        r = int(self.rows_of(np.array([c.device], np.int32))[0])
        if c.time_us <= self._newest[r]:
            return
        self._newest[r] = c.time_us
        if not self._active[r] and c.pct <= self.settings.low_pct:
            self._active[r], self._episode[r], self._least[r] = True, c.time_us, c.pct
            yield self._say("onset", r, c)
        elif self._active[r] and c.pct >= self.settings.charged_pct:
            self._active[r] = False
            yield self._say("clear", r, c)
        elif self._active[r] and c.pct <= self._least[r] / 2:
            self._least[r] = c.pct
            yield self._say("update", r, c)

    def _say(self, phase: str, row: int, c: _Charge) -> Detection:
        episode_us = int(self._episode[row])
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=c.device, episode_us=episode_us,
            at_us=c.time_us, sampled_us=c.time_us, received_us=c.received_us, severity=MAINTAINER_SEVERITY,
            metric=METRIC, value=c.pct, limit=self.settings.low_pct, unit="%",
            late=is_late(c.received_us, c.time_us), title=self.rule.title, window_us=(episode_us, c.time_us),
        )  # fmt: skip


def charges(block: Block, metric: int | None) -> Iterable[_Charge]:
    """Every word about a charge in the block; a status has no arrival of its own."""
    for s in block.statuses:
        if s.battery_pct is not None:
            yield _Charge(s.device, s.time_us, s.time_us, s.battery_pct)
    if metric is not None:
        r = block.readings
        for i in np.flatnonzero((r.metric == metric) & ~r.late):
            yield _Charge(int(r.device[i]), int(r.time_us[i]), int(r.received_us[i]), float(r.value[i]))
