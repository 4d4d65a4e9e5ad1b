"""Make load: many devices, distinct event times, a set rate; and count what became of it.

Packets are encoded beforehand but for their times and numbers, and these are written
for hundreds of packets at once: the generator must be faster than what it measures.
Payloads: ``small`` is a JSON reading of four values and about 120 bytes, ``waveform``
a MessagePack packet of 3 x 100 int16 samples. A message follows from its number alone,
so a device's memory of what it sent is a bound and no bytes (``LoadDevices``).
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.clock import US_PER_S
from domain.readings import Int64
from simulators.devices import KEPT_MESSAGES, resend_range
from simulators.publisher import Publisher
from simulators.wire import FrameBlock, block_of, frame

CHUNK = 500
"""Messages encoded and sent in one go at full speed."""

TICK_S = 0.01
"""At a set rate, the messages due are sent this often."""

SPACING_AT_MAX_US = 4
"""Event time between messages at full speed: 250,000 a second, so never ahead of the wall clock by much."""

ASK_EVERY_S = 0.1
ASKED_MAX = 10_000
"""Commands that wait for an answer; a device asked twice answers twice, and what is dropped is asked for again."""

PAYLOADS = ("small", "waveform")
WAVEFORM_SAMPLES = 100


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """``rate`` in messages a second over all devices, 0 = as fast as it goes."""

    rate: float
    devices: int
    duration_s: float
    payload: str
    start_us: int

    @property
    def spacing_us(self) -> float:
        """Event time between two messages of any device."""
        return US_PER_S / self.rate if self.rate else SPACING_AT_MAX_US

    def device_ids(self) -> list[str]:
        """LD-00001 and so on, all of one length."""
        width = max(5, len(str(self.devices)))
        return [f"LD-{number:0{width}d}" for number in range(1, self.devices + 1)]

    def times_us(self, numbers: Int64) -> Int64:
        """Event times of the ``numbers``-th messages; of one device all differ."""
        times: Int64 = self.start_us + (numbers * self.spacing_us).astype(np.int64)
        return times


Encoder = Callable[[Int64, Int64, Int64], FrameBlock]
"""(device number from 0, event time, seq), ``(n,)`` each → their packets."""


def small_encoder(plan: LoadPlan, prefix: str) -> Encoder:
    """JSON whose changing parts have a fixed width, so that only their digits are written anew."""
    text = b'{"t":%10d.%06d,"seq":%9d,"values":{"tilt_x_deg":0.0121,"tilt_y_deg":-0.0043,"temperature_c":31.52,'
    text += b'"battery_v":3.61}}'
    empty = text % (0, 0, 0)
    templates = block_of([frame(f"{prefix}sensors/{device}/readings", empty) for device in plan.device_ids()])
    body = templates.length - len(empty)
    seconds = body + len(b'{"t":')
    micros = seconds + 10 + 1
    seq = micros + 6 + len(b',"seq":')

    def encode(device: Int64, t_us: Int64, number: Int64) -> FrameBlock:
        packets = templates.packets[device]
        write_digits(packets[:, seconds : seconds + 10], t_us // US_PER_S)
        write_digits(packets[:, micros : micros + 6], t_us % US_PER_S)
        write_digits(packets[:, seq : seq + 9], number, pad=" ")
        return FrameBlock(packets, templates.id_at)

    return encode


def write_digits(out: NDArray[np.uint8], numbers: Int64, pad: str = "0") -> None:
    """Write ``numbers (n,)`` in decimal into ``out (n, width)``, to the right, filled up with ``pad``."""
    powers = 10 ** np.arange(out.shape[1] - 1, -1, -1)
    out[:] = numbers[:, None] // powers % 10 + ord("0")
    if pad != "0":
        out[:, :-1][numbers[:, None] < powers[:-1]] = ord(pad)


def waveform_encoder(plan: LoadPlan, prefix: str) -> Encoder:
    """MessagePack with t as float64 and seq as uint32 at fixed places."""
    rng = np.random.default_rng(1)
    samples = rng.integers(-40, 40, (3, WAVEFORM_SAMPLES)).astype("<i2")
    fixed = {
        "rate_hz": 100.0,
        "unit": "m/s2",
        "scale": 0.0001,
        "x": samples[0].tobytes(),
        "y": samples[1].tobytes(),
        "z": samples[2].tobytes(),
    }
    rest = msgspec.msgpack.encode(fixed)[1:]  # without its map header: two keys more come before
    times = struct.Struct(">2sBd4sBI")
    head = bytes([0x80 | (len(fixed) + 2)]) + times.pack(b"\xa1t", 0xCB, 0.0, b"\xa3seq", 0xCE, 0)
    empty = head + rest
    templates = block_of([frame(f"{prefix}sensors/{device}/waveform", empty) for device in plan.device_ids()])
    seconds = templates.length - len(empty) + len(b"\x88\xa1t\xcb")
    seq = seconds + 8 + len(b"\xa3seq\xce")

    def encode(device: Int64, t_us: Int64, number: Int64) -> FrameBlock:
        packets = templates.packets[device]
        packets[:, seconds : seconds + 8] = as_bytes((t_us / US_PER_S).astype(">f8"))
        packets[:, seq : seq + 4] = as_bytes(number.astype(">u4"))
        return FrameBlock(packets, templates.id_at)

    return encode


def as_bytes(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of each number, ``(n, size)``."""
    return np.ascontiguousarray(numbers).view(np.uint8).reshape(len(numbers), -1)


def encoder(plan: LoadPlan, prefix: str) -> Encoder:
    """The encoder of the plan's payload."""
    return {"small": small_encoder, "waveform": waveform_encoder}[plan.payload](plan, prefix)


def frames(plan: LoadPlan, encode: Encoder, first: int, count: int) -> FrameBlock:
    """Messages ``first`` to ``first + count - 1``: the devices take turns."""
    return frames_of(plan, encode, np.arange(first, first + count, dtype=np.int64))


def frames_of(plan: LoadPlan, encode: Encoder, numbers: Int64) -> FrameBlock:
    """The messages of these numbers, ``(n,)``."""
    return encode(numbers % plan.devices, plan.times_us(numbers), numbers // plan.devices + 1)


class LoadDevices:
    """The devices of a load as they answer ``{"resend": [17, 19]}``: each still has its last messages."""

    def __init__(self, plan: LoadPlan, *, kept: int = KEPT_MESSAGES) -> None:
        self._devices = plan.devices
        self._kept = kept
        self._place = {device: place for place, device in enumerate(plan.device_ids())}

    def again(self, device_id: str, command: bytes, sent: int) -> Int64:
        """Numbers of the messages the device sends again, when ``sent`` of the load have been sent.

        What it no longer has, or has not sent yet, is left out; a stranger's or an unreadable command gives none.
        """
        wanted, place = resend_range(command), self._place.get(device_id)
        if wanted is None or place is None or place >= sent:
            return np.zeros(0, np.int64)
        newest = (sent - 1 - place) // self._devices + 1
        first, last = max(wanted[0], newest - self._kept + 1, 1), min(wanted[1], newest)
        return (np.arange(first, last + 1, dtype=np.int64) - 1) * self._devices + place


class Resends:
    """What a load's devices are asked for, and their answers; beyond ``ASKED_MAX`` the oldest go unanswered.

    ``sent``: messages of the load so far, to be kept up by who sends them; ``again``: messages sent again.
    """

    def __init__(self, plan: LoadPlan, prefix: str) -> None:
        self.sent = 0
        self.again = 0
        self._plan, self._memory, self._encode = plan, LoadDevices(plan), encoder(plan, prefix)
        self._asked: deque[tuple[str, bytes]] = deque(maxlen=ASKED_MAX)
        self._told = asyncio.Event()

    def ask(self, topic: str, payload: bytes) -> None:
        """A command has arrived on ``…sensors/{id}/command``; never waits."""
        self._asked.append((topic.split("/")[-2], payload))
        self._told.set()

    async def answer(self, publisher: Publisher) -> None:
        """Send again what devices are asked for; until cancelled."""
        while True:
            self._told.clear()
            while self._asked:
                numbers = self._memory.again(*self._asked.popleft(), self.sent)
                if len(numbers):
                    await publisher.send_block(frames_of(self._plan, self._encode, numbers))
                    self.again += len(numbers)
            await self._told.wait()


def due_counts(plan: LoadPlan, began_s: float, now_s: Callable[[], float]) -> Iterator[int]:
    """How many messages should be out by now, asked again and again until the duration is over."""
    while (elapsed_s := now_s() - began_s) < plan.duration_s:
        yield int(elapsed_s * plan.rate)
    yield int(plan.duration_s * plan.rate)


async def send_load(
    publisher: Publisher,
    plan: LoadPlan,
    prefix: str,
    *,
    monotonic: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    sent: Callable[[int], None],
) -> float:
    """Send the plan and wait for all answers; returns the seconds it took."""
    encode = encoder(plan, prefix)
    began_s = monotonic()
    number = 0
    if plan.rate:
        for due in due_counts(plan, began_s, monotonic):
            while number < due:
                count = min(CHUNK, due - number)
                await publisher.send_block(frames(plan, encode, number, count))
                number += count
            sent(number)
            await sleep(TICK_S)
    else:
        while monotonic() - began_s < plan.duration_s:
            await publisher.send_block(frames(plan, encode, number, CHUNK))
            number += CHUNK
            sent(number)
    await publisher.flush()
    sent(number)
    return monotonic() - began_s


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of a load. ``lost`` = acknowledged - stored - duplicated - quarantined.

    ``msg_s``: acknowledged by the broker a second; ``stored_msg_s``: stored in the
    database a second, over the time until the last one was; ``latency_ms``: from
    sending to the broker's PUBACK, which says nothing about the database; ``resent``:
    messages sent again because the server asked, published too and stored or duplicates.
    """

    run: str
    published: int
    acknowledged: int
    refused: int
    stored: int
    duplicated: int
    quarantined: int
    resent: int
    lost: int
    msg_s: float
    stored_msg_s: float
    latency_ms: dict[str, float | None]

    def as_json(self) -> str:
        """One line."""
        return msgspec.json.encode(asdict(self)).decode()


CountStored = Callable[[], Awaitable[tuple[int, int, int]]]
"""Messages (stored, duplicate, quarantined) so far."""


async def settled(
    count_stored: CountStored,
    wanted: Callable[[], int],
    *,
    monotonic: Callable[[], float],
    patience_s: float = 15.0,
) -> tuple[tuple[int, int, int], float]:
    """Ask until all ``wanted`` messages are accounted for, or nothing has changed for ``patience_s``.

    Returns the counts and when they last changed.
    """
    counts = await count_stored()
    changed_s = monotonic()
    while sum(counts) < wanted() and monotonic() - changed_s < patience_s:
        await asyncio.sleep(ASK_EVERY_S)
        newer = await count_stored()
        if newer != counts:
            counts, changed_s = newer, monotonic()
    return counts, changed_s
