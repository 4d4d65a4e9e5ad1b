"""The MQTT 5 session: what the broker sends, in order, acknowledged when we say so.

A small asyncio protocol on the ``mqtt5`` codec. It connects with one persistent
session, subscribes at QoS 1, hands over all packets of a socket read at once, and
writes acknowledgements in blocks after commit. It refuses to: acknowledge by
itself, publish at QoS above 0, or speak MQTT 3.1.1 to the broker (devices may).

What was handed over and is not acknowledged is bounded twice: in messages by the
receive maximum, which the broker keeps, and in bytes by us, for one message may have
256 KiB. Beyond ``UNACKNOWLEDGED_BYTES_MAX`` (or, at QoS 0, which knows no receive
maximum, beyond as many messages) reading pauses and TCP holds the broker back.

A packet id is only meaningful within one connection: after a reconnect the broker
may use it for another message. Each token therefore carries the connection's
``epoch`` and acknowledgements of an older epoch are dropped; the broker sends
those messages again.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import mqtt5
import numpy as np

from domain.errors import BrokerUnavailable, SettingsError
from ingest import metrics
from ingest.messages import CLOCK_PROPERTY, Message
from ingest.source import Deliveries

log = logging.getLogger(__name__)

RECEIVE_MAX = 32_768
"""Messages the broker may have in flight to us: the bound of everything between it and the commit."""

SESSION_FOREVER = 0xFFFFFFFF
KEEP_ALIVE_S = 20
GRANTED = (mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE, mqtt5.SubAckReasonCode.GRANTED_QOS_AT_MOST_ONCE)
CONNECT_TIMEOUT_S = 5.0
RECONNECT_S = (0.1, 0.3, 1.0, 2.0)
PACKET_BYTES_MAX = 4 * 1024 * 1024
UNACKNOWLEDGED_MAX = RECEIVE_MAX + 4096
"""Messages read and not yet acknowledged; beyond it (QoS 0 only) reading pauses."""
UNACKNOWLEDGED_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of payload read and not yet acknowledged; beyond it reading pauses."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the broker is, parsed from ``mqtt://`` or ``mqtts://user:password@host:port``."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Raises: SettingsError."""
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise SettingsError(f"{parts.scheme}://…: an MQTT address looks like mqtt://user:password@host:1883")
        tls = parts.scheme == "mqtts"
        return cls(
            parts.hostname,
            parts.port or (8883 if tls else 1883),
            tls,
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
        )


@dataclass(frozen=True, slots=True)
class Token:
    """What acknowledges one read: the connection it came on, its packet ids in order, its size."""

    epoch: int
    packet_ids: list[int]
    messages: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SessionStatistics:
    """What the session has seen since it was made."""

    connected: bool
    connections: int
    sessions_lost: int
    unacknowledged: int
    unacknowledged_bytes: int
    stale_acknowledgements: int
    last_error: str


class MqttSession:
    """One persistent session; ``run`` keeps it connected, ``deliveries`` and ``acknowledge`` are its two verbs."""

    def __init__(
        self,
        url: str,
        client_id: str,
        filters: Sequence[str],
        *,
        receive_max: int = RECEIVE_MAX,
        retained_filters: frozenset[str] = frozenset(),
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._endpoint = Endpoint.parse(url)
        self._client_id = client_id
        self._filters = tuple(filters)
        self._receive_max = receive_max
        self._retained_filters = retained_filters
        self._now_us = now_us
        self._pending: list[Deliveries[Token]] = []
        self._pending_bytes = 0
        self._unacknowledged = 0
        self._unacknowledged_bytes = 0
        self._wake = asyncio.Event()
        self._connected = asyncio.Event()
        self._connection: _Connection | None = None
        self._epoch = 0
        self._sessions_lost = 0
        self._stale = 0
        self._last_error = ""

    @property
    def epoch(self) -> int:
        """The number of the current connection."""
        return self._epoch

    def statistics(self) -> SessionStatistics:
        """A snapshot of the counters."""
        return SessionStatistics(
            self._connected.is_set(), self._epoch, self._sessions_lost, self._unacknowledged,
            self._unacknowledged_bytes, self._stale, self._last_error,
        )  # fmt: skip

    async def run(self) -> None:
        """Stay connected until cancelled, whatever the broker does."""
        attempt = 0
        while True:
            try:
                await self._one_connection()
                attempt = 0
            except (OSError, BrokerUnavailable, TimeoutError) as error:
                self._note(error)
                if self._connected.is_set():
                    attempt = 0
            finally:
                self._drop_connection()
            delay = RECONNECT_S[min(attempt, len(RECONNECT_S) - 1)]
            attempt += 1
            await asyncio.sleep(delay)

    async def wait_connected(self, timeout_s: float) -> None:
        """Wait for the first connection. Raises: BrokerUnavailable with the last reason."""
        try:
            await asyncio.wait_for(self._connected.wait(), timeout_s)
        except TimeoutError as error:
            where = f"{self._endpoint.host}:{self._endpoint.port}"
            raise BrokerUnavailable(
                f"no MQTT broker at {where} within {timeout_s:.0f} s ({self._last_error or 'no answer'}); "
                "check GRIDPULSE_MQTT_URL and that the broker speaks MQTT 5"
            ) from error

    async def deliveries(self, at_least_bytes: int = 1) -> list[Deliveries[Token]]:
        """Everything received and not yet taken, once there is so much of it."""
        while self._pending_bytes < at_least_bytes:
            self._wake.clear()
            await self._wake.wait()
        taken, self._pending, self._pending_bytes = self._pending, [], 0
        return taken

    def acknowledge(self, token: Token) -> None:
        """Tell the broker "received" for a read, in the order received; stale epochs are dropped."""
        self._forget(token)
        if not token.packet_ids:
            return
        if self._connection is None or token.epoch != self._epoch:
            self._stale += len(token.packet_ids)
            metrics.STALE_ACKNOWLEDGEMENTS.set(self._stale)
            return
        self._connection.write(puback_block(token.packet_ids))
        metrics.ACKNOWLEDGED.inc(len(token.packet_ids))

    def backlog(self) -> int:
        """Messages received and not yet acknowledged."""
        return self._unacknowledged

    def publish(self, topic: str, payload: bytes) -> bool:
        """Send at QoS 0, for commands to devices; False when not connected (the caller asks again)."""
        if self._connection is None or not self._connected.is_set():
            return False
        self._connection.write(mqtt5.PublishPacket(topic, payload).write())
        return True

    async def _one_connection(self) -> None:
        loop = asyncio.get_running_loop()
        self._epoch += 1
        epoch = self._epoch
        context = ssl.create_default_context() if self._endpoint.tls else None
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(
                lambda: _Connection(epoch, self._take, self._now_us), self._endpoint.host, self._endpoint.port,
                ssl=context,
            )  # fmt: skip
            self._connection = connection
            connection.write(self._connect_packet())
            answer = await connection.connack
            check_connack(answer)
            if not answer.session_present and epoch > 1:
                self._sessions_lost += 1
                log.error("the broker has lost our session: what it had queued for us is gone; ask for resends")
        connection.write(self._subscribe_packet())
        interval_s = answer.server_keep_alive or KEEP_ALIVE_S
        if answer.session_present:
            self._connected.set()  # it knows our subscriptions
        # The answer comes behind all that was in flight before, and reading may pause for that: no deadline but
        # silence, or a slow database would have us begin anew for ever, each time with the same messages.
        await connection.keep_alive(interval_s, until=connection.suback)
        check_suback(connection.suback.result(), self._filters)
        self._connected.set()
        log.info("connected to the broker at %s:%d", self._endpoint.host, self._endpoint.port)
        await connection.keep_alive(interval_s)

    def _connect_packet(self) -> bytes:
        password = self._endpoint.password
        return mqtt5.ConnectPacket(
            self._client_id,
            username=self._endpoint.username,
            password=password.encode() if password is not None else None,
            clean_start=False,
            keep_alive=KEEP_ALIVE_S,
            session_expiry_interval=SESSION_FOREVER,
            receive_max=self._receive_max,
            max_packet_size=PACKET_BYTES_MAX,
        ).write()

    def _subscribe_packet(self) -> bytes:
        # Retained states come once, when the subscription is new, not on every reconnect;
        # those that an adapter learns from come each time, because it remembers nothing over a restart.
        filters = [
            mqtt5.TopicFilter(
                pattern,
                max_qos=mqtt5.QoS.AT_LEAST_ONCE,
                no_local=True,
                retain_handling=(
                    mqtt5.RetainHandling.SEND_ALWAYS
                    if pattern in self._retained_filters
                    else mqtt5.RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS
                ),
            )
            for pattern in self._filters
        ]
        return mqtt5.SubscribePacket(1, filters).write()

    def _take(self, connection: _Connection, arrived: Deliveries[Token]) -> None:
        token = arrived.token
        self._pending.append(arrived)
        self._pending_bytes += token.size_bytes
        self._unacknowledged += token.messages
        self._unacknowledged_bytes += token.size_bytes
        bound = self._exceeded()
        if bound is not None and connection.pause():
            metrics.PAUSES.labels(bound).inc()
        self._wake.set()

    def _exceeded(self) -> str | None:
        if self._unacknowledged_bytes > UNACKNOWLEDGED_BYTES_MAX:
            return "bytes"
        return "messages" if self._unacknowledged > UNACKNOWLEDGED_MAX else None

    def _forget(self, token: Token) -> None:
        """What is acknowledged, or will be sent again, does not count any more."""
        self._unacknowledged -= token.messages
        self._unacknowledged_bytes -= token.size_bytes
        if self._connection is not None and self._exceeded() is None:
            self._connection.resume()

    def _drop_connection(self) -> None:
        self._connected.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        # The broker sends what has a packet id again: taking it as well would only store it twice.
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        for arrived in pending:
            self._forget(arrived.token)
            kept = [message for message in arrived.messages if not message.packet_id]
            if kept:
                again = deliveries(arrived.token.epoch, kept)
                self._pending.append(again)
                self._pending_bytes += again.token.size_bytes
                self._unacknowledged += again.token.messages
                self._unacknowledged_bytes += again.token.size_bytes

    def _note(self, error: BaseException) -> None:
        text = str(error) or type(error).__name__
        if text != self._last_error:
            log.warning("no connection to the broker, trying again: %s", text)
        self._last_error = text


class _Connection(asyncio.Protocol):
    """One TCP connection: bytes in, packets out."""

    def __init__(
        self, epoch: int, take: Callable[[_Connection, Deliveries[Token]], None], now_us: Callable[[], int]
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


async def may_connect(endpoint: Endpoint, username: str, password: str) -> bool:
    """Whether the broker accepts these credentials; the trial session leaves nothing behind.

    Raises: BrokerUnavailable when nobody answers.
    """
    try:
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except OSError as error:
        raise BrokerUnavailable(f"no broker at {endpoint.host}:{endpoint.port}: {error}") from error
    try:
        packet = mqtt5.ConnectPacket("", username=username, password=password.encode(), clean_start=True)
        writer.write(packet.write())
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            answer = await reader.read(4096)
        packet_in, _ = mqtt5.read(memoryview(answer))
        return (
            isinstance(packet_in, mqtt5.ConnAckPacket) and packet_in.reason_code == mqtt5.ConnAckReasonCode.SUCCESS
        )
    except (IndexError, ValueError, TimeoutError):
        return False
    finally:
        writer.close()


async def take_over(url: str, client_ids: Sequence[str]) -> None:
    """End the sessions of these client ids: the broker gives each to its newest connection, ours, which leaves.

    A broker that does not answer has no sessions to end. Needs an account of the broker (in ``url``).
    """
    endpoint = Endpoint.parse(url)
    for client_id in client_ids:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
                try:
                    password = (endpoint.password or "").encode()
                    packet = mqtt5.ConnectPacket(
                        client_id, username=endpoint.username, password=password, clean_start=True
                    )
                    writer.write(packet.write())
                    await reader.read(4096)
                    writer.write(mqtt5.DisconnectPacket().write())
                    await writer.drain()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            log.warning("the broker did not let us end the session of %s: %s", client_id, error)
