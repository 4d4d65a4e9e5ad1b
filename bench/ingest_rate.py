"""Durable messages a second beside the ceiling: what a client on libmosquitto that only counts receives.

Both in one run and in turns, with the same publisher and the same messages: publisher,
broker, database and server share this machine. Gridpulse has its default detectors on
and its rate is counted in the database, from the first publish to the last commit.
Processor time is per message, so it says where the microseconds go even when other
work runs beside.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import psycopg

from bench.counting_client import load_library
from bench.cpu import seconds_by_part
from bench.server import Running, free_port, running_server, wait_quiet
from server.embedded.stack import embedded_stack
from simulators.publisher import Publisher
from simulators.wire import FrameBlock, block_of, frame

DEVICES = 1000
ROUNDS = 3
CHUNK = 500
PARTS = ("publisher", "broker", "server", "database")

Make = Callable[[int, float], tuple[str, bytes]]
"""(number, event time of the round's beginning) → topic and payload; all of one length."""


@dataclass(frozen=True)
class Load:
    """One row of the table."""

    name: str
    make: Make
    messages: int
    values: int


@dataclass
class Round:
    """What one round came to."""

    rate: float
    cpu_us: dict[str, float]


def main() -> None:
    """Print the tables; medians of ROUNDS."""
    rounds = int(os.environ.get("BENCH_ROUNDS", ROUNDS))
    library = load_library(dict(os.environ))
    if isinstance(library, str):
        print(f"without the ceiling: {library}")
    wanted = sys.argv[1:]
    with running_server() as server:
        wait_quiet(server)
        loads = [load for load in LOADS if not wanted or load.make.__name__ in wanted]
        asyncio.run(measure_all(server, loads, rounds, with_ceiling=not isinstance(library, str)))


async def measure_all(server: Running, loads: list[Load], rounds: int, *, with_ceiling: bool) -> None:
    """All loads, ceiling and Gridpulse in turns."""
    print(f"{'':<34}{'ceiling':>10}{'durable':>10}{'ratio':>7}{'values/s':>13}   CPU us a message")
    print(f"{'':<34}{'msg/s':>10}{'msg/s':>10}{'':>7}{'':>13}   " + "".join(f"{part:>10}" for part in PARTS))
    async with counting_broker() as counting_url:
        for load in loads:
            ceilings: list[float] = []
            durable: list[Round] = []
            for number in range(rounds):
                blocks = encoded(load, time.time() - 280 + number * 280 / rounds)
                if with_ceiling:
                    ceilings.append(await ceiling(counting_url, load, blocks))
                durable.append(await measure(server, load, blocks))
            print_row(load, ceilings, durable)


def print_row(load: Load, ceilings: list[float], durable: list[Round]) -> None:
    """One line."""
    rate = float(np.median([round_.rate for round_ in durable]))
    top = float(np.median(ceilings)) if ceilings else float("nan")
    cpu = "".join(f"{np.median([round_.cpu_us[part] for round_ in durable]):>10.1f}" for part in PARTS)
    ratio = f"{rate / top:>7.2f}" if ceilings else f"{'-':>7}"
    print(f"{load.name:<34}{top:>10,.0f}{rate:>10,.0f}{ratio}{rate * load.values:>13,.0f}   {cpu}", flush=True)


@asynccontextmanager
async def counting_broker() -> AsyncIterator[str]:
    """A broker of its own for the ceiling, with the configuration Gridpulse's has."""
    home = Path(tempfile.mkdtemp(prefix="gridpulse-ceiling-"))
    try:
        async with embedded_stack(
            home, database=False, broker=True, mqtt_host="127.0.0.1", mqtt_port=free_port()
        ) as stack:
            assert stack.urls.mqtt_url is not None
            yield stack.urls.mqtt_url
    finally:
        shutil.rmtree(home, ignore_errors=True)


def encoded(load: Load, start_s: float) -> list[FrameBlock]:
    """All messages of a round, encoded."""
    frames = [frame(*load.make(number, start_s)) for number in range(load.messages)]
    return [block_of(frames[at : at + CHUNK]) for at in range(0, len(frames), CHUNK)]


async def ceiling(url: str, load: Load, blocks: list[FrameBlock]) -> float:
    """Messages a second that only are counted."""
    command = [sys.executable, "-m", "bench.counting_client", url, "sensors/#", str(load.messages)]
    client = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert client.stdout is not None
    if await client.stdout.readline() != b"ready\n":
        raise SystemExit("the counting client did not come up")
    async with Publisher(url, "bench") as publisher:
        began = time.perf_counter()
        for block in blocks:
            await publisher.send_block(block)
        await client.stdout.readline()
        rate = load.messages / (time.perf_counter() - began)
        await publisher.flush()
    await client.wait()
    return rate


async def measure(server: Running, load: Load, blocks: list[FrameBlock]) -> Round:
    """Durable messages a second."""
    before = stored(server)
    async with Publisher(server.mqtt_url, "bench") as publisher:
        for device in range(DEVICES):  # so that registering devices is not part of the measurement
            warm = b'{"t": %d, "values": {"warm": %d}}' % (time.time(), device)
            await publisher.publish(load.make(device, 0)[0].rsplit("/", 1)[0] + "/readings", warm)
        await publisher.flush()
        await asyncio.to_thread(until_stored, server, before + DEVICES)
        spent, began = seconds_by_part(server.pid), time.perf_counter()
        for block in blocks:
            await publisher.send_block(block)
        await publisher.flush()
        # The broker's last acknowledgement to us may come before the server's last commit.
        await asyncio.to_thread(until_stored, server, before + DEVICES + load.messages)
        elapsed_s = time.perf_counter() - began
    now = seconds_by_part(server.pid)
    return Round(
        load.messages / elapsed_s, {part: (now[part] - spent[part]) / load.messages * 1e6 for part in PARTS}
    )


def until_stored(server: Running, n: int) -> None:
    """Wait until ``n`` messages are in the account."""
    while stored(server) < n:
        time.sleep(0.02)


def stored(server: Running) -> int:
    """Messages in the account."""
    with psycopg.connect(server.database_url) as conn:
        row = conn.execute("SELECT coalesce(sum(received), 0) FROM ledger_minute").fetchone()
    assert row is not None
    return int(row[0])


def small(number: int, start_s: float) -> tuple[str, bytes]:
    """Two values in 120 bytes; ``seq`` counts up by one in each device, as a device counts."""
    t_s, temperature_c, humidity_pct = start_s + number / 1000, 20 + number % 7 / 10, 55 + number % 5 / 10
    values = f'"temperature_c": {temperature_c:.6f}, "relative_humidity_pct": {humidity_pct:.6f}'
    body = f'{{"t": {t_s:.3f}, "seq": {number // DEVICES:7d}, "values": {{{values}}}}}'
    return f"sensors/bench-{number % DEVICES:04d}/readings", body.ljust(120).encode()


def lists(number: int, start_s: float) -> tuple[str, bytes]:
    """A hundred readings of one value; devices of their own, or some would have the times of small ones."""
    readings = [
        {"t": f"{start_s + number / 200 + k / 10_000:.4f}", "values": {"temperature_c": 20.5}} for k in range(100)
    ]
    text = json.dumps(readings).replace('"t": "', '"t": ').replace('", "values', ', "values')
    return f"sensors/list-{number % DEVICES:04d}/readings", text.encode()


def waveforms(number: int, start_s: float) -> tuple[str, bytes]:
    """Packets of one second, 100 Hz, three axes, MessagePack."""
    body = {"t": float(f"{start_s + number // DEVICES:.3f}"), "seq": number // DEVICES, **WAVE}
    return f"sensors/wave-{number % DEVICES:04d}/waveform", msgspec.msgpack.encode(body)


_AXIS = np.random.default_rng(1).integers(-50, 50, 100, dtype="<i2").tobytes()
WAVE = {"rate_hz": 100, "unit": "gal", "scale": 0.01, "x": _AXIS, "y": _AXIS, "z": _AXIS}

LOADS = (
    Load("small JSON readings (120 bytes)", small, 60_000, 2),
    Load("JSON lists of 100 values", lists, 8_000, 100),
    Load("waveforms 3 x 100 int16", waveforms, 20_000, 300),
)


if __name__ == "__main__":
    main()
