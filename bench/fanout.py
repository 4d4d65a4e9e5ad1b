"""One alert change to many WebSocket clients: from the request that causes it to each client's frame.

The clients live in this process and read raw bytes without parsing, so that they
cost the server as little of the machine as they can; their own share is in the figures.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import struct
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np

from bench.server import Running, running_server
from simulators.publisher import Publisher

CLIENTS = (100, 1000, 5000)
CHANGES = 20
DEVICE = "bench-fanout"


class Listener(asyncio.Protocol):
    """A subscribed client that notes when each text frame was complete."""

    def __init__(self, host: str, token: str) -> None:
        self.host = host
        self.token = token
        self.buffer = bytearray()
        self.upgraded = False
        self.frames: list[tuple[float, bytes]] = []
        self.arrived = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            "GET /api/v1/live HTTP/1.1", f"Host: {self.host}", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", "",
        )  # fmt: skip
        transport.write("\r\n".join(lines).encode())

    def data_received(self, received: bytes) -> None:
        """Cut frames out of what came."""
        self.buffer += received
        if not self.upgraded:
            head, found, rest = bytes(self.buffer).partition(b"\r\n\r\n")
            if not found:
                return
            assert b" 101 " in head.splitlines()[0], head
            self.upgraded, self.buffer = True, bytearray(rest)
            self.say({"type": "hello", "token": self.token})
            self.say({"type": "subscribe", "id": "a", "channel": "alerts"})
        now = time.perf_counter()
        for opcode, payload in self.cut():
            if opcode == 9:
                self.write_frame(10, payload)
            else:
                self.frames.append((now, payload[:80]))
                self.arrived.set()

    def cut(self) -> Iterator[tuple[int, bytes]]:
        """Complete frames; a server's are not masked (RFC 6455, 5.2)."""
        while len(self.buffer) >= 2:
            length, at = self.buffer[1] & 127, 2
            if length >= 126:
                size = 2 if length == 126 else 8
                if len(self.buffer) < 2 + size:
                    return
                length, at = int.from_bytes(self.buffer[2 : 2 + size], "big"), 2 + size
            if len(self.buffer) < at + length:
                return
            yield self.buffer[0] & 15, bytes(self.buffer[at : at + length])
            del self.buffer[: at + length]

    def say(self, message: dict[str, object]) -> None:
        """Send a text frame."""
        self.write_frame(1, json.dumps(message).encode())

    def write_frame(self, opcode: int, payload: bytes) -> None:
        """Masked with zeros, which a client may."""
        length = bytes([128 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        self.transport.write(bytes([128 | opcode]) + length + bytes(4) + payload)


def main() -> None:
    """Print the table."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 65536), hard))
    with running_server() as server:
        token = server.cli("token", "--user", "dispatcher")
        asyncio.run(raise_alert(server))
        print(f"{'clients':>8}{'p50 ms':>10}{'p99 ms':>10}{'last ms':>10}{'server MB':>11}")
        for clients in CLIENTS:
            ms = asyncio.run(measure(server, token, clients))
            print(
                f"{clients:>8}{np.percentile(ms, 50):>10.1f}{np.percentile(ms, 99):>10.1f}"
                f"{np.median(ms.max(axis=1)):>10.1f}{resident_mb(server.pid):>11.0f}"
            )


async def raise_alert(server: Running) -> None:
    """One alert to comment on."""
    async with Publisher(server.mqtt_url, "bench-fanout") as publisher:
        for value in (0.1, 9.5):
            body = json.dumps({"t": time.time(), "values": {"ppv_mm_s": value}}).encode()
            await publisher.publish(f"sensors/{DEVICE}/readings", body)
        await publisher.flush()


async def measure(server: Running, token: str, clients: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Milliseconds of each change to each client, ``(changes, clients)``."""
    parts = urlsplit(server.base_url)
    host, port = parts.hostname or "", parts.port or 80
    loop = asyncio.get_running_loop()
    listeners = []
    for _ in range(clients):
        _, listener = await loop.create_connection(lambda: Listener(parts.netloc, token), host, port)
        listeners.append(listener)
    await asyncio.gather(*(received(listener) for listener in listeners))
    alert = await wait_for_alert(server, token)
    rows = []
    for _ in range(CHANGES):
        started = time.perf_counter()
        version = {"version": alert["version"], "text": "bench"}
        alert = await asyncio.to_thread(request, server, token, f"/api/v1/alerts/{alert['id']}/comment", version)
        await asyncio.gather(*(received(listener) for listener in listeners))
        rows.append([(listener.frames[-1][0] - started) * 1000 for listener in listeners])
        await asyncio.sleep(0.2)
    for listener in listeners:
        listener.transport.abort()
    return np.array(rows)


async def received(listener: Listener) -> None:
    """Wait for the next frame."""
    async with asyncio.timeout(60):
        await listener.arrived.wait()
    listener.arrived.clear()


async def wait_for_alert(server: Running, token: str) -> dict[str, Any]:
    """The alert of our device."""
    while True:
        found = await asyncio.to_thread(request, server, token, f"/api/v1/alerts?q={DEVICE}&state=open", None)
        if found["items"]:
            first: dict[str, Any] = found["items"][0]
            return first
        await asyncio.sleep(0.2)


def request(server: Running, token: str, path: str, body: object) -> Any:
    """One request; POST when there is a body."""
    payload = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urlopen(Request(server.base_url + path, payload, headers)) as answer:
        return json.loads(answer.read())


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
