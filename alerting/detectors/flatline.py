"""An accelerometer without noise: packets in which an axis says one number only.

A MEMS sensor at rest has noise of its own (0.1 gal and more); an axis whose
samples are all the same is a broken converter, a dead bus or a full buffer sent
again and again. Both are told from ``silence.py``: packets do come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alerting.detectors.base import Positive, Rule, RuleSettings, Words
from alerting.detectors.faults import MAINTAINER_SEVERITY
from alerting.detectors.rows import NEVER, DeviceState, Rows64, is_late, rounds
from domain.alerts import Alert, Detection
from domain.readings import Block, Bool, Int64, Waveforms

AXES = "xyz"


class FlatlineSettings(RuleSettings):
    """How long an axis must be flat, in packets that follow each other."""

    s_min: Positive = 30.0

    def words(self) -> Words:
        """The rule in words."""
        return Words(f"waveforms: an axis without any change for {self.s_min:g} s", "4", "all axes move again")


class Flatline(DeviceState):
    """One rule over all devices that send waveforms."""

    FIELDS: ClassVar = {"_newest": NEVER, "_since": NEVER, "_level": np.nan, "_active": 0, "_episode": 0}

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        assert isinstance(rule.settings, FlatlineSettings)
        self.rule = rule
        self._us_min = round(rule.settings.s_min * 1e6)
        self._newest: Int64 = np.zeros(0, np.int64)
        self._since: Int64 = np.zeros((0, 3), np.int64)
        self._level: NDArray[np.float32] = np.zeros((0, 3), np.float32)  # what a flat axis says
        self._active: Bool = np.zeros(0, bool)
        self._episode: Int64 = np.zeros(0, np.int64)

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart."""
        row = self.rows_of(np.array([alert.device], np.int32))
        self._active[row], self._episode[row], self._newest[row] = True, episode_us, newest_us

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's packets."""
        return [d for packets in block.waveforms for d in self._feed(packets)]

    def _feed(self, packets: Waveforms) -> Iterator[Detection]:
        live = np.flatnonzero(~packets.late)
        row = self.rows_of(packets.device[live])
        for part in rounds(row):
            keep = part[packets.start_us[live[part]] > self._newest[row[part]]]
            yield from self._judge(packets, live[keep], row[keep])

    def _judge(self, packets: Waveforms, take: Rows64, row: Rows64) -> Iterator[Detection]:
        x = packets.samples[take]
        start, end = packets.start_us[take], packets.end_us[take]
        self._newest[row] = start
        level = x[:, :, 0]
        flat = (x.min(axis=2) == x.max(axis=2)) & packets.axes[take] & (x.shape[2] > 1)
        goes_on = flat & (self._level[row] == level) & (self._since[row] != NEVER)
        since = np.where(goes_on, self._since[row], np.where(flat, start[:, None], NEVER))
        self._since[row], self._level[row] = since, level
        long = flat & (end[:, None] - since >= self._us_min)
        active = self._active[row]
        begins, ends = ~active & long.any(axis=1), active & ~flat.any(axis=1)
        self._active[row] = (active | begins) & ~ends
        earliest = np.where(long, since, np.iinfo(np.int64).max).min(axis=1)
        self._episode[row[begins]] = earliest[begins]
        for i in np.flatnonzero(begins | ends):
            axes = "".join(axis for axis, hit in zip(AXES, long[i], strict=True) if hit)
            at = int(self._episode[row[i]] if begins[i] else start[i])
            phase = "onset" if begins[i] else "clear"
            yield self._say(phase, row[i], at, int(end[i]), int(packets.received_us[take[i]]), axes)

    def _say(self, phase: str, row: int, at_us: int, end_us: int, received_us: int, axes: str) -> Detection:
        episode_us = int(self._episode[row])
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=int(self.rows.keys[row]),
            episode_us=episode_us, at_us=at_us, sampled_us=end_us, received_us=received_us,
            severity=MAINTAINER_SEVERITY, metric="flat_s", value=(end_us - episode_us) / 1e6,
            limit=self._us_min / 1e6, unit="s", late=is_late(received_us, end_us), title=self.rule.title,
            window_us=(episode_us, end_us), features={"axes": axes},
        )  # fmt: skip
