from __future__ import annotations

import mqtt5
import pytest

from domain.errors import SettingsError
from simulators.latency import LatencyHistogram
from simulators.wire import BrokerAddress, as_duplicate, frame


@pytest.mark.parametrize("size", [0, 1, 90, 200, 20_000, 300_000])
def test_a_frame_takes_any_packet_id(size: int) -> None:
    head, tail = frame("runs/r-1/sensors/VB-1/waveform", b"x" * size, clock_us=1_500_000, retain=True, expiry_s=60)
    wire = head + (0xABCD).to_bytes(2, "big") + tail
    packet, used = mqtt5.read(memoryview(wire))
    assert isinstance(packet, mqtt5.PublishPacket)
    assert used == len(wire)
    assert (packet.topic, packet.packet_id, packet.payload) == (
        "runs/r-1/sensors/VB-1/waveform",
        0xABCD,
        b"x" * size,
    )
    assert packet.user_properties == [("gridpulse-clock", "1.500000")]
    assert (packet.retain, packet.duplicate, packet.message_expiry_interval) == (True, False, 60)
    again, _ = mqtt5.read(memoryview(as_duplicate(wire)))
    assert isinstance(again, mqtt5.PublishPacket)
    assert again.duplicate
    assert again.payload == packet.payload


def test_addresses() -> None:
    address = BrokerAddress.parse("mqtt://sim%40x:p%2Fw@broker.example:1884")
    assert address == BrokerAddress("broker.example", 1884, "sim@x", "p/w", False)
    assert str(address) == "mqtt://broker.example:1884", "a password is never shown"
    assert BrokerAddress.parse("mqtts://h").port == 8883


@pytest.mark.parametrize("url", ["", "http://h", "mqtt://", "mqtt://h:99999", "h:1883"])
def test_wrong_addresses_are_told(url: str) -> None:
    with pytest.raises(SettingsError, match="mqtt://user:password@host:1883"):
        BrokerAddress.parse(url)


def test_percentiles_are_good_to_three_percent() -> None:
    histogram = LatencyHistogram()
    histogram.add([ms / 1000 for ms in range(1, 501)])
    for ms in range(501, 1001):
        histogram.add([ms / 1000])
    assert histogram.percentile_ms(50) == pytest.approx(500, rel=0.03)
    assert histogram.percentile_ms(99) == pytest.approx(990, rel=0.03)
    assert histogram.summary_ms()["max"] == pytest.approx(1000.0)
    assert LatencyHistogram().summary_ms() == {"p50": None, "p90": None, "p99": None, "max": None}
