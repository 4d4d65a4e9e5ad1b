"""Pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Row = Sequence[object]


def table(head: Sequence[str], rows: Iterable[Row]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def cell(value: object) -> str:
    """One cell: a bar would end it."""
    return str(value).replace("|", "\\|").replace("\n", " ")


def code(value: object) -> str:
    """As code; nothing for nothing."""
    return "" if value in (None, "") else f"`{value}`"


def number(value: object) -> str:
    """A number as people write it: thousands with commas, no needless decimals."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
