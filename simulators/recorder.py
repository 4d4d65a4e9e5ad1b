"""Record live traffic to a file that ``replay`` takes: subscribe, write each line, then acknowledge."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import mqtt5

from domain.clock import US_PER_S
from domain.errors import BrokerUnavailable, GridpulseError, NotAllowed
from simulators.connection import Connection, Refused, open_connection
from simulators.recordings import own_line
from simulators.run import CLOCK_PROPERTY
from simulators.wire import BrokerAddress

TOPICS = ("sensors/#", "cameras/#", "vehicles/#", "runs/live/#")
"""Ordinary traffic: exercises only when asked for."""

OUR_TOPICS = frozenset({"readings", "waveform", "status", "events", "position", "command"})

RECEIVE_MAX = 1000
"""Messages the broker may have under way to us: the bound of what waits to be written."""

RETRY_S = 1.0


@dataclass
class Recorder:
    """Writes what arrives to ``file``; ``now_us`` is the wall clock's."""

    file: IO[bytes]
    now_us: Callable[[], int]
    on_message: Callable[[int], None] = lambda _: None
    messages: int = 0
    per_topic: Counter[str] = field(default_factory=Counter)
    gaps: int = 0
    subscribed: bool = False
    connection: Connection | None = None

    def received(self, packet: mqtt5.PublishPacket) -> None:
        """See ``Listener``: the line is written before the broker hears of it."""
        clock_us = run_clock_us(packet)
        self.file.write(
            own_line(self.now_us(), packet.topic, packet.payload, clock_us=clock_us, retain=packet.retain)
        )
        self.messages += 1
        self.on_message(1)
        last = packet.topic.rsplit("/", 1)[-1]
        self.per_topic[last if last in OUR_TOPICS else "other"] += 1
        if packet.packet_id is not None and self.connection is not None:
            self.connection.write(mqtt5.PubAckPacket(packet.packet_id).write())

    def acknowledged(self, packet_ids: Sequence[int]) -> None:
        """Nothing is published here."""

    def refused(self, packet_id: int, reason: mqtt5.PubAckReasonCode) -> None:
        """Nothing is published here."""


def run_clock_us(packet: mqtt5.PublishPacket) -> int | None:
    """The run's clock the message carries, if it is a number."""
    for name, value in packet.user_properties:
        if name == CLOCK_PROPERTY:
            try:
                return round(float(value) * US_PER_S)
            except (ValueError, OverflowError):
                return None
    return None


def create(path: Path) -> IO[bytes]:
    """The file to write, packed when it ends in .gz. Raises: GridpulseError when there is one already."""
    try:
        return cast(IO[bytes], gzip.open(path, "xb") if path.suffix == ".gz" else path.open("xb"))
    except FileExistsError as error:
        raise GridpulseError(f"{path} exists already: give --out another name, or remove it") from error
    except OSError as error:
        raise GridpulseError(f"{path} cannot be written: {error}") from error


async def record(url: str, client_id: str, recorder: Recorder, topics: Sequence[str] = TOPICS) -> None:
    """Record until cancelled. A lost connection is taken up again and counted in ``gaps``.

    Raises: BrokerUnavailable at the start only, NotAllowed for topics we may not read.
    """
    address = BrokerAddress.parse(url)
    while True:
        try:
            connection, _ = await open_connection(address, client_id, recorder, receive_max=RECEIVE_MAX)
        except BrokerUnavailable as error:
            if not recorder.gaps or isinstance(error, Refused):
                raise
            await asyncio.sleep(RETRY_S)
            continue
        recorder.connection = connection
        try:
            answers = await connection.subscribe(topics)
            if refused := [t for t, code in zip(topics, answers, strict=True) if code.value >= 0x80]:
                raise NotAllowed(f"the broker does not let this account read {', '.join(refused)}")
            recorder.subscribed = True
            await connection.watch()
            recorder.gaps += 1
        finally:
            recorder.subscribed = False
            await connection.close()
