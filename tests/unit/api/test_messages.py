"""Client messages: every bad one is a PayloadError with a reason."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import messages
from api.filters import AlertFilter
from api.messages import Hello, Ping, SubscribeAlerts, SubscribeValues, Unsubscribe, parse
from domain.errors import PayloadError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"hello","ticket":"t"}', Hello("t", "ticket")),
        ('{"type":"hello","token":"t"}', Hello("t", "bearer")),
        ('{"type":"ping"}', Ping()),
        ('{"type":"unsubscribe","id":"a"}', Unsubscribe("a")),
        ('{"type":"subscribe","channel":"alerts"}', SubscribeAlerts("alerts", AlertFilter(), None)),
        (
            '{"type":"subscribe","id":"a","channel":"alerts","filter":{"severity":[1]},"since":7,"exercise":true}',
            SubscribeAlerts("a", AlertFilter(severity=(1,), exercise="any"), 7),
        ),
        ('{"type":"subscribe","channel":"devices"}', SubscribeValues("devices", "devices", None, None)),
        (
            '{"type":"subscribe","id":"w","channel":"waveform","device":"VB-1","exercise":"r"}',
            SubscribeValues("w", "waveform", "VB-1", "r"),
        ),
    ],
)
def test_good_messages(text: str, message: object) -> None:
    assert parse(text) == message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not_json"),
        ("{", "not_json"),
        ("[1]", "bad_message"),
        ('{"type":"dance"}', "bad_message"),
        ('{"type":"hello"}', "bad_message"),
        ('{"type":"hello","token":7}', "bad_message"),
        ('{"type":"unsubscribe"}', "bad_message"),
        ('{"type":"subscribe"}', "bad_message"),
        ('{"type":"subscribe","channel":"waveform"}', "bad_message"),
        ('{"type":"subscribe","channel":"alerts","since":"1"}', "bad_message"),
        ('{"type":"subscribe","channel":"alerts","since":-1}', "bad_message"),
        ('{"type":"subscribe","channel":"alerts","since":1.5}', "bad_message"),
        ('{"type":"subscribe","channel":"alerts","since":9223372036854775808}', "bad_message"),
        ('{"type":"subscribe","channel":"alerts","id":""}', "bad_message"),
        ('{"type":"subscribe","channel":"alerts","filter":[]}', "bad_filter"),
        ('{"type":"subscribe","channel":"alerts","filter":{"severity":[9]}}', "bad_filter"),
        ("[" * 9000, "not_json"),
        (" " * 20_000, "too_large"),
    ],
)
def test_bad_messages(text: str, reason: str) -> None:
    with pytest.raises(PayloadError) as refused:
        parse(text)
    assert refused.value.reason == reason


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["hello", "subscribe", "unsubscribe", "ping"]), st.sampled_from(messages.CHANNELS), ANY_JSON)
def test_no_json_breaks_the_parser(type_: str, channel: str, junk: object) -> None:
    for field in ("id", "filter", "since", "device", "exercise", "ticket"):
        with suppress(PayloadError):
            assert parse(json.dumps({"type": type_, "channel": channel, field: junk})) is not None


def test_an_alert_frame_is_json() -> None:
    text = messages.alert_frame('a"b', 3, "raised", '{"id":"A"}')
    assert json.loads(text) == {"type": "alert", "id": 'a"b', "cursor": 3, "change": "raised", "alert": {"id": "A"}}
