"""What every question of the API is limited to: an area, as ``Actor.sees`` says it, and an exercise."""

from __future__ import annotations

from typing import LiteralString

AREA: LiteralString = """
(%(area)s::text = '' OR starts_with(grid, %(area)s) OR starts_with(village, %(area)s)
 OR starts_with(town, %(area)s))
"""

OF_EXERCISE = "(%(exercise)s::text = 'any' OR exercise IS NOT DISTINCT FROM %(exercise)s::text)"
