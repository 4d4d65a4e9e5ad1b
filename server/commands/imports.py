"""``gridpulse import``: files of places and devices into the database.

Exit code 0: done, also when bad rows were listed and left out; 1: nothing went in,
because the file cannot be read, every row is bad, ``--strict`` met a bad one, the
datum is plainly another one, or ``--validate`` found faults; 2: wrong usage.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from db.address_rule import settle_rule
from db.devices import DeviceRow, upsert_devices
from db.pool import Connection, connect, unavailable
from domain.errors import GridpulseError, ImportFileError, PayloadError
from geo import imports
from geo.addresses import AddressColumns
from geo.aliases import put_aliases
from geo.datum import DATUMS
from geo.divisions import Layer, begin_division, compare_division, correct_division, villages_with_cells
from geo.generate import cut_village
from geo.grids import overlaps
from geo.key_places import put_key_places
from geo.place_imports import parse_key_places
from geo.store import (
    Difference,
    address_rows,
    cell_rows,
    compare_devices,
    load_locator,
    lock_places,
    put_staged,
    region_rows,
    stage_rows,
)
from geo.vector_files import SUFFIXES, read_vector
from server.commands.import_checks import Held, hold_addresses, hold_devices, hold_outlines
from server.commands.import_duties import TABLE_KINDS, import_table
from server.commands.import_rules import import_rules
from server.connect import database_url
from server.settings import load_settings

KINDS = ("regions", "grids", "addresses", "devices", "cameras", "places")
LAYERS: dict[str, Layer] = {"regions": "region", "grids": "grid_cell"}
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
    faults: int = 0

    @property
    def exit_code(self) -> int:
        """0 done, 1 refused, or checked only and not without fault."""
        return 1 if self.refused or (self.faults and not self.written) else 0

    def summary(self) -> str:
        """One line: counts, and what was done with them."""
        if self.refused:
            return f"{self.what}: nothing imported: {self.refused}"
        assert self.difference is not None
        d = self.difference
        counts = f"{d.new} new, {d.changed} changed, {d.same} the same, {len(self.problems)} bad"
        if d.ended:
            counts += f", {d.ended} end"
        return f"{self.what}: {counts}" + ("" if self.written else "; dry run, nothing written")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for; ``valid_from``: the file is a new division from then on."""

    datum: str | None = None
    dry_run: bool = False
    strict: bool = False
    force: bool = False
    validate: bool = False
    repair: bool = False
    valid_from: datetime | None = None
    cut_cells_ha: float | None = None


async def import_file(conn: Connection, what: str, path: Path, options: Options | None = None) -> ImportReport:
    """Read, check, compare and (unless told otherwise) write one file, all in one transaction.

    Raises: ImportFileError when the file as a whole cannot be read, DatabaseUnavailable.
    """
    options = options or Options()
    content = _read(path)
    parsed, datum = _parse(what, path, content, options)
    if not parsed.rows:
        reason = "every row is bad" if parsed.problems else "the file has no rows"
        return ImportReport(what, None, parsed.problems, refused=reason)
    if options.strict and parsed.problems:
        reason = f"{len(parsed.problems)} bad rows and --strict"
        return ImportReport(what, None, parsed.problems, refused=reason)
    version = f"import-{hashlib.sha256(content).hexdigest()[:12]}"
    with unavailable(f"importing {what}"):
        async with conn.transaction():
            held = await _hold(conn, what, parsed.rows, content, datum, options)
            problems = [*parsed.problems, *held.problems]
            if held.refused and not options.force:
                return ImportReport(what, None, problems, held.notes, refused=held.refused)
            if held.refused:
                held.notes.append(f"warning: {held.refused}")
            return await _write(conn, what, held, problems, version, options)


async def _write(
    conn: Connection, what: str, held: Held, problems: list[imports.Problem], version: str, options: Options
) -> ImportReport:
    checked_only = options.validate and not options.repair
    dry = options.dry_run or checked_only
    notes = held.notes
    if what in ("devices", "cameras"):
        difference = await _put_devices(conn, held.rows, dry)
    elif what == "places":
        locator = await load_locator(conn)
        difference = await put_key_places(conn, held.rows, locator, version=version, dry_run=dry)
    else:
        difference = await _put_places(conn, what, held.rows, version, dry, options.valid_from)
        notes = [*notes, *_notes(what, held.rows)]
        if options.cut_cells_ha is not None and what == "regions" and not dry:
            notes.append(await _cut_cells(conn, held.rows, options.cut_cells_ha, version, options.valid_from))
    faults = held.faults if checked_only else 0
    return ImportReport(what, difference, problems, notes, written=not dry, faults=faults)


def import_command(
    what: Annotated[str, typer.Argument(help=", ".join((*KINDS, *TABLE_KINDS)), metavar="WHAT")],
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV; TOML (rules, duties and other tables); GeoJSON (regions, grids, sites, truck-permits);"
            " .shp or .gpkg (regions, grids)"
        ),
    ],
    datum: Annotated[
        str | None,
        typer.Option(
            help=f"of coordinates that name none: {', '.join(DATUMS)}, or a zone such as epsg:4547; never guessed"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="compare only, write nothing")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="write nothing if any row is bad")] = False,
    force: Annotated[bool, typer.Option("--force", help="write although another datum fits better")] = False,
    validate: Annotated[
        bool, typer.Option("--validate", help="regions, grids: list gaps, overlaps, slivers, …; write nothing")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="regions, grids: repair what is safe, list the rest, write")
    ] = False,
    valid_from: Annotated[
        datetime | None,
        typer.Option(
            help="regions, grids: a new division from this time on (UTC), instead of a correction",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%z"],
        ),
    ] = None,
    cut_cells: Annotated[
        float | None,
        typer.Option(min=0.01, help="regions: cut villages without cells into cells of about so many hectares"),
    ] = None,
) -> None:
    """Import places and devices; bad rows are listed, good rows go in.

    Example: gridpulse import devices sensors.csv --datum gcj02 --dry-run
    """
    if what == "rules":
        raise typer.Exit(import_rules(file, dry_run=dry_run, strict=strict))
    if what in TABLE_KINDS:
        if datum is not None and datum not in DATUMS:
            raise typer.BadParameter(f"{datum!r}: write one of {', '.join(DATUMS)}", param_hint="--datum")
        raise typer.Exit(import_table(what, file, dry_run=dry_run, strict=strict, datum=datum))
    if valid_from is not None and valid_from.tzinfo is None:
        valid_from = valid_from.replace(tzinfo=UTC)
    options = Options(datum, dry_run, strict, force, validate, repair, valid_from, cut_cells)
    check_usage(what, options)
    try:
        report = asyncio.run(_import(what, file, options))
    except GridpulseError as error:
        typer.echo(f"{file}: {error}" if isinstance(error, ImportFileError) else str(error), err=True)
        raise typer.Exit(1) from error
    for problem in report.problems:
        typer.echo(f"{file}: {problem}", err=True)
    for note in report.notes:
        typer.echo(f"{file}: {note}", err=True)
    typer.echo(report.summary(), err=bool(report.refused))
    raise typer.Exit(report.exit_code)


def check_usage(what: str, options: Options) -> None:
    """Raises BadParameter for what is unknown or does not go together."""
    if what not in KINDS:
        known = ", ".join((*KINDS, *TABLE_KINDS))
        raise typer.BadParameter(f"{what!r}: write one of {known}", param_hint="WHAT")
    if options.datum is not None:
        try:
            imports.check_import_datum(options.datum)
        except PayloadError as error:
            raise typer.BadParameter(error.detail, param_hint="--datum") from error
    if options.cut_cells_ha is not None and what != "regions":
        raise typer.BadParameter("--cut-cells is for regions", param_hint="WHAT")
    if (options.validate or options.repair or options.valid_from) and what not in LAYERS:
        raise typer.BadParameter("--validate, --repair, --valid-from: for regions and grids", param_hint="WHAT")


async def _import(what: str, file: Path, options: Options) -> ImportReport:
    async with await connect(database_url(), name="gridpulse import") as conn:
        await settle_rule(conn, load_settings().address_rule)
        return await import_file(conn, what, file, options)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ImportFileError("larger than 2 GiB; divide the file")
        return path.read_bytes()
    except OSError as error:
        raise ImportFileError(f"cannot be read: {error.strerror}") from error


def _parse(
    what: str, path: Path, content: bytes, options: Options
) -> tuple[imports.Parsed[Any], str | None]:
    """The rows and the datum that held for those that name none."""
    if what in LAYERS:
        layers: dict[str, Callable[..., imports.Parsed[Any]]] = {
            "regions": imports.parse_regions, "grids": imports.parse_cells,
        }  # fmt: skip
        features: Any = content
        datum = options.datum
        if path.suffix.lower() in SUFFIXES:
            file = read_vector(path)
            features, datum = file.features, datum or file.datum
        return layers[what](features, datum, mend=options.validate or options.repair), datum
    parse: dict[str, Callable[[bytes, str | None], imports.Parsed[Any]]] = {
        "addresses": imports.parse_addresses,
        "devices": imports.parse_devices,
        "cameras": imports.parse_cameras,
        "places": parse_key_places,
    }
    return parse[what](content, options.datum), options.datum


async def _hold(
    conn: Connection, what: str, rows: list[Any], content: bytes, datum: str | None, options: Options
) -> Held:
    at = options.valid_from or datetime.now(UTC)
    if what in LAYERS:
        return await hold_outlines(
            conn, what, rows, at, datum, validate=options.validate, repair=options.repair
        )
    if what == "addresses":
        return await hold_addresses(conn, rows, datum, at)
    if what == "places":
        return Held(rows)
    return await hold_devices(conn, what, rows, imports.declared_towns(content, what), at)


async def _put_places(
    conn: Connection, what: str, rows: Sequence[Any], version: str, dry_run: bool, valid_from: datetime | None
) -> Difference:
    async with conn.transaction():
        await lock_places(conn)
        if what == "addresses":
            difference = await stage_rows(conn, "address", _as_rows(what, rows, version))
            if not dry_run and difference.new + difference.changed:
                await put_staged(conn, "address")
            aliases = [(row.id, alias) for row in rows for alias in row.aliases]
            if aliases and not dry_run:
                await put_aliases(conn, aliases)
            return difference
        layer = LAYERS[what]
        difference = await stage_rows(conn, layer, _as_rows(what, rows, version))
        if valid_from is not None:
            difference = await compare_division(conn, layer, valid_from)
            if not dry_run and difference.new + difference.changed + difference.ended:
                await begin_division(conn, layer, valid_from)
        elif not dry_run and difference.new + difference.changed:
            await correct_division(conn, layer, datetime.now(UTC))
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


async def _cut_cells(
    conn: Connection, regions: Sequence[Any], size_ha: float, version: str, valid_from: datetime | None
) -> str:
    """Cells for those villages of the file that have none; says how many."""
    at = valid_from or datetime.now(UTC)
    have = await villages_with_cells(conn, at)
    bare = [region for region in regions if region.level == "village" and region.code not in have]
    cells = [cell for village in bare for cell in cut_village(village, size_ha * 10_000)]
    if cells:
        await stage_rows(conn, "grid_cell", list(cell_rows(cells, f"cut-{version}", generated=False)))
        await begin_division(conn, "grid_cell", at)
    return f"note: {len(cells)} cells cut in {len(bare)} villages that had none"


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
