"""What lies in the caller's area, as ``Actor.sees`` says it."""

from __future__ import annotations

from typing import LiteralString

AREA: LiteralString = """
(%(area)s::text = '' OR starts_with(grid, %(area)s) OR starts_with(village, %(area)s)
 OR starts_with(town, %(area)s))
"""
