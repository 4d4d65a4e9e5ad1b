"""Metric names: what vendors call a quantity, and what it is called here, for good. Pure.

A name that is known gets the contract's name with its unit. Others become snake_case
as they are: without a unit, because nothing says which.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Mapping
from functools import lru_cache
from typing import Any

from domain.errors import PayloadError
from ingest.adapters.fields import number_of, shown
from ingest.codec import VALUES_MAX

KNOWN: Mapping[str, str] = {
    "temperature": "temperature_c", "temp": "temperature_c", "temperature_celsius": "temperature_c",
    "air_temperature": "temperature_c", "device_temperature": "device_temperature_c",
    "soil_temperature": "soil_temperature_c", "dew_point": "dew_point_c", "温度": "temperature_c",
    "humidity": "humidity_pct", "relative_humidity": "humidity_pct", "soil_moisture": "soil_moisture_pct",
    "湿度": "humidity_pct", "pressure": "pressure_hpa", "barometer": "pressure_hpa", "气压": "pressure_hpa",
    "battery": "battery_pct", "battery_level": "battery_pct", "电量": "battery_pct",
    "illuminance": "illuminance_lx", "illuminance_lux": "illuminance_lx", "lux": "illuminance_lx",
    "co2": "co2_ppm", "carbon_dioxide": "co2_ppm", "eco2": "eco2_ppm", "co": "co_ppm", "carbon_monoxide": "co_ppm",
    "tvoc": "tvoc_ppb", "hcho": "formaldehyde",
    "pm1": "pm1_ug_m3", "pm25": "pm25_ug_m3", "pm2_5": "pm25_ug_m3", "pm10": "pm10_ug_m3",
    "noise": "noise_db", "noise_level": "noise_db", "sound_pressure": "noise_db",
    "power": "power_w", "apparent_power": "apparent_power_va", "reactive_power": "reactive_power_var",
    "energy": "energy_kwh", "energy_total": "energy_total_kwh",
    "energy_today": "energy_today_kwh", "energy_yesterday": "energy_yesterday_kwh",
    "current": "current_a", "frequency": "frequency_hz",
    "wind_speed": "wind_speed_m_s", "wind_direction": "wind_direction_deg", "rainfall": "rainfall_mm",
    "water_level": "water_level_m", "linkquality": "link_quality", "rssi": "rssi_dbm",
    "signal_strength": "rssi_dbm", "snr": "snr_db", "gas_lel": "gas_lel_pct",
    "tilt_x": "tilt_x_deg", "tilt_y": "tilt_y_deg", "angle_x": "angle_x_deg", "angle_y": "angle_y_deg",
    "angle_z": "angle_z_deg", "rh": "humidity_pct",
}  # fmt: skip
"""Snake_case name of the vendor → ours. Where one word means several units (voltage: mV or V), none is said."""

UNIT_SUFFIX: Mapping[str, str] = {
    "°C": "c", "Cel": "c", "℃": "c", "%": "pct", "%RH": "pct", "%EL": "pct", "hPa": "hpa", "Pa": "pa",
    "kPa": "kpa", "lx": "lx", "lux": "lx", "ppm": "ppm", "ppb": "ppb", "µg/m³": "ug_m3", "ug/m3": "ug_m3",
    "dB": "db", "dBm": "dbm",
    "dBW": "dbw", "W": "w", "kW": "kw", "VA": "va", "V": "v", "mV": "mv", "A": "a", "mA": "ma", "Wh": "wh",
    "kWh": "kwh", "Hz": "hz", "m": "m", "mm": "mm", "cm": "cm", "m/s": "m_s", "m/s2": "m_s2", "mm/s": "mm_s",
    "km/h": "km_h", "deg": "deg", "°": "deg", "rad": "rad", "s": "s", "L": "l", "l": "l", "m3": "m3", "K": "k",
    "lon": "deg", "lat": "deg", "J": "j", "N": "n", "kg": "kg", "g": "g",
}  # fmt: skip
"""A unit as sources write it (UCUM, SenML, Home Assistant) → the last part of a metric's name."""

WORDS: Mapping[str, float] = {
    "on": 1.0, "off": 0.0, "true": 1.0, "false": 0.0, "open": 1.0, "closed": 0.0, "online": 1.0, "offline": 0.0,
}  # fmt: skip
"""Texts that are states of a switch or contact, as numbers."""

DEPTH_MAX = 8
ALIKE_MAX = 32
"""Fields of one message that may read as one metric's name."""

NAME_MAX = 64

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHER = re.compile(r"[^a-z0-9]+")


@lru_cache(maxsize=1 << 14)
def snake(name: str) -> str:
    """A vendor's name as a metric's name: ``AHT1X-0x38`` → ``aht1x_0x38``, ``DewPoint`` → ``dew_point``.

    What has no Latin letter or digit at all is named by eight hex digits of its hash.
    """
    name = name[:256]
    lowered = _OTHER.sub("_", _HUMP.sub("_", name).lower()).strip("_")
    if not lowered:
        return "m_" + hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
    return (lowered if lowered[0].isalpha() else f"m_{lowered}")[:NAME_MAX].strip("_")


def metric_name(vendor: str, unit: str | None = None) -> str:
    """Our name of a vendor's quantity; ``unit`` where the source states one."""
    plain = snake(vendor)
    if unit is None:
        return KNOWN.get(plain) or KNOWN.get(vendor) or plain
    suffix = UNIT_SUFFIX.get(unit.strip()) or snake(unit)
    known = KNOWN.get(plain)
    if known and known.endswith(f"_{suffix}"):
        return known
    return plain if plain.endswith(f"_{suffix}") else f"{plain[: NAME_MAX - len(suffix) - 1]}_{suffix}"


def distinct(name: str, longer: str, taken: Container[str]) -> str:
    """``name`` where it is free, else ``longer``, else that with a number. Raises: PayloadError ``bad_metric``."""
    if name not in taken:
        return name
    numbered = (f"{longer[: NAME_MAX - 3]}_{n}" for n in range(2, ALIKE_MAX + 2))
    found = next((free for free in (longer, *numbered) if free not in taken), None)
    if found is None:
        raise PayloadError("bad_metric", f"more than {ALIKE_MAX} fields would be called {longer}")
    return found


class Metrics:
    """Values by metric name, in the order met. Of two of one name the second keeps the vendor's full path."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def add(self, vendor: str, value: float, *, path: tuple[str, ...] = (), unit: str | None = None) -> None:
        """Raises: PayloadError ``too_many_values``."""
        if len(self.values) >= VALUES_MAX:
            raise PayloadError("too_many_values", f"more than {VALUES_MAX} values in one message")
        longer = snake("_".join((*path, vendor, *([unit] if unit else ()))))
        # A known quantity needs no owner's name; an unknown one says little without.
        name = metric_name(vendor, unit) if not path or snake(vendor) in KNOWN else KNOWN.get(longer, longer)
        name = distinct(name, longer, self.values)
        self.values[name] = value

    def add_all(self, values: Mapping[str, Any], where: str, *, path: tuple[str, ...] = ()) -> None:
        """Every number, switch and nested number of an object; other texts, lists and nulls are no readings.

        Raises: PayloadError for nesting beyond DEPTH_MAX and numbers that are not finite.
        """
        if len(path) > DEPTH_MAX:
            raise PayloadError("too_deep", f"{where} is nested more than {DEPTH_MAX} deep")
        for name, value in values.items():
            inner = f"{where}.{shown(name)}"
            if isinstance(value, bool):
                self.add(name, float(value), path=path)
            elif isinstance(value, int | float):
                self.add(name, number_of(value, inner), path=path)
            elif isinstance(value, str) and len(value) <= 7 and (word := WORDS.get(value.lower())) is not None:
                self.add(name, word, path=path)
            elif isinstance(value, dict):
                self.add_all(value, inner, path=(*path, name))
