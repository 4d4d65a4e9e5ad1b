from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from db.chunks import CHUNK_BYTES_MAX, Chunk, chunk_length, rate_bytes_s

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = 24 * HOUR


def test_the_rate_is_that_of_the_busiest_chunk_old_enough() -> None:
    yesterday = Chunk(NOW - 30 * HOUR, NOW - 6 * HOUR, 24 * 3600 * 100)
    today = Chunk(NOW - 6 * HOUR, NOW + 18 * HOUR, 6 * 3600 * 300)
    fresh = Chunk(NOW - timedelta(minutes=5), NOW + 6 * HOUR, 10**9)
    assert rate_bytes_s([yesterday, today, fresh], NOW) == 300
    assert rate_bytes_s([fresh], NOW) is None
    assert rate_bytes_s([], NOW) is None


@pytest.mark.parametrize(
    ("per_day", "longest", "current", "length"),
    [
        (0.1, DAY, DAY, DAY),
        (1.0, DAY, DAY, DAY),
        (1.1, DAY, DAY, 12 * HOUR),
        (4.1, DAY, DAY, 3 * HOUR),
        (100.0, DAY, DAY, 3 * HOUR),
        (0.6, DAY, 12 * HOUR, 12 * HOUR),
        (0.4, DAY, 12 * HOUR, DAY),
        (0.1, 6 * HOUR, 6 * HOUR, 6 * HOUR),
    ],
)
def test_a_chunk_fits_into_memory_and_its_length_does_not_go_to_and_fro(
    per_day: float, longest: timedelta, current: timedelta, length: timedelta
) -> None:
    rate = per_day * CHUNK_BYTES_MAX / DAY.total_seconds()
    assert chunk_length(rate, longest, current) == length
