"""Frigate: reviews (incidents) and events (tracked objects) of its cameras.

    {prefix}/reviews   {"type": "new"|"update"|"end", "before": {…}, "after": {…}}
    {prefix}/events    the same about one tracked object
    {prefix}/available, {camera}/status/{role}, stats, motion, snapshots, … are read by nobody: ignored

    field of after           review                          event
    camera                   device                          device
    id                       event_id                        event_id
    type (outside)           phase: new → start              the same
    start_time, end_time     t of start and end              t of end
    frame_time                                               t of start and update
    data.detections          t of an update: the newest      (their ids begin with their start)
                             object's start
    severity, data.objects   type, see below                 label → type
    data.objects, data.audio objects                         label
    score, top_score                                         score
    data.zones, entered_zones text                           text

Reviews are what to alarm by: one item an incident. A review of severity ``alert`` with a
fire or smoke among its objects is fire or smoke, else intrusion; severity ``detection``
is ``motion``, which has no rule, until it is promoted. A tracked object's type is its
label (``person``, ``car``, ``fire``, …). Boxes are in pixels of a picture whose size the
message does not say, so none is taken. Sub-labels are names of people, plates or couriers:
they are left out. The picture is Frigate's own snapshot, where
settings give its address (``GRIDPULSE_FRIGATE_URL``).
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from domain.errors import PayloadError
from ingest.adapters.event_types import event_type
from ingest.adapters.fields import TEXT_MAX, Fields, fields_of, number_of, whole_seconds
from ingest.adapters.things import Adapt, Given, Ports, Thing, camera, device_id
from ingest.codec import CameraEventMessage

PHASES: dict[str, Literal["start", "update", "end"]] = {"new": "start", "update": "update", "end": "end"}
OBJECTS_MAX = 50


def adapter(ports: Ports) -> Adapt:
    """Keeps no state; ``frigate_url`` makes the addresses of pictures."""
    base = ports.options.frigate_url.rstrip("/")

    def adapt(given: Given) -> list[Thing]:
        last = given.topic.rsplit("/", 1)[-1]
        if last not in ("reviews", "events"):
            return []
        message = fields_of(given)
        phase = PHASES.get(message.text("type"))
        if phase is None:
            raise PayloadError("wrong_type", f"{message.at('type')} is none of new, update, end")
        after = message.object("after")
        if last == "reviews":
            return [review(after, phase, given, base)]
        return [tracked_object(after, phase, given, base)]

    return adapt


def review(after: Fields, phase: Literal["start", "update", "end"], given: Given, base: str) -> Thing:
    """One message of a review item. Raises: PayloadError."""
    details = after.object_or("data") or Fields({}, after.at("data"))
    objects = [*details.texts("objects"), *details.texts("audio")]
    found = {event_type(name) for name in objects}
    plain = "intrusion" if after.text_or("severity") == "alert" else "motion"
    type_ = "fire" if "fire" in found else "smoke" if "smoke" in found else plain
    detections = details.texts("detections")
    id_ = after.text("id")
    pictured = detections[0] if detections else id_
    event = CameraEventMessage(
        event_id=short(id_, after.at("id")), phase=phase, t=0, type=type_,
        objects=objects_of(objects),
        snapshot_url=snapshot(base, pictured), clip_url=clip(base, pictured) if phase == "end" else None,
        text=zones(details.texts("zones")),
    )  # fmt: skip
    return camera(device_id(after.text("camera")), event, review_us(after, details, phase, detections, given))


def review_us(after: Fields, details: Fields, phase: str, detections: list[str], given: Given) -> int:
    """The time of a message about a review; the same whenever it is delivered. Raises: PayloadError."""
    start_us = seconds(after, "start_time", given)
    if phase == "end" and "end_time" in after:
        return seconds(after, "end_time", given)
    if phase == "start":
        return start_us
    newest = start_us
    for index, name in enumerate(detections):
        began = name.split("-", 1)[0]
        path = f"{details.at('detections')}[{index}]"
        newest = max(newest, whole_seconds(number_of(began, path), path, given))
    return newest


def tracked_object(after: Fields, phase: Literal["start", "update", "end"], given: Given, base: str) -> Thing:
    """One message of a tracked object. Raises: PayloadError."""
    label, id_ = after.text("label"), after.text("id")
    score = after.number_or("score")
    if score is None or score == 0:
        score = after.number_or("top_score")
    at = "end_time" if phase == "end" and "end_time" in after else "frame_time"
    event = CameraEventMessage(
        event_id=short(id_, after.at("id")), phase=phase, t=0, type=event_type(label), score=score,
        objects=objects_of([label]),
        snapshot_url=snapshot(base, id_) if after.values.get("has_snapshot") is not False else None,
        clip_url=clip(base, id_) if phase == "end" and after.values.get("has_clip") is True else None,
        text=zones(after.texts("entered_zones")),
    )  # fmt: skip
    return camera(device_id(after.text("camera")), event, seconds(after, at, given))


def seconds(after: Fields, name: str, given: Given) -> int:
    """Frigate's times are epoch seconds. Raises: PayloadError."""
    return whole_seconds(after.number(name), after.at(name), given)


def short(text: str, path: str) -> str:
    """An event's id, which the table bounds. Raises: PayloadError."""
    if len(text) > 128:
        raise PayloadError("too_long", f"{path} has {len(text)} characters, more than 128")
    return text


def objects_of(names: list[str]) -> tuple[str, ...]:
    """Each name once, in the order given, bounded."""
    return tuple(name[:128] for name in list(dict.fromkeys(names))[:OBJECTS_MAX])


def zones(names: list[str]) -> str | None:
    """The zones as the event's text."""
    return ", ".join(names)[:TEXT_MAX] or None


def snapshot(base: str, event: str) -> str | None:
    """Frigate's address of an object's picture."""
    return f"{base}/api/events/{quote(event[:128], safe='')}/snapshot.jpg" if base else None


def clip(base: str, event: str) -> str | None:
    """Frigate's address of an object's clip."""
    return f"{base}/api/events/{quote(event[:128], safe='')}/clip.mp4" if base else None
