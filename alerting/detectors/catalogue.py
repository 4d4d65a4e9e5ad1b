"""The detectors by the name a rule calls them. A new one is a module and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alerting.detectors.base import Detector, DeviceOf, Rule, RuleSettings
from alerting.detectors.battery import Battery, BatterySettings
from alerting.detectors.camera_events import CameraEvents, CameraSettings
from alerting.detectors.clock_skew import ClockSkew, ClockSkewSettings
from alerting.detectors.flatline import Flatline, FlatlineSettings
from alerting.detectors.noisy import Noisy, NoisySettings
from alerting.detectors.physical_range import PhysicalRange, PhysicalRangeSettings
from alerting.detectors.silence import Silence, SilenceSettings
from alerting.detectors.sta_lta import StaLta, StaLtaSettings
from alerting.detectors.stuck import Stuck, StuckSettings
from alerting.detectors.threshold import Threshold, ThresholdSettings
from alerting.detectors.vehicle_cover import VehicleCover, VehicleCoverSettings
from alerting.detectors.vibration_limit import VibrationLimit, VibrationLimitSettings


@dataclass(frozen=True, slots=True)
class DetectorType:
    """How the settings of a detector's rules are read, and how it is made for one rule.

    ``sees_all``: it looks at the sensor itself, so it is shown readings that are no measurement too.
    """

    settings: type[RuleSettings]
    make: Callable[[Rule, DeviceOf], Detector]
    sees_all: bool = False


DETECTORS: dict[str, DetectorType] = {
    "threshold": DetectorType(ThresholdSettings, lambda rule, device: Threshold(rule)),
    "vibration_limit": DetectorType(VibrationLimitSettings, VibrationLimit),
    "sta_lta": DetectorType(StaLtaSettings, lambda rule, device: StaLta(rule)),
    "camera_event": DetectorType(CameraSettings, lambda rule, device: CameraEvents(rule)),
    "vehicle_cover": DetectorType(VehicleCoverSettings, lambda rule, device: VehicleCover(rule)),
    "stuck": DetectorType(StuckSettings, lambda rule, device: Stuck(rule)),
    "flatline": DetectorType(FlatlineSettings, lambda rule, device: Flatline(rule)),
    "noisy": DetectorType(NoisySettings, lambda rule, device: Noisy(rule)),
    "physical_range": DetectorType(PhysicalRangeSettings, lambda rule, device: PhysicalRange(rule), sees_all=True),
    "clock_skew": DetectorType(ClockSkewSettings, lambda rule, device: ClockSkew(rule), sees_all=True),
    "battery": DetectorType(BatterySettings, lambda rule, device: Battery(rule), sees_all=True),
    "silence": DetectorType(SilenceSettings, Silence, sees_all=True),
}
