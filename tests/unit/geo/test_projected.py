from __future__ import annotations

import numpy as np
import pytest

from geo.projected import TransverseMercator, reference_of_wkt, zone_of_epsg

# lon, lat → easting, northing by PROJ 9.5.1 (EPSG:4490 to the zone).
PROJ = [
    (4526, 113.75, 23.02, 38474373.0869, 2546774.3251),
    (4526, 115.4, 22.5, 38644064.9566, 2489840.9585),
    (4547, 113.75, 23.02, 474373.0869, 2546774.3251),
    (4547, 112.6, 39.9, 380272.2526, 4419364.0461),
    (4508, 113.75, 23.02, 781971.0887, 2549400.0298),
    (4498, 116.39, 39.9, 20447833.6642, 4418603.7939),
    (4513, 75.9, 38.1, 25578942.5345, 4218980.3495),
]
WKT = (
    'PROJCS["{name}",GEOGCS["GCS_China_Geodetic_Coordinate_System_2000",DATUM["D_China_2000",'
    'SPHEROID["CGCS2000",6378137.0,298.257222101]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],'
    'PROJECTION["Gauss_Kruger"],PARAMETER["False_Easting",{easting}],PARAMETER["False_Northing",0.0],'
    'PARAMETER["Central_Meridian",{meridian}],PARAMETER["Scale_Factor",1.0],UNIT["Meter",1.0]]'
)


@pytest.mark.parametrize(("epsg", "lon", "lat", "x", "y"), PROJ)
def test_both_ways_agree_with_proj_to_a_millimetre(epsg: int, lon: float, lat: float, x: float, y: float) -> None:
    zone = zone_of_epsg(epsg)
    assert zone is not None
    assert [float(v[0]) for v in zone.to_metres(np.array([lon]), np.array([lat]))] == pytest.approx(
        [x, y], rel=0, abs=1e-3
    )
    assert [float(v[0]) for v in zone.to_lonlat(np.array([x]), np.array([y]))] == pytest.approx(
        [lon, lat], rel=0, abs=1e-8
    )


def test_the_example_of_epsg_guidance_note_7_2() -> None:
    # British grid: published to the centimetre, by a shorter series.
    grid = TransverseMercator(-2.0, 400_000.0, -100_000.0, 49.0, 0.9996012717, 6377563.396, 299.32496)
    x, y = grid.to_metres(np.array([0.5]), np.array([50.5]))
    assert (x[0], y[0]) == pytest.approx((577274.99, 69740.50), abs=0.01)
    lon, lat = grid.to_lonlat(x, y)
    assert (lon[0], lat[0]) == pytest.approx((0.5, 50.5), abs=1e-9)


def test_there_and_back_over_a_zone_and_its_neighbours() -> None:
    rng = np.random.default_rng(5)
    lon, lat = rng.uniform(109.5, 118.5, 5000), rng.uniform(3.0, 54.0, 5000)
    zone = zone_of_epsg(4547)
    assert zone is not None
    back = zone.to_lonlat(*zone.to_metres(lon, lat))
    assert np.max(np.abs(back[0] - lon)) < 1e-9
    assert np.max(np.abs(back[1] - lat)) < 1e-9


@pytest.mark.parametrize(("epsg", "lon0"), [(4491, 75), (4501, 135), (4502, 75), (4512, 135), (4513, 75),
                                            (4533, 135), (4534, 75), (4554, 135)])  # fmt: skip
def test_zones_by_their_epsg_code(epsg: int, lon0: float) -> None:
    zone = zone_of_epsg(epsg)
    assert zone is not None
    assert zone.lon0 == lon0


@pytest.mark.parametrize("epsg", [4326, 4490, 4555, 32650])
def test_other_codes_are_no_zone(epsg: int) -> None:
    assert zone_of_epsg(epsg) is None


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        (WKT.format(name="CGCS2000_3_Degree_GK_Zone_38", easting="38500000.0", meridian="114.0"), "epsg:4526"),
        (WKT.format(name="CGCS2000_3_Degree_GK_CM_114E", easting="500000.0", meridian="114.0"), "epsg:4547"),
        (WKT.format(name="CGCS2000_GK_Zone_20", easting="20500000.0", meridian="117.0"), "epsg:4498"),
        ('GEOGCS["GCS_China_Geodetic_Coordinate_System_2000",DATUM["D_China_2000"]]', "cgcs2000"),
        ('GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984"]]', "wgs84"),
        ('GEOGCS["GCS_Xian_1980",DATUM["D_Xian_1980"]]', None),
        ('PROJCS["WGS_1984_UTM_Zone_49N",PARAMETER["Central_Meridian",111.0]]', None),
        ("", None),
    ],
)
def test_what_a_prj_file_says(text: str, reference: str | None) -> None:
    assert reference_of_wkt(text) == reference
