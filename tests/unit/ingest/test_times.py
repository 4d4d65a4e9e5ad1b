from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from domain.errors import PayloadError
from ingest.times import check_plausible, parse_time

SHANGHAI = ZoneInfo("Asia/Shanghai")
SIX_US = 1_795_413_600_000_000  # 2026-11-23T06:00:00Z
SECONDS = SIX_US // 1_000_000


@pytest.mark.parametrize(
    "value",
    [
        SECONDS,
        float(SECONDS),
        SECONDS * 1000,
        "2026-11-23T06:00:00Z",
        "2026-11-23T06:00:00+00:00",
        "2026-11-23T14:00:00",
        "2026-11-23T14:00:00.000000000+08:00",
        "2026-11-23 14:00:00",
        "20261123T140000",
    ],
)
def test_every_form_of_one_instant(value: float | int | str) -> None:
    assert parse_time(value, SHANGHAI) == SIX_US


@pytest.mark.parametrize(
    "value", ["", "yesterday", "2026-13-01T00:00:00Z", 1e300, -1e18, 10**18, float("nan"), float("inf")]
)
def test_what_is_no_time_is_refused(value: float | int | str) -> None:
    with pytest.raises(PayloadError, match="bad_time"):
        parse_time(value, SHANGHAI)


@pytest.mark.parametrize(("offset_s", "reason"), [(300, None), (301, "time_ahead"), (-86400 * 365, None)])
def test_more_than_300_s_ahead_is_refused(offset_s: int, reason: str | None) -> None:
    time_us = SIX_US + offset_s * 1_000_000
    if reason is None:
        check_plausible(time_us, SIX_US)
    else:
        with pytest.raises(PayloadError, match=reason):
            check_plausible(time_us, SIX_US)


def test_an_unset_clock_is_said_to_be_one() -> None:
    with pytest.raises(PayloadError, match="clock is not set"):
        check_plausible(17_000_000, SIX_US)
