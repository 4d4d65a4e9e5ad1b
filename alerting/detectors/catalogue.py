"""The detectors by the name a rule calls them. A new one is a module and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alerting.detectors.base import Detector, DeviceOf, Rule, RuleSettings
from alerting.detectors.camera_events import CameraEvents, CameraSettings
from alerting.detectors.sta_lta import StaLta, StaLtaSettings
from alerting.detectors.threshold import Threshold, ThresholdSettings
from alerting.detectors.vehicle_cover import VehicleCover, VehicleCoverSettings
from alerting.detectors.vibration_limit import VibrationLimit, VibrationLimitSettings


@dataclass(frozen=True, slots=True)
class DetectorType:
    """How the settings of a detector's rules are read, and how it is made for one rule."""

    settings: type[RuleSettings]
    make: Callable[[Rule, DeviceOf], Detector]


DETECTORS: dict[str, DetectorType] = {
    "threshold": DetectorType(ThresholdSettings, lambda rule, device: Threshold(rule)),
    "vibration_limit": DetectorType(VibrationLimitSettings, VibrationLimit),
    "sta_lta": DetectorType(StaLtaSettings, lambda rule, device: StaLta(rule)),
    "camera_event": DetectorType(CameraSettings, lambda rule, device: CameraEvents(rule)),
    "vehicle_cover": DetectorType(VehicleCoverSettings, lambda rule, device: VehicleCover(rule)),
}
