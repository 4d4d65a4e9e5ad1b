"""``gridpulse doctor``: what runs where, and what is wrong with it."""

from __future__ import annotations

import asyncio
import json
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import typer

from db.edition import SELECT_EDITION, Edition
from db.pool import CONNECT_TIMEOUT_S
from domain.errors import GridpulseError
from ingest.endpoint import Endpoint, may_connect
from server.connect import database_url, running_server, server_mqtt_url
from server.settings import Settings, load_settings

FREE_BYTES_MIN = 2 * 1024**3
CLOCK_OFF_S_MAX = 2.0

SELECT_DATABASE = """
SELECT current_setting('server_version'), extversion,
       extract(epoch FROM clock_timestamp())::double precision,
       current_setting('fsync') || '/' || current_setting('synchronous_commit')
FROM pg_extension WHERE extname = 'timescaledb'
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    ok: bool
    detail: str


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="for programs; the addresses carry passwords")] = False,
) -> None:
    """What runs where, versions, reachability, clock, disk; exit code 1 when something is wrong.

    Example: gridpulse doctor --json
    """
    settings = load_settings()
    record = running_server(settings.home)
    database, broker = found(database_url, settings), found(server_mqtt_url, settings)
    checks = [
        Check("python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Check("gridpulse", True, version("gridpulse")),
        Check("server", record is not None, f"runs as {record.pid}" if record else "does not run on this home"),
        *check_database(database),
        check_broker(broker),
        check_disk(settings),
    ]
    http = record.http_url if record else f"http://{settings.http_host}:{settings.http_port}/"
    if as_json:
        answer: dict[str, Any] = {
            "database_url": database,
            "mqtt_url": broker,
            "http_url": http.rstrip("/"),
            "home": str(settings.home),
            "checks": [asdict(check) for check in checks],
        }
        typer.echo(json.dumps(answer, indent=2))
    else:
        show(checks, {"page": http, "database": hide(database), "broker": hide(broker), "home": str(settings.home)})
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def found(address: Callable[[Settings], str], settings: Settings) -> str | None:
    """An address, or None where nothing runs."""
    try:
        return address(settings)
    except GridpulseError:
        return None


def check_database(url: str | None) -> list[Check]:
    """Reachability, versions and edition, durability, clock."""
    if url is None:
        return [Check("database", False, "not running: `gridpulse up`, or set GRIDPULSE_DATABASE_URL")]
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as conn:
            row = conn.execute(SELECT_DATABASE).fetchone()
            edition = Edition.of(conn.execute(SELECT_EDITION).fetchone())
    except psycopg.Error as error:
        return [Check("database", False, f"does not answer: {str(error).splitlines()[0]}")]
    if row is None:
        return [Check("database", False, "has no TimescaleDB yet: `gridpulse migrate`")]
    postgres, timescale, its_time, durable = row
    off_s = abs(float(its_time) - time.time())
    return [
        Check("database", True, f"PostgreSQL {postgres}, TimescaleDB {timescale}, {edition.words}"),
        Check("durability", durable == "on/on", f"fsync/synchronous_commit {durable}"),
        Check("clock", off_s < CLOCK_OFF_S_MAX, f"database and this machine differ by {off_s:.3f} s"),
    ]


def check_broker(url: str | None) -> Check:
    """Whether the broker lets the server in."""
    if url is None:
        return Check("broker", False, "not running: `gridpulse up`, or set GRIDPULSE_MQTT_URL")
    try:
        endpoint = Endpoint.parse(url)
        let_in = asyncio.run(may_connect(endpoint, endpoint.username or "", endpoint.password or ""))
    except GridpulseError as error:
        return Check("broker", False, str(error))
    where = f"{endpoint.host}:{endpoint.port}"
    return Check("broker", let_in, f"{where} answers" if let_in else f"{where} refuses the server's account")


def check_disk(settings: Settings) -> Check:
    """Room where the data is."""
    folder = settings.home if settings.home.exists() else settings.home.parent
    free = shutil.disk_usage(folder).free
    return Check("disk", free > FREE_BYTES_MIN, f"{free / 1e9:.1f} GB free at {folder}")


def hide(url: str | None) -> str:
    """An address without its password."""
    if url is None:
        return "not running"
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":…@")))


def show(checks: Sequence[Check], addresses: dict[str, str]) -> None:
    """For people."""
    for name, address in addresses.items():
        typer.echo(f"{name:<12} {address}")
    for check in checks:
        typer.echo(f"{'ok ' if check.ok else 'NOT'} {check.name:<12} {check.detail}")
