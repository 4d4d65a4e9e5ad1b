"""A run: its id, its clock, and the pace at which its messages are sent.

A run's clock is the time its messages live in. It starts at ``start_us`` and runs
``speed`` times as fast as the wall clock; at ``max`` it simply jumps from message
to message. Every message carries its own moment of that clock as the MQTT 5 user
property ``gridpulse-clock``, so that shifted and fast traffic is neither late nor early.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from domain.clock import US_PER_S, from_us, to_us
from domain.errors import GridpulseError
from simulators.devices import Emission

CLOCK_PROPERTY = "gridpulse-clock"
LIVE_PREFIX = "runs/live/"
MAX_SPEED = math.inf
RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
RUN_PREFIX = re.compile(r"runs/[A-Za-z0-9._-]{1,64}/")

NAP_S_MAX = 0.5
"""The longest sleep in one piece, so that a progress bar moves."""


def run_id(kind: str, now: datetime, token: str) -> str:
    """``sim-20261123-142305-k3f9``: what made it, when, and four characters against collisions."""
    name = f"{kind}-{now:%Y%m%d-%H%M%S}-{token}"
    assert RUN_ID.fullmatch(name)
    return name


def topic_prefix(run: str | None) -> str:
    """Where a run publishes; ``None`` is live."""
    return LIVE_PREFIX if run is None else f"runs/{run}/"


def clock_text(us: int) -> str:
    """The property's value: epoch seconds."""
    return f"{us // US_PER_S}.{us % US_PER_S:06d}"


def parse_speed(text: str) -> float:
    """``1``, ``10``, ``0.5`` or ``max``. Raises: GridpulseError."""
    if text == "max":
        return MAX_SPEED
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not (math.isfinite(speed) and speed > 0):
        raise GridpulseError(f"--speed {text}: give a number above 0 (10 is ten times as fast), or max")
    return speed


def placed_start_us(now_us: int, duration_us: int, speed: float) -> int:
    """Where a run must start so that its last message's time is the wall time it is sent at.

    A run faster than the wall clock that started *now* would end in the future,
    and a person would read "in 5 minutes" on the page. So it starts earlier by
    what it gains: ``duration * (1 - 1/speed)``; at speed 1 that is now.
    """
    if speed <= 1:
        return now_us
    return now_us - round(duration_us * (1.0 - 1.0 / speed))


def parse_start(text: str, now_us: int) -> int:
    """``now``, epoch seconds or ISO 8601 with a zone, in microseconds. Raises: GridpulseError."""
    if text == "now":
        return now_us
    try:
        return round(float(text) * US_PER_S)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            raise ValueError("no zone")
    except ValueError as error:
        raise GridpulseError(
            f"--start-at {text}: give now, epoch seconds, or a time with its zone as 2026-11-23T08:00:00+08:00"
        ) from error
    return to_us(when)


@dataclass(frozen=True, slots=True)
class RunClock:
    """``start_us`` of the run was the monotonic clock's ``began_s``; then it runs at ``speed``."""

    start_us: int
    speed: float
    began_s: float

    def due_s(self, at_us: int) -> float:
        """When a message of this run time is due on the monotonic clock; at max, at once."""
        if math.isinf(self.speed):
            return self.began_s
        return self.began_s + (at_us - self.start_us) / US_PER_S / self.speed


async def paced(
    emissions: Iterable[Emission],
    clock: RunClock,
    monotonic: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> AsyncIterator[Emission]:
    """Each message when it is due, never before. Late ones come at once: nothing is skipped."""
    for emission in emissions:
        due_s = clock.due_s(emission.at_us)
        while (wait_s := due_s - monotonic()) > 0:
            await sleep(min(wait_s, NAP_S_MAX))
        yield emission


def describe_times(start_us: int, duration_s: float, speed: float) -> str:
    """One line for a person: which time the run plays, and how long that takes."""
    start, end = from_us(start_us), from_us(start_us + round(duration_s * US_PER_S))
    pace = "as fast as it goes" if math.isinf(speed) else f"in {duration_s / speed:,.0f} s at speed {speed:g}"
    return f"{start:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC, {pace}"
