"""The duty rows a new home starts with: who is told, by kind, severity and level.

A synthesis of published practice (city-grid notes, sections 3.1 and 3.2): for a
shaking house first the cell and village, from a warning on the town's housing
office, over the limit the city's, in danger the fire brigade; for a muck truck the
place of the violation decides the town and the violation the department. They
are a starting point for the city's own table (``gridpulse import duties``).
"""

from __future__ import annotations

from alerting.dispatch.duties import DutyRow


def _row(kind: str, severity_min: int, level: str, department: str, name: str, name_en: str, role: str, zh: str,
         en: str) -> DutyRow:  # fmt: skip
    return DutyRow(kind, level, department, name, name_en, role, f"{zh} · {en}", severity_min)


def _territory(kind: str, lead: bool = True) -> list[DutyRow]:
    return [
        _row(kind, 4, "grid", "", "{place}网格员", "Grid worker of {place}", "lead" if lead else "co",
             "就近核查", "checks on the spot"),
        _row(kind, 4, "village", "", "{place}工作站", "Village desk of {place}", "co",
             "村（社区）掌握住户情况", "the village knows who lives there"),
    ]  # fmt: skip


def _buildings(kind: str) -> list[DutyRow]:
    return [
        *_territory(kind),
        _row(kind, 3, "town", "housing", "{place}住房和城乡建设局", "Housing office of {place}", "lead",
             "镇街负责房屋安全", "the town is in charge of the safety of houses"),
        _row(kind, 2, "city", "housing", "{place}住房和城乡建设局房屋安全部门", "Housing bureau of {place}", "co",
             "超限报市房屋安全部门", "over the limit the city's housing safety office is told"),
        _row(kind, 2, "town", "emergency", "{place}应急管理分局", "Emergency office of {place}", "co",
             "超限报镇街应急", "over the limit the town's emergency office is told"),
        _row(kind, 1, "town", "fire", "{place}消防救援大队", "Fire brigade of {place}", "co",
             "危险时组织疏散救援", "in danger it evacuates and rescues"),
    ]  # fmt: skip


def _fire(kind: str) -> list[DutyRow]:
    return [
        *_territory(kind, lead=False),
        _row(kind, 4, "town", "fire", "{place}消防救援大队", "Fire brigade of {place}", "lead",
             "火灾和烟雾由消防处置", "fire and smoke are the brigade's"),
        _row(kind, 2, "town", "emergency", "{place}应急管理分局", "Emergency office of {place}", "co",
             "二级以上报应急", "from orange on the emergency office is told"),
        _row(kind, 1, "city", "fire", "{place}消防救援支队", "Fire department of {place}", "co",
             "一级报市消防", "at red the city's fire department is told"),
    ]  # fmt: skip


DEFAULT_DUTIES: list[DutyRow] = [
    *_buildings("vibration.*"),
    *_buildings("structure.*"),
    *_fire("fire.*"),
    *_fire("camera.fire"),
    *_fire("camera.smoke"),
    *_territory("gas.*", lead=False),
    _row("gas.*", 4, "town", "fire", "{place}消防救援大队", "Fire brigade of {place}", "lead",
         "燃气泄漏先期处置", "first response to a gas leak"),
    _row("gas.*", 3, "town", "housing", "{place}住房和城乡建设局", "Housing office of {place}", "co",
         "燃气行业主管", "supervises gas supply"),
    *_territory("flood.*", lead=False),
    _row("flood.*", 4, "town", "water", "{place}水务工程运营中心", "Water office of {place}", "lead",
         "内涝由水务处置", "flooded roads are the water office's"),
    _row("flood.*", 2, "town", "emergency", "{place}应急管理分局", "Emergency office of {place}", "co",
         "严重积水报三防", "deep water goes to the emergency office"),
    _row("truck.*", 4, "town", "urban-management", "{place}城市管理和综合执法分局",
         "Urban management of {place}", "lead", "未密闭运输由违法地城管分局查处",
         "the place of the violation decides; an open cover is urban management's"),
    _row("truck.*", 3, "city", "urban-management", "{place}城市管理和综合执法局",
         "Urban management bureau of {place}", "co", "准运证由市城管局核发",
         "the city's bureau issues the transport permit"),
    _row("truck.*", 3, "town", "traffic-police", "{place}交警大队", "Traffic police of {place}", "co",
         "协助拦查", "helps to stop the truck"),
    *_territory("site.*", lead=False),
    _row("site.*", 4, "town", "urban-management", "{place}城市管理和综合执法分局",
         "Urban management of {place}", "lead", "施工扬尘噪声由城管查处",
         "dust and noise of sites are urban management's"),
    _row("site.*", 3, "town", "environment", "{place}生态环境分局", "Environment office of {place}", "co",
         "超标报生态环境", "over the limit the environment office is told"),
    _row("camera.*", 4, "village", "", "{place}工作站", "Village desk of {place}", "co",
         "属地知情", "the territory knows"),
    _row("camera.intrusion", 4, "town", "police", "{place}公安分局", "Police of {place}", "lead",
         "入侵由公安处置", "intrusion is a police matter"),
    _row("camera.crowd", 4, "town", "police", "{place}公安分局", "Police of {place}", "lead",
         "人员聚集由公安处置", "crowds are a police matter"),
    _row("camera.waste", 4, "town", "urban-management", "{place}城市管理和综合执法分局",
         "Urban management of {place}", "lead", "暴露垃圾由城管处置", "exposed waste is urban management's"),
    _row("device.*", 4, "city", "maintainer", "{place}物联网养护单位", "Sensor maintainer of {place}", "maintainer",
         "设备故障交养护单位，不打扰处置人员", "faults of devices go to the maintainer, not to responders"),
]  # fmt: skip
