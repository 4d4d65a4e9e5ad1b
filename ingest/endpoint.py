"""Where the broker is, and two short visits to it: to try an account, and to end a session.

Refuses to stay: who receives and acknowledges is ``ingest.session``.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import mqtt5

from domain.errors import BrokerUnavailable, SettingsError

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0


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

    def context(self) -> ssl.SSLContext | None:
        """With TLS: the system's authorities are trusted, and those in the file of ``SSL_CERT_FILE``."""
        return ssl.create_default_context() if self.tls else None


async def may_connect(endpoint: Endpoint, username: str, password: str) -> bool:
    """Whether the broker accepts these credentials; the trial session leaves nothing behind.

    Raises: BrokerUnavailable when nobody answers there, or somebody who is no broker or not trusted.
    """
    return await _visit(endpoint, "", username, password)


async def take_over(url: str, client_ids: Sequence[str]) -> None:
    """End the sessions of these client ids: the broker gives each to its newest connection, ours, which leaves.

    A broker that does not answer has no sessions to end. Needs an account of the broker (in ``url``).
    """
    endpoint = Endpoint.parse(url)
    for client_id in client_ids:
        try:
            let_in = await _visit(endpoint, client_id, endpoint.username, endpoint.password or "")
            reason = "" if let_in else "it refuses our account"
        except BrokerUnavailable as error:
            reason = str(error)
        if reason:
            log.warning("the session of %s could not be ended: %s", client_id, reason)


async def _visit(endpoint: Endpoint, client_id: str, username: str | None, password: str) -> bool:
    """Begin a clean session and leave; whether we were let in. Raises: BrokerUnavailable."""
    where = f"{endpoint.host}:{endpoint.port}"
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            answer = await _answer(endpoint, client_id, username, password)
    except TimeoutError as error:
        raise BrokerUnavailable(f"no answer from {where} within {CONNECT_TIMEOUT_S:g} s") from error
    except OSError as error:
        raise BrokerUnavailable(f"no broker at {where}: {error}") from error
    try:
        connack, _ = mqtt5.read(memoryview(answer))
    except (IndexError, ValueError):
        connack = None
    if not isinstance(connack, mqtt5.ConnAckPacket):
        raise BrokerUnavailable(f"{where} does not answer as an MQTT 5 broker; is it mqtt:// or mqtts://?")
    return connack.reason_code == mqtt5.ConnAckReasonCode.SUCCESS


async def _answer(endpoint: Endpoint, client_id: str, username: str | None, password: str) -> bytes:
    """What comes back for a CONNECT; empty when the other side closes. Raises: OSError, TimeoutError."""
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=endpoint.context())
    try:
        packet = mqtt5.ConnectPacket(client_id, username=username, password=password.encode(), clean_start=True)
        writer.write(packet.write())
        answer = await reader.read(4096)
        writer.write(mqtt5.DisconnectPacket().write())
        return answer
    finally:
        writer.close()
