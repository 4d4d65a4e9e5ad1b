"""Up to where readings are rolled, as the writer must know it: what comes in before that is marked.

No commit is under way while the horizon moves or marks are forgotten (``standing``; several
commits may be), so a roll or a recomputation that begins afterwards sees every row that was not marked.
The rest is pure: columns in, columns out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from domain.readings import Int32, Int64, Readings

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
NEVER = np.iinfo(np.int64).min
HOUR_BITS = 32
HOUR_MASK = (1 << HOUR_BITS) - 1

MARKED_MAX = 200_000
"""Marks remembered as waiting; beyond, all are forgotten and some are written a second time."""


@dataclass(frozen=True, slots=True)
class Marks:
    """(device, hour) pairs that a commit marks as dirty, ``(n,)`` each."""

    device: Int32
    hour_us: Int64

    def __len__(self) -> int:
        return len(self.device)


class Horizon:
    """What is rolled, which devices sent what since, and which marks are waiting already."""

    def __init__(self) -> None:
        self._at_us = NEVER
        self._newest: Int64 = np.full(1024, NEVER, dtype=np.int64)
        self._marked: set[int] = set()
        self._under_way, self._moving = 0, 0
        self._changed = asyncio.Condition()

    @property
    def at_us(self) -> int:
        """Rows before this time are marked; NEVER until the first ``move``: nothing is."""
        return self._at_us

    @asynccontextmanager
    async def standing(self) -> AsyncIterator[None]:
        """A commit, from its marks to its end, is within this."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._moving)
            self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            await asyncio.shield(self._tell())

    @asynccontextmanager
    async def _still(self) -> AsyncIterator[None]:
        """No commit is under way, and none begins."""
        async with self._changed:
            self._moving += 1
            try:
                await self._changed.wait_for(lambda: not self._under_way)
                yield
            finally:
                self._moving -= 1
                self._changed.notify_all()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def move(self, at_us: int) -> None:
        """From now on rows before ``at_us`` are marked; returns once all unmarked ones are committed."""
        async with self._still():
            self._at_us = max(self._at_us, at_us)

    async def forget(self, pairs: Iterable[tuple[int, int]]) -> None:
        """These (device, hour_us) are about to be recomputed: what comes from now on marks them again."""
        codes = {code_of(device, hour_us) for device, hour_us in pairs}
        async with self._still():
            self._marked -= codes

    def marks(self, readings: Readings) -> Marks:
        """The marks that a commit of these rows needs; also remembers the devices' newest times."""
        if not len(readings):
            return Marks(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64))
        self._see(readings.device, readings.time_us)
        old = readings.time_us < self._at_us
        if not old.any():
            return Marks(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64))
        codes = np.unique(readings.device[old].astype(np.int64) << HOUR_BITS | readings.time_us[old] // HOUR_US)
        new = [code for code in codes.tolist() if code not in self._marked]
        codes = np.array(new, dtype=np.int64)
        return Marks((codes >> HOUR_BITS).astype(np.int32), (codes & HOUR_MASK) * HOUR_US)

    def committed(self, marks: Marks) -> None:
        """These marks are durable: they need not be written again until they are worked off."""
        if len(self._marked) + len(marks) > MARKED_MAX:
            self._marked.clear()
        self._marked.update((marks.device.astype(np.int64) << HOUR_BITS | marks.hour_us // HOUR_US).tolist())

    def begin(self, newest: Iterable[tuple[int, int]]) -> None:
        """What a process before this one committed and nobody has rolled: (device, newest time)."""
        pairs = list(newest)
        self._see(
            np.array([device for device, _ in pairs], dtype=np.int32),
            np.array([time_us for _, time_us in pairs], dtype=np.int64),
        )

    def active(self, since_us: int) -> list[int]:
        """Devices that may have rows from ``since_us`` on."""
        return [int(device) for device in np.flatnonzero(self._newest >= since_us)]

    def _see(self, device: Int32, time_us: Int64) -> None:
        if not len(device):
            return
        if (top := int(device.max())) >= len(self._newest):
            more = np.full(max(top + 1, 2 * len(self._newest)) - len(self._newest), NEVER, dtype=np.int64)
            self._newest = np.concatenate([self._newest, more])
        np.maximum.at(self._newest, device, time_us)


def code_of(device: int, hour_us: int) -> int:
    """One number for each (device, hour)."""
    return device << HOUR_BITS | hour_us // HOUR_US


def floor_us(time_us: int, unit_us: int) -> int:
    """Where the minute or hour of a time begins."""
    return time_us // unit_us * unit_us
