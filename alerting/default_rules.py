"""The rules a new home starts with: rows of table ``rule``, changed there, not here.

Levels follow common practice for the sensor's purpose and are starting points
for the engineer of the city, not law; the vibration limits alone come from a
standard (DIN 4150-3).
"""

from __future__ import annotations

from typing import Any


def _threshold(
    rule_id: str,
    kind: str,
    metric: str,
    unit: str,
    levels: dict[int, float],
    clear: float,
    zh: str,
    en: str,
    **more: Any,
) -> dict[str, Any]:
    settings = {
        "metric": metric, "unit": unit, "levels": {str(s): v for s, v in levels.items()}, "clear": clear,
        "title": {"zh": zh, "en": en}, **more,
    }  # fmt: skip
    return {"id": rule_id, "detector": "threshold", "kind": kind, "settings": settings}


def _camera(event: str, zh: str, en: str, **more: Any) -> dict[str, Any]:
    settings = {"type": event, "title": {"zh": zh, "en": en}, **more}
    name = f"camera.{event}"
    return {"id": name, "detector": "camera_event", "kind": name, "settings": settings}


def _unusual(name: str, detector: str, metric: str, unit: str, zh: str, en: str, **more: Any) -> dict[str, Any]:
    """A notice for who looks after the sensors: severity 4, some alarms a sensor and year, nobody is called out."""
    settings = {"metric": metric, "unit": unit, "title": {"zh": zh, "en": en}, **more}
    return {"id": f"anomaly.{name}", "detector": detector, "kind": f"anomaly.{name}", "settings": settings}


def _device(fault: str, detector: str, zh: str, en: str, **more: Any) -> dict[str, Any]:
    """A fault of the sensor itself: for who looks after it, never for responders."""
    settings = {"title": {"zh": zh, "en": en}, **more}
    return {"id": f"device.{fault}", "detector": detector, "kind": f"device.{fault}", "settings": settings}


DEFAULT_RULES: list[dict[str, Any]] = [
    {
        "id": "vibration.limit", "detector": "vibration_limit", "kind": "vibration.limit",
        "settings": {"title": {"zh": "房屋振动超限", "en": "Building vibration over limit"}},
    },
    {
        "id": "vibration.shaking", "detector": "sta_lta", "kind": "vibration.shaking",
        "settings": {"title": {"zh": "房屋晃动", "en": "Building is shaking"}},
    },
    {
        "id": "vibration.intensity", "detector": "instrument_intensity", "kind": "vibration.intensity",
        "settings": {"title": {"zh": "仪器地震烈度", "en": "Instrument intensity"}},
    },
    {
        "id": "structure.frequency", "detector": "natural_frequency", "kind": "structure.frequency",
        "settings": {"title": {"zh": "房屋自振频率下降", "en": "Building swings slower"}},
    },
    _threshold("fire.temperature", "fire.temperature", "temperature_c", "°C", {3: 60, 2: 75, 1: 90}, 55,
               "温度过高", "Temperature too high"),
    _threshold("fire.smoke", "fire.smoke", "smoke_ppm", "ppm", {3: 300, 2: 600, 1: 1000}, 200,
               "烟雾浓度过高", "Smoke detected", off_delay_s=30),
    _threshold("gas.leak", "gas.leak", "gas_lel_pct", "% LEL", {3: 5, 2: 10, 1: 20}, 3,
               "可燃气体泄漏", "Combustible gas leak", off_delay_s=30),
    _threshold("gas.co", "gas.co", "co_ppm", "ppm", {3: 35, 2: 100, 1: 300}, 25,
               "一氧化碳浓度过高", "Carbon monoxide too high", off_delay_s=60),
    _threshold("structure.tilt-x", "structure.tilt", "tilt_x_deg", "°", {3: 0.5, 2: 1.0, 1: 2.0}, 0.4,
               "房屋倾斜", "Building tilts", direction="magnitude", off_delay_s=60),
    _threshold("structure.tilt-y", "structure.tilt", "tilt_y_deg", "°", {3: 0.5, 2: 1.0, 1: 2.0}, 0.4,
               "房屋倾斜", "Building tilts", direction="magnitude", off_delay_s=60),
    _threshold("structure.crack", "structure.crack", "crack_mm", "mm", {3: 1.0, 2: 3.0, 1: 6.0}, 0.8,
               "裂缝扩展", "Crack is opening", off_delay_s=60),
    _threshold("flood.water-level", "flood.water_level", "water_level_m", "m",
               {4: 0.15, 3: 0.3, 2: 0.5, 1: 1.0}, 0.1,
               "道路积水", "Road under water", on_delay_s=30, off_delay_s=120),
    _threshold("site.dust", "site.dust", "pm10_ug_m3", "µg/m³", {4: 150, 3: 350}, 120,
               "工地扬尘超标", "Site dust over limit", on_delay_s=300, off_delay_s=300),
    _threshold("site.noise", "site.noise", "noise_db", "dB", {4: 70, 3: 85}, 67,
               "施工噪声超标", "Site noise over limit", on_delay_s=60, off_delay_s=60),
    _camera("fire", "视频发现明火", "Camera sees fire", severity=2, score_min=0.6, score_severity={"1": 0.9}),
    _camera("smoke", "视频发现烟雾", "Camera sees smoke", severity=3, score_min=0.6, score_severity={"2": 0.9}),
    _camera("intrusion", "区域入侵", "Intrusion", severity=3),
    _camera("crowd", "人员聚集", "Crowd gathers", severity=3),
    _camera("fall", "人员跌倒", "Person fell", severity=3),
    _camera("waste", "暴露垃圾", "Exposed waste", severity=4),
    {
        "id": "truck.uncovered", "detector": "vehicle_cover", "kind": "truck.uncovered",
        "settings": {"title": {"zh": "渣土车未密闭", "en": "Muck truck drives uncovered"}},
    },
    _unusual("temperature", "season", "temperature_c", "°C", "温度与往常不同", "Temperature unlike other days"),
    _unusual("tilt-x", "drift", "tilt_x_deg", "°", "倾斜缓慢变化", "Tilt drifts"),
    _unusual("tilt-y", "drift", "tilt_y_deg", "°", "倾斜缓慢变化", "Tilt drifts"),
    _unusual("crack", "drift", "crack_mm", "mm", "裂缝缓慢变化", "Crack drifts"),
    _unusual("water-level", "change", "water_level_m", "m", "水位突变", "Water level jumps",
             learn_s=1_209_600),
    _unusual("smoke", "level", "smoke_ppm", "ppm", "烟雾读数异常", "Smoke reading unlike before"),
    _unusual("gas", "level", "gas_lel_pct", "% LEL", "燃气读数异常", "Gas reading unlike before"),
    _unusual("co", "level", "co_ppm", "ppm", "一氧化碳读数异常", "Carbon monoxide reading unlike before"),
    _unusual("noise", "season", "noise_db", "dB", "噪声与往常不同", "Noise unlike other days"),
    _unusual("dust", "season", "pm10_ug_m3", "µg/m³", "扬尘与往常不同", "Dust unlike other days"),
    _device("silent", "silence", "设备失联", "Device is silent"),
    _device("stuck", "stuck", "读数不变", "Sensor is stuck"),
    _device("flat", "flatline", "波形无变化", "Waveform is flat"),
    _device("noisy", "noisy", "读数噪声过大", "Sensor is noisy"),
    _device("range", "physical_range", "读数不合理", "Impossible values"),
    _device("clock", "clock_skew", "设备时钟不准", "Device clock is wrong"),
    _device("battery", "battery", "电池电量低", "Battery is low"),
]  # fmt: skip
