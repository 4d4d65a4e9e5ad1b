"""Hikvision ISAPI: ``EventNotificationAlert`` as a camera or recorder posts it.

    hook hikvision[?device=ID]     XML, or multipart with the XML and a picture

    element                              ours
    ?device=, else macAddress,           device; channel n > 1 of a recorder is {device}-n
      else ipAddress
    channelID, dynChannelID              channel
    eventType, or with "duration"        type
      DurationList/Duration/relationEvent
    eventState active / inactive         phase: start / end; with activePostCount > 1: update
    dateTime                             t; without a zone GRIDPULSE_TIMEZONE
    DetectionRegionEntry: regionID       event_id, with type and channel: one is open at a time
    TargetRect, else                     box: X, Y, width, height are 0..1, positions 0..1000 from
      RegionCoordinatesList                the lower left corner
    detectionTarget                      objects
    channelName, eventDescription        text
    the picture                          snapshot_url

A ``videoloss`` that is inactive is the heartbeat: status online. Namespaces
(hikvision.com, isapi.org, none) do not matter. ``isDataRetransmission`` changes nothing: the
event's own time counts.
"""

from __future__ import annotations

import math
from typing import Literal

from domain.errors import PayloadError
from ingest.adapters.event_types import event_type
from ingest.adapters.fields import time_of
from ingest.adapters.hooks import channel_id, picture_url, sender
from ingest.adapters.things import Adapt, Given, Ports, Thing, camera, online
from ingest.adapters.xml import Element, xml_of
from ingest.codec import CameraEventMessage

ROOT = "EventNotificationAlert"
POSITIONS = 1000.0
CHANNELS_MAX = 10_000
REGIONS_MAX = 64
Box = tuple[float, float, float, float]


def adapter(ports: Ports) -> Adapt:
    """Keeps no state."""
    return adapt


def adapt(given: Given) -> list[Thing]:
    """One alert. Raises: PayloadError."""
    alert = xml_of(given.payload)
    if alert.name != ROOT:
        raise PayloadError("wrong_type", f"payload is a {alert.name[:48]}, not an {ROOT}")
    device = device_of(alert, given)
    time_us = time_of(required(alert, "dateTime"), f"{ROOT}.dateTime", given)
    vendor = kind_of(alert)
    state = required(alert, "eventState").lower()
    if state not in ("active", "inactive"):
        raise PayloadError("wrong_type", f"{ROOT}.eventState is neither active nor inactive")
    if vendor.lower() == "videoloss" and state == "inactive":
        return [online(device, True, time_us, kind="camera")]
    regions = alert.descendants("DetectionRegionEntry")[:REGIONS_MAX]
    region = regions[0] if regions else None
    name = (region.text_at("regionID") if region else None) or "0"
    event = CameraEventMessage(
        event_id=f"{event_type(vendor)}/{integer(alert, 'channelID', 1)}/{name}"[:128],
        phase=phase_of(alert, state), t=0, type=event_type(vendor)[:128], box=box_of(region) if region else None,
        objects=tuple(dict.fromkeys(t[:128] for r in regions if (t := r.text_at("detectionTarget")))),
        snapshot_url=picture_url(given), text=text_of_alert(alert),
    )  # fmt: skip
    return [camera(device, event, time_us)]


def required(alert: Element, name: str) -> str:
    """Raises: PayloadError ``missing``."""
    text = alert.text_at(name)
    if not text:
        raise PayloadError("missing", f"{ROOT}.{name} is not there")
    return text


def integer(alert: Element, name: str, default: int) -> int:
    """A number of a channel or a count. Raises: PayloadError."""
    text = alert.text_at(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise PayloadError("wrong_type", f"{ROOT}.{name} is not a number")
    return int(text)


def device_of(alert: Element, given: Given) -> str:
    """Raises: PayloadError."""
    named = sender(given)
    if named is None:
        mac = (alert.text_at("macAddress") or "").replace(":", "").replace("-", "").lower()
        named = mac or alert.text_at("ipAddress")
    if not named:
        raise PayloadError("bad_id", f"{ROOT}: neither macAddress nor ipAddress; name the sender with ?device=")
    at = "channelID" if alert.text_at("channelID") else "dynChannelID"
    channel = integer(alert, at, 1)
    if channel > CHANNELS_MAX:
        raise PayloadError("wrong_type", f"{ROOT}.{at} is more than {CHANNELS_MAX}")
    return channel_id(named, channel)


def kind_of(alert: Element) -> str:
    """The event's type; a recorder wraps the camera's own as ``duration``. Raises: PayloadError."""
    kind = required(alert, "eventType")
    if kind.lower() == "duration":
        kind = alert.text_at("DurationList", "Duration", "relationEvent") or kind
    return kind


def phase_of(alert: Element, state: str) -> Literal["start", "update", "end"]:
    """Raises: PayloadError."""
    if state == "inactive":
        return "end"
    return "update" if integer(alert, "activePostCount", 1) > 1 else "start"


def text_of_alert(alert: Element) -> str | None:
    """Channel and description, for people."""
    parts = (alert.text_at("channelName"), alert.text_at("eventDescription"))
    return ": ".join(part for part in parts if part)[:1000] or None


def box_of(region: Element) -> Box | None:
    """The target, else the region, as x0, y0, x1, y1 from the upper left. Raises: PayloadError."""
    rect = region.child("TargetRect")
    if rect is not None:
        x, y, w, h = (decimal(rect, name) for name in ("X", "Y", "width", "height"))
        return inside(x, y, x + w, y + h)
    points = region.descendants("RegionCoordinates")
    if not points:
        return None
    xs = [decimal(p, "positionX") / POSITIONS for p in points]
    ys = [1 - decimal(p, "positionY") / POSITIONS for p in points]
    return inside(min(xs), min(ys), max(xs), max(ys))


def decimal(element: Element, name: str) -> float:
    """Raises: PayloadError."""
    try:
        value = float(element.text_at(name) or "")
    except ValueError as error:
        raise PayloadError("wrong_type", f"{ROOT}.….{element.name[:48]}.{name} is not a number") from error
    if not math.isfinite(value):
        raise PayloadError("not_finite", f"{ROOT}.….{element.name[:48]}.{name} is {value}")
    return value


def inside(x0: float, y0: float, x1: float, y1: float) -> Box:
    """Cut to the picture: targets reach over its edge."""
    return min(max(x0, 0), 1), min(max(y0, 0), 1), min(max(x1, 0), 1), min(max(y1, 0), 1)
