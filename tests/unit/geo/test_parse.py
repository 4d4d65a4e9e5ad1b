from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.han import initials, normalise, spellings
from geo.parse import ParsedAddress, parse_address
from tests.unit.geo.places_by_name import GAZETTEER, NAMES


def parsed(text: str) -> ParsedAddress:
    return parse_address(text, GAZETTEER)


def towns(text: str) -> list[str]:
    return [named.name for named in parsed(text).towns]


def villages(text: str) -> list[str]:
    return [NAMES[named.town] + named.name for named in parsed(text).villages]


@pytest.mark.parametrize(
    ("text", "town"),
    [
        ("广东省东莞市虎门镇虎门大道154号", "虎门镇"),
        ("东莞虎门大宁", "虎门镇"),
        ("中国广东省东莞市东莞市石排镇", "石排镇"),
        ("南城街道办事处", "南城街道"),
        ("莞城区沙地塘88号", "莞城街道"),
        ("附城区", "东城街道"),
        ("太平镇", "虎门镇"),
        ("虎门港", "东莞港"),
        ("虎門鎮", "虎门镇"),
        ("道滘", "道滘镇"),
        ("高埗镇", "高埗镇"),
        ("高步镇", "高埗镇"),
        ("廖步镇", "寮步镇"),
        ("松山湖科发七路1号", "松山湖"),
        ("松山湖中心医院 石排镇祥龙路1号", "石排镇"),
        ("某某公司（石排镇）", "石排镇"),
    ],
)
def test_the_town_is_found_however_it_is_called(text: str, town: str) -> None:
    assert towns(text) == [town]


@pytest.mark.parametrize(
    ("text", "road"),
    [
        ("松山湖大道22号", "松山湖大道"),
        ("东莞市松山湖大道22号", "松山湖大道"),
        ("松山湖北路5号", "松山湖北路"),
        ("东莞大道1000号", "东莞大道"),
        ("东莞市东莞大道1000号", "东莞大道"),
        ("厚街大道西12号", "厚街大道西"),
        ("南城路56号", "南城路"),
        ("新村南路3号", "新村南路"),
        ("石排大道中198号", "石排大道中"),
    ],
)
def test_a_road_named_after_a_town_or_village_names_neither(text: str, road: str) -> None:
    found = parsed(text)
    assert (found.road, found.towns, found.villages) == (road, (), ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("望牛墩镇石排村3号", ["望牛墩镇石排村"]),
        ("望牛墩石排村", ["望牛墩镇石排村"]),
        ("石排村12号", ["石排镇石排村", "望牛墩镇石排村"]),
        ("虎门镇大岭山生活区", ["虎门镇大岭山生活区"]),
        ("道滘镇南城村", ["道滘镇南城村"]),
        ("塘厦村", ["高埗镇塘厦村"]),
        ("桥头社区", ["桥头镇桥头社区", "厚街镇桥头社区"]),
        ("厚街桥头社区", ["厚街镇桥头社区"]),
        ("万江区石美", ["万江街道石美社区"]),
        ("石美村委会", ["万江街道石美社区"]),
        ("石美管理区", ["万江街道石美社区"]),
        ("樟村", ["东城街道樟村社区"]),
        ("石美社区万江街道", ["万江街道石美社区"]),
        ("石美", []),
    ],
)
def test_villages_are_told_from_the_towns_in_their_names(text: str, expected: list[str]) -> None:
    assert villages(text) == expected


def test_all_levels_down_to_the_room() -> None:
    found = parsed("東莞市麻涌鎮麻三村振兴路十八号之3，2栋一单元5楼５０３室便利店")
    levels = (found.road, found.number, found.building, found.unit, found.floor, found.room, found.rest)
    assert levels == ("振兴路", "18-3", "2", "1", "5", "503", "便利店")
    assert "written in traditional characters" in found.notes


def test_hamlets_highways_areas_and_stretches() -> None:
    found = parsed("石美社区卢慈涡村107国道（石美牌楼斜对面）")
    assert (found.hamlet, found.road, found.rest) == ("卢慈涡村", "107国道", "(石美牌楼斜对面)")
    assert (parsed("麻涌镇中心区站前路").area, parsed("麻涌镇中心区站前路").road) == ("中心区", "站前路")
    assert parsed("道滘镇金牛新村南路69号").road == "金牛新村南路"
    assert parsed("莞城区沙地塘88号").hamlet == "沙地塘"
    stretch = parsed("莞太路厚街段58号")
    assert ([n.name for n in stretch.section], stretch.number) == (["厚街镇"], "58")


def test_what_was_taken_for_something_else_is_said() -> None:
    assert parsed("莞城区").notes == ("莞城区 is taken for 莞城街道 (old name)",)
    assert parsed("廖步镇").notes == ("廖步镇 is taken for 寮步镇 (same sound)",)
    assert parsed("石排村").notes == ("石排村 may be any of 2 places",)
    assert parsed("石排镇").notes == ()


def test_two_towns_stay_two() -> None:
    assert towns("东城街道南城街道南城路56号") == ["东城街道", "南城街道"]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="东莞市石排镇村社区大道路街南城0159号栋-()AＢ埗 ", max_size=40) | st.text(max_size=40))
def test_no_text_is_too_strange(text: str) -> None:
    found = parsed(text)
    assert found.text == normalise(text)
    assert len(found.rest) <= len(found.text)


def test_normalising_is_done_once() -> None:
    text = normalise("東莞市　虎門鎮，Ａ座一百零五號")
    assert text == "东莞市虎门镇a座105号"
    assert normalise(text) == text


def test_place_names_are_read_as_people_there_read_them() -> None:
    assert spellings("东莞")[0] == "dongguan"
    assert spellings("高埗") == ["gaobu"]
    assert spellings("道滘") == ["daojiao"]
    assert {"mayong", "machong"} <= set(spellings("麻涌"))
    assert "hj" in initials("厚街")
