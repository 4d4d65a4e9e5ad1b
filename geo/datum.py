"""Datums of Chinese coordinates, both ways: WGS-84, CGCS2000, GCJ-02 and BD-09.

Inside Gridpulse there is only WGS-84; this is the door. CGCS2000 agrees with
WGS-84 to centimetres and is treated as equal. GCJ-02 moves a point of Dongguan by
about 600 m, which puts one point in eight into another town, so a coordinate whose
datum is unknown is refused and never guessed.

The GCJ-02 formula is the published one (semi-major axis 6378245 m, Krasovsky
1940); outside a box around China it changes nothing. Both obfuscations are smooth
and nearly a shift, so their inverses are found by fixed-point iteration, to far
below 0.1 m.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from domain.errors import PayloadError

Float64 = NDArray[np.float64]
Degrees = TypeVar("Degrees", float, Float64)
"""A float gives floats, an array of shape ``(n,)`` gives arrays of that shape."""

DATUMS = ("wgs84", "cgcs2000", "gcj02", "bd09")

_AXIS_M = 6378245.0
_ECCENTRICITY2 = 0.00669342162296594323
_BD_WAVE = np.pi * 3000.0 / 180.0
_CHINA_LON = (72.004, 137.8347)
_CHINA_LAT = (0.8293, 55.8271)
_ROUNDS = 30
_CLOSE_DEG = 1e-10


def check_datum(datum: str) -> str:
    """The datum itself; ``PayloadError("bad_datum")`` when it is none of ``DATUMS``."""
    if datum not in DATUMS:
        raise PayloadError("bad_datum", f"datum {datum!r} is unknown; write one of {', '.join(DATUMS)}")
    return datum


def to_wgs84(lon: Degrees, lat: Degrees, datum: str) -> tuple[Degrees, Degrees]:
    """WGS-84 longitude and latitude of coordinates given in ``datum``, degrees."""
    check_datum(datum)
    if datum in ("wgs84", "cgcs2000"):
        return lon, lat
    x, y = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    if datum == "bd09":
        x, y = _bd09_to_gcj02(x, y)
    return _as_given(lon, *_gcj02_to_wgs84(x, y))


def from_wgs84(lon: Degrees, lat: Degrees, datum: str) -> tuple[Degrees, Degrees]:
    """Coordinates in ``datum`` of WGS-84 longitude and latitude, degrees."""
    check_datum(datum)
    if datum in ("wgs84", "cgcs2000"):
        return lon, lat
    x, y = _wgs84_to_gcj02(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
    if datum == "bd09":
        x, y = _gcj02_to_bd09(x, y)
    return _as_given(lon, x, y)


def _as_given(given: Degrees, lon: Float64, lat: Float64) -> tuple[Degrees, Degrees]:
    if isinstance(given, np.ndarray):
        return lon, lat
    return float(lon), float(lat)


def _in_china(lon: Float64, lat: Float64) -> NDArray[np.bool_]:
    inside_lon = (lon >= _CHINA_LON[0]) & (lon <= _CHINA_LON[1])
    return np.asarray(inside_lon & (lat >= _CHINA_LAT[0]) & (lat <= _CHINA_LAT[1]))


def _gcj02_shift(lon: Float64, lat: Float64) -> tuple[Float64, Float64]:
    """Degrees by which GCJ-02 lies off WGS-84 at a WGS-84 point; zero outside China."""
    x, y = lon - 105.0, lat - 35.0
    common = (20.0 * np.sin(6.0 * np.pi * x) + 20.0 * np.sin(2.0 * np.pi * x)) * 2.0 / 3.0
    root = np.sqrt(np.abs(x))
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + common
    north += (20.0 * np.sin(np.pi * y) + 40.0 * np.sin(np.pi * y / 3.0)) * 2.0 / 3.0
    north += (160.0 * np.sin(np.pi * y / 12.0) + 320.0 * np.sin(np.pi * y / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + common
    east += (20.0 * np.sin(np.pi * x) + 40.0 * np.sin(np.pi * x / 3.0)) * 2.0 / 3.0
    east += (150.0 * np.sin(np.pi * x / 12.0) + 300.0 * np.sin(np.pi * x / 30.0)) * 2.0 / 3.0
    angle = np.radians(lat)
    magic = 1.0 - _ECCENTRICITY2 * np.sin(angle) ** 2
    meridian_m = _AXIS_M * (1.0 - _ECCENTRICITY2) / magic**1.5
    parallel_m = _AXIS_M / np.sqrt(magic) * np.cos(angle)
    inside = _in_china(lon, lat)
    dlon = np.where(inside, np.degrees(east / parallel_m), 0.0)
    dlat = np.where(inside, np.degrees(north / meridian_m), 0.0)
    return dlon, dlat


def _wgs84_to_gcj02(lon: Float64, lat: Float64) -> tuple[Float64, Float64]:
    dlon, dlat = _gcj02_shift(lon, lat)
    return lon + dlon, lat + dlat


def _gcj02_to_wgs84(lon: Float64, lat: Float64) -> tuple[Float64, Float64]:
    x, y = lon, lat
    for _ in range(_ROUNDS):
        dlon, dlat = _gcj02_shift(x, y)
        step = np.fmax(np.abs(lon - dlon - x), np.abs(lat - dlat - y))
        x, y = lon - dlon, lat - dlat
        if not np.any(step > _CLOSE_DEG):
            break
    return x, y


def _gcj02_to_bd09(lon: Float64, lat: Float64) -> tuple[Float64, Float64]:
    radius = np.hypot(lon, lat) + 0.00002 * np.sin(lat * _BD_WAVE)
    angle = np.arctan2(lat, lon) + 0.000003 * np.cos(lon * _BD_WAVE)
    inside = _in_china(lon, lat)
    x = np.where(inside, radius * np.cos(angle) + 0.0065, lon)
    y = np.where(inside, radius * np.sin(angle) + 0.006, lat)
    return x, y


def _bd09_to_gcj02(lon: Float64, lat: Float64) -> tuple[Float64, Float64]:
    x, y = lon, lat
    for _ in range(_ROUNDS):
        bx, by = _gcj02_to_bd09(x, y)
        step = np.fmax(np.abs(lon - bx), np.abs(lat - by))
        x, y = x + (lon - bx), y + (lat - by)
        if not np.any(step > _CLOSE_DEG):
            break
    return x, y
