from __future__ import annotations

import mqtt5
import pytest

from ingest.codec import Decoding, decode_readings, decode_waveform
from simulators.load import LoadPlan, due_counts, encoder, frames, settled
from simulators.wire import Frame

START_US = 1_795_442_400_000_000


def plan(payload: str, rate: float = 1000.0, devices: int = 3) -> LoadPlan:
    return LoadPlan(rate, devices, 1.0, payload, START_US)


def packet_of(made: Frame) -> mqtt5.PublishPacket:
    packet, _ = mqtt5.read(memoryview(made.head + b"\x00\x01" + made.tail))
    assert isinstance(packet, mqtt5.PublishPacket)
    return packet


def test_small_messages_are_valid_and_distinct() -> None:
    from datetime import UTC

    p = plan("small")
    packets = [packet_of(made) for made in frames(p, encoder(p, "runs/r/"), 5, 1000)]
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
    for number, made in enumerate(frames(p, encoder(p, "runs/r/"), 0, 10)):
        packet = decode_waveform(packet_of(made).payload, Decoding(START_US, UTC))
        assert packet.samples.shape == (3, 100)
        assert packet.start_us == START_US + number * 1000
        assert packet.seq == number // 3 + 1


def test_at_full_speed_event_times_stay_distinct() -> None:
    p = plan("small", rate=0.0, devices=1)
    assert len({p.time_us(n) for n in range(1000)}) == 1000


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

    found, _ = await settled(count_stored, 10, monotonic=lambda: next(now), patience_s=2.5)
    assert found == expected
