"""Shaking begins: short-term against long-term average of acceleration (STA/LTA).

For each axis the amplitude of the last ``sta_s`` is divided by that of the
``lta_s`` before them (the windows do not overlap); the largest of the three axes
counts. Amplitude is the root mean square about the mean of the long window, so
gravity and offset drop out. The long window is frozen while triggered (Withers
1998, Trnkoczy 2012) unless ``freeze`` is off. With ``form`` ``recursive`` both averages
are exponential with the windows' lengths as time constants, the long one up to
now, as in Allen (1978) and ObsPy's recursive_sta_lta; its state is a quarter.

A distant quake rises over half a minute and would teach the long window before it
triggers; so the noise is the smaller of the long window's and a background that
follows it with a time constant of ``background_s`` (without it 4 of 13 stations of the
M7.2 in the tests are missed, one with 10 gal). Below ``floor_gal`` nothing triggers:
the ratio of two noises says nothing. A trigger ends below ``off`` or below half the
floor; triggers less than ``dead_s`` after the end of the last are one episode. A
trigger that lasts ``trigger_s_max`` is a new level, not an event: the long window is
learnt anew.

A knock is not shaking: footsteps and doors ring along one axis for a fraction of a
second. A trigger therefore needs either more than one axis (none has ``axis_share`` of
the power above noise) or ``sustained_s`` of consecutive newest bins none of which is
below half the amplitude of the largest of them or of the short window; until then it
waits. A single sample that stands
alone (``spikes.py``) is taken out before anything is summed.

Samples are summed in bins of a quarter second counted from the first sample
after a start or gap and judged at bin ends, so state is 44 bins a device instead
of 11 s of samples, and any cut of the stream into packets gives the same
triggers. The peak (PGA, vector, gal) is taken over whole packets from the one
that triggered on.

It looks at acceleration only (m/s²); velocity packets have no floor in gal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from alerting.detectors.base import Positive, Rule, RuleSettings, Seconds, Severity, Words
from alerting.detectors.features import GAL, arias_m_s, described
from alerting.detectors.rows import NEVER, DeviceState, Rows64, is_late, rounds
from alerting.detectors.spikes import remove_lone_spikes
from domain.alerts import Alert, Detection
from domain.readings import Block, Bool, Float32, Float64, Int64, Waveforms

BIN_S = 0.25
RESUM = 1 << 16
"""Bins after which a running sum is made anew from its ring, so that rounding cannot gather."""


class StaLtaSettings(RuleSettings):
    """Short against long average; see ``alerting/detectors/sta_lta.py``.

    ``form``: ``classic`` windows or ``recursive`` averages; ``freeze``: the long average
    learns nothing while triggered. ``sustained_s`` (0: off), ``axis_share``: what a knock
    along one axis lacks. ``floor_gal``: below this short-term amplitude nothing triggers, whatever the
    ratio; ``pga_severity``: severity to peak acceleration in gal.
    """

    READS: ClassVar = frozenset({"waveforms"})
    KEEPS: ClassVar = frozenset(
        {"title", "on", "off", "floor_gal", "background_s", "dead_s", "trigger_s_max", "gap_s", "peak_factor",
         "sustained_s", "axis_share"}
    )  # fmt: skip

    form: Literal["classic", "recursive"] = "classic"
    freeze: bool = True
    sta_s: Positive = 1.0
    lta_s: Positive = 10.0
    on: Annotated[float, Field(gt=1)] = 3.0
    off: Annotated[float, Field(gt=1)] = 1.5
    background_s: Positive = 60.0
    floor_gal: Positive = 0.3
    sustained_s: Seconds = 0.75
    axis_share: Annotated[float, Field(ge=0.34, le=1)] = 0.75
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
        if self.sustained_s > self.sta_s:
            raise ValueError("sustained_s: at most sta_s, the bins that are remembered")
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
    x: Float32
    start_us: Int64
    end_us: Int64
    received_us: Int64
    rate_hz: float
    bin_n: int
    said: list[tuple[int, str, int]] = field(default_factory=list)  # (position, phase, at_us)
    described: dict[int, dict[str, Any]] = field(default_factory=dict)  # features of the packets that speak


class StaLta(DeviceState):
    """One rule over all devices that send acceleration."""

    FIELDS: ClassVar = {
        "_newest": NEVER, "_next": NEVER, "_on_us": NEVER, "_off_us": NEVER, "_rate": 0, "_reference": 0,
        "_part": 0, "_part_n": 0, "_sta": 0, "_sta_n": 0, "_lta": 0, "_lta_n": 0, "_lta_sum": 0, "_short_ew": 0,
        "_long_ew": 0, "_background": 0, "_mean": 0, "_triggered": 0, "_active": 0, "_episode": 0, "_ratio": 0,
        "_pga": 0, "_told": 0, "_class": 0, "_arias": 0, "_spikes": 0,
    }  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        assert isinstance(rule.settings, StaLtaSettings)
        self.rule = rule
        self.settings = s = rule.settings
        self._classic = s.form == "classic"
        self._short, self._long = round(s.sta_s / BIN_S), round(s.lta_s / BIN_S)
        self._sustained = round(s.sustained_s / BIN_S)
        self._gap_us, self._dead_us = round(s.gap_s * 1e6), round(s.dead_s * 1e6)
        self._follow = BIN_S / s.background_s
        self._floor = (s.floor_gal / GAL) ** 2
        self._trigger_us_max = round(s.trigger_s_max * 1e6)
        steps = sorted((gal, severity) for severity, gal in s.pga_severity.items() if severity < s.severity)
        self._gal = np.array([gal for gal, _ in steps])
        self._severity_of = [s.severity, *(severity for _, severity in steps)]
        self._limit_of = [s.floor_gal, *(gal for gal, _ in steps)]
        self._make_windows()
        self._newest: Int64 = np.zeros(0, np.int64)
        self._next: Int64 = np.zeros(0, np.int64)
        self._rate: Float64 = np.zeros(0)
        self._reference: Float32 = np.zeros((0, 3), np.float32)
        self._triggered: Bool = np.zeros(0, bool)
        self._on_us: Int64 = np.zeros(0, np.int64)
        self._off_us: Int64 = np.zeros(0, np.int64)
        self._active: Bool = np.zeros(0, bool)
        self._episode: Int64 = np.zeros(0, np.int64)
        self._ratio: Float32 = np.zeros(0, np.float32)  # largest of the episode
        self._pga: Float64 = np.zeros(0)  # gal, largest of the episode
        self._told: Float64 = np.zeros(0)
        self._class: NDArray[np.int8] = np.zeros(0, np.int8)
        self._arias: Float64 = np.zeros(0)  # m/s, of the episode's packets with shaking
        self._spikes: NDArray[np.int32] = np.zeros(0, np.int32)  # taken out since the last gap

    def _make_windows(self) -> None:
        """Bins hold the sums of x and x² about the reference; a form's unused arrays have no columns."""
        long = self._long if self._classic else 0
        axes = 0 if self._classic else 3
        self._part: Float32 = np.zeros((0, 3, 2), np.float32)  # the unfinished bin
        self._part_n: NDArray[np.int32] = np.zeros(0, np.int32)
        self._sta: Float32 = np.zeros((0, self._short, 3, 2), np.float32)
        self._sta_n: Int64 = np.zeros(0, np.int64)  # bins ever put into the ring
        self._lta: Float32 = np.zeros((0, long, 3, 2), np.float32)
        self._lta_n: Int64 = np.zeros(0, np.int64)  # bins ever learnt
        self._lta_sum: Float64 = np.zeros((0, 3 - axes, 2))
        self._short_ew: Float32 = np.zeros((0, axes), np.float32)  # recursive: power, (m/s²)²
        self._long_ew: Float32 = np.zeros((0, axes), np.float32)
        self._background: Float32 = np.zeros((0, 3), np.float32)  # power, (m/s²)²
        self._mean: Float64 = np.zeros((0, 3))  # of the long window, about the reference

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
        x = packets.samples[take]
        start = packets.start_us[take]
        fresh = (self._rate[row] != packets.rate_hz) | (np.abs(start - self._next[row]) > self._gap_us)
        if fresh.any():
            self._reset(row[fresh], x[fresh, :, 0], start[fresh])
        self._rate[row], self._newest[row] = packets.rate_hz, start
        self._next[row] = start + round(x.shape[2] / packets.rate_hz * 1e6)
        x = x - self._reference[row][:, :, None]
        # One sample a adds a²/n to the power of the short window's n samples: smaller ones cannot trigger.
        self._spikes[row] += remove_lone_spikes(x, float(np.sqrt(self._floor * self._short * bin_n)))
        p = _Packets(row, x, start, packets.end_us[take], packets.received_us[take], packets.rate_hz, bin_n)
        shaking = self._active[row]
        for of, sums, ends in self._bins(p):
            self._push(row[of], sums)
            self._judge(p, of, start[of] + np.rint((ends - 1) / packets.rate_hz * 1e6).astype(np.int64))
        return self._peaks(p, shaking)

    def _reset(self, row: Rows64, first: Float32, start_us: Int64) -> None:
        self._reference[row] = first
        self._part[row], self._part_n[row] = 0, 0
        self._sta_n[row], self._spikes[row] = 0, 0
        self._unlearn(row)
        self._off_us[row[self._triggered[row]]] = start_us[self._triggered[row]]
        self._triggered[row] = False

    def _unlearn(self, row: Rows64) -> None:
        self._lta_n[row], self._lta_sum[row], self._lta[row] = 0, 0, 0
        self._short_ew[row], self._long_ew[row], self._mean[row] = 0, 0, 0

    def _bins(self, p: _Packets) -> Iterable[tuple[Rows64, Float32, Int64]]:
        """For each bin that ends in these packets: positions, sums ``(k, 3, 2)``, samples taken."""
        k, m, n = len(p.row), p.x.shape[2], p.bin_n
        held = self._part_n[p.row].astype(np.int64)
        done = (held + m) // n
        sums: Float32 = np.zeros((k, int(done.max()) + 1, 3, 2), np.float32)
        for phase in np.unique(held):
            mine = np.flatnonzero(held == phase)
            x = p.x if len(mine) == k else p.x[mine]
            into = (phase + np.arange(m)) // n
            share: Float32 = np.zeros((m, int(into[-1]) + 1), np.float32)
            share[np.arange(m), into] = 1
            sums[mine, : share.shape[1], :, 0] = (x @ share).transpose(0, 2, 1)
            sums[mine, : share.shape[1], :, 1] = ((x * x) @ share).transpose(0, 2, 1)
        sums[:, 0] += self._part[p.row]
        for j in range(1, int(done.max()) + 1):
            of = np.flatnonzero(done >= j)
            yield of, sums[of, j - 1], j * n - held[of]
        rest = (held + m) - done * n
        self._part[p.row] = np.where(rest[:, None, None] > 0, sums[np.arange(k), done], 0)
        self._part_n[p.row] = rest

    def _push(self, row: Rows64, sums: Float32) -> None:
        """A bin enters the short window; the one it drives out enters the long, unless triggered."""
        at = self._sta_n[row] % self._short
        if self._classic:
            learns = self._sta_n[row] >= self._short
            if self.settings.freeze:
                learns &= ~self._triggered[row]
            into = row[learns]
            number = self._lta_n[into]
            slot, leaving = number % self._long, self._sta[into, at[learns]]
            self._lta_sum[into] += leaving.astype(np.float64) - self._lta[into, slot]
            self._lta[into, slot] = leaving
            self._lta_n[into] = number + 1
            anew = into[(number + 1) % RESUM == 0]
            if len(anew):
                self._lta_sum[anew] = self._lta[anew].sum(axis=1, dtype=np.float64)
        self._sta[row, at] = sums
        self._sta_n[row] += 1

    def _powers(self, row: Rows64, bin_n: int) -> tuple[Float64, Float64, Float64, Float64]:
        """Per axis: long mean and power, power of each bin of the short window ``(k, short, 3)``, short power."""
        if self._classic:
            long = self._lta_sum[row] / (self._long * bin_n)
            mean = long[:, :, 0]
            bins = self._about(self._sta[row], mean[:, None], bin_n)
            return mean, long[:, :, 1] - mean * mean, bins, np.maximum(bins.mean(axis=1), 0)
        return self._recursive(row, bin_n)

    def _recursive(self, row: Rows64, bin_n: int) -> tuple[Float64, Float64, Float64, Float64]:
        """The newest bin moves both averages; the long ones stay while triggered, as ``freeze`` says."""
        ring = self._sta[row]
        newest = ring[np.arange(len(row)), (self._sta_n[row] - 1) % self._short].astype(np.float64)
        learns = ~(self._triggered[row] & self.settings.freeze)
        seen = self._lta_n[row] = self._lta_n[row] + learns
        slow = np.where(learns, 1 / np.minimum(np.maximum(seen, 1), self._long), 0.0)[:, None]
        mean = self._mean[row] + slow * (newest[:, :, 0] / bin_n - self._mean[row])
        power = self._about(newest, mean, bin_n)
        quick = 1 / np.minimum(np.maximum(self._sta_n[row], 1), self._short)[:, None]
        short = self._short_ew[row] + quick * (power - self._short_ew[row])
        long = self._long_ew[row] + slow * (power - self._long_ew[row])
        self._mean[row], self._short_ew[row], self._long_ew[row] = mean, short, long
        return mean, long, self._about(ring, mean[:, None], bin_n), short

    @staticmethod
    def _about(sums: Float64 | Float32, mean: Float64, bin_n: int) -> Float64:
        """Mean of (x - mean)² of bins, from their sums."""
        return np.asarray((sums[..., 1] - 2 * mean * sums[..., 0]) / bin_n + mean * mean)

    def _judge(self, p: _Packets, of: Rows64, at_us: Int64) -> None:
        """Move triggers and episodes of the rows whose bin has just ended."""
        row = p.row[of]
        mean, long, bins, power = self._powers(row, p.bin_n)
        noise = self._noise(row, long)
        top = power.max(axis=1)
        hot = np.flatnonzero((top >= self._floor) | self._triggered[row] | self._active[row])
        if len(hot) == 0:
            return
        if len(hot) < len(row):
            of, row, at_us, mean, noise = of[hot], row[hot], at_us[hot], mean[hot], noise[hot]
            bins, power, top = bins[hot], power[hot], top[hot]
        s = self.settings
        each = np.sqrt(power / noise)
        ready = self._lta_n[row] >= self._long
        ratio = np.where(ready, each.max(axis=1), 0)
        strong = np.where(power >= self._floor, each, 0).max(axis=1)
        was = self._triggered[row]
        on = ~was & ready & (strong >= s.on) & self._is_no_knock(row, bins, power, noise)
        worn_out = was & (at_us - self._on_us[row] > self._trigger_us_max)
        off = (was & ((ratio < s.off) | (top < self._floor / 4))) | worn_out
        self._triggered[row] = (was | on) & ~off
        self._on_us[row[on]], self._off_us[row[off]] = at_us[on], at_us[off]
        self._unlearn(row[worn_out])
        self._mean[row[on]] = mean[on]
        active = self._active[row]
        begins = on & ~active
        self._ratio[row] = np.where(begins, ratio, np.maximum(self._ratio[row], np.where(was | on, ratio, 0)))
        self._episode[row[begins]] = at_us[begins]
        self._arias[row[begins]] = 0
        ends = active & ~self._triggered[row] & (at_us - self._off_us[row] >= self._dead_us)
        self._active[row] = (active | begins) & ~ends
        for i in np.flatnonzero(begins | ends):
            at = at_us[i] if begins[i] else self._off_us[row[i]]
            p.said.append((int(of[i]), "onset" if begins[i] else "clear", int(at)))

    def _is_no_knock(self, row: Rows64, bins: Float64, power: Float64, noise: Float64) -> Bool:
        """More than one axis above the noise, or so many consecutive bins of about one amplitude."""
        if self._sustained == 0:
            return np.ones(len(row), bool)
        excess = np.maximum(power - noise, 0)
        spread = excess.max(axis=1) < self.settings.axis_share * excess.sum(axis=1)
        newest = (self._sta_n[row][:, None] - 1 - np.arange(self._sustained)) % self._short
        last = bins[np.arange(len(row))[:, None], newest].sum(axis=2)
        return np.asarray(spread | (last.min(axis=1) >= np.maximum(last.max(axis=1), power.sum(axis=1)) / 4))

    def _noise(self, row: Rows64, long: Float64) -> Float64:
        """The smaller of the long window's power and the background, which follows it slowly."""
        background = self._background[row].astype(np.float64)
        n = self._lta_n[row]
        learns = n >= self._long
        if self.settings.freeze:
            learns &= ~self._triggered[row]
        background += np.where(learns, self._follow, 0.0)[:, None] * (long - background)
        background = np.where((n == self._long)[:, None], long, background)
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
            self._arias[p.row[loud]] += arias_m_s(vector, p.rate_hz)
        out: list[Detection] = []
        self._describe(p, sorted(onset | set(loud[shaking[loud]].tolist())), pga)
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
                      "lta_s": s.lta_s, "rate_hz": p.rate_hz, **self._described(p, i, r, phase)},
        )  # fmt: skip

    def _describe(self, p: _Packets, shakes: list[int], pga: Float64) -> None:
        """Features of the packets that begin an episode or raise its peak."""
        at = np.array([i for i in shakes if not self._active[p.row[i]] or pga[i] > self._pga[p.row[i]]], np.intp)
        begins = [i for i, phase, _ in p.said if phase == "onset"]
        at = np.union1d(at, np.array(begins, np.intp)).astype(np.intp)
        about = p.x[at] - self._mean[p.row[at]][:, :, None]
        p.described.update(zip(at.tolist(), described(about, p.rate_hz), strict=True))

    def _described(self, p: _Packets, i: int, r: int, phase: str) -> dict[str, Any]:
        """The packet's features while it shakes, and of the episode its duration and Arias intensity."""
        said = {} if phase == "clear" else dict(p.described.get(i, {}))
        until_us = int(self._off_us[r] if phase == "clear" else p.end_us[i])
        said["duration_s"] = round(max(0, until_us - int(self._episode[r])) / 1e6, 2)
        said["arias_m_s"] = float(f"{self._arias[r]:.3g}")
        if self._spikes[r]:
            said["spikes_removed"] = int(self._spikes[r])
        return said
