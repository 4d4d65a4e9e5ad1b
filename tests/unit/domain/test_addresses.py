from __future__ import annotations

import pytest

from domain.addresses import SHENZHEN, AddressRule

VILLAGE = "441900003001"
ID, BUILDING = "4419000030010100042000101", "4419000030010100042"


@pytest.mark.parametrize(
    ("text", "base_grid", "made", "building", "whole"),
    [
        ("2,5,6", 1, ID, BUILDING, BUILDING + "000000"),
        ("3,4,4", 12, VILLAGE + "012" + "0042" + "0101", VILLAGE + "0120042", VILLAGE + "0120042" + "0000"),
        ("0,6,4", 12, VILLAGE + "000042" + "0101", VILLAGE + "000042", VILLAGE + "000042" + "0000"),
    ],
)
def test_ids_by_rule(text: str, base_grid: int, made: str, building: str, whole: str) -> None:
    rule = AddressRule.parse(text)
    assert str(rule) == text
    assert rule.make(VILLAGE, base_grid, 42, 101) == made
    assert (rule.length, rule.building_length) == (len(made), len(building))
    assert (rule.building(made), rule.whole_building(made), rule.room(made)) == (building, whole, 101)


def test_ids_without_a_room_name_the_building() -> None:
    rule = AddressRule.parse("2,5,0")
    made = rule.make(VILLAGE, 7, 42)
    assert made == rule.building(made) == rule.whole_building(made) == VILLAGE + "0700042"
    assert rule.room(made) == 0
    with pytest.raises(ValueError, match="room 1: the rule 2,5,0 has 0 digits"):
        rule.make(VILLAGE, 7, 42, 1)


def test_a_number_with_too_many_digits_is_refused() -> None:
    with pytest.raises(ValueError, match="base grid 100: the rule 2,5,6 has 2 digits"):
        SHENZHEN.make(VILLAGE, 100, 1)


def test_the_bounds_are_16_and_25_digits() -> None:
    assert AddressRule.parse("0,1,3").length == 16
    assert AddressRule.parse(" 3, 5 ,5").length == SHENZHEN.length == 25


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "write the digits"), ("2,5", "write the digits"), ("2,5,6,7", "write the digits"),
        ("a,5,6", "write the digits"), ("2,-5,6", "write the digits"), ("２,5,6", "write the digits"),
        ("4,4,4", "a base grid has 0 to 3"), ("2,0,6", "at least 1 digit"),
        ("1,1,1", "has 15 digits"), ("3,5,6", "has 26 digits"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        AddressRule.parse(text)
