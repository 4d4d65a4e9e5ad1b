"""``gridpulse ledger``: the account, received = stored + duplicate + rejected + quarantined."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import psycopg
import typer
from psycopg.rows import dict_row

from db.pool import CONNECT_TIMEOUT_S, unavailable
from domain.clock import iso, to_us
from server.connect import database_url
from server.settings import load_settings

COUNTS = ("received", "stored", "duplicate", "rejected", "quarantined")

SELECT = """
SELECT l.minute, coalesce(d.id, '?') AS device, d.run, l.received, l.stored, l.duplicate, l.rejected, l.quarantined
FROM ledger_minute l LEFT JOIN device d ON d.key = l.device
WHERE l.minute >= %s AND (%s::text IS NULL OR d.id = %s)
ORDER BY l.minute, device, d.run
"""


def ledger(
    since: Annotated[datetime | None, typer.Option(help="from this time on; default the last hour")] = None,
    device: Annotated[str | None, typer.Option(help="one device only")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object with rows and totals")] = False,
) -> None:
    """Messages per device and minute of arrival; exit code 1 when the account does not add up.

    Example: gridpulse ledger --since 2026-11-23T08:00:00 --device VB-0007
    """
    start = since or datetime.now(UTC) - timedelta(hours=1)
    if start.tzinfo is None:
        start = start.replace(tzinfo=ZoneInfo(load_settings().timezone))
    with (
        unavailable("reading the ledger"),
        psycopg.connect(database_url(), connect_timeout=CONNECT_TIMEOUT_S, row_factory=dict_row) as conn,
    ):
        rows = conn.execute(SELECT, [start, device, device]).fetchall()
    totals = {name: sum(int(row[name]) for row in rows) for name in COUNTS}
    balanced = totals["received"] == sum(totals[name] for name in COUNTS[1:])
    if as_json:
        items = [{**row, "minute": iso(to_us(row["minute"]))} for row in rows]
        typer.echo(json.dumps({"rows": items, "totals": totals, "balanced": balanced}))
    else:
        typer.echo(f"{'minute (UTC)':<17} {'device':<24}" + "".join(f"{name:>12}" for name in COUNTS))
        for row in rows:
            shown = f"{row['run']}/{row['device']}" if row["run"] else row["device"]
            numbers = "".join(f"{row[name]:>12}" for name in COUNTS)
            typer.echo(f"{row['minute'].astimezone(UTC):%Y-%m-%d %H:%M}  {shown:<24}{numbers}")
        typer.echo(f"{'total':<42}" + "".join(f"{totals[name]:>12}" for name in COUNTS))
    if not balanced:
        raise typer.Exit(1)
