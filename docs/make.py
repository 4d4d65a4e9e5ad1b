"""``make docs``: writes the parts of the documentation that are made from code.

A page holds pairs of markers, and what stands between them is written here:

    <!-- made: settings -->
    …
    <!-- end: settings -->

``python -m docs.make`` rewrites the pages, ``--check`` only says which are old (exit
code 1). Refuses unknown and unclosed markers. Everything else on a page is written
by people. The drawings in ``docs/reference/sketches`` are made whole.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from docs.made.sections import SECTIONS
from docs.made.sketches import SKETCHES

ROOT = Path(__file__).resolve().parents[1]
DRAWINGS = ROOT / "docs/reference/sketches"
BLOCK = re.compile(r"<!-- made: (?P<name>[a-z0-9-]+) -->\n(?P<body>.*?)<!-- end: (?P=name) -->", re.DOTALL)
OPENING = re.compile(r"<!-- made: ([a-z0-9-]+) -->")


def pages() -> list[Path]:
    """Every Markdown page of the project."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def markers(text: str) -> list[str]:
    """The names of the parts that are made here. Raises: ValueError for a marker that does not fit."""
    opened = OPENING.findall(text)
    closed = [match["name"] for match in BLOCK.finditer(text)]
    if opened != closed:
        raise ValueError(f"markers {opened} are not closed one by one; closed are {closed}")
    if unknown := set(opened) - set(SECTIONS):
        raise ValueError(f"no such part in docs/made/sections.py: {', '.join(sorted(unknown))}")
    return opened


def renewed(text: str) -> str:
    """The page with its made parts as the code is now. Raises: ValueError."""
    markers(text)

    def made(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- made: {name} -->\n{SECTIONS[name]().strip()}\n<!-- end: {name} -->"

    return BLOCK.sub(made, text)


def old_pages() -> Iterator[tuple[Path, str]]:
    """Pages whose made parts are not as the code is now, with the text they should have."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        try:
            wanted = renewed(text)
        except ValueError as error:
            raise ValueError(f"{page.relative_to(ROOT)}: {error}") from error
        if wanted != text:
            yield page, wanted


def old_drawings() -> Iterator[tuple[Path, str]]:
    """Drawings that are not as the code is now, with what they should be."""
    for name, draw in SKETCHES.items():
        path, wanted = DRAWINGS / f"{name}.svg", draw()
        if not path.exists() or path.read_text(encoding="utf-8") != wanted:
            yield path, wanted


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit code."""
    old = [*old_pages(), *old_drawings()]
    for page, text in old:
        sys.stdout.write(f"{page.relative_to(ROOT)}\n")
        if "--check" not in arguments:
            page.parent.mkdir(exist_ok=True)
            page.write_text(text, encoding="utf-8")
    return 1 if old and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
