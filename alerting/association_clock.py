"""Device clocks that cannot be right, told from data that is merely late. Pure.

A packet whose event time is far from its arrival is one of two things. Late data
(a gateway that was away, a backfill) comes faster than it was made, so its lag falls;
and when the whole network lags alike, the way is slow and no clock is wrong. A
wrong clock lags by the same amount for as long as one looks. So a device is named when its
lag held within ``STEADY_S`` for ``WATCHED_S`` of arrivals and is far from what the
others' is. Time that lies ahead of its arrival is wrong at once: no data comes from the future.

State is four arrays with a row a device; a run's arrivals are on the run's own clock.
"""

from __future__ import annotations

import numpy as np

from alerting.detectors.rows import grown
from domain.readings import Block, Int32, Int64

OFF_US = 60_000_000
"""Beyond this between clock and arrival the clock is in question."""

AHEAD_US = 10_000_000
STEADY_US = 5_000_000
WATCHED_US = 20_000_000
OTHERS_US = 60_000_000


class ClockWatch:
    """How far each device's clock is from its arrivals; rows are device keys."""

    def __init__(self) -> None:
        self._lag: Int64 = np.zeros(0, np.int64)
        self._held: Int64 = np.zeros(0, np.int64)
        self._since: Int64 = np.zeros(0, np.int64)
        self._heard: Int64 = np.zeros(0, np.int64)

    def watch(self, block: Block) -> None:
        """Take the lags of a block's readings and packets."""
        if len(block.readings):
            r = block.readings
            self._take(r.device, r.time_us, r.received_us)
        for w in block.waveforms:
            self._take(w.device, w.end_us, w.received_us)

    def _take(self, device: Int32, time_us: Int64, received_us: Int64) -> None:
        top = int(device.max()) + 1
        for name in ("_lag", "_held", "_since", "_heard"):
            setattr(self, name, grown(getattr(self, name), top))
        self._lag[device] = received_us - time_us  # of one device's several the last
        moved = np.abs(self._lag[device] - self._held[device]) > STEADY_US
        moved |= self._heard[device] == 0
        fresh = device[moved]
        self._held[fresh] = self._lag[fresh]
        self._since[fresh] = received_us[moved]
        self._heard[device] = received_us

    def offset_us(self, device: int) -> int:
        """Device clock minus truth, 0 when there is no reason to doubt it."""
        if device >= len(self._lag) or self._heard[device] == 0:
            return 0
        lag, now = int(self._lag[device]), int(self._heard[device])
        if lag < -AHEAD_US:
            return -lag
        if lag <= OFF_US or now - int(self._since[device]) < WATCHED_US:
            return 0
        others = (np.abs(self._heard - now) <= OTHERS_US) & (self._heard > 0)
        others[device] = False
        usual = int(np.median(self._lag[others])) if others.any() else 0
        return -lag if lag - usual > OFF_US else 0
