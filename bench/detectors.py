"""What a detector costs on one core: µs a row, rows a second, bytes of state a device. No database, no broker.

    python -m bench.detectors [--seconds 1.0]

Times are this process's own (one thread), so that other work on the machine counts little.
Quiet rows are what a city sends nearly always; loud ones are the worst case, in
which every row goes through the state machine. Samples are counted per axis: a packet
of one second at 100 Hz is 300. The sums at the end are what all default detectors
cost together, one core, and what their state takes for a city.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from alerting.backtest import SCALARS
from alerting.default_rules import DEFAULT_RULES
from alerting.detectors.bank import DetectorBank
from alerting.detectors.base import Detector, Rule
from alerting.detectors.catalogue import DETECTORS
from alerting.detectors.rows import DeviceState, Lent, RuleState, SeriesState
from alerting.detectors.threshold import Threshold
from alerting.rules import parse_rule, parse_rules
from domain.devices import Device
from domain.readings import Block, Float64, Readings, Waveforms

T = TypeVar("T")

RULES = {rule.id: rule for rule in parse_rules(DEFAULT_RULES)}
METRICS = ("", "temperature_c", "smoke_ppm", "tilt_x_deg", "tilt_y_deg", "crack_mm", "humidity_pct")
TEMPERATURE = {"temperature_c": 1}
T0 = 1_700_000_000_000_000
DEVICES = 10_000
NONE = np.zeros(0, np.int64)
NO_READINGS = Readings(
    NONE.astype(np.int32), NONE.astype(np.int32), NONE, NONE.astype(float), NONE, NONE, NONE.astype(bool)
)


def device(key: int) -> Device:
    return Device(key, f"D-{key}", "sensor")


def reading_blocks(size: int, value: float, metrics: int) -> Iterator[Readings]:
    """Endless blocks of ``size`` rows over the devices in turn, each device once a second."""
    position = 0
    while True:
        number = position + np.arange(size)
        at = T0 + number // DEVICES * 1_000_000
        yield Readings(
            (number % DEVICES + 1).astype(np.int32), (number % metrics + 1).astype(np.int32), at.astype(np.int64),
            np.full(size, value), np.full(size, -1, np.int64), at.astype(np.int64), np.zeros(size, bool),
        )  # fmt: skip
        position += size


def waveform_blocks(size: int, m: int, rate_hz: float, amplitude: float, devices: int) -> Iterator[Waveforms]:
    """Endless blocks of ``size`` packets of ``m`` samples over ``devices`` devices in turn."""
    rng = np.random.default_rng(1)
    pool = (rng.normal(scale=amplitude, size=(size, 3, m)) + np.array([[0.0], [0.0], [9.81]])).astype(np.float32)
    position, packet_us = 0, round(m / rate_hz * 1e6)
    while True:
        number = position + np.arange(size)
        start = (T0 + number // devices * packet_us).astype(np.int64)
        yield Waveforms(
            (number % devices + 1).astype(np.int32), start, rate_hz, "m/s2", pool, np.ones((size, 3), bool),
            np.full(size, -1, np.int64), start + packet_us, np.zeros(size, bool),
        )  # fmt: skip
        position += size


def fed(feed: Callable[[T], object], blocks: Iterator[T]) -> Callable[[], object]:
    return lambda: feed(next(blocks))


def measure(name: str, size: int, per_row: int, unit: str, feed: Callable[[], object], seconds: float) -> float:
    """One line of the table; returns µs a row."""
    feed()
    rows, spent = 0, 0.0
    while spent < seconds:
        begin = time.process_time()  # not the clock: what runs beside it does not count
        feed()
        spent += time.process_time() - begin
        rows += size
    us = spent / rows * 1e6
    print(f"{name:<46}{size:>7}{us:>11.3f}{rows * per_row / spent / 1e6:>12.2f} M {unit}/s", flush=True)
    return us


def readings_table(seconds: float) -> None:
    for size in (200, 5000):
        quiet, loud = reading_blocks(size, 20.0, 1), reading_blocks(size, 80.0, 1)
        one, hot = Threshold(RULES["fire.temperature"]), Threshold(RULES["fire.temperature"])
        calm: Callable[[Readings], object] = partial(one.feed, metrics=TEMPERATURE)
        alarm: Callable[[Readings], object] = partial(hot.feed, metrics=TEMPERATURE)
        measure("threshold, quiet", size, 1, "values", fed(calm, quiet), seconds)
        measure("threshold, every device in alarm", size, 1, "values", fed(alarm, loud), seconds)


def waveform_detectors() -> dict[str, Detector]:
    """The default rules that look at waveforms, by rule."""
    return {
        name: DETECTORS[rule.detector].make(rule, device)
        for name, rule in RULES.items()
        if "waveforms" in rule.settings.words().watches or name.startswith("device.")
    }


def only_waveforms(w: Waveforms) -> Block:
    return Block(NO_READINGS, (w,), (), (), (), int(w.received_us.max()))


def listen(detector: Detector, w: Waveforms) -> object:
    return detector.detect(only_waveforms(w), {})


LIST = 100
SCALAR_METRICS = ("", *dict.fromkeys(
    r["settings"]["metric"] for r in DEFAULT_RULES if r["detector"] in ("season", "drift", "change", "level")
))  # fmt: skip


CALM = np.array([
    0.3 * min((r["settings"]["clear"] for r in DEFAULT_RULES if r["detector"] == "threshold"
               and r["settings"]["metric"] == metric), default=10.0)
    for metric in SCALAR_METRICS
])  # fmt: skip
"""A value of each metric, by key, that no default level minds."""
ALARM = np.full(len(CALM), 20.0)
"""A value that is over a default level for half of the metrics."""


def city_blocks(size: int, devices: int, level: Float64, position: int = 0) -> Iterator[Readings]:
    """Endless blocks in which each device sends its one metric each five minutes, noisy, in any order.

    ``level``: the metrics' usual values by key, from key 1; ``position``: values before the first.
    """
    rng = np.random.default_rng(2)
    pool, order = rng.normal(1.0, 0.015, 1 << 16), rng.permutation(devices)
    while True:
        number = position + np.arange(size)
        at = (T0 + number // devices * 300_000_000).astype(np.int64)
        key = order[number % devices]
        metric = (key % (len(level) - 1) + 1).astype(np.int32)
        yield Readings(
            (key + 1).astype(np.int32), metric, at, level[metric] * pool[number * 31 % len(pool)],
            np.full(size, -1, np.int64), at, np.zeros(size, bool),
        )  # fmt: skip
        position += size


def list_blocks(size: int, devices: int, level: Float64) -> Iterator[Readings]:
    """Endless blocks of lists of ``LIST`` values, one a second, each device's one metric, devices in turn."""
    rng = np.random.default_rng(3)
    pool, turn = rng.normal(1.0, 0.015, 1 << 16), 0
    while True:
        number = turn + np.arange(size // LIST)
        key = np.repeat(number % devices, LIST)
        at = T0 + (np.repeat(number // devices * LIST, LIST) + np.tile(np.arange(LIST), len(number))) * 1_000_000
        metric = (key % (len(level) - 1) + 1).astype(np.int32)
        yield Readings(
            (key + 1).astype(np.int32), metric, at.astype(np.int64),
            level[metric] * pool[(turn * 7 + np.arange(size)) % len(pool)], np.full(size, -1, np.int64),
            np.repeat(at[LIST - 1 :: LIST], LIST), np.zeros(size, bool),
        )  # fmt: skip
        turn += size // LIST


def scalar_rule(name: str) -> Rule:
    settings: dict[str, object] = {"metric": "value", "title": {"zh": "-", "en": "-"}}
    if name == "threshold":
        settings |= {"levels": {3: 60}, "clear": 55}
    return parse_rule({"id": name, "detector": name, "kind": "anomaly.value", "settings": settings})


def scalars_table(seconds: float) -> None:
    """Each scalar detector alone on one metric, once it has learnt."""
    for name in SCALARS:
        made, names = DETECTORS[name].make(scalar_rule(name), device), {"value": 1}
        learn: Callable[[Block], object] = partial(made.detect, metrics=names)
        measure_learnt(f"{name}, learnt", (200, 5000), learn, np.full(2, 20.0), seconds)


def city_table(seconds: float) -> None:
    """Default rules on a city's mixture of metrics, once they have learnt: each detector's alone, and together.

    Together costs less than the sum: the order of a block by series is worked out once.
    """
    rules = list(RULES.values())
    alone = dict.fromkeys(r.detector for r in rules if r.detector in SCALARS or r.kind.startswith("device."))
    parts = {f"{name}, its default rules": [r for r in rules if r.detector == name] for name in alone}
    parts["default rules of values"] = [rule for rule in rules if rule.detector in SCALARS]
    parts["ALL default rules, device faults too"] = rules
    sizes = (200, 5000, 10_000, 20_000)  # of 10,000 devices: in the last each has two values, five minutes apart
    for words, some in parts.items():
        bank = DetectorBank(some, device, lambda: SCALAR_METRICS)
        measure_learnt(f"{words}, calm", sizes, bank.feed, CALM, seconds)
    bank = DetectorBank(rules, device, lambda: SCALAR_METRICS)
    measure_learnt("ALL default rules, half the metrics in alarm", sizes, bank.feed, ALARM, seconds)
    for size in (6_000, 20_000):
        bank = DetectorBank(rules, device, lambda: SCALAR_METRICS)
        lists = list_blocks(size, 1_000, CALM)
        for _ in range(400_000 // size):
            bank.feed(Block(next(lists), (), (), (), (), 0))
        measure(f"ALL default rules, lists of {LIST}", size, 1, "values", given(bank.feed, lists), seconds)


WEEK = 7 * 24 * 12
"""Values of a device in a week: by then every default rule has learnt."""


def measure_learnt(
    name: str, sizes: Sequence[int], feed: Callable[[Block], object], level: Float64, seconds: float
) -> None:
    """A week of a city in large blocks, then the clock, for blocks of each size."""
    learnt = city_blocks(20_000, DEVICES, level)
    for _ in range(WEEK * DEVICES // 20_000):
        feed(Block(next(learnt), (), (), (), (), 0))
    begin = WEEK
    for size in sizes:
        blocks = city_blocks(size, DEVICES, level, begin * DEVICES)
        measure(name, size, 1, "values", given(feed, blocks), seconds)
        begin += WEEK


READY = 400
"""Blocks made before the clock starts."""


def given(feed: Callable[[Block], object], blocks: Iterator[Readings]) -> Callable[[], object]:
    """Blocks are made before the clock starts, and let go when they were fed, as a server does.

    Kept, they would make every array of the next one fresh memory, at 60 ns a row.
    """
    ready = [Block(next(blocks), (), (), (), (), 0) for _ in range(READY)][::-1]

    def one() -> object:
        return feed(ready.pop() if ready else Block(next(blocks), (), (), (), (), 0))

    return one


def scalar_state_table(sensors: int = 100_000) -> None:
    """Memory of one metric's detectors for many sensors."""
    print(f"\n{'state of ' + format(sensors, ',') + ' sensors':<46}{'MB':>10}")
    whole = 0.0
    for name in SCALARS:
        made = DETECTORS[name].make(scalar_rule(name), device)
        assert isinstance(made, RuleState)
        made.row_of(np.arange(1, sensors + 1, dtype=np.int32))
        mb = sum(getattr(made, field).nbytes for field in made.FIELDS) / 1e6
        whole += mb if name in ("threshold", "season", "drift", "change", "level") else 0.0
        print(f"{name:<46}{mb:>10.1f}")
    print(f"{'threshold, level, change, season and drift':<46}{whole:>10.1f}")


def waveforms_table(seconds: float) -> None:
    """One line a detector, and the sum of all, by block size and rate."""
    for rate_hz, m, size in ((100.0, 100, 1), (100.0, 100, 20), (100.0, 100, 200), (100.0, 100, 1000),
                             (31.25, 32, 200), (31.25, 32, 1000), (200.0, 200, 200)):  # fmt: skip
        for word, amplitude in (("quiet", 0.0005), ("every packet loud", 2.0)):
            for name, detector in waveform_detectors().items():
                blocks = waveform_blocks(size, m, rate_hz, amplitude, 1000)
                feed = fed(partial(listen, detector), blocks)
                measure(f"{name}, {rate_hz:g} Hz, {word}", size, 3 * m, "samples", feed, seconds)
            bank = DetectorBank(list(RULES.values()), device, lambda: METRICS)
            packets = waveform_blocks(size, m, rate_hz, amplitude, 1000)
            every = fed(bank.feed, (only_waveforms(w) for w in packets))
            measure(f"ALL default rules, {rate_hz:g} Hz, {word}", size, 3 * m, "samples", every, seconds)
            print()


def state_bytes(detector: object) -> float:
    """What a detector remembers: rows in use, and what is lent to some of them."""
    if not isinstance(detector, DeviceState | SeriesState):
        return 0.0
    rows = len(detector.rows) if isinstance(detector, DeviceState) else len(detector)
    arrays = [getattr(detector, name) for name in detector.FIELDS]
    lent = sum(float(a.held.nbytes + 4 * rows) for a in arrays if isinstance(a, Lent))
    return lent + sum(float(a.nbytes / max(len(a), 1) * rows) for a in arrays if not isinstance(a, Lent))


def state_table() -> None:
    """Bytes a device of each detector after three minutes of packets, and of a city."""
    count = 512
    each: dict[str, float] = {}
    for name, detector in waveform_detectors().items():
        blocks = waveform_blocks(count, 100, 100.0, 0.0005, count)
        for _ in range(180):
            listen(detector, next(blocks))
        if isinstance(detector, DeviceState) and len(detector.rows):
            each[name] = state_bytes(detector) / len(detector.rows)
    scalar = Threshold(RULES["fire.temperature"])
    scalar.feed(next(reading_blocks(DEVICES, 20.0, 1)), TEMPERATURE)
    each["threshold (each metric)"] = state_bytes(scalar) / len(scalar)
    for name, size in each.items():
        print(f"{name:<46}{size:>11.0f} bytes a device")  # a detector without arrays is not listed
    waves = sum(size for name, size in each.items() if name in RULES)
    for share in (0.01, 0.1, 1.0):
        total = 100_000 * (share * waves + (1 - share) * each["threshold (each metric)"]) / 1e6
        print(f"100,000 sensors, {share:.0%} accelerometers{total:>30.0f} MB")


def ran_on_one_core() -> bool:
    """Run the whole anew with numpy's libraries on one thread, unless they are: they read that when loaded."""
    if os.environ.get("OPENBLAS_NUM_THREADS") == "1":
        return False
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    sys.stdout.flush()
    subprocess.run([sys.executable, "-m", "bench.detectors", *sys.argv[1:]], env={**os.environ, **one}, check=True)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each line of the table")
    seconds = parser.parse_args().seconds
    if ran_on_one_core():
        return
    print(f"{'detector':<46}{'block':>7}{'µs a row':>11}{'throughput':>12}")
    readings_table(seconds)
    scalars_table(seconds)
    city_table(seconds)
    waveforms_table(seconds)
    state_table()
    scalar_state_table()


if __name__ == "__main__":
    main()
