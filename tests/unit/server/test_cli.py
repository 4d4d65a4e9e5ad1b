"""The command line finds each command by itself, and imports no other's modules."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import typer

from server.cli import COMMANDS, app

ASK = """
import sys, typer
from server.cli import app
assert typer.main.get_command(app).commands["token"].name == "token"
import server.connect
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"numpy", "alerting", "simulators", "fastapi"}))
"""


def test_each_command_of_the_table_is_there_under_its_name() -> None:
    group: Any = typer.main.get_command(app)
    assert {name: command.name for name, command in group.commands.items()} == {name: name for name in COMMANDS}


def test_a_small_command_does_not_read_what_a_large_one_needs() -> None:
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
