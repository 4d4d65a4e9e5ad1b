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

GAPS = """
SELECT d.id AS device, d.run, g.first, g.last, g.opened_at, g.asks, coalesce(g.outcome, 'open') AS state,
       (SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest(g.missing) AS r) AS missing
FROM seq_gap g JOIN device d ON d.key = g.device
WHERE (g.opened_at >= %s OR g.outcome IS NULL) AND (%s::text IS NULL OR d.id = %s)
ORDER BY g.opened_at, d.id, g.first
"""


def ledger(
    since: Annotated[datetime | None, typer.Option(help="from this time on; default the last hour")] = None,
    device: Annotated[str | None, typer.Option(help="one device only")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object with rows and totals")] = False,
) -> None:
    """Messages per device and minute of arrival, and gaps in devices' counts.

    Exit code 1 when the account does not add up.

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
        gaps = conn.execute(GAPS, [start, device, device]).fetchall()
    totals = {name: sum(int(row[name]) for row in rows) for name in COUNTS}
    balanced = totals["received"] == sum(totals[name] for name in COUNTS[1:])
    if as_json:
        items = [{**row, "minute": iso(to_us(row["minute"]))} for row in rows]
        holes = [{**gap, "opened_at": iso(to_us(gap["opened_at"]))} for gap in gaps]
        typer.echo(json.dumps({"rows": items, "totals": totals, "balanced": balanced, "gaps": holes}))
    else:
        typer.echo(f"{'minute (UTC)':<17} {'device':<24}" + "".join(f"{name:>12}" for name in COUNTS))
        for row in rows:
            shown = f"{row['run']}/{row['device']}" if row["run"] else row["device"]
            numbers = "".join(f"{row[name]:>12}" for name in COUNTS)
            typer.echo(f"{row['minute'].astimezone(UTC):%Y-%m-%d %H:%M}  {shown:<24}{numbers}")
        typer.echo(f"{'total':<42}" + "".join(f"{totals[name]:>12}" for name in COUNTS))
        for gap in gaps:
            shown = f"{gap['run']}/{gap['device']}" if gap["run"] else gap["device"]
            state = f"{gap['missing']} missing, asked {gap['asks']} times, {gap['state'].replace('_', ' ')}"
            when = f"{gap['opened_at'].astimezone(UTC):%Y-%m-%d %H:%M}"
            typer.echo(f"{when}  {shown:<24}seq {gap['first']} to {gap['last']}: {state}")
    if not balanced:
        raise typer.Exit(1)
