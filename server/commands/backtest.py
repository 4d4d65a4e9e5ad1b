"""``gridpulse backtest``: what a detector would have said of a file or of stored readings."""

from __future__ import annotations

import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TextIO
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alerting.backtest import SCALARS, Series, chosen_rule, companion_of, default_rule, metric_of, series_of
from alerting.detectors.base import Rule
from alerting.dispatch.windows import Calendar
from alerting.rules import parse_rules
from db.pool import CONNECT_TIMEOUT_S, unavailable
from domain.calibrated import calibrated
from domain.calibration import calibrations_of
from domain.clock import iso, to_us
from domain.errors import GridpulseError, ImportFileError, NotFound, SettingsError
from domain.readings import Bool, Float64, Int64
from server.commands.series_files import CHUNK_ROWS, ScoreFile, read_chunks
from server.connect import database_url
from server.settings import load_settings

COSTS = "; ".join(f"{name}: {about.words} ({about.cost_us:g} µs a value)" for name, about in SCALARS.items())

SELECT_READINGS = """
SELECT r.time, r.value, m.name <> %(metric)s, d.calibration
FROM reading r JOIN metric m ON m.key = r.metric JOIN device d ON d.key = r.device
WHERE d.id = %(device)s AND d.run IS NULL AND m.name = ANY(%(metrics)s)
  AND r.time >= %(since)s AND r.time < %(until)s
ORDER BY r.time, m.name = %(metric)s
"""


@dataclass(slots=True)
class Tally:
    """The summary."""

    rows: int = 0
    alerts: int = 0
    blank: int = 0
    late: int = 0
    spent_s: float = 0.0

    def line(self) -> str:
        """For standard error."""
        rate = self.rows / max(self.spent_s, 1e-9)
        extra = "".join(
            f", {count:,} {word}"
            for count, word in ((self.blank, "blank"), (self.late, "not newer than the row before, not judged"))
            if count
        )
        return f"{self.rows:,} rows, {self.alerts:,} alerts, {rate:,.0f} rows/s{extra}"


def backtest(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE.csv", help="timestamp,value; - reads standard input")
    ] = None,
    detector: Annotated[str | None, typer.Option(help=f"{COSTS}; or the id of a rule in --rules")] = None,
    rules: Annotated[Path | None, typer.Option(help="TOML rules; the one that --detector names is used")] = None,
    out: Annotated[Path | None, typer.Option(help="scores go here; default standard output")] = None,
    device: Annotated[str | None, typer.Option(help="stored readings of this device instead of a file")] = None,
    metric: Annotated[str | None, typer.Option(help="which metric of the device")] = None,
    since: Annotated[datetime | None, typer.Option("--from", help="first time of the stored readings")] = None,
    until: Annotated[datetime | None, typer.Option("--to", help="end of the stored readings; default now")] = None,
) -> None:
    """A detector over a series, causally, row by row in event time: writes timestamp,value,score,alert.

    Example: gridpulse backtest temperature.csv --detector auto --out scores.csv
    """
    if (file is None) == (device is None):
        raise typer.BadParameter("give either FILE.csv, or --device with --metric and --from")
    if detector is None and rules is None:
        raise typer.BadParameter(f"--detector is missing; one of {', '.join(SCALARS)}")
    if rules is None and detector not in SCALARS:
        raise typer.BadParameter(f"no detector {detector!r}; one of {', '.join(SCALARS)}", param_hint="--detector")
    if rules is None and detector == "threshold":
        raise typer.BadParameter("a threshold needs levels: give them with --rules FILE", param_hint="--detector")
    zone = ZoneInfo(load_settings().timezone)
    rule = chosen_rule(read_rules(rules), detector) if rules else default_rule(str(detector), metric or "value")
    tally = Tally()
    with _output(out) as target:
        series, scores = series_of(rule, Calendar(zone)), ScoreFile(target)
        if file is not None:
            _over_file(file, zone, series, scores, tally)
        else:
            _over_readings(str(device), metric or metric_of(rule), since, until, zone, rule, series, scores, tally)
    typer.echo(tally.line(), err=True)


def read_rules(path: Path) -> list[Rule]:
    """Rules of a TOML file: ``[[rule]]`` with id, detector, kind and ``[rule.settings]``.

    Raises: ImportFileError, SettingsError.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ImportFileError(f"{path} is not TOML: {error}") from error
    rows = given.get("rule", [])
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ImportFileError(f"{path} has no rules; write each as [[rule]] with id, detector and [rule.settings]")
    try:
        return parse_rules([_with_title(row) for row in rows])
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def _with_title(row: dict[str, Any]) -> dict[str, Any]:
    """A rule on trial needs no headline."""
    settings = row.get("settings")
    if not isinstance(settings, dict):
        return row
    name = str(row.get("id", ""))
    return {**row, "kind": row.get("kind") or "anomaly.value",
            "settings": {"title": {"zh": name or "-", "en": name or "-"}, **settings}}  # fmt: skip


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise GridpulseError(f"{path} cannot be written: {error.strerror or error}") from error
    with file:
        yield file


def _over_file(path: Path, zone: ZoneInfo, series: Series, scores: ScoreFile, tally: Tally) -> None:
    size = path.stat().st_size if path.is_file() else 0
    with _bar(f"backtest {path.name}", size) as advance:
        begin = time.perf_counter()
        for chunk in read_chunks(path, zone):
            _score(series, scores, tally, chunk.time_text, chunk.value_text, chunk.time_us, chunk.value)
            advance(chunk.done)
        tally.spent_s = time.perf_counter() - begin


def _over_readings(
    device: str, metric: str, since: datetime | None, until: datetime | None, zone: ZoneInfo, rule: Rule,
    series: Series, scores: ScoreFile, tally: Tally,
) -> None:  # fmt: skip
    if since is None:
        raise typer.BadParameter("--from is missing: the first time of the stored readings", param_hint="--from")
    begin, end = _aware(since, zone), _aware(until, zone) if until else datetime.now(UTC)
    beside = companion_of(rule)
    wanted = {"device": device, "metric": metric, "metrics": [metric, *([beside] if beside else [])],
              "since": begin, "until": end}  # fmt: skip
    with (
        unavailable("reading stored readings"),
        psycopg.connect(database_url(), connect_timeout=CONNECT_TIMEOUT_S) as conn,
        conn.cursor(name="backtest") as cursor,
        _bar(f"backtest {device} {metric}", max(1, to_us(end) - to_us(begin))) as advance,
    ):
        cursor.itersize = CHUNK_ROWS
        clock = time.perf_counter()
        cursor.execute(SELECT_READINGS, wanted)
        while rows := cursor.fetchmany(CHUNK_ROWS):
            time_us = np.array([to_us(row[0]) for row in rows], np.int64)
            other = np.array([row[2] for row in rows], bool)
            given = calibrations_of(rows[0][3])
            value = calibrated(given, np.array([row[1] for row in rows]), time_us, other, [metric, beside or ""])
            texts = [iso(t) for t in time_us.tolist()]
            _score(series, scores, tally, texts, [repr(v) for v in value.tolist()], time_us, value, other)
            advance(int(time_us[-1]) - to_us(begin))
        tally.spent_s = time.perf_counter() - clock
    if not tally.rows:
        raise NotFound(f"no readings {metric} of device {device} from {iso(to_us(begin))} to {iso(to_us(end))}")


def _aware(when: datetime, zone: ZoneInfo) -> datetime:
    return when if when.tzinfo is not None else when.replace(tzinfo=zone)


def _score(
    series: Series, scores: ScoreFile, tally: Tally, times: Any, values: Any, time_us: Int64, value: Float64,
    companion: Bool | None = None,
) -> None:  # fmt: skip
    """Score one chunk, write it, count it."""
    found = series.run(time_us, value, companion)
    own = np.ones(len(value), bool) if companion is None else ~companion
    keep = np.flatnonzero(own)
    if companion is not None:
        times, values = [times[i] for i in keep], [values[i] for i in keep]
    scores.write(times, values, found.score[keep], found.alert[keep])
    blank = ~np.isfinite(value) & own
    tally.rows += len(keep)
    tally.alerts += int(found.alert[keep].sum())
    tally.blank += int(blank.sum())
    tally.late += int((own & ~blank & ~found.judged).sum())


@contextmanager
def _bar(title: str, total: int) -> Iterator[Any]:
    """A bar on a terminal only; yields a function of how much is done."""
    console = Console(file=sys.stderr)
    if not console.is_terminal or total <= 0:
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(title, total=total)
        yield lambda done: bars.update(task, completed=min(done, total))
