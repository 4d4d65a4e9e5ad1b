"""Payloads at the door: a table of what is good, a longer one of what is not, and a fuzzer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import PayloadError
from ingest import codec
from ingest.codec import Decoding

NOW_S = 1_795_413_600
AT = Decoding(NOW_S * 1_000_000, ZoneInfo("Asia/Shanghai"))
BIG = "9" * 400


def pack(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


GOOD_READING = {"t": NOW_S, "seq": 17, "values": {"tilt_x_deg": 0.12, "temperature_c": 31.5}}


@pytest.mark.parametrize("encode", [text, pack])
def test_json_and_messagepack_say_the_same(encode: Any) -> None:
    values = codec.decode_readings(encode(GOOD_READING), AT)
    assert (values.time_us, values.seq) == ([NOW_S * 1_000_000] * 2, [17, 17])
    assert dict(zip(values.metric, values.value, strict=True)) == GOOD_READING["values"]


def test_a_list_of_readings_keeps_its_order() -> None:
    values = codec.decode_readings(text([GOOD_READING, {"t": NOW_S + 1, "values": {"a": 1}}]), AT)
    assert [t - NOW_S * 1_000_000 for t in values.time_us] == [0, 0, 1_000_000]
    assert values.metric == ["tilt_x_deg", "temperature_c", "a"]
    assert values.seq == [17, 17, -1]


@pytest.mark.parametrize("kind", [float, int, lambda t: t * 1000, str])
def test_long_lists_of_any_kind_of_time_are_as_short_ones(kind: Any) -> None:
    times = [NOW_S - i for i in range(50)]
    stamps = [f"2026-11-23T14:00:{i:02d}" for i in range(50)] if kind is str else [kind(t) for t in times]
    body = [{"t": t, "values": {"a": 1}} for t in stamps]
    one_by_one = [codec.decode_readings(text(item), AT).time_us[0] for item in body]
    assert codec.decode_readings(text(body), AT).time_us == one_by_one


@pytest.mark.parametrize("bad", [1e300, 17.0, float(NOW_S + 400)])
def test_one_bad_time_in_a_long_list_refuses_it(bad: float) -> None:
    body = [{"t": float(NOW_S - i), "values": {"a": 1}} for i in range(20)]
    with pytest.raises(PayloadError, match=r"bad_time|time_unset|time_ahead"):
        codec.decode_readings(text([*body, {"t": bad, "values": {"a": 1}}]), AT)


def test_unknown_keys_are_left_alone() -> None:
    assert codec.decode_readings(text({**GOOD_READING, "note": "new firmware"}), AT)


READING: list[tuple[bytes, str]] = [
    (b"", "empty"),
    (b"{", "not_json"),
    (b"\xff\xff", "wrong_type|not_msgpack"),
    (b"\x93\x01", "not_msgpack|wrong_type"),
    (b"null", "wrong_type"),
    (b"17", "wrong_type"),
    (b"[]", "empty"),
    (b'"\xed\xa0\x80"', "not_json|wrong_type"),
    (b"[" * 5000, "wrong_type|not_json"),
    (text({"t": NOW_S}), "wrong_type"),
    (text({"values": {"a": 1}}), "wrong_type"),
    (text({"t": NOW_S, "values": {}}), "empty"),
    (text({"t": None, "values": {"a": 1}}), "wrong_type"),
    (text({"t": True, "values": {"a": 1}}), "wrong_type"),
    (text({"t": NOW_S, "values": [1]}), "wrong_type"),
    (text({"t": NOW_S, "values": {"a": None}}), "wrong_type"),
    (text({"t": NOW_S, "values": {"a": True}}), "wrong_type"),
    (text({"t": NOW_S, "values": {"a": "1"}}), "wrong_type"),
    (text({"t": NOW_S, "values": {"": 1}}), "bad_metric"),
    (text({"t": NOW_S, "values": {"1a": 1}}), "bad_metric"),
    (text({"t": NOW_S, "values": {"温度": 1}}), "bad_metric"),
    (text({"t": NOW_S, "values": {"a" * 65: 1}}), "bad_metric"),
    (text({"t": NOW_S, "values": {"a\u0000": 1}}), "bad_metric"),
    (text({"t": NOW_S, "seq": -1, "values": {"a": 1}}), "bad_seq"),
    (text({"t": NOW_S, "seq": 1.5, "values": {"a": 1}}), "wrong_type"),
    (text({"t": NOW_S, "seq": 2**62, "values": {"a": 1}}), "bad_seq"),
    (b'{"t": 1795413600, "values": {"a": NaN}}', "not_json"),
    (b'{"t": 1795413600, "values": {"a": Infinity}}', "not_json"),
    (b'{"t": 1795413600, "values": {"a": 1e999}}', "wrong_type"),
    (b'{"t": 1795413600, "values": {"a": %s}}' % BIG.encode(), "wrong_type|not_finite"),
    (b'{"t": %s, "values": {"a": 1}}' % BIG.encode(), "wrong_type|bad_time"),
    (pack({"t": NOW_S, "values": {"a": float("nan")}}), "not_finite"),
    (pack({"t": NOW_S, "values": {"a": float("-inf")}}), "not_finite"),
    (pack({"t": float("nan"), "values": {"a": 1.0}}), "bad_time"),
    (text({"t": NOW_S + 301, "values": {"a": 1}}), "time_ahead"),
    (text({"t": 0, "values": {"a": 1}}), "time_unset"),
    (text({"t": "1970-01-01T00:00:00", "values": {"a": 1}}), "time_unset"),
    (text({"t": -1e30, "values": {"a": 1}}), "bad_time"),
    (text([GOOD_READING, {"t": "x", "values": {"a": 1}}]), "bad_time"),
    (text([{"t": NOW_S, "values": {f"m{i}": 1 for i in range(10_001)}}]), "too_many_values"),
    (b'{"t": 1, "pad": "' + b"x" * 262_144 + b'"}', "too_large"),
]


@pytest.mark.parametrize(("payload", "reason"), READING, ids=[p[:50].decode("latin-1") for p, _ in READING])
def test_bad_readings_are_refused_with_the_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(PayloadError) as refused:
        codec.decode_readings(payload, AT)
    assert refused.value.reason in reason.split("|")
    assert refused.value.detail


WAVE = {"t": NOW_S, "rate_hz": 100, "unit": "gal", "x": [1, 2], "y": [3, 4], "z": [5, 6.5]}


def test_gal_becomes_metres_per_second_squared() -> None:
    packet = codec.decode_waveform(text(WAVE), AT)
    assert packet.unit == "m/s2"
    np.testing.assert_allclose(packet.samples, np.array([[1, 2], [3, 4], [5, 6.5]]) * 0.01, rtol=1e-6)
    assert packet.axes == (True, True, True)


def test_int16_bytes_are_scaled_and_kept_as_sent() -> None:
    axis = np.array([-32768, 32767, 1], dtype="<i2").tobytes()
    packet = codec.decode_waveform(pack({**WAVE, "scale": 0.5, "x": axis, "y": None, "z": None}), AT)
    np.testing.assert_allclose(packet.samples[0], np.array([-32768, 32767, 1]) * 0.005, rtol=1e-6)
    assert packet.axes == (True, False, False)
    assert packet.raw is not None
    assert packet.raw[:6] == axis


WAVEFORM: list[tuple[dict[str, Any], str]] = [
    ({"rate_hz": 0}, "bad_rate"),
    ({"rate_hz": -1}, "bad_rate"),
    ({"rate_hz": 1e9}, "bad_rate"),
    ({"unit": "g"}, "wrong_type"),
    ({"x": None, "y": None, "z": None}, "empty"),
    ({"x": [], "y": [], "z": []}, "empty"),
    ({"x": [1]}, "bad_length"),
    ({"x": ["1", 2]}, "wrong_type"),
    ({"x": [True, 2]}, "wrong_type"),
    ({"x": [[1], 2]}, "wrong_type"),
    ({"x": 17}, "wrong_type"),
    ({"x": [1e300, 2]}, "not_finite"),
    ({"x": [0] * 10_001, "y": None, "z": None}, "too_many_values"),
    ({"scale": 0}, "bad_scale"),
    ({"x": [1] * 9000, "y": None, "z": None, "rate_hz": 0.01}, "time_ahead"),
]


@pytest.mark.parametrize(("change", "reason"), WAVEFORM)
def test_bad_waveforms_are_refused_with_the_reason(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(PayloadError, match=reason):
        codec.decode_waveform(text({**WAVE, **change}), AT)


def test_odd_and_mixed_binary_axes_are_refused() -> None:
    with pytest.raises(PayloadError, match="odd number of bytes"):
        codec.decode_waveform(pack({**WAVE, "x": b"abc", "y": None, "z": None}), AT)
    with pytest.raises(PayloadError, match="all be lists or all"):
        codec.decode_waveform(pack({**WAVE, "x": b"abcd", "y": [1, 2], "z": None}), AT)
    with pytest.raises(PayloadError, match="not_finite"):
        codec.decode_waveform(pack({**WAVE, "x": [float("nan"), 1.0]}), AT)


EVENT = {"event_id": "e", "phase": "start", "t": NOW_S, "type": "fire"}
POSITION = {"t": NOW_S, "lon": 113.55, "lat": 23.05, "datum": "wgs84"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"phase": "middle"}, "wrong_type"),
        ({"score": 1.5}, "bad_score"),
        ({"box": [0, 0, 2, 1]}, "bad_box"),
        ({"box": [0, 0, 1]}, "wrong_type"),
        ({"event_id": ""}, "empty"),
        ({"event_id": "x" * 200}, "wrong_type"),
        ({"text": "a\u0000b"}, "wrong_type"),
    ],
)
def test_bad_camera_events_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(PayloadError, match=reason):
        codec.decode_camera_event(text({**EVENT, **change}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"datum": None}, "wrong_type"),
        ({"datum": "mars"}, "wrong_type"),
        ({"lon": 181}, "bad_position"),
        ({"lat": 91}, "bad_position"),
        ({"bed": "half"}, "wrong_type"),
    ],
)
def test_bad_positions_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(PayloadError, match=reason):
        codec.decode_position(text({**POSITION, **change}))


def test_a_position_without_a_datum_is_refused() -> None:
    with pytest.raises(PayloadError, match="datum"):
        codec.decode_position(text({key: value for key, value in POSITION.items() if key != "datum"}))


KEYS = ["t", "values", "x", "y", "z", "rate_hz", "unit", "seq", "scale", "a"]
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=12,
)


@given(st.binary(max_size=64) | anything.map(pack))
def test_no_bytes_whatever_do_more_than_be_refused(payload: bytes) -> None:
    for decode in (
        lambda: codec.decode_readings(payload, AT),
        lambda: codec.decode_waveform(payload, AT),
        lambda: codec.decode_status(payload),
        lambda: codec.decode_camera_event(payload),
        lambda: codec.decode_position(payload),
    ):
        refused = refusal(decode)
        assert refused is None or refused.reason


def refusal(decode: Callable[[], object]) -> PayloadError | None:
    """The refusal, or None for a good payload; anything else is a crash."""
    try:
        decode()
    except PayloadError as error:
        return error
    return None
