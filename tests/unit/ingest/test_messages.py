from __future__ import annotations

from typing import NoReturn
from zoneinfo import ZoneInfo

import pytest

from ingest import messages
from ingest.messages import Message, Rules, decode

NOW_US = 1_795_400_000_000_000
RULES = Rules(ZoneInfo("Asia/Shanghai"), auto_register=True, runs_as_live=True)


def reasons(topic: str, payload: bytes) -> list[str]:
    decoded, refused = decode([Message(topic, payload, NOW_US, None, False, 1, 1)], RULES)
    assert not decoded
    return [refusal.reason for refusal in refused]


@pytest.mark.parametrize("t", [b"1e305", b"-1e305", b"1.7e308"])
@pytest.mark.parametrize(
    ("topic", "rest"),
    [
        ("sensors/a/readings", b'"values": {"a": 1}'),
        ("sensors/a/waveform", b'"rate_hz": 100, "unit": "gal", "x": [1, 2]'),
        ("sensors/a/status", b'"online": true'),
        ("cameras/a/events", b'"event_id": "e", "phase": "start", "type": "fire"'),
        ("vehicles/a/position", b'"lon": 113.5, "lat": 23.0, "datum": "gcj02"'),
    ],
)
def test_a_time_too_large_for_microseconds_is_refused(topic: str, rest: bytes, t: bytes) -> None:
    assert reasons(topic, b'{"t": ' + t + b", " + rest + b"}") == ["bad_time"]


def test_a_rate_too_small_for_a_packets_end_is_refused() -> None:
    payload = b'{"t": 1795400000, "rate_hz": 1e-310, "unit": "gal", "x": [1, 2]}'
    assert reasons("sensors/a/waveform", payload) == ["bad_rate"]


def test_a_mistake_of_ours_costs_one_message_and_not_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> NoReturn:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(messages, "DECODERS", {**messages.DECODERS, "status": broken})
    assert reasons("sensors/a/status", b"{}") == ["decoder_error"]
