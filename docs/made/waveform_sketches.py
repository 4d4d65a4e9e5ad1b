"""Sketches of the waveform detectors: input, score, threshold, alert, from the simulators' signals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from alerting.default_rules import DEFAULT_RULES
from alerting.detectors.base import Rule
from alerting.detectors.instrument_intensity import InstrumentIntensity
from alerting.detectors.natural_frequency import NaturalFrequency
from alerting.detectors.rows import Rows64
from alerting.detectors.sta_lta import StaLta, _Packets
from alerting.detectors.velocity import VelocityFilter
from alerting.detectors.vibration_limit import VibrationLimit
from alerting.rules import parse_rule
from docs.made.sketch import Panel, sketch
from domain.alerts import Detection
from domain.devices import Device
from domain.readings import Float64, Int64, Waveforms
from simulators.signals import Footsteps, Piling, TruckPass, WaveTrain, ambient, total

RATE_HZ = 100.0
START_US = 1_700_000_000_000_000
GAL = 100.0


def rule(rule_id: str, **settings: Any) -> Rule:
    """A default rule with other settings."""
    row = next(each for each in DEFAULT_RULES if each["id"] == rule_id)
    return parse_rule({**row, "settings": {**row["settings"], **settings}})


def house(*waves: Any, seconds: float, seed: int = 4) -> Float64:
    """What a sensor in a quiet house feels, ``(3, n)`` in m/s², gravity left out."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return ambient(np.random.default_rng(seed), len(t), 0.0015) + total(waves, t)


def packets(x: Float64, rate_hz: float = RATE_HZ, n: int = 100) -> list[Waveforms]:
    """One device's packets of ``n`` samples, one by one."""
    count = x.shape[1] // n
    body = x[:, : count * n].reshape(3, count, n).transpose(1, 0, 2).astype(np.float32)
    start = START_US + np.round(np.arange(count) * n / rate_hz * 1e6).astype(np.int64)
    one = np.ones(1, np.int32)
    return [
        Waveforms(one, start[i : i + 1], rate_hz, "m/s2", body[i : i + 1], np.ones((1, 3), bool),
                  one.astype(np.int64), start[i : i + 1] + round(n / rate_hz * 1e6), np.zeros(1, bool))
        for i in range(count)
    ]  # fmt: skip


def seconds_of(us: int) -> float:
    """Time on the sketch's axis."""
    return (us - START_US) / 1e6


def alerts(found: list[Detection], until_s: float) -> list[tuple[float, float]]:
    """The stretches in which an alert was active."""
    begins = [seconds_of(d.at_us) for d in found if d.phase == "onset"]
    ends = [seconds_of(d.at_us) for d in found if d.phase == "clear"]
    return [(a, ends[i] if i < len(ends) else until_s) for i, a in enumerate(begins)]


class TracedStaLta(StaLta):
    """Keeps the ratio of every bin."""

    def __init__(self, traced: Rule) -> None:
        super().__init__(traced)
        self.trace: list[tuple[float, float]] = []

    def _judge(self, p: _Packets, of: Rows64, at_us: Int64) -> None:
        row = p.row[of]
        _, long, _, power = self._powers(row, p.bin_n)
        noise = np.minimum(long, np.where(self._background[row] > 0, self._background[row], long))
        ready = self._lta_n[row] >= self._long
        ratio = np.where(ready, np.sqrt(power / np.maximum(noise, 1e-12)).max(axis=1), np.nan)
        self.trace.append((seconds_of(int(at_us[0])), float(ratio[0])))
        super()._judge(p, of, at_us)


def sta_lta() -> str:
    """Spike, footsteps, a door and a truck are not shaking; P and S waves are."""
    x = house(
        Footsteps(24.0, 8, peak_m_s2=0.05), Footsteps(36.0, 1, peak_m_s2=0.4), TruckPass(50.0),
        WaveTrain(70.0, 1.5, (0.02, 0.02, 0.045), (3.0, 8.0), 3),
        WaveTrain(79.0, 5.0, (0.25, 0.22, 0.12), (1.2, 4.0), 4), seconds=140.0,
    )  # fmt: skip
    x[0, 1600] += 2.0
    detector = TracedStaLta(rule("vibration.shaking", dead_s=20.0))
    found = [d for w in packets(x) for d in detector.feed(w)]
    t = np.arange(x.shape[1]) / RATE_HZ
    when, ratio = np.array(detector.trace).T
    s = detector.settings
    words = ((16.0, "spike"), (24.0, "footsteps"), (36.0, "door"), (50.0, "truck"))
    spans = alerts(found, t[-1])
    return sketch(
        "STA/LTA: a spike, footsteps, a door and a truck wait in vain; a quake does not",
        [
            Panel("acceleration x, gal", t, [np.clip(x[0] * GAL, -30, 30)], spans=spans, marks=words[:1]),
            Panel("acceleration z, gal", t, [x[2] * GAL], spans=spans, marks=words[1:]),
            Panel("short / long (cut at 15)", when, [np.minimum(ratio, 15)],
                  levels=((s.on, f"on {s.on:g}"), (s.off, "")), spans=spans),
        ],
    )  # fmt: skip


def vibration_limit() -> str:
    """Piling next door, ever nearer: velocity against the limit of a dwelling."""
    blows = [Piling(10.0 + 8 * k, 7.0, 12.0, ppv) for k, ppv in enumerate((1.0, 2.0, 3.5, 5.5, 7.0, 3.0))]
    x = house(*blows, seconds=90.0)
    detector = VibrationLimit(rule("vibration.limit"), lambda key: Device(key, "VB-1", "vibration"))
    found = [d for w in packets(x) for d in detector.feed_waveforms(w)]
    y, _ = VelocityFilter(RATE_HZ, 1.0).run(x[None], np.zeros((1, 3, 2)))
    v = y[0, 0] * 1000
    t = np.arange(len(v)) / RATE_HZ
    limit = next(d.limit for d in found if d.phase == "onset")
    peak = np.abs(y[0] * 1000).max(axis=0).reshape(-1, 100).max(axis=1)
    spans = alerts(found, t[-1])
    return sketch(
        "Vibration limit: piling ever nearer to a dwelling, DIN 4150-3 short-term",
        [
            Panel("acceleration x, gal", t, [x[0] * GAL], spans=spans),
            Panel("velocity x, mm/s", t, [v], levels=((limit, f"limit {limit:.2f}"), (-limit, "")), spans=spans),
            Panel("PPV / limit by packet", np.arange(len(peak)) + 1.0, [peak / limit],
                  levels=((1.0, "orange"), (0.8, "ends below")), spans=spans),
        ],
    )  # fmt: skip


def intensity() -> str:
    """A quake: both scales as they rise."""
    x = house(
        WaveTrain(15.0, 1.5, (0.15, 0.15, 0.35), (3.0, 8.0), 5),
        WaveTrain(23.0, 5.0, (2.4, 2.1, 1.2), (1.2, 4.0), 6), seconds=110.0,
    )  # fmt: skip
    detector = InstrumentIntensity(rule("vibration.intensity"))
    found, rows = [], []
    for w in packets(x):
        found += detector.feed(w)
        cn, jma = detector._intensities(np.zeros(1, np.intp), RATE_HZ)
        awake = detector._pga[0] > 0
        rows.append((seconds_of(int(w.end_us[0])), cn[0] if awake else np.nan, jma[0] if awake else np.nan))
    when, cn, jma = np.array(rows).T
    t = np.arange(x.shape[1]) / RATE_HZ
    spans = alerts(found, t[-1])
    levels = [(level, f"severity {severity}") for severity, level in detector.settings.levels.items()]
    return sketch(
        "Instrument intensity of a quake: GB/T 17742-2020 (blue) and JMA (ochre)",
        [
            Panel("acceleration x, gal", t, [x[0] * GAL], spans=spans),
            Panel("intensity so far", when, [cn, np.maximum(jma, 0)], levels=levels, spans=spans, y_range=(0, 8.5)),
        ],
    )


def swaying(hours: float, rate_hz: float, change_h: float) -> Float64:
    """Ambient vibration of a house whose own frequency of 2.3 Hz becomes 10 % lower, ``(3, n)`` in m/s²."""
    rng, piece = np.random.default_rng(7), 2048
    out = []
    for k in range(round(hours * 3600 * rate_hz / piece)):
        h = k * piece / rate_hz / 3600
        f0 = 2.3 * (1 + 0.008 * np.sin(2 * np.pi * h / 3)) * (1 if h < change_h else 0.9)
        f = np.fft.rfftfreq(2 * piece, 1 / rate_hz)
        mode = 1 / np.maximum(np.abs(1 - (f / f0) ** 2 + 0.03j * f / f0), 1e-9)
        swing = np.fft.irfft(np.fft.rfft(rng.normal(size=(2, 2 * piece)), axis=1) * mode, axis=1)[:, :piece]
        x = rng.normal(scale=0.0005, size=(3, piece))
        x[:2] += 0.001 * swing / np.sqrt((mode**2).mean())
        out.append(x)
    return np.concatenate(out, axis=1)


def natural_frequency() -> str:
    """Hours stand for days: every window is taken and eight make an estimate."""
    rate_hz = 31.25
    x = swaying(8.0, rate_hz, 4.0)
    detector = NaturalFrequency(rule("structure.frequency", every=1, windows=8))
    found, rows, heard = [], [], 0
    for w in packets(x, rate_hz, 128):
        found += detector.feed(w)
        if detector._estimates[0] != heard:
            heard = int(detector._estimates[0])
            rows.append((seconds_of(int(w.end_us[0])) / 3600, float(detector._recent[0])))
    when, recent = np.array(rows).T
    reference = float(detector._reference[0])
    spans = [(a / 3600, b / 3600) for a, b in alerts(found, 8 * 3600.0)]
    drops = [(reference * (1 - drop), f"severity {k}") for k, drop in detector.settings.drop.items()]
    t = np.arange(x.shape[1]) / rate_hz / 3600
    return sketch(
        "Own frequency: at hour 4 the house loses 10 % (eight windows an estimate, so hours stand for days)",
        [
            Panel("acceleration x, gal", t, [x[0] * GAL], spans=spans),
            Panel("mean of the last estimates, Hz", when, [recent], levels=[(reference, "reference"), *drops],
                  spans=spans, marks=[(4.0, "10 % lower")], y_range=(1.95, 2.4)),
        ],
        x_label="hours",
    )  # fmt: skip


WAVEFORM_SKETCHES: Mapping[str, Callable[[], str]] = {
    "sta-lta": sta_lta,
    "vibration-limit": vibration_limit,
    "instrument-intensity": intensity,
    "natural-frequency": natural_frequency,
}
