"""The MQTT 5 session: what the broker sends, in order, acknowledged when we say so.

It connects with one persistent session on the ``mqtt5`` codec, subscribes at QoS 1,
hands over what each read of its connection brought, and writes acknowledgements in
blocks after commit. It refuses to: acknowledge by itself, publish at QoS above 0, or
speak MQTT 3.1.1 to the broker (devices may).

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
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mqtt5

from domain.errors import BrokerUnavailable
from ingest import metrics
from ingest.connection import Connection, Token, check_connack, check_suback, deliveries, puback_block
from ingest.endpoint import CONNECT_TIMEOUT_S, Endpoint
from ingest.source import Deliveries

log = logging.getLogger(__name__)

RECEIVE_MAX = 32_768
"""Messages the broker may have in flight to us: the bound of everything between it and the commit."""

SESSION_FOREVER = 0xFFFFFFFF
KEEP_ALIVE_S = 20
RECONNECT_S = (0.1, 0.3, 1.0, 2.0)
PACKET_BYTES_MAX = 4 * 1024 * 1024
UNACKNOWLEDGED_MAX = RECEIVE_MAX + 4096
"""Messages read and not yet acknowledged; beyond it (QoS 0 only) reading pauses."""
UNACKNOWLEDGED_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of payload read and not yet acknowledged; beyond it reading pauses."""


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
        self._connection: Connection | None = None
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
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(
                lambda: Connection(epoch, self._take, self._now_us), self._endpoint.host, self._endpoint.port,
                ssl=self._endpoint.context(),
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

    def _take(self, connection: Connection, arrived: Deliveries[Token]) -> None:
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
