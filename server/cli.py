"""The ``gridpulse`` command: one sub-command a verb, errors in one line, exit 0 done, 1 failed, 2 wrong usage.

A command's module is imported when the command is asked for, so that ``gridpulse token`` does not read what
``gridpulse backtest`` needs. Nothing else is decided here.
"""

from __future__ import annotations

import sys
from collections import UserDict
from importlib import import_module
from importlib.metadata import version as installed_version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from domain.errors import GridpulseError

COMMANDS = {
    "up": "up.up",
    "migrate": "up.migrate",
    "import": "imports.import_command",
    "match": "match.match_command",
    "duties": "duties.duties_command",
    "simulate": "traffic.simulate",
    "replay": "traffic.replay",
    "record": "traffic.record",
    "load": "traffic.load",
    "backtest": "backtest.backtest",
    "ledger": "ledger.ledger",
    "token": "accounts.token",
    "doctor": "doctor.doctor",
    "exercise": "traffic.exercise",
    "quarantine": "quarantine.app",
    "user": "accounts.app",
    "device": "devices.app",
    "ca": "ca.app",
}
"""Where each is, under ``server.commands``: a function, or a ``typer.Typer`` of several."""
STYLE: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}


class Found(UserDict[str, Any]):
    """Commands by name; one is imported when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        """The command. Raises: KeyError."""
        module, attribute = self.data[name].split(".")
        what = getattr(import_module(f"server.commands.{module}"), attribute)
        shelf = typer.Typer(**STYLE, callback=root)
        if isinstance(what, typer.Typer):
            shelf.add_typer(what, name=name)
        else:
            shelf.command(name)(what)
        group: Any = typer.main.get_command(shelf)
        return group.commands[name]


class Commands(TyperGroup):
    """A group that finds its commands in the table."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = Found(COMMANDS)


app = typer.Typer(
    name="gridpulse",
    cls=Commands,
    help="Gridpulse: from a sensor's reading to the unit whose duty it is. "
    "Environment variables GRIDPULSE_… and gridpulse.toml are described in docs/reference/settings.md.",
    no_args_is_help=True,
    **STYLE,
)


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        typer.echo(f"gridpulse {installed_version('gridpulse')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """From a sensor's reading to the unit whose duty it is."""


def main() -> None:
    """Entry point: what a person can act on is one line on standard error, exit code 1."""
    try:
        app()
    except GridpulseError as error:
        typer.echo(f"gridpulse: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
