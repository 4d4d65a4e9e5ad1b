"""One connection to the broker: bytes in, packets out, and the token that acknowledges one read.

It decodes all packets of a socket read at once and hands their messages over as one block. Refuses to
connect again and to acknowledge by itself: that is ``ingest.session``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import mqtt5
import numpy as np

from domain.errors import BrokerUnavailable
from ingest.messages import CLOCK_PROPERTY, Message
from ingest.source import Deliveries

GRANTED = (mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE, mqtt5.SubAckReasonCode.GRANTED_QOS_AT_MOST_ONCE)


@dataclass(frozen=True, slots=True)
class Token:
    """What acknowledges one read: the connection it came on, its packet ids in order, its size."""

    epoch: int
    packet_ids: list[int]
    messages: int
    size_bytes: int


class Connection(asyncio.Protocol):
    """The protocol of one TCP connection; ``take`` gets what each read brought."""

    def __init__(
        self, epoch: int, take: Callable[[Connection, Deliveries[Token]], None], now_us: Callable[[], int]
    ) -> None:
        loop = asyncio.get_running_loop()
        self.connack: asyncio.Future[mqtt5.ConnAckPacket] = loop.create_future()
        self.suback: asyncio.Future[mqtt5.SubAckPacket] = loop.create_future()
        self._lost: asyncio.Future[None] = loop.create_future()
        self._epoch = epoch
        self._take = take
        self._now_us = now_us
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._heard = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail everyone who waits for something on this connection."""
        self._fail(BrokerUnavailable(f"the broker closed the connection{f': {exc}' if exc else ''}"))

    def data_received(self, data: bytes) -> None:
        """Decode all complete packets; hand the publishes over as one block."""
        self._heard = asyncio.get_running_loop().time()
        now_us, epoch = self._now_us(), self._epoch
        messages: list[Message] = []
        read, publish = mqtt5.read, mqtt5.PublishPacket
        buffer = self._rest + data if self._rest else data
        view = memoryview(buffer)
        position = 0
        # IndexError: the rest of the last packet is still on its way.
        with suppress(IndexError):
            try:
                while position < len(buffer):
                    packet, size = read(view[position:])
                    position += size
                    if type(packet) is publish:
                        clock = clock_property(packet.user_properties) if packet.user_properties else None
                        messages.append(
                            Message(
                                packet.topic, packet.payload, now_us, clock, packet.duplicate, epoch,
                                packet.packet_id,
                            )
                        )  # fmt: skip
                    else:
                        self._control(packet)
            except ValueError as error:
                self._fail(BrokerUnavailable(f"the broker sent a malformed packet: {error}"))
                self.close()
        self._rest = buffer[position:]
        if messages:
            self._take(self, deliveries(epoch, messages))

    def _control(self, packet: mqtt5.Packet) -> None:
        match packet:
            case mqtt5.ConnAckPacket() if not self.connack.done():
                self.connack.set_result(packet)
            case mqtt5.SubAckPacket() if not self.suback.done():
                self.suback.set_result(packet)
            case mqtt5.DisconnectPacket():
                taken_over = packet.reason_code == mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER
                hint = " (is a second server running with the same broker?)" if taken_over else ""
                self._fail(BrokerUnavailable(f"the broker says goodbye: {packet.reason_code.name}{hint}"))
            case _:
                pass  # ping responses: hearing them was all they are for

    def _fail(self, error: BrokerUnavailable) -> None:
        for future in (self.connack, self.suback, self._lost):
            if not future.done():
                future.set_exception(error)
                future.exception()  # retrieved here: nobody may be waiting for it

    async def keep_alive(self, interval_s: float, until: asyncio.Future[Any] | None = None) -> None:
        """Ping while idle; returns once ``until`` is done. Raises: BrokerUnavailable when the connection ends."""
        loop = asyncio.get_running_loop()
        while True:
            ends = [self._lost] if until is None else [self._lost, until]
            await asyncio.wait(ends, timeout=interval_s / 2, return_when=asyncio.FIRST_COMPLETED)
            if self._lost.done():
                self._lost.result()
            if until is not None and until.done():
                return
            if self._transport is not None and not self._transport.is_reading():
                self._heard = loop.time()  # it is we who do not listen
            if loop.time() - self._heard > interval_s * 1.5:
                raise BrokerUnavailable("the broker has gone silent")
            self.write(mqtt5.PingReqPacket().write())

    def write(self, packet: bytes) -> None:
        """Queue bytes; the broker's reads bound what can pile up here (4 bytes a message)."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(packet)

    def pause(self) -> bool:
        """Stop reading until ``resume``: TCP holds the broker back. Whether it was reading."""
        if self._transport is None or not self._transport.is_reading():
            return False
        self._transport.pause_reading()
        return True

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Close without a DISCONNECT packet, so that the broker keeps the session."""
        if self._transport is not None:
            self._transport.close()


def puback_block(packet_ids: Sequence[int]) -> bytes:
    """PUBACK packets with reason success: 0x40 0x02 and the id, 4 bytes each (MQTT 5, 3.4)."""
    packets = np.empty(len(packet_ids), dtype=[("head", ">u2"), ("packet_id", ">u2")])
    packets["head"] = 0x4002
    packets["packet_id"] = packet_ids
    return packets.tobytes()


def deliveries(epoch: int, messages: list[Message]) -> Deliveries[Token]:
    """The messages of one read with their token."""
    ids = [message.packet_id for message in messages if message.packet_id]
    size_bytes = max(sum([len(message.payload) for message in messages]), 1)
    return Deliveries(messages, size_bytes, Token(epoch, ids, len(messages), size_bytes))


def clock_property(properties: Sequence[tuple[str, str]]) -> str | None:
    """The run's clock among the user properties, as sent."""
    for name, value in properties:
        if name == CLOCK_PROPERTY:
            return value
    return None


def check_connack(packet: mqtt5.ConnAckPacket) -> None:
    """Raises: BrokerUnavailable when the broker refused us."""
    if packet.reason_code != mqtt5.ConnAckReasonCode.SUCCESS:
        detail = f" ({packet.reason_str})" if packet.reason_str else ""
        raise BrokerUnavailable(f"the broker refuses us: {packet.reason_code.name}{detail}")


def check_suback(packet: mqtt5.SubAckPacket, filters: Sequence[str]) -> None:
    """Raises: BrokerUnavailable when a subscription was refused."""
    for pattern, code in zip(filters, packet.reason_codes, strict=True):
        if code not in GRANTED:
            raise BrokerUnavailable(f"the broker does not let us subscribe to {pattern}: {code.name}")
