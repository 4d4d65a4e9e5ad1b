"""The WebSocket ``/api/v1/live``: hello, then messages in and frames out until somebody leaves.

One task reads, one writes; a client that stops reading stops nobody but itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect

from api import messages
from api.accounts import TOKEN_TTL_S
from api.auth import take_ticket
from api.client import Client, Identity
from api.messages import Hello, Ping, SubscribeAlerts, SubscribeValues, Unsubscribe, frame
from api.metrics import LIVE_LAGGING, LIVE_REFUSED
from api.ports import ApiPorts
from api.queries.people import SESSION
from api.reader import reading, writing
from api.secrets import digest, session_of
from api.throttle import Throttle
from domain.clock import from_us, to_us
from domain.errors import DatabaseUnavailable, NotFound, PayloadError
from domain.people import Actor

log = logging.getLogger(__name__)

HELLO_S = 5.0
LAST_WORDS_S = 5.0
"""How long a client that is being closed may take to read its last message."""

CANCEL_AGAIN_S = 0.5
MESSAGES_BURST = 50
MESSAGES_EVERY_S = 0.2
SUBSCRIPTIONS_MAX = 20
CLIENTS_MAX = 20_000
UNAVAILABLE = 1013
POLICY = 1008


async def live(websocket: WebSocket) -> None:
    """Serve one client."""
    ports: ApiPorts = websocket.app.state.ports
    if not same_origin(websocket.headers):
        LIVE_REFUSED.labels("origin").inc()
        await websocket.close(messages.NOT_ALLOWED)
        return
    await websocket.accept()
    try:
        identity = await greet(websocket, ports)
        if isinstance(identity, tuple):
            LIVE_REFUSED.labels(str(identity[0])).inc()
            await websocket.close(*identity)
        else:
            await serve(websocket, ports, identity)
    except WebSocketDisconnect:
        pass


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a browser's page came from this host; programs send no Origin."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


async def greet(websocket: WebSocket, ports: ApiPorts) -> Identity | tuple[int, str]:
    """The identity of the first message, or the close code and reason."""
    try:
        async with asyncio.timeout(HELLO_S):
            text = await receive_text(websocket)
        message = messages.parse(text)
    except TimeoutError:
        return messages.NOT_SIGNED_IN, f"no hello within {HELLO_S:.0f} s"
    except PayloadError as error:
        return messages.NOT_SIGNED_IN, shorten(str(error))
    if not isinstance(message, Hello):
        return messages.NOT_SIGNED_IN, "the first message is hello"
    if len(ports.hub.clients) >= CLIENTS_MAX:
        return UNAVAILABLE, "too many clients; try again later"
    try:
        async with ports.hub.reads:  # a stampede waits here, not in the pool, which would give up
            identity = await identify(ports, message)
    except DatabaseUnavailable:
        return UNAVAILABLE, "the database does not answer; try again"
    return identity or (messages.NOT_SIGNED_IN, "this ticket or token is not valid (any more)")


async def identify(ports: ApiPorts, message: Hello) -> Identity | None:
    """Who a hello is from; a ticket is used up by it."""
    now_us = ports.now_us()
    session = digest(message.secret)
    if message.kind == "ticket":
        async with writing(ports.pool) as conn:
            user = await take_ticket(conn, message.secret, from_us(now_us))
        if user is None:
            return None
        bound = session_of(message.secret)
        if bound is None:
            actor = Actor(user["name"], user["role"], user["area"])
            return Identity(actor, None, now_us + round(TOKEN_TTL_S * 1e6))
        session = bound
    async with reading(ports.pool) as reader:
        row = await reader.row(SESSION, {"digest": session, "kind": "bearer", "now": from_us(now_us)})
    if row is None:
        return None
    return Identity(Actor(row["name"], row["role"], row["area"]), session, to_us(row["expires_at"]))


async def serve(websocket: WebSocket, ports: ApiPorts, identity: Identity) -> None:
    """Read and write until the client leaves or is closed."""
    client = Client(websocket, identity)
    writer = asyncio.create_task(client.write(), name="live-writer")
    reader = asyncio.create_task(read(websocket, ports, client), name="live-reader")
    loop = asyncio.get_running_loop()

    def last_words() -> None:
        loop.call_later(LAST_WORDS_S, writer.cancel)

    client.on_end = last_words
    ports.hub.enter(client)
    try:
        await asyncio.wait({writer, reader}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ports.hub.leave(client)
        for error in await ended(writer, reader):
            if not isinstance(error, WebSocketDisconnect | OSError):
                log.error("a live client's task failed", exc_info=error)
    if client.closing is not None:
        LIVE_REFUSED.labels(str(client.closing[0])).inc()
        if client.closing[0] == messages.LAGGING:
            LIVE_LAGGING.inc()


async def ended(*tasks: asyncio.Task[None]) -> list[Exception]:
    """Cancel tasks until they have ended; what they failed with.

    Once is not enough: Python 3.11's ``wait_for``, which psycopg waits with, loses a
    cancellation that comes together with its result. A replay that went on would wait
    for room in a queue that nobody empties any more.
    """
    while going := [task for task in tasks if not task.done()]:
        for task in going:
            task.cancel()
        await asyncio.wait(going, timeout=CANCEL_AGAIN_S)
    errors = [None if task.cancelled() else task.exception() for task in tasks]
    return [error for error in errors if isinstance(error, Exception)]


async def read(websocket: WebSocket, ports: ApiPorts, client: Client) -> None:
    """Handle the client's messages one after the other, so that answers keep their order."""
    throttle = Throttle(burst=MESSAGES_BURST, every_s=MESSAGES_EVERY_S)
    while client.closing is None:
        text = await receive_text(websocket)
        if throttle.take("", ports.now_us() / 1e6) > 0:
            reason = f"more than {MESSAGES_BURST} messages in 10 s"
            client.end(POLICY, reason, frame("error", reason=reason))
            break
        try:
            await handle(ports, client, messages.parse(text))
        except (PayloadError, NotFound) as error:
            client.offer(frame("error", reason=str(error)))
        except DatabaseUnavailable:
            client.end(UNAVAILABLE, "the database does not answer", frame("error", reason="try again later"))
    await asyncio.Event().wait()  # the writer says the last words


async def handle(ports: ApiPorts, client: Client, message: messages.ClientMessage) -> None:
    """One message after hello. Raises: PayloadError, NotFound, DatabaseUnavailable."""
    hub = ports.hub
    match message:
        case Ping():
            client.offer(frame("pong"))
        case Unsubscribe():
            if not hub.unsubscribe(client, message.id):
                raise PayloadError("bad_message", f"there is no subscription {message.id!r}")
        case Hello():
            raise PayloadError("bad_message", "hello was said already")
        case SubscribeAlerts() | SubscribeValues():
            if message.id in client.subscriptions:
                raise PayloadError("bad_message", f"the id {message.id!r} is in use; unsubscribe it first")
            if len(client.subscriptions) >= SUBSCRIPTIONS_MAX:
                raise PayloadError("bad_message", f"at most {SUBSCRIPTIONS_MAX} subscriptions")
            if isinstance(message, SubscribeAlerts):
                await hub.subscribe_alerts(client, message)
            else:
                await hub.subscribe_values(client, message)


async def receive_text(websocket: WebSocket) -> str | bytes:
    """The next message; binary ones are read as text. Raises: WebSocketDisconnect."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
    received: str | bytes | None = message.get("text")
    return received if received is not None else message["bytes"]


def shorten(reason: str) -> str:
    """A close reason has at most 123 bytes."""
    return reason.encode()[:120].decode(errors="ignore")
