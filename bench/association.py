"""Association alone: false area events on real and invented noise, and its speed.

Real noise: the minutes before the origin of five recorded earthquakes (``../shared/data/openeew``),
each station's shifted round by a random time and laid end to end to surrogate days, so that
whatever happens together happens by chance. Invented noise: picks at random times for a rate of
each station, because the real stations are too quiet to try the rule; evenly, or with rush hours and
with roads at which a station picks ten times as often as at others.

``python -m bench.association --days 7``: how much real noise; half a minute of processor time a day.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alerting.association import Association, Trigger
from alerting.association_picks import Picker
from alerting.default_rules import DEFAULT_RULES
from alerting.detectors.sta_lta import StaLta
from alerting.rules import parse_rules
from domain.readings import Block, Readings, Waveforms

DATA = Path(__file__).parents[2] / "shared/data/openeew"
ORIGIN = {
    "2017-12-16": "2017-12-16T04:07:30", "2018-01-08": "2018-01-08T17:01:03", "2018-02-16": "2018-02-16T23:39:39",
    "2020-01-24": "2020-01-24T10:47:49", "2020-06-23": "2020-06-23T15:29:03",
}  # fmt: skip
WEEK_S = 7 * 86_400.0
S = 1_000_000
SAMPLES, RATE_HZ = 32, 31.25
WARM_S = 120
START_DAYS = 0.5 / 24
RUSH, NIGHT = 3.0, 0.2
"""Rush hours and night against the rest of the day; the steps between them are sudden."""


def main() -> None:
    """All tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--days", type=int, default=7, help="surrogate days of real noise")
    days = options.parse_args().days
    if DATA.exists():
        real_noise(days)
    else:
        print(f"{DATA} is not here: no real noise")
    invented_noise()
    speed()


def engine() -> Association:
    """A fresh one with short names."""
    numbers = itertools.count(1)
    return Association(lambda: f"I{next(numbers)}")


def places() -> dict[str, tuple[float, float]]:
    """Where the recorded stations stand."""
    rows = json.loads((DATA / "device_locations.json").read_text())
    return {row["device_id"]: (row["longitude"], row["latitude"]) for row in rows}


# ---------------------------------------------------------------- real noise


def quiet_parts() -> dict[str, list[np.ndarray[Any, Any]]]:
    """Station → stretches ``(packets, 3, 32)`` in m/s² before any quake, by arrival, each about its mean."""
    found: dict[str, list[np.ndarray[Any, Any]]] = {}
    for day, text in ORIGIN.items():
        origin_s = int(np.datetime64(text, "s").astype(int))
        with gzip.open(DATA / f"{day}.jsonl.gz", "rt") as lines:
            rows = sorted((json.loads(line) for line in lines), key=lambda row: row["cloud_t"])
        packets: dict[str, list[Any]] = {}
        for row in rows:
            if row["cloud_t"] < origin_s:
                packets.setdefault(row["device_id"], []).append([row[axis] for axis in "xyz"])
        for station, body in packets.items():
            if len(body) >= 30:
                part = np.array(body) / 100
                part -= part.mean(axis=(0, 2), keepdims=True)
                found.setdefault(station, []).append(part.astype(np.float32))
    return found


def real_noise(days: int) -> None:
    """Surrogate days of each station's own noise: all hours of a day side by side, each begun early to warm up."""
    parts, where, rng = quiet_parts(), places(), np.random.default_rng(1)
    stations = sorted(parts)
    print(f"real noise, station times shuffled: {len(stations)} stations, {days} surrogate days")
    triggers: list[Trigger] = []
    began = time.process_time()
    for day in range(days):
        triggers += noise_day(day, parts, rng, where)
        took = time.process_time() - began
        print(f"  day {day + 1}: {len(triggers)} triggers, {took:.0f} s of processor time", flush=True)
    stands = [where[s] for s in stations]
    events = played(sorted(triggers, key=lambda t: t.t_us), stands)
    told = sum(t.kind == "vibration.shaking" for t in triggers)
    station_days = len(stations) * days
    hours = [[t for t in triggers if t.t_us // (3600 * S) == hour] for hour in range(24 * days)]
    starts = sum(played(sorted(hour, key=lambda t: t.t_us), stands) > 0 for hour in hours)
    samples = station_days * 86_400 * RATE_HZ * 3
    print(f"  single-station notices a station-day: {told / station_days:.3f}  ({told})")
    print(f"  picks a station-day:                  {(len(triggers) - told) / station_days:.2f}")
    print(f"  area events a week:                   {events * 7 / days:.2f}  ({events}; bar: below 1 a week)")
    print(f"  of {len(hours)} starts, an hour each, with one:  {starts}")
    print(f"  samples a second, both detectors:     {samples / took:,.0f}")


def noise_day(
    day: int, parts: dict[str, list[np.ndarray[Any, Any]]], rng: np.random.Generator,
    where: dict[str, tuple[float, float]],
) -> list[Trigger]:  # fmt: skip
    """Picks and notices of a day; a row is an hour of a station, with ``WARM_S`` before it that say nothing."""
    stations, packet_s = sorted(parts), SAMPLES / RATE_HZ
    steps = int((3600 + WARM_S) / packet_s)
    body = np.concatenate([part for station in stations for part in parts[station]])
    stretches: dict[str, list[tuple[int, int]]] = {}
    at = 0
    for station in stations:
        for part in parts[station]:
            stretches.setdefault(station, []).append((at, at + len(part)))
            at += len(part)
    order = np.stack([surrogate(stretches[station], steps, rng) for station in stations for _ in range(24)])
    begins = np.tile(day * 86_400 + np.arange(24) * 3600, len(stations)) * S
    start = begins - WARM_S * S + rng.uniform(0, packet_s, len(order)) * S
    device = np.arange(1, len(order) + 1, dtype=np.int32)
    rule = next(r for r in parse_rules(DEFAULT_RULES) if r.id == "vibration.shaking")
    picker, notices = Picker(), StaLta(rule)
    found: list[Trigger] = []
    for step in range(steps):
        w = waveforms(device, start + step * packet_s * S, body[order[:, step]])
        picks = picker.feed(Block(no_readings(), (w,), (), (), (), 0))
        shown = [d for d in notices.feed(w) if d.phase == "onset"]
        for kind, said in (("vibration.pick", picks), ("vibration.shaking", shown)):
            for d in said:
                of = (d.device - 1) // 24
                if d.at_us >= begins[d.device - 1]:
                    found.append(trigger(of, stations[of], d.at_us, where[stations[of]], kind))
    return found


def surrogate(stretches: list[tuple[int, int]], steps: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Which packets make ``steps`` of a station's noise: its stretches in any order, each shifted round."""
    made: list[np.ndarray[Any, Any]] = []
    while sum(map(len, made)) < steps:
        start, stop = stretches[int(rng.integers(len(stretches)))]
        made.append(start + np.roll(np.arange(stop - start), int(rng.integers(stop - start))))
    return np.concatenate(made)[:steps].astype(np.int32)


def no_readings() -> Readings:
    """Nothing."""
    empty = np.zeros(0, np.int64)
    return Readings(
        empty.astype(np.int32), empty.astype(np.int32), empty, empty.astype(float), empty, empty, empty.astype(bool)
    )


def waveforms(device: np.ndarray[Any, Any], start: np.ndarray[Any, Any], body: np.ndarray[Any, Any]) -> Waveforms:
    """A packet of each device."""
    n, at = len(start), start.astype(np.int64)
    return Waveforms(
        device, at, RATE_HZ, "m/s2", body.astype(np.float32), np.ones((n, 3), bool),
        np.full(n, -1), at + S, np.zeros(n, bool),
    )  # fmt: skip


def trigger(device: int, name: str, t_us: int, place: tuple[float, float], kind: str) -> Trigger:
    """A trigger at a station."""
    key = ("" if kind == "vibration.pick" else kind, device, t_us)
    return Trigger(key, name, kind, 4, t_us, t_us + S // 5, *place, f"house {device}")


def played(triggers: list[Trigger], stands: Sequence[tuple[float, float]]) -> int:
    """How many area events a stream of triggers makes among stations that stand there."""
    a, seen = engine(), set()
    for device, place in enumerate(stands):
        a.listen(device, *place)
    for t in triggers:
        a.add([t])
        seen |= {event.id for event in a.changed.values() if event.is_wide}
        a.settle()
    return len(seen)


# ---------------------------------------------------------------- invented noise


def invented_noise() -> None:
    """Random picks: the OpenEEW network's size, a city of 200 stations, a dense city of 2,000."""
    head = f"{'picks/station-day':>18}{'weeks':>7}{'area events a week':>20}{'of 100 starts':>15}"
    print(f"\n{'invented noise':<40}{head}")
    for name, stations, span, rate, weeks, rush in (
        ("21 stations over 700 km", 21, 6.0, 10.0, 20.0, False),
        ("21 stations over 700 km", 21, 6.0, 100.0, 4.0, False),
        ("city, 200 stations", 200, 0.5, 10.0, 4.0, False),
        ("city, 200 stations", 200, 0.5, 50.0, 2.0, False),
        ("city, 200 stations, roads, rush hours", 200, 0.5, 50.0, 2.0, True),
        ("dense city, 2,000 stations", 2000, 0.5, 10.0, 1.0, False),
        ("dense city, 2,000, roads, rush hours", 2000, 0.5, 10.0, 1.0, True),
    ):
        rng = np.random.default_rng(2)
        where = np.stack([113 + rng.uniform(0, span, stations), 22 + rng.uniform(0, span, stations)], axis=1)
        stands = [(float(lon), float(lat)) for lon, lat in where]
        found = played(noise(stands, rate, 7 * weeks, rng, rush=rush), stands)
        starts = sum(played(noise(stands, rate, START_DAYS, rng, rush=False), stands) > 0 for _ in range(100))
        print(f"{name:<40}{rate:>18.0f}{weeks:>7.0f}{found / weeks:>20.2f}{starts:>15}", flush=True)


def noise(
    stands: Sequence[tuple[float, float]], rate: float, days: float, rng: np.random.Generator, *, rush: bool
) -> list[Trigger]:
    """Unconnected picks, ``rate`` a station and day on average, or about that with ``rush``."""
    n = len(stands)
    each = rate * rng.lognormal(-0.5, 1.0, n) if rush else np.full(n, rate)
    picks = rng.poisson(each.sum() * days * (RUSH if rush else 1))
    at = np.sort(rng.uniform(0, days * 86_400, picks))
    of = rng.choice(n, picks, p=each / each.sum())
    if rush:
        hour = at / 3600 % 24
        busy = ((hour >= 7) & (hour < 9.5)) | ((hour >= 17) & (hour < 19))
        now = np.where(busy, RUSH, np.where((hour >= 6) & (hour < 22), 1.0, NIGHT))
        kept = rng.uniform(0, RUSH, picks) < now
        at, of = at[kept], of[kept]
    return [
        trigger(int(i), f"s{i}", round(float(t) * S), stands[i], "vibration.pick")
        for t, i in zip(at, of.tolist(), strict=True)
    ]


# ---------------------------------------------------------------- speed


def storm(n: int, seconds: float = 10.0) -> Iterator[Trigger]:
    """``n`` alerts over a city within some seconds."""
    rng = np.random.default_rng(1)
    at = np.sort(rng.uniform(0, seconds, n)) * S
    for i in range(n):
        place = (113.5 + rng.uniform(0, 0.6), 22.7 + rng.uniform(0, 0.5))
        yield trigger(i, f"d{i}", round(at[i]), place, "vibration.limit")


def speed() -> None:
    """10,000 triggers within 10 s, as one block and as 200."""
    triggers = list(storm(10_000))
    head = f"{'seconds':>10}{'worst block ms':>16}{'incidents':>11}{'alone first':>13}"
    print(f"\n{'10,000 triggers within 10 s':<34}{head}")
    for blocks in (1, 200):
        a, worst, alone = engine(), 0.0, 0
        for t in triggers:
            a.listen(t.key[1], t.lon or 0.0, t.lat or 0.0)
        began = time.perf_counter()
        for part in np.array_split(np.arange(len(triggers)), blocks):
            start = time.perf_counter()
            a.add([triggers[i] for i in part])
            alone += sum(type(said).__name__ == "Stays" for said in a.moved.values())
            a.settle()
            worst = max(worst, time.perf_counter() - start)
        took = time.perf_counter() - began
        print(f"{f'in {blocks} block(s)':<34}{took:>10.2f}{worst * 1000:>16.1f}{len(a.events):>11}{alone:>13}")


if __name__ == "__main__":
    main()
