from __future__ import annotations

import pytest

from alerting.default_rules import DEFAULT_RULES
from alerting.rules import impossible, parse_rule
from alerting.units import misfit, quantity


@pytest.mark.parametrize(
    ("metric", "suffix"),
    [("ppv_mm_s", "mm_s"), ("temperature_c", "c"), ("pm10_ug_m3", "ug_m3"), ("water_level_m", "m"),
     ("gas_lel_pct", "pct"), ("accel_m_s2", "m_s2"), ("count", None), ("c", None)],
)  # fmt: skip
def test_the_unit_is_the_longest_last_part_of_the_name(metric: str, suffix: str | None) -> None:
    assert quantity(metric) == suffix


@pytest.mark.parametrize(
    ("metric", "unit", "values", "fits"),
    [
        ("temperature_c", "°C", [60, -40], True), ("temperature_c", "", [60], True),
        ("temperature_c", "°F", [60], False), ("temperature_c", "°C", [5000], False),
        ("humidity_pct", "%", [100], True), ("humidity_pct", "%", [100.1], False),
        ("gas_lel_pct", "% LEL", [10], True), ("ppv_mm_s", "m/s", [5], False),
        ("noise_db", "dB", [-100], False), ("count", "pieces", [1e12], True),
    ],
)  # fmt: skip
def test_impossible_levels_and_foreign_units(metric: str, unit: str, values: list[float], fits: bool) -> None:
    assert (misfit(metric, unit, values) == "") == fits


def test_the_default_rules_are_possible() -> None:
    assert [impossible(parse_rule(row).settings) for row in DEFAULT_RULES] == [""] * len(DEFAULT_RULES)
