"""Regions and grid cells as rows, the numbering of cells, and whether a layer tiles.

Cells are numbered within their village from west to east and from north to south
(unit grid standard, DB11 5.4): northern band first, in each band from the west.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.codes import parse_cell, parse_division

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

LEVELS = ("city", "town", "village")


@dataclass(frozen=True, slots=True)
class Region:
    """A city, town or village with its outline (a shapely polygon, WGS-84 degrees)."""

    code: str
    level: str
    name: str
    outline: Any
    name_en: str = ""
    kind: str = ""

    @property
    def parent(self) -> str | None:
        """The code one level up."""
        return parse_division(self.code).parent


@dataclass(frozen=True, slots=True)
class Cell:
    """A grid cell with its outline (a shapely polygon, WGS-84 degrees)."""

    code: str
    outline: Any

    @property
    def village(self) -> str:
        """The 12-digit village it lies in."""
        return parse_cell(self.code).village

    @property
    def town(self) -> str:
        """The 9-digit town it lies in."""
        return self.village[:9]


def numbering_order(x: Float64, y: Float64, band_m: float) -> Int64:
    """The order in which cells with these middles (metres) are numbered; bands run east-west."""
    band = np.floor((np.max(y, initial=0.0) - y) / band_m)
    return np.lexsort((x, band)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two outlines of one layer that share ground; square degrees say how much."""

    code: str
    other: str
    area_deg2: float


def overlaps(codes: Sequence[str], outlines: Sequence[Any], above_deg2: float = 0.0) -> list[Overlap]:
    """Pairs of outlines that overlap by more than ``above_deg2`` (0.01 ha is about 1e-8)."""
    shapes = np.array(outlines, dtype=object)
    one, two = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    one, two = one[one < two], two[one < two]
    shared = shapely.area(shapely.intersection(shapes[one], shapes[two]))
    return [
        Overlap(codes[i], codes[j], float(area))
        for i, j, area in zip(one.tolist(), two.tolist(), shared.tolist(), strict=True)
        if area > above_deg2
    ]
