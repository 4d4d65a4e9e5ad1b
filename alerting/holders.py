"""Which rule judges which device at which event time, for whole columns at once.

Rules of one slot (same kind, detector and metric) stand in for each other: of those
that are enabled, in force at the row's event time and apply to the device, the most
specific one holds; of two equally specific ones the first by id. Verdicts are kept
by device key until ``forget``: call it when the registry has changed. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from alerting.detectors.base import DeviceOf, Rule
from domain.devices import Device
from domain.readings import Block, Bool, CameraEvent, DeviceStatus, Int32, Int64, Position, Waveforms

UNASKED, NOBODY = -2, -1
Verdicts = NDArray[np.int16]
Row = TypeVar("Row", CameraEvent, DeviceStatus, Position)


@dataclass(slots=True)
class _Slot:
    """Rules that stand in for each other; ``bounds``: event times at which another may hold."""

    rules: list[Rule]
    bounds: Int64
    trivial: bool = field(init=False)  # one rule for all devices and all times
    verdicts: dict[int, Verdicts] = field(default_factory=dict)  # span between bounds → by device key

    def __post_init__(self) -> None:
        self.trivial = len(self.rules) == 1 and self.rules[0].applies_to.everywhere and not len(self.bounds)


class Holders:
    """Who judges, over the enabled ones of some rules."""

    def __init__(self, rules: Sequence[Rule], device: DeviceOf) -> None:
        self._device = device
        slots: dict[tuple[str, str, str], list[Rule]] = {}
        for rule in sorted(rules, key=lambda rule: rule.id):
            if rule.enabled:
                slots.setdefault(rule.slot, []).append(rule)
        self._slot: dict[str, tuple[_Slot, int]] = {}
        for mates in slots.values():
            times = {t for r in mates for t in (r.valid_from_us, r.valid_to_us) if t is not None}
            slot = _Slot(mates, np.array(sorted(times), np.int64))
            self._slot |= {rule.id: (slot, at) for at, rule in enumerate(mates)}

    def forget(self) -> None:
        """Ask the registry anew about every device."""
        for slot, _ in self._slot.values():
            slot.verdicts.clear()

    def is_for_all(self, rule_id: str) -> bool:
        """Whether this rule judges every device at all times."""
        return self._slot[rule_id][0].trivial

    def holds(self, rule_id: str, device: int, at_us: int) -> bool:
        """Whether this rule judges this device at this event time."""
        if rule_id not in self._slot:
            return False
        mine = self.mine(rule_id, np.array([device], np.int32), np.array([at_us], np.int64))
        return mine is None or bool(mine[0])

    def part(self, rule_id: str, block: Block) -> Block:
        """The rows of a block which this rule judges; the block itself when that is all."""
        if self.is_for_all(rule_id):
            return block
        events = _kept(self._of(rule_id, block.camera_events), block.camera_events)
        positions = _kept(self._of(rule_id, block.positions), block.positions)
        statuses = _kept(self._of(rule_id, block.statuses), block.statuses)
        r = block.readings
        waveforms = tuple(
            part
            for w in block.waveforms
            if len(part := some_packets(w, self.mine(rule_id, w.device, w.start_us)))
        )
        mine = self.mine(rule_id, r.device, r.time_us)
        readings = r if mine is None else r.take(mine)
        return Block(readings, waveforms, statuses, events, positions, block.committed_us)

    def _of(self, rule_id: str, rows: Sequence[CameraEvent | DeviceStatus | Position]) -> Bool | None:
        if not rows:
            return None
        device = np.array([row.device for row in rows], np.int32)
        return self.mine(rule_id, device, np.array([row.time_us for row in rows], np.int64))

    def mine(self, rule_id: str, device: Int32, time_us: Int64) -> Bool | None:
        """Which rows ``(n,)`` are this rule's; None = all."""
        slot, at = self._slot[rule_id]
        if slot.trivial or not len(device):
            return None
        if not len(slot.bounds):
            mine: Bool = self._verdicts(slot, 0, device) == at
        else:
            span = np.searchsorted(slot.bounds, time_us, side="right")
            mine = np.zeros(len(device), np.bool_)
            for number in np.unique(span).tolist():
                rows = np.flatnonzero(span == number)
                mine[rows] = self._verdicts(slot, number, device[rows]) == at
        return None if mine.all() else mine

    def _verdicts(self, slot: _Slot, span: int, device: Int32) -> Verdicts:
        """The place in ``slot.rules`` of the rule that holds for each device, in one span of time."""
        known = slot.verdicts.get(span, np.zeros(0, np.int16))
        top = int(device.max())
        if top >= len(known):
            more = np.full(max(top + 1, 2 * len(known), 1024) - len(known), UNASKED, np.int16)
            known = slot.verdicts[span] = np.concatenate([known, more])
        verdicts = known[device]
        unasked = verdicts == UNASKED
        if unasked.any():
            begins_us = int(slot.bounds[span - 1]) if span else -(1 << 62)
            for key in np.unique(device[unasked]).tolist():
                known[key] = _most_specific(slot.rules, self._device(key) or Device(key, "", ""), begins_us)
            verdicts = known[device]
        return verdicts


def _most_specific(rules: Sequence[Rule], device: Device, at_us: int) -> int:
    best, place = None, NOBODY
    for number, rule in enumerate(rules):
        specificity = rule.applies_to.specificity(device) if rule.valid_at(at_us) else None
        if specificity is not None and (best is None or specificity > best):
            best, place = specificity, number
    return place


def _kept(mine: Bool | None, rows: tuple[Row, ...]) -> tuple[Row, ...]:
    return rows if mine is None else tuple(row for row, keep in zip(rows, mine.tolist(), strict=True) if keep)


def some_packets(w: Waveforms, take: Bool | None) -> Waveforms:
    """The packets where ``take`` is true; None = all."""
    if take is None:
        return w
    return Waveforms(
        w.device[take], w.start_us[take], w.rate_hz, w.unit, w.samples[take], w.axes[take], w.seq[take],
        w.received_us[take], w.late[take],
    )  # fmt: skip
