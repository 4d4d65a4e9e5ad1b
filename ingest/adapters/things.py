"""What an adapter is given and what it gives back. Pure.

An adapter reads one vendor's message and answers with the contract's own contents
(`codec`): one ``Thing`` for each device and content, none where the message says
nothing we keep. What breaks the vendor's format is a PayloadError whose detail
names the field. Adapters never look at a clock: what has no time of its own is
given the arrival's, and the reference says which formats that concerns.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo

import msgspec

from domain.errors import PayloadError
from domain.readings import NO_SEQ
from ingest.codec import (
    CameraEventMessage,
    Decoding,
    Packet,
    PositionMessage,
    StatusMessage,
    Values,
    check_camera_event,
    check_values,
)

Content = Values | Packet | StatusMessage | CameraEventMessage | PositionMessage

KINDS: Mapping[type, str] = {
    Values: "readings",
    Packet: "waveform",
    StatusMessage: "status",
    CameraEventMessage: "camera_event",
    PositionMessage: "position",
}

DEVICE_ID_MAX = 64
_FOREIGN = re.compile(r"[^A-Za-z0-9._-]+")


class Given(msgspec.Struct, frozen=True, gc=False):
    """One vendor message; ``rest``: the topic from the filter's first wildcard on, or its last level."""

    topic: str
    rest: str
    payload: bytes
    clock_us: int
    zone: tzinfo

    @property
    def decoding(self) -> Decoding:
        """For the codec's own checks of time."""
        return Decoding(self.clock_us, self.zone)


class Thing(msgspec.Struct, frozen=True, gc=False):
    """One device's content out of a message; ``time_us`` is its own time, or the arrival where it has none."""

    device_id: str
    device_kind: str
    content: Content
    time_us: int

    @property
    def kind(self) -> str:
        """As in a topic of the contract."""
        return KINDS[type(self.content)]


Adapt = Callable[[Given], Sequence[Thing]]
"""Raises: PayloadError that names the field."""


class Options(msgspec.Struct, frozen=True):
    """What settings say for all adapters: ``frigate_url`` the address of Frigate's HTTP interface, empty = none."""

    frigate_url: str = ""


class Ports(msgspec.Struct, frozen=True):
    """What an adapter that keeps state may do besides answering.

    ``ask`` publishes a request (topic, payload), at QoS 0: who asks must be ready to ask
    again. ``note`` counts something under a name of the reference.
    """

    options: Options
    ask: Callable[[str, bytes], None]
    note: Callable[[str], None]


def device_id(*names: str) -> str:
    """An id of the contract out of a vendor's names, joined by ``.``.

    Names that fit stay as they are. Others (spaces, slashes, Chinese, too long) get ``_``
    for what does not fit and eight hex digits of a hash, so that two never become one.
    Raises: PayloadError ``bad_id`` when there is nothing at all.
    """
    given = ".".join(names)
    if not given.strip("."):
        raise PayloadError("bad_id", "the message names no device")
    fitting = _FOREIGN.sub("_", given)
    if fitting == given and len(given) <= DEVICE_ID_MAX:
        return given
    digest = hashlib.sha256(given.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{fitting[: DEVICE_ID_MAX - 9].strip('_.-')}-{digest}".lstrip("-")


def readings(
    device: str, values: Mapping[str, float], time_us: int, seq: int = NO_SEQ, kind: str = "sensor"
) -> list[Thing]:
    """The values of one device at one time; none for no values. Raises: PayloadError."""
    if not values:
        return []
    metric, value = list(values), list(values.values())
    check_values(metric, value)
    n = len(metric)
    return [Thing(device, kind, Values([time_us] * n, [seq] * n, metric, value), time_us)]


def online(device: str, is_online: bool, time_us: int, kind: str = "sensor", **more: float | str | None) -> Thing:
    """A device's word that it is there, or gone."""
    return Thing(device, kind, StatusMessage(online=is_online, **more), time_us)  # type: ignore[arg-type]


def camera(device: str, event: CameraEventMessage, time_us: int) -> Thing:
    """A camera's event, checked. Raises: PayloadError."""
    return Thing(device, "camera", check_camera_event(event), time_us)
