"""The duty rows a new home starts with: who is told, by kind, severity and level.

A synthesis of published practice (city-grid notes, sections 3.1 and 3.2): for a
shaking house first the cell, the village and the owner, from a warning on the town's
housing office and whoever works nearby with a permit, over the limit the city's, in
danger the fire brigade and the police; for a muck truck the place of the violation
decides the town and the violation the department, and without a place it is the
city's. Faults of devices go to the maintainer. They are a starting point for the
city's own table (``gridpulse import duties``).
"""

from __future__ import annotations

from dataclasses import replace

from alerting.dispatch.duties import DutyRow


def _row(kind: str, severity_min: int, level: str, department: str, name: str, name_en: str, role: str, zh: str,
         en: str) -> DutyRow:  # fmt: skip
    return DutyRow(kind, level, department, name, name_en, role, f"{zh} · {en}", severity_min)


PERMIT_WITHIN_M = 200.0


def _row_of(source: str, row: DutyRow, within_m: float = 0.0) -> DutyRow:
    return replace(row, source=source, within_m=within_m)


def _territory(kind: str, lead: bool = True) -> list[DutyRow]:
    return [
        _row(kind, 4, "grid", "", "{place}网格员", "Grid worker of {place}", "lead" if lead else "co",
             "就近核查，30 分钟内", "checks on the spot, within 30 min"),
        _row(kind, 4, "village", "", "{place}工作站", "Village desk of {place}", "co",
             "村（社区）掌握住户情况", "the village knows who lives there"),
    ]  # fmt: skip


def _buildings(kind: str) -> list[DutyRow]:
    return [
        *_territory(kind),
        _row_of("owner", _row(kind, 4, "city", "", "产权人", "Owner", "owner",
             "产权人对房屋负责", "the owner answers for the house")),
        _row(kind, 3, "town", "housing", "{place}住房和城乡建设局", "Housing office of {place}", "lead",
             "镇街负责房屋安全，立案、派遣各 15 分钟",
             "the town is in charge of the safety of houses, 15 min each to accept and to send somebody"),
        _row_of("permit", _row(kind, 3, "town", "urban-management", "{place}城市管理和综合执法分局",
             "Urban management of {place}", "co", "200 米内有许可施工", "works with a permit within 200 m"),
             PERMIT_WITHIN_M),
        _row_of("permit", _row(kind, 3, "city", "", "施工单位", "Site", "co",
             "200 米内的施工单位停工自查", "the site within 200 m stops and checks"), PERMIT_WITHIN_M),
        _row(kind, 2, "city", "housing", "{place}住房和城乡建设局房屋安全部门", "Housing bureau of {place}", "co",
             "超限报市房屋安全部门，2 紧急工作时",
             "over the limit the city's housing safety office is told, 2 urgent hours"),
        _row(kind, 2, "town", "emergency", "{place}应急管理分局", "Emergency office of {place}", "co",
             "超限报镇街应急", "over the limit the town's emergency office is told"),
        _row(kind, 1, "town", "fire", "{place}消防救援大队", "Fire brigade of {place}", "co",
             "危险时立即组织疏散救援", "in danger it evacuates and rescues at once"),
        _row(kind, 1, "town", "police", "{place}公安分局", "Police of {place}", "co",
             "危险时立即警戒疏散", "in danger it cordons off and evacuates at once"),
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
    _row("truck.*", 4, "city", "urban-management", "{place}城市管理和综合执法局",
         "Urban management bureau of {place}", "lead", "准运证由市城管局核发，地点不明时由其主办",
         "the city's bureau issues the transport permit, and leads where no place is known"),
    _row("truck.*", 3, "town", "traffic-police", "{place}交警大队", "Traffic police of {place}", "co",
         "协助拦查", "helps to stop the truck"),
    _row("truck.overload", 4, "town", "traffic-police", "{place}交警大队", "Traffic police of {place}", "lead",
         "超载由交警查处", "overloading is the traffic police's"),
    _row("truck.overload", 4, "town", "transport", "{place}交通运输分局", "Transport office of {place}", "co",
         "超载由交通运输配合查处", "the transport office takes part against overloading"),
    *_territory("truck.dumping", lead=False),
    _row("truck.dumping", 4, "town", "environment", "{place}生态环境分局", "Environment office of {place}", "co",
         "乱倾倒涉及环境", "what is tipped may harm the ground and the water"),
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
    _row_of("maintainer", _row("device.*", 4, "city", "maintainer", "{place}物联网养护单位",
            "Sensor maintainer of {place}", "lead", "设备故障交养护单位，不打扰处置人员",
            "faults of devices go to the maintainer, not to responders")),
    _row_of("maintainer", _row("anomaly.*", 4, "city", "maintainer", "{place}物联网养护单位",
            "Sensor maintainer of {place}", "lead", "读数异常先由养护单位核实，不打扰处置人员",
            "unusual readings are first looked at by the maintainer, not by responders")),
]  # fmt: skip
