from __future__ import annotations

import pytest

from domain.errors import ImportFileError
from geo.place_imports import parse_key_places

HEADER = "id,kind,name,name_en,lon,lat,datum,address_id,people\n"
GOOD = "KP-1,school,莞城一小,First school,113.75,23.04,wgs84,4419000030010100001000000,1200\n"


def test_a_good_row() -> None:
    (row,) = parse_key_places((HEADER + GOOD).encode()).rows
    assert (row.id, row.kind, row.name, row.name_en) == ("KP-1", "school", "莞城一小", "First school")
    assert row.people == 1200
    assert (row.lon, row.lat, row.address_id) == (113.75, 23.04, "4419000030010100001000000")


def test_another_datum_is_turned_into_wgs84_and_none_is_refused() -> None:
    text = "id,kind,name,lon,lat\nA,market,市场,113.75,23.04\n"
    assert abs(parse_key_places(text.encode(), "gcj02").rows[0].lon - 113.75) > 0.003
    (problem,) = parse_key_places(text.encode()).problems
    assert "--datum" in str(problem)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("KP 2,school,x,,113,23,wgs84,,", "id 'KP 2'"),
        ("KP-2,castle,x,,113,23,wgs84,,", "school"),
        ("KP-2,school,,,113,23,wgs84,,", "name is empty"),
        ("KP-2,school,x,,23,113,wgs84,,", "swapped"),
        ("KP-2,school,x,,east,23,wgs84,,", "no number"),
        ("KP-2,school,x,,nan,23,wgs84,,", "not finite"),
        ("KP-2,school,x,,113,23,mars,,", "mars"),
        ("KP-2,school,x,,113,23,wgs84,44,", "44"),
        ("KP-2,school,x,,113,23,wgs84,,-3", "whole number"),
        ("KP-2,school,x,,113,23", "6 fields"),
        ("KP-1,school,x,,113,23,wgs84,,", "already on line 2"),
    ],
)
def test_a_bad_row_is_named_and_hides_no_other(row: str, reason: str) -> None:
    parsed = parse_key_places((HEADER + GOOD + row + "\n\n" + GOOD.replace("KP-1", "KP-3")).encode())
    assert [each.id for each in parsed.rows] == ["KP-1", "KP-3"]
    (problem,) = parsed.problems
    assert problem.where == "line 3"
    assert reason in problem.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"id,kind\n", "lacks the column 'name'"),
        (b"id,kind,name,lon,lat,colour\n", "unknown column 'colour'"),
        ("id,kind,name,lon,lat\nA,school,中学".encode("gbk"), "line 2: not UTF-8"),
        (b'id,kind,name,lon,lat\nA,"sch', "not CSV"),
    ],
)
def test_a_file_that_cannot_be_read_at_all(content: bytes, reason: str) -> None:
    with pytest.raises(ImportFileError, match=reason):
        parse_key_places(content)
