"""Payloads and quarantine reasons, read from the decoder."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from docs.made.markdown import code, table
from docs.made.words import FIELDS, REASONS
from ingest import codec

ROOT = Path(__file__).resolve().parents[2]

PAYLOADS: Mapping[str, type[msgspec.Struct]] = {
    "readings": codec.ReadingsMessage,
    "waveform": codec.WaveformMessage,
    "status": codec.StatusMessage,
    "camera-event": codec.CameraEventMessage,
    "position": codec.PositionMessage,
}


def payload(name: str) -> str:
    """The keys of one message."""
    rows = [
        (code(f.name), type_name(f.type), "yes" if f.required else "", FIELDS[name][f.name])
        for f in msgspec.structs.fields(PAYLOADS[name])
    ]
    return table(("key", "type", "needed", "meaning"), rows)


def type_name(given: Any) -> str:
    """A JSON type in words, from the annotation."""
    text = str(given)
    if choices := re.findall(r"Literal\[([^\]]*)\]", text):
        return ", ".join(code(choice) for choice in re.findall(r"'([^']+)'", choices[0]))
    return next(words for mark, words in TYPES if mark in text)


# The first mark that the annotation has decides.
TYPES = (
    ("dict", "object of numbers"),
    ("tuple[float", "4 numbers"),
    ("tuple", "list of texts"),
    ("float | int | str", "time"),
    ("bool", "boolean"),
    ("Any", "list of numbers"),
    ("str", "text"),
    ("int", "integer"),
    ("float", "number"),
)


def reasons_in_code() -> set[str]:
    """Every quarantine reason that ingest can give, read from its source.

    A reason is the first argument of ``PayloadError``, or the first of two texts that
    a function returns (the registry's objections).
    """
    found: set[str] = set()
    for path in sorted((ROOT / "ingest").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id="PayloadError"), args=[reason, *_]):
                    found |= texts(reason, tree)
                case ast.Return(value=ast.Tuple(elts=[ast.Constant(value=str() as reason_text), _])):
                    found.add(reason_text)
    return found


def texts(node: ast.expr, tree: ast.AST) -> set[str]:
    """The texts an expression may be: itself, either branch, or what was assigned to its name."""
    match node:
        case ast.Constant(value=str() as value):
            return {value}
        case ast.IfExp(body=body, orelse=orelse):
            return texts(body, tree) | texts(orelse, tree)
        case ast.Name(id=name):
            assigned = [
                n.value
                for n in ast.walk(tree)
                if isinstance(n, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in n.targets)
            ]
            return set().union(*(texts(value, tree) for value in assigned if not isinstance(value, ast.Name)))
    return set()


def quarantine_reasons() -> str:
    """Reason → what was wrong."""
    return table(("reason", "what was wrong"), [(code(r), REASONS[r]) for r in sorted(reasons_in_code())])
