"""``gridpulse import duties`` and other tables: matters, rules, units, rota, holidays, owners, permits, sites ….

A dry run of duties asks the alerts of the last seven days who would have been told,
and says which would have gone elsewhere. Exit codes are those of ``gridpulse import``.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import typer

from alerting.dispatch.dry_run import Moved, moved, tables
from alerting.dispatch.table_import import TABLE_KINDS, ParsedTable, parse_table
from alerting.dispatch.windows import CITY_ZONE
from alerting.duty_store import compare_rows, put_batch, put_rows, read_alerts, read_context, read_duties
from alerting.store import PostgresAlertStore
from db.address_rule import settle_rule
from db.pool import Connection, open_pool, unavailable
from domain.clock import US_PER_S, iso
from domain.errors import GridpulseError, ImportFileError
from server.connect import database_url
from server.settings import load_settings

__all__ = ["TABLE_KINDS", "import_table"]

FILE_BYTES_MAX = 256 * 1024**2
DRY_RUN_DAYS = 7
ALERTS_MAX = 50_000
MOVED_SHOWN = 20
SELECT_PLACES = "SELECT code, name FROM region WHERE valid_to IS NULL AND level IN ('town', 'village')"
SELECT_MATTERS = "SELECT code FROM matter"


@dataclass(slots=True)
class TableReport:
    """What a file of tables held and what became of it."""

    table: ParsedTable
    notes: list[str] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    asked: int = 0
    difference: tuple[int, int, int] | None = None
    refused: str = ""
    written: bool = False

    def lines(self) -> list[str]:
        """For standard output, the summary last."""
        what, table = self.table.what, self.table
        if self.refused:
            return [f"{what}: nothing imported: {self.refused}"]
        shown: list[str] = []
        batch = ""
        if what == "duties":
            shown = [f"  {one}" for one in self.moved[:MOVED_SHOWN]]
            if len(self.moved) > MOVED_SHOWN:
                shown.append(f"  and {len(self.moved) - MOVED_SHOWN} more")
            count = f"{len(self.moved)} alerts of the last {DRY_RUN_DAYS} days would have gone elsewhere"
            shown.insert(0, f"{count} (of {self.asked})")
            batch = f" in batch {table.batch.name} from {iso(table.batch.starts_us)}"
        done = "" if self.written else "; dry run, nothing written"
        counts = ""
        if self.difference is not None:
            new, changed, same = self.difference
            counts = f" ({new} new, {changed} changed, {same} the same)"
        return [*shown, f"{what}: {table.count} rows{batch}, {len(table.problems)} bad{counts}{done}"]


async def import_rows(
    url: str,
    what: str,
    path: Path,
    *,
    dry_run: bool,
    strict: bool,
    now_us: int,
    zone: ZoneInfo = CITY_ZONE,
    datum: str | None = None,
) -> TableReport:
    """Read a file and (unless ``dry_run``) write it, in one transaction.

    Raises: ImportFileError, DatabaseUnavailable.
    """
    content = _read(path)
    async with open_pool(url, name="gridpulse import", max_size=1) as pool:
        async with pool.connection() as conn:
            await settle_rule(conn, load_settings().address_rule)
        if what == "duties":
            await PostgresAlertStore(pool).load_duties()  # a new home's rows are there before they are compared
        with unavailable(f"importing {what}"):
            async with pool.connection() as conn:
                places = await read_places(conn)
                table = parse_table(what, content, places, suffix=path.suffix, zone=zone, datum=datum)
                report = TableReport(table)
                if not table.count:
                    report.refused = "every row is bad" if table.problems else "the file has no rows"
                elif strict and table.problems:
                    report.refused = f"{len(table.problems)} bad rows and --strict"
                elif what == "duties":
                    await _put_duties(conn, report, hashlib.sha256(content).hexdigest(), dry_run, now_us, zone)
                else:
                    report.difference = await compare_rows(conn, what, table.rows)
                    if not dry_run:
                        await put_rows(conn, what, table.rows)
                        report.written = True
                return report


async def _put_duties(
    conn: Connection, report: TableReport, sha256: str, dry_run: bool, now_us: int, zone: ZoneInfo
) -> None:
    table = report.table
    report.notes = await _notes(conn, table)
    await _compare(conn, report, now_us, zone)
    if not dry_run:
        await put_batch(conn, table.batch, table.duties, sha256)
        report.written = True


async def read_places(conn: Connection) -> dict[str, str]:
    """Names that stand for one place: 麻涌镇, 新基村, and always 麻涌镇/新基村."""
    found = await (await conn.execute(SELECT_PLACES)).fetchall()
    towns = {code: name for code, name in found if len(code) == 9}
    places: dict[str, str] = {}
    doubled: set[str] = set()
    for code, name in found:
        if name in places:
            doubled.add(name)
        places[name] = code
        if len(code) == 12 and code[:9] in towns:
            places[f"{towns[code[:9]]}/{name}"] = code
    return {name: code for name, code in places.items() if name not in doubled}


async def _notes(conn: Connection, table: ParsedTable) -> list[str]:
    """Not wrong, but worth knowing: matters the catalogue lacks, batches that replace nothing known."""
    known = {code for (code,) in await (await conn.execute(SELECT_MATTERS)).fetchall()}
    missing = sorted({row.matter for row, _, _ in table.duties if row.matter} - known)
    _, batches = await read_duties(conn)
    strange = sorted(set(table.batch.replaces) - {"*"} - {batch.name for batch in batches})
    notes = []
    if missing:
        notes.append(f"note: {len(missing)} matters are not in the catalogue, first {missing[0]}")
    if strange:
        notes.append(f"note: replaces {strange[0]}, which is no batch here")
    return notes


async def _compare(conn: Connection, report: TableReport, now_us: int, zone: ZoneInfo) -> None:
    table = report.table
    alerts = await read_alerts(conn, now_us - DRY_RUN_DAYS * 86_400 * US_PER_S, now_us + 1, ALERTS_MAX)
    context, _ = await read_context(conn, zone)
    rows, batches = await read_duties(conn)
    before, after = tables(rows, batches, table.batch, [row for row, _, _ in table.duties], context)
    report.asked = len(alerts)
    report.moved = list(moved(alerts, before, after))


def import_table(what: str, file: Path, *, dry_run: bool, strict: bool, datum: str | None = None) -> int:
    """The command: says what happened; returns the exit code."""
    try:
        zone = ZoneInfo(load_settings().timezone)
        now_us = time.time_ns() // 1000
        url = database_url()
        report = asyncio.run(
            import_rows(
                url, what, file, dry_run=dry_run, strict=strict, now_us=now_us, zone=zone, datum=datum
            )
        )
    except GridpulseError as error:
        typer.echo(f"{file}: {error}" if isinstance(error, ImportFileError) else str(error), err=True)
        return 1
    listed: Sequence[Any] = [*report.table.problems, *report.notes]
    for line in listed:
        typer.echo(f"{file}: {line}", err=True)
    for text in report.lines():
        typer.echo(text, err=bool(report.refused))
    return 1 if report.refused else 0


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ImportFileError("larger than 256 MiB; divide the file")
        return path.read_bytes()
    except OSError as error:
        raise ImportFileError(f"cannot be read: {error.strerror}") from error
