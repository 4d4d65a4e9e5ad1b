"""All detectors of the enabled rules, fed with one block.

This is the one place that knows which detector reads which part of a block.
Pure: a block in, detections out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alerting.detectors.camera_events import CameraEvents
from alerting.detectors.sta_lta import StaLta
from alerting.detectors.threshold import Threshold
from alerting.detectors.vehicle_cover import VehicleCover
from alerting.detectors.vibration_limit import VibrationLimit
from alerting.rules import Rule
from domain.alerts import Alert, Detection
from domain.devices import Device
from domain.readings import Block, Readings


class DetectorBank:
    """The detectors of a list of rules.

    ``metric_names``: names by metric key, as they stand now; new ones may appear
    at any time and are picked up with the next block.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        device: Callable[[int], Device | None],
        metric_names: Callable[[], Sequence[str]],
    ) -> None:
        live = [rule for rule in rules if rule.enabled]
        self._metric_names = metric_names
        self._keys: dict[str, int] = {}
        self._names: Sequence[str] = ()
        self._known = 0
        self.thresholds = [Threshold(r) for r in live if r.detector == "threshold"]
        self.limits = [VibrationLimit(r, device) for r in live if r.detector == "vibration_limit"]
        self.shaking = [StaLta(r) for r in live if r.detector == "sta_lta"]
        self.cameras = [CameraEvents(r) for r in live if r.detector == "camera_event"]
        self.covers = [VehicleCover(r) for r in live if r.detector == "vehicle_cover"]

    def feed(self, block: Block) -> list[Detection]:
        """What the block's rows made known; in event order per device and rule."""
        found: list[Detection] = []
        if len(block.readings):
            found += self._feed_readings(block.readings)
        for packets in block.waveforms:
            for limit in self.limits:
                found += limit.feed_waveforms(packets)
            for shaking in self.shaking:
                found += shaking.feed(packets)
        if block.camera_events:
            for camera in self.cameras:
                found += camera.feed(block.camera_events)
        if block.positions:
            for cover in self.covers:
                found += cover.feed(block.positions)
        return found

    def restore(self, alert: Alert, newest_us: int, episode_us: int) -> None:
        """Tell the detector of an active alert's rule that the episode goes on."""
        key, severity = alert.device, alert.severity
        for threshold in self.thresholds:
            if threshold.rule.id == alert.rule:
                threshold.restore(key, episode_us, newest_us, severity, alert.value)
        for limit in self.limits:
            if limit.rule.id == alert.rule:
                limit.restore(key, episode_us, newest_us, severity, alert.value, alert.limit)
        for shaking in self.shaking:
            if shaking.rule.id == alert.rule:
                shaking.restore(key, episode_us, newest_us, severity, alert.value)
        for camera in self.cameras:
            if camera.rule.id == alert.rule:
                camera.restore(key, episode_us, newest_us, severity, alert.evidence.get("features", {}))
        for cover in self.covers:
            if cover.rule.id == alert.rule:
                cover.restore(key, episode_us, newest_us)

    def _feed_readings(self, readings: Readings) -> list[Detection]:
        keys = self._metric_keys()
        found: list[Detection] = []
        for threshold in self.thresholds:
            metric = keys.get(threshold.settings.metric)
            if metric is not None:
                found += threshold.feed(readings, metric)
        for limit in self.limits:
            ppv = keys.get(limit.settings.ppv_metric)
            if ppv is not None:
                found += limit.feed_readings(readings, ppv, keys.get(limit.settings.freq_metric))
        return found

    def _metric_keys(self) -> dict[str, int]:
        names = self._metric_names()
        if names is not self._names or len(names) != self._known:
            self._names = names
            self._keys = {name: key for key, name in enumerate(names) if name}
            self._known = len(names)
        return self._keys
