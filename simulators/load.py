"""Make load: many devices, distinct event times, a set rate; and count what became of it.

Packets are encoded but for their time and number beforehand: the generator must
be faster than what it measures. Payloads: ``small`` is a JSON reading of four
values and about 120 bytes, ``waveform`` a MessagePack packet of 3 x 100 int16 samples.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass

import msgspec
import numpy as np

from domain.clock import US_PER_S
from simulators.publisher import Publisher
from simulators.wire import Frame, frame

CHUNK = 500
"""Messages encoded and sent in one go at full speed."""

TICK_S = 0.01
"""At a set rate, the messages due are sent this often."""

SPACING_AT_MAX_US = 4
"""Event time between messages at full speed: 250,000 a second, so never ahead of the wall clock by much."""

ASK_EVERY_S = 0.1

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
        """LD-00001 and so on."""
        return [f"LD-{number:05d}" for number in range(1, self.devices + 1)]

    def time_us(self, number: int) -> int:
        """Event time of the ``number``-th message; of one device all differ."""
        return self.start_us + int(number * self.spacing_us)


Encoder = Callable[[int, int, int], Frame]
"""(device number from 0, event time, seq) → frame."""


def small_encoder(plan: LoadPlan, prefix: str) -> Encoder:
    """JSON whose changing parts have a fixed width, so that only they are written anew."""
    text = b'{"t":%10d.%06d,"seq":%9d,"values":{"tilt_x_deg":0.0121,"tilt_y_deg":-0.0043,"temperature_c":31.52,'
    text += b'"battery_v":3.61}}'
    empty = text % (0, 0, 0)
    heads = [frame(f"{prefix}sensors/{device}/readings", empty) for device in plan.device_ids()]
    starts = [(head, tail[: len(tail) - len(empty)]) for head, tail in heads]

    def encode(device: int, t_us: int, seq: int) -> Frame:
        head, properties = starts[device]
        return Frame(head, properties + text % (t_us // US_PER_S, t_us % US_PER_S, seq))

    return encode


def waveform_encoder(plan: LoadPlan, prefix: str) -> Encoder:
    """MessagePack with t as float64 and seq as uint32 at fixed places."""
    rng = np.random.default_rng(1)
    samples = rng.integers(-40, 40, (3, WAVEFORM_SAMPLES)).astype("<i2")
    body = {
        "rate_hz": 100.0,
        "unit": "m/s2",
        "scale": 0.0001,
        "x": samples[0].tobytes(),
        "y": samples[1].tobytes(),
        "z": samples[2].tobytes(),
    }
    rest = msgspec.msgpack.encode(body)[1:]  # without its map header: two keys more come before
    times = struct.Struct(">2sBd4sBI")
    map_header = bytes([0x80 | (len(body) + 2)])

    def payload(t_us: int, seq: int) -> bytes:
        return map_header + times.pack(b"\xa1t", 0xCB, t_us / US_PER_S, b"\xa3seq", 0xCE, seq) + rest

    empty = payload(0, 0)
    heads = [frame(f"{prefix}sensors/{device}/waveform", empty) for device in plan.device_ids()]
    starts = [(head, tail[: len(tail) - len(empty)]) for head, tail in heads]

    def encode(device: int, t_us: int, seq: int) -> Frame:
        head, properties = starts[device]
        return Frame(head, properties + payload(t_us, seq))

    return encode


def encoder(plan: LoadPlan, prefix: str) -> Encoder:
    """The encoder of the plan's payload."""
    return {"small": small_encoder, "waveform": waveform_encoder}[plan.payload](plan, prefix)


def frames(plan: LoadPlan, encode: Encoder, first: int, count: int) -> list[Frame]:
    """Messages ``first`` to ``first + count - 1``: the devices take turns."""
    devices = plan.devices
    return [encode(n % devices, plan.time_us(n), n // devices + 1) for n in range(first, first + count)]


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
                await publisher.send(frames(plan, encode, number, count))
                number += count
            sent(number)
            await sleep(TICK_S)
    else:
        while monotonic() - began_s < plan.duration_s:
            await publisher.send(frames(plan, encode, number, CHUNK))
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
    sending to the broker's PUBACK, which says nothing about the database.
    """

    run: str
    published: int
    acknowledged: int
    refused: int
    stored: int
    duplicated: int
    quarantined: int
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
    count_stored: CountStored, wanted: int, *, monotonic: Callable[[], float], patience_s: float = 15.0
) -> tuple[tuple[int, int, int], float]:
    """Ask until all ``wanted`` messages are accounted for, or nothing has changed for ``patience_s``.

    Returns the counts and when they last changed.
    """
    counts = await count_stored()
    changed_s = monotonic()
    while sum(counts) < wanted and monotonic() - changed_s < patience_s:
        await asyncio.sleep(ASK_EVERY_S)
        newer = await count_stored()
        if newer != counts:
            counts, changed_s = newer, monotonic()
    return counts, changed_s
