from __future__ import annotations

from alerting.ulid import ALPHABET, ulid


def test_known_value() -> None:
    assert ulid(1_469_918_176_385_000, bytes(10)) == "01ARYZ6S41" + "0" * 16


def test_shape_order_and_difference() -> None:
    a, b, c = ulid(1_700_000_000_000_000), ulid(1_700_000_000_001_000), ulid(1_700_000_000_000_000)
    assert len(a) == 26
    assert set(a) <= set(ALPHABET)
    assert a < b
    assert a != c
