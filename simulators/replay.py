"""Replay recorded traffic: read it once to know it, then send it in a run's clock.

Nothing is sent before every file has been read to its end: a broken line stops
the replay while it still costs nothing.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from domain.clock import US_PER_S
from domain.errors import ImportFileError
from simulators.devices import Emission
from simulators.mapping import renamed
from simulators.publisher import Publisher
from simulators.recordings import Packet, read_recording
from simulators.run import RunClock, paced
from simulators.shift import shift_payload

WRONG_CLOCK_S = 60.0
"""A device whose clock is further from its arrivals than this is named."""


@dataclass
class Recording:
    """One or more files as one recording, by arrival. ``clock``: OpenEEW's ``device`` or ``cloud`` time."""

    files: Sequence[Path]
    zone: ZoneInfo
    clock: str = "device"

    def packets(self) -> Iterator[Packet]:
        """All packets by arrival. Raises: ImportFileError."""
        readers = [read_recording(path, zone=self.zone, clock=self.clock) for path in self.files]
        return heapq.merge(*readers, key=lambda packet: packet.at_us)


@dataclass
class Survey:
    """What a recording holds. ``clock_behind_s``: device → median of arrival minus its own time, if wrong."""

    packets: int = 0
    first_us: int = 0
    last_us: int = 0
    per_device: Counter[str] = field(default_factory=Counter)
    waveform_devices: set[str] = field(default_factory=set)
    duplicates: int = 0
    clock_behind_s: dict[str, float] = field(default_factory=dict)

    @property
    def duration_us(self) -> int:
        """From the first to the last arrival."""
        return self.last_us - self.first_us


def survey(recording: Recording) -> Survey:
    """Read it all. Two packets are duplicates when topic and event time (else: bytes) agree.

    Raises: ImportFileError, also when there is nothing in it.
    """
    seen: set[int] = set()
    behind: dict[str, list[float]] = {}
    found = Survey()
    for packet in recording.packets():
        found.first_us = min(found.first_us, packet.at_us) if found.packets else packet.at_us
        found.last_us = max(found.last_us, packet.at_us)
        found.packets += 1
        found.per_device[packet.device] += 1
        if packet.is_waveform:
            found.waveform_devices.add(packet.device)
        if packet.t_us is not None:
            behind.setdefault(packet.device, []).append((packet.at_us - packet.t_us) / US_PER_S)
        seen.add(hash((packet.topic, packet.payload if packet.t_us is None else packet.t_us)))
    if not found.packets:
        raise ImportFileError(f"{', '.join(map(str, recording.files))}: no messages in it")
    found.duplicates = found.packets - len(seen)
    medians = {device: sorted(lags)[len(lags) // 2] for device, lags in behind.items()}
    found.clock_behind_s = {d: lag for d, lag in sorted(medians.items()) if abs(lag) > WRONG_CLOCK_S}
    return found


def emissions(
    recording: Recording, shift_us: int, mapping: Mapping[str, str] | None, left_out: Counter[str]
) -> Iterator[Emission]:
    """The recording as messages of the run: times shifted, devices renamed.

    A device that ``mapping`` does not name is left out and counted in ``left_out``.
    """
    for packet in recording.packets():
        topic = packet.topic
        if mapping is not None:
            if packet.device not in mapping:
                left_out[packet.device] += 1
                continue
            topic = renamed(topic, packet.device, mapping)
        yield Emission(packet.at_us + shift_us, topic, shift_payload(packet.payload, shift_us), packet.retain)


async def perform(
    publisher: Publisher,
    messages: Iterator[Emission],
    clock: RunClock,
    prefix: str,
    *,
    monotonic: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    sent: Callable[[Emission], None],
    retained_expiry_s: int | None = None,
) -> None:
    """Publish each message when it is due under ``prefix``, with its clock; returns when all are answered.

    ``retained_expiry_s``: retained messages of an exercise go from the broker after
    this time, so that exercises leave nothing there.
    """
    async for message in paced(messages, clock, monotonic, sleep):
        await publisher.publish(
            prefix + message.topic,
            message.payload,
            clock_us=message.at_us,
            retain=message.retain,
            expiry_s=retained_expiry_s if message.retain else None,
        )
        sent(message)
    await publisher.flush()
