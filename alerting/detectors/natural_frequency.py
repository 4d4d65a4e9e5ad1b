"""A building's own frequency, from its ambient trembling, and an alert when it has dropped.

A house that loses stiffness swings slower: f ~ sqrt(k/m), so 10 % less frequency is about
20 % less stiffness (ISO 4866 names the drop as the sign of damage). Every so often a
window of ``SAMPLES`` horizontal samples is taken, brought down to about 16 samples/s by
block means, and its power spectrum (Hann, both axes) divided by its sum, so that a loud
window counts no more than a still one (Welch 1967). ``windows`` of them make one estimate:
the tallest peak between ``from_hz`` and ``to_hz``, placed between bins by a parabola; one
that is not ``prominence`` times the median of the spectrum is none. The first
``learn`` estimates are the reference, if they agree within 3 %; after that the peak is
looked for within a quarter of it. The running mean of the last estimates, with its
standard error, is compared with the reference: it has dropped when even two standard
errors above it lie below the limit, and is back when it is above half the drop.

Windows with more than ``shaking_gal`` are left out: strong shaking itself lowers the
frequency for a while. State: one spectrum a device, and a window while one is
filled.

Known crudeness: temperature, wind, rain and a full house move the frequency by 1-3 %
and are not known here, so ``drop`` must be larger; a machine that runs at one speed
looks like a mode; a drop that was there before learning is not seen; by default a
drop needs about half a day to be believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from alerting.detectors.base import Rule, RuleSettings, Severity, Words
from alerting.detectors.features import GAL, peak_of_spectrum
from alerting.detectors.rows import NEVER, DeviceState, Lent, Rows64, is_late, rounds
from domain.alerts import Alert, Detection
from domain.readings import Block, Float32, Float64, Int64, Waveforms

SAMPLES = 256
RATE_HZ = 15.0
"""Least rate after block means; 15.4 to 30 samples/s come out of the usual rates."""
RATE_HZ_MAX = 1000.0
AGREE = 0.03
FOLLOW = 0.125
"""Weight of a new estimate in the running mean: about the last eight count."""


class NaturalFrequencySettings(RuleSettings):
    """A drop of the building's own frequency; see ``alerting/detectors/natural_frequency.py``.

    ``drop``: severity to share of the reference; ``every``: one window of so many is taken.
    """

    from_hz: Annotated[float, Field(ge=0.3, le=5)] = 0.6
    to_hz: Annotated[float, Field(ge=1, le=7)] = 6.5
    drop: dict[Severity, Annotated[float, Field(ge=0.03, le=0.5)]] = Field({3: 0.06, 2: 0.12}, min_length=1)
    every: Annotated[int, Field(ge=1, le=1000)] = 8
    windows: Annotated[int, Field(ge=4, le=1000)] = 32
    learn: Annotated[int, Field(ge=4, le=1000)] = 16
    prominence: Annotated[float, Field(gt=1)] = 4.0
    shaking_gal: Annotated[float, Field(gt=0)] = 5.0

    @model_validator(mode="after")
    def _makes_sense(self) -> NaturalFrequencySettings:
        if self.from_hz >= self.to_hz:
            raise ValueError("from_hz must be below to_hz")
        drops = [self.drop[s] for s in sorted(self.drop, reverse=True)]
        if drops != sorted(drops):
            raise ValueError("drop: a worse severity (1 is worst) needs a larger drop")
        return self

    def words(self) -> Words:
        """The rule in words."""
        levels = ", ".join(f"{s}: {self.drop[s]:.0%} lower" for s in sorted(self.drop, reverse=True))
        least = min(self.drop.values())
        return Words("waveforms: the building's own frequency", levels, f"less than {least / 2:.0%} lower")


@dataclass(frozen=True, slots=True)
class _Finished:
    """Packets with which a window was full."""

    row: Rows64
    rate_hz: float
    end_us: Int64
    received_us: Int64


class NaturalFrequency(DeviceState):
    """One rule over all devices that send waveforms."""

    FIELDS: ClassVar = {
        "_newest": NEVER, "_next": NEVER, "_window": NEVER, "_rate": 0, "_fill": 0, "_part": 0, "_first": 0,
        "_buffer": 0, "_sum": 0, "_windows": 0, "_learnt": 0, "_reference": 0, "_spread": 0, "_recent": 0,
        "_scatter": 0, "_estimates": 0, "_severity": 0, "_episode": NEVER,
    }  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        assert isinstance(rule.settings, NaturalFrequencySettings)
        self.rule = rule
        self.settings = s = rule.settings
        steps = sorted((drop, severity) for severity, drop in s.drop.items())
        self._drops = np.array([drop for drop, _ in steps])
        self._severity_of = np.array([0, *(severity for _, severity in steps)], np.int8)
        self._bins = SAMPLES * 7 // 15 + 1  # up to 7 Hz at the least rate
        self._newest: Int64 = np.zeros(0, np.int64)
        self._next: Int64 = np.zeros(0, np.int64)
        self._window: Int64 = np.zeros(0, np.int64)  # number of the window being filled
        self._rate: Float32 = np.zeros(0, np.float32)
        self._fill: NDArray[np.int32] = np.zeros(0, np.int32)  # raw samples in the window
        self._part: Float32 = np.zeros((0, 2), np.float32)  # sum of the unfinished block mean
        self._first: Float32 = np.zeros((0, 2), np.float32)  # first sample of the window
        self._buffer = Lent((2, SAMPLES), np.float16)  # block means about it, gal, while a window is filled
        self._sum: Float32 = np.zeros((0, self._bins), np.float32)
        self._windows: NDArray[np.int32] = np.zeros(0, np.int32)
        self._learnt: NDArray[np.int32] = np.zeros(0, np.int32)
        self._reference: Float64 = np.zeros(0)  # Hz; the mean while learning
        self._spread: Float64 = np.zeros(0)  # sum of squared deviations while learning, then the variance
        self._recent: Float64 = np.zeros(0)  # Hz
        self._scatter: Float64 = np.zeros(0)  # variance of one estimate about the running mean
        self._estimates: NDArray[np.int32] = np.zeros(0, np.int32)  # after learning
        self._severity: NDArray[np.int8] = np.zeros(0, np.int8)
        self._episode: Int64 = np.zeros(0, np.int64)

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Take the block's packets."""
        return [detection for packets in block.waveforms for detection in self.feed(packets)]

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart; the reference comes from the alert."""
        r = self.rows_of(np.array([alert.device], np.int32))
        self._newest[r], self._episode[r], self._severity[r] = newest_us, episode_us, alert.severity
        reference = (alert.evidence.get("features") or {}).get("reference_hz")
        if reference:
            self._learnt[r], self._reference[r], self._recent[r] = self.settings.learn, reference, alert.value
            self._spread[r] = self._scatter[r] = (0.01 * reference) ** 2
            self._estimates[r] = round(1 / FOLLOW)

    def feed(self, packets: Waveforms) -> list[Detection]:
        """Take packets of one rate."""
        if not RATE_HZ <= packets.rate_hz <= RATE_HZ_MAX:
            return []
        step = int(packets.rate_hz // RATE_HZ)
        number = packets.start_us // round(1.25 * SAMPLES * step / packets.rate_hz * 1e6)
        due = (number + packets.device) % self.settings.every == 0
        live = np.flatnonzero(~packets.late & due)
        row = self.rows_of(packets.device[live])
        found: list[Detection] = []
        for part in rounds(row):
            keep = part[packets.start_us[live[part]] > self._newest[row[part]]]
            if len(keep):
                found += self._take(packets, live[keep], row[keep], number[live[keep]], step)
        return found

    def _take(
        self, packets: Waveforms, take: Rows64, row: Rows64, number: Int64, step: int
    ) -> list[Detection]:
        """Block means into the windows; those that are full become spectra."""
        start, rate = packets.start_us[take], packets.rate_hz
        x = packets.samples[take, :2]
        if packets.unit == "m/s2":
            x = x * np.float32(GAL)
        m, span_us = x.shape[2], round(x.shape[2] / rate * 1e6)
        new_rate = (self._rate[row] != np.float32(rate)) & (self._rate[row] != 0)
        begin = (self._window[row] != number) | new_rate
        broken = ~begin & (np.abs(start - self._next[row]) > 1e6 / rate)
        self._window[row[begin]] = number[begin]
        self._fill[row[begin]], self._part[row[begin]], self._first[row[begin]] = 0, 0, x[begin, :, 0]
        self._sum[row[new_rate]], self._windows[row[new_rate]] = 0, 0
        self._newest[row], self._next[row], self._rate[row] = start, start + span_us, rate
        loud = (np.ptp(x, axis=2) > 2 * self.settings.shaking_gal).any(axis=1)
        whole = SAMPLES * step
        spoilt = row[broken | loud]
        self._fill[spoilt], self._buffer[spoilt] = whole, 0  # nothing more goes in
        at = np.flatnonzero(self._fill[row] < whole)
        if len(at) == 0:
            return []
        full = self._fill_windows(row[at], x[at] - self._first[row[at]][:, :, None], m, step)
        done, mine = row[at][full], take[at][full]
        if len(done) == 0:
            return []
        self._add_spectra(done)
        return self._estimate(_Finished(done, rate, packets.end_us[mine], packets.received_us[mine]), rate / step)

    def _fill_windows(self, row: Rows64, x: Float32, m: int, step: int) -> NDArray[np.bool_]:
        """Block means of ``step`` samples, each in its place; says which windows are full."""
        fill, window = self._fill[row], self._buffer.places(row)
        held = fill % step
        for phase in np.unique(held):
            mine = np.flatnonzero(held == phase)
            into = (int(phase) + np.arange(m)) // step
            share: Float32 = np.zeros((m, int(into[-1]) + 1), np.float32)
            share[np.arange(m), into] = 1
            sums = x[mine] @ share
            sums[:, :, 0] += self._part[row[mine]]
            count = (int(phase) + m) // step
            self._part[row[mine]] = sums[:, :, count] if count < sums.shape[2] else 0
            sums /= step
            for i, means in zip(mine, sums, strict=True):
                place = int(fill[i]) // step
                n = min(count, SAMPLES - place)
                self._buffer.held[window[i], :, place : place + n] = means[:, :n]
        self._fill[row] = np.minimum(fill + m, SAMPLES * step)
        return np.asarray(self._fill[row] == SAMPLES * step)

    def _add_spectra(self, row: Rows64) -> None:
        x = self._buffer[row].astype(np.float32)
        self._buffer[row] = 0
        x = (x - x.mean(axis=2, keepdims=True)) * np.hanning(SAMPLES).astype(np.float32)
        power = (np.abs(np.fft.rfft(x, axis=2)) ** 2).sum(axis=1)[:, : self._bins]
        power[:, :3] = 0  # drift
        total = power.sum(axis=1, keepdims=True)
        self._sum[row] += np.where(total > 0, power / np.where(total > 0, total, 1), 0).astype(np.float32)
        self._windows[row] += 1

    def _estimate(self, f: _Finished, rate_hz: float) -> list[Detection]:
        """Where enough windows have come, find the peak and judge it."""
        out = []
        for i in np.flatnonzero(self._windows[f.row] >= self.settings.windows):
            r = int(f.row[i])
            hz = self._peak_hz(self._sum[r], rate_hz, r)
            self._sum[r], self._windows[r] = 0, 0
            if hz is None:
                continue
            if self._learnt[r] < self.settings.learn:
                self._learn(r, hz)
            else:
                out += self._judge(r, hz, int(f.end_us[i]), int(f.received_us[i]))
        return out

    def _peak_hz(self, spectrum: Float32, rate_hz: float, r: int) -> float | None:
        """The peak in Hz; None: none stands out."""
        per_bin = rate_hz / SAMPLES
        low, high = self.settings.from_hz, min(self.settings.to_hz, 0.46 * rate_hz)
        if self._learnt[r] >= self.settings.learn:
            low, high = max(low, 0.75 * self._reference[r]), min(high, 1.25 * self._reference[r])
        a, b = max(3, int(low / per_bin)), min(len(spectrum) - 1, int(high / per_bin) + 1)
        smooth = np.convolve(spectrum, [0.25, 0.5, 0.25], "same").astype(np.float64)
        if b - a < 3:
            return None
        at = float(peak_of_spectrum(smooth[None, a - 1 : b + 1])[0]) + a - 1
        if smooth[round(at)] < self.settings.prominence * np.median(smooth[3:]):
            return None
        return at * per_bin

    def _learn(self, r: int, hz: float) -> None:
        """The reference: mean and variance of the first estimates, begun anew when they do not agree."""
        n = self._learnt[r] = self._learnt[r] + 1
        off = hz - self._reference[r]
        if n > 1 and abs(off) > 3 * AGREE * self._reference[r]:
            self._learnt[r], self._reference[r], self._spread[r] = 1, hz, 0
            return
        self._reference[r] += off / n
        self._spread[r] += off * (hz - self._reference[r])
        if n < self.settings.learn:
            return
        variance = self._spread[r] / (n - 1)
        if variance > (AGREE * self._reference[r]) ** 2:
            self._learnt[r], self._spread[r] = 0, 0
            return
        self._spread[r] = self._scatter[r] = max(variance, (1e-3 * self._reference[r]) ** 2)
        self._recent[r], self._estimates[r] = self._reference[r], 0

    def _judge(self, r: int, hz: float, end_us: int, received_us: int) -> list[Detection]:
        reference = float(self._reference[r])
        off = hz - self._recent[r]
        self._recent[r] += FOLLOW * off
        self._scatter[r] += FOLLOW * (min(off * off, 9 * self._scatter[r]) - self._scatter[r])
        self._estimates[r] += 1
        error = float(np.sqrt(self._scatter[r] * FOLLOW / (2 - FOLLOW) + self._spread[r] / self.settings.learn))
        surely = 1 - (self._recent[r] + 2 * error) / reference
        now = int(self._severity_of[np.searchsorted(self._drops, surely, side="right")])
        was = int(self._severity[r])
        if was and self._recent[r] > reference * (1 - self._drops[0] / 2):
            self._severity[r] = 0
            return [self._say(r, "clear", end_us, received_us, error, was)]
        if now and (not was or now < was):
            phase = "update" if was else "onset"
            self._severity[r] = now
            if not was:
                self._episode[r] = end_us
            return [self._say(r, phase, end_us, received_us, error, now)]
        return []

    def _say(
        self, r: int, phase: str, end_us: int, received_us: int, error: float, severity: int
    ) -> Detection:
        reference, recent = float(self._reference[r]), float(self._recent[r])
        features: dict[str, Any] = {
            "reference_hz": round(reference, 4), "error_hz": round(error, 4),
            "drop_pct": round(100 * (1 - recent / reference), 2),
            "drop_error_pct": round(100 * error / reference, 2),
            "estimates": int(self._estimates[r]), "not_corrected_for": "temperature, wind, load",
        }  # fmt: skip
        episode_us = int(self._episode[r])
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=int(self.rows.keys[r]),
            episode_us=episode_us, at_us=end_us, sampled_us=end_us, received_us=received_us, severity=severity,
            metric="natural_frequency_hz", value=round(recent, 4),
            limit=round(reference * (1 - self.settings.drop[severity]), 4), unit="Hz",
            late=is_late(received_us, end_us), title=self.rule.title, window_us=(episode_us, end_us),
            features=features,
        )  # fmt: skip
