"""The drawings that ``make docs`` writes to ``docs/reference/sketches/``: file name → SVG.

Every drawing is made from generated signals: what is drawn can be made again by anyone
and carries nobody's licence. A detector's sketches stand in a module of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from docs.made.scalar_sketches import SCALAR_SKETCHES

SKETCHES: Mapping[str, Callable[[], str]] = {**SCALAR_SKETCHES}
