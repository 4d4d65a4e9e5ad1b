"""``gridpulse match``: the rows of a file onto the map and into cells (落图进格), with a report. Writes no table.

Exit code 0: matched, also when some rows are doubtful or not; 1: the file cannot be
read, no row matched, or the datum is plainly another one; 2: wrong usage.
"""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from db.address_rule import settle_rule
from db.pool import Connection, connect, unavailable
from domain.errors import GridpulseError, ImportFileError, PayloadError
from geo.bulk_match import FOUND_COLUMNS, MATCHED, UNMATCHED, Match, MatchRow, match_rows, read_rows, summary
from geo.datum import DATUMS
from geo.datum_proof import Claim
from geo.imports import check_import_datum
from geo.search import AddressFinder
from geo.store import load_aliases, load_locator
from server.commands.import_checks import Held, hold_claims
from server.connect import database_url
from server.settings import load_settings

LISTED_MAX = 20
FILE_BYTES_MAX = 1024**3


async def match_file(
    conn: Connection, path: Path, datum: str | None = None
) -> tuple[list[str], list[Match], Held]:
    """The header, what became of each row, and what the declared towns say of the datum.

    Raises: ImportFileError, DatabaseUnavailable.
    """
    header, rows = read_rows(_read(path), datum)
    if not rows:
        raise ImportFileError("the file has no rows")
    with unavailable("reading the places"):
        locator = await load_locator(conn)
        held = await hold_claims(conn, "rows", _claims(rows), datetime.now(UTC))
        finder = None
        if any(row.text for row in rows):
            finder = AddressFinder.build(locator.addresses, locator.names, await load_aliases(conn))
    with _bar(len(rows)) as bar:
        matches = list(match_rows(rows, locator, finder, bar))
    return header, matches, held


def match_command(
    file: Annotated[
        Path, typer.Argument(help="CSV with address_id, or lon and lat, or text (地址), in any mixture")
    ],
    datum: Annotated[
        str | None,
        typer.Option(
            help=f"of coordinates that name none: {', '.join(DATUMS)}, or a zone such as epsg:4547; never guessed"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV to write: the file's columns, and behind them what was found and why")
    ] = None,
    problems: Annotated[
        bool, typer.Option("--problems", help="only doubtful rows and those without a match go into --out")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="match although another datum fits better")] = False,
) -> None:
    """Find the cell of each row of a file, and say which have none and why; writes no table.

    Example: gridpulse match sensors.csv --datum gcj02 --out matched.csv
    """
    if datum is not None:
        try:
            check_import_datum(datum)
        except PayloadError as error:
            raise typer.BadParameter(error.detail, param_hint="--datum") from error
    if problems and out is None:
        raise typer.BadParameter("--problems says what goes into --out; name that file", param_hint="--problems")
    try:
        header, matches, held = asyncio.run(_match(file, datum))
        if out is not None and not (held.refused and not force):
            _write(out, header, [m for m in matches if not problems or m.verdict != MATCHED])
    except GridpulseError as error:
        typer.echo(f"{file}: {error}" if isinstance(error, ImportFileError) else str(error), err=True)
        raise typer.Exit(1) from error
    for note in held.notes:
        typer.echo(f"{file}: {note}", err=True)
    if held.refused and not force:
        typer.echo(f"{file}: nothing matched: {held.refused}", err=True)
        raise typer.Exit(1)
    for line in _listed(matches):
        typer.echo(f"{file}: {line}", err=True)
    for line in summary(matches):
        typer.echo(line)
    raise typer.Exit(int(all(match.verdict == UNMATCHED for match in matches)))


async def _match(file: Path, datum: str | None) -> tuple[list[str], list[Match], Held]:
    async with await connect(database_url(), name="gridpulse match") as conn:
        await settle_rule(conn, load_settings().address_rule)
        return await match_file(conn, file, datum)


def _claims(rows: Sequence[MatchRow]) -> list[Claim]:
    return [
        Claim(f"line {row.line}", row.town, row.lon, row.lat, row.datum)
        for row in rows
        if row.town and row.lon is not None and row.lat is not None and row.datum in DATUMS
    ]


def _listed(matches: Sequence[Match]) -> Iterator[str]:
    """The first rows with something wrong; what matched not at all before what is doubtful."""
    wrong = sorted((m for m in matches if m.why), key=lambda m: (m.verdict != UNMATCHED, m.row.line))
    for match in wrong[:LISTED_MAX]:
        yield f"line {match.row.line}: {match.verdict}: {'; '.join(match.why)}"
    if len(wrong) > LISTED_MAX:
        yield f"{len(wrong) - LISTED_MAX} more rows are doubtful or not matched; --out FILE has them all"


def _write(out: Path, header: Sequence[str], matches: Sequence[Match]) -> None:
    try:
        with out.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["line", *header, *FOUND_COLUMNS])
            writer.writerows([m.row.line, *m.cells()] for m in matches)
    except OSError as error:
        raise ImportFileError(f"{out} cannot be written: {error.strerror}") from error


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ImportFileError("larger than 1 GiB; divide the file")
        return path.read_bytes()
    except OSError as error:
        raise ImportFileError(f"cannot be read: {error.strerror}") from error


class _Bar:
    """Rows done, on a terminal."""

    def __init__(self, progress: Progress | None, rows: int) -> None:
        self._progress = progress
        self._task = None if progress is None else progress.add_task("matching", total=rows)

    def __call__(self, done: int) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done)


@contextmanager
def _bar(rows: int) -> Iterator[_Bar]:
    if not sys.stderr.isatty():
        yield _Bar(None, rows)
        return
    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        yield _Bar(progress, rows)
