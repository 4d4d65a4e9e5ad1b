"""The broker's door against those who should not come in: refused, counted, and others undisturbed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import secrets
import shutil
import ssl
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import pytest

from db.credentials import Revoked
from domain.errors import BrokerUnavailable
from ingest.endpoint import Endpoint, may_connect
from ingest.session import MqttSession
from server.broker_log import Follower
from server.embedded.authority import Certificate
from server.embedded.broker_accounts import BrokerAccount, hash_password
from server.embedded.stack import EmbeddedStack, embedded_stack
from server.embedded.tls import Login, TlsFolder, TlsListener
from tests.fix_stack import free_port
from tests.waiting import until

pytestmark = pytest.mark.stack

log = logging.getLogger(__name__)

V5 = aiomqtt.ProtocolVersion.V5
REFUSED = (aiomqtt.MqttError, TimeoutError, OSError)
#: What a device notices of us, at most, while others misbehave.
UNDISTURBED_S = 5.0
CUT_OFF_S = 2.0


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="gridpulse-door-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Door:
    """A broker with a TLS listener, its authority, and what was counted as refused."""

    stack: EmbeddedStack
    home: Path
    port: int
    accounts: list[BrokerAccount] = field(default_factory=list)
    revoked: list[Revoked] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    skipped: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.stack.broker_log is not None
        self._follower = Follower(self.stack.broker_log, lambda r: self.counted.update([r]), self.skipped.append)

    async def let_in(self, *names: str) -> None:
        self.accounts += [BrokerAccount(name, hash_password("pw"), "device") for name in names]
        await self.stack.write_accounts(self.accounts, self.revoked)
        await until(lambda: self.may("plain", names[-1]), f"{names[-1]} let in")

    async def may(self, how: str, name: str, certificate: Certificate | None = None) -> bool:
        with contextlib.suppress(*REFUSED):
            async with self.plain(name) if how == "plain" else self.tls(name, certificate):
                return True
        return False

    async def shut_out(self, name: str, *certificates: Certificate) -> None:
        self.accounts = [account for account in self.accounts if account.username != name]
        await self.revoke(name, *certificates)

    async def revoke(self, name: str, *certificates: Certificate) -> None:
        self.revoked += [Revoked(each.serial, name, datetime.now(UTC)) for each in certificates]
        await self.stack.write_accounts(self.accounts, self.revoked)

    def certificate(self, name: str) -> Certificate:
        return TlsFolder(self.home / "tls").issue(name, datetime.now(UTC))

    def context(self, certificate: Certificate | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.home / "tls/ca.crt"))
        if certificate is not None:
            with tempfile.NamedTemporaryFile() as file:
                file.write(certificate.certificate + certificate.key)
                file.flush()
                context.load_cert_chain(file.name)
        return context

    def tls(
        self, name: str, certificate: Certificate | None, password: str | None = None, client_id: str | None = None
    ) -> aiomqtt.Client:
        return aiomqtt.Client(
            "127.0.0.1", self.port, tls_context=self.context(certificate), identifier=client_id, timeout=3,
            username=name if password else None, password=password, protocol=V5,
        )  # fmt: skip

    def plain(self, name: str, password: str = "pw") -> aiomqtt.Client:
        port = urlsplit(self.stack.urls.mqtt_url or "").port
        return aiomqtt.Client("127.0.0.1", port or 0, username=name, password=password, timeout=3, protocol=V5)

    def server(self) -> aiomqtt.Client:
        parts = urlsplit(self.stack.urls.mqtt_url or "")
        return aiomqtt.Client(
            "127.0.0.1", parts.port or 0, username=parts.username, password=parts.password, timeout=10, protocol=V5
        )

    async def count_of(self, reason: str, at_least: int) -> int:
        """How many were counted, once there are that many."""

        async def enough() -> bool:
            await asyncio.to_thread(self._follower.look)
            return self.counted[reason] >= at_least

        await until(enough, f"{at_least} refused: {reason}")
        return self.counted[reason]


@contextlib.asynccontextmanager
async def opened(
    home: Path, *, login: Login = "certificate", max_connections: int = 1000, count_denied: bool = False
) -> AsyncIterator[Door]:
    TlsFolder(home / "tls").make(["127.0.0.1"], datetime.now(UTC))
    port = free_port()
    async with embedded_stack(
        home, database=False, broker=True, mqtt_host="127.0.0.1", mqtt_port=free_port(),
        mqtt_max_connections=max_connections, mqtt_tls=TlsListener("127.0.0.1", port, login),
        mqtt_count_denied=count_denied,
    ) as stack:  # fmt: skip
        yield Door(stack, home, port)


@contextlib.asynccontextmanager
async def undisturbed(door: Door, *devices: tuple[str, aiomqtt.Client]) -> AsyncIterator[None]:
    """While the block runs these devices publish on the connections they have, and each message arrives soon."""
    slowest, sent = 0.0, 0
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    async def publish() -> None:
        nonlocal slowest, sent
        async with door.server() as server:
            await server.subscribe("sensors/+/readings", qos=1)
            while not stop.is_set() or sent < 3 * len(devices):
                for name, device in devices:
                    body, began = b"%d" % sent, loop.time()
                    await device.publish(f"sensors/{name}/readings", body, qos=1)
                    async with asyncio.timeout(UNDISTURBED_S):
                        while (await anext(server.messages)).payload != body:
                            pass
                    sent += 1
                    slowest = max(slowest, loop.time() - began)
                await asyncio.sleep(0.01)

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        stop.set()
        await task
    log.info("undisturbed: %d messages, the slowest took %.0f ms", sent, slowest * 1000)


async def test_a_revoked_device_is_cut_off_at_once_and_nobody_else(home: Path) -> None:
    async with opened(home) as door:
        await door.let_in("D1", "D2", "P1", "P2")
        first, second = door.certificate("D1"), door.certificate("D2")
        async with (
            door.tls("D1", first) as d1, door.tls("D2", second) as d2, door.plain("P1") as p1,
            door.plain("P2") as p2, undisturbed(door, ("D2", d2), ("P2", p2)),
        ):  # fmt: skip
            await d1.publish("sensors/D1/readings", b"{}", qos=1)
            await cut_off_by(door.shut_out("D1", first), d1)
            await cut_off_by(door.shut_out("P1"), p1)
            assert not await door.may("tls", "D1", first)
            assert not await door.may("plain", "P1")
        assert await door.count_of("bad_certificate", 1) >= 1
        assert await door.may("tls", "D2", second)


async def ended(device: aiomqtt.Client) -> None:
    """The open connection ends: reading from it fails."""
    with pytest.raises(aiomqtt.MqttError):
        async with asyncio.timeout(5):
            await anext(device.messages)


async def cut_off_by(work: Coroutine[Any, Any, None], device: aiomqtt.Client) -> None:
    """The connection ends within a moment of the word, which is when ``work`` begins."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    waiting = asyncio.create_task(ended(device))
    at: list[float] = []
    waiting.add_done_callback(lambda _: at.append(loop.time()))
    await work
    await waiting
    log.info("cut off after %.0f ms", (at[0] - began) * 1000)
    assert at[0] - began < CUT_OFF_S


async def test_between_the_word_and_the_cut_a_revoked_device_is_neither_heard_nor_told(home: Path) -> None:
    """Even where the cut did not come: what Mosquitto itself does with a certificate whose account is gone."""
    async with opened(home) as door:
        await door.let_in("D1", "D2")
        certificate = door.certificate("D1")
        broker = door.stack._broker
        assert broker is not None

        async def no_cut(client_ids: object) -> None:
            pass

        broker._cut_off = no_cut  # type: ignore[method-assign]
        async with door.server() as server, door.tls("D1", certificate) as device:
            await device.subscribe("sensors/D1/command", qos=1)
            await server.subscribe("sensors/#", qos=1)
            await door.shut_out("D1")
            await asyncio.sleep(1)
            await device.publish("sensors/D1/readings", b"late", qos=1)
            await server.publish("sensors/D1/command", b"hear", qos=1)
            async with asyncio.timeout(5):
                assert (await anext(server.messages)).payload == b"hear"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await anext(device.messages)


async def test_one_certificate_is_revoked_and_the_next_one_holds(home: Path) -> None:
    async with opened(home) as door:
        await door.let_in("D1")
        old, new = door.certificate("D1"), door.certificate("D1")
        async with door.tls("D1", old) as device:
            await door.revoke("D1", old)
            await ended(device)
        assert not await door.may("tls", "D1", old)
        assert await door.may("tls", "D1", new)
        # Soon after each other: of two lists the later must win.
        await door.revoke("D1", new)
        assert not await door.may("tls", "D1", new)


async def test_a_certificate_of_another_authority_and_none_at_all(home: Path, tmp_path: Path) -> None:
    async with opened(home) as door:
        await door.let_in("D1")
        strange = TlsFolder(tmp_path / "tls")
        strange.make(["127.0.0.1"], datetime.now(UTC))
        assert not await door.may("tls", "D1", strange.issue("D1", datetime.now(UTC)))
        assert not await door.may("tls", "D1", None)
        # The broker's own certificate is not a device's.
        server = Certificate(
            (home / "tls/server.crt").read_bytes(), (home / "tls/server.key").read_bytes(), "", datetime.now(UTC)
        )
        assert not await door.may("tls", "127.0.0.1", server)
        assert await door.count_of("bad_certificate", 2) >= 2
        assert await door.count_of("no_certificate", 1) == 1


async def test_anothers_id_in_topic_and_client_id(home: Path) -> None:
    async with opened(home, count_denied=True) as door:
        await door.let_in("D1", "D2")
        async with (
            door.server() as server, door.tls("D2", door.certificate("D2")) as d2, undisturbed(door, ("D2", d2)),
            # A client id is taken over by whoever comes with it; here it is the certificate's name.
            door.tls("D1", door.certificate("D1"), client_id="D2") as d1,
        ):  # fmt: skip
            await server.subscribe("sensors/+/status", qos=1)
            for topic in ("sensors/D2/status", "sensors/D2/command", "sensors/D1/status"):
                await d1.publish(topic, b"{}", qos=1)
            async with asyncio.timeout(5):
                assert str((await anext(server.messages)).topic) == "sensors/D1/status"
        assert await door.count_of("denied_topic", 2) == 2


async def test_passwords_over_tls(home: Path) -> None:
    async with opened(home, login="password") as door:
        await door.let_in("P1", "P2")
        async with (
            door.tls("P1", None, "pw") as p1, door.tls("P2", None, "pw") as p2,
            undisturbed(door, ("P2", p2)),
        ):  # fmt: skip
            for _ in range(3):
                with pytest.raises(aiomqtt.MqttError):
                    async with door.tls("P1", None, "wrong"):
                        pass
            await door.shut_out("P1")
            await ended(p1)
        assert await door.count_of("not_authorised", 3) == 3


async def test_the_servers_own_session_over_tls(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(home, login="password") as door:
        plain = Endpoint.parse(door.stack.urls.mqtt_url or "")
        url = f"mqtts://{plain.username}:{plain.password}@127.0.0.1:{door.port}"
        over = Endpoint.parse(url)
        assert over.username is not None
        assert over.password is not None
        with pytest.raises(BrokerUnavailable, match="certificate verify failed"):
            await may_connect(over, over.username, over.password)
        monkeypatch.setenv("SSL_CERT_FILE", str(home / "tls/ca.crt"))
        assert await may_connect(over, over.username, over.password)
        assert not await may_connect(over, over.username, "wrong")
        session = MqttSession(url, "ingest-over-tls", ["sensors/+/readings"])
        running = asyncio.create_task(session.run())
        try:
            await session.wait_connected(10)
            async with door.server() as other, asyncio.timeout(10):
                await other.publish("sensors/D1/readings", b"{}", qos=1)
                (arrived,) = await session.deliveries()
            assert [message.topic for message in arrived.messages] == ["sensors/D1/readings"]
            session.acknowledge(arrived.token)
            assert session.backlog() == 0
        finally:
            running.cancel()
            await asyncio.wait([running])


async def test_oversized_packets_and_wrong_passwords(home: Path) -> None:
    async with opened(home) as door:
        await door.let_in("P1", "P2")
        async with door.plain("P2") as p2, undisturbed(door, ("P2", p2)):
            for _ in range(2):
                with pytest.raises(REFUSED):
                    async with door.plain("P1") as p1:
                        await p1.publish("sensors/P1/readings", secrets.token_bytes(3 * 2**20), qos=1)
                with pytest.raises(aiomqtt.MqttError):
                    async with door.plain("P1", "wrong"):
                        pass
        assert await door.count_of("too_large", 2) == 2
        assert await door.count_of("not_authorised", 2) == 2


@pytest.mark.timeout(300)
async def test_ten_thousand_connections(home: Path) -> None:
    """More than the broker takes, all at the door of strangers; devices there and elsewhere go on."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(10_000, hard - 1_000)
    limit = wanted * 9 // 10
    async with opened(home, max_connections=limit) as door:
        await door.let_in("D1", "P1")
        # Reading the files again must not lift the limit (it does so for a Mosquitto "listener").
        await door.stack.write_accounts(door.accounts, door.revoked)
        async with door.tls("D1", door.certificate("D1")) as d1, door.plain("P1") as p1:
            open_: list[asyncio.StreamWriter] = []
            try:
                async with undisturbed(door, ("D1", d1), ("P1", p1)):
                    for _ in range(wanted // 100):
                        found = await asyncio.gather(
                            *(asyncio.open_connection("127.0.0.1", door.port) for _ in range(100))
                        )
                        open_ += [writer for _, writer in found]
                    log.info("%d connections, limit %d", len(open_), limit)
                    refused = wanted + 1 - limit
                    assert await door.count_of("too_many_connections", refused) == refused
                    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
                    open_.append(writer)
                    with contextlib.suppress(ConnectionResetError):
                        assert await reader.read() == b"", "the door is full"
            finally:
                for writer in open_:
                    writer.close()
        await until(lambda: door.may("tls", "D1", door.certificate("D1")), "D1 let in again", 60)
        assert door.skipped == []
