"""The AsyncAPI 3 document of MQTT in and the live feed out, made from the same constants as the code."""

from __future__ import annotations

from typing import Any

from api import messages
from api.filters import VALUES_MAX
from api.version import VERSION

T = {"description": "epoch seconds, epoch milliseconds (>= 1e11), or ISO 8601", "type": ["number", "string"]}
NUMBERS = {"type": "array", "items": {"type": "number"}}
DATUMS = ["wgs84", "gcj02", "bd09", "cgcs2000"]


def thing(required: list[str], **properties: Any) -> dict[str, Any]:
    """A JSON object's schema."""
    return {"type": "object", "required": required, "properties": properties}


READING = thing(
    ["values"], t=T, seq={"type": "integer"}, values={"type": "object", "additionalProperties": {"type": "number"}}
)

# channel → address, what it says, schema; {id} is 1-64 of A-Za-z0-9._-
DEVICE_TOPICS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "readings": (
        "sensors/{id}/readings",
        "One message of readings, or a list of such",
        {"oneOf": [READING, {"type": "array", "items": READING}]},
    ),
    "waveform": (
        "sensors/{id}/waveform",
        "Samples of up to three axes",
        thing(
            ["t", "rate_hz", "unit"], t=T, seq={"type": "integer"}, rate_hz={"type": "number"},
            unit={"enum": ["m/s2", "gal", "mm/s"]}, x=NUMBERS, y=NUMBERS, z=NUMBERS,
        ),
    ),
    "status": (
        "sensors/{id}/status",
        "Retained; also the last will",
        thing(
            [], online={"type": "boolean"}, battery_pct={"type": "number"}, rssi_dbm={"type": "number"},
            firmware={"type": "string"},
        ),
    ),
    "cameraEvents": (
        "cameras/{id}/events",
        "One phase of a camera's event",
        thing(
            ["event_id", "phase", "t", "type"], event_id={"type": "string"},
            phase={"enum": ["start", "update", "end"]}, t=T, type={"type": "string"}, score={"type": "number"},
            box=NUMBERS, objects={"type": "array", "items": {"type": "string"}}, snapshot_url={"type": "string"},
            clip_url={"type": "string"}, text={"type": "string"},
        ),
    ),
    "position": (
        "vehicles/{id}/position",
        "One position; the datum is needed",
        thing(
            ["t", "lon", "lat", "datum"], t=T, seq={"type": "integer"}, lon={"type": "number"},
            lat={"type": "number"}, datum={"enum": DATUMS}, speed_kmh={"type": "number"},
            heading_deg={"type": "number"}, bed={"enum": ["loaded", "empty"]}, cover={"enum": ["closed", "open"]},
        ),
    ),
}  # fmt: skip

COMMAND = thing([], resend={"type": "array", "items": {"type": "integer"}})

FILTER = {
    "type": "object",
    "properties": {
        "severity": {"type": "array", "items": {"enum": [1, 2, 3, 4]}, "maxItems": VALUES_MAX},
        **{
            name: {"type": "array", "items": {"type": "string"}, "maxItems": VALUES_MAX}
            for name in ("town", "grid", "kind")
        },
        "bbox": {**NUMBERS, "minItems": 4, "maxItems": 4},
        "exercise": {"type": ["boolean", "string"]},
    },
}
ID = {"type": "string", "maxLength": messages.ID_MAX}
CURSOR = {"type": "integer", "minimum": 0}
ALERT = {"type": "object", "description": "the alert of GET /api/v1/alerts/{id}"}
INCIDENT = {"type": "object", "description": "the incident of GET /api/v1/incidents"}
INCIDENT_CHANGES = (
    "raised", "grew", "worsened", "updated", "merged", "cleared", "active", "closed", "reopened",
)  # fmt: skip
ITEMS = {"type": "array", "items": {"type": "object"}}
TIME = {"type": "string", "format": "date-time"}
SIDE = {"type": "object", "description": "town, name (zh, en), village, grid, at: the last or first point there"}

CLIENT_SAYS: dict[str, dict[str, Any]] = {
    "hello": thing(["type"], type={"const": "hello"}, ticket={"type": "string"}, token={"type": "string"}),
    "subscribe": thing(
        ["type", "channel"], type={"const": "subscribe"}, id=ID, channel={"enum": list(messages.CHANNELS)},
        filter=FILTER, since=CURSOR, device={"type": "string"}, exercise={"type": ["boolean", "string"]},
    ),
    "unsubscribe": thing(["type", "id"], type={"const": "unsubscribe"}, id=ID),
    "ping": thing(["type"], type={"const": "ping"}),
}  # fmt: skip

SERVER_SAYS: dict[str, dict[str, Any]] = {
    "snapshot": thing(
        ["type", "id", "cursor", "items"], type={"const": "snapshot"}, id=ID, cursor=CURSOR,
        items={"type": "array", "items": {"oneOf": [ALERT, INCIDENT]}}, truncated={"type": "boolean"},
        open={"type": "integer"},
    ),
    "alert": thing(
        ["type", "id", "cursor", "change", "alert"], type={"const": "alert"}, id=ID, cursor=CURSOR,
        change={"type": "string"}, alert=ALERT,
    ),
    "incident": thing(
        ["type", "id", "cursor", "change", "incident"], type={"const": "incident"}, id=ID, cursor=CURSOR,
        change={"enum": list(INCIDENT_CHANGES)}, incident=INCIDENT,
    ),
    "reload": thing(["type", "id", "reason"], type={"const": "reload"}, id=ID, reason={"type": "string"}),
    "devices": thing(["type", "id", "items"], type={"const": "devices"}, id=ID, items=ITEMS),
    "vehicles": thing(["type", "id", "items"], type={"const": "vehicles"}, id=ID, items=ITEMS),
    "handover": thing(
        ["type", "id", "seq", "change", "vehicle", "left", "entered", "crossed_at", "yours", "text"],
        type={"const": "handover"}, id=ID, seq=CURSOR, change={"enum": ["crossed", "withdrawn"]},
        vehicle={"type": "string"}, trip={"type": ["string", "null"]}, left=SIDE, entered=SIDE, crossed_at=TIME,
        location={"type": "object"}, bed={"type": ["string", "null"]}, over_gap={"type": "boolean"},
        late={"type": "boolean"}, exercise={"type": ["string", "null"]}, yours={"type": ["boolean", "null"]},
        text=thing(["zh", "en"], zh={"type": "string"}, en={"type": "string"}),
    ),
    "waveform": thing(
        ["type", "id", "device", "items"], type={"const": "waveform"}, id=ID, device={"type": "string"}, items=ITEMS
    ),
    "lagging": thing(["type", "reason"], type={"const": "lagging"}, reason={"type": "string"}),
    "error": thing(["type", "reason"], type={"const": "error"}, reason={"type": "string"}),
    "pong": thing(["type"], type={"const": "pong"}),
}  # fmt: skip


def document() -> dict[str, Any]:
    """The whole document."""
    channels, operations = device_channels()
    channels["live"] = {
        "address": "/api/v1/live",
        "servers": [{"$ref": "#/servers/live"}],
        "description": live_description(),
        "messages": {name: {"payload": schema} for name, schema in (CLIENT_SAYS | SERVER_SAYS).items()},
        "bindings": {"ws": {"method": "GET"}},
    }
    operations["clientSays"] = operation("receive", "live", list(CLIENT_SAYS))
    operations["serverSays"] = operation("send", "live", list(SERVER_SAYS))
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Gridpulse", "version": VERSION, "description": "Devices in over MQTT, alerts out live."},
        "defaultContentType": "application/json",
        "servers": {
            "broker": {"host": "localhost:1883", "protocol": "mqtt", "description": "MQTT 3.1.1 or 5, QoS 1"},
            "live": {"host": "localhost:8080", "protocol": "ws"},
        },
        "channels": channels,
        "operations": operations,
    }


def device_channels() -> tuple[dict[str, Any], dict[str, Any]]:
    """Channels and operations of the MQTT topics."""
    id_ = {"description": "1 to 64 of A-Z a-z 0-9 . _ -; a device's own, or one of a gateway's children"}
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    topics = {**DEVICE_TOPICS, "command": ("sensors/{id}/command", "Server to device", COMMAND)}
    for name, (address, description, schema) in topics.items():
        channels[name] = {
            "address": address, "servers": [{"$ref": "#/servers/broker"}], "description": description,
            "parameters": {"id": id_}, "messages": {name: {"payload": schema}},
        }  # fmt: skip
        action = "send" if name == "command" else "receive"
        operations[f"{action}{name[0].upper()}{name[1:]}"] = operation(action, name, [name])
    return channels, operations


def operation(action: str, channel: str, names: list[str]) -> dict[str, Any]:
    """What the server does on a channel."""
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names],
    }


def live_description() -> str:
    """The close codes and limits in one sentence."""
    return (
        f"Text frames of at most {messages.MESSAGE_BYTES_MAX} bytes from the client; hello comes first. "
        f"Closed with {messages.NOT_SIGNED_IN} not signed in, {messages.NOT_ALLOWED} not allowed, "
        f"{messages.LAGGING} too slow (resume with the cursor), {messages.SIGNED_OUT} signed out."
    )
