"""Files of duties and the tables beside them: what they may say, and every fault with its line and reason."""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path

import pytest

from alerting.dispatch.batches import Batch
from alerting.dispatch.table_import import TABLE_KINDS, parse_table
from domain.clock import iso
from domain.errors import ImportFileError
from geo.datum import to_wgs84

CODES = Path(__file__).parents[3] / "../shared/data/codes/gb47678_5_2026.csv"
HEAD = "# batch: 2027-q1\n# starts: 2027-01-01\n# replaces: default, 2026\n# note: 第一批\n"
COLUMNS = "kind,matter,severity,place,level,department,source,role,name,why,days,hours,from,to,within_m\n"
PLACES = {"麻涌镇": "441900126", "望牛墩镇/石排村": "441900109005"}


def good(**cells: str) -> str:
    row = {"kind": "fire.*", "severity": "3", "level": "town", "department": "fire", "role": "lead",
           "name": "{place}消防", **cells}  # fmt: skip
    return ",".join(row.get(name, "") for name in COLUMNS.strip().split(",")) + "\n"


def test_a_duties_file_in_csv() -> None:
    text = HEAD + COLUMNS + good() + "\n" + good(
        place="麻涌镇", days="工作日", hours="18:00-08:30", to="2028-01-01", matter="gb47678-2026:08011"
    )  # fmt: skip
    parsed = parse_table("duties", text.encode("utf-8-sig"), PLACES)
    assert not parsed.problems
    batch = parsed.batch
    assert (batch.name, batch.replaces, batch.note) == ("2027-q1", ("default", "2026"), "第一批")
    assert iso(parsed.batch.starts_us) == "2026-12-31T16:00:00.000000Z", "midnight in the city"
    (first, _, _), (second, days, hours) = parsed.duties
    assert (first.kind, first.severity_min, first.place, first.batch) == ("fire.*", 3, "", "2027-q1")
    assert (second.place, second.matter) == ("441900126", "gb47678-2026:08011")
    assert (days, hours) == ("workday", "18:00-08:30")
    assert second.valid_to_us is not None


def test_the_same_in_toml() -> None:
    text = """
[batch]
name = "2027-q1"
starts = 2027-01-01
replaces = ["default"]

[[duties]]
kind = "fire.*"
severity = 3
level = "town"
role = "lead"
department = "fire"
name = "{place}消防"

[[duties]]
matter = "local:08999"
level = "town"
role = "boss"
name = "x"
"""
    parsed = parse_table("duties", text.encode(), suffix=".toml")
    assert [duty.name for duty, _, _ in parsed.duties] == ["{place}消防"]
    assert parsed.batch.starts_us
    assert [str(p) for p in parsed.problems] == ["line 15: role: 'boss': write lead, co, owner or maintainer"]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"kind": ""}, "kind: name a kind"),
        ({"kind": "Fire"}, "kind: 'Fire'"),
        ({"matter": "8011"}, "matter: '8011': write standard:code"),
        ({"severity": "0"}, "severity: '0': write a number from 1 to 4"),
        ({"severity": "red"}, "severity: 'red'"),
        ({"severity": "nan"}, "severity: 'nan'"),
        ({"place": "石排村"}, "place: '石排村' is no single place"),
        ({"place": "44190"}, "no single place"),
        ({"level": "street"}, "level: 'street': write grid, village, town or city"),
        ({"department": "消防"}, "department: '消防'"),
        ({"role": ""}, "role: '': write lead"),
        ({"name": ""}, "name: the unit's name is missing"),
        ({"source": "friend"}, "source: 'friend'"),
        ({"source": "permit", "role": "co"}, "within_m: a row of source permit needs"),
        ({"source": "permit", "role": "lead", "within_m": "10"}, "a permit cannot lead"),
        ({"within_m": "1001"}, "within_m: '1001'"),
        ({"days": "mon"}, "days 'mon'"),
        ({"hours": "8-9"}, "hours '8-9'"),
        ({"from": "tomorrow"}, "from: 'tomorrow': write 2027-01-01"),
        ({"from": "2027-01-02", "to": "2027-01-01"}, "to: '2027-01-01' does not lie after from"),
    ],
)
def test_a_bad_row_is_left_out_with_its_line_and_reason(cells: dict[str, str], reason: str) -> None:
    text = HEAD + COLUMNS + good() + good(**cells) + good(kind="gas.*")
    parsed = parse_table("duties", text.encode(), PLACES)
    assert len(parsed.duties) == 2
    [problem] = parsed.problems
    assert problem.where == "line 7"
    assert reason in problem.reason


def test_all_faults_of_a_row_are_said_at_once_and_a_row_twice_is_one() -> None:
    text = HEAD + COLUMNS + good(role="x", severity="9", days="0") + good() + good(name="other") + "a,b\n"
    parsed = parse_table("duties", text.encode(), PLACES)
    first, second, third = parsed.problems
    assert all(word in first.reason for word in ("role", "severity", "days"))
    assert second.reason == "the same as line 7; keep one of the two"
    assert third.reason == "2 fields, the first line has 15"


@pytest.mark.parametrize(
    ("text", "toml", "message"),
    [
        (COLUMNS + good(), False, "# batch: 2027-q1"),
        ("# batch: a b\n" + COLUMNS, False, "batch: 'a b'"),
        ("# batch: a\n# starts: soon\n" + COLUMNS, False, "starts: 'soon'"),
        (HEAD + "kind,level,role,boss\n", False, "unknown column 'boss'"),
        (HEAD + "kind,level\n", False, "lacks the column 'role'"),
        (HEAD + "kind,level,role,role\n", False, "stands twice"),
        (HEAD + COLUMNS + '"open\n', False, "line 6: not CSV"),
        ("[[duty]]\n", True, "unknown table 'duty'; write"),
        ("[batch\n", True, "not TOML"),
        ("[batch]\nname='a'\nend='b'\n", True, "unknown word 'end'"),
    ],
)
def test_a_file_that_cannot_be_read_says_so(text: str, toml: bool, message: str) -> None:
    with pytest.raises(ImportFileError, match=message.replace("[", r"\[")):
        parse_table("duties", text.encode(), suffix=".toml" if toml else ".csv")


def test_a_file_in_another_encoding_names_the_line() -> None:
    with pytest.raises(ImportFileError, match="line 2: not UTF-8"):
        parse_table("units", b"id,name\ntown:1," + "住建".encode("gbk"))


def test_the_other_tables() -> None:
    texts = {
        "matters": "code,name,class\nlocal:08999,房屋振动异常,施工\ngb47678-2026:8011,x,\n",
        "units": "id,name,desk\ntown:441900003:housing,住建局,值班室\nno such,x,\n",
        "rota": "unit,person,days,hours,instead_of\ntown:1:a,李,1-5,08:00-20:00,\ntown:1:a,李,,,李\n",
        "holidays": "day,kind,name\n2026-10-01,holiday,国庆节\n2026-13-01,holiday,x\n",
        "owners": "building,unit,name\n4419000030010100001,owner:1,业主\n44,owner:2,x\n",
        "maintainers": "unit,name,device,kind\nkeeper:1,养护,VB-1,\nkeeper:2,养护,VB-2,smoke\n",
        "permits": "id,name,unit,lon,lat,datum,from,to,radius_m\n"
                   "P-1,工地,site:1,113.75,23.0,gcj02,2026-01-01,2027-01-01,50\n"
                   "P-2,工地,site:1,113.75,23.0,,2026-01-01,2027-01-01,50\n",
        "rules": 'id,detector,kind,settings\nr1,threshold,a.b,"{""metric"": ""m"", ""clear"": 1, '
                 '""levels"": {""3"": 2}, ""title"": {""zh"": ""a"", ""en"": ""b""}}"\nr2,threshold,a.b,{}\n',
    }  # fmt: skip
    assert set(texts) | {"duties", "sites", "truck-permits"} == set(TABLE_KINDS)
    for what, text in texts.items():
        parsed = parse_table(what, text.encode())
        assert parsed.count == 1, (what, parsed.problems)
        assert [p.where for p in parsed.problems] == ["line 3"], what
    permit = parse_table("permits", texts["permits"].encode()).rows[0]
    assert permit[4] == pytest.approx(113.75 - 0.0051, abs=3e-4), "stored in WGS-84"
    assert parse_table("holidays", texts["holidays"].encode()).rows[0][0] == date(2026, 10, 1)
    assert json.loads(parse_table("rules", texts["rules"].encode()).rows[0][4])["metric"] == "m"


def test_the_national_catalogue_goes_in_whole() -> None:
    if not CODES.exists():
        pytest.skip("the code tables are not here")
    with CODES.open(encoding="utf-8-sig", newline="") as file:
        found = [row for row in csv.DictReader(file) if "事项" in row["kind"]]
    lines = ["code,name,class", *(f"gb47678-2026:{r['code5']},{r['name']},{r['class_name']}" for r in found)]
    parsed = parse_table("matters", "\n".join(lines).encode())
    assert not parsed.problems
    assert parsed.count == len(found) > 200


def test_a_batch_ends_only_what_it_names_and_what_began_before_it() -> None:
    new = Batch("new", 100, ("old",))
    assert new.ends(Batch("old", 50))
    assert not new.ends(Batch("other", 50))
    assert not new.ends(Batch("old", 150))
    assert Batch("all", 100, ("*",)).ends(Batch("other", 50))
    assert not Batch("all", 100, ("*",)).ends(Batch("all", 100))


PLACES = {"麻涌镇": "441900126", "道滘镇": "441900124", "麻三村": "441900126200"}
SITES = """id,kind,name,lon,lat,datum,radius_m,outline,from,to
S-1,load,麻涌工地,113.62,23.04,gcj02,300,,2026-01-01,2027-01-01
T-1,tip,万江消纳场,,,wgs84,,"POLYGON((113.70 23.00, 113.71 23.00, 113.71 23.01, 113.70 23.00))",,
"""


def test_sites_and_tips_come_in_wgs84() -> None:
    parsed = parse_table("sites", SITES.encode())
    assert parsed.problems == []
    load, tip = parsed.rows
    assert load[:3] == ("S-1", "load", "麻涌工地")
    assert load[5:7] == pytest.approx(to_wgs84(113.62, 23.04, "gcj02"))
    assert load[7] == 300.0
    assert json.loads(tip[4])["type"] == "Polygon"
    assert tip[5:8] == (None, None, None)
    assert (tip[8].year, tip[9]) == (1970, None)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("S-1,dump,x,113.6,23,wgs84,300,,,", "kind: 'dump': write load or tip"),
        ("S-1,tip,,113.6,23,wgs84,300,,,", "name: is missing"),
        ("S-1,tip,x,113.6,23,,300,,,", "datum: write one of wgs84"),
        ("S-1,tip,x,113.6,23,wgs48,300,,,", "datum 'wgs48' is unknown"),
        ("S-1,tip,x,113.6,23,wgs84,,,,", "radius_m: a site without an outline needs"),
        ("S-1,tip,x,113.6,23,wgs84,90000,,,", "radius_m: '90000': write a number from 1 to 5000"),
        ("S-1,tip,x,,,wgs84,300,,,", "lon: lon and lat are both needed"),
        ("S-1,tip,x,,,wgs84,,POINT(1 2),,", "outline: write a Polygon"),
        ('S-1,tip,x,,,wgs84,,"POLYGON((0 0, 1 1, 1 0, 0 1, 0 0))",,', "outline: is not valid: Self-intersection"),
        ('S-1,tip,x,,,wgs84,,"POLYGON((0 0, 900 1, 1 0, 0 0))",,', "outline: a coordinate is no lon"),
        ("S 1,tip,x,113.6,23,wgs84,300,,,", "id: 'S 1': write 1 to 64"),
        ("S-1,tip,x,113.6,23,wgs84,300,,2027-01-01,2026-01-01", "to: '2026-01-01' does not lie after from"),
    ],
)
def test_a_bad_site_says_why(row: str, reason: str) -> None:
    parsed = parse_table("sites", f"{SITES.splitlines()[0]}\n{row}\n".encode())
    (problem,) = parsed.problems
    assert problem.where == "line 2"
    assert reason in problem.reason


def test_truck_permits_with_towns_corridor_and_hours() -> None:
    text = (
        "id,vehicle,towns,corridor,buffer_m,hours,from,to\n"
        "P-1,MT-01,麻涌镇;441900124,,,20:00-06:00,2026-01-01,2027-01-01\n"
        'P-2,MT-02,,"LINESTRING(113.6 23, 113.7 23.05)",150,,,\n'
        "P-3,MT-03,,,,,,\n"
        "P-4,MT-04,麻三村,,,,,\n"
        "P-5,MT-05,麻涌镇,,,8-18,,\n"
        "P-6,,麻涌镇,,,,,\n"
    )
    parsed = parse_table("truck-permits", text.encode(), PLACES, datum="gcj02")
    first, second = parsed.rows
    assert first[:5] == ("P-1", "MT-01", ["441900126", "441900124"], None, 200.0)
    assert (first[5].hour, first[6].hour) == (20, 6)
    assert json.loads(second[3])["coordinates"][0] == pytest.approx(to_wgs84(113.6, 23.0, "gcj02"), abs=1e-6)
    assert second[4] == 150.0
    assert [(problem.where, problem.reason.split(":")[0]) for problem in parsed.problems] == [
        ("line 4", "towns"), ("line 5", "towns"), ("line 6", "hours"), ("line 7", "vehicle"),
    ]  # fmt: skip


def test_sites_as_geojson() -> None:
    ring = [[113.7, 23.0], [113.71, 23.0], [113.71, 23.01], [113.7, 23.0]]
    document = {"type": "FeatureCollection", "features": [
        {"properties": {"id": "T-1", "kind": "tip", "name": "一号"},
         "geometry": {"type": "Polygon", "coordinates": [ring]}},
        {"properties": {"id": "S-1", "kind": "load", "name": "二号", "radius_m": 200},
         "geometry": {"type": "Point", "coordinates": [113.6, 23.0]}},
        {"properties": {"id": "S-2", "kind": "load", "name": "三号", "colour": "red"}, "geometry": None},
        {"properties": {"id": "S-3", "kind": "load", "name": "四号"},
         "geometry": {"type": "Polygon", "coordinates": "x"}},
        "no feature",
    ]}  # fmt: skip
    parsed = parse_table("sites", json.dumps(document).encode(), suffix=".geojson", datum="wgs84")
    assert [row[0] for row in parsed.rows] == ["T-1", "S-1"]
    assert parsed.rows[1][5:8] == (113.6, 23.0, 200.0)
    assert [problem.where for problem in parsed.problems] == ["feature 3", "feature 4", "feature 5"]
    with pytest.raises(ImportFileError, match="have no outlines"):
        parse_table("duties", b"{}", suffix=".geojson")
