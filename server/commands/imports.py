"""``gridpulse import``: files of places and devices into the database.

Exit code 0: done, also when bad rows were listed and left out; 1: nothing went in,
because the file cannot be read, every row is bad, or ``--strict`` met a bad one;
2: wrong usage.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from db.devices import DeviceRow, upsert_devices
from db.pool import Connection, connect, unavailable
from domain.errors import GridpulseError, ImportFileError
from geo import imports
from geo.addresses import AddressColumns
from geo.datum import DATUMS
from geo.grids import overlaps
from geo.store import (
    Difference,
    Table,
    address_rows,
    cell_rows,
    compare_devices,
    load_locator,
    lock_places,
    put_staged,
    region_rows,
    stage_rows,
)
from server.connect import database_url

KINDS = ("regions", "grids", "addresses", "devices", "cameras")
FILE_BYTES_MAX = 2 * 1024**3
_OVERLAP_DEG2 = 1e-8  # about 0.01 ha: less is rounding


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What a file holds and what became of it; ``written`` is false for a dry run or a refusal."""

    what: str
    difference: Difference | None
    problems: list[imports.Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    written: bool = False
    refused: str = ""

    @property
    def exit_code(self) -> int:
        """0 done, 1 refused."""
        return 1 if self.refused else 0

    def summary(self) -> str:
        """One line: counts, and what was done with them."""
        if self.refused:
            return f"{self.what}: nothing imported: {self.refused}"
        assert self.difference is not None
        d = self.difference
        counts = f"{d.new} new, {d.changed} changed, {d.same} the same, {len(self.problems)} bad"
        return f"{self.what}: {counts}" + ("" if self.written else "; dry run, nothing written")


async def import_file(
    conn: Connection, what: str, path: Path, *, datum: str | None, dry_run: bool, strict: bool
) -> ImportReport:
    """Read, compare and (unless ``dry_run``) write one file, all in one transaction.

    Raises: ImportFileError when the file as a whole cannot be read, DatabaseUnavailable.
    """
    content = _read(path)
    parsed = _parse(what, content, datum)
    if not parsed.rows:
        reason = "every row is bad" if parsed.problems else "the file has no rows"
        return ImportReport(what, None, parsed.problems, refused=reason)
    if strict and parsed.problems:
        reason = f"{len(parsed.problems)} bad rows and --strict"
        return ImportReport(what, None, parsed.problems, refused=reason)
    version = f"import-{hashlib.sha256(content).hexdigest()[:12]}"
    with unavailable(f"importing {what}"):
        if what in ("devices", "cameras"):
            difference = await _put_devices(conn, parsed.rows, dry_run)
        else:
            difference = await _put_places(conn, what, parsed.rows, version, dry_run)
    return ImportReport(what, difference, parsed.problems, _notes(what, parsed.rows), written=not dry_run)


def import_command(
    what: Annotated[str, typer.Argument(help="regions, grids, addresses, devices or cameras", metavar="WHAT")],
    file: Annotated[Path, typer.Argument(help="CSV (addresses, devices, cameras) or GeoJSON (regions, grids)")],
    datum: Annotated[
        str | None, typer.Option(help=f"of coordinates that name none: {', '.join(DATUMS)}; never guessed")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="compare only, write nothing")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="write nothing if any row is bad")] = False,
) -> None:
    """Import places and devices; bad rows are listed, good rows go in.

    Example: gridpulse import devices sensors.csv --datum gcj02 --dry-run
    """
    if what not in KINDS:
        raise typer.BadParameter(f"{what!r}: write one of {', '.join(KINDS)}", param_hint="WHAT")
    if datum is not None and datum not in DATUMS:
        raise typer.BadParameter(f"{datum!r}: write one of {', '.join(DATUMS)}", param_hint="--datum")
    try:
        report = asyncio.run(_import(what, file, datum, dry_run, strict))
    except GridpulseError as error:
        typer.echo(f"{file}: {error}" if isinstance(error, ImportFileError) else str(error), err=True)
        raise typer.Exit(1) from error
    for problem in report.problems:
        typer.echo(f"{file}: {problem}", err=True)
    for note in report.notes:
        typer.echo(f"{file}: {note}", err=True)
    typer.echo(report.summary(), err=bool(report.refused))
    raise typer.Exit(report.exit_code)


async def _import(what: str, file: Path, datum: str | None, dry_run: bool, strict: bool) -> ImportReport:
    async with await connect(database_url(), name="gridpulse import") as conn:
        return await import_file(conn, what, file, datum=datum, dry_run=dry_run, strict=strict)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ImportFileError("larger than 2 GiB; divide the file")
        return path.read_bytes()
    except OSError as error:
        raise ImportFileError(f"cannot be read: {error.strerror}") from error


def _parse(what: str, content: bytes, datum: str | None) -> imports.Parsed[Any]:
    parse: dict[str, Callable[[bytes, str | None], imports.Parsed[Any]]] = {
        "regions": imports.parse_regions,
        "grids": imports.parse_cells,
        "addresses": imports.parse_addresses,
        "devices": imports.parse_devices,
        "cameras": imports.parse_cameras,
    }
    return parse[what](content, datum)


async def _put_places(conn: Connection, what: str, rows: Sequence[Any], version: str, dry_run: bool) -> Difference:
    tables: dict[str, Table] = {"regions": "region", "grids": "grid_cell", "addresses": "address"}
    async with conn.transaction():
        await lock_places(conn)
        difference = await stage_rows(conn, tables[what], _as_rows(what, rows, version))
        if not dry_run and difference.new + difference.changed:
            await put_staged(conn, tables[what])
    return difference


def _as_rows(what: str, rows: Sequence[Any], version: str) -> list[tuple[Any, ...]]:
    if what == "regions":
        return list(region_rows(rows, version, generated=False))
    if what == "grids":
        return list(cell_rows(rows, version, generated=False))
    columns = AddressColumns(
        [r.id for r in rows],
        [r.text for r in rows],
        [r.road for r in rows],
        [r.number for r in rows],
        [r.grid for r in rows],
        np.array([r.lon for r in rows]),
        np.array([r.lat for r in rows]),
    )
    return list(address_rows(columns, version, generated=False))


async def _put_devices(conn: Connection, rows: Sequence[DeviceRow], dry_run: bool) -> Difference:
    difference = await compare_devices(conn, rows)
    if not dry_run and difference.new + difference.changed:
        locator = await load_locator(conn)
        placed = [replace(r, place=locator.device(r.address_id, r.lon, r.lat)) for r in rows]
        await upsert_devices(conn, placed)
    return difference


def _notes(what: str, rows: Sequence[Any]) -> list[str]:
    """What is not wrong but worth knowing: outlines of one level that overlap."""
    if what not in ("regions", "grids"):
        return []
    levels: dict[int, list[Any]] = {}
    for row in rows:
        levels.setdefault(len(row.code), []).append(row)
    found = [
        pair
        for layer in levels.values()
        for pair in overlaps([r.code for r in layer], [r.outline for r in layer], _OVERLAP_DEG2)
    ]
    if not found:
        return []
    worst = max(found, key=lambda pair: pair.area_deg2)
    return [
        f"note: {len(found)} pairs of outlines overlap, most of all {worst.code} and {worst.other};"
        " a point in both is given to the lower code"
    ]
