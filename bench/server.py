"""A whole server in a process and a home of its own, for benchmarks."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from api.accounts import seed_demo_accounts
from bench.cpu import seconds_by_part
from db.pool import connect
from simulators.city import seed_demo

GRIDPULSE = [sys.executable, "-m", "server.cli"]
START_WITHIN_S = 120.0
QUIET_SHARE = 0.1
"""Of a core: below it the server has done what it does in the background after its start."""


@dataclass(frozen=True)
class Running:
    """Addresses of the running server."""

    environment: dict[str, str]
    base_url: str
    database_url: str
    mqtt_url: str
    pid: int

    def cli(self, *arguments: str) -> str:
        """Standard output of a gridpulse command."""
        done = subprocess.run([*GRIDPULSE, *arguments], env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"gridpulse {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def background(self, *arguments: str) -> subprocess.Popen[str]:
        """A gridpulse command that runs beside the benchmark."""
        pipe = subprocess.PIPE
        return subprocess.Popen([*GRIDPULSE, *arguments], env=self.environment, stdout=pipe, stderr=pipe, text=True)


@contextmanager
def running_server() -> Iterator[Running]:
    """``gridpulse up`` with the demo city and without its traffic."""
    folder = Path(tempfile.mkdtemp(prefix="gridpulse-bench-"))
    kept = (n for n in os.environ if not n.startswith("GRIDPULSE_") or n == "GRIDPULSE_CACHE")
    environment = {name: os.environ[name] for name in kept}
    environment |= {
        "GRIDPULSE_HOME": str(folder / "home"), "GRIDPULSE_HTTP_PORT": str(free_port()),
        "GRIDPULSE_MQTT_PORT": str(free_port()), "GRIDPULSE_AUTO_REGISTER": "true",
        "GRIDPULSE_RUNS_AS_LIVE": "true",
    }  # fmt: skip
    base_url = f"http://127.0.0.1:{environment['GRIDPULSE_HTTP_PORT']}"
    process = subprocess.Popen([*GRIDPULSE, "up", "--no-demo"], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_ready(base_url, process)
        doctor = json.loads(
            subprocess.run([*GRIDPULSE, "doctor", "--json"], env=environment, capture_output=True, text=True).stdout
        )
        asyncio.run(seed(doctor["database_url"]))
        yield Running(environment, base_url, doctor["database_url"], doctor["mqtt_url"], process.pid)
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def wait_ready(base_url: str, process: subprocess.Popen[bytes]) -> None:
    """Until ``/readyz`` says yes."""
    end = time.monotonic() + START_WITHIN_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urlopen(f"{base_url}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not get ready")


def wait_quiet(server: Running, patience_s: float = 90.0) -> None:
    """Until the server has made its search of addresses and whatever else it makes after its start."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        before = seconds_by_part(server.pid)["server"]
        time.sleep(1.0)
        if seconds_by_part(server.pid)["server"] - before < QUIET_SHARE:
            return


async def seed(database_url: str) -> None:
    """The demo city and its accounts."""
    async with await connect(database_url, name="bench") as conn:
        await seed_demo(conn)
        await seed_demo_accounts(conn)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
