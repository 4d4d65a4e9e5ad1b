from __future__ import annotations

import pytest

from domain.errors import PayloadError
from ingest.topics import parse_topic


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("sensors/VB-1/readings", ("VB-1", "readings", None, False, "sensor")),
        ("sensors/VB-1/waveform", ("VB-1", "waveform", None, False, "vibration")),
        ("sensors/a.b_c-1/status", ("a.b_c-1", "status", None, False, "sensor")),
        ("cameras/C1/events", ("C1", "camera_event", None, False, "camera")),
        ("vehicles/M1/position", ("M1", "position", None, False, "vehicle")),
        ("runs/live/sensors/VB-1/readings", ("VB-1", "readings", None, True, "sensor")),
        ("runs/r-1/sensors/VB-1/readings", ("VB-1", "readings", "r-1", False, "sensor")),
    ],
)
def test_what_a_topic_says(topic: str, said: tuple[object, ...]) -> None:
    parsed = parse_topic(topic)
    assert parsed is not None
    assert (parsed.device_id, parsed.kind, parsed.run, parsed.live, parsed.device_kind) == said


@pytest.mark.parametrize("topic", ["sensors/VB-1/command", "runs/r-1/sensors/VB-1/command"])
def test_commands_to_devices_are_not_for_us(topic: str) -> None:
    assert parse_topic(topic) is None


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("sensors/VB-1", "foreign_topic"),
        ("sensors/VB-1/readings/more", "foreign_topic"),
        ("sensors/VB-1/reading", "foreign_topic"),
        ("cameras/C1/readings", "foreign_topic"),
        ("runs/r-1", "foreign_topic"),
        ("runs/r 1/sensors/VB-1/readings", "foreign_topic"),
        ("runs/r-1/runs/r-2/sensors/VB-1/readings", "foreign_topic"),
        ("sensors//readings", "bad_id"),
        ("sensors/" + "x" * 65 + "/readings", "bad_id"),
        ("sensors/楼/readings", "bad_id"),
    ],
)
def test_what_is_not_in_the_contract_is_named(topic: str, reason: str) -> None:
    with pytest.raises(PayloadError, match=reason):
        parse_topic(topic)
