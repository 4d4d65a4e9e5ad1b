from __future__ import annotations

import msgspec
import pytest

from simulators.shift import shift_payload, shift_time

HOUR_US = 3_600_000_000


@pytest.mark.parametrize(
    ("value", "moved"),
    [
        (1795442400, 1795446000),
        (1795442400.25, 1795446000.25),
        (1795442400250, 1795446000250),
        ("2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"),
        ("2026-11-23T18:00:00+08:00", "2026-11-23T19:00:00+08:00"),
        ("2026-11-23T18:00:00", "2026-11-23T19:00:00"),
        ("noon", "noon"),
        (None, None),
        (True, True),
    ],
)
def test_a_time_keeps_its_form(value: object, moved: object) -> None:
    assert shift_time(value, HOUR_US) == moved


def test_there_and_back_is_the_same_microsecond() -> None:
    t = 1518824379.123456
    assert shift_time(shift_time(t, 270_000_000_123_457), -270_000_000_123_457) == t


def test_only_t_moves() -> None:
    payload = b'{"t":1000.5,"seq":7,"values":{"t":3}}'
    assert shift_payload(payload, HOUR_US) == b'{"t":4600.5,"seq":7,"values":{"t":3}}'
    assert shift_payload(b'[{"t":1},{"t":2.5},3]', HOUR_US) == b'[{"t":3601.0},{"t":3602.5},3]'


def test_messagepack_keeps_its_samples() -> None:
    body = {"t": 1000.5, "x": b"\x01\x00\xff\x7f", "scale": 0.1}
    moved = msgspec.msgpack.decode(shift_payload(msgspec.msgpack.encode(body), HOUR_US))
    assert moved == {**body, "t": 4600.5}


@pytest.mark.parametrize("payload", [b"", b"{", b"not ours", b'{"value": 1}', b"\xc1\xff", b"[]", b"{\xff}"])
def test_what_is_not_ours_passes_as_it_came(payload: bytes) -> None:
    assert shift_payload(payload, HOUR_US) == payload


def test_no_shift_is_no_change() -> None:
    payload = b'{ "t": 1.50 }'
    assert shift_payload(payload, 0) is payload
