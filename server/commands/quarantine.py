"""gridpulse quarantine: messages that broke a rule, listed, shown and sent in again."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import psycopg
import typer
from psycopg.rows import dict_row

from db.pool import CONNECT_TIMEOUT_S, unavailable
from domain.errors import GridpulseError, NotFound
from server.connect import database_url
from server.settings import load_settings
from server.tables import print_table

app = typer.Typer(help="Messages that broke a rule: kept whole, with the reason.", no_args_is_help=True)

LIST = """
SELECT id, received_at, reason, coalesce(device_id, '') AS device, coalesce(run, '') AS run, topic, count,
       length(payload) AS bytes, detail, replayed_at
FROM quarantine
WHERE received_at >= %(since)s AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(device)s::text IS NULL OR device_id = %(device)s) AND id > %(after)s
ORDER BY id LIMIT %(limit)s
"""
SHOW = "SELECT topic, payload FROM quarantine WHERE id = %s"
ASK = """
UPDATE quarantine SET replay_asked_at = now(), replayed_at = NULL
WHERE (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s)) AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(device)s::text IS NULL OR device_id = %(device)s)
  AND (%(ids)s::bigint[] IS NOT NULL OR replayed_at IS NULL)
RETURNING id
"""
WAKE = "SELECT pg_notify('quarantine_replay', '')"
WAITING = """
SELECT count(*) FILTER (WHERE replay_asked_at IS NOT NULL) AS waiting,
       count(*) FILTER (WHERE replayed_at IS NOT NULL) AS through
FROM quarantine WHERE id = ANY (%s)
"""
PAGE = 1000
PATIENCE_S = 30.0
POLL_S = 0.2

Reason = Annotated[str | None, typer.Option(help="only this reason, e.g. unknown_device")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="only this device's")]


def connection() -> psycopg.Connection[dict[str, Any]]:
    """A connection to the running server's database."""
    return psycopg.connect(database_url(), connect_timeout=CONNECT_TIMEOUT_S, row_factory=dict_row, autocommit=True)


@app.command("list")
def list_(
    since: Annotated[datetime | None, typer.Option(help="received from this time on; default all")] = None,
    reason: Reason = None,
    device: DeviceOption = None,
) -> None:
    """All of them, oldest first.

    Example: gridpulse quarantine list --reason unknown_device
    """
    start = since or datetime(1970, 1, 2, tzinfo=UTC)
    if start.tzinfo is None:
        start = start.replace(tzinfo=ZoneInfo(load_settings().timezone))
    rows: list[dict[str, Any]] = []
    with unavailable("reading quarantine"), connection() as conn:
        asked = {"since": start, "reason": reason, "device": device, "after": 0, "limit": PAGE}
        while page := conn.execute(LIST, asked).fetchall():
            rows += page
            asked["after"] = page[-1]["id"]
    print_table(
        ("id", "received (UTC)", "reason", "device", "count", "bytes", "sent in again", "topic", "detail"),
        [
            (str(r["id"]), f"{r['received_at'].astimezone(UTC):%Y-%m-%d %H:%M:%S}", r["reason"], r["device"],
             str(r["count"]), str(r["bytes"]), "yes" if r["replayed_at"] else "", r["topic"], r["detail"])
            for r in rows
        ],
    )  # fmt: skip


@app.command("show")
def show(id_: Annotated[int, typer.Argument(metavar="ID")]) -> None:
    """The payload as it came, on standard output; the topic on standard error.

    Example: gridpulse quarantine show 17 > payload.bin
    """
    with unavailable("reading quarantine"), connection() as conn:
        row = conn.execute(SHOW, [id_]).fetchone()
    if row is None:
        raise NotFound(f"there is no quarantined message {id_}: `gridpulse quarantine list`")
    typer.echo(row["topic"], err=True)
    sys.stdout.buffer.write(bytes(row["payload"]))


@app.command("replay")
def replay(
    ids: Annotated[list[int] | None, typer.Argument(help="numbers of the list; none: by reason or device")] = None,
    reason: Reason = None,
    device: DeviceOption = None,
    everything: Annotated[bool, typer.Option("--all", help="all that are not through yet")] = False,
) -> None:
    """Send messages in again, after what stopped them was mended; the running server does it.

    They keep the arrival they had, so their data is late. Exit code 1 when some are refused again.

    Example: gridpulse quarantine replay --reason unknown_device
    """
    if not (ids or reason or device or everything):
        raise typer.BadParameter("say which: ids, --reason, --device or --all")
    with unavailable("asking for quarantined messages"), connection() as conn:
        found = conn.execute(ASK, {"ids": ids or None, "reason": reason, "device": device}).fetchall()
        asked = [row["id"] for row in found]
        if missing := set(ids or ()) - set(asked):
            typer.echo(f"no such message: {', '.join(map(str, sorted(missing)))}", err=True)
        conn.execute(WAKE)
        through = wait(conn, asked)
    typer.echo(f"{len(asked)} sent in again, {through} stored, {len(asked) - through} refused again")
    if through < len(asked) or (ids and len(asked) < len(set(ids))):
        raise typer.Exit(1)


def wait(conn: psycopg.Connection[dict[str, Any]], asked: list[int]) -> int:
    """Until the server has worked them off; returns how many are through. Raises: GridpulseError."""
    waiting, deadline_s = len(asked), time.monotonic() + PATIENCE_S
    while asked:
        row = conn.execute(WAITING, [asked]).fetchone()
        assert row is not None
        if row["waiting"] == 0:
            return int(row["through"])
        if row["waiting"] < waiting:
            waiting, deadline_s = row["waiting"], time.monotonic() + PATIENCE_S
            if sys.stderr.isatty():
                typer.echo(f"\r{len(asked) - waiting} of {len(asked)}", nl=False, err=True)
        if time.monotonic() > deadline_s:
            raise GridpulseError(f"{waiting} messages wait for a server that ingests: `gridpulse up`")
        time.sleep(POLL_S)
    return 0
