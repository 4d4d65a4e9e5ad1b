"""Bodies and parameters at the door."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from api.routes.alerts import evidence_links, states
from api.routes.received import POINTS_MAX, check_step
from api.schemas import ActionBody, DeviceBody, Login, Time, pattern, split, step_seconds
from domain.errors import PayloadError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("step", "seconds"),
    [("30", 30), ("30s", 30), ("5m", 300), ("5min", 300), ("1h", 3600), ("1d", 86400), ("250ms", 0.25)],
)
def test_steps(step: str, seconds: float) -> None:
    assert step_seconds(step) == seconds


@pytest.mark.parametrize("step", ["", "0", "-1", "m", "1w", "nan", "1e3", "1 m", "999999d"])
def test_steps_that_are_none(step: str) -> None:
    with pytest.raises(PayloadError, match="step"):
        step_seconds(step)


@pytest.mark.parametrize("span_s", [10.0, 3600.0, 86_400.0, 30 * 86_400.0])
@pytest.mark.parametrize("metrics", [1, 3])
def test_the_smallest_step_named_is_taken(span_s: float, metrics: int) -> None:
    with pytest.raises(PayloadError) as refused:
        check_step(span_s / POINTS_MAX / 2, span_s, metrics)
    smallest = int(refused.value.detail.split()[-2])
    check_step(smallest, span_s, metrics)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T08:00:00+08:00", NOW),
        ("2026-01-01T08:00:00 08:00", NOW),  # a plus that was not escaped
        ("2026-01-01T00:00:00Z", NOW),
        (str(int(NOW.timestamp())), NOW),
    ],
)
def test_times(text: str, moment: datetime) -> None:
    assert TypeAdapter(Time).validate_python(text) == moment


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00", "yesterday", ""])
def test_times_without_a_zone_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Time).validate_python(text)


@pytest.mark.parametrize(
    ("action", "given", "taken"),
    [
        ("acknowledge", {"reason": "on it"}, {"version": 1, "reason": "on it"}),
        ("acknowledge", {"assignee": "li"}, {"version": 1}),
        ("assign", {"assignee": "li"}, {"version": 1, "assignee": "li"}),
        ("comment", {"reason": "seen"}, {"version": 1, "text": "seen"}),
        ("shelve", {"minutes": 30}, {"version": 1, "until": (NOW + timedelta(minutes=30)).isoformat()}),
        ("close", {"force": True, "reason": "x"}, {"version": 1, "force": True, "reason": "x"}),
    ],
)
def test_actions_take_what_they_need(action: str, given: dict[str, Any], taken: dict[str, Any]) -> None:
    assert ActionBody(version=1, **given).for_action(action, NOW) == taken


@pytest.mark.parametrize(("action", "missing"), [("assign", "assignee"), ("comment", "text"), ("shelve", "until")])
def test_actions_name_what_is_missing(action: str, missing: str) -> None:
    with pytest.raises(PayloadError, match=missing):
        ActionBody(version=1).for_action(action, NOW)


@pytest.mark.parametrize(
    "body",
    [
        {"lon": 113.0}, {"lon": 113.0, "lat": 23.0}, {"lon": 113.0, "lat": 23.0, "datum": "mars"},
        {"lon": float("nan"), "lat": 23.0, "datum": "wgs84"}, {"kind": "No Kind"}, {"period_s": 0}, {"x": 1},
        {"address_id": "1"}, {"name": "a\0"},
    ],
)  # fmt: skip
def test_devices_that_do_not_fit(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DeviceBody(**body)


def test_a_login_is_one_way_in() -> None:
    assert Login(ticket="t").ticket == "t"
    with pytest.raises(ValidationError):
        Login(username="a", password="b", ticket="t")


def test_small_translations() -> None:
    assert pattern("50%_\\") == "%50\\%\\_\\\\%"
    assert pattern("") is None
    assert split(["a,b", " c ", ","]) == ["a", "b", "c"]
    assert states(["open"]) == ["new", "acknowledged", "assigned"]
    assert len(states([])) == 4


def test_evidence_links_name_the_run_and_the_metric() -> None:
    alert = {
        "device": {"id": "VB-1"}, "exercise": "run-1", "metric": "ppv_mm_s",
        "evidence": {"window": ["2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"]},
    }  # fmt: skip
    links = evidence_links(alert)
    assert "from=2026-01-01T00%3A00%3A00Z" in links["waveforms"]
    assert "metric=ppv_mm_s" in links["readings"]
    assert "exercise=run-1" in links["readings"]
    assert evidence_links({"device": {"id": "x"}, "evidence": {}}) == {}
