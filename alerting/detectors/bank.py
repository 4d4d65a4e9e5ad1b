"""All detectors of the enabled rules, fed with one block.

Pure: a block in, detections out. A reading that cannot be (``physical_range``) is
shown only to detectors that look at the sensor itself: -127 °C is no cold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from alerting.detectors.base import Detector, DeviceOf, Rule
from alerting.detectors.catalogue import DETECTORS
from alerting.detectors.physical_range import PhysicalRange
from domain.alerts import Alert, Detection
from domain.readings import Block


class DetectorBank:
    """The detectors of a list of rules.

    ``metric_names``: names by metric key, as they stand now; new ones may appear
    at any time and are picked up with the next block.
    """

    def __init__(self, rules: Sequence[Rule], device: DeviceOf, metric_names: Callable[[], Sequence[str]]) -> None:
        self._metric_names = metric_names
        self._keys: dict[str, int] = {}
        self._names: Sequence[str] = ()
        self._known = 0
        self.detectors: dict[str, Detector] = {
            rule.id: DETECTORS[rule.detector].make(rule, device) for rule in rules if rule.enabled
        }

    def feed(self, block: Block) -> list[Detection]:
        """What the block's rows made known; in event order per device and rule."""
        metrics = self._metric_keys()
        measured = self._measured(block, metrics)
        found: list[Detection] = []
        for detector in self.detectors.values():
            sees_all = DETECTORS[detector.rule.detector].sees_all
            found += detector.detect(block if sees_all else measured, metrics)
        return found

    def _measured(self, block: Block, metrics: Mapping[str, int]) -> Block:
        """The block without readings that cannot be."""
        for detector in self.detectors.values():
            if isinstance(detector, PhysicalRange) and len(block.readings):
                impossible = detector.impossible(block.readings, metrics)
                if impossible.any():
                    block = replace(block, readings=block.readings.take(~impossible))
        return block

    def restore(self, alert: Alert, newest_us: int, episode_us: int) -> None:
        """Tell the detector of an active alert's rule that the episode goes on."""
        detector = self.detectors.get(alert.rule)
        if detector is not None:
            detector.resume(alert, episode_us, newest_us)

    def _metric_keys(self) -> Mapping[str, int]:
        names = self._metric_names()
        if names is not self._names or len(names) != self._known:
            self._names = names
            self._keys = {name: key for key, name in enumerate(names) if name}
            self._known = len(names)
        return self._keys
