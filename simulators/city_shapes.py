"""Generated shapes of the demo city: cells that tile, joined to villages, towns and the city.

Everything comes from one Voronoi diagram, so there is nothing to fit together:
its corners are rounded once to millionths of a degree, each cell is a ring of
those corners, and a village, town or city is the sum of its cells. Neighbours
therefore share their border to the last digit. The towns lie near where the real
ones lie and are about as large; the lines between them are invented.

Random numbers come in as a generator; the same one gives the same city.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.generate import nearest, spread
from geo.geodesy import LocalPlane

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

SAMPLE_M = 210.0
CELLS = 3000
CELLS_PER_VILLAGE_MIN = 2
_MARGIN_M = 6000.0
_OUTSIDE_M = 700.0


@dataclass(frozen=True, slots=True)
class TownSketch:
    """What is known of a town: about where (metres), about how large, how many villages."""

    x: float
    y: float
    area_m2: float
    villages: int


@dataclass(frozen=True, slots=True)
class Mesh:
    """The cells: middles in metres ``(n,)``, outlines in degrees, owners, and who touches whom.

    ``town``, ``village``: numbers of the sketch's town and of the village in it;
    ``pairs (m, 2)``: touching cells; ``border (m, 2)``: the middle of their common
    border in metres.
    """

    x: Float64
    y: Float64
    outline: NDArray[np.object_]
    town: Int64
    village: Int64
    pairs: Int64
    border: Float64


def build_mesh(towns: list[TownSketch], plane: LocalPlane, rng: np.random.Generator) -> Mesh:
    """About 3,000 cells over all towns; every town has its villages, each in one piece."""
    inside, outside = _ground(towns, rng)
    owner = _share_out(towns, inside)
    counts = cells_per_town(towns)
    seeds, town = [], []
    for number, count in enumerate(counts):
        seeds.append(spread(inside[owner == number], count, rng))
        town.append(np.full(count, number, np.int64))
    middles, towns_of = np.vstack(seeds), np.concatenate(town)
    outline, pairs, border = _voronoi(middles, outside, plane)
    towns_of = _in_one_piece(towns_of, pairs)
    village = np.zeros(len(middles), np.int64)
    for number, sketch in enumerate(towns):
        mine = np.flatnonzero(towns_of == number)
        village[mine] = _villages(middles[mine], sketch.villages, rng)
    village = _in_one_piece(village, pairs[towns_of[pairs[:, 0]] == towns_of[pairs[:, 1]]], within=towns_of)
    return Mesh(middles[:, 0], middles[:, 1], outline, towns_of, village, pairs, border)


def cells_per_town(towns: list[TownSketch]) -> list[int]:
    """How many cells each town gets: some for each village, the others by area."""
    area = np.array([town.area_m2 for town in towns])
    base = np.array([town.villages * CELLS_PER_VILLAGE_MIN for town in towns])
    count = base + np.round((CELLS - base.sum()) * area / area.sum()).astype(int)
    return [int(n) for n in count]


def joined(outlines: NDArray[np.object_]) -> Any:
    """The sum of cells that share their borders, as one polygon."""
    return shapely.normalize(shapely.coverage_union_all(outlines))


def _ground(towns: list[TownSketch], rng: np.random.Generator) -> tuple[Float64, Float64]:
    """Points spread evenly over the city, and points just outside of it; ``(n, 2)`` metres.

    The city is where the towns' bells add up to most, with the towns' area in
    all: a smooth outline.
    """
    x, y = np.array([t.x for t in towns]), np.array([t.y for t in towns])
    across = np.arange(x.min() - _MARGIN_M, x.max() + _MARGIN_M, SAMPLE_M)
    up = np.arange(y.min() - _MARGIN_M, y.max() + _MARGIN_M, SAMPLE_M)
    points = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    points += rng.uniform(-0.4 * SAMPLE_M, 0.4 * SAMPLE_M, points.shape)
    reach2 = np.array([t.area_m2 for t in towns]) / np.pi * 1.3
    square = (points[:, :1] - x) ** 2 + (points[:, 1:] - y) ** 2
    height = np.exp(-square / reach2).sum(axis=1)
    wanted = int(sum(t.area_m2 for t in towns) / SAMPLE_M**2)
    order = np.argsort(-height, kind="stable")
    inside, rest = points[order[:wanted]], points[order[wanted:]]
    # Outside seeds bound the outer cells; one in eleven samples is about as dense as cells are.
    near = rest[: 2 * wanted]
    kept = near[rng.permutation(len(near))[: len(near) // 11]]
    return inside, kept


def _share_out(towns: list[TownSketch], points: Float64) -> Int64:
    """Which town each point falls to: a power diagram whose weights are fitted to the towns' areas."""
    x, y = np.array([t.x for t in towns]), np.array([t.y for t in towns])
    area = np.array([t.area_m2 for t in towns])
    weight = area / np.pi
    few = points[::4]
    square = (few[:, :1] - x) ** 2 + (few[:, 1:] - y) ** 2
    for _ in range(120):
        share = np.bincount(np.argmin(square - weight, axis=1), minlength=len(towns)) / len(few)
        weight += 0.4 * (area - share * area.sum()) / np.pi
    square = (points[:, :1] - x) ** 2 + (points[:, 1:] - y) ** 2
    return np.asarray(np.argmin(square - weight, axis=1), np.int64)


def _villages(middles: Float64, count: int, rng: np.random.Generator) -> Int64:
    """Which village each cell of a town belongs to; none is empty. Numbered from north-west on."""
    centres = spread(middles, count, rng)
    owner = nearest(middles, centres)
    for village in np.flatnonzero(np.bincount(owner, minlength=count) == 0).tolist():
        largest = int(np.argmax(np.bincount(owner, minlength=count)))
        cells = np.flatnonzero(owner == largest)
        owner[cells[np.argmax(((middles[cells] - centres[largest]) ** 2).sum(axis=1))]] = village
    return owner


def _voronoi(
    middles: Float64, outside: Float64, plane: LocalPlane
) -> tuple[NDArray[np.object_], Int64, Float64]:
    """Outlines of the middles' cells on the lattice of 1e-6 degree, touching pairs, border middles."""
    far = np.min((outside[:, :1] - middles[:, 0]) ** 2 + (outside[:, 1:] - middles[:, 1]) ** 2, axis=1)
    sites = np.vstack([middles, outside[far > _OUTSIDE_M**2]])
    polygons = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(sites), ordered=True))
    polygons = polygons[: len(middles)]
    metres, cell = shapely.get_coordinates(polygons, return_index=True)
    degrees = np.column_stack(plane.to_lonlat(metres[:, 0], metres[:, 1]))
    lattice = np.round(degrees * 1e6).astype(np.int64)
    # Corners that fell together leave a step of no length; rings stay closed.
    step = np.any(np.diff(lattice, axis=0) != 0, axis=1) | (np.diff(cell) != 0)
    keep = np.concatenate([[True], step])
    lattice, cell, metres = lattice[keep], cell[keep], metres[keep]
    rings = shapely.linearrings(lattice / 1e6, indices=cell)
    pairs, border = _touching(lattice, cell, metres)
    return shapely.polygons(rings), pairs, border


def _touching(lattice: Int64, cell: Int64, metres: Float64) -> tuple[Int64, Float64]:
    """Cells with a common border, and its middle. Each border is a step in two rings, once each way."""
    corner = lattice[:, 0] * 1_000_000_000 + lattice[:, 1]
    same = cell[1:] == cell[:-1]
    start, end = corner[:-1][same], corner[1:][same]
    owner, middle = cell[1:][same], ((metres[1:] + metres[:-1]) / 2)[same]
    low, high = np.minimum(start, end), np.maximum(start, end)
    order = np.lexsort((owner, high, low))
    twin = (low[order][1:] == low[order][:-1]) & (high[order][1:] == high[order][:-1])
    one, two = order[:-1][twin], order[1:][twin]
    pairs = np.column_stack([owner[one], owner[two]])
    return pairs.astype(np.int64), middle[one]


def _in_one_piece(owner: Int64, pairs: Int64, within: Int64 | None = None) -> Int64:
    """Owners with every stray piece given to the neighbour it touches most; the largest piece stays."""
    scope = np.zeros(len(owner), np.int64) if within is None else within
    owner = owner.copy()
    for _ in range(20):
        same = (owner[pairs[:, 0]] == owner[pairs[:, 1]]) & (scope[pairs[:, 0]] == scope[pairs[:, 1]])
        piece = _pieces(len(owner), pairs[same])
        stray = _strays(owner, scope, piece)
        if not stray.any():
            break
        for cell in np.flatnonzero(stray).tolist():
            around = np.concatenate([pairs[pairs[:, 0] == cell, 1], pairs[pairs[:, 1] == cell, 0]])
            around = around[(scope[around] == scope[cell]) & ~stray[around]]
            if len(around):
                owner[cell] = np.bincount(owner[around]).argmax()
    return owner


def _pieces(n: int, pairs: Int64) -> Int64:
    """The lowest cell number reachable from each cell over ``pairs``."""
    piece = np.arange(n)
    while True:
        before = piece.copy()
        low = np.minimum(piece[pairs[:, 0]], piece[pairs[:, 1]])
        np.minimum.at(piece, pairs[:, 0], low)
        np.minimum.at(piece, pairs[:, 1], low)
        piece = piece[piece]
        if np.array_equal(piece, before):
            return piece.astype(np.int64)


def _strays(owner: Int64, scope: Int64, piece: Int64) -> Bool:
    """Cells that are not in the largest piece of their owner."""
    size = np.bincount(piece, minlength=len(piece))
    largest: dict[tuple[int, int], int] = {}
    for cell in np.argsort(-size[piece], kind="stable").tolist():
        largest.setdefault((int(scope[cell]), int(owner[cell])), int(piece[cell]))
    home = [largest[(s, o)] for s, o in zip(scope.tolist(), owner.tolist(), strict=True)]
    return np.asarray(piece != np.array(home))
