from __future__ import annotations

import gzip
import json
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from domain.errors import ImportFileError
from simulators.recordings import Packet, own_line, read_recording

ZONE = ZoneInfo("Asia/Shanghai")
OPENEEW = Path(__file__).parents[3] / "../shared/data/openeew"


def read(path: Path, **options: str) -> list[Packet]:
    return list(read_recording(path, zone=ZONE, **options))


def trace(device: str = "006", device_t: float = 1000.0, cloud_t: float = 1000.5, n: int = 32) -> dict[str, object]:
    axis = [0.5 * k for k in range(n)]
    return {
        "device_id": device,
        "x": axis,
        "y": axis,
        "z": axis,
        "device_t": device_t,
        "cloud_t": cloud_t,
        "sr": 31.25,
    }


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["own.jsonl", "own.jsonl.gz"])
def test_what_was_recorded_is_read_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    lines = [
        own_line(1_000_000, "sensors/TL-1/readings", b'{"t":1}', clock_us=None, retain=False),
        own_line(2_000_000, "runs/live/sensors/VB-1/waveform", b"\x82\xff\x00", clock_us=500_000, retain=False),
        own_line(3_000_000, "sensors/TL-1/status", '{"名": 1}'.encode(), clock_us=None, retain=True),
    ]
    content = b"".join(lines)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read(path) == [
        Packet(1_000_000, "sensors/TL-1/readings", b'{"t":1}'),
        Packet(500_000, "sensors/VB-1/waveform", b"\x82\xff\x00"),
        Packet(3_000_000, "sensors/TL-1/status", '{"名": 1}'.encode(), True),
    ]


def test_an_openeew_packet_gets_the_time_of_its_first_sample(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "q.jsonl", trace())
    (packet,) = read(path)
    body = msgspec.json.decode(packet.payload)
    assert packet.at_us == 1_000_500_000
    assert packet.t_us == round((1000.0 - 31 / 31.25) * 1e6)
    assert (body["t"], body["rate_hz"], body["unit"]) == (packet.t_us / 1e6, 31.25, "gal")
    assert body["x"] == [0.5 * k for k in range(32)]
    (by_cloud,) = read(path, clock="cloud")
    assert by_cloud.t_us == packet.t_us + 500_000


def test_openeew_files_are_sorted_by_arrival(tmp_path: Path) -> None:
    rows = [trace("000", 10.0, 10.1), trace("000", 12.0, 12.1), trace("001", 11.0, 11.2), trace("001", 9.0, 13.0)]
    packets = read(write_lines(tmp_path / "q.jsonl", *rows))
    assert [(p.device, p.at_us) for p in packets] == [
        ("000", 10_100_000),
        ("001", 11_200_000),
        ("000", 12_100_000),
        ("001", 13_000_000),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("timestamp,value\n2014-02-14 14:30:00,0.132\n", [("a-b", "value", 0.132, 1392359400.0)]),
        ("timestamp,value\n1392359400,1\n1392359401.5,2\n", [
            ("a-b", "value", 1.0, 1392359400.0), ("a-b", "value", 2.0, 1392359401.5)]),
        ("time,device,metric,value\n2026-11-23T10:00:00Z,TL-1,tilt_x_deg,0.5\n",
         [("TL-1", "tilt_x_deg", 0.5, 1795428000.0)]),
        ("\ufefftimestamp,value\r\n1392359400123,1\r\n\r\n", [("a-b", "value", 1.0, 1392359400.123)]),
    ],
)  # fmt: skip
def test_csv(tmp_path: Path, text: str, expected: list[tuple[str, str, float, float]]) -> None:
    path = tmp_path / "a b.csv"
    path.write_text(text, encoding="utf-8", newline="")
    found = []
    for packet in read(path):
        body = msgspec.json.decode(packet.payload)
        ((metric, value),) = body["values"].items()
        found.append((packet.device, metric, value, body["t"]))
        assert packet.at_us == packet.t_us == round(body["t"] * 1e6)
    assert found == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b"", "no messages"),
        ("x.jsonl", b'{"t": 1}\n', "line 1: neither an own recording .* nor an OpenEEW"),
        ("x.jsonl", b'{"t":1,"topic":"a","payload":"b"}\n{"t":\n', "line 2: not JSON"),
        ("x.jsonl", b'{"t":1,"topic":"a","payload":"b"}\n[1]\n', "line 2: not an object"),
        ("x.jsonl", b'{"t":1,"topic":"a","payload":"b"}\n\n{"topic":"a","payload":"b"}\n', "line 3: .*`t`"),
        ("x.jsonl", b'{"t":1,"topic":"a","payload":{"b64":"%%%"}}\n', "line 1"),
        ("x.jsonl", b'{"t":1,"topic":"a","payload":{"b65":"AA=="}}\n', "line 1"),
        ("x.jsonl", b"\xff\xfe\n", "cannot be read"),
        ("x.jsonl.gz", b"not gzip", "cannot be read"),
        (
            "x.jsonl.gz",
            gzip.compress(b'{"t":1,"topic":"a","payload":"b"}\n' * 2000)[:-20],
            "cannot be read after line",
        ),
        ("x.csv", b"", "header must be"),
        ("x.csv", b"when,what\n1,2\n", "line 1: the header must be"),
        ("x.csv", b"timestamp,value\n1,2\n3,x\n", "line 3"),
        ("x.csv", b"timestamp,value\n1,nan\n", "line 2: value nan is not a finite number"),
        ("x.csv", b"timestamp,value\nnoon,1\n", "line 2"),
        ("x.csv", b"timestamp,value\n1\n", "line 2"),
    ],
)
def test_a_bad_file_is_told_with_its_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImportFileError, match=message):
        read(path)


@pytest.mark.parametrize(
    "change", [{"sr": 0}, {"x": []}, {"x": [1.0]}, {"device_t": "now"}, {"device_id": "a/b"}, {"z": None}]
)
def test_a_bad_openeew_packet_is_told_with_its_line(tmp_path: Path, change: dict[str, object]) -> None:
    path = write_lines(tmp_path / "q.jsonl", trace(), {**trace(), **change})
    with pytest.raises(ImportFileError, match="line 2"):
        read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="cannot be read"):
        read(tmp_path / "none.jsonl")


def test_a_real_earthquake() -> None:
    path = OPENEEW / "2018-02-16.jsonl.gz"
    if not path.exists():
        pytest.skip("the OpenEEW recordings are not beside this checkout (../shared/data)")
    packets = read(path)
    assert len(packets) == 7331
    assert len({packet.device for packet in packets}) == 13
    assert all(packet.is_waveform for packet in packets)
    assert [packet.at_us for packet in packets] == sorted(packet.at_us for packet in packets)
