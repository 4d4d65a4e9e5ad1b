"""Topics of what came over HTTP: ``hooks/{adapter}/{device or _}[/{picture}]``. Pure.

``device``: the ``?device=`` of the request, for senders that do not name themselves.
``picture``: the name under which the picture that came with it is kept. In such a topic a
hook's message lies in quarantine, and can be read again from it.
"""

from __future__ import annotations

from ingest.adapters.things import Given, device_id

PREFIX = "hooks"
NOBODY = "_"
MEDIA_URL = "media:"


def hook_topic(adapter: str, device: str | None, picture: str | None) -> str:
    """The topic of a hook's message."""
    return "/".join((PREFIX, adapter, device or NOBODY, *([picture] if picture else ())))


def sender(given: Given) -> str | None:
    """The device the request named."""
    levels = given.topic.split("/")
    return None if len(levels) < 3 or levels[2] == NOBODY else levels[2]


def picture_url(given: Given) -> str | None:
    """The picture that came with it, as an event's ``snapshot_url``."""
    levels = given.topic.split("/")
    return MEDIA_URL + levels[3] if len(levels) > 3 else None


def channel_id(device: str, channel: int) -> str:
    """Channel 1 is the device itself, channel n of a recorder ``{device}-n``."""
    return device_id(device) if channel <= 1 else device_id(f"{device}-{channel}")
