"""The detectors by the name a rule calls them. A new one is a module and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alerting.detectors.auto import Auto, AutoSettings
from alerting.detectors.base import Detector, DeviceOf, Rule, RuleSettings
from alerting.detectors.battery import Battery, BatterySettings
from alerting.detectors.camera_events import CameraEvents, CameraSettings
from alerting.detectors.change import Change, ChangeSettings
from alerting.detectors.clock_skew import ClockSkew, ClockSkewSettings
from alerting.detectors.drift import Drift, DriftSettings
from alerting.detectors.flatline import Flatline, FlatlineSettings
from alerting.detectors.instrument_intensity import InstrumentIntensity, InstrumentIntensitySettings
from alerting.detectors.level import Level, LevelSettings
from alerting.detectors.natural_frequency import NaturalFrequency, NaturalFrequencySettings
from alerting.detectors.noisy import Noisy, NoisySettings
from alerting.detectors.physical_range import PhysicalRange, PhysicalRangeSettings
from alerting.detectors.scalar import ScalarDetector
from alerting.detectors.season import Season, SeasonSettings
from alerting.detectors.shape import Shape, ShapeSettings
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
    ``family``: how it is made for several rules that are alike, None = each has its own.
    """

    settings: type[RuleSettings]
    make: Callable[[Rule, DeviceOf], Detector]
    sees_all: bool = False
    family: type[ScalarDetector[Any]] | type[Threshold] | None = None


def _scalar(settings: type[RuleSettings], kernel: type[ScalarDetector[Any]]) -> DetectorType:
    return DetectorType(settings, lambda rule, device: kernel(rule), family=kernel)


DETECTORS: dict[str, DetectorType] = {
    "threshold": DetectorType(ThresholdSettings, lambda rule, device: Threshold(rule), family=Threshold),
    "auto": _scalar(AutoSettings, Auto),
    "level": _scalar(LevelSettings, Level),
    "change": _scalar(ChangeSettings, Change),
    "season": _scalar(SeasonSettings, Season),
    "drift": _scalar(DriftSettings, Drift),
    "shape": _scalar(ShapeSettings, Shape),
    "vibration_limit": DetectorType(VibrationLimitSettings, VibrationLimit),
    "instrument_intensity": DetectorType(
        InstrumentIntensitySettings, lambda rule, device: InstrumentIntensity(rule)
    ),
    "natural_frequency": DetectorType(NaturalFrequencySettings, lambda rule, device: NaturalFrequency(rule)),
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
