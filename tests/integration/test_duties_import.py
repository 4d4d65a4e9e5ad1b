"""Duty tables from files into the real database: batches, dry run, rota, permits, and what /route says then."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from alerting.dispatch.defaults import DEFAULT_DUTIES
from alerting.dispatch.table_import import parse_table
from alerting.service import AlertService
from alerting.store import PostgresAlertStore
from db.pool import Pool
from domain.clock import to_us
from domain.devices import Device
from domain.errors import ImportFileError, NotFound
from server.commands.duties import read_batch, write_duties
from server.commands.import_duties import TableReport, import_rows
from server.commands.imports import import_command
from tests.unit.alerting.blocks import METRICS, T0, TEMPERATURE, S, block, default_rules, readings
from tests.unit.alerting.store_contract import PLACE

pytestmark = pytest.mark.stack

NOW = T0 + 60 * S
DUTIES = """# batch: trial
# starts: 2020-01-01
# replaces: default
kind,severity,level,department,role,name,why
fire.*,4,town,new-fire,lead,{place}新消防,试点
fire.*,4,village,,co,{place}工作站,属地
"""


async def service_on(pool: Pool) -> AlertService:
    ticks = iter(range(NOW, NOW + 10**9, 1000))
    service = AlertService(
        PostgresAlertStore(pool), default_rules(), device=lambda key: Device(key, f"T-{key}", "smoke"),
        metric_names=lambda: METRICS, place=lambda asked: [PLACE for _ in asked], now_us=lambda: next(ticks),
    )  # fmt: skip
    await service.start()
    return service


async def put(url: str, folder: Path, what: str, text: str, **given: Any) -> TableReport:
    options = {"dry_run": False, "strict": False, "now_us": NOW, "suffix": "csv", **given}
    path = folder / f"{what}.{options.pop('suffix')}"
    path.write_text(text, encoding="utf-8")
    return await import_rows(url, what, path, **options)


async def count(pool: Pool, table: str) -> int:
    async with pool.connection() as conn:
        row = await (await conn.execute(f"SELECT count(*) FROM {table}".encode())).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_dry_run_says_which_alerts_would_have_gone_elsewhere(
    pool: Pool, database_url: str, tmp_path: Path
) -> None:
    service = await service_on(pool)
    await service.handle(block(readings([(d, TEMPERATURE, T0, 80.0) for d in (1, 2, 3)]), committed_us=T0))
    before = await count(pool, "duty")
    report = await put(database_url, tmp_path, "duties", DUTIES, dry_run=True)
    assert (len(report.moved), report.asked, report.written) == (3, 3, False)
    lines = report.lines()
    assert lines[0] == "3 alerts of the last 7 days would have gone elsewhere (of 3)"
    assert "新消防" in lines[1]
    assert "dry run, nothing written" in lines[-1]
    assert await count(pool, "duty") == before
    old = await put(database_url, tmp_path, "duties", DUTIES, dry_run=True, now_us=NOW + 8 * 86_400 * S)
    assert old.asked == 0, "eight days later the same alerts are no longer asked"


async def test_a_batch_holds_from_its_start_and_again_is_the_same(
    pool: Pool, database_url: str, tmp_path: Path
) -> None:
    service = await service_on(pool)
    assert service.route("fire.smoke", 3, PLACE).duties[0].unit.endswith(":fire")
    for _ in range(2):
        assert (await put(database_url, tmp_path, "duties", DUTIES)).written
    await service.load_duties()
    now = service.route("fire.smoke", 3, PLACE)
    assert [d.unit.split(":")[0] + ":" + d.unit.split(":")[-1] for d in now.duties] == [
        "town:new-fire", f"village:{PLACE.village}",
    ]  # fmt: skip
    assert any(step.why == "batch trial took its place" for step in now.steps)
    then = service.route("fire.smoke", 3, PLACE, at_us=to_us(datetime.fromisoformat("2019-06-01T00:00Z")))
    assert then.duties[0].unit.endswith(":fire")
    async with pool.connection() as conn:
        row = await (await conn.execute("SELECT count(*) FROM duty WHERE batch = 'trial'")).fetchone()
    assert row == (2,)


async def test_bad_rows_are_listed_with_their_line_and_good_ones_go_in(
    pool: Pool, database_url: str, tmp_path: Path
) -> None:
    text = DUTIES + "fire.*,9,town,x,boss,n,w\nfire.*,1,town,fine,co,{place}F,w\n"
    report = await put(database_url, tmp_path, "duties", text)
    assert [str(p).split(":")[0] for p in report.table.problems] == ["line 7"]
    assert "severity" in str(report.table.problems[0])
    assert "boss" in str(report.table.problems[0])
    assert report.table.count == 3
    strict = await put(database_url, tmp_path, "duties", text, strict=True)
    assert strict.refused == "1 bad rows and --strict"
    with pytest.raises(ImportFileError, match="batch"):
        await put(database_url, tmp_path, "duties", "kind,level,role,name\n")
    with pytest.raises(ImportFileError, match="cannot be read"):
        await import_rows(database_url, "duties", tmp_path / "none", dry_run=True, strict=False, now_us=NOW)


async def test_rota_owners_maintainers_and_permits_answer(pool: Pool, database_url: str, tmp_path: Path) -> None:
    service = await service_on(pool)
    unit = f"town:{PLACE.town}:housing"
    files = {
        "units": f"id,name,desk,contact\n{unit},住建局,住建值班室,110\n",
        "rota": f"unit,person,contact,days,hours\n{unit},李,1,1-7,08:00-20:00\n",
        "permits": "id,name,unit,lon,lat,datum,radius_m,from,to\n"
                   "P-1,地铁工地,site:P-1,113.75,23.0,wgs84,50,2020-01-01,2099-01-01\n",
        "maintainers": "unit,name,kind\nkeeper:1,养护一队,smoke\n",
        "holidays": "day,kind,name\n2026-10-01,holiday,国庆节\n",
        "matters": "code,name,class\ngb47678-2026:08011,渣土运输车辆未安装密闭装置,施工管理类\n",
        "owners": f"building,unit,name\n{'4' * 19},owner:1,业主\n",
    }  # fmt: skip
    for what, text in files.items():
        for _ in range(2):
            report = await put(database_url, tmp_path, what, text)
            assert report.written, report.lines()
            assert not report.table.problems
    assert await count(pool, "rota") == 1
    await service.load_duties()
    day = to_us(datetime.fromisoformat("2026-11-23T10:00+08:00"))
    routing = service.route("vibration.limit", 3, PLACE, at_us=day, lon=113.7505, lat=23.0)
    told = {d.unit: d for d in routing.duties}
    assert told["site:P-1"].role == "co"
    assert told[unit].role == "lead"
    assert told[f"town:{PLACE.town}:urban-management"].why.endswith("(P-1)")
    assert [p.name for p in service.on_duty(unit, day).people] == ["李"]
    night = service.on_duty(unit, day + 12 * 3600 * S)
    assert (night.desk, [p.name for p in night.people]) == (True, ["住建值班室"])
    assert service.route("device.offline", 4, PLACE).duties[0].unit == "city:441900:maintainer"


async def test_the_stamp_moves_with_every_table(pool: Pool) -> None:
    store = PostgresAlertStore(pool)
    await store.load_duties()
    before = await store.duty_stamp()
    assert await store.duty_stamp() == before
    async with pool.connection() as conn:
        await conn.execute("UPDATE duty SET why = why || '.' WHERE kind = 'gas.*'")
    assert await store.duty_stamp() != before


def test_the_command_lists_fifty_planted_errors_and_takes_the_rest(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = ("fire.*,9,town,a,lead,n,w", "Fire,3,town,a,lead,n,w", "fire.*,3,street,a,lead,n,w",
              "fire.*,3,town,a,boss,n,w", "fire.*,3,town,a,lead,,w")  # fmt: skip
    lines = DUTIES.splitlines()
    for n in range(50):
        lines += [faults[n % 5], f"fire.*,3,town,dep-{n},co,{{place}}{n},w"]
    path = tmp_path / "duties.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr("server.commands.import_duties.database_url", lambda: database_url)
    app = typer.Typer()
    app.command()(import_command)
    done = CliRunner().invoke(app, ["duties", str(path), "--dry-run"])
    assert done.exit_code == 0, done.output
    listed = [line for line in done.stderr.splitlines() if f"{path}: line " in line]
    assert [int(line.split("line ")[1].split(":")[0]) for line in listed] == list(range(7, 107, 2))
    assert done.stdout.splitlines()[0] == "0 alerts of the last 7 days would have gone elsewhere (of 0)"
    assert "52 rows in batch trial from 2019-12-31T16:00:00.000000Z, 50 bad; dry run" in done.stdout
    assert CliRunner().invoke(app, ["duties", str(path), "--strict"]).exit_code == 1
    assert CliRunner().invoke(app, ["duties", str(tmp_path / "none.csv")]).exit_code == 1


async def test_the_table_is_printed_as_the_file_that_import_takes(
    pool: Pool, database_url: str, tmp_path: Path
) -> None:
    head, rows = await read_batch(database_url, "default")
    assert len(rows) == len(DEFAULT_DUTIES)
    path = tmp_path / "duties.csv"
    with path.open("w", encoding="utf-8") as file:
        write_duties(file, {**head, "batch": "mine", "starts": "2027-01-01", "replaces": "default"}, rows)
    parsed = parse_table("duties", path.read_bytes())
    assert parsed.problems == []
    assert [replace(row, batch="default") for row, _, _ in parsed.duties] == list(DEFAULT_DUTIES)
    await import_rows(database_url, "duties", path, dry_run=False, strict=True, now_us=T0)
    again, mine = await read_batch(database_url, "mine")
    assert (again["replaces"], mine) == ("default", rows)
    with pytest.raises(NotFound, match="there are: default, mine"):
        await read_batch(database_url, "nobody's")
