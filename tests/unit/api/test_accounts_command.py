"""``gridpulse user`` and ``token``: wrong input is told before anything is touched."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from domain.errors import CodeError, GridpulseError
from server.commands.accounts import app


@pytest.mark.parametrize("command", ["add", "list", "disable"])
def test_help_has_an_example(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert "Example: gridpulse user" in done.output


@pytest.mark.parametrize(
    ("arguments", "password", "kind", "says"),
    [
        (["add", "li", "--password-stdin"], "short\n", GridpulseError, "8 characters"),
        (["add", "li", "--password-stdin", "--role", "king"], "long enough\n", GridpulseError, "responder"),
        (["add", "li", "--password-stdin", "--area", "town"], "long enough\n", CodeError, "town 9"),
        (["add", "l i", "--password-stdin"], "long enough\n", GridpulseError, "1 to 64"),
        (["add", "li"], "", GridpulseError, "--password-stdin"),
    ],
)
def test_accounts_that_cannot_be(
    arguments: list[str], password: str, kind: type[Exception], says: str
) -> None:
    done = CliRunner().invoke(app, arguments, input=password)
    assert isinstance(done.exception, kind)
    assert says in str(done.exception)


def test_wrong_usage_is_2() -> None:
    assert CliRunner().invoke(app, ["add"]).exit_code == 2
