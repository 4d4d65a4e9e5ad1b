"""Dahua event text: ``Code=…;action=…;index=…;data={…}``, as its event manager writes it.

    hook dahua?device=ID      one event, or several chunks of the stream with their boundary lines

    part                           ours
    ?device=                       device (the text names none); index n > 0 is channel n + 1: {device}-(n+1)
    Code                           type
    action Start, Stop, Pulse      phase: start, end; a pulse is a short event of its own
    data.UTC, data.UTCMS           t; many cameras write local time here: see below
    data.Object.BoundingBox        box, on Dahua's grid of 8192
    data.Object.ObjectType         objects
    data.Object.Confidence         score, 0..255 or 0..100: left out
    data.Name, data.RegionName     text, event_id

``UTC`` is often the camera's *local* clock counted as if it were UTC, which reads as hours
ahead. A time ahead of the arrival that is right once the zone's offset is taken off is
taken so; others that are ahead are refused. Without UTC it is the arrival. ``Heartbeat`` is status online.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

from domain.errors import PayloadError
from ingest.adapters.event_types import event_type
from ingest.adapters.fields import Fields, json_of, shown, whole_seconds
from ingest.adapters.hooks import channel_id, picture_url, sender
from ingest.adapters.things import Adapt, Given, Ports, Thing, camera, online
from ingest.codec import PAYLOAD_BYTES_MAX, CameraEventMessage
from ingest.times import AHEAD_US_MAX

GRID = 8192.0
EVENTS_MAX = 200
CHANNELS_MAX = 10_000
PHASES: dict[str, Literal["start", "end"]] = {"start": "start", "pulse": "start", "stop": "end"}
_HEAD = re.compile(r"Code=([A-Za-z0-9_]{1,64});\s*action=([A-Za-z]{1,16});\s*index=(\d{1,5})(?:;\s*data=)?")


def adapter(ports: Ports) -> Adapt:
    """Keeps no state."""
    return adapt


def adapt(given: Given) -> list[Thing]:
    """All events of one body. Raises: PayloadError; one bad event refuses all."""
    if len(given.payload) > PAYLOAD_BYTES_MAX:
        raise PayloadError("too_large", f"{len(given.payload)} bytes, more than {PAYLOAD_BYTES_MAX}")
    named = sender(given)
    if named is None:
        raise PayloadError("bad_id", "the text names no device: say which with ?device=")
    text = text_of_body(given.payload)
    heads = list(_HEAD.finditer(text))
    if len(heads) > EVENTS_MAX:
        raise PayloadError("too_many_values", f"payload holds {len(heads)} events, more than {EVENTS_MAX}")
    if not heads:
        if text.strip().lower() == "heartbeat":
            return [online(channel_id(named, 1), True, given.clock_us, kind="camera")]
        raise PayloadError("missing", "payload: no Code=…;action=…;index=… in it")
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return [
        event_of(named, number, head, text[head.end() : end], given)
        for number, (head, end) in enumerate(zip(heads, ends, strict=True))
    ]


def text_of_body(payload: bytes) -> str:
    """Names of regions come in UTF-8 or GB 18030."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload.decode("gb18030", "replace")


def event_of(named: str, number: int, head: re.Match[str], rest: str, given: Given) -> Thing:
    """One event. Raises: PayloadError."""
    code, action, index = head[1], head[2].lower(), int(head[3])
    if action not in PHASES:
        raise PayloadError("wrong_type", f"[{number}].action {shown(head[2])} is none of Start, Stop, Pulse")
    if index > CHANNELS_MAX:
        raise PayloadError("wrong_type", f"[{number}].index is more than {CHANNELS_MAX}")
    details = data_of(rest, f"[{number}].data")
    time_us = utc_us(details, given)
    object_ = details.object_or("Object")
    type_ = event_type(code)
    rule = details.text_or("Name") or next(iter(region_names(details)), None)
    pulse = [str(time_us)] if action == "pulse" else []
    event = CameraEventMessage(
        event_id="/".join([code, *([rule] if rule else []), *pulse])[-128:], phase=PHASES[action], t=0,
        type=type_[:128], box=box_of(object_) if object_ else None,
        objects=objects_of(object_), snapshot_url=picture_url(given), text=rule,
    )  # fmt: skip
    return camera(channel_id(named, index + 1), event, time_us)


def data_of(rest: str, path: str) -> Fields:
    """The JSON behind ``data=``, up to its last brace; none is an empty object. Raises: PayloadError."""
    end = rest.rfind("}")
    if not rest.lstrip().startswith("{") or end < 0:
        return Fields({}, path)
    return Fields.of(json_of(rest[: end + 1].encode("utf-8", "replace")), path)


def region_names(details: Fields) -> Iterator[str]:
    """Raises: PayloadError."""
    if isinstance(details.values.get("RegionName"), list):
        yield from details.texts("RegionName")


def objects_of(object_: Fields | None) -> tuple[str, ...]:
    """Raises: PayloadError."""
    kind = object_.text_or("ObjectType") if object_ else None
    return (kind[:128],) if kind and kind != "Unknown" else ()


def box_of(object_: Fields) -> tuple[float, float, float, float] | None:
    """Raises: PayloadError."""
    corners = object_.list_or("BoundingBox")
    if len(corners) != 4:
        return None
    box = Fields(dict(zip("0123", corners, strict=True)), object_.at("BoundingBox"))
    x0, y0, x1, y1 = (min(max(box.number(name) / GRID, 0.0), 1.0) for name in "0123")
    return x0, y0, x1, y1


def utc_us(details: Fields, given: Given) -> int:
    """The event's time, also where the camera counts its local clock as UTC. Raises: PayloadError."""
    seconds = details.number_or("UTC")
    if not seconds:
        return given.clock_us
    seconds += (details.number_or("UTCMS") or 0) / 1000
    here = datetime.fromtimestamp(given.clock_us / 1e6, UTC).astimezone(given.zone).utcoffset() or timedelta()
    ahead = seconds * 1e6 - given.clock_us > AHEAD_US_MAX
    if ahead and seconds * 1e6 - given.clock_us - here.total_seconds() * 1e6 <= AHEAD_US_MAX:
        seconds -= here.total_seconds()
    return whole_seconds(seconds, details.at("UTC"), given)
