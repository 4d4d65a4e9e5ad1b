"""Faults planted in realistic sensors: what the default rules find, how late, and how often they cry for nothing.

    python -m bench.planted_faults [--days 45] [--sensors 18] [--kinds temperature,tilt]

Seeded baselines for each kind of sensor (daily and weekly season, weather, traffic, noise, one value in five
minutes), a fault in each sensor but every ninth, after the detectors had time to learn. A fault is found when a
detector speaks within two days of its beginning; what is said outside of faults is a false alarm. Skewed clocks,
doubled and late data are not faults for responders: they are planted to see that nothing is said. Waveforms are
``simulators/signals.py``'s: quakes, blasts, piling, footsteps, trucks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alerting.backtest import metric_of
from alerting.default_rules import DEFAULT_RULES
from alerting.detectors.base import Rule
from alerting.detectors.catalogue import DETECTORS
from alerting.detectors.scalar import ScalarSettings
from alerting.detectors.threshold import ThresholdSettings
from alerting.rules import parse_rule, parse_rules
from domain.alerts import Detection
from domain.devices import Device
from domain.readings import Block, Float64, Readings, Waveforms
from simulators.signals import Footsteps, Piling, Quake, TruckPass, Wave, ambient, total

EVERY_S = 300
DAY = 86_400 // EVERY_S
T0_S = 1_700_006_400
WITHIN_S = 2 * 86_400
YEAR_S = 365.25 * 86_400
LEARNT_DAYS = 21
BLOCK_ROWS = 5_000

Rng = np.random.Generator


# ---------------------------------------------------------------- baselines


@dataclass(frozen=True, slots=True)
class Weather:
    """The same for all sensors of the city."""

    hour: Float64
    holiday: NDArray[np.bool_]
    air_c: Float64
    rain: Float64


def weather(rng: Rng, n: int) -> Weather:
    seconds = T0_S + 8 * 3600 + np.arange(n) * EVERY_S
    hour, day = seconds % 86_400 / 3600, seconds // 86_400
    days = np.arange(0, n + DAY, DAY)
    fronts = np.interp(np.arange(n), days, np.cumsum(rng.normal(0, 1.2, len(days))))
    fronts -= fronts.mean()
    rain = np.zeros(n)
    for at in rng.integers(0, n, max(1, n // (4 * DAY))):
        rain[at:] += rng.uniform(0.3, 1.0) * np.exp(-np.arange(n - at) / 40.0)
    air = 26 - 4.5 * np.cos((hour - 3) / 24 * 2 * np.pi) + np.clip(fronts, -6, 6) - 2 * np.clip(rain, 0, 1)
    return Weather(hour, np.isin((day + 3) % 7, (5, 6)), air, rain)


def traffic(w: Weather) -> Float64:
    rush = np.exp(-0.5 * ((w.hour - 8) / 1.3) ** 2) + np.exp(-0.5 * ((w.hour - 18) / 1.8) ** 2)
    return np.asarray(np.where(w.holiday, 0.5, 1.0) * (0.15 + rush) * (0.3 + 0.7 * (w.hour > 6)))


Baseline = Callable[[Rng, Weather], Float64]

KINDS: dict[str, tuple[str, Baseline]] = {
    "temperature": ("temperature_c", lambda g, w: w.air_c + g.uniform(-2, 3) + g.normal(0, 0.15, len(w.hour))),
    "tilt": ("tilt_x_deg", lambda g, w: g.uniform(-0.02, 0.02) + g.uniform(5e-4, 2e-3) * (w.air_c - 26)
             + g.normal(0, 5e-4, len(w.hour))),
    "crack": ("crack_mm", lambda g, w: g.uniform(0.05, 0.3) - g.uniform(2e-3, 6e-3) * (w.air_c - 26)
              + g.normal(0, 1e-3, len(w.hour))),
    "water level": ("water_level_m", lambda g, w: 0.01 + 0.05 * g.uniform(0.2, 1) * w.rain
                    + np.abs(g.normal(0, 2e-3, len(w.hour)))),
    "smoke": ("smoke_ppm", lambda g, w: 20 + g.uniform(-4, 4) + 3 * traffic(w)
              + np.abs(g.normal(0, 1, len(w.hour)))),
    "gas": ("gas_lel_pct", lambda g, w: np.abs(g.normal(0.1, 0.05, len(w.hour)))),
    "noise": ("noise_db", lambda g, w: 46 + g.uniform(-3, 3) + 12 * traffic(w) + g.normal(0, 1.2, len(w.hour))),
    "PM10": ("pm10_ug_m3", lambda g, w: (45 + 12 * traffic(w)) * np.exp(0.02 * (26 - w.air_c) - 0.4 * w.rain
             + g.normal(0, 0.08, len(w.hour)))),
}  # fmt: skip


# ---------------------------------------------------------------- faults

FAULTS = ("spike", "step", "drift", "stuck", "dropout", "noise rise", "clock skew", "out of order, doubled")
HARMLESS = FAULTS[6:]
OF_THE_DEVICE = ("stuck", "noisy")
"""Detectors of the sensor's own faults; that of silence needs real arrival times and is left to its tests."""


@dataclass(slots=True)
class Sensor:
    """One sensor's rows in the order in which they arrive."""

    fault: str
    from_s: float
    time_s: Float64
    value: Float64


def plant(rng: Rng, fault: str, v: Float64) -> Sensor:
    """The fault from a random hour after the learning time on; sizes in deviations of the sensor's own values."""
    n = len(v)
    at = int(rng.integers(LEARNT_DAYS * DAY, n - 3 * DAY))
    spread, rough = float(np.std(v)), float(np.median(np.abs(np.diff(v))))
    out, time_s = v.copy(), T0_S + np.arange(n, dtype=float) * EVERY_S
    rest = slice(at, n)
    if fault == "spike":
        out[at : at + 2] += 12 * spread
    elif fault == "step":
        out[rest] += 6 * spread
    elif fault == "drift":
        out[rest] += 8 * spread * np.clip(np.arange(n - at) / (3 * DAY), 0, 1)
    elif fault == "stuck":
        out[rest] = out[at]
    elif fault == "dropout":
        keep = np.ones(n, bool)
        keep[at : at + DAY] = False
        out, time_s = out[keep], time_s[keep]
    elif fault == "noise rise":
        out[rest] += rng.normal(0, 8 * rough, n - at)
    elif fault == "clock skew":
        time_s[rest] += 1_800
    elif fault == "out of order, doubled":
        order = np.argsort(np.arange(n) + np.where(rng.random(n) < 0.05, rng.uniform(0, 6, n), 0), kind="stable")
        order = np.repeat(order, 1 + (rng.random(n) < 0.03))
        out, time_s = out[order], time_s[order]
    return Sensor(fault, T0_S + at * EVERY_S if fault not in ("", *HARMLESS) else np.inf, time_s, out)


def sensors_of(kind: str, count: int, days: int) -> tuple[list[Sensor], Weather]:
    rng = np.random.default_rng([7, sum(kind.encode())])
    w = weather(np.random.default_rng(8), days * DAY)
    _, baseline = KINDS[kind]
    names = [("", *FAULTS)[i % (len(FAULTS) + 1)] for i in range(count)]
    return [plant(rng, name, baseline(rng, w)) for name in names], w


def blocks_of(sensors: Sequence[Sensor], air_c: Float64) -> Iterator[Readings]:
    """All rows about in order of arrival; each device also sends its temperature when that is another metric."""
    device = np.repeat(np.arange(1, len(sensors) + 1, dtype=np.int32), [len(s.time_s) for s in sensors])
    place = np.concatenate([np.arange(len(s.time_s)) for s in sensors])
    time_us = np.concatenate([(s.time_s * 1e6).astype(np.int64) for s in sensors])
    value = np.concatenate([s.value for s in sensors])
    beside = air_c[np.clip(((time_us / 1e6 - T0_S) / EVERY_S).astype(int), 0, len(air_c) - 1)]
    order = np.argsort(place, kind="stable")
    newest = np.zeros(len(sensors) + 1, np.int64)
    late = np.zeros(len(order), bool)
    for j, i in enumerate(order.tolist()):
        late[j] = time_us[i] <= newest[device[i]]
        newest[device[i]] = max(newest[device[i]], time_us[i])
    both = np.repeat(order, 2)
    metric = np.tile(np.array([2, 1], np.int32), len(order))
    values = np.where(metric == 1, value[both], beside[both])
    lates = np.repeat(late, 2)
    for first in range(0, len(both), BLOCK_ROWS):
        cut = slice(first, first + BLOCK_ROWS)
        t = time_us[both[cut]]
        yield Readings(device[both[cut]], metric[cut], t, values[cut], np.full(len(t), -1, np.int64), t, lates[cut])


# ---------------------------------------------------------------- scores


def rules_of(metric: str) -> list[Rule]:
    """The default rules of a metric, and the automatic detector to compare."""
    rules = [r for r in parse_rules(DEFAULT_RULES) if isinstance(r.settings, ThresholdSettings | ScalarSettings)]
    auto = {"id": "auto", "detector": "auto", "kind": "anomaly.auto",
            "settings": {"metric": metric, "title": {"zh": "-", "en": "-"}}}  # fmt: skip
    device = [r for r in parse_rules(DEFAULT_RULES) if r.detector in OF_THE_DEVICE]
    return [*(r for r in rules if metric_of(r) == metric), *device, parse_rule(auto)]


def told_by(rule: Rule, metric: str, sensors: Sequence[Sensor], air_c: Float64) -> list[Detection]:
    made = DETECTORS[rule.detector].make(rule, lambda key: Device(key, f"S-{key}", "sensor"))
    names = {metric: 1}
    names.setdefault("temperature_c", 2)
    return [d for r in blocks_of(sensors, air_c) for d in made.detect(Block(r, (), (), (), (), 0), names)]


def scalar_table(kinds: Sequence[str], count: int, days: int) -> None:
    print(f"| kind | rule | {' | '.join(FAULTS[:6])} | delay, median | false alarms a sensor and year |")
    print("|---|---|" + "---|" * 8)
    for kind in kinds:
        sensors, w = sensors_of(kind, count, days)
        for rule in rules_of(KINDS[kind][0]):
            found = told_by(rule, KINDS[kind][0], sensors, w.air_c)
            print(score_line(kind, rule, sensors, found, days), flush=True)


def score_line(kind: str, rule: Rule, sensors: Sequence[Sensor], found: Sequence[Detection], days: int) -> str:
    hits: dict[str, list[bool]] = {name: [] for name in FAULTS[:6]}
    delays, false, watched_s = [], 0, 0.0
    for key, sensor in enumerate(sensors, 1):
        spoken = np.array([d.sampled_us / 1e6 for d in found if d.device == key and d.phase != "clear"])
        until = sensor.from_s if np.isfinite(sensor.from_s) else T0_S + days * 86_400
        watched_s += until - T0_S
        false += int((spoken < until).sum())
        if sensor.fault in hits:
            lag = spoken[(spoken >= sensor.from_s) & (spoken <= sensor.from_s + WITHIN_S)] - sensor.from_s
            hits[sensor.fault].append(len(lag) > 0)
            delays += lag[:1].tolist()
    delay = f"{np.median(delays) / 3600:.1f} h" if delays else "-"
    cells = " | ".join(f"{sum(h)}/{len(h)}" for h in hits.values())
    name = rule.id if rule.detector == "auto" else f"{rule.id} ({rule.detector})"
    return f"| {kind} | {name} | {cells} | {delay} | {false / (watched_s / YEAR_S):.1f} |"


# ---------------------------------------------------------------- waveforms

RATE_HZ = 100
RUN_S = 120
EVENT_S = 40.0
HOUSE = Device(1, "VB", "vibration", lon=113.75, lat=23.02, building_class="residential")


def events(rng: Rng) -> dict[str, tuple[Sequence[Wave], bool]]:
    """By name: what is felt, and whether somebody should hear of it."""
    quake = Quake(113.75 + rng.uniform(-0.3, 0.3), 23.4, 12.0, 0.0, float(rng.uniform(0.15, 0.6)))
    quake = quake.moved_to(EVENT_S - quake.arrivals_s(113.75, 23.02)[0])  # P waves arrive at EVENT_S
    return {
        "quake": (quake.waves(113.75, 23.02, 1.2, int(rng.integers(1 << 30))), True),
        "blast": ([Piling(EVENT_S, 1.5, float(rng.uniform(15, 35)), float(rng.uniform(9, 20)))], True),
        "piling over the limit": ([Piling(EVENT_S, 40, float(rng.uniform(6, 9)), float(rng.uniform(6, 10)))], True),
        "piling under the limit": ([Piling(EVENT_S, 40, 8.0, 1.0)], False),
        "footsteps": ([Footsteps(EVENT_S, 20)], False),
        "truck": ([TruckPass(EVENT_S, phase=float(rng.uniform(0, 6)))], False),
        "nothing": ([], False),
    }


def packets(rng: Rng, waves: Sequence[Wave], key: int) -> list[Waveforms]:
    t = np.arange(RUN_S * RATE_HZ) / RATE_HZ
    motion = total(waves, t) + ambient(rng, len(t), 0.003)
    motion[2] += 9.81
    samples = motion.reshape(3, RUN_S, RATE_HZ).transpose(1, 0, 2).astype(np.float32)
    out = []
    for second in range(RUN_S):
        start = np.array([T0_S * 1_000_000 + second * 1_000_000], np.int64)
        one = samples[second : second + 1]
        out.append(Waveforms(np.array([key], np.int32), start, float(RATE_HZ), "m/s2", one, np.ones((1, 3), bool),
                             np.full(1, -1, np.int64), start, np.zeros(1, bool)))  # fmt: skip
    return out


def waveform_table(runs: int) -> None:
    rules = [r for r in parse_rules(DEFAULT_RULES) if r.detector in ("vibration_limit", "sta_lta")]
    print("\n| what happens | should be told | " + " | ".join(f"{r.id}, told | delay s" for r in rules) + " |")
    print("|---|---|" + "---|---|" * len(rules))
    for name in events(np.random.default_rng(0)):
        cells = []
        for rule in rules:
            made = DETECTORS[rule.detector].make(rule, lambda key: HOUSE)
            hits, delays = 0, []
            for run in range(runs):
                rng = np.random.default_rng([run, sum(name.encode())])
                parts = packets(rng, events(rng)[name][0], run + 1)
                found = [d for p in parts for d in made.detect(Block(_none(), (p,), (), (), (), 0), {})]
                spoken = [d.sampled_us / 1e6 - T0_S - EVENT_S for d in found if d.phase == "onset"]
                hits += bool(spoken)
                delays += spoken[:1]
            cells.append(f"{hits}/{runs} | {np.median(delays):.1f}" if delays else f"{hits}/{runs} | -")
        wanted = "yes" if events(np.random.default_rng(0))[name][1] else "no"
        print(f"| {name} | {wanted} | " + " | ".join(cells) + " |", flush=True)


def _none() -> Readings:
    a, b = np.zeros(0, np.int32), np.zeros(0, np.int64)
    return Readings(a, a, b, np.zeros(0), b, b, np.zeros(0, bool))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=45, help="days of data of each sensor")
    parser.add_argument("--sensors", type=int, default=45, help="sensors of each kind")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of scalar sensors")
    parser.add_argument("--runs", type=int, default=10, help="runs of each kind of shaking")
    given = parser.parse_args()
    scalar_table(given.kinds.split(","), given.sensors, given.days)
    waveform_table(given.runs)


if __name__ == "__main__":
    main()
