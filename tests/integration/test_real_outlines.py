"""The two real outline files of Dongguan's towns: their faults, their datum, and points in them.

Known faults, found by ``check_division`` and by eye: the WGS-84 file lacks Songshan Lake's
neighbours' ground in four places (22 km2 between towns, the inner hole of Machong), draws two
pairs of towns over each other and leaves three crumbs; the BD-09 file does not close
25 of its rings, has one ring of two points, and draws each border twice.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from db.pool import Pool
from geo.addresses import AddressColumns
from geo.datum import from_wgs84, to_wgs84
from geo.datum_proof import Claim, Towns, prove_outlines, prove_points
from geo.grids import Region
from geo.imports import parse_regions
from geo.locate import OUTLINE_WITHIN_M, Locator
from geo.validate import check_division
from server.commands.imports import Options, import_file

DATA = Path(__file__).parents[2] / "../shared/data/dongguan"
WGS84, BD09 = DATA / "towns33_wgs84.geojson", DATA / "towns32_bd09.geojson"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data/dongguan")


def codes() -> dict[str, str]:
    with (DATA / "towns.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    return {row[key]: row["code9"] for key in ("name", "poly_name") for row in rows if row[key]}


def with_codes(path: Path) -> bytes:
    """The file with each town's code, which it lacks."""
    document = json.loads(path.read_text(encoding="utf-8"))
    known = codes()
    for feature in document["features"]:
        feature["properties"]["code"] = known[feature["properties"]["name"]]
    return json.dumps(document, ensure_ascii=False).encode()


def towns(path: Path = WGS84, datum: str = "wgs84") -> list[Region]:
    return parse_regions(with_codes(path), datum, mend=True).rows


def test_the_known_faults_of_the_wgs84_file() -> None:
    parsed = parse_regions(with_codes(WGS84), "wgs84")
    assert (len(parsed.rows), parsed.problems) == (33, [])
    given = parsed.rows
    _, _, faults = check_division(given)
    assert Counter(fault.kind for fault in faults) == {
        "fragment": 3, "overlap": 4, "sliver": 2, "gap": 5, "hole": 1,
    }  # fmt: skip
    (hole,) = [fault for fault in faults if fault.kind == "hole"]
    assert hole.code == codes()["麻涌镇"]
    assert hole.area_m2 == pytest.approx(4.467e6, rel=0.01)
    overlapping = {(fault.code, fault.other) for fault in faults if fault.kind == "overlap"}
    assert overlapping == {
        (codes()["石碣镇"], codes()["石龙镇"]),
        (codes()["东城街道"], codes()["莞城街道"]),
    }
    assert sum(fault.area_m2 for fault in faults if fault.kind == "gap") == pytest.approx(24.3e6, rel=0.01)


def test_what_is_safe_is_repaired_and_the_rest_stays() -> None:
    given = towns()
    repaired, _, faults = check_division(given, repair=True)
    assert {fault.kind for fault in faults if fault.repaired} == {"fragment"}  # the slivers were crumbs too
    _, _, left = check_division(repaired)
    assert {fault.kind for fault in left} == {"overlap", "gap", "hole"}
    moved = sum(
        shapely.symmetric_difference(before.outline, after.outline).area
        for before, after in zip(given, repaired, strict=True)
    )
    assert moved < 1e-6 * sum(region.outline.area for region in given) * 10


def test_the_known_faults_of_the_bd09_file() -> None:
    strict = parse_regions(with_codes(BD09), "bd09")
    assert (len(strict.rows), len(strict.problems)) == (7, 25)
    assert all("do not form a closed" in problem.reason for problem in strict.problems)
    mended = towns(BD09, "bd09")
    assert len(mended) == 32
    repaired, _, faults = check_division(mended, repair=True)
    found = Counter(fault.kind for fault in faults)
    assert found["sliver"] > 500
    assert found["overlap"] > 50
    assert found["gap"] > 50
    _, _, left = check_division(repaired)
    assert len(left) < 0.5 * len(faults)


@pytest.mark.parametrize("declared", ["wgs84", "gcj02"])
def test_the_bd09_file_is_recognised(declared: str) -> None:
    known = {region.code: region.outline for region in towns()}
    wrong = prove_outlines(towns(BD09, declared), known, declared)
    assert wrong is not None
    assert (wrong.best, wrong.verdict) == ("bd09", "refuse")
    right = prove_outlines(towns(BD09, "bd09"), known, "bd09")
    assert right is not None
    assert (right.best, right.verdict, right.count) == ("bd09", "fits", 32)


def brute_force(regions: list[Region], lon: np.ndarray[Any, Any], lat: np.ndarray[Any, Any]) -> list[list[str]]:
    """All towns of each point, polygon by polygon, without a tree; borders belong to both."""
    found: list[list[str]] = [[] for _ in lon]
    points = shapely.points(lon, lat)
    for region in sorted(regions, key=lambda region: region.code):
        for i in np.flatnonzero(shapely.covers(region.outline, points)).tolist():
            found[i].append(region.code)
    return found


def metres_to(regions: list[Region], lon: float, lat: float) -> dict[str, float]:
    """Metres from a point to each outline, on a plane of the point's own."""
    east, north = 111_320.0 * np.cos(np.radians(lat)), 110_740.0
    here = shapely.Point(0, 0)
    return {
        region.code: shapely.distance(
            here, shapely.transform(region.outline, lambda xy: (xy - (lon, lat)) * (east, north))
        )
        for region in regions
    }


@pytest.mark.parametrize(("path", "datum"), [(WGS84, "wgs84"), (BD09, "bd09")])
def test_ten_thousand_points_agree_with_shapely(path: Path, datum: str) -> None:
    regions = towns(path, datum)
    if datum == "bd09":
        regions = check_division(regions, repair=True)[0]
    west, south, east, north = shapely.total_bounds([region.outline for region in regions])
    rng = np.random.default_rng(10_000)
    lon, lat = rng.uniform(west, east, 10_000), rng.uniform(south, north, 10_000)
    none = np.empty(0)
    locator = Locator.build(regions, [], AddressColumns((), (), (), (), (), none, none), "real")
    places = locator.points(lon, lat)
    several = lent = 0
    for place, all_of, x, y in zip(places, brute_force(regions, lon, lat), lon.tolist(), lat.tolist(), strict=True):
        if all_of:
            assert place.town == all_of[0]
            assert place.score == 0.2
            several += len(all_of) > 1
            continue
        near = metres_to(regions, x, y) if place.known else {}
        if place.known:
            assert near[str(place.town)] == min(near.values()) <= OUTLINE_WITHIN_M * 1.01
            assert place.score == 0.1
            lent += 1
        else:
            assert place.method == "none"
    nowhere = [i for i, place in enumerate(places) if not place.known]
    union = shapely.union_all([region.outline for region in regions])
    far = shapely.distance(union, shapely.points(lon[nowhere], lat[nowhere])) * 102_000
    assert far.min() > OUTLINE_WITHIN_M * 0.9  # a degree of latitude is 8 % longer
    assert several > 0
    assert lent > 0
    assert len(nowhere) > 1000


def test_real_hospitals_prove_their_datum() -> None:
    with (DATA / "addresses_with_truth.csv").open(encoding="utf-8-sig") as file:
        rows = [row for row in csv.DictReader(file) if row["datum_src"].startswith("BD-09")]
    claims = [
        Claim(row["name"], row["town_truth"], float(row["lon_src"]), float(row["lat_src"]), "wgs84")
        for row in rows
    ]
    (proof,) = prove_points("devices", claims, Towns(towns()))
    assert (proof.count, proof.best, proof.hits["bd09"]) == (5, "bd09", 5)
    assert proof.hits["wgs84"] < 5
    assert str(proof).startswith("5 of 5 devices lie in their declared town under bd09, ")


def device_file(datum: str) -> str:
    """200 devices with their town's name, at random points in it, in a datum the file does not say."""
    rng = np.random.default_rng(200)
    regions = towns()
    lines = ["id,kind,lon,lat,town"]
    while len(lines) <= 200:
        region = regions[rng.integers(len(regions))]
        west, south, east, north = region.outline.bounds
        lon, lat = float(rng.uniform(west, east)), float(rng.uniform(south, north))
        if [one.code for one in regions if shapely.covers(one.outline, shapely.Point(lon, lat))] == [region.code]:
            x, y = from_wgs84(lon, lat, datum)
            lines.append(f"D-{len(lines)},smoke,{x:.6f},{y:.6f},{region.name}")
    return "\n".join(lines)


@pytest.mark.stack
async def test_import_catches_files_in_the_wrong_datum(pool: Pool, tmp_path: Path) -> None:
    regions, devices, outlines = (tmp_path / name for name in ("towns.geojson", "devices.csv", "bd.geojson"))
    regions.write_bytes(with_codes(WGS84))
    outlines.write_bytes(with_codes(BD09))
    devices.write_text(device_file("bd09"), encoding="utf-8")
    async with pool.connection() as conn:
        await import_file(conn, "regions", regions, Options(datum="wgs84"))
        wrong = await import_file(conn, "devices", devices, Options(datum="wgs84"))
        count = await (await conn.execute("SELECT count(*) FROM device")).fetchone()
        right = await import_file(conn, "devices", devices, Options(datum="bd09", dry_run=True))
        forced = await import_file(conn, "devices", devices, Options(datum="wgs84", force=True))
        moved = await import_file(conn, "regions", outlines, Options(datum="wgs84", repair=True))
        fits = await import_file(conn, "regions", outlines, Options(datum="bd09", repair=True, dry_run=True))
    assert (wrong.exit_code, count) == (1, (0,))
    assert wrong.refused.startswith("200 of 200 devices lie in their declared town under bd09, ")
    assert "as declared (wgs84); import it with --datum bd09, or with --force" in wrong.refused
    assert right.notes == ["note: 200 of 200 devices lie in their declared town as declared (bd09)"]
    assert forced.written
    assert any(note.startswith("warning: 200 of 200 devices") for note in forced.notes)
    assert moved.exit_code == 1
    assert "under bd09" in moved.refused
    assert fits.exit_code == 0


def test_gcj02_read_as_wgs84_moves_one_point_in_eight() -> None:
    """The trap that makes all this worth while, on the real outlines."""
    regions = towns()
    none = np.empty(0)
    locator = Locator.build(regions, [], AddressColumns((), (), (), (), (), none, none), "real")
    rng = np.random.default_rng(8)
    lon, lat = rng.uniform(113.52, 114.26, 8000), rng.uniform(22.65, 23.14, 8000)
    right = [place.town for place in locator.points(*to_wgs84(lon, lat, "gcj02"))]
    wrong = [place.town for place in locator.points(lon, lat)]
    inside = [(a, b) for a, b in zip(right, wrong, strict=True) if a is not None]
    share = sum(a != b for a, b in inside) / len(inside)
    assert 0.08 < share < 0.2
