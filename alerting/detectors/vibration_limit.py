"""Peak particle velocity against the limit of the building (DIN 4150-3, short-term).

Acceleration packets become velocity (``velocity.py``), packets in mm/s are taken
as they are. A foundation's value is the largest of |vx|, |vy|, |vz| and its
limit depends on the frequency around that peak; a top floor's is the larger
horizontal component (x, y), with one limit for all frequencies. Devices that
compute PPV themselves send ``ppv_mm_s`` and, in the same message, ``freq_hz``;
without a frequency the strictest limit of the class holds.

The first packet after a start or a gap sets the offset (gravity) and the first
``settle_s`` of velocity are not judged: the filter's answer to a wrong offset has
died down to 1 % by then. All judgement is per packet, so any cut of the stream
into blocks gives the same detections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from alerting.detectors import din4150
from alerting.detectors.base import DeviceOf, Positive, Rule, RuleSettings, Seconds, Severity, Words
from alerting.detectors.rows import NEVER, DeviceState, Rows64, is_late, rounds
from alerting.detectors.velocity import VelocityFilter, peak_frequency
from domain.alerts import Alert, Detection
from domain.devices import Device
from domain.readings import Block, Bool, Float64, Int64, Readings, Waveforms

AXES = "xyz"
UNKNOWN_DEVICE = Device(0, "", "")


class VibrationLimitSettings(RuleSettings):
    """DIN 4150-3 short-term limits; see ``alerting/detectors/vibration_limit.py``.

    ``ratio_severity``: severity from PPV / limit; ``self_built``: also warn
    (severity 3) from 70 % on, as GB 50868-2013 has it for self-built houses.
    """

    ppv_metric: str = "ppv_mm_s"
    freq_metric: str = "freq_hz"
    corner_hz: Annotated[float, Field(ge=0.1, le=4)] = 1.0
    settle_s: Seconds = 1.0
    gap_s: Positive = 2.0
    ratio_severity: dict[Severity, Positive] = Field({2: 1.0, 1: 3.0})
    self_built: bool = False
    self_built_ratio: Positive = 0.7
    clear_ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    clear_after_s: Seconds = 10.0
    peak_factor: Annotated[float, Field(gt=1)] = 1.25

    def steps(self) -> list[tuple[float, int]]:
        """(ratio, severity), mildest first."""
        table = dict(self.ratio_severity)
        if self.self_built:
            table[3] = self.self_built_ratio
        return sorted((ratio, severity) for severity, ratio in table.items())

    @model_validator(mode="after")
    def _steps_rise(self) -> VibrationLimitSettings:
        severities = [s for _, s in self.steps()]
        if severities != sorted(severities, reverse=True):
            raise ValueError("ratio_severity: a higher ratio needs a worse severity (1 is worst)")
        return self

    def words(self) -> Words:
        """The rule in words."""
        levels = ", ".join(f"{severity}: ≥ {ratio:g} × limit" for ratio, severity in self.steps())
        ends = f"below {self.clear_ratio:g} × limit for {self.clear_after_s:g} s"
        return Words(f"waveforms, `{self.ppv_metric}`", levels, ends)


@dataclass(frozen=True, slots=True)
class _Peaks:
    """One value per device: PPV with its limit, over the time ``from_us`` to ``to_us``."""

    row: Rows64
    ppv: Float64
    limit: Float64
    freq: Float64
    axis: NDArray[np.int8]  # -1 = the device did not say
    exceeded_us: Int64  # first sample over the limit, else the peak's
    from_us: Int64
    to_us: Int64
    received_us: Int64


class VibrationLimit(DeviceState):
    """One rule over all devices that send waveforms or PPV."""

    FIELDS: ClassVar = {
        "_newest": NEVER, "_newest_reading": NEVER, "_next": NEVER, "_loud": NEVER, "_rate": 0, "_offset": 0,
        "_state": 0, "_fed": 0, "_severity": 0, "_episode": 0, "_top": 0, "_told": 0,
    }  # fmt: skip

    def __init__(self, rule: Rule, device: DeviceOf) -> None:
        super().__init__()
        assert isinstance(rule.settings, VibrationLimitSettings)
        self.rule = rule
        self.settings = rule.settings
        self._device = device
        self._steps = rule.settings.steps()
        self._ratios = np.array([ratio for ratio, _ in self._steps])
        self._quiet_ratio = rule.settings.clear_ratio * self._steps[0][0]
        self._gap_us = round(rule.settings.gap_s * 1e6)
        self._clear_us = round(rule.settings.clear_after_s * 1e6)
        self._filters: dict[float, VelocityFilter] = {}
        self._newest: Int64 = np.zeros(0, np.int64)  # start of the newest packet
        self._newest_reading: Int64 = np.zeros(0, np.int64)
        self._next: Int64 = np.zeros(0, np.int64)  # when the next packet should start
        self._rate: Float64 = np.zeros(0)  # 0 = nothing yet or packets in mm/s
        self._offset: Float64 = np.zeros((0, 3))
        self._state: Float64 = np.zeros((0, 3, 2))
        self._fed: Int64 = np.zeros(0, np.int64)  # samples since the last reset
        self._severity: NDArray[np.int8] = np.zeros(0, np.int8)  # 0 = inactive
        self._episode: Int64 = np.zeros(0, np.int64)
        self._loud: Int64 = np.zeros(0, np.int64)  # newest time not quiet
        self._top: Float64 = np.zeros((0, 5))  # ratio, ppv, limit, freq, axis of the episode's worst
        self._told: Float64 = np.zeros(0)

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's PPV readings, then its packets."""
        found: list[Detection] = []
        ppv = metrics.get(self.settings.ppv_metric)
        if ppv is not None and len(block.readings):
            found += self.feed_readings(block.readings, ppv, metrics.get(self.settings.freq_metric))
        for packets in block.waveforms:
            found += self.feed_waveforms(packets)
        return found

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart."""
        self.restore(alert.device, episode_us, newest_us, alert.severity, alert.value, alert.limit)

    def restore(
        self, device: int, episode_us: int, newest_us: int, severity: int, value: float, limit: float
    ) -> None:
        """Take up an episode that was active before a restart."""
        r = self.rows_of(np.array([device], np.int32))
        self._newest[r] = self._newest_reading[r] = self._loud[r] = newest_us
        self._severity[r], self._episode[r] = severity, episode_us
        self._told[r] = value / limit
        self._top[r] = (value / limit, value, limit, np.nan, -1)

    # ------------------------------------------------------------ packets

    def feed_waveforms(self, packets: Waveforms) -> list[Detection]:
        """Judge packets of one rate and unit."""
        live = np.flatnonzero(~packets.late)
        row = self.rows_of(packets.device[live])
        found: list[Detection] = []
        for part in rounds(row):
            keep = part[packets.start_us[live[part]] > self._newest[row[part]]]
            if len(keep):
                found += self._packets(packets, live[keep], row[keep])
        return found

    def _packets(self, packets: Waveforms, take: Rows64, row: Rows64) -> list[Detection]:
        v = self._velocity(packets, take, row)
        magnitude = np.abs(v)
        largest = magnitude.max(axis=(1, 2))
        busy = (largest >= self._quiet_ratio * din4150.STRICTEST_MM_S) | (self._severity[row] > 0)
        at = np.flatnonzero(busy)
        if len(at) == 0:
            return []
        return self._episodes(self._peaks(packets, take[at], row[at], v[at], magnitude[at]))

    def _velocity(self, packets: Waveforms, take: Rows64, row: Rows64) -> Float64:
        """Velocity in mm/s ``(k, 3, m)``; state is carried across packets, reset after a gap."""
        samples = packets.samples[take].astype(np.float64)
        start, m, rate = packets.start_us[take], samples.shape[2], packets.rate_hz
        span_us = round(m / rate * 1e6)
        self._newest[row] = start
        if packets.unit == "mm/s":
            self._rate[row], self._next[row] = 0, start + span_us
            return samples
        fresh = (self._rate[row] != rate) | (np.abs(start - self._next[row]) > self._gap_us)
        anew = row[fresh]
        self._offset[anew] = samples[fresh].mean(axis=2)
        self._state[anew] = 0
        self._fed[anew] = 0
        self._rate[row], self._next[row] = rate, start + span_us
        kernel = self._filters.get(rate)
        if kernel is None:
            kernel = self._filters[rate] = VelocityFilter(rate, self.settings.corner_hz)
        samples -= self._offset[row][:, :, None]
        v, self._state[row] = kernel.run(samples, self._state[row])
        v = v * 1000.0
        fed, settle = self._fed[row], int(np.ceil(self.settings.settle_s * rate))
        self._fed[row] = fed + m
        if (fed < settle).any():
            v[np.broadcast_to(((fed[:, None] + np.arange(m)) < settle)[:, None, :], v.shape)] = 0.0
        return v

    def _peaks(self, packets: Waveforms, take: Rows64, row: Rows64, v: Float64, magnitude: Float64) -> _Peaks:
        number, top_floor = self._buildings(row)
        magnitude = np.where(top_floor[:, None, None] & (np.arange(3) == 2)[None, :, None], 0.0, magnitude)
        c, m = len(row), v.shape[2]
        place = magnitude.reshape(c, -1).argmax(axis=1)
        axis, sample = np.divmod(place, m)
        line = np.arange(c)
        ppv = magnitude[line, axis, sample]
        freq = peak_frequency(v[line, axis], sample, packets.rate_hz)
        limit = self._limit(number, top_floor, freq)
        over = magnitude.max(axis=1) >= self._steps[0][0] * limit[:, None]
        first = np.where(over.any(axis=1), over.argmax(axis=1), sample)
        start = packets.start_us[take]
        return _Peaks(
            row, ppv, limit, freq, axis.astype(np.int8),
            exceeded_us=start + np.rint(first / packets.rate_hz * 1e6).astype(np.int64),
            from_us=start, to_us=packets.end_us[take], received_us=packets.received_us[take],
        )  # fmt: skip

    # ------------------------------------------------------------ devices that compute PPV

    def feed_readings(self, readings: Readings, ppv_metric: int, freq_metric: int | None) -> list[Detection]:
        """Judge PPV readings; a frequency counts when device and time are the same."""
        mine = np.flatnonzero((readings.metric == ppv_metric) & ~readings.late)
        if len(mine) == 0:
            return []
        row = self.rows_of(readings.device[mine])
        value = np.abs(readings.value[mine])
        hot = (value >= self._quiet_ratio * din4150.STRICTEST_MM_S) | (self._severity[row] > 0)
        if not hot.any():
            np.maximum.at(self._newest_reading, row, readings.time_us[mine])
            return []
        freq = self._frequencies(readings, mine, freq_metric)
        found: list[Detection] = []
        for part in rounds(row):
            time_us = readings.time_us[mine[part]]
            keep = part[time_us > self._newest_reading[row[part]]]
            self._newest_reading[row[keep]] = readings.time_us[mine[keep]]
            if len(keep):
                found += self._scalars(readings, mine[keep], row[keep], value[keep], freq[keep])
        return found

    def _scalars(
        self, readings: Readings, take: Rows64, row: Rows64, ppv: Float64, freq: Float64
    ) -> list[Detection]:
        time_us = readings.time_us[take]
        limit = self._limit(*self._buildings(row), freq)
        axis = np.full(len(row), -1, np.int8)
        return self._episodes(
            _Peaks(row, ppv, limit, freq, axis, time_us, time_us, time_us, readings.received_us[take])
        )

    def _frequencies(self, readings: Readings, mine: Rows64, freq_metric: int | None) -> Float64:
        out = np.full(len(mine), np.nan)
        if freq_metric is None:
            return out
        theirs = np.flatnonzero(readings.metric == freq_metric)
        known = {
            (device, time_us): value
            for device, time_us, value in zip(
                readings.device[theirs].tolist(), readings.time_us[theirs].tolist(),
                readings.value[theirs].tolist(), strict=True,
            )
        }  # fmt: skip
        if known:
            keys = zip(readings.device[mine].tolist(), readings.time_us[mine].tolist(), strict=True)
            out[:] = [known.get(key, np.nan) for key in keys]
        return np.where(out > 0, out, np.nan)

    # ------------------------------------------------------------ limits and episodes

    def _buildings(self, row: Rows64) -> tuple[NDArray[np.intp], Bool]:
        """Class number and whether on the top floor, looked up only for who comes near a limit."""
        known = [self._device(int(key)) or UNKNOWN_DEVICE for key in self.rows.keys[row]]
        number = np.array([din4150.class_number(d.building_class) for d in known], np.intp)
        return number, np.array([d.mount == "top_floor" for d in known], bool)

    @staticmethod
    def _limit(number: NDArray[np.intp], top_floor: Bool, freq: Float64) -> Float64:
        return np.where(top_floor, din4150.TOP_FLOOR_MM_S[number], din4150.foundation_limit(number, freq))

    def _episodes(self, p: _Peaks) -> list[Detection]:
        r = p.row
        ratio = p.ppv / p.limit
        reached = np.searchsorted(self._ratios, ratio, side="right")
        severity = np.array([9] + [s for _, s in self._steps])[reached]
        was = self._severity[r]
        active = was > 0
        onset = ~active & (reached > 0)
        worst = onset | (active & (ratio > self._top[r, 0]))
        w = r[worst]
        self._top[w] = np.stack([ratio, p.ppv, p.limit, p.freq, p.axis.astype(float)], axis=1)[worst]
        rise = active & (severity < was)
        peak = active & ~rise & (ratio >= self.settings.peak_factor * self._told[r])
        # Quiet time runs from the last moment known to be loud to the end of this packet; a packet
        # that comes after a silence is judged by itself before it may end the episode.
        quiet = ratio < self._quiet_ratio
        self._loud[r[~quiet]] = p.to_us[~quiet]
        clear = active & quiet & (p.to_us - self._loud[r] >= self._clear_us)
        self._episode[r[onset]] = p.exceeded_us[onset]
        speaks = onset | rise | peak
        self._severity[r] = np.where(clear, 0, np.where(onset | rise, severity, was))
        self._told[r[speaks]] = ratio[speaks]
        out: list[Detection] = []
        for i in np.flatnonzero(speaks | clear):
            if clear[i]:
                out.append(self._say(p, int(i), "clear", int(self._loud[r[i]]) + self._clear_us, int(was[i])))
            else:
                phase = "onset" if onset[i] else "update"
                out.append(self._say(p, int(i), phase, int(p.exceeded_us[i]), int(self._severity[r[i]])))
        return out

    def _say(self, p: _Peaks, i: int, phase: str, at_us: int, severity: int) -> Detection:
        r = int(p.row[i])
        ratio, ppv, limit, freq, axis = (float(x) for x in self._top[r])
        to_us, received_us = int(p.to_us[i]), int(p.received_us[i])
        features = {"ratio": round(ratio, 3), "standard": "DIN 4150-3 short-term", "freq_hz": None, "axis": None}
        if np.isfinite(freq):
            features["freq_hz"] = round(freq, 2)
        if axis >= 0:
            features["axis"] = AXES[int(axis)]
        building = self._device(int(self.rows.keys[r])) or UNKNOWN_DEVICE
        features |= {"building_class": building.building_class, "mount": building.mount}
        episode_us = int(self._episode[r])
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=int(self.rows.keys[r]),
            episode_us=episode_us, at_us=at_us, sampled_us=to_us, received_us=received_us, severity=severity,
            metric="ppv_mm_s", value=round(ppv, 4), limit=round(limit, 4), unit="mm/s",
            late=is_late(received_us, to_us), title=self.rule.title, window_us=(episode_us, to_us),
            features=features,
        )  # fmt: skip
