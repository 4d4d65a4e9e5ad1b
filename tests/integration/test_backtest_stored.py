"""``gridpulse backtest`` over readings in the real database: that device's only, companion included."""

from __future__ import annotations

import csv
import io

import psycopg
import pytest
from typer.testing import CliRunner

from domain.clock import from_us, iso
from domain.errors import NotFound
from server.cli import app
from tests.unit.alerting.blocks import S

pytestmark = pytest.mark.stack

T0 = 1_790_000_000_000_000
HOUR = 3_600 * S


def fill(url: str) -> None:
    """A device with a quiet day and a jump at hour 30, its namesake in a run, and another device."""
    with psycopg.connect(url) as conn:
        keys = [
            conn.execute(
                "INSERT INTO device (id, run, kind) VALUES (%s, %s, 'tilt') RETURNING key", [name, run]
            ).fetchone()
            for name, run in (("T-1", None), ("T-1", "x"), ("T-2", None))
        ]
        metrics = [
            conn.execute("INSERT INTO metric (name) VALUES (%s) RETURNING key", [name]).fetchone()
            for name in ("tilt_x_deg", "temperature_c")
        ]
        assert all(keys)
        assert all(metrics)
        rows = [
            (from_us(T0 + hour * HOUR), device[0], metric[0], value + (5.0 if hour == 30 else 0.01 * (hour % 3)))
            for hour in range(48)
            for device, value in zip(keys, (0.1, 7.0, 9.0), strict=True)
            if device
            for metric in metrics
            if metric
        ]
        with conn.cursor() as cursor:
            cursor.executemany("INSERT INTO reading VALUES (%s, %s, %s, %s, -1, false)", rows)


def backtest(url: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[list[list[str]], str]:
    monkeypatch.setenv("GRIDPULSE_DATABASE_URL", url)
    result = CliRunner().invoke(app, ["backtest", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return list(csv.reader(io.StringIO(result.stdout)))[1:], result.stderr


def test_stored_readings_of_one_device(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database_url)
    day = ("--from", iso(T0)[:19], "--to", iso(T0 + 40 * HOUR)[:19])
    monkeypatch.setenv("GRIDPULSE_TIMEZONE", "UTC")
    rows, said = backtest(
        database_url, monkeypatch, "--device", "T-1", "--metric", "tilt_x_deg", *day, "--detector", "change"
    )
    assert len(rows) == 40
    assert rows[0][:2] == [iso(T0), "0.1"]
    assert float(rows[30][1]) == 5.1
    assert said.startswith("40 rows, ")
    drift, _ = backtest(
        database_url, monkeypatch, "--device", "T-1", "--metric", "tilt_x_deg", *day, "--detector", "drift"
    )
    assert [row[0] for row in drift] == [row[0] for row in rows], "the companion is learnt from, not written"


def test_a_device_without_readings_is_named(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database_url)
    with pytest.raises(NotFound, match="no readings tilt_x_deg of device T-9"):
        backtest(
            database_url, monkeypatch, "--device", "T-9", "--metric", "tilt_x_deg", "--from", "2026-01-01",
            "--detector", "auto",
        )  # fmt: skip
