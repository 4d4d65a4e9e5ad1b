"""``gridpulse user`` and ``gridpulse token``: local accounts and bearer tokens."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from domain.errors import GridpulseError
from server.tables import print_table

if TYPE_CHECKING:
    from db.pool import Connection

Result = TypeVar("Result")

app = typer.Typer(help="Local accounts: who may sign in, with which role and area.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="1-64 of A-Za-z0-9._-")]


def on_database(work: Callable[[Connection], Awaitable[Result]]) -> Result:
    """Run work on a connection to the running server's database. Raises: GridpulseError."""
    from db.pool import connect, unavailable
    from server.connect import database_url

    async def connected() -> Result:
        async with await connect(database_url(), name="gridpulse-accounts") as conn:
            with unavailable("changing accounts"):
                return await work(conn)

    return asyncio.run(connected())


def read_password(from_stdin: bool) -> str:
    """One line of standard input, or asked twice on a terminal."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise GridpulseError("no terminal to ask on: give the password with --password-stdin")
    asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return asked


@app.command("add")
def add(
    name: Name,
    role: Annotated[str, typer.Option(help="responder, dispatcher, engineer or operator")] = "responder",
    area: Annotated[
        str, typer.Option(help="code of the town, village or cell the user sees; empty = the whole city")
    ] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="read the password from standard input")
    ] = False,
) -> None:
    """Make an account.

    Example: gridpulse user add li.wei --role responder --area 441900126
    """
    from api.accounts import add_user, check_account

    password = read_password(password_stdin)
    check_account(name, password, role, area)
    on_database(lambda conn: add_user(conn, name, password, role, area))
    typer.echo(f"user {name} added: {role}, {area or 'the whole city'}", err=True)


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False) -> None:
    """Show all accounts.

    Example: gridpulse user list
    """
    from api.accounts import list_users

    users = on_database(list_users)
    if as_json:
        typer.echo(json.dumps(users, default=str, ensure_ascii=False))
        return
    print_table(
        ("name", "role", "area", "state"),
        (
            (user["name"], user["role"], user["area"] or "whole city",
             "disabled" if user["disabled"] else "demo" if user["demo"] else "")
            for user in users
        ),
    )  # fmt: skip


@app.command("disable")
def disable(
    name: Name, enable: Annotated[bool, typer.Option("--enable", help="let the user in again")] = False
) -> None:
    """Sign a user out everywhere and let nobody in under this name.

    Example: gridpulse user disable li.wei
    """
    from api.accounts import disable_user

    on_database(lambda conn: disable_user(conn, name, disabled=not enable))
    typer.echo(f"user {name} {'enabled' if enable else 'disabled'}", err=True)


def token(
    user: Annotated[str, typer.Option("--user", help="the account it is for")],
    ttl: Annotated[float, typer.Option("--ttl", help="seconds it lives")] = 12 * 3600.0,
) -> None:
    """Print a bearer token on standard output.

    Example: curl -H "Authorization: Bearer $(gridpulse token --user dispatcher)" http://127.0.0.1:8080/api/v1/alerts
    """
    from api.accounts import issue_token

    typer.echo(on_database(lambda conn: issue_token(conn, user, ttl)))
