"""One MQTT 5 connection from CONNECT to its end; what arrives goes to a ``Listener``.

It keeps no state beyond the connection: the publisher and the recorder decide
what is sent again. Acknowledgements are handed on per received chunk, not one
by one, because at 60,000 a second each call counts.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Protocol

import mqtt5
import numpy as np

from domain.errors import BrokerUnavailable
from simulators.wire import BrokerAddress

KEEP_ALIVE_S = 30
CONNECT_TIMEOUT_S = 5.0
PUBACK = 0x40
PLAIN_PUBACK = 0x4002
ACKS_AT_ONCE = 4096
FAILURES_FROM = 0x80
"""Reason codes from here on say no (MQTT 5, 2.4)."""


class Listener(Protocol):
    """Who hears what the broker says. Called in the event loop; must not wait."""

    def acknowledged(self, packet_ids: Sequence[int]) -> None:
        """The broker has taken these messages."""

    def refused(self, packet_id: int, reason: mqtt5.PubAckReasonCode) -> None:
        """The broker has not taken this message, and will not."""

    def received(self, packet: mqtt5.PublishPacket) -> None:
        """A message for one of our subscriptions."""


class Connection(asyncio.Protocol):
    """Made by ``open_connection``; over when ``closed`` is done."""

    def __init__(self, connect: mqtt5.ConnectPacket, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        self.connack: asyncio.Future[mqtt5.ConnAckPacket] = loop.create_future()
        self.closed: asyncio.Future[str] = loop.create_future()
        self.writable = asyncio.Event()
        self.writable.set()
        self._connect = connect
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._suback: asyncio.Future[mqtt5.SubAckPacket] | None = None
        self._ended_by = ""
        self._heard = False

    # ---------------------------------------------------------------- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say CONNECT at once."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._connect.write())

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits."""
        reason = self._ended_by or (str(exc) if exc else "the broker closed the connection")
        for waiting in (self.connack, self._suback):
            if waiting is not None and not waiting.done():
                waiting.set_exception(BrokerUnavailable(reason))
                waiting.exception()  # somebody may have stopped waiting
        if not self.closed.done():
            self.closed.set_result(reason)
        self.writable.set()

    def pause_writing(self) -> None:
        """The socket is full."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """The socket has room again."""
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        """Take every complete packet; keep the rest for the next chunk."""
        self._heard = True
        data = self._rest + data if self._rest else data
        position, size = 0, len(data)
        acks: list[int] = []
        view = memoryview(data)
        try:
            while position < size:
                # A plain PUBACK: 40 02 id id. Nearly all packets are of this kind, and come many at once.
                if data[position] == PUBACK and position + 4 <= size and data[position + 1] == 2:
                    plain = plain_acks(data, position)
                    acks += plain
                    position += 4 * len(plain)
                    continue
                packet, used = mqtt5.read(view[position:])
                position += used
                self._take(packet, acks)
        except IndexError:
            pass  # the codec's word for "not all of it is here yet"
        except ValueError as error:
            self.abort(f"the broker sent what is not MQTT 5: {error}")
        self._rest = data[position:]
        if acks:
            self._listener.acknowledged(acks)

    def _take(self, packet: mqtt5.Packet, acks: list[int]) -> None:
        match packet:
            case mqtt5.PublishPacket():
                self._listener.received(packet)
            case mqtt5.PubAckPacket():
                # NO_MATCHING_SUBSCRIBERS is a success: the broker took it, nobody listens.
                # The codec's codes are no Python enums: they have a value, but no order.
                if packet.reason_code.value < FAILURES_FROM:
                    acks.append(packet.packet_id)
                else:
                    self._listener.refused(packet.packet_id, packet.reason_code)
            case mqtt5.ConnAckPacket():
                if not self.connack.done():
                    self.connack.set_result(packet)
            case mqtt5.SubAckPacket():
                if self._suback is not None and not self._suback.done():
                    self._suback.set_result(packet)
            case mqtt5.DisconnectPacket():
                self._ended_by = f"the broker ended the connection: {words(packet.reason_code.name)}"
            case _:
                pass  # PINGRESP: hearing it is enough

    # ---------------------------------------------------------------- what users do

    def write(self, data: bytes) -> None:
        """Send bytes; wait for ``writable`` before sending much."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def subscribe(self, filters: Sequence[str]) -> list[mqtt5.SubAckReasonCode]:
        """Subscribe with QoS 1; one answer per filter. Raises: BrokerUnavailable."""
        self._suback = asyncio.get_running_loop().create_future()
        wanted = [mqtt5.TopicFilter(f, max_qos=mqtt5.QoS.AT_LEAST_ONCE) for f in filters]
        self.write(mqtt5.SubscribePacket(1, wanted).write())
        return (await self._suback).reason_codes

    async def watch(self) -> str:
        """Keep the connection alive until it ends; returns why it ended."""
        while True:
            self._heard = False
            done, _ = await asyncio.wait([self.closed], timeout=KEEP_ALIVE_S / 2)
            if done:
                return self.closed.result()
            if not self._heard:
                await self._ping()

    async def _ping(self) -> None:
        self.write(mqtt5.PingReqPacket().write())
        await asyncio.wait([self.closed], timeout=KEEP_ALIVE_S / 2)
        if not self._heard and not self.closed.done():
            self.abort(f"the broker has been silent for {KEEP_ALIVE_S} s")

    def abort(self, reason: str) -> None:
        """End it without a word to the broker."""
        self._ended_by = self._ended_by or reason
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Say DISCONNECT (the last will is then not sent) and wait for the end."""
        self.write(mqtt5.DisconnectPacket().write())
        if self._transport is not None:
            self._transport.close()
        await asyncio.wait([self.closed], timeout=CONNECT_TIMEOUT_S)
        self.abort("closed")


async def open_connection(
    address: BrokerAddress,
    client_id: str,
    listener: Listener,
    *,
    clean_start: bool = True,
    session_expiry_s: int = 0,
    will: mqtt5.Will | None = None,
    receive_max: int = 65535,
) -> tuple[Connection, mqtt5.ConnAckPacket]:
    """Connect and wait for the broker's yes. Raises: BrokerUnavailable that says why not."""
    connect = mqtt5.ConnectPacket(
        client_id,
        username=address.username,
        password=address.password.encode() if address.password is not None else None,
        clean_start=clean_start,
        keep_alive=KEEP_ALIVE_S,
        session_expiry_interval=session_expiry_s,
        will=will,
        receive_max=receive_max,
    )
    loop = asyncio.get_running_loop()
    connection: Connection | None = None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(
                lambda: Connection(connect, listener),
                address.host,
                address.port,
                ssl=ssl.create_default_context() if address.tls else None,
            )
            answer = await connection.connack
    except (OSError, TimeoutError, ssl.SSLError) as error:
        if connection is not None:
            connection.abort("no answer")
        why = "no answer" if isinstance(error, TimeoutError) else str(error)
        raise BrokerUnavailable(
            f"no MQTT broker at {address} ({why}): start `gridpulse up` first, or check GRIDPULSE_MQTT_URL"
        ) from error
    if answer.reason_code != mqtt5.ConnAckReasonCode.SUCCESS:
        connection.abort("refused")
        raise Refused(f"the broker at {address} refuses this account: {words(answer.reason_code.name)}")
    return connection, answer


class Refused(BrokerUnavailable):
    """The broker answered with a no: trying again with the same account is useless."""


def plain_acks(data: bytes, position: int) -> list[int]:
    """The packet ids of the plain PUBACKs (40 02 id id) that follow each other from ``position`` on."""
    count = min((len(data) - position) // 4, ACKS_AT_ONCE)
    packets = np.frombuffer(data, dtype=">u4", offset=position, count=count)
    other = np.flatnonzero(packets >> 16 != PLAIN_PUBACK)
    ids: list[int] = (packets[: other[0] if len(other) else None] & 0xFFFF).tolist()
    return ids


def words(code_name: str) -> str:
    """NOT_AUTHORIZED → not authorized."""
    return code_name.replace("_", " ").lower()
