"""ONVIF events over MQTT (Core specification, "JSON Event Payload", prefix ``onvif-ej``).

    {prefix}/onvif-ej/{topic of the event…}/&{source values…}
    {"UtcTime": "…Z", "Source": {"VideoSource": "1", "Rule": "Fence"}, "Data": {"State": true}}

    field                                    ours
    levels before onvif-ej                   device: the last of them; with a source or channel other
                                             than its first, "-" and that source
    Source.VideoSource(ConfigurationToken)   which camera of a recorder: part of the device id
    levels behind onvif-ej                   type (the last level that the table knows), event_id
    UtcTime                                  t; without a zone it is UTC, as its name says
    Data.State, IsMotion, … true / false     phase: start / end; without a state: one short event
    Device/Sensor/{quantity}/…               readings: Data.Value is the quantity, others {quantity}_{name};
                                             device is {device}-{Source.SensorID} where there is one
    Data.ObjectId, Source.Rule               event_id

Numbers and booleans come with or without quotes. A retained message of zero bytes says
that a property is gone: the event ends. ``onvif-mj`` (frames of metadata) is ignored.
"""

from __future__ import annotations

from typing import Any

from domain.errors import PayloadError
from ingest.adapters.event_types import TYPES, event_type
from ingest.adapters.fields import Fields, fields_of, number_of, time_of
from ingest.adapters.metric_names import Metrics, snake
from ingest.adapters.things import Adapt, Given, Ports, Thing, camera, device_id, readings
from ingest.codec import CameraEventMessage

EVENTS = "onvif-ej"
STATES = ("State", "IsMotion", "IsInside", "LogicalState", "IsTamper", "Failed", "Active", "IsSoundDetected")
TRUE, FALSE = frozenset({"true", "1", "active"}), frozenset({"false", "0", "inactive"})
CHANNEL = ("VideoSource", "VideoSourceToken", "VideoSourceConfigurationToken", "Source")
FIRST = frozenset({"", "0", "1", "000", "VideoSource_1", "VideoSourceToken", "VideoSourceConfig_1"})
UTC_SUFFIXES = ("Z", "z")


def adapter(ports: Ports) -> Adapt:
    """Keeps no state."""
    return adapt


def adapt(given: Given) -> list[Thing]:
    """One event, or the readings of a sensor event. Raises: PayloadError."""
    levels = given.topic.split("/")
    if EVENTS not in levels[1:]:
        return []
    at = levels.index(EVENTS)
    named, behind = levels[at - 1], levels[at + 1 :]
    path = [level for level in behind[: source_at(behind)] if level]
    if not path:
        raise PayloadError("foreign_topic", "nothing behind onvif-ej names an event")
    sources = [level.lstrip("&") for level in behind[source_at(behind) :]]
    if not given.payload:
        return [gone(given, named, path, sources)]
    message = fields_of(given)
    source = message.object_or("Source") or Fields({}, message.at("Source"))
    content = message.object_or("Data") or Fields({}, message.at("Data"))
    device = camera_id(named, next((source.text_or(name) or "" for name in CHANNEL if name in source), ""))
    time_us = utc(message, given)
    values = Metrics()
    if "Sensor" in path[:-1]:
        quantity = path[path.index("Sensor") + 1]
        sensor = source.text_or("SensorID")
        numbers(content, quantity, values)
        return readings(device_id(f"{named}-{sensor}") if sensor else device, values.values, time_us)
    return [event_of(device, path, sources, source, content, time_us)]


def source_at(levels: list[str]) -> int:
    """Where the source's values begin: the first level that starts with ``&``."""
    return next((i for i, level in enumerate(levels) if level.startswith("&")), len(levels))


def camera_id(named: str, channel: str) -> str:
    """A recorder's first source is the device itself."""
    return device_id(named) if channel in FIRST else device_id(f"{named}-{channel}")


def event_of(
    device: str, path: list[str], sources: list[str], source: Fields, content: Fields, time_us: int
) -> Thing:
    """The event as the contract's. Raises: PayloadError."""
    state = state_of(content)
    rule = source.text_or("Rule")
    object_ = content.text_or("ObjectId")
    names = [*path, *(sources or ([rule] if rule else []))]
    momentary = state is None
    # What has no end of its own is told apart by its time.
    own = [object_ or "", str(time_us)] if momentary else [object_ or ""]
    event = CameraEventMessage(
        event_id="/".join([*names, *(part for part in own if part)])[-128:],
        phase="end" if state is False else "start", t=0, type=type_of(path),
        objects=(object_[:128],) if object_ else (), text=rule,
    )  # fmt: skip
    return camera(device, event, time_us)


def gone(given: Given, named: str, path: list[str], sources: list[str]) -> Thing:
    """The end of a property that was deleted; it has no time, so the arrival's."""
    channel = sources[0] if len(sources) > 1 else ""
    event = CameraEventMessage(event_id="/".join([*path, *sources])[-128:], phase="end", t=0, type=type_of(path))
    return camera(camera_id(named, channel), event, given.clock_us)


def type_of(path: list[str]) -> str:
    """The last level that says what it is."""
    known = [TYPES[word] for level in path for word in (snake(level), level.lower()) if word in TYPES]
    return known[-1] if known else event_type(path[-1])[:128]


def state_of(content: Fields) -> bool | None:
    """Begun, ended, or None for an event without duration. Raises: PayloadError."""
    for name in STATES:
        if name in content:
            value = content.values[name]
            word = str(value).lower() if isinstance(value, bool | int | str) else ""
            if word in TRUE or word in FALSE:
                return word in TRUE
            raise PayloadError("wrong_type", f"{content.at(name)} is not true or false")
    return None


def numbers(content: Fields, quantity: str, values: Metrics) -> None:
    """Sensor values, with or without quotes; ``Value`` is the quantity itself. Raises: PayloadError."""
    for name, value in content.values.items():
        plain: Any = value
        if isinstance(value, str):
            word = value.lower()
            plain = True if word == "true" else False if word == "false" else number_of(value, content.at(name))
        if isinstance(plain, bool | int | float):
            number = number_of(plain if isinstance(plain, float) else plain + 0, content.at(name))
            values.add(quantity if name == "Value" else f"{quantity}_{name}", number)


def utc(message: Fields, given: Given) -> int:
    """``UtcTime``; some cameras leave out the Z. Raises: PayloadError."""
    text = message.text("UtcTime")
    zoned = text.endswith(UTC_SUFFIXES) or "+" in text or "-" in text[10:]
    return time_of(text if zoned else f"{text}Z", message.at("UtcTime"), given)
