"""An incident in words and as the contract's JSON object (section 7). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alerting.association import Association, Event, Trigger
from alerting.association_rules import distance_m, family_of, is_instant, positions, sense_of
from domain.clock import iso

LISTED_MAX = 200
"""Members and alert ids in the body; ``GET /incidents/{id}`` has them all."""

CODES_MAX = 300

Words = dict[str, Any]

TITLES: Mapping[str, tuple[str, str]] = {
    "area": ("多处房屋晃动", "Shaking over an area"),
    "storm": ("大范围同时报警", "Many places in alarm at once"),
    "device_fault": ("多台设备同一瞬间触发，疑似电气故障", "Devices triggered at one instant: electronic fault"),
    "mixed": ("同一地点多类传感器报警", "Different senses agree at one spot"),
    "shaking": ("一栋房屋晃动，多个传感器证实", "One building shakes, several sensors agree"),
    "fire": ("一栋房屋火情，多个传感器证实", "Fire in one building, several sensors agree"),
    "building": ("一栋房屋多个传感器报警", "Several sensors of one building"),
}


def kind_of(event: Event, members: Sequence[Trigger]) -> str:
    """``building``, ``area``, ``device_fault`` or ``mixed``, by all that belongs to it."""
    families = {family_of(t.kind) for t in members}
    if event.is_wide:
        return "device_fault" if is_instant(event.spread_us / 1e6, event.size_m) else "area"
    if event.how == "storm":
        return "area" if len(families) == 1 else "mixed"
    senses = {sense_of(t.kind) for t in members}
    return "mixed" if "camera" in senses or len(families - {"structure"}) > 1 else "building"


def severity_of(event: Event, kind: str, members: Sequence[Trigger]) -> int:
    """Sensors that agree are a step worse than the worst of them; a storm is as bad as its worst."""
    if kind == "device_fault":
        return 4
    worst = min(t.severity for t in members)
    return worst if event.how == "storm" else max(1, worst - 1)


def title_of(event: Event, kind: str, members: Sequence[Trigger]) -> dict[str, str]:
    """The headline in both languages."""
    families = {family_of(t.kind) for t in members}
    name = kind
    if event.how == "storm":
        name = "storm"
    elif kind == "building" and len(families) == 1:
        name = next(iter(families))
    zh, en = TITLES.get(name) or TITLES["building"]
    return {"zh": zh, "en": en}


def why(event: Event, kind: str, devices: int) -> list[Words]:
    """The reasons, each in both languages with its numbers."""
    told = [_rule_words(event, kind, devices)]
    for device, offset_s in sorted(event.clocks.items()):
        told.append({
            "zh": f"设备 {device} 的时钟{'快' if offset_s > 0 else '慢'} {abs(offset_s):,.0f} 秒，未计入",
            "en": f"left out: the clock of {device} is {abs(offset_s):,.0f} s "
            f"{'ahead' if offset_s > 0 else 'behind'}",
            "device": device, "offset_s": offset_s,
        })  # fmt: skip
    took_in = [(f"并入事件 {other}", f"took in incident {other}", other) for other in event.absorbed]
    told += [{"zh": zh, "en": en, "incident": other} for zh, en, other in took_in]
    return told


def _rule_words(event: Event, kind: str, n: int) -> Words:
    spread, far, (soon_zh, soon) = event.spread_us / 1e6, _far(event.size_m), _soon(event.spread_us / 1e6)
    facts = {"rule": event.how, "devices": n, "needed": event.needed, "spread_s": round(spread, 3),
             "size_m": round(event.size_m, 1)}  # fmt: skip
    if kind == "device_fault":
        zh = f"{n} 台设备相距 {far}，却在 {spread:.2f} 秒内一起触发，快于任何波"
        en = f"{n} devices over {far} began within {spread:.2f} s: faster than any wave"
    elif event.how == "stations":
        zh = f"{n} 台设备在 {far} 内先后触发，时差不超过波的走时；按当前背景需 {event.needed} 台"
        en = f"{n} devices over {far} within a wave's travel time; the background asks for {event.needed}"
    elif event.how == "plum":
        zh = f"相邻房屋同时强烈晃动（{n} 台设备，{far}）"
        en = f"neighbouring buildings shake strongly together ({n} devices, {far})"
    elif event.how == "storm":
        zh = f"{n} 台设备{soon_zh}报警，没有别的解释，合并为一条"
        en = f"{n} devices in alarm {soon} and no other explanation: folded into one"
    else:
        zh = f"同一地点 {n} 台设备{soon_zh}报警"
        en = f"{n} devices at one spot {soon}"
    return {"zh": zh, "en": en, **facts}


def _far(metres: float) -> str:
    """A distance as people say it: ``4 m``, ``2.3 km``."""
    return f"{metres:.0f} m" if metres < 1000 else f"{metres / 1000:.1f} km"


def _soon(seconds: float) -> tuple[str, str]:
    """How soon after one another, in Chinese and English; nobody wants to read "within 0.0 s"."""
    if seconds < 0.05:
        return "同时", "at the same moment"
    return f"在 {seconds:.1f} 秒内", f"within {seconds:.1f} s"


def geometry(members: Sequence[Trigger]) -> tuple[dict[str, float] | None, float | None]:
    """Centre of the devices that have a place, and the metres to the farthest of them."""
    placed = {t.key[1]: (t.lon, t.lat) for t in members if t.lon is not None and t.lat is not None}
    if not placed:
        return None, None
    lonlat = np.array(list(placed.values()), np.float64)
    lon, lat = (float(v) for v in lonlat.mean(axis=0))
    radius = distance_m(positions(lonlat[:, 0], lonlat[:, 1]), positions(lon, lat)).max()
    return {"lon": round(lon, 6), "lat": round(lat, 6)}, round(float(radius), 1)


def codes_of(members: Sequence[Trigger]) -> list[str]:
    """Codes of the places it lies in, the finest that are not too many."""
    codes = {t.code for t in members if t.code}
    for digits in (15, 12, 9, 6):
        cut = sorted({code[:digits] for code in codes})
        if len(cut) <= CODES_MAX:
            return cut
    return []


def member_json(t: Trigger, first: Trigger, alert: str | None) -> Words:
    """One member: since when, how far from and how long after the first."""
    away = None
    if t.lon is not None and first.lon is not None:
        away = round(float(distance_m(positions(t.lon, t.lat or 0.0), positions(first.lon, first.lat or 0.0))), 1)
    return {
        "device": t.device_id, "kind": t.kind, "alert": alert, "at": iso(t.t_us), "severity": t.severity,
        "place": t.code, "distance_m": away, "lag_s": round((t.t_us - first.t_us) / 1e6, 3),
    }  # fmt: skip


def body_of(
    event: Event, engine: Association, ids: Mapping[tuple[str, int, int], str], exercise: str | None, at_us: int
) -> Words:
    """The contract's object but for what the store adds: version, cursor, state, condition."""
    members = engine.members(event)
    kind = kind_of(event, members)
    center, radius_m = geometry(members)
    alerts = [ids[t.key] for t in members if t.key in ids]
    return {
        "id": event.id, "kind": kind, "severity": severity_of(event, kind, members),
        "title": title_of(event, kind, members), "started_at": iso(event.first_us),
        "detected_at": iso(event.detected_us), "known_at": iso(event.known_us), "updated_at": iso(at_us),
        "alerts": list(dict.fromkeys(alerts))[:LISTED_MAX], "alert_count": len(set(alerts)),
        "devices": event.devices,
        "center": center, "radius_m": radius_m, "why": why(event, kind, event.devices), "exercise": exercise,
        "late": all(t.late for t in members),
        "members": [member_json(t, members[0], ids.get(t.key)) for t in members[:LISTED_MAX]],
        "clock_faults": [{"device": d, "offset_s": s} for d, s in sorted(event.clocks.items())],
        "places": codes_of(members), "merged_into": event.merged_into,
        "alert_kind": _told_as(members),
    }  # fmt: skip


def _told_as(members: Sequence[Trigger]) -> str:
    """The kind of alert whose duties fit it: the one most members have, alerts before picks."""
    kinds = [t.kind for t in members if not t.is_pick] or ["vibration.shaking"]
    return max(sorted(set(kinds)), key=kinds.count)


def memory_of(event: Event) -> Words:
    """What association needs to take the incident up again after a restart."""
    return {
        "how": event.how, "low": [v for v in event.low.tolist() if np.isfinite(v)],
        "high": [v for v in event.high.tolist() if np.isfinite(v)], "first_us": event.first_us,
        "last_us": event.last_us, "confirmed_us": event.confirmed_us, "detected_us": event.detected_us,
        "known_us": event.known_us, "needed": event.needed, "spread_us": event.spread_us,
        "clocks": event.clocks, "absorbed": event.absorbed, "has_other": event.has_other,
        "devices": event.devices,
    }  # fmt: skip


def event_of(incident: str, memory: Mapping[str, Any]) -> Event:
    """The event of its memory; the triggers come with ``Association.resume``."""
    known = {**memory}
    low, high = known.pop("low"), known.pop("high")
    event = Event(0, incident, **known)
    if low and high:
        event.low, event.high = np.array(low), np.array(high)
    return event
