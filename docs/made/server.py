"""Settings, commands and scenarios, as the program itself has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import typer

from docs.made.markdown import code, number, table
from server.cli import app as command_line
from server.settings import (
    MINUTES_DAYS,
    POSITIONS_DAYS,
    READINGS_DAYS,
    WAVEFORMS_DAYS,
    Settings,
    with_demo_defaults,
)
from simulators.scenarios.catalogue import SCENARIOS


def settings() -> str:
    """All settings with their defaults."""
    demo = with_demo_defaults(environment={}, folder=Path("/nonexistent"))
    days = {
        "readings": READINGS_DAYS,
        "waveforms": WAVEFORMS_DAYS,
        "positions": POSITIONS_DAYS,
        "minutes": MINUTES_DAYS,
    }
    rows = []
    for name, field in Settings.model_fields.items():
        shown = field.default
        if shown is None and (kept := days.get(name.removeprefix("retention_days_"))):
            shown = f"{kept:g}"
        if isinstance(shown, tuple | dict):
            shown = ", ".join(shown)
        text = str(shown).lower() if isinstance(shown, bool) else str(shown) if shown not in (None, "") else "empty"
        if isinstance(field.default, bool) and getattr(demo, name) != field.default:
            text += f" ({str(getattr(demo, name)).lower()} in the demo)"
        rows.append((code(f"GRIDPULSE_{name.upper()}"), text, field.description))
    return table(("name", "default", "meaning"), rows)


def commands() -> str:
    """Every command of ``gridpulse`` with its arguments and options."""
    root: Any = typer.main.get_command(command_line)
    return "\n\n".join(command_text(path, command) for path, command in leaves("gridpulse", root))


def leaves(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The commands that do something, with their whole name."""
    if subcommands := getattr(command, "commands", None):
        for name, sub in subcommands.items():
            yield from leaves(f"{path} {name}", sub)
    else:
        yield path, command


def command_text(path: str, command: Any) -> str:
    """Heading, what it does, its parameters, an example."""
    text, _, example = (command.help or "").partition("Example: ")
    shown = [p for p in command.params if p.name != "help" and not p.hidden]
    usage = " ".join([path, *(parameter_usage(p) for p in shown if p.param_type_name == "argument")])
    parts = [f"### `{usage}`", re.sub(r"\s*\n\s*", " ", text.strip())]
    if shown:
        rows = [(code(parameter_usage(p)), p.help or "", code(default_of(p))) for p in shown]
        parts.append(table(("", "", "default"), rows))
    if example:
        parts.append(f"```sh\n{example.strip()}\n```")
    return "\n\n".join(parts)


def parameter_usage(parameter: Any) -> str:
    """``--rate NUMBER``, ``FILE…``."""
    value = parameter.metavar or value_name(parameter)
    if parameter.param_type_name == "argument":
        name = (parameter.metavar or parameter.name).upper()
        return f"{name}…" if parameter.nargs != 1 else name
    names = ", ".join(sorted((*parameter.opts, *parameter.secondary_opts), key=len, reverse=True))
    return names if getattr(parameter, "is_flag", False) else f"{names} {value}"


def value_name(parameter: Any) -> str:
    """What kind of value an option takes."""
    kind = parameter.type_descriptor.annotation
    if choices := getattr(kind, "__members__", None):
        return "|".join(member.value for member in choices.values())
    names = {int: "N", float: "NUMBER", Path: "FILE"}
    return names.get(kind, "TIME" if "datetime" in str(kind) else "FILE" if "Path" in str(kind) else "TEXT")


def default_of(parameter: Any) -> str:
    """The default, where there is one worth saying."""
    default = parameter.default
    if parameter.required or default in (None, False, "", ()) or callable(default):
        return ""
    return number(default) if isinstance(default, float) else str(getattr(default, "value", default))


@cache
def command_tree() -> dict[str, Any]:
    """Whole name → command, for the checks."""
    return dict(leaves("gridpulse", typer.main.get_command(command_line)))


def scenarios() -> str:
    """The scenarios of ``gridpulse simulate``."""
    rows = [(code(s.name), f"{s.duration_s:.0f}", s.en, s.zh) for s in SCENARIOS.values()]
    return table(("name", "seconds", "what happens", "内容"), rows)
