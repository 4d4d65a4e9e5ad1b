"""Which matter of city management an alert is, by its kind.

Codes of GB/T 47678.5-2026 (second hand, retyped) carry ``gb47678-2026:``; where
the standard has no class, as for house vibration, a local extension code numbered
down from 999 carries ``local:``. Names of local codes are ours.
"""

from __future__ import annotations

MATTERS: dict[str, tuple[str, str, str]] = {
    # kind pattern: (code, name, English name)
    "vibration.*": ("local:08999", "房屋振动异常", "Building vibration"),
    "structure.*": ("local:08998", "房屋结构异常", "Building structure"),
    "fire.*": ("local:10999", "火灾隐患", "Fire danger"),
    "camera.fire": ("local:10999", "火灾隐患", "Fire danger"),
    "camera.smoke": ("local:10999", "火灾隐患", "Fire danger"),
    "gas.*": ("local:10998", "可燃有毒气体异常", "Dangerous gas"),
    "flood.*": ("local:10997", "道路积水", "Road under water"),
    "camera.intrusion": ("local:09999", "区域入侵", "Intrusion"),
    "camera.crowd": ("local:09998", "人员聚集", "Crowd"),
    "camera.fall": ("local:09997", "人员跌倒", "Person fell"),
    "camera.waste": ("gb47678-2026:06010", "暴露垃圾", "Exposed waste"),
    "truck.uncovered": ("gb47678-2026:08011", "渣土运输车辆未安装密闭装置", "Muck truck without closed cover"),
    "truck.spill": ("gb47678-2026:06014", "道路遗撒", "Spill on the road"),
    "site.dust": ("gb47678-2026:08004", "工地扬尘", "Site dust"),
    "anomaly.*": ("local:11999", "监测数据异常", "Unusual sensor data"),
    "site.noise": ("gb47678-2026:08001", "施工扰民", "Site nuisance"),
}


def matches(pattern: str, kind: str) -> bool:
    """Whether ``kind`` falls under ``pattern``: equal, ``*``, or ``prefix.*`` and below it or just the prefix."""
    if pattern.endswith("*"):
        return kind.startswith(pattern[:-1]) or kind == pattern[:-2]
    return pattern == kind


def matter_of(kind: str) -> str | None:
    """The matter code of an alert kind, or None; the longest pattern wins."""
    fitting = [pattern for pattern in MATTERS if matches(pattern, kind)]
    return MATTERS[max(fitting, key=len)][0] if fitting else None


def kind_of(matter: str) -> str | None:
    """An alert kind that leads to this matter, or None; ``x.*`` gives ``x``."""
    for pattern, (code, _, _) in MATTERS.items():
        if code == matter:
            return pattern.removesuffix(".*")
    return None
