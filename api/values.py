"""Newest values of devices, waveforms and vehicles for the live feed: thinned, newest wins.

``take`` is called from ingest's commit path and only keeps a reference, so it can
not slow ingest down; the work is done by the hub's tick, and only for what
somebody watches. What is dropped is counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from domain.clock import iso
from domain.readings import Block, Readings, Waveforms

TICK_S = 0.25
"""At most four frames a second and client."""

BLOCKS_MAX = 256
"""Blocks kept between two ticks; older ones give way."""

PACKETS_MAX = 8
"""Waveform packets of one device in one frame."""

AXES = ("x", "y", "z")


@dataclass(slots=True)
class Fresh:
    """What is new since the last tick, by device key, ready to be encoded."""

    devices: dict[int, dict[str, Any]] = field(default_factory=dict)
    waveforms: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    vehicles: dict[int, dict[str, Any]] = field(default_factory=dict)


class Board:
    """Blocks waiting for the next tick."""

    def __init__(self, *, blocks_max: int = BLOCKS_MAX) -> None:
        self.blocks: deque[Block] = deque(maxlen=blocks_max)
        self.dropped = 0

    def take(self, block: Block) -> None:
        """Keep a block for the next tick."""
        if len(self.blocks) == self.blocks.maxlen:
            self.dropped += 1
        self.blocks.append(block)

    def fresh(self, metric_names: Callable[[int], str | None], watched: set[int], *, devices: bool) -> Fresh:
        """What the waiting blocks say, newest last; empties the board.

        ``watched``: keys whose waveforms somebody watches; ``devices``: whether
        somebody watches the devices channel.
        """
        found = Fresh()
        blocks = list(self.blocks)
        self.blocks.clear()
        for block in blocks:
            if devices:
                merge_readings(found.devices, block.readings, metric_names)
                merge_statuses(found.devices, block)
            for packets in block.waveforms:
                merge_waveforms(found.waveforms, packets, watched)
            for p in block.positions:
                found.vehicles[p.device] = {
                    "t": iso(p.time_us), "lon": p.lon, "lat": p.lat, "speed_kmh": p.speed_kmh,
                    "heading_deg": p.heading_deg, "bed": p.bed, "cover": p.cover,
                }  # fmt: skip
        return found


def merge_readings(
    into: dict[int, dict[str, Any]], readings: Readings, metric_names: Callable[[int], str | None]
) -> None:
    """The newest value of each (device, metric) of a block; one Python step per pair, not per row."""
    for row in newest_rows(readings.device, readings.metric, readings.time_us):
        name = metric_names(int(readings.metric[row]))
        if name is None:
            continue
        item = into.setdefault(int(readings.device[row]), {"values": {}})
        item["t"] = max(item.get("t", ""), iso(int(readings.time_us[row])))
        item.setdefault("values", {})[name] = float(readings.value[row])


def newest_rows(device: Any, metric: Any, time_us: Any) -> Sequence[int]:
    """Rows with the newest time of each (device, metric)."""
    if len(device) == 0:
        return []
    order = np.lexsort((time_us, metric, device))
    last = np.append(
        (np.diff(device[order]) != 0) | (np.diff(metric[order]) != 0), True
    )
    rows: list[int] = order[last].tolist()
    return rows


def merge_statuses(into: dict[int, dict[str, Any]], block: Block) -> None:
    """What devices said about themselves."""
    for status in block.statuses:
        item = into.setdefault(status.device, {"values": {}})
        item["t"] = max(item.get("t", ""), iso(status.time_us))
        said = {
            "online": status.online,
            "battery_pct": status.battery_pct,
            "rssi_dbm": status.rssi_dbm,
            "firmware": status.firmware,
        }
        item.update({name: value for name, value in said.items() if value is not None})


def merge_waveforms(into: dict[int, list[dict[str, Any]]], packets: Waveforms, watched: set[int]) -> None:
    """Packets of watched devices, the newest ``PACKETS_MAX`` of each."""
    if not watched:
        return
    for row in np.flatnonzero(np.isin(packets.device, list(watched))).tolist():
        item: dict[str, Any] = {
            "t": iso(int(packets.start_us[row])), "rate_hz": packets.rate_hz, "unit": packets.unit,
        }  # fmt: skip
        for axis, name in enumerate(AXES):
            if packets.axes[row, axis]:
                item[name] = packets.samples[row, axis].astype(float).round(7).tolist()
        waiting = into.setdefault(int(packets.device[row]), [])
        waiting.append(item)
        del waiting[:-PACKETS_MAX]


def merge_items(waiting: dict[int, dict[str, Any]], new: Mapping[int, dict[str, Any]]) -> None:
    """Newest wins, field by field; ``values`` are merged by metric."""
    for key, item in new.items():
        old = waiting.get(key)
        if old is None:
            waiting[key] = item
        else:
            values = {**old.get("values", {}), **item.get("values", {})}
            waiting[key] = {**old, **item, "values": values} if values else {**old, **item}
