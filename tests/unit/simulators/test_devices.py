from __future__ import annotations

import msgspec
import numpy as np
import pytest

from simulators.devices import SCALE_M_S2, SimulatedDevice

NOW_US = 1_795_442_400_000_000


def test_messages_are_numbered_and_have_the_contract_shape() -> None:
    device = SimulatedDevice("TL-0001")
    first = device.reading(NOW_US, {"tilt_x_deg": 0.12})
    second = device.position(NOW_US + 1, 113.5, 23.0, {"bed": "loaded"})
    assert first.topic == "sensors/TL-0001/readings"
    assert msgspec.json.decode(first.payload) == {"t": 1795442400.0, "seq": 1, "values": {"tilt_x_deg": 0.12}}
    assert msgspec.json.decode(second.payload)["seq"] == 2
    assert not first.retain


def test_a_waveform_is_little_endian_int16_and_is_sent_after_its_last_sample() -> None:
    samples = np.zeros((3, 50))
    samples[0, 1], samples[1, 2], samples[2, 3] = 0.01, -0.02, 100.0
    packet = SimulatedDevice("VB-1").waveform(NOW_US, 100, samples)
    body = msgspec.msgpack.decode(packet.payload)
    assert packet.at_us == NOW_US + 500_000
    assert (body["t"], body["rate_hz"], body["unit"], body["seq"]) == (NOW_US / 1e6, 100, "m/s2", 1)
    x, y, z = (np.frombuffer(body[axis], dtype="<i2") for axis in "xyz")
    assert x[1] * body["scale"] == pytest.approx(0.01)
    assert y[2] * body["scale"] == pytest.approx(-0.02)
    assert z[3] == 32767, "what does not fit is cut off, not wrapped"
    assert body["scale"] == SCALE_M_S2


def test_status_and_last_will_are_retained() -> None:
    device = SimulatedDevice("GW-1")
    assert device.status(NOW_US).retain
    will = device.offline(NOW_US)
    assert (will.topic, msgspec.json.decode(will.payload), will.retain) == (
        "sensors/GW-1/status",
        {"online": False},
        True,
    )


def test_a_resend_gives_the_same_bytes_of_the_range_that_is_still_there() -> None:
    device = SimulatedDevice("TL-1", kept=5)
    sent = [device.reading(NOW_US + n, {"v": float(n)}) for n in range(10)]
    again = device.answer(b'{"resend": [4, 8]}', NOW_US + 99)
    assert [e.payload for e in again] == [e.payload for e in sent[5:8]], "4 and 5 are forgotten"
    assert {e.at_us for e in again} == {NOW_US + 99}
    assert [e.payload for e in device.answer(b'{"resend": [10]}', 0)] == [sent[9].payload]


@pytest.mark.parametrize("command", [b"", b"[]", b"{}", b'{"resend": "x"}', b'{"resend": []}', b"\xff"])
def test_a_command_that_cannot_be_read_is_ignored(command: bytes) -> None:
    device = SimulatedDevice("TL-1")
    device.reading(NOW_US, {"v": 1.0})
    assert device.answer(command, NOW_US) == []
