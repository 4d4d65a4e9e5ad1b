"""How far each series was fed: the newest event time of each device's metrics, packets and other messages.

What lies behind it in the database was not fed. One array per metric, one entry per
device key; late rows do not count, detectors skip them. Bounded by ``CELLS_MAX``:
series beyond it are not noted (``full``), and are not fed again after a restart. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerting.detectors.rows import NEVER
from domain.readings import Block, Bool, Int32, Int64

PACKETS, POSITIONS, CAMERA_EVENTS, STATUSES = -1, -2, -3, -4
"""Series of a device beside its metrics."""

CELLS_MAX = 32_000_000


class Fed:
    """Newest event time by series (a metric's key, or one of the above) and device key."""

    def __init__(self) -> None:
        self._newest: dict[int, Int64] = {}
        self._cells = 0
        self.full = False

    def note(self, block: Block) -> None:
        """These rows were fed."""
        rows = block.readings.by_series
        for metric, span in rows.spans.items():
            self._note(metric, rows.device[span], rows.time_us[span])
        for w in block.waveforms:
            live = np.flatnonzero(~w.late)
            self._note(PACKETS, w.device[live], w.start_us[live])
        for series, events in ((POSITIONS, block.positions), (CAMERA_EVENTS, block.camera_events)):
            self._note_rows(series, [(e.device, e.time_us) for e in events if not e.late])
        self._note_rows(STATUSES, [(s.device, s.time_us) for s in block.statuses])

    def newest(self, series: int) -> tuple[Int32, Int64]:
        """Devices of a series with data, and the newest event time of each."""
        newest = self._newest.get(series, np.zeros(0, np.int64))
        device: Int32 = np.flatnonzero(newest != NEVER).astype(np.int32)
        return device, newest[device]

    def series(self) -> list[int]:
        """The series that were fed."""
        return sorted(self._newest)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """All of it as columns: series, device, newest."""
        none = np.zeros(0, np.int32)
        parts = [(none, none, none.astype(np.int64))]
        for series in self.series():
            device, newest = self.newest(series)
            parts.append((np.full(len(device), series, np.int32), device, newest))
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return dict(zip(("series", "device", "newest"), columns, strict=True))

    def load(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take up what ``snapshot`` gave."""
        for series in np.unique(saved["series"]).tolist():
            mine: Bool = saved["series"] == series
            self._note(series, saved["device"][mine], saved["newest"][mine])

    def _note_rows(self, series: int, rows: Sequence[tuple[int, int]]) -> None:
        if rows:
            device, time_us = zip(*rows, strict=True)
            self._note(series, np.array(device, np.int32), np.array(time_us, np.int64))

    def _note(self, series: int, device: Int32 | Int64, time_us: Int64) -> None:
        if not len(device):
            return
        try:
            np.maximum.at(self._newest[series], device, time_us)
        except (KeyError, IndexError):  # seldom; and a newest time may be noted twice
            if self._hold(series, int(device.max())):
                np.maximum.at(self._newest[series], device, time_us)

    def _hold(self, series: int, top: int) -> bool:
        """Make room up to this device key; False, and there is none, when it would be too much."""
        newest = self._newest.get(series, np.zeros(0, np.int64))
        size = max(top + 1, 2 * len(newest), 64)
        if self._cells + size - len(newest) > CELLS_MAX:
            self.full = True
            return False
        self._cells += size - len(newest)
        self._newest[series] = np.concatenate([newest, np.full(size - len(newest), NEVER, np.int64)])
        return True
