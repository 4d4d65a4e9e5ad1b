"""What detectors remember of 100,000 sensors: bytes, the pause a checkpoint makes, and its cost. No database.

    python -m bench.memory [--devices 100000] [--accelerometers 10000]

The pause is the time in which blocks wait: the copy of all memories and of how far
series were fed. Making bytes of it happens in a thread beside ingest. The last lines
are what a block costs more when rules are for some devices only.
"""

from __future__ import annotations

import argparse
import sys
import time
from statistics import median

from alerting.applies import AppliesTo
from alerting.checkpoints import parts_of
from alerting.default_rules import DEFAULT_RULES
from alerting.detectors.bank import DetectorBank
from alerting.rules import parse_rules
from bench import detectors as given
from domain.readings import Block, Waveforms

BLOCK_ROWS = 10_000


def filled(devices: int, accelerometers: int) -> DetectorBank:
    """A bank that has seen each device's three metrics, and 12 s of the accelerometers."""
    bank = DetectorBank(parse_rules(DEFAULT_RULES), given.device, lambda: given.METRICS)
    given.DEVICES = devices
    rows = given.reading_blocks(BLOCK_ROWS, 20.0, 1)
    for metric in (1, 2, 3):
        for _ in range(devices // BLOCK_ROWS):
            r = next(rows)
            r.metric[:] = metric
            bank.feed(block(readings=r))
    if accelerometers:
        packets = given.waveform_blocks(1000, 100, 100.0, 0.001, accelerometers)
        for _ in range(12 * accelerometers // 1000):
            bank.feed(block(waveforms=(next(packets),)))
    return bank


def block(readings: object = None, waveforms: tuple[Waveforms, ...] = ()) -> Block:
    empty = next(given.reading_blocks(1, 0.0, 1))
    none = empty.take(slice(0))
    return Block(readings or none, waveforms, (), (), (), 0)  # type: ignore[arg-type]


def remembered(bank: DetectorBank) -> float:
    """Bytes of the rows in use, and of what some rows only have at a time, of all detectors and of what was fed."""
    whole = {id(d): d for d in (getattr(d, "family", d) for d in bank.detectors.values())}
    fed = sum(array.nbytes for array in bank.fed.snapshot().values())
    return fed + sum(given.state_bytes(d) for d in whole.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--accelerometers", type=int, default=10_000)
    asked = parser.parse_args(sys.argv[1:])
    bank = filled(asked.devices, asked.accelerometers)
    pauses = []
    for _ in range(5):
        begin = time.perf_counter()
        memories, fed = bank.snapshot(), bank.fed.snapshot()
        pauses.append(time.perf_counter() - begin)
    raw = remembered(bank)
    begin = time.perf_counter()
    packed = sum(len(part) for memory in (fed, *(m for _, m in memories)) for part in parts_of(memory))
    took = time.perf_counter() - begin
    print(f"{asked.devices} devices, {asked.accelerometers} of them accelerometers")
    print(f"memory {raw / 1e6:.1f} MB, pause {median(pauses) * 1e3:.1f} ms, "
          f"bytes {packed / 1e6:.1f} MB made in {took:.2f} s")  # fmt: skip
    for name, applies_to in (("for all", AppliesTo()), ("for some", AppliesTo(devices=("D-1*", "D-2*")))):
        rules = [parse_rules([row])[0] for row in DEFAULT_RULES]
        rules = [type(r)(r.id, r.detector, r.kind, r.settings, applies_to=applies_to) for r in rules]
        other = DetectorBank(rules, given.device, lambda: given.METRICS)
        blocks = given.reading_blocks(BLOCK_ROWS, 20.0, 6)
        for _ in range(30):
            other.feed(block(readings=next(blocks)))
        begin = time.perf_counter()
        for _ in range(50):
            other.feed(block(readings=next(blocks)))
        us = (time.perf_counter() - begin) / 50 / BLOCK_ROWS * 1e6
        print(f"rules {name}: {us:.3f} µs a reading, all {len(rules)} rules")
    begin = time.perf_counter()
    for _ in range(50):
        bank.fed.note(block(readings=next(blocks)))
    print(f"of it noting how far series were fed: {(time.perf_counter() - begin) / 50 / BLOCK_ROWS * 1e6:.3f} µs")


if __name__ == "__main__":
    main()
