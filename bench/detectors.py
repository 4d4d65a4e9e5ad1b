"""What a detector costs: µs and rows per second, by block size. No database, no broker.

    python -m bench.detectors [--seconds 1.0]

Quiet rows are what a city sends nearly always; loud ones are the worst case, in
which every row goes through the state machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import numpy as np

from alerting.default_rules import DEFAULT_RULES
from alerting.detectors.bank import DetectorBank
from alerting.detectors.sta_lta import StaLta
from alerting.detectors.threshold import Threshold
from alerting.detectors.vibration_limit import VibrationLimit
from alerting.rules import parse_rules
from domain.devices import Device
from domain.readings import Block, Readings, Waveforms

T = TypeVar("T")

RULES = {rule.id: rule for rule in parse_rules(DEFAULT_RULES)}
METRICS = ("", "temperature_c", "smoke_ppm", "tilt_x_deg", "tilt_y_deg", "crack_mm", "humidity_pct")
T0 = 1_700_000_000_000_000
DEVICES = 10_000


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
    pool = (rng.normal(scale=amplitude, size=(size, 3, m)) + np.array([[0.0], [0.0], [9.81]])).astype(
        np.float32
    )
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


def measure(
    name: str, size: int, per_row: int, unit: str, feed: Callable[[], object], seconds: float
) -> None:
    feed()
    rows, spent = 0, 0.0
    while spent < seconds:
        begin = time.perf_counter()
        feed()
        spent += time.perf_counter() - begin
        rows += size
    us = spent / rows * 1e6
    print(f"{name:<46}{size:>7}{us:>11.3f}{rows * per_row / spent / 1e6:>12.2f} M {unit}/s", flush=True)


def readings_table(seconds: float) -> None:
    for size in (200, 5000):
        quiet, loud, all_quiet = (
            reading_blocks(size, 20.0, 1), reading_blocks(size, 80.0, 1), reading_blocks(size, 0.05, 6),
        )  # fmt: skip
        one, hot = Threshold(RULES["fire.temperature"]), Threshold(RULES["fire.temperature"])
        bank = DetectorBank(list(RULES.values()), device, lambda: METRICS)
        calm: Callable[[Readings], object] = partial(one.feed, metric=1)
        alarm: Callable[[Readings], object] = partial(hot.feed, metric=1)
        measure("threshold, quiet", size, 1, "values", fed(calm, quiet), seconds)
        measure("threshold, every device in alarm", size, 1, "values", fed(alarm, loud), seconds)
        blocks = (Block(r, (), (), (), (), 0) for r in all_quiet)
        measure("all default rules, quiet", size, 1, "values", fed(bank.feed, blocks), seconds)


def waveforms_table(seconds: float) -> None:
    for size in (1, 20, 200, 1000):
        for word, amplitude in (("quiet", 0.0005), ("every packet loud", 2.0)):
            ppv, lta = VibrationLimit(RULES["vibration.limit"], device), StaLta(RULES["vibration.shaking"])
            a = waveform_blocks(size, 100, 100.0, amplitude, 1000)
            b = waveform_blocks(size, 100, 100.0, amplitude, 1000)
            feed = fed(ppv.feed_waveforms, a)
            measure(f"vibration limit, 100 Hz, {word}", size, 300, "samples", feed, seconds)
            measure(f"STA/LTA, 100 Hz, {word}", size, 300, "samples", fed(lta.feed, b), seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each line of the table")
    seconds = parser.parse_args().seconds
    print(f"{'detector':<46}{'block':>7}{'µs a row':>11}{'throughput':>12}")
    readings_table(seconds)
    waveforms_table(seconds)


if __name__ == "__main__":
    main()
