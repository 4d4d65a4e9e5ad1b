"""Files onto the map: what matched, how, and what did not and why."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from domain.errors import ImportFileError
from geo.addresses import AddressColumns
from geo.bulk_match import FOUND_COLUMNS, Match, match_rows, read_rows, summary
from geo.datum import from_wgs84
from geo.locate import Locator
from geo.search import AddressFinder
from tests.unit.geo.two_towns import PLANE, A, B, two_towns

REGIONS, CELLS, GIVEN = two_towns()
TEXTS = ["东莞市甲镇甲一村振兴路1号", "东莞市甲镇甲一村振兴路2号", "东莞市乙镇乙一村莞太路3号"]
ADDRESSES = AddressColumns(
    GIVEN.id, TEXTS, ["振兴路", "振兴路", "莞太路"], ["1", "2", "3"], GIVEN.grid, GIVEN.lon, GIVEN.lat
)
LOCATOR = Locator.build(REGIONS, CELLS, ADDRESSES, "two-towns")
FINDER = AddressFinder.build(LOCATOR.addresses, LOCATOR.names)
FIRST, _, LAST = ADDRESSES.id


def point(x: float, y: float, datum: str = "wgs84") -> str:
    (lon,), (lat,) = PLANE.to_lonlat([x], [y])
    lon, lat = from_wgs84(lon, lat, datum)
    return f"{lon:.7f},{lat:.7f}"


def matched(text: str, datum: str | None = None) -> list[Match]:
    _, rows = read_rows(text.encode(), datum)
    return list(match_rows(rows, LOCATOR, FINDER))


def test_each_way_of_saying_where_something_is() -> None:
    found = matched(
        "id,address_id,lon,lat,datum,text\n"
        f"1,{FIRST},,,,\n"
        f"2,{FIRST[:19]}000305,,,,\n"
        f"3,,{point(-490, 510)},wgs84,\n"
        f"4,,{point(-490, 510, 'bd09')},bd09,\n"
        "5,,,,,甲镇甲一村振兴路2号\n"
        f"6,,{point(-1500, 1500)},wgs84,\n"
        f"7,,{point(600, 510)},wgs84,乙镇乙一村莞太路3号\n"
    )
    assert [match.why for match in found] == [()] * 7
    assert [(match.place.method, match.place.grid) for match in found] == [
        ("device", f"{A}001002"), ("building", f"{A}001002"), ("nearest", f"{A}001002"), ("nearest", f"{A}001002"),
        ("text", f"{A}001002"), ("town only", f"{A}002001"), ("text", f"{B}001001"),
    ]  # fmt: skip
    assert found[2].place.distance_m == pytest.approx(14.1, abs=0.2)
    assert found[3].place.distance_m == pytest.approx(14.1, abs=0.2)
    assert summary(found) == [
        "7 rows: 7 matched (2 nearest, 2 text, 1 device, 1 building, 1 town only), 0 doubtful, 0 not matched"
    ]


@pytest.mark.parametrize(
    ("row", "verdict", "why"),
    [
        ("1,,,,,,", "not matched", "nothing to go by"),
        ("1,,114.9,22.1,wgs84,,", "not matched", "outside"),
        ("1,,113.75,23.0,,,", "not matched", "no datum"),
        ("1,,113.75,23.0,wgs48,,", "not matched", "bad datum"),
        ("1,,23.0,113.75,wgs84,,", "not matched", "bad coordinate"),
        ("1,,north,23.0,wgs84,,", "not matched", "bad coordinate"),
        ("1,,,,,某处的一间屋,", "not matched", "no place in the words"),
        (f"1,{FIRST[:14]}99999000000,,,,,", "not matched", "unknown address"),
        ("1,4419,,,,,", "not matched", "bad code"),
        ("1,,,,,甲镇,", "doubtful", "no cell: only the town"),
        (f"1,,{point(600, 510)},wgs84,甲镇甲一村,", "doubtful", "conflict: the text says 甲镇"),
        (f"1,,{point(600, 510)},wgs84,,甲镇", "doubtful", "conflict: the row declares 甲镇, it was found in"),
        (f"1,,{point(600, 510)},wgs84,,{A}", "doubtful", f"conflict: the row declares {A} 甲镇"),
        (f"1,{FIRST},{point(600, 510)},wgs84,,", "doubtful", "conflict: the address lies in"),
        (f"{FIRST},,{point(600, 510)},wgs84,,", "doubtful", "conflict: the row declares 441900003001002"),
        ("1,,", "not matched", "bad row: 3 fields"),
    ],
)
def test_what_did_not_match_and_why(row: str, verdict: str, why: str) -> None:
    (found,) = matched(f"id,address_id,lon,lat,datum,text,town\n{row}\n")
    assert found.verdict == verdict
    assert any(reason.startswith(why) for reason in found.why), found.why


def test_declared_names_may_leave_out_their_ending_and_agree() -> None:
    (found,) = matched(f"编号,经度,纬度,坐标系,镇街,网格\nD-1,{point(600, 510)},wgs84,乙镇,{B}001001\n")
    assert (found.verdict, found.why) == ("matched", ())


def test_the_rows_written_have_the_files_columns_and_what_was_found() -> None:
    header, rows = read_rows(f"id,note,lon,lat\nD-1,\"a, b\",{point(-490, 510)}\n".encode(), "wgs84")
    (found,) = match_rows(rows, LOCATOR, None)
    written = io.StringIO()
    csv.writer(written).writerow(found.cells())
    (cells,) = csv.reader(io.StringIO(written.getvalue()))
    assert len(cells) == len(header) + len(FOUND_COLUMNS)
    assert (cells[1], cells[4], cells[5]) == ("a, b", "matched", "nearest")


def test_one_call_for_many_rows_says_what_single_calls_say() -> None:
    rng = np.random.default_rng(5)
    lines = [f"D-{n},{point(x, y)}" for n, (x, y) in enumerate(rng.uniform(-2500, 2500, (1200, 2)))]
    head = "id,lon,lat\n"
    all_at_once = matched(head + "\n".join(lines), "wgs84")
    alone = [matched(head + line, "wgs84")[0] for line in lines[::60]]
    assert [m.cells() for m in all_at_once[::60]] == [m.cells() for m in alone]
    assert {m.verdict for m in all_at_once} == {"matched", "not matched"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [("id,name\n1,2\n", "nothing to match by"), ("text,地址\na,b\n", "both stand for"), ('lon,lat\n"1', "not CSV")],
)
def test_a_file_that_cannot_be_matched_says_so(text: str, reason: str) -> None:
    with pytest.raises(ImportFileError, match=reason):
        read_rows(text.encode(), "wgs84")
