"""What the embedded broker refused, counted from its log.

`refusal` reads one line and is pure; `count_refusals` follows the file, which is cut to
nothing when it has grown (`server.embedded.process.trim_log`). Mosquitto names a refused
topic at log level debug only (``GRIDPULSE_MQTT_COUNT_DENIED``).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from server.metrics import BROKER_LOG_SKIPPED, BROKER_REFUSED

LOOK_S = 0.5
#: A look reads no more; the rest of a flood is skipped and counted in bytes.
LOOK_BYTES_MAX = 8 * 1024 * 1024

#: The first where the handshake fails after some packets, the second where it fails at once.
TLS = r"(OpenSSL Error\[0\]|Client connection from \S+ failed): "

#: What Mosquitto 2.0 writes, and the reason we count. The first that is found counts.
REASONS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(text), reason)
    for text, reason in (
        (r"Client .* disconnected, not authorised\.", "not_authorised"),
        (TLS + r".*certificate verify failed", "bad_certificate"),
        (TLS + r".*peer did not return a certificate", "no_certificate"),
        (TLS, "tls"),
        (r"Client .* disconnected due to oversize pa(cket|yload)", "too_large"),
        (r"Dropped too large PUBLISH from ", "too_large"),
        (r"denied: max_connections exceeded", "too_many_connections"),
        (r"Unable to accept new connection, system socket count", "too_many_connections"),
        (r"Denied PUBLISH from ", "denied_topic"),
        (r"Client .* disconnected due to (protocol error|malformed packet)", "protocol"),
    )
)


def refusal(line: str) -> str | None:
    """The reason for which this line of the log says the broker refused somebody; None when it does not."""
    return next((reason for pattern, reason in REASONS if pattern.search(line)), None)


class Follower:
    """Reads what is new in a growing file, whole lines at a time."""

    def __init__(self, path: Path, count: Callable[[str], None], skipped: Callable[[int], None]) -> None:
        self._path = path
        self._count = count
        self._skipped = skipped
        self._at = path.stat().st_size if path.exists() else 0
        self._inode = self._identity()
        self._rest = b""

    def look(self) -> None:
        """Count the refusals written since the last look."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return
        if size < self._at or self._identity() != self._inode:
            self._at, self._rest, self._inode = 0, b"", self._identity()
        if size - self._at > LOOK_BYTES_MAX:
            self._skipped(size - self._at - LOOK_BYTES_MAX)
            self._at, self._rest = size - LOOK_BYTES_MAX, b""
        with self._path.open("rb") as file:
            file.seek(self._at)
            new = file.read(LOOK_BYTES_MAX)
        self._at += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        self._rest = self._rest[-4096:]
        for line in lines:
            if (reason := refusal(line.decode(errors="replace"))) is not None:
                self._count(reason)

    def _identity(self) -> int | None:
        return self._path.stat().st_ino if self._path.exists() else None


async def count_refusals(path: Path) -> None:
    """Follow the broker's log until cancelled."""
    for reason in sorted({reason for _, reason in REASONS}):
        BROKER_REFUSED.labels(reason)
    follower = Follower(path, lambda reason: BROKER_REFUSED.labels(reason).inc(), BROKER_LOG_SKIPPED.inc)
    while True:
        await asyncio.to_thread(follower.look)
        await asyncio.sleep(LOOK_S)
