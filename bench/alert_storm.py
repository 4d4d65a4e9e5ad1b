"""The storm of the budget: 10,000 sensors trip within 10 s; alerts lost, time to push, operator alarms."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from websockets.asyncio.client import connect

from bench.alert_latency import make_known, row, seconds
from bench.server import Running, running_server
from simulators.publisher import Publisher

SENSORS = 10_000
SECONDS = 10.0
GIVEN_UP_S = 120.0
PREFIX = "storm"


def main() -> None:
    """Print the table."""
    with running_server() as server:
        token = server.cli("token", "--user", "dispatcher")
        took, frames = asyncio.run(measure(server, token))
        time.sleep(2)  # a crowd's growth is told once a second
        totals = get(server, token, "/stats/alarms")["totals"]
        incidents = get(server, token, "/incidents?limit=1000")["items"]
    raised = {frame["alert"]["device"]["id"]: (ms, frame["alert"]) for ms, frame in frames}
    print(f"{SENSORS} sensors trip within {took:.1f} s")
    print(f"  alerts pushed: {len(raised)}, lost: {SENSORS - len(raised)}")
    print(f"  incidents: {len(incidents)}, devices in the first: {incidents[0]['devices'] if incidents else 0}")
    print(f"  operator alarms: {totals['operator_alarms']} (bar: at most 10)")
    whole = np.array([ms for ms, _ in raised.values()])
    print(f"{'':<24}{'p50 ms':>10}{'p99 ms':>10}{'worst ms':>10}")
    print(row("publish -> frame read", whole))
    spans = [[seconds(a["timeline"][s]) for s in ("received", "detected", "pushed")] for _, a in raised.values()]
    times = np.array(spans)
    print(row("  received -> detected", (times[:, 1] - times[:, 0]) * 1000))
    print(row("  detected -> pushed", (times[:, 2] - times[:, 1]) * 1000))


def get(server: Running, token: str, path: str) -> Any:
    """A GET of the API."""
    request = Request(f"{server.base_url}/api/v1{path}", headers={"Authorization": f"Bearer {token}"})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


async def measure(server: Running, token: str) -> tuple[float, list[tuple[float, dict[str, Any]]]]:
    """Seconds the publishing took, and for each alert the milliseconds from publish to frame."""
    due = np.sort(np.random.default_rng(1).uniform(0, SECONDS, SENSORS))
    sent: dict[str, float] = {}
    seen: list[tuple[float, dict[str, Any]]] = []
    url = server.base_url.replace("http", "ws") + "/api/v1/live"
    async with Publisher(server.mqtt_url, "known") as publisher:
        await make_known(publisher, PREFIX, SENSORS)
    async with Publisher(server.mqtt_url, "bench") as publisher, connect(url, max_size=None, proxy=None) as socket:
        await socket.send(json.dumps({"type": "hello", "token": token}))
        await socket.send(json.dumps({"type": "subscribe", "id": "a", "channel": "alerts"}))
        while json.loads(await socket.recv())["type"] != "snapshot":
            pass

        async def read() -> None:
            while len(seen) < SENSORS:
                frame = json.loads(await socket.recv())
                now = time.perf_counter()
                if frame.get("change") == "raised" and frame["alert"]["device"]["id"] in sent:
                    seen.append(((now - sent[frame["alert"]["device"]["id"]]) * 1000, frame))

        reading = asyncio.create_task(read())
        began = time.perf_counter()
        for i, at in enumerate(due.tolist()):
            wait_s = began + at - time.perf_counter()
            if wait_s > 0.002:
                await asyncio.sleep(wait_s)
            sent[f"{PREFIX}-{i}"] = time.perf_counter()
            body = json.dumps({"t": time.time(), "values": {"ppv_mm_s": 30.0}}).encode()
            await publisher.publish(f"sensors/{PREFIX}-{i}/readings", body)
        took = time.perf_counter() - began
        try:
            await asyncio.wait_for(reading, GIVEN_UP_S)
        except TimeoutError:
            print(f"  only {len(seen)} frames within {GIVEN_UP_S:.0f} s")
    return took, seen


if __name__ == "__main__":
    main()
