from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from domain.errors import ImportFileError
from simulators.recordings import own_line
from simulators.replay import Recording, emissions, survey

ZONE = ZoneInfo("Asia/Shanghai")


def own_file(path: Path, *messages: tuple[float, str, dict[str, object]]) -> Path:
    path.write_bytes(
        b"".join(
            own_line(round(t * 1e6), topic, json.dumps(body).encode(), clock_us=None, retain=False)
            for t, topic, body in messages
        )
    )
    return path


def test_several_files_are_one_recording_by_arrival(tmp_path: Path) -> None:
    a = own_file(tmp_path / "a.jsonl", (1.0, "sensors/A/readings", {"t": 1}), (3.0, "sensors/A/readings", {"t": 3}))
    b = own_file(tmp_path / "b.jsonl", (2.0, "sensors/B/readings", {"t": 2}), (2.0, "sensors/B/readings", {"t": 2}))
    recording = Recording([a, b], ZONE)
    assert [p.at_us for p in recording.packets()] == [1_000_000, 2_000_000, 2_000_000, 3_000_000]
    found = survey(recording)
    assert (found.packets, found.first_us, found.last_us, found.duplicates) == (4, 1_000_000, 3_000_000, 1)
    assert found.per_device == {"A": 2, "B": 2}
    assert found.waveform_devices == set()


def test_event_time_and_clock_move_together_and_devices_are_renamed(tmp_path: Path) -> None:
    path = own_file(tmp_path / "a.jsonl", (5.0, "sensors/A/readings", {"t": 4.5, "values": {"v": 1}}),
                    (6.0, "sensors/B/readings", {"t": 6}))  # fmt: skip
    left_out: Counter[str] = Counter()
    (message,) = emissions(Recording([path], ZONE), 100_000_000, {"A": "TL-0007"}, left_out)
    assert message.at_us == 105_000_000
    assert message.topic == "sensors/TL-0007/readings"
    assert msgspec.json.decode(message.payload)["t"] == 104.5
    assert left_out == {"B": 1}


def test_unshifted_and_unmapped_bytes_pass_as_they_are(tmp_path: Path) -> None:
    path = own_file(tmp_path / "a.jsonl", (5.0, "plant/7/up", {"any": [1]}))
    (message,) = emissions(Recording([path], ZONE), 0, None, Counter())
    assert (message.topic, message.payload) == ("plant/7/up", b'{"any": [1]}')


def test_an_empty_recording_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("timestamp,value\n")
    with pytest.raises(ImportFileError, match="no messages in it"):
        survey(Recording([path], ZONE))
