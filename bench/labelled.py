"""Labelled series as unknown sensors would give them: seeded families, anomalies planted, windows round them.

Each family is a kind of source (a machine's temperature, a server's load, taxi
rides, a river …) with its own sampling, season, noise and quirks that are *not*
anomalies: heavy tails, regular jobs, slow trends, missing and doubled rows. The
families of ``KEPT_OUT`` are never looked at while a detector is tuned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from domain.readings import Float64, Int64

DAY_S = 86_400
EPOCH_S = 1_388_534_400
"""2014-01-01."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One series with its anomaly windows as row ranges ``(first, last)``, both inside."""

    family: str
    seed: int
    time_us: Int64
    value: Float64
    windows: tuple[tuple[int, int], ...]
    kinds: tuple[str, ...]


Rng = np.random.Generator
Base = tuple[float, Float64, bool]
"""Seconds between rows, values, and whether there is a daily pattern to miss."""


def ar1(rng: Rng, n: int, memory: float, sd: float) -> Float64:
    """A first-order autoregression of standard deviation ``sd``; ``memory`` in rows."""
    phi = np.exp(-1.0 / memory)
    shock = rng.normal(0, sd * np.sqrt(1 - phi * phi), n)
    out = np.empty(n)
    at = rng.normal(0, sd)
    for i in range(n):
        at = phi * at + shock[i]
        out[i] = at
    return out


def clock(rng: Rng, n: int, every_s: float) -> tuple[Float64, Float64]:
    """Hours of the day and day numbers of the rows."""
    seconds = rng.integers(0, 14) * DAY_S + rng.integers(0, 24) * 3600 + np.arange(n) * every_s
    return seconds % DAY_S / 3600, np.floor(seconds / DAY_S)


def profile(rng: Rng, hour: Float64, peaks: int = 2) -> Float64:
    """A day of 0..1 with some peaks at random hours."""
    out = np.zeros(len(hour))
    for _ in range(peaks):
        middle, width = rng.uniform(6, 22), rng.uniform(1.5, 4)
        gap = np.abs((hour - middle + 12) % 24 - 12)
        out += rng.uniform(0.5, 1.0) * np.exp(-0.5 * (gap / width) ** 2)
    return np.asarray(out / max(out.max(), 1e-9))


def bursts(rng: Rng, n: int, every: float, tail: float) -> Float64:
    """Heavy-tailed single-row bursts, on average one in ``every`` rows."""
    return np.where(rng.random(n) < 1 / every, rng.pareto(tail, n) + 0.3, 0.0)


def machine(rng: Rng, n: int) -> Base:
    hour, _ = clock(rng, n, 300)
    load = ar1(rng, n, 500, 5) + ar1(rng, n, 40, 1.5) + rng.normal(0, 0.6, n)
    return 300, 88 + load + 2.5 * profile(rng, hour), False


def cpu(rng: Rng, n: int) -> Base:
    base = rng.uniform(1, 50)
    level = base + ar1(rng, n, 30, 0.03 * base) + rng.normal(0, 0.03 * base, n)
    jobs = np.where(np.arange(n) % int(rng.choice([12, 48, 288])) == 0, 0.2 * base, 0)
    return 300, np.round(level + jobs + 0.05 * base * bursts(rng, n, 200, 2.5), 3), False


def spiky(rng: Rng, n: int) -> Base:
    base = rng.uniform(0.1, 5)
    load = base * (1 + 0.05 * rng.standard_normal(n)) + base * bursts(rng, n, rng.uniform(15, 60), 2.2)
    return 300, np.round(load, 3), False


def taxi(rng: Rng, n: int) -> Base:
    hour, day = clock(rng, n, 1800)
    weekend = np.isin(day % 7, (5, 6))
    rides = 4_000 + 18_000 * np.where(weekend, profile(rng, (hour - 2) % 24), profile(rng, hour))
    rides *= 1 + 0.03 * np.sin(day / 60) + np.repeat(rng.normal(0, 0.04, n // 48 + 2), 48)[:n]
    return 1800, np.round(rides + rng.normal(0, 500, n)), True


def ambient(rng: Rng, n: int) -> Base:
    hour, day = clock(rng, n, 3600)
    air = 70 + 4 * np.sin(day / 58 + rng.uniform(0, 6)) + ar1(rng, n, 72, 2.5) + ar1(rng, n, 6, 0.6)
    return 3600, air - 1.5 * np.cos((hour - 3) / 24 * 2 * np.pi) + rng.normal(0, 0.4, n), True


def clicks(rng: Rng, n: int) -> Base:
    hour, _ = clock(rng, n, 3600)
    rate = rng.uniform(0.05, 5) * (1 + 0.5 * profile(rng, hour)) * np.exp(ar1(rng, n, 48, 0.15))
    return 3600, rate * np.exp(rng.normal(0, 0.18, n)) * (1 + 0.4 * bursts(rng, n, 80, 2.5)), True


def traffic(rng: Rng, n: int) -> Base:
    hour, day = clock(rng, n, 600)
    busy = np.where(np.isin(day % 7, (5, 6)), 0.4, 1.0).astype(np.float64) * profile(rng, hour)
    speed = 68 - 22 * busy * (1 + 0.2 * rng.standard_normal(n)) + rng.normal(0, 3, n)
    return 600, np.asarray(np.round(np.clip(speed - 8 * bursts(rng, n, 150, 3), 2, 90)), np.float64), True


def occupancy(rng: Rng, n: int) -> Base:
    hour, day = clock(rng, n, 600)
    busy = np.where(np.isin(day % 7, (5, 6)), 0.5, 1.0).astype(np.float64) * profile(rng, hour)
    share = (1 + 10 * busy) * np.exp(rng.normal(0, 0.35, n))
    return 600, np.asarray(np.round(np.clip(share, 0, 100), 2), np.float64), True


def posts(rng: Rng, n: int) -> Base:
    hour, _ = clock(rng, n, 300)
    rate = rng.uniform(3, 30) * (0.3 + profile(rng, hour, 1)) * np.exp(ar1(rng, n, 100, 0.2))
    counts = rng.poisson(rate * rng.gamma(4, 0.25, n))
    return 300, (counts + np.round(rate * bursts(rng, n, 250, 1.8))).astype(float), True


def network(rng: Rng, n: int) -> Base:
    base = 10 ** rng.uniform(2, 8)
    busy = (ar1(rng, n, 20, 1) > 1.2) * rng.gamma(2, 4, n)
    return 300, np.round(base * (rng.gamma(5, 0.2, n) + busy)), False


def latency(rng: Rng, n: int) -> Base:
    return 300, 45 + ar1(rng, n, 10, 1.2) + rng.normal(0, 1.2, n) + 2 * bursts(rng, n, 120, 2.5), False


def square(rng: Rng, n: int) -> Base:
    hour, _ = clock(rng, n, 300)
    on = (hour >= 9) & (hour < 18)
    noise = rng.uniform(-1, 1, n) * rng.choice([0.1, 4])
    return 300, np.asarray(20.0 + 60.0 * on + noise * np.where(on, 2.0, 1.0), np.float64), True


def tide(rng: Rng, n: int) -> Base:
    t = np.arange(n) * 600.0
    rain = np.zeros(n)
    for at in rng.integers(0, n, max(1, n // 1500)):
        rain[at:] += rng.uniform(0.02, 0.12) * np.exp(-np.arange(n - at) / 200)
    moon = 1 + 0.3 * np.sin(2 * np.pi * t / (14.77 * DAY_S))
    return 600, 2 + 0.8 * moon * np.sin(2 * np.pi * t / 44_714) + rain + rng.normal(0, 0.02, n), False


def power(rng: Rng, n: int) -> Base:
    hour, day = clock(rng, n, 900)
    demand = np.where(np.isin(day % 7, (5, 6)), 0.6, 1.0) * profile(rng, hour, 3)
    return 900, 300 + 900 * demand * np.exp(ar1(rng, n, 96, 0.06)) + rng.normal(0, 25, n), True


def dust(rng: Rng, n: int) -> Base:
    hour, _ = clock(rng, n, 3600)
    return 3600, 60 * np.exp(ar1(rng, n, 40, 0.5) + 0.25 * profile(rng, hour) + rng.normal(0, 0.12, n)), True


def holds(rng: Rng, n: int) -> Base:
    return 300, np.round(rng.gamma(6, 0.013, n) + 0.02 * bursts(rng, n, 300, 3), 5), False


def sawtooth(rng: Rng, n: int) -> Base:
    period = int(rng.uniform(60, 500))
    fill = (np.arange(n) % period) / period
    return 300, 30 + 40 * fill + rng.normal(0, 0.5, n) + ar1(rng, n, 50, 0.8), False


def tilt(rng: Rng, n: int) -> Base:
    hour, day = clock(rng, n, 1800)
    warm = ar1(rng, n, 200, 0.004) - 0.006 * np.cos((hour - 3) / 24 * 2 * np.pi)
    return 1800, 0.02 + warm + 1e-5 * day + rng.normal(0, 0.0005, n), True


Family = tuple[Callable[[Rng, int], Base], tuple[int, int]]

FAMILIES: dict[str, Family] = {
    "machine": (machine, (8_000, 20_000)), "cpu": (cpu, (3_500, 4_500)), "spiky": (spiky, (3_500, 4_500)),
    "taxi": (taxi, (6_000, 10_500)), "ambient": (ambient, (5_000, 8_000)), "clicks": (clicks, (1_500, 1_800)),
    "traffic": (traffic, (2_000, 2_600)), "occupancy": (occupancy, (2_000, 2_600)),
    "posts": (posts, (8_000, 16_000)), "network": (network, (3_500, 4_800)), "latency": (latency, (3_500, 4_500)),
    "square": (square, (3_500, 4_500)),
}  # fmt: skip
KEPT_OUT: dict[str, Family] = {
    "tide": (tide, (4_000, 8_000)), "power": (power, (5_000, 9_000)), "dust": (dust, (2_000, 4_000)),
    "holds": (holds, (1_800, 5_000)), "sawtooth": (sawtooth, (4_000, 6_000)), "tilt": (tilt, (3_000, 6_000)),
}  # fmt: skip

PLANTED = ("spike", "shift", "noise", "flat", "zero", "no_pattern", "drift", "burst", "swing")


def plant(rng: Rng, kind: str, v: Float64, at: int, day_rows: int) -> None:
    """Change ``v`` from row ``at`` on; sizes are relative to the series itself."""
    n = len(v)
    low, high = np.quantile(v, (0.02, 0.98))
    span = max(high - low, 1e-9)
    rough = max(float(np.median(np.abs(np.diff(v)))) * 1.5, 0.02 * span)
    sign = rng.choice((-1.0, 1.0), p=(0.35, 0.65))
    length = int(min(n - at, max(6, rng.uniform(0.3, 2.0) * day_rows)))
    part = slice(at, at + length)
    if kind == "spike":
        v[at : at + int(rng.integers(1, 5))] += sign * rng.uniform(0.9, 2.5) * span
    elif kind == "shift":
        v[part] += sign * rng.uniform(0.5, 1.2) * span
    elif kind == "noise":
        v[part] += rng.normal(0, rng.uniform(3, 8) * rough, length)
    elif kind == "flat":
        v[part] = v[at]
    elif kind == "zero":
        v[part] = min(0.0, low) if low < 0.3 * span else low - 0.3 * span
    elif kind == "no_pattern":
        v[at : at + max(day_rows, length)] = low + (v[at : at + max(day_rows, length)] - low) * 0.25
    elif kind == "drift":
        slow = slice(at, min(n, at + 2 * day_rows))
        v[slow] += sign * rng.uniform(0.8, 1.5) * span * np.linspace(0, 1, slow.stop - at)
    elif kind == "burst":
        hit = rng.random(length) < 0.25
        v[part] += hit * rng.uniform(0.6, 1.5) * span
    elif kind == "swing":
        v[part] += rng.uniform(0.4, 0.8) * span * np.sin(np.arange(length) / length * 12 * np.pi)


def make(family: str, seed: int) -> Labelled:
    """One labelled series; the same for the same family and seed."""
    base, (least, most) = {**FAMILIES, **KEPT_OUT}[family]
    rng = np.random.default_rng([seed, sum(family.encode())])
    n = int(rng.integers(least, most))
    every_s, v, seasonal = base(rng, n)
    day_rows = min(round(DAY_S / every_s), n // 12)
    count = int(rng.choice((0, 1, 2, 3, 4), p=(0.15, 0.3, 0.3, 0.15, 0.1)))
    width = round(0.1 * n / max(count, 1))
    starts = starts_apart(rng, count, round(0.2 * n), round(0.95 * n), max(width, 2 * day_rows))
    choices = [k for k in PLANTED if seasonal or k != "no_pattern"]
    kinds = tuple(str(rng.choice(choices)) for _ in starts)
    before = v.copy()
    for at, kind in zip(starts, kinds, strict=True):
        plant(rng, kind, v, at, day_rows)
    if before.min() >= 0 and family not in ("tide", "tilt"):
        np.maximum(v, 0, out=v)
    seconds = EPOCH_S + rng.integers(0, 300) * DAY_S + np.arange(n) * every_s
    windows = tuple((max(0, at - width // 2), min(n - 1, at + width // 2)) for at in starts)
    return _dirty(rng, Labelled(family, seed, (seconds * 1e6).astype(np.int64), v, windows, kinds))


def starts_apart(rng: Rng, count: int, first: int, last: int, apart: int) -> list[int]:
    """Sorted random rows at least ``apart`` from each other, as many as are found."""
    out: list[int] = []
    for _ in range(50 * count):
        at = int(rng.integers(first, last))
        if len(out) < count and all(abs(at - other) > apart for other in out):
            out.append(at)
    return sorted(out)


def _dirty(rng: Rng, s: Labelled) -> Labelled:
    """A third of the series with jittered, missing and doubled rows; windows follow their rows."""
    if rng.random() > 0.33:
        return s
    n = len(s.value)
    step = int(s.time_us[1] - s.time_us[0])
    times = s.time_us + rng.integers(0, max(1, step // 3), n)
    keep = rng.random(n) > 0.01
    for _ in range(2):
        gone = int(rng.integers(0, n - 50))
        keep[gone : gone + int(rng.integers(3, 40))] = False
    number = np.repeat(np.arange(n), np.where(keep, 1 + (rng.random(n) < 0.002), 0))
    rank = np.searchsorted(number, [edge for w in s.windows for edge in w])
    edges = np.minimum(rank, len(number) - 1).reshape(-1, 2)
    windows = tuple((int(a), int(b)) for a, b in edges)
    return Labelled(s.family, s.seed, times[number], s.value[number], windows, s.kinds)
