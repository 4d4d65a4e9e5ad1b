from __future__ import annotations

import csv
import io
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from typer.testing import CliRunner

from domain.clock import to_us
from domain.errors import GridpulseError, ImportFileError
from server.cli import app
from server.commands.series_files import Chunk, one_time_us, read_chunks, times_us

ZONE = ZoneInfo("Asia/Shanghai")
RULES = """
[[rule]]
id = "hot"
detector = "threshold"
kind = "fire.temperature"
[rule.settings]
metric = "temperature_c"
levels = {3 = 60, 2 = 75}
clear = 55

[[rule]]
id = "odd"
detector = "level"
[rule.settings]
metric = "temperature_c"
learn_s = 0
"""


def run(*arguments: str, given: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["backtest", *arguments], input=given)
    if isinstance(result.exception, GridpulseError):  # what main() prints in one line
        return 1, result.stdout, str(result.exception)
    return result.exit_code, result.stdout, result.stderr


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def scored(text: str) -> list[list[str]]:
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["timestamp", "value", "score", "alert"]
    return rows[1:]


def test_a_threshold_of_a_rules_file_over_a_csv(tmp_path: Path) -> None:
    series = written(tmp_path / "t.csv", "timestamp,value\n2026-11-25 08:00:00,20\n2026-11-25 08:00:01,61.50\n"
                     "2026-11-25 08:00:02,\n2026-11-25 08:00:03,50\n")  # fmt: skip
    rules = written(tmp_path / "rules.toml", RULES)
    code, out, said = run(series, "--detector", "threshold", "--rules", rules)
    assert code == 0
    assert scored(out) == [
        ["2026-11-25 08:00:00", "20", "0", "0"], ["2026-11-25 08:00:01", "61.50", "0.55", "1"],
        ["2026-11-25 08:00:02", "", "0", "1"], ["2026-11-25 08:00:03", "50", "0", "0"],
    ]  # fmt: skip
    assert said.startswith("4 rows, 2 alerts, ")
    assert "1 blank" in said
    assert run(series, "--detector", "odd", "--rules", rules)[0] == 0


def test_auto_over_columns_in_any_order_without_settings_to_a_file(tmp_path: Path) -> None:
    t = 1_700_000_000 + np.arange(400) * 600
    v = np.sin(np.arange(400) / 9)
    v[300] = 30
    rows = "\n".join(f"x,{value},{time}" for time, value in zip(t, v, strict=True))
    series = written(tmp_path / "s.csv", f"site,Value,Timestamp\n{rows}\n")
    code, out, said = run(series, "--detector", "auto", "--out", str(tmp_path / "out.csv"))
    assert (code, out) == (0, "")
    found = scored((tmp_path / "out.csv").read_text())
    assert [row[0] for row in found] == [str(time) for time in t]
    assert [i for i, row in enumerate(found) if row[3] == "1"] == [300]
    assert "400 rows, 1 alerts" in said


def test_standard_input_without_a_header() -> None:
    code, out, _ = run("-", "--detector", "change", given="1700000000,1\n1700000060,2\n")
    assert code == 0
    assert [row[:2] for row in scored(out)] == [["1700000000", "1"], ["1700000060", "2"]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("timestamp,value\n2026-11-25 08:00:00,1\nyesterday,2\n", "line 3: timestamp 'yesterday' is neither"),
        ("timestamp,value\n1700000000,1\n1700000001,warm\n", "line 3: value 'warm' is not a number"),
        ("timestamp,value\n1700000000\n", "line 2: only 1 columns"),
        ("when,reading\n1700000000,1\n", "line 1: name two columns timestamp and value"),
        ("", "has no rows"),
        ("timestamp,value\n1e300,1\n", "line 2: timestamp"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    series = written(tmp_path / "t.csv", text)
    with pytest.raises(ImportFileError, match=says):
        list(read_chunks(Path(series), ZONE))
    code, _, said = run(series, "--detector", "auto")
    assert code == 1
    assert says.split(":")[0] in said


def test_wrong_usage_is_2_and_says_what_to_do(tmp_path: Path) -> None:
    series = written(tmp_path / "t.csv", "timestamp,value\n1700000000,1\n")
    for arguments, says in (
        ((series, "--detector", "magic"), "no detector"), ((series,), "--detector"),
        (("--detector", "auto"), "FILE.csv"),
        ((series, "--detector", "threshold"), "levels"), (("--device", "T-1", "--detector", "auto"), "--from"),
    ):  # fmt: skip
        code, _, said = run(*arguments)
        assert code == 2, arguments
        assert says in said
    code, _, said = run(str(tmp_path / "none.csv"), "--detector", "auto")
    assert (code, "cannot be read" in said) == (1, True)
    bad = "[[rule]]\nid = 'x'\ndetector = 'threshold'\n[rule.settings]\nmetric = 'm'\n"
    rules = written(tmp_path / "bad.toml", bad)
    code, _, said = run(series, "--rules", rules)
    assert code == 1
    assert "bad.toml: rule x: levels" in said


def test_help_names_each_detector_with_its_cost() -> None:
    said = " ".join(CliRunner().invoke(app, ["backtest", "--help"], env={"COLUMNS": "300"}).stdout.split())
    for name in ("auto", "threshold", "level", "change", "season", "drift", "shape"):
        assert f"{name}:" in said
    assert "µs a value" in said


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-11-25 08:00:00", "2026-11-25T00:00:00+00:00"), ("2026-11-25T08:00:00Z", "2026-11-25T08:00:00+00:00"),
        ("2026-11-25T08:00:00.5+02:00", "2026-11-25T06:00:00.500000+00:00"),
        ("2026/11/25 08:00", "2026-11-25T00:00:00+00:00"), ("2026-11-25", "2026-11-24T16:00:00+00:00"),
        ("1764057600", "2025-11-25T08:00:00+00:00"), ("1764057600000", "2025-11-25T08:00:00+00:00"),
        ("1764057600.25", "2025-11-25T08:00:00.250000+00:00"),
    ],
)  # fmt: skip
def test_times_of_all_forms(text: str, iso: str) -> None:
    from datetime import datetime

    expected = to_us(datetime.fromisoformat(iso))
    assert one_time_us(text, ZONE) == expected
    assert times_us([text] * 3, ZONE).tolist() == [expected] * 3
    assert times_us([text, "2026-11-25T08:00:00Z"], ZONE)[0] == expected


def test_local_times_over_a_change_of_the_clocks() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    texts = ["2026-03-29 01:59:59", "2026-03-29 03:00:00", "2026-10-25 02:30:00"]
    assert times_us(texts, berlin).tolist() == [one_time_us(text, berlin) for text in texts]
    assert times_us(texts, berlin)[1] - times_us(texts, berlin)[0] == 1_000_000


def test_chunks_are_of_the_asked_size_and_lose_nothing(tmp_path: Path) -> None:
    text = "timestamp,value\n" + "".join(f"{1_700_000_000 + i},{i}\n\n" for i in range(25))
    chunks: list[Chunk] = list(read_chunks(Path(written(tmp_path / "t.csv", text)), ZONE, rows=10))
    assert [len(c.value) for c in chunks] == [10, 10, 5]
    assert np.concatenate([c.value for c in chunks]).tolist() == list(range(25))
    assert [c.done for c in chunks] == sorted(c.done for c in chunks)
