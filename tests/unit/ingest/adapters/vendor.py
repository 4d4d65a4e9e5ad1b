"""Makes vendor messages and reads what an adapter makes of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from ingest.adapters.catalogue import ADAPTERS
from ingest.adapters.routes import rest_of
from ingest.adapters.things import Adapt, Given, Options, Ports, Thing
from ingest.codec import CameraEventMessage, StatusMessage, Values

ZONE = ZoneInfo("Asia/Shanghai")
NOW_US = 1_795_400_000_000_000
"""2026-11-23: the arrival in these tests, unless they say another."""


class Surroundings:
    """What adapters ask and note, kept."""

    def __init__(self, **options: Any) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.noted: list[str] = []
        self.ports = Ports(Options(**options), lambda t, p: self.asked.append((t, p)), self.noted.append)

    def adapter(self, name: str) -> Adapt:
        return ADAPTERS[name](self.ports)


def given(topic: str, payload: Any, pattern: str = "#", clock_us: int = NOW_US) -> Given:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
    rest = rest_of(pattern, topic)
    assert rest is not None
    return Given(topic, rest, raw, clock_us, ZONE)


def adapt(
    name: str, topic: str, payload: Any, pattern: str = "#", clock_us: int = NOW_US, **options: Any
) -> list[Thing]:
    return list(Surroundings(**options).adapter(name)(given(topic, payload, pattern, clock_us)))


def us(iso: str) -> int:
    """Microseconds of an ISO time with a zone."""
    when = datetime.fromisoformat(iso)
    assert when.tzinfo is not None
    delta = when - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds


def values_of(thing: Thing) -> dict[str, float]:
    assert isinstance(thing.content, Values)
    return dict(zip(thing.content.metric, thing.content.value, strict=True))


def event_of(thing: Thing) -> CameraEventMessage:
    assert isinstance(thing.content, CameraEventMessage)
    return thing.content


def status_of(thing: Thing) -> StatusMessage:
    assert isinstance(thing.content, StatusMessage)
    return thing.content
