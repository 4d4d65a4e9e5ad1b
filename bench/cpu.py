"""Processor time by kind of process, from /proc: it says where the microseconds go even on a busy machine."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

TICKS_S = os.sysconf("SC_CLK_TCK")


def seconds_by_part(server_pid: int) -> dict[str, float]:
    """Seconds of the server and its children ``database`` and ``broker``, and of this process, ``publisher``."""
    spent: dict[str, float] = defaultdict(float)
    parents: dict[int, int] = {}
    found: dict[int, tuple[str, float]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, rest = (entry / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
            except (OSError, IndexError):
                continue  # it has just ended
            fields = rest.split()
            parents[int(entry.name)] = int(fields[1])
            found[int(entry.name)] = (name, (int(fields[11]) + int(fields[12])) / TICKS_S)
    for pid, (name, seconds) in found.items():
        if pid == os.getpid():
            spent["publisher"] += seconds
        elif descends(pid, server_pid, parents):
            spent[{"postgres": "database", "mosquitto": "broker"}.get(name, "server")] += seconds
    return spent


def descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    """Whether a process is the ancestor or below it."""
    while pid > 1:
        if pid == ancestor:
            return True
        pid = parents.get(pid, 0)
    return False
