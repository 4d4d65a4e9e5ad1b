"""The ``gridpulse`` command: one sub-command a verb, errors in one line, exit 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from domain.errors import GridpulseError
from server.commands import accounts, ca, devices, quarantine, traffic
from server.commands.backtest import backtest
from server.commands.doctor import doctor
from server.commands.duties import duties_command
from server.commands.imports import import_command
from server.commands.ledger import ledger
from server.commands.match import match_command
from server.commands.up import migrate, up

app = typer.Typer(
    name="gridpulse",
    help="Gridpulse: from a sensor's reading to the unit whose duty it is. "
    "Environment variables GRIDPULSE_… and gridpulse.toml are described in docs/reference/settings.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
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


app.command("up")(up)
app.command("migrate")(migrate)
app.command("import")(import_command)
app.command("match")(match_command)
app.command("duties")(duties_command)
app.command("simulate")(traffic.simulate)
app.command("replay")(traffic.replay)
app.command("record")(traffic.record)
app.command("load")(traffic.load)
app.add_typer(traffic.exercise, name="exercise")
app.command("backtest")(backtest)
app.command("ledger")(ledger)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(accounts.app, name="user")
app.command("token")(accounts.token)
app.add_typer(devices.app, name="device")
app.add_typer(ca.app, name="ca")
app.command("doctor")(doctor)


def main() -> None:
    """Entry point: what a person can act on is one line on standard error, exit code 1."""
    try:
        app()
    except GridpulseError as error:
        typer.echo(f"gridpulse: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
