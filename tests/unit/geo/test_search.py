from __future__ import annotations

import numpy as np
import pytest

from geo.addresses import AddressColumns
from geo.conflicts import find_conflicts
from geo.grids import Region
from geo.locate import Locator
from geo.matching import NameTable, Query, is_pinyin, sounds_of, weights_of
from geo.parse import parse_address
from geo.search import AddressFinder, Alias, Found
from geo.text_place import locate_text
from tests.unit.geo.places_by_name import ENGLISH, GAZETTEER, HOUSES, NAMES, ROADS, TOWER, id_of, index

INDEX = index()
BOTH = {code: (name, ENGLISH.get(code, "")) for code, name in NAMES.items()}
OLD = Alias(id_of("441900126200", "新沙路", 7), "麻涌镇旧墟街9号", "old text")
FINDER = AddressFinder.build(INDEX, BOTH, [OLD])


def found(typed: str, limit: int = 5) -> list[Found]:
    return [f for f in FINDER.find(typed, limit) if f.kind == "address"]


def places(typed: str) -> list[tuple[str, str]]:
    return [(f.kind, f.text) for f in FINDER.find(typed, 5) if f.kind != "address"]


def test_every_text_finds_its_own_address_first_and_surely() -> None:
    for row in range(len(INDEX)):
        best = found(INDEX.texts[row])[0]
        assert (best.code, best.score) == (INDEX.id(row), 1.0), INDEX.texts[row]


WANTED = id_of("441900126200", "振兴路", 12)


@pytest.mark.parametrize(
    "typed",
    [
        "麻涌镇麻三村振兴路12号",
        "麻涌 振兴路 12",
        "麻涌镇振新路12号",  # same sound
        "麻涌镇镇兴路12号",
        "麻通镇麻三村振兴路12号",  # a wrong character
        "麻涌镇麻三村兴路12号",  # one too few
        "麻涌镇麻三村的振兴路12号",  # one too many
        "麻涌鎮振興路十二號",
        "mayong zhenxinglu 12",
        "machong zhenxinglu12",
        "麻涌 zxl 12",
        "麻三村振兴路１２号",
    ],
)
def test_typing_errors_pinyin_and_initials(typed: str) -> None:
    best = found(typed)[0]
    assert best.code == WANTED, [(f.text, f.score) for f in found(typed)]
    assert best.score > 0.5


@pytest.mark.parametrize(
    ("typed", "kind", "text"),
    [
        ("莞城区", "town", "莞城街道"),
        ("虎门港", "town", "东莞港"),
        ("gaobu", "town", "高埗镇"),
        ("wnd", "town", "望牛墩镇"),
        ("wangniu", "town", "望牛墩镇"),
        ("Machong", "town", "麻涌镇"),
        ("石美村", "village", "万江街道石美社区"),
        ("涌口", "village", "厚街镇涌口社区"),
        ("莞太路", "road", "万江街道石美社区莞太路"),
        ("官太路", "road", "万江街道石美社区莞太路"),
        ("hean", "road", "望牛墩镇石排村和安大道"),
    ],
)
def test_places_by_old_names_alone_and_in_latin_letters(typed: str, kind: str, text: str) -> None:
    assert places(typed)[0] == (kind, text)


def test_places_of_one_name_are_all_shown_with_the_reason() -> None:
    shown = [f for f in FINDER.find("石排村", 3) if f.kind == "village"]
    assert {f.text for f in shown} == {"石排镇石排村", "望牛墩镇石排村"}
    assert next(f.reasons for f in FINDER.find("莞城区", 1)) == ("town 莞城街道 by its old name 莞城区",)


def test_a_road_named_after_a_park_is_the_road() -> None:
    best = found("松山湖大道22号")[0]
    assert (best.code, places("松山湖大道22号")[0]) == (TOWER, ("road", "东城街道樟村社区松山湖大道"))


def test_the_name_of_a_building_is_enough() -> None:
    best = found("康华医院")[0]
    assert (best.code, best.score) == (TOWER, 1.0)


def test_another_number_is_near_and_says_so() -> None:
    near = found("麻涌镇麻三村振兴路25号", 2)
    assert [f.code for f in near] == [id_of("441900126200", "振兴路", n) for n in (20, 19)]
    assert near[0].reasons[-1] == "number 20, not 25"
    assert near[0].score < 0.75


def test_what_is_not_there_scores_low_or_finds_nothing() -> None:
    assert found("解放碑步行街99号") == [] or found("解放碑步行街99号")[0].score < 0.5
    for nothing in ("", "  ", "东莞市", "广东省东莞市", "???", "!"):
        assert FINDER.find(nothing, 5) == []
    assert FINDER.find("麻涌", 0) == []


def test_an_old_text_leads_to_the_address_of_today() -> None:
    best = found("麻涌镇旧墟街9号")[0]
    assert (best.code, best.text) == (OLD.address_id, "东莞市麻涌镇麻三村新沙路7号")
    assert best.reasons[-1] == "old text: 麻涌镇旧墟街9号"


def test_an_empty_city_finds_nothing() -> None:
    none = np.empty(0)
    locator = Locator.build([], [], AddressColumns((), (), (), (), (), none, none), "")
    assert AddressFinder.build(locator.addresses, {}).find("麻涌镇", 5) == []


def test_scores_stay_between_0_and_1_whatever_is_typed() -> None:
    rng = np.random.default_rng(3)
    letters = "".join(NAMES.values()) + "振兴大道路12号zhenxmz "
    for _ in range(200):
        typed = "".join(rng.choice(list(letters), int(rng.integers(1, 80))))
        assert all(0.0 <= f.score <= 1.0 for f in FINDER.find(typed, 5)), typed


def test_a_name_is_laid_along_the_query_as_the_naive_edit_distance_does() -> None:
    names = ["振兴路", "石排大道", "麻涌镇", "莞太路", "樟村社区"]
    table = NameTable(names)
    for typed in ("麻涌镇镇兴路12号", "莞城官太路", "石排大到", "樟木社区"):
        query = Query(typed)
        cost, _, _ = table._laid_along(np.arange(len(names)), query)
        np.testing.assert_allclose(cost, [naive_cost(table, row, query) for row in range(len(names))], atol=1e-9)


def naive_cost(table: NameTable, row: int, query: Query) -> float:
    """The same distance, cell by cell."""
    above = [0.0] * (len(query.text) + 1)
    for k, c in enumerate(table.names[row]):
        weight = float(weights_of(table.names[row])[k])
        line: list[float] = []
        for j in range(len(query.text) + 1):
            ways = [above[j] + 0.8 * weight]
            if j:
                alike = set(table._sounds[row, k].tolist()) & set(query.sounds[j - 1].tolist())
                step = 0.0 if c == query.text[j - 1] else 0.25 if alike else 1.0
                ways += [above[j - 1] + step * weight, line[j - 1] + 0.7]
            line.append(min(ways))
        above = line
    return min(above)


def test_letters_are_pinyin_or_initials() -> None:
    assert is_pinyin("dongguan")
    assert not is_pinyin("dgsq")


# ---------------------------------------------------------------- conflicts and the place of a text


def box(west: float, south: float) -> object:
    import shapely

    return shapely.box(west, south, west + 0.1, south + 0.1)


LOCATOR = Locator.build(
    [
        Region("441900003", "town", "东城街道", box(113.0, 22.0)),
        Region("441900004", "town", "南城街道", box(113.2, 22.0)),
        Region("441900104", "town", "石排镇", box(113.4, 22.0)),
        Region("441900127", "town", "望牛墩镇", box(113.6, 22.0)),
    ],
    [],
    AddressColumns(
        [INDEX.id(r) for r in range(len(INDEX))], [INDEX.texts[r] for r in range(len(INDEX))], (), (),
        [INDEX.cells[c] for c in INDEX.cell.tolist()], INDEX.lon, INDEX.lat,
    ),
    "test",
)  # fmt: skip


def test_conflicts_within_a_text_are_stated() -> None:
    def between(text: str, roads: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
        return [c.between for c in find_conflicts(parse_address(text, GAZETTEER), roads, NAMES)]

    assert between("东城街道南城街道1号") == [("town", "town")]
    assert between("虎门镇石美社区") == [("town", "village")]
    assert between("虎门镇莞太路厚街段") == [("town", "stretch of road")]
    assert between("虎门镇振兴路", frozenset({"441900126"})) == [("town", "road")]
    assert between("石排镇石排村石排大道", frozenset({"441900104"})) == []
    (conflict,) = find_conflicts(parse_address("虎门镇石美社区", GAZETTEER), (), NAMES)
    assert conflict.said == "the town says 虎门镇, the village says 万江街道石美社区"


def test_an_address_named_whole_is_found_with_method_text() -> None:
    found = locate_text("石排镇石排村振兴路5号", LOCATOR, FINDER)
    assert found.place.address_id == id_of("441900104200", "振兴路", 5)
    assert (found.place.method, found.place.grid) == ("text", "441900104200001")
    assert found.place.score > 0.9


def test_a_road_without_a_town_leaves_all_its_towns_open() -> None:
    found = locate_text("振兴路5号", LOCATOR, FINDER)
    assert not found.place.known
    assert {c.town for c in found.candidates} == {"441900005", "441900104", "441900126"}
    only = locate_text("和安大道5号", LOCATOR, FINDER)
    assert only.place.address_id == id_of("441900127218", "和安大道", 5)
    assert only.place.score <= 0.7


def test_a_coordinate_decides_between_villages_of_one_name() -> None:
    open_ = locate_text("石排村", LOCATOR, FINDER)
    assert (open_.place.known, len(open_.candidates)) == (False, 2)
    decided = locate_text("石排村", LOCATOR, FINDER, 113.65, 22.05)
    assert (decided.place.village, decided.place.method) == ("441900127218", "text")
    assert decided.place.score > 0.6


def test_a_coordinate_in_another_town_is_a_conflict_and_nobody_is_sure() -> None:
    found = locate_text("南城街道南城路56号", LOCATOR, FINDER, 113.05, 22.05)
    assert [c.between for c in found.conflicts] == [("text", "coordinate")]
    assert {c.town for c in found.candidates} == {"441900003", "441900004"}
    assert found.place.score <= 0.3


def test_a_text_that_says_nothing_has_the_place_of_its_coordinate() -> None:
    assert not locate_text("人民医院", LOCATOR, FINDER).place.known
    assert locate_text("人民医院", LOCATOR, FINDER, 113.05, 22.05).place.town == "441900003"


def test_the_small_city_is_what_it_says() -> None:
    assert len(INDEX) == HOUSES * sum(map(len, ROADS.values())) + 1


def test_sounds_are_numbered_alike_whatever_was_asked_before() -> None:
    assert sounds_of("镇") == sounds_of("震")
    assert sounds_of("张")[0] == sounds_of("赞")[0]
    numbers = [sounds_of(c) for c in "莞震号9x路"]
    sounds_of.cache_clear()
    assert [sounds_of(c) for c in "路x9号震莞"] == numbers[::-1]
    assert len({sounds_of(c) for c in "9x8y😀"}) == 5
