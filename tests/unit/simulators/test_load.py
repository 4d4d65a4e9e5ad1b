from __future__ import annotations

from collections.abc import Iterator

import mqtt5
import numpy as np
import pytest

from ingest.codec import Decoding, decode_readings, decode_waveform
from simulators.load import (
    LoadDevices,
    LoadPlan,
    due_counts,
    encoder,
    frames,
    frames_of,
    settled,
    write_digits,
)
from simulators.wire import FrameBlock

START_US = 1_795_442_400_000_000


def plan(payload: str, rate: float = 1000.0, devices: int = 3) -> LoadPlan:
    return LoadPlan(rate, devices, 1.0, payload, START_US)


def packets_of(made: FrameBlock) -> Iterator[mqtt5.PublishPacket]:
    sent = memoryview(made.numbered(0, range(1, len(made) + 1)))
    for packet_id in range(1, len(made) + 1):
        packet, size = mqtt5.read(sent)
        assert isinstance(packet, mqtt5.PublishPacket)
        assert packet.packet_id == packet_id
        yield packet
        sent = sent[size:]
    assert not sent


def test_small_messages_are_valid_and_distinct() -> None:
    from datetime import UTC

    p = plan("small")
    packets = list(packets_of(frames(p, encoder(p, "runs/r/"), 5, 1000)))
    seen = set()
    for number, packet in enumerate(packets, 5):
        values = decode_readings(packet.payload, Decoding(START_US, UTC))
        assert packet.topic == f"runs/r/sensors/LD-{number % 3 + 1:05d}/readings"
        assert values.time_us == [START_US + number * 1000] * 4
        assert values.seq == [number // 3 + 1] * 4
        assert len(set(values.metric)) == 4
        seen.add((packet.topic, values.time_us[0]))
    assert len(seen) == 1000
    assert 120 <= len(packets[0].payload) <= 160


def test_waveforms_are_valid() -> None:
    from datetime import UTC

    p = plan("waveform")
    for number, made in enumerate(packets_of(frames(p, encoder(p, "runs/r/"), 0, 10))):
        packet = decode_waveform(made.payload, Decoding(START_US, UTC))
        assert packet.samples.shape == (3, 100)
        assert packet.start_us == START_US + number * 1000
        assert packet.seq == number // 3 + 1


def test_at_full_speed_event_times_stay_distinct() -> None:
    p = plan("small", rate=0.0, devices=1)
    assert len(set(p.times_us(np.arange(1000)).tolist())) == 1000


@pytest.mark.parametrize("pad", ["0", " "])
def test_numbers_are_written_with_a_fixed_width(pad: str) -> None:
    out = np.zeros((3, 4), dtype=np.uint8)
    write_digits(out, np.array([0, 71, 2000]), pad)
    assert [bytes(row) for row in out] == [f"{n:{pad}>4}".encode() for n in (0, 71, 2000)]


def test_a_rate_is_kept_from_the_clock_not_from_the_ticks() -> None:
    seconds = iter([0.0, 0.1, 0.35, 0.99, 1.2])
    assert list(due_counts(plan("small", 1000.0), 0.0, lambda: next(seconds))) == [0, 100, 350, 990, 1000]


@pytest.mark.parametrize(
    ("counts", "expected"), [([(1, 0, 0), (8, 1, 1)], (8, 1, 1)), ([(7, 0, 0)] * 3, (7, 0, 0))]
)
async def test_it_waits_until_all_is_accounted_for_or_nothing_moves(
    monkeypatch: pytest.MonkeyPatch, counts: list[tuple[int, int, int]], expected: tuple[int, int, int]
) -> None:
    monkeypatch.setattr("simulators.load.ASK_EVERY_S", 0)
    answers = iter(counts)
    now = iter(float(n) for n in range(100))

    async def count_stored() -> tuple[int, int, int]:
        return next(answers)

    found, _ = await settled(count_stored, lambda: 10, monotonic=lambda: next(now), patience_s=2.5)
    assert found == expected


@pytest.mark.parametrize(
    ("device", "command", "sent", "seqs"),
    [
        ("LD-00002", b'{"resend":[7,8]}', 30, [7, 8]),
        ("LD-00002", b'{"resend":[8]}', 30, [8]),
        ("LD-00002", b'{"resend":[1,99]}', 30, [6, 7, 8, 9, 10]),  # it keeps five
        ("LD-00003", b'{"resend":[1,99]}', 29, [5, 6, 7, 8, 9]),  # its tenth is not sent yet
        ("LD-00003", b'{"resend":[1]}', 2, []),
        ("LD-00009", b'{"resend":[1]}', 30, []),
        ("LD-00002", b'{"reboot":true}', 30, []),
        ("LD-00002", b"resend", 30, []),
    ],
)
def test_a_device_sends_its_last_messages_again(device: str, command: bytes, sent: int, seqs: list[int]) -> None:
    from datetime import UTC

    p = plan("small")
    numbers = LoadDevices(p, kept=5).again(device, command, sent)
    first = list(packets_of(frames(p, encoder(p, ""), 0, 30)))
    again = list(packets_of(frames_of(p, encoder(p, ""), numbers)))
    assert [decode_readings(packet.payload, Decoding(START_US, UTC)).seq[0] for packet in again] == seqs
    assert {packet.topic for packet in again} <= {f"sensors/{device}/readings"}
    assert {packet.payload for packet in again} <= {packet.payload for packet in first}
