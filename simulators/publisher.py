"""Publish over MQTT 5 with QoS 1: fast, counted, and complete over a lost connection.

One connection carries all simulated devices, as a gateway does, because 10,000
connections would measure the broker and not Gridpulse. Therefore a *last will*
exists once per connection and not per device: it is the simulated gateway's
status; the devices behind it have retained statuses of their own, which nobody
takes back when the program is killed. A test of a single device's will needs
a publisher of its own for that device (``will=…``).

Bounds: at most ``window`` messages and ``INFLIGHT_BYTES_MAX`` bytes are sent and
not yet acknowledged; ``publish`` waits for room (policy: wait). What was not
acknowledged when the connection broke is sent again with DUP, in order.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

import mqtt5

from domain.errors import BrokerUnavailable, NotAllowed
from simulators.connection import Connection, Refused, open_connection, words
from simulators.latency import LatencyHistogram
from simulators.wire import BrokerAddress, Frame, FrameBlock, as_duplicate, frame

log = logging.getLogger(__name__)

WINDOW = 2000
WRITE_MESSAGES_MAX = 500
INFLIGHT_BYTES_MAX = 32 * 1024 * 1024
SESSION_EXPIRY_S = 60
RETRY_S_FIRST, RETRY_S_MAX = 0.1, 5.0

Sent = tuple[bytes, int, int, float]
"""What was written, where in it a message begins and ends, and when it was sent."""

CommandHandler = Callable[[str, bytes], None]
"""(topic, payload) of a message that arrived for ``commands``."""


@dataclass(slots=True)
class Counts:
    """What happened to the messages given to a publisher.

    ``published``: sent at least once; it equals acknowledged + refused + in flight.
    """

    published: int = 0
    acknowledged: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    sent_again: int = 0
    reconnects: int = 0


class Publisher:
    """``async with Publisher(url, "sim-1") as p: await p.publish(…); await p.flush()``.

    ``patience_s``: how long a lost broker is waited for before publish and flush
    raise BrokerUnavailable; None waits forever. ``commands``: topic filters whose
    messages go to ``on_command``; a broker that refuses them is no error.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        *,
        window: int = WINDOW,
        will: mqtt5.Will | None = None,
        patience_s: float | None = 60.0,
        commands: Sequence[str] = (),
        on_command: CommandHandler | None = None,
    ) -> None:
        self.counts = Counts()
        self.latency = LatencyHistogram()
        self._address = BrokerAddress.parse(url)
        self._client_id = client_id
        self._window = window
        self._will = will
        self._patience_s = patience_s
        self._commands = tuple(commands)
        self._on_command = on_command
        self._free: deque[int] = deque()
        self._inflight: dict[int, Sent] = {}  # in the order sent
        self._inflight_bytes = 0
        self._moved = asyncio.Event()
        self._failure: BrokerUnavailable | NotAllowed | None = None
        self._connection: Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._connected = False
        self._lost_s: float | None = None  # since when nothing gets through

    async def open(self) -> None:
        """Connect, unless that is done already. Raises: BrokerUnavailable; may be tried again."""
        if self._keeper is not None:
            return
        limit = await self._connect(clean_start=True)
        self._window = min(self._window, limit)
        self._free.extend(range(1, self._window + 1))
        self._keeper = asyncio.create_task(self._keep_connected(), name="publisher connection")

    async def __aenter__(self) -> Publisher:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._connection is not None and not self._connection.closed.done():
            if error is not None:
                self._connection.abort("ended by an error")  # so that the last will is sent
            else:
                await self._connection.close()

    # ---------------------------------------------------------------- sending

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        clock_us: int | None = None,
        retain: bool = False,
        expiry_s: int | None = None,
    ) -> None:
        """Send one message; returns when it is on its way, waits while the window is full.

        Raises: BrokerUnavailable, NotAllowed (the account may not publish there).
        """
        await self.send((frame(topic, payload, clock_us=clock_us, retain=retain, expiry_s=expiry_s),))

    async def send(self, frames: Sequence[Frame]) -> None:
        """Send encoded messages in order. Raises as ``publish``."""
        done = 0
        while done < len(frames):
            room = await self._room()
            done += self._write(frames[done : done + room])

    async def send_block(self, block: FrameBlock) -> None:
        """Send a block in order. Raises as ``publish``."""
        done = 0
        while done < len(block):
            done += self._write_block(block, done, await self._room())

    async def flush(self) -> None:
        """Wait until the broker has answered for every message. Raises as ``publish``."""
        while self._inflight:
            await self._wait()
        self._check()

    async def _room(self) -> int:
        while True:
            self._check()
            connection = self._connection
            if connection is not None and self._connected:
                if not connection.writable.is_set():
                    await connection.writable.wait()
                    continue
                if self._free and self._inflight_bytes < INFLIGHT_BYTES_MAX:
                    return min(len(self._free), WRITE_MESSAGES_MAX)
            await self._wait()

    def _write(self, frames: Sequence[Frame]) -> int:
        now_s = time.perf_counter()
        free, inflight = self._free, self._inflight
        packets: list[bytes] = []
        size = 0
        for head, tail in frames:
            if self._inflight_bytes + size >= INFLIGHT_BYTES_MAX:
                break
            packet_id = free.popleft()
            packet = head + packet_id.to_bytes(2, "big") + tail
            inflight[packet_id] = (packet, 0, len(packet), now_s)
            packets.append(packet)
            size += len(packet)
        self._inflight_bytes += size
        self.counts.published += len(packets)
        assert self._connection is not None
        self._connection.write(b"".join(packets))
        return len(packets)

    def _write_block(self, block: FrameBlock, start: int, room: int) -> int:
        now_s, length = time.perf_counter(), block.length
        wanted = min(room, len(block) - start, 1 + (INFLIGHT_BYTES_MAX - self._inflight_bytes) // length)
        ids = [self._free.popleft() for _ in range(wanted)]
        written = block.numbered(start, ids)
        ends = range(length, len(written) + 1, length)
        self._inflight.update({
            packet_id: (written, end - length, end, now_s) for packet_id, end in zip(ids, ends, strict=True)
        })  # fmt: skip
        self._inflight_bytes += len(written)
        self.counts.published += wanted
        assert self._connection is not None
        self._connection.write(written)
        return wanted

    async def _wait(self) -> None:
        self._check()
        self._moved.clear()
        await self._moved.wait()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    # ---------------------------------------------------------------- Listener

    def acknowledged(self, packet_ids: Sequence[int]) -> None:
        """See ``Listener``."""
        now_s = time.perf_counter()
        pop, free, waits = self._inflight.pop, self._free.append, []
        for packet_id in packet_ids:
            entry = pop(packet_id, None)
            if entry is None:
                continue  # an answer we do not wait for
            _, start, stop, sent_s = entry
            self._inflight_bytes -= stop - start
            free(packet_id)
            waits.append(now_s - sent_s)
        self.latency.add(waits)
        self.counts.acknowledged += len(waits)
        self._lost_s = None
        self._moved.set()

    def refused(self, packet_id: int, reason: mqtt5.PubAckReasonCode) -> None:
        """See ``Listener``. Not authorized ends the publisher: all that follows would be refused too."""
        entry = self._inflight.pop(packet_id, None)
        if entry is None:
            return
        written, start, stop, _ = entry
        self._inflight_bytes -= stop - start
        self._free.append(packet_id)
        self.counts.refused[words(reason.name)] += 1
        if reason == mqtt5.PubAckReasonCode.NOT_AUTHORIZED:
            self._failure = NotAllowed(
                f"the broker does not let this account publish under {topic_of(written[start:stop])}: use the "
                "simulator's account, or give this one the right in the broker's access list"
            )
        self._moved.set()

    def received(self, packet: mqtt5.PublishPacket) -> None:
        """See ``Listener``: a command for a simulated device."""
        if packet.packet_id is not None and self._connection is not None:
            self._connection.write(mqtt5.PubAckPacket(packet.packet_id).write())
        if self._on_command is not None:
            self._on_command(packet.topic, packet.payload)

    # ---------------------------------------------------------------- the connection

    async def _connect(self, *, clean_start: bool) -> int:
        """A connection on which everything unanswered is sent again; returns the broker's window."""
        connection, answer = await open_connection(
            self._address,
            self._client_id,
            self,
            clean_start=clean_start,
            session_expiry_s=SESSION_EXPIRY_S,
            will=self._will,
        )
        if len(self._inflight) > answer.receive_max:
            connection.abort("smaller window")
            raise Refused("the broker came back with a smaller receive maximum: start again")
        self._connection = connection
        if self._commands:
            await connection.subscribe(self._commands)
        for packet_id, (written, start, stop, _) in self._inflight.items():
            self._inflight[packet_id] = (written, start, stop, time.perf_counter())
            connection.write(as_duplicate(written[start:stop]))
            self.counts.sent_again += 1
        self._connected = True
        return answer.receive_max

    async def _keep_connected(self) -> None:
        retry_s = RETRY_S_FIRST
        while self._failure is None:
            assert self._connection is not None
            why = await self._connection.watch()
            self._connected = False
            if self._lost_s is None:
                self._lost_s, retry_s = time.monotonic(), RETRY_S_FIRST
                log.warning("%s; connecting again", why)
            try:
                await self._reconnect(why, retry_s)
            except BrokerUnavailable as error:
                self._failure = error
            # A connection that breaks before anything got through counts as the same loss.
            retry_s = min(retry_s * 2, RETRY_S_MAX)
            self._moved.set()

    async def _reconnect(self, why: str, retry_s: float) -> None:
        assert self._lost_s is not None
        while True:
            if self._patience_s is not None and time.monotonic() + retry_s - self._lost_s > self._patience_s:
                raise BrokerUnavailable(
                    f"{why}; it did not come back within {self._patience_s:g} s: start it and try again"
                )
            await asyncio.sleep(retry_s)
            try:
                await self._connect(clean_start=False)
            except Refused:
                raise
            except BrokerUnavailable:
                retry_s = min(retry_s * 2, RETRY_S_MAX)
                continue
            self.counts.reconnects += 1
            if not self._inflight:
                self._lost_s = None
            return


def topic_of(packet: bytes) -> str:
    """The topic of an encoded PUBLISH."""
    decoded, _ = mqtt5.read(memoryview(packet))
    assert isinstance(decoded, mqtt5.PublishPacket)
    return decoded.topic
