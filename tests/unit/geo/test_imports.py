from __future__ import annotations

import json

import pytest

from db.devices import DeviceRow
from domain.errors import ImportFileError
from geo.datum import from_wgs84
from geo.imports import (
    Problem,
    parse_addresses,
    parse_cameras,
    parse_cells,
    parse_devices,
    parse_regions,
)

HEADER = "id,kind,name,lon,lat,datum,address_id,building_class,mount,period_s\n"
GOOD = "VB-1,vibration,一号楼,113.75,23.02,wgs84,4419000030010100001000000,sensitive,top_floor,1.5\n"
SQUARE = [[[113.70, 23.00], [113.71, 23.00], [113.71, 23.01], [113.70, 23.01], [113.70, 23.00]]]


def feature(code: object = "441900003", name: object = "东城街道", **more: object) -> dict[str, object]:
    geometry = more.pop("geometry", {"type": "Polygon", "coordinates": SQUARE})
    return {"type": "Feature", "properties": {"code": code, "name": name, **more}, "geometry": geometry}


def collection(*features: object) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def test_a_device() -> None:
    assert parse_devices((HEADER + GOOD).encode()).rows == [
        DeviceRow(
            id="VB-1",
            kind="vibration",
            name="一号楼",
            lon=113.75,
            lat=23.02,
            datum_given="wgs84",
            address_id="4419000030010100001000000",
            building="4419000030010100001",
            building_class="sensitive",
            mount="top_floor",
            period_s=1.5,
        )
    ]


def test_left_out_columns_and_empty_fields_take_the_defaults() -> None:
    parsed = parse_devices("id,kind,mount\nTL-1,tilt,\n".encode("utf-8-sig"))
    assert parsed.rows == [DeviceRow(id="TL-1", kind="tilt")]


def test_coordinates_come_out_in_wgs84_and_the_row_beats_the_option() -> None:
    lon, lat = from_wgs84(113.75, 23.02, "gcj02")
    text = f"id,kind,lon,lat,datum\nA,tilt,{lon:.8f},{lat:.8f},\nB,tilt,113.75,23.02,cgcs2000\n"
    a, b = parse_devices(text.encode(), "gcj02").rows
    assert (a.lon, a.lat) == pytest.approx((113.75, 23.02), abs=1e-6)
    assert (a.datum_given, b.datum_given) == ("gcj02", "cgcs2000")
    assert (b.lon, b.lat) == (113.75, 23.02)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("VB/1,vibration,,,,,,,,", "id 'VB/1' must be 1 to 64 of"),
        (",vibration,,,,,,,,", "id '' must be"),
        ("A,Vib ration,,,,,,,,", "kind 'Vib ration' must be a word"),
        ("A,tilt,,113.7,,wgs84,,,,", "only one of lon and lat"),
        ("A,tilt,,113.7,23.0,,,,,", "lon and lat without a datum"),
        ("A,tilt,,113.7,23.0,mars,,,,", "datum 'mars' is unknown; write one of wgs84"),
        ("A,tilt,,23.0,113.7,wgs84,,,,", "look swapped"),
        ("A,tilt,,1137,23.0,wgs84,,,,", "are no degrees"),
        ("A,tilt,,nan,23.0,wgs84,,,,", "lon 'nan' is not finite"),
        ("A,tilt,,1e999,23.0,wgs84,,,,", "is not finite"),
        ("A,tilt,,east,23.0,wgs84,,,,", "lon 'east' is no number"),
        ("A,tilt,,,,,441900,,,", "has 6 digits; it needs 25"),
        ("A,tilt,,,,,,castle,,", "building_class 'castle' must be one of commercial, residential, sensitive"),
        ("A,tilt,,,,,,,roof,", "mount 'roof' must be one of foundation, top_floor"),
        ("A,tilt,,,,,,,,0", "period_s 0 must be from"),
        ("A,tilt", "2 fields, the first line has 10"),
        ("A,tilt,,,,,,,,,,,", "13 fields, the first line has 10"),
        ("VB-1,vibration,,,,,,,,", "VB-1 is already on line 2"),
    ],
)
def test_a_bad_row_is_named_and_the_others_go_in(line: str, reason: str) -> None:
    parsed = parse_devices((HEADER + GOOD + line + "\nZ,tilt,,,,,,,,\n").encode())
    assert [row.id for row in parsed.rows] == ["VB-1", "Z"]
    (problem,) = parsed.problems
    assert problem.where == "line 3"
    assert reason in problem.reason


def test_line_numbers_count_lines_of_the_file_not_records() -> None:
    text = 'id,kind,name\n"A",tilt,"two\nlines"\n\nB!,tilt,\n'
    assert parse_devices(text.encode()).problems == [
        Problem("line 5", "id 'B!' must be 1 to 64 of A-Z a-z 0-9 . _ -")
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "lacks the column 'id'"),
        (b"id,name\nA,b\n", "lacks the column 'kind'"),
        (b"id,kind,colour\n", "unknown column 'colour'"),
        ("id,kind,name\nA,tilt,中文\n".encode("gb18030"), "line 2: not UTF-8"),
        (b'id,kind,name\nA,tilt,"open\n', "not CSV"),
        (b"id,kind,name\nA,tilt,\0\n", "line 2: a zero byte"),
    ],
)
def test_a_file_that_cannot_be_read(content: bytes, reason: str) -> None:
    with pytest.raises(ImportFileError, match=reason):
        parse_devices(content)


def test_cameras() -> None:
    text = "id,bearing_deg,fov_deg,gb28181_id\nCM-1,90,70,44190000081320000001\nCM-2,400,,\nCM-3,,,4419\n"
    parsed = parse_cameras(text.encode())
    assert parsed.rows == [
        DeviceRow(id="CM-1", kind="camera", camera=(90.0, 70.0, None, None, "44190000081320000001"))
    ]
    assert [problem.reason for problem in parsed.problems] == [
        "bearing_deg 400 must be from 0 to 360",
        "a GB/T 28181 device code '4419' has 4 digits; it needs 20",
    ]


def test_addresses() -> None:
    text = (
        "id,text,road,number,lon,lat,datum\n"
        "4419000030010100001000000,岗贝社区新兴路1号,新兴路,1号,113.75,23.02,wgs84\n"
        "4419000030010100002000000,,,,113.75,23.02,wgs84\n"
        "4419000030010100003000000,岗贝社区,,,,,\n"
        "441900003001,岗贝社区,,,113.75,23.02,wgs84\n"
    )
    parsed = parse_addresses(text.encode())
    (row,) = parsed.rows
    assert (row.grid, row.road, row.lon) == ("441900003001001", "新兴路", 113.75)
    assert [str(problem) for problem in parsed.problems] == [
        "line 3: text is empty",
        "line 4: lon and lat are empty; an address needs both",
        "line 5: an address code '441900003001' has 12 digits; it needs 25",
    ]


def test_regions_know_their_level_from_the_code() -> None:
    village = feature(441900003001, "岗贝社区", name_en="Gangbei")
    parsed = parse_regions(collection(feature(), village, feature("441900004000", "南城")), "wgs84")
    assert [(r.code, r.level, r.kind) for r in parsed.rows] == [
        ("441900003", "town", "街道"),
        ("441900003001", "village", "居委会"),
        ("441900004", "town", "街道"),
    ]
    assert parsed.rows[1].name_en == "Gangbei"


def test_outlines_come_out_in_wgs84() -> None:
    (region,) = parse_regions(collection(feature(datum="gcj02")), "wgs84").rows
    west = region.outline.bounds[0]
    assert west == pytest.approx(113.70 - 0.0051, abs=0.0003)


BOW_TIE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (feature(code=None), "property code is missing"),
        (feature(code=["441900003"]), "property code must be a text"),
        (feature(code="441901003"), "no districts"),
        (feature(name=""), "property name is missing"),
        (feature(name="a\0"), "property name has a character"),
        (feature(name="\ud800"), "property name has a character"),
        (feature(geometry=None), "must be a Polygon"),
        (feature(geometry={"type": "Point", "coordinates": [113.7, 23.0]}), "must be a Polygon"),
        (feature(geometry={"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}), "geometry cannot be read"),
        (feature(geometry={"type": "Polygon", "coordinates": "x"}), "geometry cannot be read"),
        (feature(geometry={"type": "Polygon", "coordinates": []}), "geometry is empty"),
        (feature(geometry=BOW_TIE), "outline is not valid: Self-intersection"),
        (feature(datum="mars"), "datum 'mars' is unknown"),
        ({"type": "Feature"}, "not a feature with properties"),
        (7, "not a feature with properties"),
        (feature("441900009"), "is already on feature 1"),
    ],
)
def test_a_bad_feature_is_named_and_the_others_go_in(bad: object, reason: str) -> None:
    parsed = parse_regions(collection(feature("441900009"), bad, feature("441900004")), "wgs84")
    assert [region.code for region in parsed.rows] == ["441900009", "441900004"]
    (problem,) = parsed.problems
    assert problem.where == "feature 2"
    assert reason in problem.reason


def test_an_outline_without_a_datum_is_bad() -> None:
    (problem,) = parse_cells(collection(feature("441900003001001"))).problems
    assert "no datum" in problem.reason


def test_cells() -> None:
    parsed = parse_cells(collection(feature("441900003001001"), feature("441900003001")), "cgcs2000")
    assert [cell.code for cell in parsed.rows] == ["441900003001001"]
    assert "needs 15" in parsed.problems[0].reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "line 1: not GeoJSON"),
        (b"[]", "expected an object of type FeatureCollection"),
        (b'{"features": {}}', "expected an object of type FeatureCollection"),
        (b'{"features": [NaN]}', "NaN is no JSON number"),
        (b"[" * 100_000, "not GeoJSON"),
    ],
)
def test_a_document_that_is_no_geojson(content: bytes, reason: str) -> None:
    with pytest.raises(ImportFileError, match=reason):
        parse_regions(content, "wgs84")


def test_building_floor_and_calibration_of_a_device() -> None:
    head = "id,kind,address_id,building,floor,calibration\n"
    good = 'A,tilt,,4419000030010100001,-1,"{""x"": {""scale"": 2}}"\n'
    device = parse_devices((head + good).encode()).rows[0]
    assert (device.building, device.floor) == ("4419000030010100001", -1)
    assert device.calibration == {"x": {"scale": 2.0, "offset": 0.0, "unit": "", "date": None}}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("A,tilt,,441900,,", "first 19 digits"),
        ("A,tilt,4419000030010100001000000,4419000030010100002,,", "not the one of address"),
        ("A,tilt,,,1.5,", "whole number"),
        ("A,tilt,,,999,", "floor"),
        ("A,tilt,,,,scale=2", "not JSON"),
        ('A,tilt,,,,"{""x"": {""scale"": 0}}"', "scale of 0"),
    ],
)
def test_details_that_cannot_be_are_told_with_their_line(row: str, reason: str) -> None:
    parsed = parse_devices(f"id,kind,address_id,building,floor,calibration\n{row}\n".encode())
    assert parsed.rows == []
    assert parsed.problems[0].where == "line 2"
    assert reason in parsed.problems[0].reason
