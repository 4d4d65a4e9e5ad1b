"""Cursors go round, and only to their own list."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.paging import cursor_time, decode_cursor, encode_cursor
from domain.errors import PayloadError


@given(st.text(max_size=50), st.integers(-(2**53), 2**53))
def test_a_cursor_goes_round(text: str, number: int) -> None:
    cursor = encode_cursor("alerts", text, number)
    assert decode_cursor("alerts", cursor, str, int) == [text, number]
    assert "=" not in cursor


@given(st.text(max_size=60))
def test_rubbish_is_refused(rubbish: str) -> None:
    with pytest.raises(PayloadError, match="no cursor of alerts"):
        decode_cursor("alerts", rubbish, str, int)


@pytest.mark.parametrize(
    "inside", [b"{}", b"[]", b'["devices","a",1]', b'["alerts",1,"a"]', b'["alerts","a",true]']
)
def test_another_lists_cursor_is_refused(inside: bytes) -> None:
    with pytest.raises(PayloadError):
        decode_cursor("alerts", base64.urlsafe_b64encode(inside).decode(), str, int)


def test_a_time_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(PayloadError):
        cursor_time("alerts", 2**62)
