"""From ``publish`` to the WebSocket frame: 1,000 alerts, quiet and beside 5,000 messages a second.

One reading over its limit for each of 1,000 devices, 20 a second; the time is taken
in this process before the publish and after the frame was read. The stages are the
alert's own timeline.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from typing import Any

import numpy as np
from websockets.asyncio.client import connect

from bench.server import Running, running_server, wait_quiet
from simulators.publisher import Publisher

ALERTS = 1000
PER_SECOND = 25.0
STAGES = ("sampled", "received", "committed", "detected", "placed", "pushed")


def main() -> None:
    """Print both tables."""
    with running_server() as server:
        wait_quiet(server)
        token = server.cli("token", "--user", "dispatcher")
        for name, rate in (("quiet", 0), ("beside 5,000 msg/s", 5000)):
            beside = None
            if rate:
                duration = str(int(ALERTS / PER_SECOND) + 15)
                beside = server.background("load", "--rate", str(rate), "--devices", "500", "--duration", duration)
                time.sleep(4)
            frames = asyncio.run(measure(server, token, prefix=f"bench{rate}"))
            print_table(name, frames)
            if beside is not None:
                beside.terminate()
                beside.communicate(timeout=30)


async def measure(server: Running, token: str, prefix: str) -> list[tuple[float, dict[str, Any]]]:
    """Milliseconds from publish to frame, and the alert, for each of ALERTS."""
    sent: dict[str, float] = {}
    seen: list[tuple[float, dict[str, Any]]] = []
    url = server.base_url.replace("http", "ws") + "/api/v1/live"
    async with Publisher(server.mqtt_url, "bench") as publisher, connect(url, max_size=None, proxy=None) as socket:
        await make_known(publisher, prefix)
        await socket.send(json.dumps({"type": "hello", "token": token}))
        await socket.send(json.dumps({"type": "subscribe", "id": "a", "channel": "alerts"}))
        while json.loads(await socket.recv())["type"] != "snapshot":
            pass

        async def read() -> None:
            while len(seen) < ALERTS:
                frame = json.loads(await socket.recv())
                now = time.perf_counter()
                if frame.get("change") == "raised" and frame["alert"]["device"]["id"] in sent:
                    seen.append(((now - sent[frame["alert"]["device"]["id"]]) * 1000, frame["alert"]))

        reading = asyncio.create_task(read())
        for i in range(ALERTS):
            body = json.dumps({"t": time.time(), "values": {"ppv_mm_s": 9.5}}).encode()
            sent[f"{prefix}-{i}"] = time.perf_counter()
            await publisher.publish(f"sensors/{prefix}-{i}/readings", body)
            await asyncio.sleep(1 / PER_SECOND)
        await asyncio.wait_for(reading, 60)
    return seen


async def make_known(publisher: Publisher, prefix: str, count: int = ALERTS) -> None:
    """So that the devices' registration is not part of the measurement."""
    for i in range(count):
        body = json.dumps({"t": time.time() - 1, "values": {"ppv_mm_s": 0.1}}).encode()
        await publisher.publish(f"sensors/{prefix}-{i}/readings", body)
    await publisher.flush()
    await asyncio.sleep(3)


def print_table(name: str, frames: list[tuple[float, dict[str, Any]]]) -> None:
    """p50, p99 and worst of the whole way and of each stage."""
    whole = np.array([ms for ms, _ in frames])
    print(f"{name}: {len(frames)} alerts")
    print(f"{'':<24}{'p50 ms':>10}{'p99 ms':>10}{'worst ms':>10}")
    print(row("publish -> frame read", whole))
    times = np.array([[seconds(alert["timeline"][stage]) for stage in STAGES] for _, alert in frames])
    for number, stage in enumerate(STAGES[1:], 1):
        print(row(f"  {STAGES[number - 1]} -> {stage}", (times[:, number] - times[:, number - 1]) * 1000))


def row(name: str, ms: np.ndarray[Any, Any]) -> str:
    """One line of the table."""
    return f"{name:<24}{np.percentile(ms, 50):>10.1f}{np.percentile(ms, 99):>10.1f}{ms.max():>10.1f}"


def seconds(text: str) -> float:
    """Epoch seconds of an ISO time."""
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    main()
