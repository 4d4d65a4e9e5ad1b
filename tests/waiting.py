"""Waiting for a state with a deadline: tests never sleep for a fixed time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

DEADLINE_S = float(os.environ.get("TEST_DEADLINE_S", "20"))
STEP_S = 0.02


async def until(reached: Callable[[], Awaitable[bool]], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Return once ``reached()`` is true; fail naming ``what`` at the deadline."""
    end = time.monotonic() + deadline_s
    while not await reached():
        assert time.monotonic() < end, f"not reached within {deadline_s} s: {what}"
        await asyncio.sleep(STEP_S)


async def ended(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks until they have ended.

    Again and again: before Python 3.12 ``asyncio.wait_for``, which the connection pool waits with, can
    swallow a cancellation.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=0.5)
