from __future__ import annotations

import csv
from pathlib import Path

import pytest

from domain.addresses import AddressRule
from domain.errors import CodeError
from geo.codes import (
    address_code,
    cell_code,
    parse_address,
    parse_cell,
    parse_component,
    parse_division,
    parse_matter_code,
    parse_town,
    parse_video_device,
    parse_village,
)

CODE_FILES = Path(__file__).parents[3] / "../shared/data/codes"


@pytest.mark.parametrize(
    ("code", "level", "kind", "parent"),
    [
        ("441900", "city", "", None),
        ("441900003", "town", "街道", "441900"),
        ("441900126", "town", "镇", "441900"),
        ("441900401", "town", "类似乡级", "441900"),
        ("441900126206", "village", "村委会", "441900126"),
        ("441900003001", "village", "居委会", "441900003"),
        ("441900003500", "village", "类似村委会", "441900003"),
        ("441900401498", "village", "类似居委会", "441900401"),
    ],
)
def test_divisions(code: str, level: str, kind: str, parent: str | None) -> None:
    division = parse_division(code)
    assert (division.level, division.kind, division.parent) == (level, kind, parent)


def test_a_twelve_digit_town_is_its_nine_digits() -> None:
    assert parse_town("441900003000").code == "441900003"


def test_a_cell_is_a_village_and_a_number() -> None:
    cell = parse_cell("441900126206001")
    assert (cell.village, cell.town, cell.sequence) == ("441900126206", "441900126", 1)
    assert cell_code("441900126206", 1) == "441900126206001"


def test_an_address_carries_its_cell_with_two_digits() -> None:
    code = address_code("441900126206007", 42, 101)
    assert code == "4419001262060700042000101"
    address = parse_address(code)
    assert (address.cell, address.building, address.room) == ("441900126206007", 42, 101)
    assert address.building_code == "4419001262060700042"


@pytest.mark.parametrize(
    ("rule", "code", "cell", "room"),
    [
        (AddressRule(3, 4, 4), "44190012620612300420101", "441900126206123", 101),
        (AddressRule(2, 5, 0), "4419001262060700042", "441900126206007", 0),
        (AddressRule(0, 5, 3), "44190012620600042101", None, 101),
    ],
)
def test_an_address_by_another_rule(rule: AddressRule, code: str, cell: str | None, room: int) -> None:
    assert address_code(cell or "441900126206007", 42, room, rule) == code
    address = parse_address(code, rule)
    assert (address.cell, address.building, address.room) == (cell, 42, room)
    assert code.startswith(address.building_code)
    with pytest.raises(CodeError, match=f"it needs {rule.length}"):
        parse_address(code + "0", rule)


def test_zeros_are_named_with_the_digits_of_the_rule() -> None:
    with pytest.raises(CodeError, match=r"digits 13-15 are 000 \(base grid\)"):
        parse_address("44190012620600000420101", AddressRule(3, 4, 4))
    with pytest.raises(CodeError, match=r"digit 13 is 0 \(building\)"):
        parse_address("4419001262060101", AddressRule(0, 1, 3))


@pytest.mark.parametrize(
    ("parse", "code", "wrong"),
    [
        (parse_division, "", "must consist of the digits"),
        (parse_division, "44190000", "has 8 digits; it needs 6 or 9 or 12"),
        (parse_division, "44190000３", "must consist of the digits"),
        (parse_division, "44190012x", "must consist of the digits"),
        (parse_division, "-41900003", "must consist of the digits"),
        (parse_division, "001900003", "no province"),
        (parse_division, "991900003", "no province"),
        (parse_division, "441901003", "no districts"),
        (parse_division, "441900000", "outside every town range"),
        (parse_division, "441900700", "outside every town range"),
        (parse_division, "441900003600", "outside every village range"),
        (parse_town, "441900", "a city's"),
        (parse_town, "441900003001", "a village's"),
        (parse_village, "441900003", "a town's"),
        (parse_village, "441900003000", "a town's"),
        (parse_cell, "441900003001", "has 12 digits; it needs 15"),
        (parse_cell, "441900003001000", "numbered from 001"),
        (parse_cell, "441900003000001", "village part"),
        (parse_address, "44190000300101000010000", "has 23 digits; it needs 25"),
        (parse_address, "4419000030010000001000000", "base grid"),
        (parse_address, "4419000030010100000000000", "building"),
        (parse_address, "4419010030010100001000000", "no districts"),
        (parse_address, "4419000030000100001000000", "village part"),
    ],
)
def test_bad_codes_say_what_is_wrong(parse: object, code: str, wrong: str) -> None:
    assert callable(parse)
    with pytest.raises(CodeError, match=wrong):
        parse(code)


@pytest.mark.parametrize(
    ("cell", "building", "room", "wrong"),
    [
        ("441900126206100", 1, 0, "base grid 100: the rule 2,5,6 has 2 digits"),
        ("441900126206001", 0, 0, "numbered from 1"),
        ("441900126206001", 100_000, 0, "building 100000: the rule 2,5,6 has 5 digits"),
        ("441900126206001", 1, 1_000_000, "room 1000000: the rule 2,5,6 has 6 digits"),
    ],
)
def test_addresses_that_cannot_be_coded(cell: str, building: int, room: int, wrong: str) -> None:
    with pytest.raises(CodeError, match=wrong):
        address_code(cell, building, room)


@pytest.mark.parametrize("sequence", [0, 1000])
def test_cell_numbers_have_three_digits(sequence: int) -> None:
    with pytest.raises(CodeError, match="1 to 999"):
        cell_code("441900126206", sequence)


def test_a_component_and_a_matter() -> None:
    component = parse_component("44190001050000042")
    assert (component.division, component.kind, component.sequence) == ("441900", "01050", 42)
    matter = parse_matter_code("44190006014")
    assert (matter.division, matter.kind, matter.class_name) == ("441900", "06014", "市容环境")
    assert parse_matter_code("44190001050").class_name == "市政公用设施异常"


def test_a_video_device() -> None:
    camera = parse_video_device("44190000081320000001")
    assert (camera.division, camera.industry, camera.kind, camera.network) == ("441900", "08", "132", "0")
    assert (camera.sequence, camera.family) == (1, "front-end device")
    assert parse_video_device("44190000002000000001").family == "centre"


@pytest.mark.parametrize(
    ("parse", "code", "wrong"),
    [
        (parse_component, "4419000105000042", "has 16 digits; it needs 17"),
        (parse_component, "44190006014000042", "digits 7-8 \\(06\\) are no class"),
        (parse_component, "44190001000000042", "digits 9-11"),
        (parse_component, "44190001050000000", "numbered from 000001"),
        (parse_component, "44190101050000042", "no districts"),
        (parse_matter_code, "4419000601", "has 10 digits; it needs 11"),
        (parse_matter_code, "44190011014", "digits 7-8 \\(11\\)"),
        (parse_video_device, "4419000008132000000", "has 19 digits; it needs 20"),
        (parse_video_device, "44190000201320000001", "no industry"),
        (parse_video_device, "44190000081100000001", "no type"),
        (parse_video_device, "99190000081320000001", "no province"),
        (parse_video_device, "4419000008132000000x", "must consist of the digits"),
    ],
)
def test_bad_codes_of_things(parse: object, code: str, wrong: str) -> None:
    assert callable(parse)
    with pytest.raises(CodeError, match=wrong):
        parse(code)


@pytest.mark.skipif(not CODE_FILES.exists(), reason="needs ../shared/data/codes")
def test_every_code_of_the_standards_is_taken() -> None:
    with (CODE_FILES / "gb47678_5_2026.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["kind"] == "管理部件":
            assert parse_component(f"441900{row['code5']}000001").kind == row["code5"]
        else:
            assert parse_matter_code(f"441900{row['code5']}").kind == row["code5"]
    assert len(rows) == 403
    with (CODE_FILES / "gb28181.csv").open(encoding="utf-8") as file:
        tables = list(csv.DictReader(file))
    industries = [row["code"] for row in tables if row["table"].startswith("industry")]
    types = [row["code"] for row in tables if row["table"].startswith("type")]
    for industry in industries:
        parse_video_device(f"44190000{industry}1320000001")
    for kind in types:
        parse_video_device(f"4419000008{kind}0000001")
    assert industries
    assert types
