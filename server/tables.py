"""Lists on standard output: aligned for people, tab-separated for programs, never cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """One row a line; None and False are blank, True is yes."""
    console = Console(highlight=False)
    cells = ([shown(cell) for cell in row] for row in rows)
    if not console.is_terminal:
        for line in (headings, *cells):
            console.file.write("\t".join(line) + "\n")
        return
    table = Table(box=box.SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in cells:
        table.add_row(*row)
    console.print(table)


def shown(cell: object) -> str:
    """A cell as text."""
    if cell is None or cell is False:
        return ""
    return "yes" if cell is True else str(cell)
