"""What a person sees while the server starts: one line a step, a bar for long ones on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Startup:
    """Says each step; ``progress`` draws bars on a terminal and one line a step elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._began = time.monotonic()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._said: set[str] = set()
        self.accounts: Sequence[tuple[str, str, str, str]] = ()

    def say(self, line: str) -> None:
        """One line with the seconds since the start."""
        self._end_bars()
        self._console.print(f"[{time.monotonic() - self._began:6.1f} s] {line}", markup=False)

    def progress(self, step: str, done: int, total: int) -> None:
        """How far a slow step is, in bytes or steps."""
        if not self._console.is_terminal:
            if step not in self._said:
                self._said.add(step)
                self.say(step)
            return
        if self._bars is None:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._bars = Progress(*columns, console=self._console, transient=True)
            self._bars.start()
        if step not in self._tasks:
            for earlier in self._tasks.values():  # one step at a time; what is done need not be looked at
                self._bars.update(earlier, visible=False)
            self._tasks[step] = self._bars.add_task(step, total=total or None)
        self._bars.update(self._tasks[step], completed=done, total=total or None)

    def ready(self, http_url: str, login_url: str | None) -> None:
        """Where the page is, and how to get in."""
        self.say("ready")
        write = self._console.print
        write(f"\n  Gridpulse   {http_url}", markup=False)
        if login_url:
            write(f"  log in      {login_url}   (once, within 15 minutes)", markup=False)
        for name, password, role, area in self.accounts:
            write(f"  account     {name} / {password}   {role}, {area or 'whole city'}", markup=False)
        write("  stop        Ctrl-C\n", markup=False)

    def _end_bars(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
            self._tasks.clear()
