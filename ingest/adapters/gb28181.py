"""GB/T 28181 alarms as JSON, as WVP relays them; SIP itself is not spoken here.

    hook gb28181, or MQTT where a bridge republishes them
    {"gbId", "alarmSn", "alarmType", "alarmDescription"}                       AlarmChannelMessage
    {"channelDeviceId", "channelName", "description", "snapPath", "recordPath",
     "longitude", "latitude", "alarmType", "alarmTime"}                        Alarm
    {"DeviceID", "AlarmPriority", "AlarmMethod", "AlarmTime", "AlarmType" or "Info": {"AlarmType"}}   Notify as JSON

    field                          ours
    channelDeviceId, gbId,         device, the 20-digit code
      DeviceID
    alarmMethod, alarmType         type, by the tables below (A.2.5); Info.AlarmType wins over the outer one
    alarmTime                      t: epoch ms, or local time without a zone; the arrival where there is none
    alarmPriority                  objects: priority:1 … 4; the severity is the rule's business
    snapPath, recordPath           snapshot_url, clip_url, if they are http addresses
    alarmDescription, description  text
    alarmSn, SN                    event_id, with time and type

An alarm is a moment: an event without an end, which the detector gives up in time.
``longitude`` and ``latitude`` of 0 mean absent; the registry's place of the camera is used anyway.
"""

from __future__ import annotations

from collections.abc import Mapping

from domain.errors import PayloadError
from ingest.adapters.event_types import event_type
from ingest.adapters.fields import Fields, fields_of
from ingest.adapters.hooks import picture_url
from ingest.adapters.things import Adapt, Given, Ports, Thing, camera, device_id
from ingest.codec import CameraEventMessage

VIDEO: Mapping[str, str] = {
    "1": "manual", "2": "motion", "3": "left_object", "4": "taken_object", "5": "line_crossing", "6": "intrusion",
    "7": "wrong_way", "8": "loitering", "9": "traffic_count", "10": "crowd", "11": "video_fault",
    "12": "fast_motion",
}  # fmt: skip
"""AlarmType where AlarmMethod is 5 (video), and where no method is given."""

DEVICE: Mapping[str, str] = {"1": "video_loss", "2": "tamper", "3": "disk_full", "4": "overheated", "5": "too_cold"}
"""AlarmType where AlarmMethod is 2 (device)."""

FAULT: Mapping[str, str] = {"1": "disk_fault", "2": "fan_fault"}
"""AlarmType where AlarmMethod is 6 (fault)."""

METHODS: Mapping[str, str] = {
    "1": "telephone",
    "2": "device",
    "3": "message",
    "4": "gps",
    "5": "video",
    "6": "fault",
    "7": "other",
}
DEVICES = ("channelDeviceId", "gbId", "DeviceID", "deviceId")


def adapter(ports: Ports) -> Adapt:
    """Keeps no state."""
    return adapt


def adapt(given: Given) -> list[Thing]:
    """One alarm. Raises: PayloadError."""
    alarm = fields_of(given)
    alarm = Fields({lower_first(name): value for name, value in alarm.values.items()}, alarm.path)
    named = next((name for name in map(lower_first, DEVICES) if name in alarm), None)
    if named is None:
        raise PayloadError("missing", f"{alarm.path}: none of {', '.join(DEVICES)} is there")
    time_us = alarm.time_or_arrival("alarmTime", given)
    type_ = type_of(alarm)
    number = alarm.text_or("alarmSn") or alarm.text_or("sN") or ""
    at = str(time_us) if "alarmTime" in alarm else ""
    event_id = "/".join(part for part in (type_, number, at) if part)
    priority = alarm.text_or("alarmPriority")
    event = CameraEventMessage(
        event_id=event_id[-128:], phase="start", t=0, type=type_[:128],
        objects=(f"priority:{priority[:16]}",) if priority else (),
        snapshot_url=picture_url(given) or web(alarm, "snapPath"), clip_url=web(alarm, "recordPath"),
        text=alarm.text_or("alarmDescription") or alarm.text_or("description"),
    )  # fmt: skip
    return [camera(device_id(alarm.text(named)), event, time_us)]


def lower_first(name: str) -> str:
    """``AlarmTime`` and ``alarmTime`` are one."""
    return name[:1].lower() + name[1:]


def type_of(alarm: Fields) -> str:
    """By the standard's tables; a text is taken by the event table. Raises: PayloadError."""
    outer = alarm.object_or("info")
    within = Fields({lower_first(n): v for n, v in outer.values.items()}, outer.path) if outer else None
    type_ = (within.text_or("alarmType") if within else None) or alarm.text_or("alarmType") or ""
    method = alarm.text_or("alarmMethod") or "5"
    if type_ and not type_.isdigit():
        return event_type(type_)
    table = DEVICE if "2" in method else FAULT if "6" in method else VIDEO
    # Methods may be combined digits; video tells most.
    table = VIDEO if "5" in method else table
    return table.get(type_) or f"alarm_{METHODS.get(method[:1], 'other')}"


def web(alarm: Fields, name: str) -> str | None:
    """An address, not a path of the platform's own disk. Raises: PayloadError."""
    text = alarm.text_or(name)
    return text if text and text.startswith(("http://", "https://")) else None
