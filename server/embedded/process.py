"""Children that never outlive us, and the orphans of a server that was killed.

A child gets a parent death signal and a session of its own: Ctrl-C in the terminal
reaches only us, and we stop the children in order. Refuses to signal a process that
it cannot recognise: an orphan is one of our programs whose working directory is the
home's own folder. A death signal follows the *thread* that started the child, so
children are started from the main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from domain.errors import EmbeddedError
from server.embedded.privileges import RunAs

T = TypeVar("T")

#: What a log may grow to before its older half is set aside, in bytes.
LOG_BYTES_MAX = 32 * 1024 * 1024

#: Step after step: the signal and how long the process has to follow it, in seconds.
StopPlan = Sequence[tuple[signal.Signals, float]]


class Child:
    """One running program. Made by `start`; `exited` tells its end."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.pid = popen.pid
        self.log = log
        self._popen = popen
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(popen.pid)
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(self._pidfd, self._on_exit)

    @classmethod
    def start(
        cls, name: str, program: Sequence[str], *, run_as: RunAs, death_signal: str, cwd: Path, log: Path
    ) -> Child:
        """Start ``program`` with its output appended to ``log``."""
        trim_log(log)
        with open(log, "ab") as output:
            popen = subprocess.Popen(
                run_as.command(death_signal, *program),
                cwd=cwd,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return cls(name, popen, log)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = self._popen.wait()
        if not self.exited.done():
            self.exited.set_result(code)

    @property
    def running(self) -> bool:
        """False once the program has ended."""
        return not self.exited.done()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the program still runs."""
        if self.running:
            self._popen.send_signal(number)

    async def stop(self, plan: StopPlan) -> None:
        """Ask ever less politely until it is gone; it is gone when this returns."""
        for number, patience_s in (*plan, (signal.SIGKILL, 10.0)):
            self.signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.exited), patience_s)
                return

    def obituary(self) -> str:
        """Why it ended, for people: the code and the log's last lines."""
        code = self.exited.result() if self.exited.done() else None
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
        return f"{self.name} {how}; the end of {self.log} says: {log_tail(self.log)}"


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Run blocking work in a thread; a cancellation waits until it has ended.

    What it does in the home must not go on after the home's lock is given back.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def clean_environment() -> dict[str, str]:
    """A child's environment: nothing of ours that could steer it (``PGDATA``, ``LD_…``)."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def log_tail(log: Path, lines: int = 6, bytes_max: int = 8192) -> str:
    """The last lines of a log as one line of text."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - bytes_max))
            text = file.read().decode(errors="replace")
    except OSError:
        return "(no log)"
    return " | ".join(line.strip() for line in text.strip().splitlines()[-lines:]) or "(nothing)"


def trim_log(log: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
    """Keep a log within its bound: one older file beside it, then begin anew.

    The programs append, so cutting the file to nothing under them is safe; lines that
    come in that instant are lost.
    """
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > bytes_max:
            shutil.copyfile(log, log.with_name(log.name + ".1"))
            os.truncate(log, 0)


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it does not run (any more).

    With the process id it names one process for good: ids are given out again.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name in parentheses may itself hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def processes_at(folder: Path, program: str) -> list[int]:
    """Processes of ``program`` that work in ``folder``, oldest first."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    found = [pid for pid in pids if _works_at(pid, folder, program)]
    return sorted(found, key=lambda pid: (start_ticks(pid) or 0, pid))


def _works_at(pid: int, folder: Path, program: str) -> bool:
    try:
        return (
            os.readlink(f"/proc/{pid}/cwd") == str(folder)
            and os.path.basename(os.readlink(f"/proc/{pid}/exe")).removesuffix(" (deleted)") == program
        )
    except OSError:
        return False


async def stop_orphans(folder: Path, program: str, plan: StopPlan) -> int:
    """Stop what a killed server left running in ``folder``; how many there were.

    The oldest is asked first: PostgreSQL's postmaster ends its own backends.
    """
    orphans = processes_at(folder, program)
    left = orphans
    for number, patience_s in (*plan, (signal.SIGKILL, 10.0)):
        if not left:
            return len(orphans)
        for pid in left if number is signal.SIGKILL else left[:1]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        left = await _until_gone(folder, program, patience_s)
    if left:
        raise EmbeddedError(f"{program} (process {left[0]}) of an earlier start does not end; end it by hand")
    return len(orphans)


async def _until_gone(folder: Path, program: str, patience_s: float) -> list[int]:
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        left = processes_at(folder, program)
        if not left or asyncio.get_running_loop().time() > deadline:
            return left
        # Not our children: there is nothing to await, only /proc to look at.
        await asyncio.sleep(0.02)
