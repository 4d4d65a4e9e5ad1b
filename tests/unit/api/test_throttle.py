"""Token buckets over a clock that is an argument."""

from __future__ import annotations

import pytest

from api.throttle import Throttle


def test_a_burst_then_one_at_a_time() -> None:
    throttle = Throttle(burst=3, every_s=10)
    assert [throttle.take("a", 0) for _ in range(3)] == [0, 0, 0]
    assert throttle.take("a", 0) == pytest.approx(10)
    assert throttle.take("a", 9) == pytest.approx(1)
    assert throttle.take("a", 10.5) == 0
    assert throttle.take("b", 10.5) == 0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    throttle = Throttle(burst=1, every_s=10)
    throttle.take("a", 100)
    assert throttle.take("a", 50) > 0


def test_forgiving_and_the_bound_on_memory() -> None:
    throttle = Throttle(burst=1, every_s=10, keys_max=2)
    for key in "abc":
        throttle.take(key, 0)
    assert set(throttle.buckets) == {"b", "c"}
    throttle.forgive("b")
    assert throttle.take("b", 0) == 0
