"""Shaking begins: short-term against long-term average of acceleration (STA/LTA).

For each axis the amplitude of the last ``sta_s`` is divided by that of the
``lta_s`` before them (the windows do not overlap); the largest of the three axes
counts. Amplitude is the root mean square about the mean of the long window, so
gravity and offset drop out. The long window is frozen while triggered (Withers
1998, Trnkoczy 2012). A distant quake rises over half a minute and would teach the
long window before it triggers; so the noise is the smaller of the long window's
and a background that follows it with a time constant of ``background_s`` (without
it 4 of 13 stations of the M7.2 in the tests are missed, one with 10 gal). Below
``floor_gal`` nothing triggers: the ratio of two noises says nothing. A trigger
ends below ``off`` or below half the floor; triggers less than ``dead_s`` after
the end of the last are one episode. A trigger that lasts ``trigger_s_max`` is a new
level, not an event: the long window is learnt anew.

Samples are summed in bins of a quarter second counted from the first sample
after a start or gap and judged at bin ends, so state is 44 bins a device instead
of 11 s of samples, and any cut of the stream into packets gives the same
triggers. The peak (PGA, vector, gal) is taken over whole packets from the one
that triggered on.

It looks at acceleration only (m/s²); velocity packets have no floor in gal.
One-sample electronic spikes do trigger; telling them from shaking needs a second sensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from alerting.detectors.base import Positive, Rule, RuleSettings, Seconds, Severity, Words
from alerting.detectors.rows import NEVER, DeviceState, Rows64, is_late, rounds
from domain.alerts import Alert, Detection
from domain.readings import Block, Bool, Float64, Int64, Waveforms

BIN_S = 0.25
GAL = 100.0
"""gal in one m/s²."""


class StaLtaSettings(RuleSettings):
    """Short against long average; see ``alerting/detectors/sta_lta.py``.

    ``floor_gal``: below this short-term amplitude nothing triggers, whatever the
    ratio; ``pga_severity``: severity to peak acceleration in gal.
    """

    sta_s: Positive = 1.0
    lta_s: Positive = 10.0
    on: Annotated[float, Field(gt=1)] = 3.0
    off: Annotated[float, Field(gt=1)] = 1.5
    background_s: Positive = 60.0
    floor_gal: Positive = 0.3
    dead_s: Seconds = 60.0
    trigger_s_max: Positive = 300.0
    gap_s: Positive = 5.0
    severity: Severity = 4
    pga_severity: dict[Severity, Positive] = Field({3: 22.0, 2: 89.0, 1: 178.0})
    peak_factor: Annotated[float, Field(gt=1)] = 1.25

    @model_validator(mode="after")
    def _windows_and_levels(self) -> StaLtaSettings:
        if self.off >= self.on:
            raise ValueError(f"off {self.off} must be below on {self.on}")
        if self.lta_s < 5 * self.sta_s:
            raise ValueError("lta_s must be at least five times sta_s")
        steps = [self.pga_severity[s] for s in sorted(self.pga_severity, reverse=True)]
        if steps != sorted(steps):
            raise ValueError("pga_severity: a worse severity (1 is worst) needs a higher acceleration")
        return self

    def words(self) -> Words:
        """The rule in words."""
        levels = f"{self.severity}: ratio ≥ {self.on:g}, " + ", ".join(
            f"{k}: ≥ {gal:g} gal" for k, gal in sorted(self.pga_severity.items(), reverse=True)
        )
        return Words("waveforms in m/s² or gal", levels, f"ratio < {self.off:g}, then {self.dead_s:g} s")


@dataclass(slots=True)
class _Packets:
    """One round of packets, each device once, about its reference: ``x (k, 3, m)`` in m/s²."""

    row: Rows64
    x: Float64
    start_us: Int64
    end_us: Int64
    received_us: Int64
    rate_hz: float
    bin_n: int
    said: list[tuple[int, str, int]] = field(default_factory=list)  # (position, phase, at_us)


class StaLta(DeviceState):
    """One rule over all devices that send acceleration."""

    FIELDS: ClassVar = {
        "_newest": NEVER, "_next": NEVER, "_on_us": NEVER, "_off_us": NEVER, "_rate": 0, "_reference": 0,
        "_part": 0, "_part_n": 0, "_sta": 0, "_sta_n": 0, "_lta": 0, "_lta_n": 0, "_background": 0, "_mean": 0,
        "_triggered": 0, "_active": 0, "_episode": 0, "_ratio": 0, "_pga": 0, "_told": 0, "_class": 0,
    }  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        assert isinstance(rule.settings, StaLtaSettings)
        self.rule = rule
        self.settings = s = rule.settings
        self._short, self._long = round(s.sta_s / BIN_S), round(s.lta_s / BIN_S)
        self._gap_us, self._dead_us = round(s.gap_s * 1e6), round(s.dead_s * 1e6)
        self._follow = BIN_S / s.background_s
        self._floor = (s.floor_gal / GAL) ** 2
        self._trigger_us_max = round(s.trigger_s_max * 1e6)
        steps = sorted((gal, severity) for severity, gal in s.pga_severity.items() if severity < s.severity)
        self._gal = np.array([gal for gal, _ in steps])
        self._severity_of = [s.severity, *(severity for _, severity in steps)]
        self._limit_of = [s.floor_gal, *(gal for gal, _ in steps)]
        self._newest: Int64 = np.zeros(0, np.int64)
        self._next: Int64 = np.zeros(0, np.int64)
        self._rate: Float64 = np.zeros(0)
        self._reference: Float64 = np.zeros((0, 3))
        self._part: Float64 = np.zeros((0, 3, 2))  # sums of x and x² of the unfinished bin
        self._part_n: Int64 = np.zeros(0, np.int64)
        self._sta: Float64 = np.zeros((0, self._short, 3, 2))
        self._sta_n: Int64 = np.zeros(0, np.int64)  # bins ever put into the ring
        self._lta: Float64 = np.zeros((0, self._long, 3, 2))
        self._lta_n: Int64 = np.zeros(0, np.int64)
        self._background: Float64 = np.zeros((0, 3))  # power, (m/s²)²
        self._mean: Float64 = np.zeros((0, 3))  # of the long window, about the reference
        self._triggered: Bool = np.zeros(0, bool)
        self._on_us: Int64 = np.zeros(0, np.int64)
        self._off_us: Int64 = np.zeros(0, np.int64)
        self._active: Bool = np.zeros(0, bool)
        self._episode: Int64 = np.zeros(0, np.int64)
        self._ratio: Float64 = np.zeros(0)  # largest of the episode
        self._pga: Float64 = np.zeros(0)  # gal, largest of the episode
        self._told: Float64 = np.zeros(0)
        self._class: NDArray[np.int8] = np.zeros(0, np.int8)

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's packets."""
        return [detection for packets in block.waveforms for detection in self.feed(packets)]

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart."""
        self.restore(alert.device, episode_us, newest_us, alert.severity, alert.value)

    def restore(self, device: int, episode_us: int, newest_us: int, severity: int, value: float) -> None:
        """Take up an episode that was active before a restart."""
        r = self.rows_of(np.array([device], np.int32))
        self._newest[r] = self._off_us[r] = newest_us
        self._active[r], self._episode[r] = True, episode_us
        self._pga[r] = self._told[r] = value
        self._class[r] = sum(s >= severity for s in self._severity_of) - 1

    def feed(self, packets: Waveforms) -> list[Detection]:
        """Judge packets of one rate; packets in mm/s are left to the vibration limit."""
        if packets.unit != "m/s2":
            return []
        live = np.flatnonzero(~packets.late)
        row = self.rows_of(packets.device[live])
        found: list[Detection] = []
        for part in rounds(row):
            keep = part[packets.start_us[live[part]] > self._newest[row[part]]]
            if len(keep):
                found += self._take(packets, live[keep], row[keep])
        return found

    def _take(self, packets: Waveforms, take: Rows64, row: Rows64) -> list[Detection]:
        bin_n = max(1, round(packets.rate_hz * BIN_S))
        x = packets.samples[take].astype(np.float64)
        start = packets.start_us[take]
        fresh = (self._rate[row] != packets.rate_hz) | (np.abs(start - self._next[row]) > self._gap_us)
        if fresh.any():
            self._reset(row[fresh], x[fresh, :, 0], start[fresh])
        self._rate[row], self._newest[row] = packets.rate_hz, start
        self._next[row] = start + round(x.shape[2] / packets.rate_hz * 1e6)
        x -= self._reference[row][:, :, None]
        p = _Packets(row, x, start, packets.end_us[take], packets.received_us[take], packets.rate_hz, bin_n)
        shaking = self._active[row]
        for of, sums, ends in self._bins(p):
            self._push(row[of], sums)
            self._judge(p, of, start[of] + np.rint((ends - 1) / packets.rate_hz * 1e6).astype(np.int64))
        return self._peaks(p, shaking)

    def _reset(self, row: Rows64, first: Float64, start_us: Int64) -> None:
        self._reference[row] = first
        self._part[row], self._part_n[row] = 0, 0
        self._sta_n[row], self._lta_n[row] = 0, 0
        self._off_us[row[self._triggered[row]]] = start_us[self._triggered[row]]
        self._triggered[row] = False

    def _bins(self, p: _Packets) -> Iterable[tuple[Rows64, Float64, Int64]]:
        """For each bin that ends in these packets: positions, sums ``(k, 3, 2)``, samples taken."""
        k, m, n = len(p.row), p.x.shape[2], p.bin_n
        sums = np.stack([p.x, p.x * p.x], axis=3).cumsum(axis=2) + self._part[p.row][:, :, None, :]
        held = self._part_n[p.row]
        done = (held + m) // n
        before = np.zeros((k, 3, 2))
        line = np.arange(k)
        for j in range(1, int(done.max()) + 1):
            of = np.flatnonzero(done >= j)
            ends = j * n - held[of]
            upto = sums[of, :, ends - 1]
            yield of, upto - before[of], ends
            before[of] = upto
        self._part[p.row] = sums[line, :, m - 1] - before
        self._part_n[p.row] = (held + m) - done * n

    def _push(self, row: Rows64, sums: Float64) -> None:
        """A bin enters the short window; the one it drives out enters the long, unless triggered."""
        at = self._sta_n[row] % self._short
        leaves = (self._sta_n[row] >= self._short) & ~self._triggered[row]
        into = row[leaves]
        self._lta[into, self._lta_n[into] % self._long] = self._sta[into, at[leaves]]
        self._lta_n[into] += 1
        self._sta[row, at] = sums
        self._sta_n[row] += 1

    def _judge(self, p: _Packets, of: Rows64, at_us: Int64) -> None:
        """Move triggers and episodes of the rows whose bin has just ended."""
        row, s = p.row[of], self.settings
        n_short, n_long = self._short * p.bin_n, self._long * p.bin_n
        long, short = self._lta[row].sum(axis=1), self._sta[row].sum(axis=1)
        mean = long[:, :, 0] / n_long
        noise = self._noise(row, long[:, :, 1] / n_long - mean * mean)
        power = np.maximum((short[:, :, 1] - 2 * mean * short[:, :, 0]) / n_short + mean * mean, 0)
        each = np.sqrt(power / noise)
        ready = self._lta_n[row] >= self._long
        ratio = np.where(ready, each.max(axis=1), 0)
        strong = np.where(power >= self._floor, each, 0).max(axis=1)
        was = self._triggered[row]
        on = ~was & ready & (strong >= s.on)
        worn_out = was & (at_us - self._on_us[row] > self._trigger_us_max)
        faint = power.max(axis=1) < self._floor / 4
        off = (was & ((ratio < s.off) | faint)) | worn_out
        self._triggered[row] = (was | on) & ~off
        self._on_us[row[on]], self._off_us[row[off]] = at_us[on], at_us[off]
        self._lta_n[row[worn_out]] = 0
        self._mean[row[on]] = mean[on]
        active = self._active[row]
        begins = on & ~active
        self._ratio[row] = np.where(begins, ratio, np.maximum(self._ratio[row], np.where(was | on, ratio, 0)))
        self._episode[row[begins]] = at_us[begins]
        ends = active & ~self._triggered[row] & (at_us - self._off_us[row] >= self._dead_us)
        self._active[row] = (active | begins) & ~ends
        for i in np.flatnonzero(begins | ends):
            at = at_us[i] if begins[i] else self._off_us[row[i]]
            p.said.append((int(of[i]), "onset" if begins[i] else "clear", int(at)))

    def _noise(self, row: Rows64, long: Float64) -> Float64:
        """The smaller of the long window's power and the background, which follows it slowly."""
        background = self._background[row]
        first = self._lta_n[row] == self._long
        follow = np.where(self._triggered[row] | (self._lta_n[row] < self._long), 0.0, self._follow)[:, None]
        background = np.where(first[:, None], long, background + follow * (long - background))
        self._background[row] = background
        return np.maximum(np.minimum(long, background), 1e-12)

    def _peaks(self, p: _Packets, shaking: Bool) -> list[Detection]:
        """Take the peak of packets with shaking, then word what was noticed."""
        onset = {i for i, phase, _ in p.said if phase == "onset"}
        loud = np.flatnonzero(self._triggered[p.row] | np.isin(np.arange(len(p.row)), list(onset)))
        pga = np.zeros(len(p.row))
        if len(loud):
            vector = p.x[loud] - self._mean[p.row[loud]][:, :, None]
            pga[loud] = np.sqrt((vector * vector).sum(axis=1).max(axis=1)) * GAL
        out: list[Detection] = []
        for i, phase, at_us in p.said:
            r = p.row[i]
            if phase == "onset":
                self._pga[r] = self._told[r] = pga[i]
                self._class[r] = np.searchsorted(self._gal, pga[i], side="right")
            out.append(self._say(p, i, phase, at_us))
        for i in loud[shaking[loud]]:
            r = p.row[i]
            if int(i) in onset or not self._active[r] or pga[i] <= self._pga[r]:
                continue
            self._pga[r] = pga[i]
            reached = np.searchsorted(self._gal, pga[i], side="right")
            if reached > self._class[r] or pga[i] >= self.settings.peak_factor * self._told[r]:
                self._class[r], self._told[r] = max(reached, self._class[r]), pga[i]
                out.append(self._say(p, int(i), "update", int(p.end_us[i])))
        return out

    def _say(self, p: _Packets, i: int, phase: str, at_us: int) -> Detection:
        r = int(p.row[i])
        end_us, received_us = int(p.end_us[i]), int(p.received_us[i])
        reached = int(self._class[r])
        episode_us = int(self._episode[r])
        s = self.settings
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=int(self.rows.keys[r]),
            episode_us=episode_us, at_us=at_us, sampled_us=end_us, received_us=received_us,
            severity=self._severity_of[reached], metric="pga_gal", value=round(float(self._pga[r]), 4),
            limit=self._limit_of[reached], unit="gal", late=is_late(received_us, end_us), title=self.rule.title,
            window_us=(episode_us, end_us),
            features={"sta_lta": round(float(self._ratio[r]), 2), "on": s.on, "off": s.off, "sta_s": s.sta_s,
                      "lta_s": s.lta_s, "rate_hz": p.rate_hz},
        )  # fmt: skip
