"""A value that cannot be: outside what the quantity, or the sensor, can have.

-127 °C is what a thermometer says that has lost its wire, 65,535 is a counter's
end. Such values are kept as they came, but they are no measurement: the bank
shows them to this detector only, so that a broken thermometer does not call the
fire brigade, and its maintainer hears of it.

Limits are physical or the widest of common sensors, not what is usual: to be
outside must mean that the sensor is wrong. ``ranges`` of the rule adds and overrides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from alerting.detectors.base import Rule, RuleSettings, Words
from alerting.detectors.faults import SeriesFaults, Sign, names_of
from alerting.detectors.rows import NEVER, Rows64
from domain.alerts import Detection
from domain.readings import Block, Bool, Float64, Int64, Readings

PHYSICAL: Mapping[str, tuple[float, float]] = {
    # metric: lowest, highest
    "temperature_c": (-80.0, 1300.0),  # type K thermocouples in a fire
    "humidity_pct": (0.0, 105.0),      # capacitive sensors read a little over 100 in fog
    "pressure_hpa": (300.0, 1200.0),
    "battery_pct": (0.0, 100.0),
    "smoke_ppm": (-50.0, 100_000.0),
    "co_ppm": (-50.0, 100_000.0),
    "gas_lel_pct": (-5.0, 200.0),
    "co2_ppm": (-50.0, 1_000_000.0),
    "pm10_ug_m3": (0.0, 60_000.0),
    "pm2_5_ug_m3": (0.0, 60_000.0),
    "noise_db": (0.0, 194.0),          # 194 dB is one atmosphere
    "tilt_x_deg": (-180.0, 180.0),
    "tilt_y_deg": (-180.0, 180.0),
    "crack_mm": (-500.0, 500.0),
    "water_level_m": (-20.0, 100.0),
    "ppv_mm_s": (0.0, 10_000.0),
    "freq_hz": (0.0, 10_000.0),
    "rain_mm_h": (0.0, 2_000.0),
    "wind_m_s": (0.0, 120.0),
}  # fmt: skip


NOTHING: tuple[Readings | None, Bool] = None, np.zeros(0, bool)


class PhysicalRangeSettings(RuleSettings):
    """``ranges``: metric to lowest and highest, beside and over the table; ``n``: in a row, either way."""

    READS: ClassVar = frozenset({"readings"})

    ranges: dict[str, tuple[float, float]] = Field({})
    n: Annotated[int, Field(ge=1)] = 3

    @model_validator(mode="after")
    def _ordered(self) -> PhysicalRangeSettings:
        for metric, (low, high) in self.ranges.items():
            if low >= high:
                raise ValueError(f"ranges.{metric}: {low} must be below {high}")
        return self

    def words(self) -> Words:
        """The rule in words."""
        return Words(f"{self.n} values in a row that cannot be", "4", f"{self.n} possible values in a row")


class PhysicalRange(SeriesFaults):
    """One rule over all series of metrics whose range is known."""

    FIELDS: ClassVar = {"_newest": NEVER, "_n": 0, "_active": 0, "_episode": 0}

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        assert isinstance(rule.settings, PhysicalRangeSettings)
        self.settings = rule.settings
        self._ranges = {**PHYSICAL, **rule.settings.ranges}
        self._newest: Int64 = np.zeros(0, np.int64)
        self._n: NDArray[np.int32] = np.zeros(0, np.int32)
        self._low: Float64 = np.zeros(0)
        self._high: Float64 = np.zeros(0)
        self._known = (0, 0)
        self._asked = NOTHING

    def impossible(self, readings: Readings, metrics: Mapping[str, int]) -> Bool:
        """Which rows ``(n,)`` are no measurement; asked once more of the same ones, as before."""
        if readings is self._asked[0]:
            return self._asked[1]
        if not len(readings):
            return np.zeros(0, bool)
        size = 1 + max(int(readings.metric.max()), *metrics.values(), -1)
        if (len(metrics), size) != self._known:
            self._low, self._high = np.full(size, -np.inf), np.full(size, np.inf)
            for name, key in metrics.items():
                self._low[key], self._high[key] = self._ranges.get(name, (-np.inf, np.inf))
            self._known = (len(metrics), size)
        of, v = readings.metric, readings.value
        wrong = np.asarray((v < self._low[of]) | (v > self._high[of]))
        self._asked = readings, wrong
        return wrong

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's readings; series that are and were in range cost one comparison."""
        r = block.readings
        if len(r) == 0:
            return []
        wrong = self.impossible(r, metrics)
        self._asked = NOTHING
        if not wrong.any() and len(self) == 0:
            return []
        # Only series that were wrong once have a row; from then on all their readings count.
        self.series_of(r.device[wrong & ~r.late], r.metric[wrong & ~r.late])
        take = np.flatnonzero(~r.late & self._watched(r))
        if len(take) == 0:
            return []
        row = self.series_of(r.device[take], r.metric[take])
        return list(self._judge(r, take, row, wrong, names_of(metrics)))

    def _watched(self, r: Readings) -> Bool:
        return np.isin(r.device.astype(np.int64) << 32 | r.metric, self.device.astype(np.int64) << 32 | self.metric)

    def _judge(
        self, readings: Readings, take: Rows64, row: Rows64, wrong: Bool, names: Mapping[int, str]
    ) -> Iterator[Detection]:
        for i, r in zip(take.tolist(), row.tolist(), strict=True):
            t, v, received = int(readings.time_us[i]), float(readings.value[i]), int(readings.received_us[i])
            if t <= self._newest[r]:
                continue
            self._newest[r] = t
            against = bool(wrong[i]) != bool(self._active[r])
            self._n[r] = self._n[r] + 1 if against else 0
            if self._n[r] < self.settings.n:
                continue
            self._n[r] = 0
            low, high = self._ranges[names[int(self.metric[r])]]
            sign = Sign(t, t, received, v, low if v < low else high, "", {"lowest": low, "highest": high})
            yield self.end(r, sign, names) if self._active[r] else self.begin(r, sign, names)
