"""Units by the last part of a metric's name, and what such a quantity can be at all.

The contract has the unit in the name (``temperature_c``, ``ppv_mm_s``); a rule that
names another unit, or a level no sensor can reach, is a typing error that would be an
alarm that never comes or never ends. Ranges are wide: they refuse the impossible,
not the unusual. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

# suffix: (ways to write the unit, least, most)
QUANTITIES: dict[str, tuple[tuple[str, ...], float, float]] = {
    "c": (("°C", "℃", "C"), -273.15, 3000),
    "deg": (("°", "deg"), -360, 360),
    "pct": (("%", "% LEL", "%LEL", "% RH", "%RH"), 0, 100),
    "ppm": (("ppm",), 0, 1_000_000),
    "db": (("dB", "dBA", "dB(A)"), -60, 220),
    "dbm": (("dBm",), -200, 60),
    "hz": (("Hz",), 0, 100_000),
    "gal": (("gal", "Gal", "cm/s²"), 0, 10_000),
    "mm_s": (("mm/s",), -100_000, 100_000),
    "m_s": (("m/s",), -1_000, 1_000),
    "m_s2": (("m/s²", "m/s2"), -1_000, 1_000),
    "ug_m3": (("µg/m³", "μg/m³", "ug/m3"), 0, 1_000_000),
    "mg_m3": (("mg/m³", "mg/m3"), 0, 1_000_000),
    "mm": (("mm",), -100_000, 100_000),
    "m": (("m",), -12_000, 12_000),
    "kmh": (("km/h",), 0, 1_000),
    "kpa": (("kPa",), 0, 1_000_000),
    "v": (("V",), -1_000_000, 1_000_000),
    "a": (("A",), -1_000_000, 1_000_000),
    "s": (("s",), -1e9, 1e9),
}


def quantity(metric: str) -> str | None:
    """The longest suffix of the metric's name that names a unit: ``ppv_mm_s`` → ``mm_s``."""
    parts = metric.split("_")
    for at in range(1, len(parts)):
        suffix = "_".join(parts[at:])
        if suffix in QUANTITIES:
            return suffix
    return None


def misfit(metric: str, unit: str, values: Sequence[float]) -> str:
    """Why this unit or one of these values cannot be the metric's; empty when all can."""
    suffix = quantity(metric)
    if suffix is None:
        return ""
    spellings, least, most = QUANTITIES[suffix]
    if unit and unit not in spellings:
        return f"unit: {unit!r} does not fit {metric}, which is in {spellings[0]}; convert the levels"
    for value in values:
        if not least <= value <= most:
            return f"levels: {value:g} {spellings[0]} is impossible for {metric}; it lies in {least:g} … {most:g}"
    return ""
