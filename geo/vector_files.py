"""Shapefile and GeoPackage as features like GeoJSON's, with the datum the file names.

A shapefile is the ``.shp`` beside its ``.dbf`` and, if possible, ``.prj`` and ``.cpg``.
A GeoPackage is an SQLite file; its first table of polygons is read. Coordinates
stay as they stand. Refuses to guess: a file that names no datum we read has none.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapefile  # type: ignore[import-untyped]
import shapely

from domain.errors import ImportFileError
from geo.projected import reference_of_wkt, zone_of_epsg

SUFFIXES = (".shp", ".gpkg")
_ENVELOPE_BYTES = (0, 32, 48, 48, 64)
_GEODETIC_EPSG = {4326: "wgs84", 4490: "cgcs2000"}

Feature = dict[str, Any]


@dataclass(frozen=True, slots=True)
class VectorFile:
    """Features with ``properties`` and ``geometry``, and the datum they are in (None: not said)."""

    features: list[Feature]
    datum: str | None


def read_vector(path: Path) -> VectorFile:
    """A ``.shp`` or ``.gpkg`` file. Raises: ImportFileError."""
    if not path.exists():
        raise ImportFileError("cannot be read: No such file or directory")
    return _shapefile(path) if path.suffix.lower() == ".shp" else _geopackage(path)


def _shapefile(path: Path) -> VectorFile:
    encoding = _beside(path, ".cpg") or "utf-8"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with shapefile.Reader(str(path), encoding=encoding) as reader:
                features = [
                    {"properties": item.record.as_dict(), "geometry": item.shape.__geo_interface__}
                    for item in reader
                ]
    except (Warning, struct.error, shapefile.ShapefileException, OSError, ValueError, LookupError) as error:
        raise ImportFileError(
            f"not a shapefile we read ({error}); it needs .shp, .dbf and .shx side by side, texts in UTF-8 or as"
            " its .cpg says"
        ) from error
    return VectorFile(features, reference_of_wkt(_beside(path, ".prj")))


def _beside(path: Path, suffix: str) -> str:
    """The text of a file that belongs to a shapefile; empty when there is none."""
    for name in (path.with_suffix(suffix), path.with_suffix(suffix.upper())):
        if name.exists():
            return name.read_text(encoding="utf-8", errors="replace").strip()
    return ""


def _geopackage(path: Path) -> VectorFile:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            file.row_factory = sqlite3.Row
            layer = file.execute(
                "SELECT g.table_name, g.column_name, s.organization, s.organization_coordsys_id"
                " FROM gpkg_geometry_columns g LEFT JOIN gpkg_spatial_ref_sys s ON s.srs_id = g.srs_id"
                " WHERE upper(g.geometry_type_name) IN ('POLYGON', 'MULTIPOLYGON', 'GEOMETRY') ORDER BY 1 LIMIT 1"
            ).fetchone()
            if layer is None:
                raise ImportFileError("the GeoPackage has no table of polygons")
            table, column, organization, number = layer
            quoted = str(table).replace('"', '""')
            rows = file.execute(f'SELECT * FROM "{quoted}"').fetchall()
            features = list(_rows_as_features(rows, str(column)))
    except sqlite3.Error as error:
        raise ImportFileError(f"not a GeoPackage: {error}") from error
    return VectorFile(features, _reference(organization, number))


def _rows_as_features(rows: list[sqlite3.Row], column: str) -> Iterator[Feature]:
    for row in rows:
        properties = {key: row[key] for key in row.keys() if key != column}  # noqa: SIM118
        blob = row[column]
        geometry = None if blob is None else json.loads(shapely.to_geojson(_geometry(blob)))
        yield {"properties": properties, "geometry": geometry}


def _geometry(blob: object) -> Any:
    """GeoPackage binary: "GP", version, flags (bits 1-3 the envelope), srs id, envelope, then WKB."""
    if not isinstance(blob, bytes) or len(blob) < 9 or blob[:2] != b"GP":
        raise ImportFileError("a geometry of the GeoPackage is no GeoPackage binary")
    kind = (blob[3] >> 1) & 7
    if kind >= len(_ENVELOPE_BYTES):
        raise ImportFileError("a geometry of the GeoPackage is no GeoPackage binary")
    try:
        return shapely.from_wkb(blob[8 + _ENVELOPE_BYTES[kind] :])
    except shapely.errors.GEOSException as error:
        raise ImportFileError(f"a geometry of the GeoPackage cannot be read: {error}") from error


def _reference(organization: object, number: object) -> str | None:
    if str(organization).upper() != "EPSG" or not isinstance(number, int):
        return None
    return _GEODETIC_EPSG.get(number) or (f"epsg:{number}" if zone_of_epsg(number) else None)
