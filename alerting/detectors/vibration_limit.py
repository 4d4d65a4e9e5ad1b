"""Peak particle velocity against the limit of the building, by the standard the rule names.

Acceleration packets become velocity (``velocity.py``), packets in mm/s are taken
as they are. Which component counts (the largest, the vector sum, horizontal or
vertical ones), and whether the limit depends on the frequency around the peak, the
standard says (``limits.py``; default DIN 4150-3, short-term). Devices that
compute PPV themselves send ``ppv_mm_s`` and, in the same message, ``freq_hz``;
without a frequency the strictest limit of the class holds. A single sample that
stands alone (``spikes.py``) is taken out before it is integrated, and counted in
the evidence. Where the standard has no limit for a sensor's place, nothing is said.

The first packet's median after a start or a gap sets the offset (gravity) and the first
``settle_s`` of velocity are not judged: the filter's answer to a wrong offset has
died down to 1 % by then. All judgement is per packet, so any cut of the stream
into blocks gives the same detections.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from alerting.detectors.base import DeviceOf, Positive, Rule, RuleSettings, Seconds, Severity, Words
from alerting.detectors.features import described
from alerting.detectors.limits import PLACES, Limits, LimitTable, class_number, standards
from alerting.detectors.rows import NEVER, DeviceState, Rows64, is_late, rounds
from alerting.detectors.spikes import remove_lone_spikes
from alerting.detectors.velocity import VelocityFilter, peak_frequency
from domain.alerts import Alert, Detection
from domain.devices import BUILDING_CLASSES, Device
from domain.readings import Block, Float64, Int64, Readings, Waveforms

AXES = "xyz"
COUNTS = {"largest": (1, 1, 1), "vector": (1, 1, 1), "horizontal": (1, 1, 0), "vertical": (0, 0, 1)}
"""Which axes count, as factors."""
UNKNOWN_DEVICE = Device(0, "", "")


class VibrationLimitSettings(RuleSettings):
    """PPV limits; see ``alerting/detectors/vibration_limit.py``.

    ``standard``: one of the built-in tables, or ``table``: a table of one's own in the
    same form (``alerting/detectors/standards.toml``). ``place``: where the limit is
    taken, by the sensor's mount unless the rule says so; ``table_class``: the table's
    class for all sensors of the rule (``steel``, ``adobe``), else by the building.
    ``ratio_severity``: severity from PPV / limit; ``self_built``: also warn
    (severity 3) from 70 % on, as GB 50868-2013 has it for self-built houses.
    """

    READS: ClassVar = frozenset({"readings", "waveforms"})
    KEEPS: ClassVar = frozenset({"title", "clear_ratio", "clear_after_s", "peak_factor", "settle_s", "gap_s"})

    standard: str = "din4150-3"
    table: LimitTable | None = None
    place: Literal["by_mount", "foundation", "top_floor", "slab", "pipe"] = "by_mount"
    table_class: str = ""
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

    def limits(self) -> Limits:
        """The limits this rule works by."""
        table = self.table or standards()[self.standard]
        names = [self.table_class or table.class_of(each) for each in BUILDING_CLASSES]
        return Limits(table, tuple(names), None if self.place == "by_mount" else self.place)

    @model_validator(mode="after")
    def _standard_has_limits(self) -> VibrationLimitSettings:
        if self.table is None and self.standard not in standards():
            known = ", ".join(standards())
            raise ValueError(f"standard: {self.standard!r} is not built in; use one of {known}, or give a table")
        limits = self.limits()
        if not np.isfinite(limits.strictest(self.corner_hz)):
            given = f"table_class {self.table_class!r}" if self.table_class else "a building class"
            raise ValueError(f"{limits.table.name} has no limit for {given} at place {self.place!r}")
        return self

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
        table = (self.table or standards()[self.standard]).name
        return Words(f"waveforms, `{self.ppv_metric}`; {table}", levels, ends)


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
    motion: Float64 | None = None  # acceleration (k, 3, m) about its rest, for the evidence
    rate_hz: float = 0.0
    described: dict[int, dict[str, Any]] = field(default_factory=dict)  # features of the packets that speak


class VibrationLimit(DeviceState):
    """One rule over all devices that send waveforms or PPV."""

    FIELDS: ClassVar = {
        "_newest": NEVER, "_newest_reading": NEVER, "_next": NEVER, "_loud": NEVER, "_rate": 0, "_offset": 0,
        "_state": 0, "_fed": 0, "_severity": 0, "_episode": 0, "_top": 0, "_told": 0,
        "_spikes": 0,
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
        self._limits = rule.settings.limits()
        components = [self._limits.component(place) for place in PLACES]
        self._counts = np.array([COUNTS[each] for each in components], float)  # (place, axis)
        self._is_vector = np.array([each == "vector" for each in components])
        self._vector = bool(self._is_vector.any())
        self._speaks_from = self._quiet_ratio * self._limits.strictest(rule.settings.corner_hz)
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
        self._spikes: NDArray[np.int32] = np.zeros(0, np.int32)  # taken out since the last gap

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
        v, motion = self._velocity(packets, take, row)
        largest = np.maximum(v.max(axis=2), -v.min(axis=2)).max(axis=1)
        if self._vector:
            largest *= math.sqrt(3)  # no vector sum is larger
        busy = (largest >= self._speaks_from) | (self._severity[row] > 0)
        at = np.flatnonzero(busy)
        if len(at) == 0:
            return []
        if len(at) < len(row):
            take, row, v, motion = take[at], row[at], v[at], None if motion is None else motion[at]
        return self._episodes(self._peaks(packets, take, row, v, motion))

    def _velocity(self, packets: Waveforms, take: Rows64, row: Rows64) -> tuple[Float64, Float64 | None]:
        """Velocity in mm/s, acceleration about its rest, ``(k, 3, m)``; state is reset after a gap."""
        samples = packets.samples[take].astype(np.float64)
        start, m, rate = packets.start_us[take], samples.shape[2], packets.rate_hz
        span_us = round(m / rate * 1e6)
        self._newest[row] = start
        if packets.unit == "mm/s":
            self._rate[row], self._next[row] = 0, start + span_us
            self._spikes[row] += remove_lone_spikes(samples, self._speaks_from)
            return samples, None
        fresh = (self._rate[row] != rate) | (np.abs(start - self._next[row]) > self._gap_us)
        anew = row[fresh]
        self._offset[anew] = np.median(samples[fresh], axis=2)  # a spike must not move it
        self._state[anew] = 0
        self._fed[anew] = self._spikes[anew] = 0
        self._rate[row], self._next[row] = rate, start + span_us
        kernel = self._filters.get(rate)
        if kernel is None:
            kernel = self._filters[rate] = VelocityFilter(rate, self.settings.corner_hz)
        samples -= self._offset[row][:, :, None]
        # A lone sample a becomes a step of 7/8 a/rate in velocity: smaller ones cannot matter.
        self._spikes[row] += remove_lone_spikes(samples, self._speaks_from / 1000 * rate)
        v, self._state[row] = kernel.run(samples, self._state[row])
        v *= 1000.0
        fed, settle = self._fed[row], int(np.ceil(self.settings.settle_s * rate))
        self._fed[row] = fed + m
        if (fed < settle).any():
            v[np.broadcast_to(((fed[:, None] + np.arange(m)) < settle)[:, None, :], v.shape)] = 0.0
        return v, samples

    def _peaks(
        self, packets: Waveforms, take: Rows64, row: Rows64, v: Float64, motion: Float64 | None
    ) -> _Peaks:
        number, place = self._buildings(row)
        size = np.abs(v)
        judged = self._judged(size, place)
        sample = judged.argmax(axis=1)
        line = np.arange(len(row))
        ppv = judged[line, sample]
        axis = (size[line, :, sample] * self._counts[place]).argmax(axis=1)
        freq = peak_frequency(v[line, axis], sample, packets.rate_hz)
        limit = self._limits.of(number, place, freq)
        over = judged >= self._steps[0][0] * limit[:, None]
        first = np.where(over.any(axis=1), over.argmax(axis=1), sample)
        start = packets.start_us[take]
        return _Peaks(
            row, ppv, limit, freq, axis.astype(np.int8),
            exceeded_us=start + np.rint(first / packets.rate_hz * 1e6).astype(np.int64),
            from_us=start, to_us=packets.end_us[take], received_us=packets.received_us[take],
            motion=motion, rate_hz=packets.rate_hz,
        )  # fmt: skip

    def _judged(self, size: Float64, place: NDArray[np.intp]) -> Float64:
        """The component that counts at each row's place, ``(k, m)`` out of ``|v| (k, 3, m)``."""
        judged = size.max(axis=1)
        some = np.flatnonzero(~self._counts[place].all(axis=1))
        if len(some):
            judged[some] = (size[some] * self._counts[place[some]][:, :, None]).max(axis=1)
        vector = np.flatnonzero(self._is_vector[place])
        if len(vector):
            judged[vector] = np.sqrt((size[vector] ** 2).sum(axis=1))
        return np.asarray(judged)

    # ------------------------------------------------------------ devices that compute PPV

    def feed_readings(self, readings: Readings, ppv_metric: int, freq_metric: int | None) -> list[Detection]:
        """Judge PPV readings; a frequency counts when device and time are the same."""
        mine = np.flatnonzero((readings.metric == ppv_metric) & ~readings.late)
        if len(mine) == 0:
            return []
        row = self.rows_of(readings.device[mine])
        value = np.abs(readings.value[mine])
        hot = (value >= self._speaks_from) | (self._severity[row] > 0)
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
        limit = self._limits.of(*self._buildings(row), freq)
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

    def _buildings(self, row: Rows64) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Class number and place number, looked up only for who comes near a limit."""
        known = [self._device(int(key)) or UNKNOWN_DEVICE for key in self.rows.keys[row]]
        number = np.array([class_number(d.building_class) for d in known], np.intp)
        return number, np.array([PLACES.index(self._limits.place_of(d.mount)) for d in known], np.intp)

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
        seen = np.flatnonzero(speaks & ~clear) if p.motion is not None else np.zeros(0, np.intp)
        if p.motion is not None:
            p.described.update(zip(seen.tolist(), described(p.motion[seen], p.rate_hz), strict=True))
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
        features = {"ratio": round(ratio, 3), **self._standard_of(r), "freq_hz": None, "axis": None}
        if np.isfinite(freq):
            features["freq_hz"] = round(freq, 2)
        if axis >= 0:
            features["axis"] = AXES[int(axis)]
        features |= p.described.get(i, {})
        if self._spikes[r]:
            features["spikes_removed"] = int(self._spikes[r])
        episode_us = int(self._episode[r])
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=int(self.rows.keys[r]),
            episode_us=episode_us, at_us=at_us, sampled_us=to_us, received_us=received_us, severity=severity,
            metric="ppv_mm_s", value=round(ppv, 4), limit=round(limit, 4), unit="mm/s",
            late=is_late(received_us, to_us), title=self.rule.title, window_us=(episode_us, to_us),
            features=features,
        )  # fmt: skip

    def _standard_of(self, r: int) -> dict[str, Any]:
        """What the limit came from; a table that nobody checked says so in the alert."""
        building = self._device(int(self.rows.keys[r])) or UNKNOWN_DEVICE
        limits = self._limits
        name, place = limits.classes[class_number(building.building_class)], limits.place_of(building.mount)
        said: dict[str, Any] = {
            "standard": limits.table.name, "building_class": building.building_class, "mount": building.mount,
            "component": limits.component(place),
        }  # fmt: skip
        if name != building.building_class:
            said["table_class"] = name
        if not limits.table.is_verified(name):
            said["unverified"] = "limit values not checked against the standard · 限值未经标准原文核对"
        return said
