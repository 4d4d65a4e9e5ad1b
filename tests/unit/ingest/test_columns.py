"""A block decoded at once equals its messages decoded one by one, whatever is in them."""

from __future__ import annotations

import json
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.batching import Rows, assemble, lay_out
from ingest.messages import Message, Rules, decode, decode_block, joined, metric_names

NOW_S = 1_795_413_600
RULES = Rules(ZoneInfo("Asia/Shanghai"), auto_register=True, runs_as_live=False)

times = st.one_of(
    st.integers(NOW_S - 1000, NOW_S + 400),
    st.floats(NOW_S - 1000, NOW_S + 400),
    st.integers((NOW_S - 1000) * 1000, (NOW_S + 400) * 1000),
    st.sampled_from(
        [0, -1, 1e300, 2**53 / 1e6, 2**60, 10**30, "2026-11-23T10:00:00", "2026-11-23T10:00:00Z", "noon"]
    ),
    st.sampled_from([None, [], 946_684_799, 946_684_800, True]),
)
names = st.sampled_from(["a", "b_2", "tilt_x_deg", "", "9", "a b", "ü"])
numbers = st.one_of(st.floats(), st.integers(-(2**70), 2**70), st.none(), st.text(max_size=2))
seqs = st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([2**62 - 1, 2**62, 2**70, "1"]))
reading = st.fixed_dictionaries(
    {"t": times, "values": st.dictionaries(names, numbers, max_size=3)}, optional={"seq": seqs, "more": st.none()}
)
good = st.fixed_dictionaries(
    {"t": st.floats(NOW_S - 100, NOW_S), "seq": st.integers(0, 9), "values": st.just({"a": 1.5, "b_2": 2})}
)
body = st.one_of(good, good, reading, st.lists(good, max_size=3), st.lists(reading, max_size=3))
topic = st.sampled_from(
    ["sensors/A/readings"] * 4
    + ["sensors/B/readings", "runs/r1/sensors/A/readings", "runs/live/sensors/A/readings", "sensors/A/status"]
    + ["sensors/A/command", "sensors//readings", "somewhere/else"]
)


def packed(value: Any, as_msgpack: bool) -> bytes:
    try:
        return msgspec.msgpack.encode(value) if as_msgpack else json.dumps(value).encode()
    except OverflowError:
        return json.dumps(value).encode()


payload = st.one_of(
    st.builds(packed, body, st.booleans()), st.builds(packed, good, st.booleans()), st.binary(max_size=8)
)
clock = st.one_of(st.none(), st.sampled_from([str(NOW_S), "soon", "1e99"]))
message = st.builds(
    lambda topic, payload, clock: Message(topic, payload, NOW_S * 10**6, clock, False, 1, 1), topic, payload, clock
)


def table(rows: Rows) -> list[tuple[Any, ...]]:
    r = rows.readings
    content = [rows.decoded[m].message.payload for m in rows.readings_message.tolist()]
    columns = (r.device, r.metric, r.time_us, r.value, r.seq, r.received_us)
    return sorted(zip(content, *(c.tolist() for c in columns), strict=True))


@settings(max_examples=300)
@given(st.lists(message, max_size=12), st.integers(0, 12))
def test_a_block_equals_its_messages(messages: list[Message], cut: int) -> None:
    decoded, refused = decode(messages, RULES)
    block = joined([decode_block(messages[:cut], RULES), decode_block(messages[cut:], RULES)])
    key = {("A", None): 1, ("B", None): 2, ("A", "r1"): 3}
    found = metric_names(decoded)
    assert found == metric_names(block.decoded) | set(block.readings.metric)
    metrics = {name: number for number, name in enumerate(sorted(found), 1)}
    device = np.array([key[d.topic.device_id, d.topic.run] for d in block.decoded], dtype=np.int32)
    assert table(lay_out(block.decoded, device, metrics, block.readings)) == table(assemble(decoded, key, metrics))
    assert sorted((r.message.payload, r.reason, r.detail) for r in block.refused) == sorted(
        (r.message.payload, r.reason, r.detail) for r in refused
    )


def test_values_stay_in_the_order_received_when_a_message_between_them_is_bad() -> None:
    bodies: list[dict[str, Any]] = [{"t": NOW_S - 9 + i, "values": {"a": i}} for i in range(5)]
    bodies[2]["values"]["a"] = "two"
    bodies[3]["t"] = 5
    block = decode_block(
        [Message("sensors/A/readings", json.dumps(b).encode(), NOW_S * 10**6, None, False, 1, 1) for b in bodies],
        RULES,
    )
    assert block.readings.value.tolist() == [0, 1, 4]
    assert block.readings.message.tolist() == [0, 1, 2]
    assert [r.reason for r in block.refused] == ["wrong_type", "time_unset"]


@pytest.mark.parametrize(("count", "reasons"), [(10_000, []), (10_001, ["too_many_values"])])
def test_the_values_of_one_message_have_a_bound(count: int, reasons: list[str]) -> None:
    payload = msgspec.json.encode({"t": NOW_S, "values": {f"m{number}": 1 for number in range(count)}})
    block = decode_block([Message("sensors/A/readings", payload, NOW_S * 10**6, None, False, 1, 1)], RULES)
    assert [r.reason for r in block.refused] == reasons
    assert len(block.readings) == (0 if reasons else count)
