from __future__ import annotations

from typing import Any

import pytest

from alerting.default_rules import DEFAULT_RULES
from alerting.detectors.catalogue import DETECTORS
from alerting.rules import parse_rule, parse_rules
from domain.errors import SettingsError

TITLE = {"zh": "温度过高", "en": "Too hot"}


def threshold(**settings: Any) -> dict[str, Any]:
    given = {"metric": "temperature_c", "levels": {"3": 60, "2": 75}, "clear": 55, "title": TITLE, **settings}
    return {"id": "t", "detector": "threshold", "kind": "fire.temperature", "settings": given}


def sta_lta(**settings: Any) -> dict[str, Any]:
    return {"id": "s", "detector": "sta_lta", "kind": "k", "settings": {"title": TITLE, **settings}}


def test_the_defaults_are_valid_and_cover_every_detector() -> None:
    rules = parse_rules(DEFAULT_RULES)
    assert {r.detector for r in rules} == set(DETECTORS)
    assert all(r.title["zh"] and r.title["en"] for r in rules)


def test_levels_come_with_text_keys_from_json() -> None:
    assert parse_rule(threshold()).settings.levels == {3: 60.0, 2: 75.0}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({}, "without id"),
        ({**threshold(), "detector": "magic"}, "unknown detector 'magic'; use one of"),
        ({**threshold(), "kind": ""}, "kind is missing"),
        (threshold(levles={}), "levles: Extra inputs are not permitted"),
        (threshold(levels={}), "levels"),
        (threshold(levels={"5": 1}), "less than or equal to 4"),
        (threshold(levels={"3": 75, "2": 60}), "a worse severity (1 is worst) needs a more extreme level"),
        (threshold(clear=61), "must not lie beyond the mildest level 60.0"),
        (threshold(clear=float("nan")), "finite number"),
        (threshold(on_delay_s=-1), "on_delay_s"),
        (threshold(direction="sideways"), "direction"),
        (threshold(direction="magnitude", levels={"3": -1}, clear=-2), "above zero"),
        (threshold(title={"zh": "x"}), "title.en"),
        (sta_lta(off=4), "off 4.0 must be below on"),
        (sta_lta(lta_s=2), "five times"),
        (
            sta_lta(pga_severity={"3": 9, "1": 5}),
            "higher acceleration",
        ),
        (
            {"id": "v", "detector": "vibration_limit", "kind": "k",
             "settings": {"title": TITLE, "ratio_severity": {"1": 1, "2": 3}}},
            "higher ratio",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(row: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse_rule(row)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_an_id_may_be_given_once() -> None:
    with pytest.raises(SettingsError, match="given twice"):
        parse_rules([threshold(), threshold()])
