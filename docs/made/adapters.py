"""Adapters: each module's own head, and the tables of names, as the code has them."""

from __future__ import annotations

import ast
import re
from importlib import import_module

from docs.made.markdown import code, number, table
from ingest.adapters.catalogue import ADAPTERS
from ingest.adapters.event_types import TYPES
from ingest.adapters.metric_names import KNOWN, UNIT_SUFFIX
from server.settings import HOOKS, HOOKS_KNOWN


def adapters() -> str:
    """Every adapter's head: topics, fields, peculiarities."""
    return "\n\n".join(section(name) for name in sorted(ADAPTERS))


def section(name: str) -> str:
    """One adapter as a heading and its module's docstring, tables as they stand."""
    module = import_module(f"ingest.adapters.{name}")
    assert module.__file__ is not None
    with open(module.__file__, encoding="utf-8") as source:
        text = ast.get_docstring(ast.parse(source.read())) or ""
    text = re.sub(r"\b[A-Z]+(?:_[A-Z]+)*_(?:MAX|S)\b", lambda m: number(getattr(module, m[0])), text)
    way = "HTTP and MQTT" if name in HOOKS_KNOWN else "MQTT"
    parts = [f"### `{name}`", f"By {way}."]
    for block in re.split(r"\n\n(?=\S)|\n\n(?=    )", text):
        if block.startswith("    "):
            parts.append("```text\n" + "\n".join(line[4:] for line in block.splitlines()) + "\n```")
        else:
            parts.append(re.sub(r"``([^`]+)``", r"`\1`", block.replace("\n", " ")))
    return "\n\n".join(parts)


def hook_names() -> str:
    """Which adapters come over HTTP, and which are open."""
    shut = "no: name it in `GRIDPULSE_HOOKS`"
    rows = [(code(name), "yes" if name in HOOKS else shut) for name in sorted(HOOKS_KNOWN)]
    return table(("hook", "open from the start"), rows)


def metric_names() -> str:
    """Our metric ← what vendors call it."""
    ours: dict[str, list[str]] = {}
    for vendor, metric in KNOWN.items():
        ours.setdefault(metric, []).append(vendor)
    return table(
        ("metric", "vendors' names, in snake_case"),
        [(code(metric), ", ".join(map(code, names))) for metric, names in sorted(ours.items())],
    )


def unit_names() -> str:
    """The last part of a metric's name ← units as sources write them."""
    ours: dict[str, list[str]] = {}
    for unit, suffix in UNIT_SUFFIX.items():
        ours.setdefault(suffix, []).append(unit)
    rows = [(code(f"_{suffix}"), ", ".join(map(code, units))) for suffix, units in ours.items()]
    return table(("last part", "units"), rows)


def event_types() -> str:
    """Our event type ← vendors' words."""
    ours: dict[str, list[str]] = {}
    for word, type_ in TYPES.items():
        ours.setdefault(type_, []).append(word)
    return table(("type", "vendors' words"), [(code(t), ", ".join(map(code, words))) for t, words in ours.items()])
