"""The detectors by the name a rule calls them. A new one is a module and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alerting.detectors.auto import Auto, AutoSettings
from alerting.detectors.base import Detector, DeviceOf, Rule, RuleSettings
from alerting.detectors.camera_events import CameraEvents, CameraSettings
from alerting.detectors.change import Change, ChangeSettings
from alerting.detectors.drift import Drift, DriftSettings
from alerting.detectors.level import Level, LevelSettings
from alerting.detectors.season import Season, SeasonSettings
from alerting.detectors.shape import Shape, ShapeSettings
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
    "auto": DetectorType(AutoSettings, lambda rule, device: Auto(rule)),
    "level": DetectorType(LevelSettings, lambda rule, device: Level(rule)),
    "change": DetectorType(ChangeSettings, lambda rule, device: Change(rule)),
    "season": DetectorType(SeasonSettings, lambda rule, device: Season(rule)),
    "drift": DetectorType(DriftSettings, lambda rule, device: Drift(rule)),
    "shape": DetectorType(ShapeSettings, lambda rule, device: Shape(rule)),
    "vibration_limit": DetectorType(VibrationLimitSettings, VibrationLimit),
    "sta_lta": DetectorType(StaLtaSettings, lambda rule, device: StaLta(rule)),
    "camera_event": DetectorType(CameraSettings, lambda rule, device: CameraEvents(rule)),
    "vehicle_cover": DetectorType(VehicleCoverSettings, lambda rule, device: VehicleCover(rule)),
}
