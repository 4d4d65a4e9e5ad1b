"""MQTT 5 packets as bytes: publish frames that can be sent again, and the broker's address. Pure.

A ``Frame`` is an encoded QoS 1 PUBLISH cut at its packet id, so that the id is
filled in when it is sent, and the same bytes with the DUP bit go out again after
a reconnect. A ``FrameBlock`` is hundreds of them as one matrix of bytes.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import mqtt5
import numpy as np
from numpy.typing import NDArray

from domain.errors import SettingsError
from simulators.run import CLOCK_PROPERTY, clock_text

DUP_BIT = 0x08


class Frame(NamedTuple):
    """An encoded PUBLISH: what stands before its packet id, and what follows."""

    head: bytes
    tail: bytes


@dataclass(frozen=True, slots=True)
class FrameBlock:
    """Encoded QoS 1 PUBLISHes of one length: ``packets (n, length)``, the packet id at byte ``id_at``."""

    packets: NDArray[np.uint8]
    id_at: int

    def __len__(self) -> int:
        return len(self.packets)

    @property
    def length(self) -> int:
        """Bytes of each."""
        return int(self.packets.shape[1])

    def numbered(self, start: int, packet_ids: Sequence[int]) -> bytes:
        """The packets from ``start`` on, one for each id, ready to be sent."""
        part = self.packets[start : start + len(packet_ids)]
        ids = np.array(packet_ids, dtype=">u2")
        part[:, self.id_at : self.id_at + 2] = ids.view(np.uint8).reshape(-1, 2)
        return part.tobytes()


def block_of(frames: Sequence[Frame]) -> FrameBlock:
    """Frames whose heads, and whose tails, are of one length, as a block."""
    id_at = len(frames[0].head)
    packets = np.frombuffer(b"".join(head + b"\0\0" + tail for head, tail in frames), dtype=np.uint8)
    return FrameBlock(packets.reshape(len(frames), -1).copy(), id_at)


def frame(
    topic: str,
    payload: bytes,
    *,
    clock_us: int | None = None,
    retain: bool = False,
    expiry_s: int | None = None,
) -> Frame:
    """Encode a QoS 1 message; ``clock_us`` becomes the property gridpulse-clock."""
    packet = mqtt5.PublishPacket(
        topic,
        payload,
        qos=mqtt5.QoS.AT_LEAST_ONCE,
        packet_id=1,
        retain=retain,
        message_expiry_interval=expiry_s,
        user_properties=[(CLOCK_PROPERTY, clock_text(clock_us))] if clock_us is not None else None,
    )
    return split(packet.write())


def split(encoded: bytes) -> Frame:
    """Cut an encoded QoS 1 PUBLISH at its packet id.

    Layout: type byte, remaining length (1-4 bytes, high bit = more follow), topic
    length (2), topic, packet id (2), …  (MQTT 5, 3.3.)
    """
    start = 1
    while encoded[start] & 0x80:
        start += 1
    start += 1
    at = start + 2 + int.from_bytes(encoded[start : start + 2], "big")
    return Frame(encoded[:at], encoded[at + 2 :])


def as_duplicate(packet: bytes) -> bytes:
    """The same PUBLISH marked as sent before."""
    return bytes([packet[0] | DUP_BIT]) + packet[1:]


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is and as whom we come."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: bool

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """From ``mqtt://user:password@host:port`` or ``mqtts://``. Raises: SettingsError."""
        parts = urllib.parse.urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or port == -1:
            raise SettingsError("the broker's address must look like mqtt://user:password@host:1883")
        tls = parts.scheme == "mqtts"
        unquoted = [urllib.parse.unquote(part) if part else None for part in (parts.username, parts.password)]
        return cls(parts.hostname, port or (8883 if tls else 1883), unquoted[0], unquoted[1], tls)

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"
