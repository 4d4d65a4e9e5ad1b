"""``gridpulse import rules``: detection rules from a file, tried on the last seven days before they are written.

Every good rule that is new or changed becomes a new version; running servers follow
within seconds. With ``--dry-run`` nothing is written, and each such rule is run over
the stored data: how many alerts it would have raised, and how many the rules in
force would.
"""

from __future__ import annotations

import asyncio
import getpass
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import typer

from alerting.rule_file import ParsedRules, parse_rule_file
from alerting.rule_store import put_row, read_rows
from alerting.rulebook import RuleBook, warnings_of
from alerting.rules import FIELDS, parse_rule, rule_json
from alerting.store import PostgresAlertStore
from db.devices import load_devices
from db.pool import Pool, open_pool, unavailable
from domain.errors import GridpulseError, ImportFileError, PayloadError, SettingsError
from server.connect import database_url
from server.settings import load_settings

FILE_BYTES_MAX = 16 * 1024**2
BACKTEST_S = 30.0
BACKTESTS_MAX = 20


@dataclass(slots=True)
class RulesReport:
    """What a file of rules held and what became of it."""

    parsed: ParsedRules
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    same: int = 0
    warnings: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    refused: str = ""
    written: bool = False

    def lines(self) -> list[str]:
        """For standard output, the summary last."""
        if self.refused:
            return [f"rules: nothing imported: {self.refused}"]
        done = "" if self.written else "; dry run, nothing written"
        counts = f"{len(self.new)} new, {len(self.changed)} changed, {self.same} the same"
        listed = [f"  new: {name}" for name in self.new] + [f"  changed: {name}" for name in self.changed]
        return [*listed, *self.tried, f"rules: {counts}, {len(self.parsed.problems)} bad{done}"]


async def import_rule_file(
    url: str,
    path: Path,
    *,
    dry_run: bool,
    strict: bool,
    actor: str,
    now_us: int,
    zone: ZoneInfo,
    said: Callable[[float, str], None] = lambda share, what: None,
) -> RulesReport:
    """Read, check, and write (or, for a dry run, try) the rules of a file; all in one transaction.

    Raises: ImportFileError, DatabaseUnavailable.
    """
    report = RulesReport(parse_rule_file(_read(path), toml=path.suffix.lower() == ".toml", zone=zone))
    parsed = report.parsed
    async with open_pool(url, name="gridpulse import", max_size=2) as pool:
        await PostgresAlertStore(pool).load_rules()  # a new home's rules are there before they are compared
        with unavailable("importing rules"):
            async with pool.connection() as conn:
                there = {row["id"]: row for row in await read_rows(conn) if not row["deleted"]}
                for rule in parsed.rules:
                    before = there.get(rule.id)
                    if before is None:
                        report.new.append(rule.id)
                    elif _meaning(before) != rule_json(rule):
                        report.changed.append(rule.id)
                    else:
                        report.same += 1
                        continue
                    report.warnings += [f"rule {rule.id}: {text}" for text in await warnings_of(conn, rule)]
                if not parsed.rules:
                    report.refused = "every rule is bad" if parsed.problems else "the file has no rules"
                elif strict and (parsed.problems or report.warnings):
                    report.refused = f"{len(parsed.problems)} bad, {len(report.warnings)} doubtful, and --strict"
                elif not dry_run:
                    wanted = {*report.new, *report.changed}
                    for row in parsed.rows:
                        if row["id"] in wanted:
                            await put_row(conn, row, actor, str(row.get("note") or f"from {path.name}"))
                    report.written = True
        if dry_run and not report.refused:
            await _try(url, pool, report, now_us, said)
    return report


def _meaning(row: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return rule_json(parse_rule(row))
    except SettingsError:
        return None


async def _try(
    url: str, pool: Pool, report: RulesReport, now_us: int, said: Callable[[float, str], None]
) -> None:
    async with pool.connection() as conn:
        devices = await load_devices(conn)
    book = RuleBook(pool, url, lambda: devices, lambda: now_us)
    rows = {row["id"]: row for row in report.parsed.rows}
    wanted = [*report.new, *report.changed]
    for number, rule_id in enumerate(wanted[:BACKTESTS_MAX]):

        async def heard(share: float, what: str, number: int = number, rule_id: str = rule_id) -> None:
            said((number + share) / min(len(wanted), BACKTESTS_MAX), f"{rule_id}: {what}")

        proposed = {name: rows[rule_id][name] for name in FIELDS if name in rows[rule_id]}
        found = await book.backtest(rule_id, proposed, seconds=BACKTEST_S, progress=heard)
        report.tried += tried(found)
    if len(wanted) > BACKTESTS_MAX:
        report.tried.append(f"  {len(wanted) - BACKTESTS_MAX} more rules were not tried; divide the file")


def tried(found: dict[str, Any]) -> list[str]:
    """A back-test in a few lines."""
    would, does, difference, read = found["would"], found["does"], found["difference"], found["read"]
    lines = [
        f"  {found['rule']}: {would['alerts']} alerts in the last 7 days, the rules in force {does['alerts']}"
        f" ({difference['new']} new, {difference['gone']} gone, {difference['same']} the same);"
        f" {read['devices']} of {read['of_devices']} devices read"
    ]
    if not found["complete"]:
        lines.append(f"    not complete: {found['incomplete_because']}")
    lines += [
        f"    {item['started_at'][:19]}Z {item['device']} severity {item['severity']},"
        f" {item['value']:g} {item['unit']}, limit {item['limit']:g}"
        for item in would["items"][:3]
    ]
    busiest = ", ".join(f"{row['device']} {row['alerts']}" for row in would["by_device"][:3])
    return [*lines, f"    most: {busiest}"] if busiest else lines


def import_rules(file: Path, *, dry_run: bool, strict: bool) -> int:
    """The command: says what happened; returns the exit code."""
    tty = sys.stderr.isatty()

    def said(share: float, what: str) -> None:
        if tty:
            typer.echo(f"\r\033[K{share:4.0%} {what}"[:110], err=True, nl=False)

    try:
        zone = ZoneInfo(load_settings().timezone)
        report = asyncio.run(
            import_rule_file(
                database_url(), file, dry_run=dry_run, strict=strict, actor=f"cli:{getpass.getuser()}",
                now_us=time.time_ns() // 1000, zone=zone, said=said,
            )
        )  # fmt: skip
    except GridpulseError as error:
        told = error.detail if isinstance(error, PayloadError) else str(error)
        typer.echo(f"{file}: {told}" if isinstance(error, ImportFileError) else told, err=True)
        return 1
    if tty and dry_run:
        typer.echo("\r\033[K", err=True, nl=False)
    for problem in report.parsed.problems:
        typer.echo(f"{file}: {problem}", err=True)
    for warning in report.warnings:
        typer.echo(f"{file}: warning: {warning}", err=True)
    for text in report.lines():
        typer.echo(text, err=bool(report.refused))
    return 1 if report.refused else 0


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ImportFileError("larger than 16 MiB; divide the file")
        return path.read_bytes()
    except OSError as error:
        raise ImportFileError(f"cannot be read: {error.strerror}") from error

