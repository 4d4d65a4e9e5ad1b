"""The live feed's messages (contract, section 6): text in, values or PayloadError out; values in, text out.

Refuses to know sockets, users and databases. An ``id`` names a subscription of
one client; without one it is the channel's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from api.filters import AlertFilter, parse_filter
from domain.errors import PayloadError

MESSAGE_BYTES_MAX = 16 * 1024
CHANNELS = ("alerts", "incidents", "devices", "waveform", "vehicles")
ID_MAX = 64
CURSOR_MAX = 2**63 - 1

NOT_SIGNED_IN = 4001
NOT_ALLOWED = 4003
LAGGING = 4008
SIGNED_OUT = 4009


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message; ``secret`` is a one-time ticket or a bearer token."""

    secret: str
    kind: str


@dataclass(frozen=True, slots=True)
class SubscribeAlerts:
    """Alerts (or ``channel`` incidents) from a snapshot, or with ``since`` from a cursor on."""

    id: str
    filter: AlertFilter
    since: int | None
    channel: str = "alerts"


@dataclass(frozen=True, slots=True)
class SubscribeValues:
    """Newest values of a channel; ``device`` for waveform, ``exercise``: runs' devices too."""

    id: str
    channel: str
    device: str | None
    exercise: str | None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """End the subscription of this id."""

    id: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there."""


ClientMessage = Hello | SubscribeAlerts | SubscribeValues | Unsubscribe | Ping


def parse(text: str | bytes) -> ClientMessage:
    """One client message.

    Raises: PayloadError: too_large, not_json, bad_message, bad_filter.
    """
    if len(text) > MESSAGE_BYTES_MAX:
        raise PayloadError("too_large", f"a message has at most {MESSAGE_BYTES_MAX} bytes")
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise PayloadError("not_json", "a message is one JSON object") from error
    if not isinstance(message, dict):
        raise PayloadError("bad_message", "a message is one JSON object")
    match message.get("type"):
        case "hello":
            return hello(message)
        case "subscribe":
            return subscribe(message)
        case "unsubscribe":
            return Unsubscribe(subscription_id(message, None))
        case "ping":
            return Ping()
    raise PayloadError("bad_message", "type: hello, subscribe, unsubscribe or ping")


def hello(message: Mapping[str, Any]) -> Hello:
    """``ticket`` or ``token``."""
    for field, kind in (("ticket", "ticket"), ("token", "bearer")):
        secret = message.get(field)
        if isinstance(secret, str) and secret:
            return Hello(secret, kind)
    raise PayloadError("bad_message", "hello: give a ticket (POST /api/v1/live-ticket) or a token")


def subscribe(message: Mapping[str, Any]) -> SubscribeAlerts | SubscribeValues:
    """A subscription to one channel."""
    channel = message.get("channel")
    if channel not in CHANNELS:
        raise PayloadError("bad_message", f"channel: {', '.join(CHANNELS)}")
    id_ = subscription_id(message, channel)
    wanted = parse_filter(mapping(message.get("filter")), message.get("exercise"))
    if channel in ("alerts", "incidents"):
        return SubscribeAlerts(id_, wanted, since(message.get("since")), channel)
    device = message.get("device")
    if channel == "waveform" and not (isinstance(device, str) and 0 < len(device) <= ID_MAX):
        raise PayloadError("bad_message", "waveform: name its device")
    return SubscribeValues(id_, channel, device if channel == "waveform" else None, wanted.exercise)


def subscription_id(message: Mapping[str, Any], otherwise: str | None) -> str:
    """The client's own name of a subscription."""
    id_ = message.get("id", otherwise)
    if not isinstance(id_, str) or not 0 < len(id_) <= ID_MAX:
        raise PayloadError("bad_message", f"id: a text of 1 to {ID_MAX} characters")
    return id_


def mapping(given: object) -> Mapping[str, Any]:
    """A JSON object, or nothing."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise PayloadError("bad_filter", "filter: a JSON object")
    return given


def since(given: object) -> int | None:
    """A cursor: an integer that is not negative."""
    if given is None:
        return None
    if type(given) is not int or not 0 <= given <= CURSOR_MAX:
        raise PayloadError("bad_message", "since: the cursor of the last message, an integer")
    return given


def frame(type_: str, **members: Any) -> str:
    """One server message."""
    return msgspec.json.encode({"type": type_, **members}).decode()


def alert_frame(id_: str, cursor: int, change: str, alert_json: str) -> str:
    """The hot one: an alert already encoded, put in by concatenation."""
    head = msgspec.json.encode({"type": "alert", "id": id_, "cursor": cursor, "change": change}).decode()
    return f'{head[:-1]},"alert":{alert_json}}}'
