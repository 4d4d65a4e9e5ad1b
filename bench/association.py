"""Association alone: false area events on real and invented noise, the real quakes, and its speed.

Real noise: the minutes before the origin of five recorded earthquakes (``../shared/data/openeew``),
each station's shifted round by a random time and laid end to end to a surrogate week, so that
whatever happens together happens by chance. Invented noise: picks at random times for a rate of
each station, because the real stations are too quiet to try the rule.
"""

from __future__ import annotations

import gzip
import itertools
import json
import time
from collections.abc import Iterator
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


def main() -> None:
    """All tables."""
    if DATA.exists():
        real_noise()
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
    """Station → stretches ``(packets, 3, 32)`` in m/s² before any quake, by arrival."""
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
                found.setdefault(station, []).append(np.array(body) / 100)
    return found


def real_noise(days: float = 2.0) -> None:
    """Surrogate days of each station's own noise, half an hour at a time, all half hours side by side."""
    parts, where, rng = quiet_parts(), places(), np.random.default_rng(1)
    stations = sorted(parts)
    packet_s = SAMPLES / RATE_HZ
    slices, steps = round(days * 48), int(1800 / packet_s)
    body = np.stack([surrogate(parts[s], steps, rng) for s in stations for _ in range(slices)])
    device = np.arange(1, len(body) + 1, dtype=np.int32)
    lag = rng.uniform(0, packet_s, len(body)) * S
    rule = next(r for r in parse_rules(DEFAULT_RULES) if r.id == "vibration.shaking")
    picker, notices = Picker(), StaLta(rule)
    triggers: list[Trigger] = []
    for step in range(steps):
        w = waveforms(device, lag + step * packet_s * S, body[:, step])
        picks = picker.feed(Block(no_readings(), (w,), (), (), (), 0))
        shown = [d for d in notices.feed(w) if d.phase == "onset"]
        for kind, found in (("vibration.pick", picks), ("vibration.shaking", shown)):
            for d in found:
                number, part = divmod(d.device - 1, slices)
                at_us = d.at_us + part * 1800 * S
                triggers.append(trigger(number, stations[number], at_us, where[stations[number]], kind))
    events = played(sorted(triggers, key=lambda t: t.t_us))
    told = sum(t.kind == "vibration.shaking" for t in triggers)
    station_days = len(stations) * days
    print(f"real noise, station times shuffled: {len(stations)} stations, {days:g} surrogate days")
    print(f"  single-station notices a station-day: {told / station_days:.2f}")
    print(f"  picks a station-day:                  {(len(triggers) - told) / station_days:.2f}")
    print(f"  area events a week:                   {events * 7 / days:.2f}  (bar: below 1)")


def surrogate(parts: list[np.ndarray[Any, Any]], steps: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """``steps`` packets of a station's noise: its stretches in any order, each shifted round, no offsets."""
    made: list[np.ndarray[Any, Any]] = []
    while sum(map(len, made)) < steps:
        part = parts[int(rng.integers(len(parts)))]
        made.append(np.roll(part - part.mean(axis=(0, 2), keepdims=True), int(rng.integers(len(part))), axis=0))
    return np.concatenate(made)[:steps].astype(np.float32)


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


def played(triggers: list[Trigger]) -> int:
    """How many area events a stream of triggers makes."""
    a, seen = engine(), set()
    for t in triggers:
        a.add([t])
        seen |= {event.id for event in a.changed.values() if event.is_wide}
        a.settle()
    return len(seen)


# ---------------------------------------------------------------- invented noise


def invented_noise() -> None:
    """Random picks: the OpenEEW network's size, a city of 200 stations, a dense city of 2,000."""
    print(f"\n{'invented noise':<34}{'picks/station-day':>18}{'weeks':>7}{'area events a week':>20}")
    for name, stations, span, rate, weeks in (
        ("21 stations over 700 km", 21, 6.0, 10.0, 20.0), ("21 stations over 700 km", 21, 6.0, 100.0, 4.0),
        ("city, 200 stations", 200, 0.5, 10.0, 4.0), ("city, 200 stations", 200, 0.5, 50.0, 1.0),
        ("dense city, 2,000 stations", 2000, 0.5, 10.0, 1.0),
    ):  # fmt: skip
        print(f"{name:<34}{rate:>18.0f}{weeks:>7.0f}{noise_events(stations, span, rate, weeks):>20.2f}")


def noise_events(stations: int, span_deg: float, rate: float, weeks: float) -> float:
    """Area events a week of unconnected picks."""
    rng = np.random.default_rng(2)
    where = np.stack([113 + rng.uniform(0, span_deg, stations), 22 + rng.uniform(0, span_deg, stations)], axis=1)
    n = rng.poisson(stations * rate * 7 * weeks)
    at = np.sort(rng.uniform(0, WEEK_S * weeks, n))
    of = rng.integers(0, stations, n)
    found = [
        trigger(int(of[i]), f"s{of[i]}", round(at[i] * S), (where[of[i], 0], where[of[i], 1]), "vibration.pick")
        for i in range(n)
    ]
    return played(found) / weeks


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
        a, worst, alone, began = engine(), 0.0, 0, time.perf_counter()
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
