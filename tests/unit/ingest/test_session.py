from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import mqtt5
import pytest

from domain.errors import BrokerUnavailable
from ingest import session
from ingest.connection import check_connack, check_suback, puback_block
from ingest.session import MqttSession
from tests.waiting import until


def test_a_block_of_acknowledgements_is_what_the_codec_would_write() -> None:
    ids = [1, 255, 256, 65535]
    assert puback_block(ids) == b"".join(mqtt5.PubAckPacket(packet_id).write() for packet_id in ids)


def test_refusals_are_named() -> None:
    with pytest.raises(BrokerUnavailable, match="NOT_AUTHORIZED"):
        check_connack(mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED))
    with pytest.raises(BrokerUnavailable, match="sensors/#"):
        check_suback(mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.NOT_AUTHORIZED]), ["sensors/#"])


class Broker:
    """Just enough of one: it accepts everything, and writes what it is told."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.connected = asyncio.Event()
        self.port = 0
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Broker:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        if self._writer is not None:
            self._writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        rest = b""
        while chunk := await reader.read(65536):
            rest += chunk
            while rest:
                try:
                    packet, size = mqtt5.read(memoryview(rest))
                except IndexError:
                    break
                rest = rest[size:]
                self._answer(packet, writer)

    def _answer(self, packet: Any, writer: asyncio.StreamWriter) -> None:
        match packet:
            case mqtt5.ConnectPacket():
                writer.write(mqtt5.ConnAckPacket().write())
            case mqtt5.SubscribePacket():
                codes = [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]
                writer.write(mqtt5.SubAckPacket(packet.packet_id, codes).write())
                self.connected.set()
            case mqtt5.PubAckPacket():
                self.acknowledged.append(packet.packet_id)
            case _:
                pass

    def has_all_of(self, n: int) -> Callable[[], Awaitable[bool]]:
        async def reached() -> bool:
            return len(self.acknowledged) >= n

        return reached

    async def send(self, ids: range, payload: bytes) -> None:
        assert self._writer is not None
        for packet_id in ids:
            packet = mqtt5.PublishPacket(
                "sensors/a/readings", payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=packet_id
            )
            self._writer.write(packet.write())
            await asyncio.sleep(0)


async def test_what_is_not_acknowledged_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    bound, payload, n = 400_000, b"x" * 10_000, 400
    monkeypatch.setattr(session, "UNACKNOWLEDGED_BYTES_MAX", bound)
    async with Broker() as broker:
        ours = MqttSession(f"mqtt://127.0.0.1:{broker.port}", "t", ("sensors/#",))
        running = asyncio.create_task(ours.run())
        try:
            await asyncio.wait_for(broker.connected.wait(), 5)
            await broker.send(range(1, n + 1), payload)
            seen, peak, tokens = 0, 0, []
            async with asyncio.timeout(20):
                while seen < n:
                    for arrived in await ours.deliveries():
                        seen += len(arrived.messages)
                        tokens.append(arrived.token)
                    peak = max(peak, ours.statistics().unacknowledged_bytes)
                    if ours.statistics().unacknowledged_bytes > bound:
                        await asyncio.sleep(0.01)  # nothing more comes, however long we wait
                        for token in tokens:
                            ours.acknowledge(token)
                        tokens.clear()
                for token in tokens:
                    ours.acknowledge(token)
                await until(broker.has_all_of(n), "all acknowledged")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    one_read = 256 * 1024
    assert bound < peak <= bound + one_read + len(payload)
    assert broker.acknowledged == list(range(1, n + 1)), "each once, in the order received"
    assert ours.statistics().unacknowledged_bytes == 0
    assert ours.statistics().unacknowledged == 0


class BusyBroker(Broker):
    """It knows our session and sends what was in flight before it answers the subscription."""

    def __init__(self, in_flight: int) -> None:
        super().__init__()
        self._in_flight = in_flight

    def _answer(self, packet: Any, writer: asyncio.StreamWriter) -> None:
        match packet:
            case mqtt5.ConnectPacket():
                writer.write(mqtt5.ConnAckPacket(session_present=True).write())
                for packet_id in range(1, self._in_flight + 1):
                    again = mqtt5.PublishPacket(
                        "sensors/a/readings", b"x" * 1000, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=packet_id,
                        duplicate=True,
                    )  # fmt: skip
                    writer.write(again.write())
            case _:
                super()._answer(packet, writer)


async def test_a_subscription_answered_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading pauses for what is not yet committed; to connect anew would bring it all once more, for ever."""
    monkeypatch.setattr(session, "CONNECT_TIMEOUT_S", 0.1)
    monkeypatch.setattr(session, "UNACKNOWLEDGED_MAX", 100)
    async with BusyBroker(2000) as broker:
        ours = MqttSession(f"mqtt://127.0.0.1:{broker.port}", "t", ("sensors/#",))
        running = asyncio.create_task(ours.run())
        try:
            await ours.wait_connected(5)
            await asyncio.sleep(0.3)  # the database is slow
            seen = 0
            async with asyncio.timeout(20):
                while seen < 2000:
                    for arrived in await ours.deliveries():
                        seen += len(arrived.messages)
                        ours.acknowledge(arrived.token)
            await until(broker.has_all_of(2000), "all acknowledged")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert broker.acknowledged == list(range(1, 2001))
    assert (ours.statistics().connections, ours.statistics().stale_acknowledgements) == (1, 0)
