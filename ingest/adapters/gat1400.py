"""GA/T 1400 notifications (公安视图库): what was seen where and when, and no person.

    hook gat1400     {"SubscribeNotificationListObject": {"SubscribeNotificationObject": […]}}

    field                                ours
    …ObjectList.…Object[].DeviceID       device
    …ObjectList key                      type: vehicle_seen, bicycle_seen
    MarkTime, AppearTime, PassTime,      t, yyyyMMddHHmmss in GRIDPULSE_TIMEZONE
      ShotTime, else TriggerTime
    DeviceList APEObject: IsOnline       status: online 1, else offline
    NotificationID                       event_id, with the number in the list

Persons are left out: before anything else, ``without_persons`` keeps only the fields above, so
that faces, plates, names, features, pictures and the objects' own ids reach neither the
tables nor quarantine. Registering and keep-alive (``/VIID/…``) are not spoken: a bridge that
subscribes posts the notifications here. Lists of faces and persons are dropped whole. The hook is off until
settings turn it on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from domain.errors import PayloadError
from ingest.adapters.fields import Fields, fields_of, json_of, time_of
from ingest.adapters.things import Adapt, Given, Ports, Thing, camera, device_id, online
from ingest.codec import CameraEventMessage

LISTS: Mapping[str, tuple[str, str, str]] = {
    "MotorVehicleObjectList": ("MotorVehicleObject", "vehicle_seen", "PassTime"),
    "NonMotorVehicleObjectList": ("NonMotorVehicleObject", "bicycle_seen", "PassTime"),
}
"""Which list holds what, and which of its fields is the time."""

TIMES = ("MarkTime", "AppearTime", "ShotTime")
KEPT = frozenset({
    "SubscribeNotificationListObject", "SubscribeNotificationObject", "NotificationID", "TriggerTime", "DeviceList",
    "APEListObject", "APEObject", "ApeID", "IsOnline", "DeviceID", "PassTime", *TIMES, *LISTS,
    *(inner for inner, _, _ in LISTS.values()),
})  # fmt: skip
"""Fields that are read; nothing else is kept."""

DEPTH_MAX = 12
CODE_MAX = 64
NOTIFICATIONS_MAX = 200
OBJECTS_MAX = 2_000


def adapter(ports: Ports) -> Adapt:
    """Keeps no state."""
    return adapt


def adapt(given: Given) -> list[Thing]:
    """All notifications of one body. Raises: PayloadError."""
    message = fields_of(given)
    outer = message.object_or("SubscribeNotificationListObject") or message
    notices = list(outer.objects("SubscribeNotificationObject")) or [outer]
    if len(notices) > NOTIFICATIONS_MAX:
        raise PayloadError(
            "too_many_values", f"{outer.path}: {len(notices)} notifications, more than {NOTIFICATIONS_MAX}"
        )
    things = [thing for notice in notices for thing in notification(notice, given)]
    if len(things) > OBJECTS_MAX:
        raise PayloadError("too_many_values", f"{outer.path}: {len(things)} objects, more than {OBJECTS_MAX}")
    return things


def without_persons(payload: bytes) -> bytes:
    """The body with the fields of ``KEPT`` only; what is no JSON is not kept at all. Raises nothing."""
    try:
        return msgspec.json.encode(kept(json_of(payload), 0))
    except (PayloadError, RecursionError) as error:
        return f"{len(payload)} bytes that are not kept: {error}".encode()


def kept(value: Any, depth: int) -> Any:
    """One value, without what is not read. Texts are short: times and codes."""
    if depth > DEPTH_MAX:
        return None
    if isinstance(value, dict):
        return {name: kept(inner, depth + 1) for name, inner in value.items() if name in KEPT}
    if isinstance(value, list):
        return [kept(item, depth + 1) for item in value]
    return value[:CODE_MAX] if isinstance(value, str) else value


def notification(notice: Fields, given: Given) -> Iterator[Thing]:
    """What one notification says of cameras. Raises: PayloadError."""
    id_ = notice.text("NotificationID")
    for name, (inner, type_, own_time) in LISTS.items():
        items = notice.object_or(name)
        for index, item in enumerate(items.objects(inner) if items else ()):
            time_us = moment(item, own_time, notice, given)
            event = CameraEventMessage(event_id=f"{id_[:100]}/{type_}/{index}", phase="start", t=0, type=type_)
            yield camera(device_id(item.text("DeviceID")), event, time_us)
    devices = notice.object_or("DeviceList")
    apes = devices.object_or("APEListObject") or devices if devices else None
    for ape in apes.objects("APEObject") if apes else ():
        yield online(device_id(ape.text("ApeID")), ape.text_or("IsOnline") == "1", given.clock_us, kind="camera")


def moment(item: Fields, own_time: str, notice: Fields, given: Given) -> int:
    """When it was seen, else when it was told. Raises: PayloadError."""
    for name in (own_time, *TIMES):
        if name in item:
            return compact(item, name, given)
    return compact(notice, "TriggerTime", given)


def compact(fields: Fields, name: str, given: Given) -> int:
    """``yyyyMMddHHmmss``. Raises: PayloadError."""
    text = fields.text(name)
    if len(text) != 14 or not (text.isascii() and text.isdigit()):
        raise PayloadError("bad_time", f"{fields.at(name)} is not yyyyMMddHHmmss")
    return time_of(f"{text[:8]}T{text[8:]}", fields.at(name), given)
