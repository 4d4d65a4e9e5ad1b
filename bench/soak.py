"""Memory of a server with 10,000 devices under a steady load, and whether it stays flat.

``python -m bench.soak [MINUTES] [RATE] [DEVICES]``; 2 minutes, 3,000 msg/s and 10,000
devices unless said otherwise. It prints the resident memory of the server process (not
of database and broker) every few seconds, the slope over the last two thirds of the
time, where all devices have been met, and what that comes to in 30 minutes.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from bench.server import running_server, wait_quiet

MINUTES, RATE, DEVICES = 2.0, 3000, 10_000
EVERY_S = 5.0
LARGEST_MB = 600
FLAT = 0.1
"""Flat: in 30 minutes it would grow by less than this share of itself."""


def main() -> None:
    """Print the table."""
    given = [float(argument) for argument in sys.argv[1:]]
    minutes, rate, devices = given + [MINUTES, RATE, DEVICES][len(given) :]
    wrong = soak(minutes, rate, int(devices))
    print("; ".join(wrong) or "memory is bounded and flat, nothing is lost")
    raise SystemExit(bool(wrong))


def soak(minutes: float, rate: float, devices: int) -> list[str]:
    """Run it and print the table; returns what is not as it must be, in words."""
    with running_server() as server:
        wait_quiet(server)
        print(f"{rate:,.0f} msg/s of {devices:,} devices; before: {resident_mb(server.pid):.0f} MB")
        arguments = ["--rate", str(rate), "--devices", str(devices), "--duration", str(minutes * 60)]
        load = server.background("load", *arguments, "--as-live", "--json")
        began, rows = time.monotonic(), []
        while load.poll() is None and time.monotonic() - began < minutes * 60:
            time.sleep(EVERY_S)
            rows.append((time.monotonic() - began, resident_mb(server.pid)))
            print(f"{rows[-1][0]:>7.0f} s {rows[-1][1]:>7.0f} MB", flush=True)
        said, errors = load.communicate()
        if not said:
            raise SystemExit(errors)
        times, mb = np.array(rows[len(rows) // 3 :]).T
        slope = float(np.polyfit(times / 60, mb, 1)[0])
        largest = max(row[1] for row in rows)
        print(f"largest {largest:.0f} MB, slope {slope:+.2f} MB a minute, {30 * slope:+.0f} MB in 30 minutes")
        account = json.loads(said)
        kept = ("published", "acknowledged", "stored", "lost", "duplicated", "msg_s")
        print("account " + ", ".join(f"{name} {account[name]:,}" for name in kept))
    checks = {
        f"{account['lost']} messages lost": account["lost"] == 0,
        f"{largest:.0f} MB are more than {LARGEST_MB}": largest < LARGEST_MB,
        f"it grows by {30 * slope:.0f} MB in 30 minutes": 30 * slope < FLAT * largest,
    }
    return [words for words, right in checks.items() if not right]


def resident_mb(pid: int) -> float:
    """Resident memory of one process."""
    status = (Path("/proc") / str(pid) / "status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
