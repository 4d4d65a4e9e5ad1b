from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import shapefile  # type: ignore[import-untyped]
import shapely

from domain.errors import ImportFileError
from geo.imports import parse_regions
from geo.projected import zone_of_epsg
from geo.vector_files import read_vector

SQUARE = shapely.box(113.70, 23.00, 113.71, 23.01)
GEODETIC = 'GEOGCS["GCS_China_Geodetic_Coordinate_System_2000",DATUM["D_China_2000"]]'
PROJECTED = (
    'PROJCS["CGCS2000_3_Degree_GK_Zone_38",GEOGCS["GCS_China_Geodetic_Coordinate_System_2000",'
    'DATUM["D_China_2000"]],PARAMETER["False_Easting",38500000.0],PARAMETER["Central_Meridian",114.0]]'
)


def metres() -> list[tuple[float, float]]:
    zone = zone_of_epsg(4526)
    assert zone is not None
    xy = shapely.get_coordinates(SQUARE)
    return list(zip(*(v.tolist() for v in zone.to_metres(xy[:, 0], xy[:, 1])), strict=True))


def write_shapefile(path: Path, ring: list[tuple[float, float]], prj: str | None, encoding: str = "utf-8") -> Path:
    with shapefile.Writer(str(path), encoding=encoding) as writer:
        writer.field("code", "C", 20)
        writer.field("name", "C", 40)
        writer.poly([ring])
        writer.record("441900003", "东城街道")
    if prj is not None:
        path.with_suffix(".prj").write_text(prj, encoding="utf-8")
    if encoding != "utf-8":
        path.with_suffix(".cpg").write_text(encoding, encoding="ascii")
    return path


def write_geopackage(path: Path, srs: int, organization: str = "EPSG", flags: int = 3) -> Path:
    envelope = np.array([113.70, 113.71, 23.00, 23.01]).tobytes() if flags & 14 else b""
    blob = b"GP\0" + bytes([flags]) + srs.to_bytes(4, "little") + envelope + shapely.to_wkb(SQUARE)
    with closing(sqlite3.connect(path)) as file:
        file.executescript(
            "CREATE TABLE gpkg_spatial_ref_sys (srs_id INT, organization TEXT, organization_coordsys_id INT);"
            "CREATE TABLE gpkg_geometry_columns (table_name TEXT, column_name TEXT, geometry_type_name TEXT,"
            " srs_id INT);"
            'CREATE TABLE "my towns" (fid INTEGER PRIMARY KEY, code TEXT, name TEXT, geom BLOB);'
            "INSERT INTO gpkg_geometry_columns VALUES ('my towns', 'geom', 'POLYGON', 1);"
        )
        file.execute("INSERT INTO gpkg_spatial_ref_sys VALUES (1, ?, ?)", [organization, srs])
        file.execute("INSERT INTO 'my towns' VALUES (1, '441900003', '东城街道', ?)", [blob])
        file.execute("INSERT INTO 'my towns' VALUES (2, '441900004', '南城街道', NULL)")
        file.commit()
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_shapefile_in_degrees(tmp_path: Path, encoding: str) -> None:
    ring = [(float(x), float(y)) for x, y in shapely.get_coordinates(SQUARE)][::-1]
    file = read_vector(write_shapefile(tmp_path / "towns.shp", ring, GEODETIC, encoding))
    assert file.datum == "cgcs2000"
    (region,) = parse_regions(file.features, file.datum).rows
    assert (region.code, region.name) == ("441900003", "东城街道")
    assert region.outline.equals(SQUARE)


def test_a_shapefile_in_metres(tmp_path: Path) -> None:
    file = read_vector(write_shapefile(tmp_path / "towns.shp", metres()[::-1], PROJECTED))
    assert file.datum == "epsg:4526"
    (region,) = parse_regions(file.features, file.datum).rows
    assert shapely.hausdorff_distance(region.outline, SQUARE) < 1e-8
    wrong = parse_regions(file.features, "epsg:4547")
    assert "are not metres of epsg:4547" in wrong.problems[0].reason
    assert "no degrees" in parse_regions(file.features, "wgs84").problems[0].reason


def test_a_shapefile_that_names_no_datum_has_none(tmp_path: Path) -> None:
    ring = [(float(x), float(y)) for x, y in shapely.get_coordinates(SQUARE)]
    file = read_vector(write_shapefile(tmp_path / "towns.shp", ring, None))
    assert file.datum is None
    assert "no datum" in parse_regions(file.features, file.datum).problems[0].reason


@pytest.mark.parametrize(("srs", "datum"), [(4326, "wgs84"), (4490, "cgcs2000"), (4526, "epsg:4526"), (3857, None)])
def test_a_geopackage(tmp_path: Path, srs: int, datum: str | None) -> None:
    file = read_vector(write_geopackage(tmp_path / "towns.gpkg", srs))
    assert file.datum == datum
    parsed = parse_regions(file.features, "wgs84")
    assert parsed.rows[0].outline.equals(SQUARE)
    assert [str(problem) for problem in parsed.problems] == [
        "feature 2: geometry must be a Polygon or MultiPolygon"
    ]


def test_a_geopackage_without_envelope_or_with_another_authority(tmp_path: Path) -> None:
    file = read_vector(write_geopackage(tmp_path / "a.gpkg", 4326, organization="NONE", flags=1))
    assert file.datum is None
    assert len(file.features) == 2


@pytest.mark.parametrize("name", ["a.shp", "a.gpkg"])
def test_files_that_are_something_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImportFileError, match="No such file"):
        read_vector(tmp_path / name)
    (tmp_path / name).write_bytes(b"something else, long enough to be read as a header" * 4)
    with pytest.raises(ImportFileError, match="not a"):
        read_vector(tmp_path / name)


def test_a_geopackage_without_polygons(tmp_path: Path) -> None:
    path = write_geopackage(tmp_path / "a.gpkg", 4326)
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE gpkg_geometry_columns SET geometry_type_name = 'POINT'")
        file.commit()
    with pytest.raises(ImportFileError, match="no table of polygons"):
        read_vector(path)
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE gpkg_geometry_columns SET geometry_type_name = 'POLYGON'")
        file.execute("UPDATE 'my towns' SET geom = 'x'")
        file.commit()
    with pytest.raises(ImportFileError, match="no GeoPackage binary"):
        read_vector(path)
