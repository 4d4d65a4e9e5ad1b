from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import mqtt5
import pytest

from domain.errors import BrokerUnavailable, SettingsError
from ingest import endpoint as visits
from ingest.endpoint import Endpoint, may_connect, take_over

Answers = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
NOT_LET_IN = mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED).write()


def test_an_address_is_taken_apart() -> None:
    endpoint = Endpoint.parse("mqtts://us%40er:p%3Aw@broker.example")
    assert (endpoint.host, endpoint.port, endpoint.tls) == ("broker.example", 8883, True)
    assert (endpoint.username, endpoint.password) == ("us@er", "p:w")
    assert Endpoint.parse("mqtt://h:1884").port == 1884


@pytest.mark.parametrize("url", ["http://h", "mqtt://", "h:1883"])
def test_what_is_no_mqtt_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="mqtt://user:password@host:1883"):
        Endpoint.parse(url)


@asynccontextmanager
async def peer(answer: bytes | None) -> AsyncIterator[Endpoint]:
    """Somebody who answers a CONNECT with these bytes and closes; with None: never."""
    done = asyncio.Event()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        if answer is None:
            await done.wait()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    try:
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], False, "u", "p")
    finally:
        done.set()
        server.close()
        await server.wait_closed()


async def test_who_refuses_is_a_broker() -> None:
    async with peer(mqtt5.ConnAckPacket().write()) as endpoint:
        assert await may_connect(endpoint, "u", "p")
    async with peer(NOT_LET_IN) as endpoint:
        assert not await may_connect(endpoint, "u", "wrong")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(None, "no answer from 127.0.0.1:[0-9]+ within 0.2 s"), (b"", "is it mqtt:// or mqtts://"),
     (b"HTTP/1.1 400 Bad Request", "is it mqtt:// or mqtts://")],
)  # fmt: skip
async def test_who_answers_nothing_of_the_kind_is_none(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None, reason: str
) -> None:
    monkeypatch.setattr(visits, "CONNECT_TIMEOUT_S", 0.2)
    async with peer(answer) as endpoint:
        with pytest.raises(BrokerUnavailable, match=reason):
            await may_connect(endpoint, "u", "p")


async def test_a_session_that_could_not_be_ended_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with peer(NOT_LET_IN) as endpoint:
        with caplog.at_level(logging.WARNING):
            await take_over(f"mqtt://u:p@127.0.0.1:{endpoint.port}", ["VB-1"])
    assert "VB-1 could not be ended: it refuses our account" in caplog.text
    caplog.clear()
    await take_over(f"mqtt://u:p@127.0.0.1:{endpoint.port}", ["VB-1"])
    assert "no broker at" in caplog.text
