"""The commands' arguments; what they do with a server is in tests/integration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from domain.errors import GridpulseError, ImportFileError, NotAllowed
from server.cli import app
from simulators.scenarios.catalogue import SCENARIOS


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDPULSE_HOME", str(tmp_path / "home"))


def gridpulse(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate"],
        ["simulate", "earthquake"],
        ["simulate", "quake", "--speed", "fast"],
        ["simulate", "quake", "--seed", "-1"],
        ["replay"],
        ["replay", "nothing.jsonl"],
        ["replay", "q.jsonl", "--start-at", "yesterday"],
        ["replay", "q.jsonl", "--map-to", "demo", "--devices", "q.jsonl"],
        ["record"],
        ["load"],
        ["load", "--rate", "much"],
        ["load", "--rate", "-5"],
        ["load", "--rate", "5", "--payload", "big"],
        ["exercise", "purge"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: Sequence[str]) -> None:
    Path("q.jsonl").write_text('{"t":1,"topic":"sensors/a/readings","payload":"{}"}\n')
    assert gridpulse(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate", "quake"],
        ["replay", "q.jsonl"],
        ["record", "--out", "r.jsonl"],
        ["load", "--rate", "5"],
        ["exercise", "list"],
        ["exercise", "purge", "sim-1"],
    ],
)
def test_without_a_server_each_says_how_to_start_one(arguments: Sequence[str]) -> None:
    Path("q.jsonl").write_text('{"t":1,"topic":"sensors/a/readings","payload":"{}"}\n')
    error = gridpulse(*arguments).exception
    assert isinstance(error, GridpulseError)
    assert "gridpulse up" in str(error)
    assert not Path("r.jsonl").exists()


def test_live_runs_are_refused_where_they_are_not_allowed() -> None:
    for arguments in (["simulate", "quake"], ["load", "--rate", "5"]):
        error = gridpulse(*arguments, "--as-live").exception
        assert isinstance(error, NotAllowed)
        assert "GRIDPULSE_RUNS_AS_LIVE" in str(error)


def test_a_broken_file_is_told_before_anything_is_sent() -> None:
    Path("q.jsonl").write_text('{"t":1,"topic":"sensors/a/readings","payload":"{}"}\nbroken\n')
    error = gridpulse("replay", "q.jsonl").exception
    assert isinstance(error, ImportFileError)
    assert "q.jsonl line 2" in str(error)


def test_the_list_names_all_scenarios_in_both_languages() -> None:
    shown = gridpulse("simulate", "--list")
    assert shown.exit_code == 0
    for scenario in SCENARIOS.values():
        assert scenario.name in shown.output
    assert "地震" in shown.output


@pytest.mark.parametrize("command", ["simulate", "replay", "record", "load"])
def test_help_has_an_example(command: str) -> None:
    shown = gridpulse(command, "--help")
    assert shown.exit_code == 0
    assert f"Example: gridpulse {command}" in " ".join(shown.output.split())
