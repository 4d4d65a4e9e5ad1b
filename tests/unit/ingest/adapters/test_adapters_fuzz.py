"""Whatever the bytes: no crash, bounded time, and a refusal that names the field."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import PayloadError
from ingest.adapters.gat1400 import without_persons
from ingest.messages import Message, Rules, decode_block
from ingest.topics import KINDS
from tests.unit.ingest.adapters.mutations import BY_ADAPTER, read
from tests.unit.ingest.adapters.samples import ALL, Sample
from tests.unit.ingest.adapters.vendor import NOW_US, Surroundings
from tests.unit.ingest.adapters.vendor import given as vendor_given

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
PAYLOAD_S_MAX = 2.0
"""For 256 KiB of the worst we could think of, on a busy machine; typical is some milliseconds."""

fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
RULES = Rules(ZoneInfo("UTC"), auto_register=True, runs_as_live=True)
JSON_SAMPLES = [s for s in ALL if s.payload[:1] in b"{["]

WEIRD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1e308,
    -1e308,
    2**63,
    -(2**63),
    10**40,
    10**300,
    "",
    "x" * 2000,
    "\0",
    "\ud800",
    "NaN",
    "Infinity",
    "1e999",
    "2026-13-45T99:99:99",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    [],
    {},
    [[]],
    [None] * 50,
    {"": {"": {"": 1}}},
    {"a": [1, "b", None]},
    "公安",
    "日本\n",
    5e-324,
    1795400000,
    1795400000000,
]


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*at, key))


def replaced(document: Any, at: tuple[Any, ...], new: Any) -> Any:
    """The document with one place changed."""
    if not at:
        return new
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[at[0]] = replaced(document[at[0]], at[1:], new)
    return copy


def encoded(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=True).encode()


@pytest.mark.parametrize("sample", JSON_SAMPLES, ids=lambda sample: sample.name)
@fuzz
@given(data=st.data())
def test_a_document_with_wrong_places(sample: Sample, data: st.DataObject) -> None:
    document = json.loads(sample.payload)
    for _ in range(data.draw(st.integers(1, 3))):
        if places := [at for at in paths(document) if len(at) < 8][:400]:
            document = replaced(document, data.draw(st.sampled_from(places)), data.draw(st.sampled_from(WEIRD)))
    found = read(sample, encoded(document))
    if isinstance(found, PayloadError) and found.reason not in ("not_json", "bad_id", "device_mismatch", "empty"):
        assert any(
            sign in found.detail
            for sign in ("payload", "values.", "topic", "EventNotif", "box", "event_id", "score")
        ), found


@pytest.mark.parametrize("sample", ALL, ids=lambda sample: sample.name)
@fuzz
@given(cut=st.integers(0, 2000), put=st.binary(max_size=12), more=st.integers(0, 2000), junk=st.binary(max_size=80))
def test_bytes_cut_and_spoilt(sample: Sample, cut: int, put: bytes, more: int, junk: bytes) -> None:
    n = len(sample.payload) + 1
    a, b = sorted((cut % n, more % n))
    read(sample, sample.payload[:a] + put + sample.payload[b:])
    read(sample, sample.payload[:a] + put + sample.payload[a:])
    read(sample, junk)


@pytest.mark.parametrize("sample", ALL, ids=lambda sample: sample.name)
@fuzz
@given(topic=st.text(max_size=80))
def test_any_topic(sample: Sample, topic: str) -> None:
    topic = topic.replace("\0", "")
    adapt = Surroundings().adapter(sample.adapter)
    for whole in (topic, f"{sample.topic}/{topic}", f"{topic}/{sample.topic}", topic.join(sample.topic.split("/"))):
        try:
            adapt(vendor_given(whole, sample.payload, clock_us=sample.clock_us))
        except PayloadError as error:
            assert error.detail  # noqa: PT017  both outcomes are right


@fuzz
@given(
    payloads=st.lists(st.binary(max_size=60), max_size=12),
    types=st.lists(st.sampled_from(["NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"]), max_size=12),
)
def test_a_sparkplug_session_of_garbage(payloads: list[bytes], types: list[str]) -> None:
    birth = BY_ADAPTER["sparkplug"]
    nodes = Surroundings().adapter("sparkplug")
    for type_, payload in zip(types, payloads, strict=False):
        device = "/D" if type_[0] == "D" else ""
        for body in (payload, birth.payload + payload):
            read(birth._replace(topic=f"spBv1.0/G/{type_}/E{device}"), body, nodes)


def nested_messages(depth: int) -> bytes:
    """Protobuf: field 2 of length n that holds field 2 of length n - …, with lengths that are right."""
    body = b""
    for _ in range(depth):
        n, length = len(body), b""
        while n > 127:
            length, n = length + bytes([n & 127 | 128]), n >> 7
        body = b"\x12" + length + bytes([n]) + body
    return body


def entity_bomb() -> bytes:
    """A thousand million laughs, and where they would be heard."""
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    text = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{entities}]>'
    return f"{text}<EventNotificationAlert><eventType>&l9;</eventType></EventNotificationAlert>".encode()


SLOW = {
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 40_000,
    "deep and closed": b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
    "many numbers": b"[" + b"1," * 100_000 + b"1]",
    "huge number": b'{"temperature":' + b"9" * 200_000 + b"}",
    "huge exponent": b'{"temperature":1e' + b"9" * 200_000 + b"}",
    "many alike names": b"{" + b",".join(b'"t%s":1' % (b"_" * (i % 200) + b"x") for i in range(1500)) + b',"z":1}',
    "many names": b"{" + b",".join(b'"name%d":1' % i for i in range(15_000)) + b',"z":1}',
    "one long text": b'"' + b"a" * 250_000 + b'"',
    "escapes": b'"' + b"\\u4e00" * 40_000 + b'"',
    "a text in a text in a text": json.dumps(json.dumps(json.dumps("[" * 1000))).encode(),
    "braces": b"{" * 250_000,
    "dahua heads": b"Code=A;action=Start;index=0;data={" * 7_000,
    "dahua spaces": b"Code=A;" + b" " * 250_000,
    "attributes": b"<a " + b" ".join(b'a%d="1"' % i for i in range(20_000)) + b"/>",
    "elements": b"<a>" * 80_000,
    "template": encoded(
        {"state_topic": "a", "unique_id": "u", "value_template": "{{ value_json" + ".a" * 400 + "|float" * 50}
    ),
    "template brackets": encoded(
        {"state_topic": "a", "unique_id": "u", "value_template": "{{ value_json" + "['a']" * 190 + "!"}
    ),
    "metrics": b"\x12\x00" * 120_000,
    "groups": b"\x13" * 250_000,
    "a number without end": b"\x08" + b"\xff" * 250_000,
    "a length of everything": b"\x12\xff\xff\xff\xff\x0f" * 40_000,
    "packed numbers": b"\x0a\x90\xa1\x0f" + b"\x01" * 250_000,
    "messages in messages": nested_messages(4_000),
    "metrics with names": b"".join(b"\x12\x0a\x0a\x04%04d\x10\x01\x20\x0a" % (i % 10_000) for i in range(20_000)),
    "entity bomb": entity_bomb(),
    "one entity often": b'<!DOCTYPE a [<!ENTITY e "' + b"x" * 100_000 + b'">]><a>' + b"&e;" * 40_000 + b"</a>",
    "one long attribute": b'<a b="' + b"&#65;" * 48_000 + b'"/>',
    "comments": b"<a>" + b"<!---->" * 35_000 + b"</a>",
    "many records": b"[" + b",".join(b'{"n":"u%d","v":1,"t":%d}' % (i, i) for i in range(9_000)) + b"]",
    "many devices": b"{" + b",".join(b'"d%d":[{}]' % i for i in range(18_000)) + b"}",
    "many traces": b'{"device_id":"000","traces":[' + b",".join([b'{"x":[1],"y":[1],"z":[1]}'] * 9_000) + b"]}",
}


@pytest.mark.parametrize("name", SLOW)
def test_no_payload_is_slow(name: str) -> None:
    payload = SLOW[name]
    for sample in {s.adapter: s for s in ALL}.values():
        for body in (
            payload,
            *([b'{"Time":"2026-11-23T08:00:00","a":' + payload + b"}"] if len(payload) < 250_000 else []),
        ):
            began = time.perf_counter()
            read(sample, body)
            taken_s = time.perf_counter() - began
            assert taken_s < PAYLOAD_S_MAX, f"{sample.adapter} took {taken_s:.1f} s for {name}"


DEEP_MSGPACK = {
    "deep arrays": b"\x91" * 250_000,
    "deep maps": b"\x81\xa1a" * 80_000,
    "an array of everything": b"\x82\xa1t\xcb\x41\xda\xc0\x00\x00\x00\x00\x00\xa6values\xdd\xff\xff\xff\xff",
    "a map of everything": b"\xdf\xff\xff\xff\xff",
    "bytes of everything": b"\x81\xa1x\xc6\xff\xff\xff\xff",
    "many values": b"\x82\xa1t\x01\xa6values\xde\xff\xff"
    + b"".join(b"\xa4%04d\x01" % (i % 9999) for i in range(40_000)),
}
CONTRACT_TOPICS = [f"{tree}/D/{leaf}" for tree, leaf in KINDS]


@pytest.mark.parametrize("name", [*SLOW, *DEEP_MSGPACK])
def test_no_payload_of_the_contracts_own_topics_is_slow(name: str) -> None:
    payload = (SLOW | DEEP_MSGPACK)[name]
    wrapped = b'{"t":1795400000,"values":' + payload + b"}"
    for topic in CONTRACT_TOPICS:
        bodies = [payload, *([wrapped] if len(wrapped) <= 256 * 1024 else [])]
        messages = [Message(topic, body, NOW_US, None, False, 0, None) for body in bodies]
        began = time.perf_counter()
        checked = decode_block(messages, RULES)
        taken_s = time.perf_counter() - began
        assert taken_s < PAYLOAD_S_MAX, f"{topic} took {taken_s:.1f} s for {name}"
        assert len(checked.refused) + len(checked.decoded) == len(messages)
        assert all(refusal.reason != "decoder_error" for refusal in checked.refused), checked.refused


@pytest.mark.parametrize("name", SLOW)
def test_persons_are_looked_for_in_bounded_time(name: str) -> None:
    began = time.perf_counter()
    without_persons(SLOW[name])
    assert time.perf_counter() - began < PAYLOAD_S_MAX
