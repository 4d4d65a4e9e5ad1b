"""Cells for a village that has none: its ground cut into pieces of about one size.

Middles are spread over the village (Lloyd's algorithm), and each piece of ground
goes to the nearest middle, cut at the village's outline: the cells tile it exactly as
far as outlines are stored (0.1 m). They are numbered from north-west on, as the unit
grid standard asks. They are a first draft to work with: no street or wall is known
here, and who is responsible decides where a border belongs.

The same seed gives the same cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from domain.errors import CodeError
from geo.codes import cell_code
from geo.geodesy import LocalPlane
from geo.grids import Cell, Region, numbering_order

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

CELLS_MAX = 999
_SAMPLES_PER_CELL = 60


def cut_village(village: Region, cell_m2: float, seed: int = 0) -> list[Cell]:
    """Cells of about ``cell_m2`` that tile a village; raises CodeError when they would be more than 999."""
    west, south, east, north = village.outline.bounds
    plane = LocalPlane((west + east) / 2, (south + north) / 2)
    ground = shapely.transform(village.outline, lambda xy: np.column_stack(plane.to_xy(xy[:, 0], xy[:, 1])))
    count = max(1, round(ground.area / cell_m2))
    if count > CELLS_MAX:
        raise CodeError(
            f"village {village.code} would have {count} cells, and codes end at 999;"
            f" make cells of at least {ground.area / CELLS_MAX:.0f} m2"
        )
    rng = np.random.default_rng([seed, int(village.code)])
    pieces = _pieces(ground, spread(_samples(ground, count, rng), count, rng)) if count > 1 else [ground]
    middles = shapely.get_coordinates([shapely.centroid(piece) for piece in pieces])
    order = numbering_order(middles[:, 0], middles[:, 1], float(np.sqrt(cell_m2)))
    return [
        Cell(cell_code(village.code, number), _degrees(pieces[i], plane))
        for number, i in enumerate(order.tolist(), 1)
    ]


def spread(points: Float64, count: int, rng: np.random.Generator, rounds: int = 6) -> Float64:
    """``count`` middles spread over points ``(n, 2)`` (Lloyd's algorithm)."""
    middles = points[rng.choice(len(points), count, replace=False)]
    for _ in range(rounds):
        owner = nearest(points, middles)
        size = np.bincount(owner, minlength=count)
        filled = size > 0
        for axis in (0, 1):
            total = np.bincount(owner, weights=points[:, axis], minlength=count)
            middles[filled, axis] = total[filled] / size[filled]
    return middles


def nearest(points: Float64, middles: Float64) -> Int64:
    """The middle nearest to each point; both ``(n, 2)`` metres."""
    square = (points[:, :1] - middles[:, 0]) ** 2 + (points[:, 1:] - middles[:, 1]) ** 2
    return np.asarray(np.argmin(square, axis=1), np.int64)


def _samples(ground: Any, count: int, rng: np.random.Generator) -> Float64:
    """Points spread evenly over the ground, some for each cell."""
    west, south, east, north = ground.bounds
    wanted = count * _SAMPLES_PER_CELL
    found = np.empty((0, 2))
    while len(found) < wanted:
        points = rng.uniform((west, south), (east, north), (2 * wanted, 2))
        found = np.vstack([found, points[shapely.contains_xy(ground, points[:, 0], points[:, 1])]])
    return found[:wanted]


def _pieces(ground: Any, middles: Float64) -> list[Any]:
    sites = shapely.multipoints(middles)
    tiles = shapely.get_parts(shapely.voronoi_polygons(sites, extend_to=ground, ordered=True))
    cut = shapely.intersection(tiles, ground)
    return [piece for piece in cut.tolist() if piece.area > 0]


def _degrees(piece: Any, plane: LocalPlane) -> Any:
    polygons = [part for part in shapely.get_parts(piece).tolist() if part.geom_type == "Polygon"]
    whole = polygons[0] if len(polygons) == 1 else shapely.multipolygons(polygons)
    return shapely.transform(
        whole, lambda xy: np.round(np.column_stack(plane.to_lonlat(xy[:, 0], xy[:, 1])), 7)
    )
