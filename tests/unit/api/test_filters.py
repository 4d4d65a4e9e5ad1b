"""One meaning of a filter; the database's twin is tested in tests/integration/test_api_rest.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from api.filters import AlertFacts, AlertFilter, facts_of, from_query, parse_filter
from domain.errors import PayloadError
from domain.people import Actor

ALERT = AlertFacts(2, "vibration.limit", "441900126", "441900126001", "441900126001004", 113.6, 23.0, None)


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        ({}, True),
        ({"severity": [1, 2]}, True),
        ({"severity": [1]}, False),
        ({"severity": 2}, True),
        ({"town": ["441900126"]}, True),
        ({"town": ["441900"]}, False),
        ({"grid": ["441900126001"]}, True),
        ({"grid": ["441900126001005"]}, False),
        ({"kind": ["vibration.*"]}, True),
        ({"kind": ["vibration"]}, False),
        ({"kind": ["fire.*", "vibration.limit"]}, True),
        ({"bbox": [113.6, 23.0, 113.6, 23.0]}, True),
        ({"bbox": [113.7, 22.0, 114.0, 24.0]}, False),
        ({"severity": [2], "town": ["441900006"]}, False),
        ({"severity": [], "town": [], "bbox": []}, True),
        ({"exercise": True}, True),
        ({"exercise": "run-1"}, False),
    ],
)
def test_filters(given: dict[str, Any], passes: bool) -> None:
    assert parse_filter(given).matches(ALERT) is passes


def test_exercises_are_left_out_unless_asked_for() -> None:
    drill = replace(ALERT, exercise="run-1")
    assert not AlertFilter().matches(drill)
    assert parse_filter({}, True).matches(drill)
    assert parse_filter({"exercise": "run-1"}).matches(drill)
    assert not parse_filter({"exercise": "run-2"}).matches(drill)
    assert not parse_filter({"exercise": False}).matches(drill)


def test_nothing_unplaced_lies_in_a_box_or_a_cell() -> None:
    nowhere = AlertFacts(2, "fire.smoke", None, None, None, None, None, None)
    assert not parse_filter({"bbox": [-180, -90, 180, 90]}).matches(nowhere)
    assert not parse_filter({"grid": ["4"]}).matches(nowhere)


@pytest.mark.parametrize(
    "given",
    [
        {"severity": [0]}, {"severity": [True]}, {"severity": ["1"]}, {"town": [1]}, {"town": [""]},
        {"kind": "x" * 65},
        {"grid": ["a\0"]}, {"bbox": [1, 2, 3]}, {"bbox": [3, 0, 1, 1]}, {"bbox": [0, 0, float("nan"), 1]},
        {"bbox": [-181, 0, 1, 1]}, {"bbox": ["1", "2", "3", "4"]}, {"exercise": 1}, {"colour": ["red"]},
        {"town": ["1"] * 1001},
    ],
)  # fmt: skip
def test_a_filter_that_makes_no_sense_names_its_field(given: dict[str, Any]) -> None:
    with pytest.raises(PayloadError) as refused:
        parse_filter(given)
    assert refused.value.reason == "bad_filter"
    assert next(iter(given)) in refused.value.detail


def test_equal_filters_are_one_view() -> None:
    assert hash(parse_filter({"town": ["b", "a"]})) == hash(parse_filter({"town": ["a", "b", "a"]}))
    assert from_query([], ["a"], [], [], "113,22,114,23", None) == parse_filter(
        {"town": ["a"], "bbox": [113, 22, 114, 23]}
    )


def test_facts_of_an_alert_without_place_and_location() -> None:
    assert facts_of({"severity": 1, "kind": "x", "place": None, "location": None}).town is None


@pytest.mark.parametrize(
    ("area", "codes", "sees"),
    [
        ("", (None, None, None), True),
        ("441900126", ("441900126001004", None, None), True),
        ("441900126001", ("441900126001004", "441900126001", "441900126"), True),
        ("441900126001004", (None, "441900126001", "441900126"), False),
        ("441900126", (None, None, None), False),
        ("441900126", ("441900006001001", None, "441900006"), False),
    ],
)
def test_the_area_rule(area: str, codes: tuple[str | None, ...], sees: bool) -> None:
    assert Actor("a", "responder", area).sees(*codes) is sees
