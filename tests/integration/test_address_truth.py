"""Real addresses with the true town, on the real gazetteer and outlines: right, or not sure."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import shapely

from geo.addresses import AddressColumns
from geo.datum import to_wgs84
from geo.grids import Region
from geo.locate import Locator
from geo.search import AddressFinder
from geo.text_place import TextPlace, locate_text

DONGGUAN = Path(__file__).parents[2] / "../shared/data/dongguan"
pytestmark = pytest.mark.skipif(not DONGGUAN.exists(), reason="the shared data of Dongguan is not there")

DATUMS = {"BD-09": "bd09", "GCJ-02": "gcj02"}
SURE = 0.6
"""A score people may rely on."""


@cache
def rows(name: str) -> list[dict[str, str]]:
    with (DONGGUAN / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@cache
def city() -> tuple[Locator, AddressFinder]:
    """Real outlines of 33 towns; villages by name only; no addresses."""
    features = json.loads((DONGGUAN / "towns33_wgs84.geojson").read_text(encoding="utf-8"))["features"]
    outlines = {f["properties"]["name"]: shapely.make_valid(shapely.from_geojson(json.dumps(f))) for f in features}
    towns = rows("towns.csv")
    regions = [Region(t["code9"], "town", t["name"], outlines[t["poly_name"]]) for t in towns if t["poly_name"]]
    nothing = np.empty(0)
    locator = Locator.build(regions, [], AddressColumns((), (), (), (), (), nothing, nothing), "real")
    names = {"441900": ("东莞市", "Dongguan")} | {t["code9"]: (t["name"], t["name_en"]) for t in towns}
    names |= {v["code12"]: (v["common_name"], "") for v in rows("villages.csv")}
    return locator, AddressFinder.build(locator.addresses, names)


def located(row: dict[str, str], *, with_point: bool) -> TextPlace:
    lon = lat = None
    if with_point and row["lon_src"]:
        datum = DATUMS[row["datum_src"].split()[0]]
        x, y = to_wgs84(float(row["lon_src"]), float(row["lat_src"]), datum)
        lon, lat = float(x), float(y)
    return locate_text(row["address_raw"], *city(), lon, lat)


def code_of(town: str) -> str:
    return next(t["code9"] for t in rows("towns.csv") if t["name"] == town)


def says_a_town(row: dict[str, str]) -> bool:
    """Whether the words name a town or a village, and do not contradict the truth by themselves."""
    return not row["note"].startswith(("CONFLICT", "no town; road", "road named after"))


def test_the_town_is_right_for_nearly_all_that_name_one() -> None:
    told = [row for row in rows("addresses_with_truth.csv") if says_a_town(row)]
    right = [located(r, with_point=False).place.town == code_of(r["town_truth"]) for r in told]
    assert len(told) >= 18
    assert np.mean(right) >= 0.95, [r["address_raw"] for r, ok in zip(told, right, strict=True) if not ok]


def test_of_all_rows_with_all_they_say_nearly_every_town_is_right_and_the_others_unknown() -> None:
    """Nothing left out: words, and the coordinate where the row has one; contradictory rows count too."""
    every = rows("addresses_with_truth.csv")
    found = {row["address_raw"]: located(row, with_point=True).place for row in every}
    wrong = {r["address_raw"] for r in every if found[r["address_raw"]].town != code_of(r["town_truth"])}
    assert 1 - len(wrong) / len(every) >= 0.95, wrong
    assert all(not found[text].known and found[text].score == 0.0 for text in wrong)


def test_words_alone_that_name_no_town_give_none() -> None:
    silent = [r for r in rows("addresses_with_truth.csv") if r["note"].startswith(("no town; road", "road named"))]
    assert len(silent) == 2
    for row in silent:
        place = located(row, with_point=False).place
        assert (place.known, place.score) == (False, 0.0), row["address_raw"]


@pytest.mark.parametrize("with_point", [False, True])
def test_a_wrong_town_is_never_a_sure_one(with_point: bool) -> None:
    wrong = {
        row["address_raw"]: found.place.score
        for row in rows("addresses_with_truth.csv")
        if (found := located(row, with_point=with_point)).place.town != code_of(row["town_truth"])
        and found.place.score >= SURE
        # By its words alone this one is a flawless address of another town: only the coordinate can tell.
        and not (row["note"].startswith("CONFLICT") and not with_point)
    }
    assert not wrong


def test_what_contradicts_itself_or_is_written_otherwise_is_flagged() -> None:
    by_note = {row["note"]: row for row in rows("addresses_with_truth.csv") if row["note"]}
    contradictory = located(by_note["CONFLICT: label 东城 but address says 南城"], with_point=True)
    (conflict,) = contradictory.conflicts
    assert conflict.between == ("text", "coordinate")
    assert conflict.codes == ((code_of("南城街道"),), (code_of("东城街道"),))
    assert contradictory.place.score <= 0.3
    old = located(by_note["old name 莞城区"], with_point=False)
    assert (old.place.town, old.conflicts) == (code_of("莞城街道"), ())
    assert any("old name" in reason for reason in old.reasons)


def test_a_road_named_after_another_town_says_nothing_of_the_town() -> None:
    (row,) = (r for r in rows("addresses_with_truth.csv") if r["note"].startswith("road named after"))
    assert not located(row, with_point=False).place.known
    found = located(row, with_point=True)
    assert (found.place.town, found.conflicts) == (code_of("东城街道"), ())


def test_a_village_alone_is_enough_where_only_one_has_the_name() -> None:
    (row,) = (r for r in rows("addresses_with_truth.csv") if r["note"].startswith("no town; village"))
    found = located(row, with_point=False)
    assert (found.place.town, found.place.names["town"]) == (code_of("万江街道"), "万江街道")
    assert found.place.village is not None
    assert located(row, with_point=True).place.score > found.place.score


def doubled() -> list[tuple[str, list[dict[str, str]]]]:
    """Villages that share their name with one of another town, by stem."""
    by_stem: dict[str, list[dict[str, str]]] = defaultdict(list)
    for village in rows("villages.csv"):
        by_stem[village["common_name"].removesuffix("社区").removesuffix("村")].append(village)
    return [(stem, several) for stem, several in by_stem.items() if len({v["town"] for v in several}) > 1]


def test_doubled_village_names_stay_open_without_a_town_and_are_decided_by_one() -> None:
    names = doubled()
    assert len(names) >= 20
    for _, several in names:
        for village in several:
            alone = locate_text(f"东莞市{village['common_name']}8号", *city())
            assert {v["code12"] for v in several} <= {c.code for c in alone.candidates}, village
            assert alone.place.score < SURE, village
            named = locate_text(f"东莞市{village['town']}{village['common_name']}8号", *city())
            assert named.place.village == village["code12"], village
            assert named.place.score >= SURE, village


def test_villages_named_like_another_town_are_villages() -> None:
    traps = [v for v in rows("villages.csv") if "named_like_other_town" in v["trap"]]
    assert traps
    for village in traps:
        found = locate_text(f"{village['town']}{village['common_name']}", *city())
        assert (found.place.village, found.conflicts) == (village["code12"], ()), village


def test_every_village_is_found_by_its_registered_name_with_its_town() -> None:
    wrong = [
        (v["town"], v["official_name"])
        for v in rows("villages.csv")
        for said in (v["common_name"], v["official_name"])
        if locate_text(f"广东省东莞市{v['town']}{said}", *city()).place.village != v["code12"]
    ]
    assert not wrong
