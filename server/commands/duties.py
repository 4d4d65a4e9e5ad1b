"""``gridpulse duties``: the duty table as the file that ``import duties`` takes: to be read, edited, imported."""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Sequence
from typing import Annotated, Any, TextIO

import typer

from alerting.duty_store import SELECT_BATCHES, SELECT_DUTY_FILE
from alerting.store import PostgresAlertStore
from db.pool import open_pool, unavailable
from domain.clock import iso, to_us
from domain.errors import NotFound
from server.connect import database_url

COLUMNS = (
    "kind", "matter", "severity", "place", "level", "department", "source", "role", "name", "name_en", "why",
    "days", "hours", "from", "to", "within_m",
)  # fmt: skip


def duties_command(
    batch: Annotated[str, typer.Option(help="which batch; the one of a new home is default")] = "default",
    kind: Annotated[str, typer.Option(help="only rows of this kind, as written: fire.*")] = "",
    place: Annotated[str, typer.Option(help="only rows for places within this code")] = "",
) -> None:
    """Print a batch of the duty table as CSV, in the form that import takes.

    Example: gridpulse duties --kind 'fire.*' > duties.csv
    """
    head, rows = asyncio.run(read_batch(database_url(), batch))
    chosen = [r for r in rows if (not kind or r[0] == kind) and (not place or r[3].startswith(place))]
    write_duties(sys.stdout, head, chosen)


async def read_batch(url: str, batch: str) -> tuple[dict[str, str], list[tuple[Any, ...]]]:
    """The words at the top of the file, and its rows. Raises: NotFound, DatabaseUnavailable."""
    async with open_pool(url, name="gridpulse duties", max_size=1) as pool:
        await PostgresAlertStore(pool).load_duties()  # a new home's rows are there before they are asked for
        with unavailable("reading the duties"):
            async with pool.connection() as conn:
                batches = await (await conn.execute(SELECT_BATCHES)).fetchall()
                rows = await (await conn.execute(SELECT_DUTY_FILE, [batch])).fetchall()
    known = {name: (starts, replaces, note) for name, starts, replaces, note in batches}
    if batch not in known:
        raise NotFound(f"there is no batch {batch!r}; there are: {', '.join(known)}")
    starts, replaces, note = known[batch]
    head = {"batch": batch, "starts": iso(to_us(starts)), "replaces": ", ".join(replaces), "note": note}
    return head, [tuple(row) for row in rows]


def write_duties(out: TextIO, head: dict[str, str], rows: Sequence[Sequence[Any]]) -> None:
    """The file: its head as remarks, then one line a row; times in UTC, empty where there is none."""
    for word, value in head.items():
        if value:
            out.write(f"# {word}: {value}\n")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for *words, since, until, within_m in rows:
        begin = "" if to_us(since) == 0 else iso(to_us(since))
        end = "" if until is None else iso(to_us(until))
        writer.writerow([*words, begin, end, f"{within_m:g}" if within_m else ""])
