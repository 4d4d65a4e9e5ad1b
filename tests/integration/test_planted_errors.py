"""A device file with 50 planted errors: every one is listed with its line and reason, the rest goes in."""

from __future__ import annotations

from pathlib import Path

import pytest

from db.pool import Pool
from server.commands.imports import Options, import_file

pytestmark = pytest.mark.stack

HEADER = "id,kind,name,lon,lat,datum,address_id,building_class,mount,period_s,town"
ADDRESS = "4419000030010100001000000"

# Field by field what is wrong, and a word of the reason.
PLANTED: list[tuple[dict[str, str], str]] = [
    *[({"id": bad}, "must be 1 to 64 of") for bad in ("", "A B", "A/1", "甲", "A+", "x" * 65, "A#1", "A\t1")],
    *[({"kind": bad}, "must be a word of") for bad in ("", "Smoke", "烟感", "1st", "a-b", "x" * 33)],
    *[({"lon": bad}, "is no number") for bad in ("east", "113,7", "113.7E", "--1")],
    *[({"lon": bad}, "not finite") for bad in ("nan", "inf", "1e999")],
    *[({"lat": bad}, "is no number") for bad in ("north", "23°", "2 3")],
    ({"lon": ""}, "only one of lon and lat"),
    ({"lat": ""}, "only one of lon and lat"),
    ({"lon": "23.01", "lat": "113.70"}, "look swapped"),
    ({"lon": "213.7"}, "no degrees"),
    ({"lon": "38474373", "lat": "2546774"}, "no degrees"),
    ({"datum": ""}, "without a datum"),
    *[({"datum": bad}, "is unknown") for bad in ("WGS84", "beijing54", "gcj-02", "百度")],
    *[({"datum": bad}, "no Gauss-Kruger zone") for bad in ("epsg:4326", "epsg:x", "epsg:")],
    ({"datum": "epsg:4547"}, "are not metres of"),
    *[({"address_id": bad}, "address") for bad in ("4419", "x" * 25, ADDRESS[:12] + "0000001000000", "9" * 25)],
    *[({"building_class": bad}, "must be one of") for bad in ("house", "住宅")],
    ({"mount": "roof"}, "must be one of"),
    *[({"period_s": bad}, "must be from") for bad in ("0", "-5", "1e12")],
    ({"period_s": "often"}, "is no number"),
    *[({"town": bad}, "") for bad in ("4419", "441901003")],
    ({"id": "GOOD-1"}, "is already on line 2"),
]


def line(number: int, changed: dict[str, str]) -> str:
    fields = {
        "id": f"BAD-{number}", "kind": "smoke", "name": "一号", "lon": "113.70", "lat": "23.01", "datum": "wgs84",
        "address_id": ADDRESS, "building_class": "residential", "mount": "foundation", "period_s": "60", "town": "",
    }  # fmt: skip
    return ",".join(f'"{value}"' for value in {**fields, **changed}.values())


async def test_fifty_planted_errors_are_listed_and_the_rest_goes_in(pool: Pool, tmp_path: Path) -> None:
    planted = [*PLANTED[:48], PLANTED[-1]]
    lines = [HEADER]
    expected: list[tuple[int, str]] = []
    for number, (changed, reason) in enumerate(planted, 1):
        lines.append(line(number, {"id": f"GOOD-{number}"}))
        lines.append(line(number, changed))
        expected.append((len(lines), reason))
    lines.append("one,field,too,few")
    expected.append((len(lines), "fields, the first line has 11"))
    path = tmp_path / "devices.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    async with pool.connection() as conn:
        dry = await import_file(conn, "devices", path, Options(dry_run=True))
        nothing = await (await conn.execute("SELECT count(*) FROM device")).fetchone()
        wet = await import_file(conn, "devices", path)
        written = await (await conn.execute("SELECT count(*), min(id) LIKE 'GOOD-%' FROM device")).fetchone()
    assert dry.summary() == "devices: 49 new, 0 changed, 0 the same, 50 bad; dry run, nothing written"
    assert (nothing, written) == ((0,), (49, True))
    assert wet.problems == dry.problems
    assert [problem.where for problem in dry.problems] == [f"line {number}" for number, _ in expected]
    for problem, (_, reason) in zip(dry.problems, expected, strict=True):
        assert reason in problem.reason, problem


async def test_key_places_go_in_and_bad_rows_are_listed(pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "places.csv"
    path.write_text(
        "id,kind,name,lon,lat,datum\nKP-900,school,示例学校,113.75,23.02,wgs84\nKP-901,school,无坐标,,,wgs84\n"
    )
    async with pool.connection() as conn:
        report = await import_file(conn, "places", path)
        row = await (await conn.execute("SELECT id, kind, name FROM key_place")).fetchone()
    assert row == ("KP-900", "school", "示例学校")
    assert [problem.where for problem in report.problems] == ["line 3"]
