"""Generated roads and house numbers: addresses inside their cells, with 25-digit codes.

Each village has its own roads; in each of its cells two or three stretches of
them run across, with houses on both sides, odd numbers left and even right. Road
names are put together from common Chinese syllables. No address here is a real
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from domain.addresses import SHENZHEN
from geo.addresses import AddressColumns
from geo.codes import address_code
from geo.geodesy import LocalPlane

Float64 = NDArray[np.float64]

SIDE_M = 12.0
"""From the middle of the road to a house."""

INSET = 0.75
"""Roads end at this share of the way from a cell's middle to its border, so houses stay inside."""

_FIRST = "新振富兴东西南北沿金永长德福华文和联同建"
_SECOND = "兴华民安江隆盛泰康宁丰源湖岭塘埔"
_KINDS = ("路", "大道", "街", "一路", "二路", "中路")
_STRETCHES = 3


@dataclass(frozen=True, slots=True)
class CellGround:
    """A cell to build on: its code and outline (degrees), and the names of its village and town."""

    code: str
    outline: Any
    village: str
    town: str


def road_names(count: int, rng: np.random.Generator) -> list[str]:
    """``count`` different road names, at most 1,920."""
    every = [a + b + kind for kind in _KINDS for a in _FIRST for b in _SECOND if a != b]
    return [every[i] for i in rng.choice(len(every), count, replace=False).tolist()]


def build_addresses(
    grounds: Sequence[CellGround], total: int, plane: LocalPlane, rng: np.random.Generator
) -> AddressColumns:
    """``total`` addresses over the cells, in order of their codes; cells of a village together."""
    share = rng.dirichlet(np.full(len(grounds), 4.0))
    houses = np.floor(share * (total - len(grounds))).astype(int) + 1
    houses[np.argsort(-share, kind="stable")[: total - int(houses.sum())]] += 1
    roads = _roads_of_villages(grounds, rng)
    numbered: dict[tuple[str, str], list[int]] = {}
    ids: list[str] = []
    texts: list[str] = []
    names: list[str] = []
    numbers: list[str] = []
    cells: list[str] = []
    points: list[Float64] = []
    for ground, count in zip(grounds, houses.tolist(), strict=True):
        village = ground.code[:12]
        chosen = roads[village]
        at = int(ground.code[12:]) - 1
        stretch, side, where = _houses(ground.outline, count, plane, rng)
        points.append(where)
        for building, (k, even) in enumerate(zip(stretch.tolist(), side.tolist(), strict=True), 1):
            road = chosen[(at + k) % len(chosen)]
            last = numbered.setdefault((village, road), [-1, 0])
            last[even] += 2
            number = f"{last[even]}号"
            ids.append(address_code(ground.code, building, rule=SHENZHEN))
            texts.append(f"东莞市{ground.town}{ground.village}{road}{number}")
            names.append(road)
            numbers.append(number)
            cells.append(ground.code)
    lon, lat = plane.to_lonlat(*np.vstack(points).T)
    return AddressColumns(ids, texts, names, numbers, cells, np.round(lon, 6), np.round(lat, 6))


def _roads_of_villages(grounds: Sequence[CellGround], rng: np.random.Generator) -> dict[str, list[str]]:
    """Each village's roads: one more than it has cells; no name twice within a town."""
    cells: dict[str, int] = {}
    for ground in grounds:
        cells[ground.code[:12]] = cells.get(ground.code[:12], 0) + 1
    roads: dict[str, list[str]] = {}
    for town in sorted({village[:9] for village in cells}):
        villages = [village for village in cells if village.startswith(town)]
        names = iter(road_names(sum(cells[v] + 1 for v in villages), rng))
        for village in villages:
            roads[village] = [next(names) for _ in range(cells[village] + 1)]
    return roads


def _houses(
    outline: Any, count: int, plane: LocalPlane, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], Float64]:
    """Of each house: its stretch of road, its side (0 odd, 1 even), and where it stands (metres)."""
    degrees = shapely.get_coordinates(outline)[:-1]
    ring = np.column_stack(plane.to_xy(degrees[:, 0], degrees[:, 1]))
    middle = ring.mean(axis=0)
    ring = np.vstack([ring, ring[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(ring, axis=0).T))])
    # A stretch runs from one place on the border to about the opposite one, drawn in towards the middle.
    start = rng.uniform(0.0, 1.0, _STRETCHES)
    end = start + rng.uniform(0.4, 0.6, _STRETCHES)
    a = middle + INSET * (_on_ring(ring, along, start) - middle)
    b = middle + INSET * (_on_ring(ring, along, end) - middle)
    stretch = np.sort(rng.integers(0, _STRETCHES, count))
    side = rng.integers(0, 2, count)
    share = rng.uniform(0.0, 1.0, count)
    share = share[np.lexsort((share, stretch))]
    way = b - a
    left = np.column_stack([-way[:, 1], way[:, 0]]) / np.maximum(np.hypot(*way.T), 1.0)[:, None]
    where = a[stretch] + share[:, None] * way[stretch] + (SIDE_M * (1 - 2 * side))[:, None] * left[stretch]
    return stretch, side, where


def _on_ring(ring: Float64, along: Float64, share: Float64) -> Float64:
    """Points at these shares (1 = once around) of a closed ring."""
    wanted = (share % 1.0) * along[-1]
    return np.column_stack([np.interp(wanted, along, ring[:, 0]), np.interp(wanted, along, ring[:, 1])])
