"""Topics of the contract, section 4: what a topic name says, and nothing else.

sensors/{id}/readings | waveform | status
cameras/{id}/events | status
vehicles/{id}/position | status
runs/{run}/ + any of these       an exercise; runs/live/ acts as ordinary traffic
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from domain.errors import PayloadError

SUBSCRIPTIONS = ("sensors/#", "cameras/#", "vehicles/#", "runs/#")
"""Whole trees, so that a mistyped topic is quarantined and seen instead of lost."""

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
LIVE_RUN = "live"
FOREIGN = "foreign_topic"
TOPICS_CACHED = 1 << 18
"""Topic names that are taken apart once; beyond that the longest unused is forgotten."""

KINDS = {
    ("sensors", "readings"): "readings",
    ("sensors", "waveform"): "waveform",
    ("sensors", "status"): "status",
    ("cameras", "events"): "camera_event",
    ("cameras", "status"): "status",
    ("vehicles", "position"): "position",
    ("vehicles", "status"): "status",
}

DEVICE_KINDS = {"sensors": "sensor", "cameras": "camera", "vehicles": "vehicle"}


class Topic(msgspec.Struct, frozen=True, cache_hash=True):
    """``run``: the exercise, None for real traffic; ``live``: came as runs/live/.

    ``kind``: readings, waveform, status, camera_event, position; ``device_kind``:
    what an unknown device is registered as. One object for all messages of a topic,
    with its hash kept, so that looking up its device costs next to nothing.
    """

    device_id: str
    kind: str
    run: str | None
    live: bool
    device_kind: str


@lru_cache(maxsize=TOPICS_CACHED)
def parse_topic(topic: str) -> Topic | None:
    """What a topic names; None for a message that is not for us (commands to devices).

    Raises: PayloadError ``foreign_topic`` or ``bad_id``.
    """
    levels = topic.split("/")
    run: str | None = None
    live = False
    if levels[0] == "runs":
        if len(levels) != 5 or not NAME.fullmatch(levels[1]):
            raise PayloadError(FOREIGN, "expected runs/{run}/sensors|cameras|vehicles/{id}/…")
        live = levels[1] == LIVE_RUN
        run = None if live else levels[1]
        levels = levels[2:]
    if len(levels) == 3 and levels[0] == "sensors" and levels[2] == "command":
        return None
    kind = KINDS.get((levels[0], levels[2])) if len(levels) == 3 else None
    if kind is None:
        raise PayloadError(FOREIGN, "no such topic in the contract, section 4")
    if not NAME.fullmatch(levels[1]):
        raise PayloadError("bad_id", "a device id is 1-64 of A-Za-z0-9._-")
    device_kind = "vibration" if kind == "waveform" else DEVICE_KINDS[levels[0]]
    return Topic(levels[1], kind, run, live, device_kind)
