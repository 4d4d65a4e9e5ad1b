"""CGCS2000 in metres: Gauss-Kruger zones of three and six degrees, both ways.

Survey offices deliver outlines in these. Ours is Kruger's series in the third
flattening to the sixth order (Karney, "Transverse Mercator with an accuracy of a
few nanometers", J. Geodesy 85, 2011, eqs. 7-9, 35, 36), which is below a millimetre
within a zone and its neighbours. PROJ would do the same, but is a 30 MB native library
for forty lines; ``tests/unit/geo/test_projected.py`` holds values of PROJ and of
EPSG's guidance note.

Zones go by their EPSG codes; x is always the easting and y the northing, as in
Shapefile and GeoJSON, whatever order EPSG gives the axes:

EPSG 4491-4501  6 degrees, zone 13-23 written before the easting (20447833)
EPSG 4502-4512  6 degrees, central meridian 75-135 E, easting without the zone
EPSG 4513-4533  3 degrees, zone 25-45 written before the easting (38474373)
EPSG 4534-4554  3 degrees, central meridian 75-135 E, easting without the zone
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

FALSE_EASTING_M = 500_000.0
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class TransverseMercator:
    """One zone; the ellipsoid is CGCS2000's unless said otherwise. Metres and degrees."""

    lon0: float
    false_easting: float = FALSE_EASTING_M
    false_northing: float = 0.0
    lat0: float = 0.0
    scale: float = 1.0
    axis_m: float = 6378137.0
    inverse_flattening: float = 298.257222101

    def to_lonlat(self, x: Float64, y: Float64) -> tuple[Float64, Float64]:
        """Degrees of eastings and northings, arrays of shape ``(n,)``."""
        n, e = self._n, self._eccentricity
        _, beta = _series(n)
        xi = ((np.asarray(y, np.float64) - self.false_northing) / self.scale + self._arc_to_origin) / self._radius
        eta = (np.asarray(x, np.float64) - self.false_easting) / self.scale / self._radius
        terms = [(2 * (j + 1), b) for j, b in enumerate(beta)]
        xi0 = xi - sum(b * np.sin(k * xi) * np.cosh(k * eta) for k, b in terms)
        eta0 = eta - sum(b * np.cos(k * xi) * np.sinh(k * eta) for k, b in terms)
        conformal = np.sin(xi0) / np.hypot(np.sinh(eta0), np.cos(xi0))
        tan = conformal
        for _ in range(_ROUNDS):
            tan = tan + _newton_step(tan, conformal, e)
        lon = np.degrees(np.arctan2(np.sinh(eta0), np.cos(xi0))) + self.lon0
        return np.asarray(lon), np.degrees(np.arctan(tan))

    def to_metres(self, lon: Float64, lat: Float64) -> tuple[Float64, Float64]:
        """Eastings and northings of degrees, arrays of shape ``(n,)``."""
        xi, eta = self._xi_eta(np.asarray(lon, np.float64) - self.lon0, np.asarray(lat, np.float64))
        x = self.false_easting + self.scale * self._radius * eta
        y = self.false_northing + self.scale * (self._radius * xi - self._arc_to_origin)
        return np.asarray(x), np.asarray(y)

    @property
    def _n(self) -> float:
        flattening = 1.0 / self.inverse_flattening
        return flattening / (2.0 - flattening)

    @property
    def _eccentricity(self) -> float:
        flattening = 1.0 / self.inverse_flattening
        return float(np.sqrt(flattening * (2.0 - flattening)))

    @property
    def _radius(self) -> float:
        n = self._n
        return self.axis_m / (1.0 + n) * (1.0 + n**2 / 4.0 + n**4 / 64.0 + n**6 / 256.0)

    @property
    def _arc_to_origin(self) -> float:
        if self.lat0 == 0.0:
            return 0.0
        xi, _ = self._xi_eta(np.zeros(1), np.array([self.lat0]))
        return float(self._radius * xi[0])

    def _xi_eta(self, dlon: Float64, lat: Float64) -> tuple[Float64, Float64]:
        alpha, _ = _series(self._n)
        e, tan = self._eccentricity, np.tan(np.radians(lat))
        conformal = _conformal(tan, e)
        angle = np.radians(dlon)
        xi0 = np.arctan2(conformal, np.cos(angle))
        eta0 = np.arcsinh(np.sin(angle) / np.hypot(conformal, np.cos(angle)))
        terms = [(2 * (j + 1), a) for j, a in enumerate(alpha)]
        xi = xi0 + sum(a * np.sin(k * xi0) * np.cosh(k * eta0) for k, a in terms)
        eta = eta0 + sum(a * np.cos(k * xi0) * np.sinh(k * eta0) for k, a in terms)
        return np.asarray(xi), np.asarray(eta)


def zone_of_epsg(code: int) -> TransverseMercator | None:
    """The zone of an EPSG code of CGCS2000 / Gauss-Kruger; None for any other code."""
    if 4491 <= code <= 4501:
        zone = code - 4491 + 13
        return TransverseMercator(zone * 6.0 - 3.0, zone * 1e6 + FALSE_EASTING_M)
    if 4502 <= code <= 4512:
        return TransverseMercator(75.0 + 6.0 * (code - 4502))
    if 4513 <= code <= 4533:
        zone = code - 4513 + 25
        return TransverseMercator(zone * 3.0, zone * 1e6 + FALSE_EASTING_M)
    if 4534 <= code <= 4554:
        return TransverseMercator(75.0 + 3.0 * (code - 4534))
    return None


def reference_of_wkt(text: str) -> str | None:
    """What a ``.prj`` file says: ``wgs84``, ``cgcs2000`` or ``epsg:4547``; None when it is nothing we read."""
    flat = re.sub(r"[\s_]+", "", text).upper()
    cgcs = "CHINA2000" in flat or "CGCS2000" in flat or "CHINAGEODETICCOORDINATESYSTEM2000" in flat
    if flat.startswith(("GEOGCS", "GEOGCRS")):
        return "cgcs2000" if cgcs else "wgs84" if "WGS84" in flat or "WGS1984" in flat else None
    meridian, easting = _parameter(flat, "CENTRALMERIDIAN"), _parameter(flat, "FALSEEASTING")
    if not cgcs or meridian is None or easting is None:
        return None
    for code in (*range(4513, 4555), *range(4491, 4513)):
        zone = zone_of_epsg(code)
        if zone is not None and (zone.lon0, zone.false_easting) == (meridian, easting):
            return f"epsg:{code}"
    return None


def _parameter(flat: str, name: str) -> float | None:
    found = re.search(rf'"{name}",([-0-9.]+)', flat)
    return float(found.group(1)) if found else None


def _conformal(tan: Float64, e: float) -> Float64:
    """Tangent of the conformal latitude (Karney, eqs. 7-9)."""
    root = np.hypot(1.0, tan)
    sigma = np.sinh(e * np.arctanh(e * tan / root))
    return np.asarray(tan * np.hypot(1.0, sigma) - sigma * root)


def _newton_step(tan: Float64, conformal: Float64, e: float) -> Float64:
    """Newton's step towards the tangent of the geographic latitude (Karney, eqs. 19-21)."""
    here = _conformal(tan, e)
    slope = (1.0 + (1.0 - e**2) * tan**2) / ((1.0 - e**2) * np.hypot(1.0, here) * np.hypot(1.0, tan))
    return np.asarray((conformal - here) * slope)


def _series(n: float) -> tuple[list[float], list[float]]:
    """Alpha (towards metres) and beta (towards degrees) to the sixth order (Karney, eqs. 35, 36)."""
    alpha = [
        n / 2 - 2 * n**2 / 3 + 5 * n**3 / 16 + 41 * n**4 / 180 - 127 * n**5 / 288 + 7891 * n**6 / 37800,
        13 * n**2 / 48 - 3 * n**3 / 5 + 557 * n**4 / 1440 + 281 * n**5 / 630 - 1983433 * n**6 / 1935360,
        61 * n**3 / 240 - 103 * n**4 / 140 + 15061 * n**5 / 26880 + 167603 * n**6 / 181440,
        49561 * n**4 / 161280 - 179 * n**5 / 168 + 6601661 * n**6 / 7257600,
        34729 * n**5 / 80640 - 3418889 * n**6 / 1995840,
        212378941 * n**6 / 319334400,
    ]
    beta = [
        n / 2 - 2 * n**2 / 3 + 37 * n**3 / 96 - n**4 / 360 - 81 * n**5 / 512 + 96199 * n**6 / 604800,
        n**2 / 48 + n**3 / 15 - 437 * n**4 / 1440 + 46 * n**5 / 105 - 1118711 * n**6 / 3870720,
        17 * n**3 / 480 - 37 * n**4 / 840 - 209 * n**5 / 4480 + 5569 * n**6 / 90720,
        4397 * n**4 / 161280 - 11 * n**5 / 504 - 830251 * n**6 / 7257600,
        4583 * n**5 / 161280 - 108847 * n**6 / 3991680,
        20648693 * n**6 / 638668800,
    ]
    return alpha, beta
