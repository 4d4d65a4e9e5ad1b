"""How hard it shakes at a sensor: instrument intensity by GB/T 17742-2020 and JMA, as it happens.

A sensor at rest costs a comparison: only from ``wake_gal`` on, above the noise of a MEMS
sensor and below intensity 2, are its packets filtered (``intensity.py``), from a state of
rest, because all before was smaller than that; so there is no time in which the filters
settle. The rest
(gravity, offset) is the median of the first packet and follows quiet packets slowly.
An episode is everything from waking until ``quiet_s`` without a sample above
``wake_gal``; PGA, PGV and the level exceeded for 0.3 s are those of the episode, and
the intensity rises with them. Lone one-sample spikes (``spikes.py``) are taken out.

Judgement is per packet; a gap or a restart begins the filters anew and keeps the episode.
When it shakes at that moment the filters answer to a step that never was, so for
``SETTLE_S`` such packets do not count. Acceleration only: packets in mm/s are left to the vibration limit.

Known crudeness: above 213 samples/s the 0.3 s are counted in every second (third…)
sample; a box that is turned over looks like a shock, until ``awake_s_max`` has passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from alerting.detectors.base import Positive, Rule, RuleSettings, Seconds, Severity, Words
from alerting.detectors.biquads import BiquadTree
from alerting.detectors.features import GAL, described
from alerting.detectors.intensity import (
    EXCEEDED_S,
    gbt17742,
    intensity_filters,
    jma_class,
    jma_of_level,
    samples_exceeded,
    stages_used,
)
from alerting.detectors.rows import NEVER, DeviceState, Lent, Rows64, is_late, rounds
from alerting.detectors.spikes import remove_lone_spikes
from domain.alerts import Alert, Detection
from domain.readings import Block, Bool, Float32, Float64, Int64, Waveforms

TOP = 64
"""Largest samples of an episode that are remembered: 0.3 s at 213 samples/s."""
ORDER = 20
"""Numbers of filter state an axis; fewer are used where a stage is left out."""
RATE_HZ_MIN = 20.0
"""Below, the band says nothing about what people feel."""
SETTLE_S = 5.0
"""Some time constants of the lowest corner, 0.1 Hz."""
REST_S = 30.0
"""Time constant with which the rest follows quiet packets."""


class InstrumentIntensitySettings(RuleSettings):
    """Instrument intensity; see ``alerting/detectors/instrument_intensity.py``.

    ``scale``: which of the two decides (``cn``: GB/T 17742-2020, ``jma``: the number
    before classes); the evidence has both. ``levels``: severity to intensity.
    """

    scale: Literal["cn", "jma"] = "cn"
    levels: dict[Severity, Annotated[float, Field(ge=1, le=12)]] = Field(
        {4: 4.0, 3: 5.0, 2: 6.0, 1: 7.0}, min_length=1
    )
    step: Positive = 0.5
    wake_gal: Annotated[float, Field(gt=0, le=10)] = 2.5
    quiet_s: Seconds = 30.0
    awake_s_max: Positive = 600.0
    gap_s: Positive = 2.0

    @model_validator(mode="after")
    def _levels_rise(self) -> InstrumentIntensitySettings:
        steps = [self.levels[s] for s in sorted(self.levels, reverse=True)]
        if steps != sorted(steps):
            raise ValueError("levels: a worse severity (1 is worst) needs a higher intensity")
        return self

    def words(self) -> Words:
        """The rule in words."""
        scale = "GB/T 17742-2020" if self.scale == "cn" else "JMA"
        levels = ", ".join(f"{s}: ≥ {self.levels[s]:g}" for s in sorted(self.levels, reverse=True))
        ends = f"below {self.wake_gal:g} gal for {self.quiet_s:g} s"
        return Words(f"waveforms in m/s² or gal; {scale}", levels, ends)


@dataclass(frozen=True, slots=True)
class _Packets:
    """One round of packets, each device once, about rest: ``x (k, 3, m)`` in m/s²."""

    row: Rows64
    x: Float32
    start_us: Int64
    end_us: Int64
    received_us: Int64
    rate_hz: float


class InstrumentIntensity(DeviceState):
    """One rule over all devices that send acceleration."""

    FIELDS: ClassVar = {
        "_newest": NEVER, "_next": NEVER, "_counts_from": NEVER, "_awake_until": NEVER, "_awake_since": NEVER,
        "_episode": NEVER,
        "_rate": 0, "_rest": 0, "_state": 0, "_top": 0, "_pga": 0, "_pgv": 0, "_reached": 0, "_told": 0,
        "_severity": 0,
    }  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        assert isinstance(rule.settings, InstrumentIntensitySettings)
        self.rule = rule
        self.settings = s = rule.settings
        steps = sorted((level, severity) for severity, level in s.levels.items())
        self._levels = np.array([level for level, _ in steps])
        self._severity_of = np.array([0, *(severity for _, severity in steps)], np.int8)
        self._gap_us, self._quiet_us = round(s.gap_s * 1e6), round(s.quiet_s * 1e6)
        self._awake_us_max = round(s.awake_s_max * 1e6)
        self._filters: dict[float, BiquadTree] = {}
        self._newest: Int64 = np.zeros(0, np.int64)
        self._counts_from: Int64 = np.zeros(0, np.int64)
        self._next: Int64 = np.zeros(0, np.int64)
        self._awake_since: Int64 = np.zeros(0, np.int64)
        self._awake_until: Int64 = np.zeros(0, np.int64)  # NEVER: asleep
        self._episode: Int64 = np.zeros(0, np.int64)
        self._rate: Float32 = np.zeros(0, np.float32)
        self._rest: Float32 = np.zeros((0, 3), np.float32)
        # Only who is awake has these.
        self._state = Lent((3, ORDER), np.float32)
        self._top = Lent((TOP,), np.float16)  # largest JMA samples of the episode, gal
        self._pga: Float32 = np.zeros(0, np.float32)  # m/s², 0.1-10 Hz
        self._pgv: Float32 = np.zeros(0, np.float32)  # m/s
        self._reached: Float32 = np.zeros(0, np.float32)  # intensity of the episode in the rule's scale
        self._told: Float32 = np.zeros(0, np.float32)
        self._severity: NDArray[np.int8] = np.zeros(0, np.int8)  # 0 = inactive

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's packets."""
        return [detection for packets in block.waveforms for detection in self.feed(packets)]

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart."""
        r = self.rows_of(np.array([alert.device], np.int32))
        self._newest[r], self._episode[r] = newest_us, episode_us
        self._awake_since[r], self._awake_until[r] = newest_us, newest_us + self._quiet_us
        self._severity[r] = alert.severity
        self._reached[r] = self._told[r] = alert.value

    def feed(self, packets: Waveforms) -> list[Detection]:
        """Judge packets of one rate."""
        if packets.unit != "m/s2" or packets.rate_hz < RATE_HZ_MIN:
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
        x, start, rate = packets.samples[take], packets.start_us[take], packets.rate_hz
        span_us = round(x.shape[2] / rate * 1e6)
        worn_out = (self._awake_until[row] != NEVER) & (start - self._awake_since[row] > self._awake_us_max)
        fresh = (self._rate[row] != np.float32(rate)) | (np.abs(start - self._next[row]) > self._gap_us) | worn_out
        if fresh.any():
            self._begin(row[fresh], x[fresh], start[fresh])
        self._rate[row], self._newest[row], self._next[row] = rate, start, start + span_us
        x = x - self._rest[row][:, :, None]
        wake = self.settings.wake_gal / GAL
        remove_lone_spikes(x, wake)
        loud = (np.maximum(x.max(axis=2), -x.min(axis=2)) >= wake).any(axis=1)
        until, end = self._awake_until[row], start + span_us
        over = (until != NEVER) & ~loud & (start >= until)
        out = self._fall_asleep(packets, take[over], row[over])
        asleep = ~loud & ((until == NEVER) | over)
        if asleep.any():
            follow = min(1.0, x.shape[2] / rate / REST_S)
            self._rest[row[asleep]] += np.float32(follow) * x[asleep].mean(axis=2)
        self._awake_since[row[loud & (until == NEVER)]] = start[loud & (until == NEVER)]
        self._awake_until[row[loud]] = end[loud] + self._quiet_us
        at = np.flatnonzero(~asleep)
        if len(at):
            mine = take[at]
            p = _Packets(row[at], x[at], start[at], packets.end_us[mine], packets.received_us[mine], rate)
            out += self._shaking(p)
        return out

    def _begin(self, row: Rows64, x: Float32, start_us: Int64) -> None:
        """The rest anew and filters at rest; an active episode stays, until it is quiet."""
        self._rest[row] = np.median(x, axis=2)
        self._state[row] = 0
        active = self._severity[row] > 0
        self._counts_from[row] = np.where(active, start_us + round(SETTLE_S * 1e6), NEVER)
        self._awake_until[row] = np.where(active, start_us + self._quiet_us, NEVER)
        self._awake_since[row] = start_us
        self._forget(row[~active])

    def _forget(self, row: Rows64) -> None:
        self._top[row], self._state[row] = 0, 0
        self._pga[row] = self._pgv[row] = self._reached[row] = self._told[row] = 0

    def _fall_asleep(self, packets: Waveforms, take: Rows64, row: Rows64) -> list[Detection]:
        """Quiet for ``quiet_s``: the episode is over."""
        out = []
        for i, r in zip(take, row, strict=True):
            if self._severity[r]:
                end_us, received_us = int(packets.end_us[i]), int(packets.received_us[i])
                at_us = int(self._awake_until[r])
                out.append(self._say(int(r), "clear", at_us, end_us, received_us, packets.rate_hz, {}))
        self._severity[row] = 0
        self._awake_until[row] = NEVER
        self._forget(row)
        return out

    def _shaking(self, p: _Packets) -> list[Detection]:
        """Filter, take the peaks, and say what rose."""
        tree = self._filters.get(p.rate_hz)
        if tree is None:
            tree = self._filters[p.rate_hz] = intensity_filters(p.rate_hz)
        place = self._state.places(p.row)
        filtered, state = tree.run(p.x, self._state.held[place, :, : tree.order])
        self._state.held[place, :, : tree.order] = state
        vector = np.sqrt(np.einsum("kacm,kacm->kcm", filtered, filtered))
        counts = p.start_us >= self._counts_from[p.row]
        settled = p.row[counts]
        self._remember(settled, vector[counts, 0] * np.float32(GAL), p.rate_hz)
        self._pga[settled] = np.maximum(self._pga[settled], vector[counts, 1].max(axis=1))
        self._pgv[settled] = np.maximum(self._pgv[settled], vector[counts, 2].max(axis=1))
        cn, jma = self._intensities(p.row, p.rate_hz)
        reached = np.maximum(self._reached[p.row], (cn if self.settings.scale == "cn" else jma).astype(np.float32))
        self._reached[p.row] = reached
        was = self._severity[p.row]
        number = np.searchsorted(self._levels.astype(np.float32), reached, side="right")
        now = self._severity_of[number]
        onset = (was == 0) & (now > 0)
        worse = (was > 0) & (((now > 0) & (now < was)) | (reached >= self._told[p.row] + self.settings.step))
        self._severity[p.row] = np.where(onset | ((now > 0) & (now < was)), now, was)
        return self._words(p, vector[:, 1], onset, onset | worse)

    def _words(self, p: _Packets, acceleration: Float32, onset: Bool, speaks: Bool) -> list[Detection]:
        out = []
        at = np.flatnonzero(speaks)
        for i, features in zip(at, described(p.x[at].astype(np.float64), p.rate_hz), strict=True):
            r = int(p.row[i])
            at_us = int(p.start_us[i]) + round(int(acceleration[i].argmax()) / p.rate_hz * 1e6)
            if onset[i]:
                self._episode[r] = at_us
            self._told[r] = self._reached[r]
            end_us, received_us = int(p.end_us[i]), int(p.received_us[i])
            phase = "onset" if onset[i] else "update"
            out.append(self._say(r, phase, at_us, end_us, received_us, p.rate_hz, features))
        return out

    def _remember(self, row: Rows64, vector: Float32, rate_hz: float) -> None:
        """Keep the largest samples of the episode, as many as make 0.3 s."""
        stride = -(-samples_exceeded(rate_hz) // TOP)
        count = samples_exceeded(rate_hz / stride)
        vector = vector[:, ::stride]
        rises = np.flatnonzero(vector.max(axis=1) > self._top[row][:, TOP - count :].min(axis=1))
        if len(rises):
            loudest = np.minimum(vector[rises], np.float32(6e4)).astype(np.float16)
            place, kept = self._top.places(row[rises]), slice(TOP - count, None)
            both = np.concatenate([self._top.held[place, kept], loudest], axis=1)
            self._top.held[place, kept] = np.partition(both, -count, axis=1)[:, -count:]

    def _intensities(self, row: Rows64, rate_hz: float) -> tuple[Float64, Float64]:
        """Both scales of the episode so far."""
        stride = -(-samples_exceeded(rate_hz) // TOP)
        level = self._top[row][:, TOP - samples_exceeded(rate_hz / stride) :].min(axis=1)
        return gbt17742(self._pga[row], self._pgv[row]), jma_of_level(level.astype(np.float64))

    def _say(
        self, r: int, phase: str, at_us: int, end_us: int, received_us: int, rate_hz: float, more: dict[str, Any]
    ) -> Detection:
        cn, jma = (round(float(each[0]), 1) for each in self._intensities(np.array([r]), rate_hz))
        severity = int(self._severity[r])
        episode_us = int(self._episode[r])
        features = {
            "scale": "GB/T 17742-2020" if self.settings.scale == "cn" else "JMA",
            "intensity_cn": cn, "intensity_jma": jma, "jma_class": jma_class(jma),
            "pga_band_gal": round(float(self._pga[r]) * GAL, 2),
            "pgv_band_mm_s": round(float(self._pgv[r]) * 1000, 3), "band_hz": [0.1, 10.0], "exceeded_s": EXCEEDED_S,
            "jma_stages": stages_used(rate_hz), "rate_hz": rate_hz, **more,
        }  # fmt: skip
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=int(self.rows.keys[r]),
            episode_us=episode_us, at_us=at_us, sampled_us=end_us, received_us=received_us, severity=severity,
            metric="intensity", value=round(float(self._reached[r]), 1), limit=self.settings.levels[severity],
            unit="", late=is_late(received_us, end_us), title=self.rule.title, window_us=(episode_us, end_us),
            features=features,
        )  # fmt: skip
