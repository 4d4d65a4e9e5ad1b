"""The drawings that ``make docs`` writes to ``docs/reference/sketches/``: file name → SVG.

Every drawing is made from generated signals: what is drawn can be made again by anyone
and carries nobody's licence. A kind of detector's sketches stand in a module of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from docs.made.scalar_sketches import SCALAR_SKETCHES
from docs.made.waveform_sketches import WAVEFORM_SKETCHES

SKETCHES: Mapping[str, Callable[[], str]] = {**WAVEFORM_SKETCHES, **SCALAR_SKETCHES}

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
SAME_PX = 0.25


def alike(one: str, other: str) -> bool:
    """Whether two drawings differ by less than the eye sees: the last digits depend on the processor."""
    if one == other:
        return True
    if NUMBER.sub("0", one) != NUMBER.sub("0", other):
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    return all(abs(float(a) - float(b)) <= SAME_PX for a, b in pairs)
