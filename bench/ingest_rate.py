"""Durable messages a second: published as fast as the server takes them, acknowledged after commit, detectors on.

The publisher, the broker, the database and the server share this machine. The rate
is counted in the database: rows there, from the first publish to the last commit.
"""

from __future__ import annotations

import asyncio
import json
import time

import msgspec
import numpy as np
import psycopg

from bench.server import Running, running_server
from simulators.publisher import Publisher
from simulators.wire import frame

DEVICES = 1000
ROUNDS = 3
MESSAGES = 60_000
PACKETS = 20_000


def main() -> None:
    """Print the table; medians of ROUNDS."""
    with running_server() as server:
        print(f"{'':<34}{'messages/s':>12}{'values/s':>14}")
        for name, make, n, values in (
            ("small JSON readings (120 bytes)", small, MESSAGES, 2),
            ("JSON lists of 100 values", lists, MESSAGES // 30, 100),
            ("waveforms 3 x 100 int16", waveforms, PACKETS, 300),
        ):
            rates = [asyncio.run(measure(server, make, n, round_)) for round_ in range(ROUNDS)]
            rate = float(np.median(rates))
            print(f"{name:<34}{rate:>12,.0f}{rate * values:>14,.0f}")


async def measure(server: Running, make: object, n: int, round_: int) -> float:
    """Messages a second of one round of ``n``."""
    assert callable(make)
    start_s = time.time() - 280 + round_ * 90
    frames = [frame(topic, payload) for topic, payload in make(n, start_s)]
    before = stored(server)
    async with Publisher(server.mqtt_url, "bench") as publisher:
        await publisher.publish("sensors/warm-0/readings", b'{"t": %d, "values": {"a": 1}}' % time.time())
        await publisher.flush()
        began = time.perf_counter()
        for at in range(0, n, 1000):
            await publisher.send(frames[at : at + 1000])
        await publisher.flush()
        # The broker's last acknowledgement to us may come before the server's last commit.
        await asyncio.to_thread(until_stored, server, before + n + 1)
        return n / (time.perf_counter() - began)


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


def small(n: int, start_s: float) -> list[tuple[str, bytes]]:
    """Two values a message."""
    return [
        (
            f"sensors/bench-{i % DEVICES}/readings",
            json.dumps({
                "t": round(start_s + i / 1000, 3), "seq": i,
                "values": {"temperature_c": 20 + i % 7 / 10, "tilt_x_deg": 0.001 * (i % 5)},
            }).encode(),
        )
        for i in range(n)
    ]  # fmt: skip


def lists(n: int, start_s: float) -> list[tuple[str, bytes]]:
    """A hundred readings of one value a message."""
    return [
        (
            f"sensors/bench-{i % DEVICES}/readings",
            json.dumps([
                {"t": round(start_s + i / 100 + k / 10_000, 4), "values": {"temperature_c": 20.5}}
                for k in range(100)
            ]).encode(),
        )
        for i in range(n)
    ]  # fmt: skip


def waveforms(n: int, start_s: float) -> list[tuple[str, bytes]]:
    """Packets of one second, 100 Hz, three axes, MessagePack."""
    axis = np.random.default_rng(1).integers(-50, 50, 100, dtype="<i2").tobytes()
    body = {"rate_hz": 100, "unit": "gal", "scale": 0.01, "x": axis, "y": axis, "z": axis}
    return [
        (
            f"sensors/wave-{i % DEVICES}/waveform",
            msgspec.msgpack.encode({"t": round(start_s + i // DEVICES, 3), "seq": i, **body}),
        )
        for i in range(n)
    ]


if __name__ == "__main__":
    main()
