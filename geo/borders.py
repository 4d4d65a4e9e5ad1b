"""Places that are not points: alerts on a border, events over an area, ground round a point.

- **On a border.** Every territory with ground within some metres of a point is its
  neighbour. The own side leads; exactly on a border (or where outlines overlap) the
  own side is the one with the lowest code, as everywhere (``geo.polygons``). A
  neighbour is named by its finest code only: a cell stands for its village and town.
- **Over an area.** An event belongs to the lowest unit that holds all its points:
  cell, village, town, else the city. One point that nobody can place makes it the city's.
- **In a camera's view.** What a camera sees happened on the ground it looks at, not at its
  mast. The territory of the middle of that ground leads, others in view are neighbours.

Outlines are measured on the city's plane, whose scale is off by up to 0.2 %.
Immutable; new places make a new ``Ground``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from domain.places import IN_VIEW, Place
from geo.cameras import VIEW_MIDDLE, ground_in_view
from geo.locate import SCORE_SCALE_M, Locator, empty_locator
from geo.polygons import PolygonIndex
from geo.zones import PLANE_SLACK, Near, TerritoryNear, ground_m

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

BORDER_WITHIN_M = 20.0
"""An alert this near to another territory concerns both: a house's width and a phone's error."""

NEIGHBOURS_MAX = 4
"""Where more meet, the nearest count."""

LEVELS = ("grid", "village", "town")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A territory beside a point, and the metres to it."""

    level: str
    code: str
    distance_m: float


@dataclass(frozen=True, slots=True)
class Unit:
    """The lowest territory that holds an area, why, and the place that says so."""

    level: str
    code: str | None
    why: str
    place: Place


class Outlines:
    """One layer of outlines in metres, to find all that lie within some metres of points."""

    def __init__(self, level: str, layer: PolygonIndex) -> None:
        self.level = level
        self.codes = layer.codes
        self._plane = layer.plane
        self._shapes: NDArray[np.object_] = shapely.transform(
            layer.outlines, lambda xy: np.column_stack(layer.plane.to_xy(xy[:, 0], xy[:, 1]))
        )
        self._tree = shapely.STRtree(self._shapes)

    def near(self, lon: Float64, lat: Float64, within_m: float) -> Near:
        """Pairs of a point and a row of ``codes`` with ground within ``within_m`` of it."""
        asked = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
        if not len(self.codes) or not len(asked):
            return Near(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        points = shapely.points(*self._plane.to_xy(lon[asked], lat[asked]))
        point, row = self._tree.query(points, predicate="dwithin", distance=within_m)
        metres = shapely.distance(self._shapes[row], points[point])
        order = np.lexsort((row, metres, point))
        return Near(asked[point[order]], row[order].astype(np.int64), metres[order])

    def farthest(self, row: int, lon: float, lat: float) -> float:
        """Metres from a point to the farthest corner of an outline."""
        x, y = self._plane.to_xy(lon, lat)
        corners = shapely.get_coordinates(self._shapes[row])
        return float(np.hypot(corners[:, 0] - x, corners[:, 1] - y).max())


class Ground:
    """Everything that has a place, seen from a point; made of a Locator and as immutable."""

    def __init__(self, locator: Locator) -> None:
        self.locator = locator
        self.layers = [Outlines(level, layer) for level, layer in zip(LEVELS, locator.layers, strict=True)]

    def neighbours(
        self, places: Sequence[Place], lon: ArrayLike, lat: ArrayLike, within_m: float = BORDER_WITHIN_M
    ) -> list[list[Neighbour]]:
        """For each place at its WGS-84 point the other territories within ``within_m``, nearest first."""
        x, y = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
        found: list[list[Neighbour]] = [[] for _ in places]
        for layer in self.layers:
            near = layer.near(x, y, within_m)
            for point, row, metres in near.pairs():
                code, others = layer.codes[row], found[point]
                own = getattr(places[point], layer.level)
                if own is None or code == own or any(other.code.startswith(code) for other in others):
                    continue
                others.append(Neighbour(layer.level, code, round(metres, 1)))
        return [sorted(others, key=lambda n: (n.distance_m, n.code))[:NEIGHBOURS_MAX] for others in found]

    def with_neighbours(
        self, places: Sequence[Place], lon: ArrayLike, lat: ArrayLike, within_m: float = BORDER_WITHIN_M
    ) -> list[Place]:
        """The places with ``neighbours`` filled in, and the neighbours' names by code in ``names``."""
        return [
            place if not beside else replace(
                place, neighbours=tuple(n.code for n in beside), names={**place.names, **self._names_of(beside)}
            )
            for place, beside in zip(places, self.neighbours(places, lon, lat, within_m), strict=True)
        ]  # fmt: skip

    def in_view(
        self, lon: float, lat: float, bearing_deg: float, fov_deg: float, range_m: float,
        box: Sequence[float] | None = None,
    ) -> Place:  # fmt: skip
        """The place of what a camera sees: the ground it looks at, or that behind ``box`` in its picture."""
        x, y = ground_in_view(lon, lat, bearing_deg, fov_deg, range_m, box)
        places = self.locator.points(x, y)
        own, others = places[VIEW_MIDDLE], places[:VIEW_MIDDLE] + places[VIEW_MIDDLE + 1 :]
        if not own.known:
            return own
        unsure = float(np.exp(-range_m / 4.0 / SCORE_SCALE_M))  # half the depth of the ground from its middle
        own = replace(own, method=IN_VIEW, score=round(own.score * unsure, 3))
        [own] = self.with_neighbours([own], x[VIEW_MIDDLE : VIEW_MIDDLE + 1], y[VIEW_MIDDLE : VIEW_MIDDLE + 1])
        metres = ground_m(x[VIEW_MIDDLE], y[VIEW_MIDDLE], np.delete(x, VIEW_MIDDLE), np.delete(y, VIEW_MIDDLE))
        beside: list[Neighbour] = []
        for other, away in sorted(zip(others, metres.tolist(), strict=True), key=lambda pair: pair[1]):
            level = next((v for v in LEVELS if getattr(own, v) and getattr(other, v)), None)
            code = getattr(other, level) if level else None
            if level and code not in (getattr(own, level), *own.neighbours, *(n.code for n in beside)):
                beside.append(Neighbour(level, str(code), round(away, 1)))
        beside = beside[: NEIGHBOURS_MAX - len(own.neighbours)]
        names = {**own.names, **self._names_of(beside)}
        return replace(own, neighbours=(*own.neighbours, *(n.code for n in beside)), names=names)

    def lowest_unit(self, places: Sequence[Place]) -> Unit:
        """The lowest unit that holds all the places (at least one)."""
        lost = sum(not place.known for place in places)
        for level in LEVELS if not lost else ():
            codes = {getattr(place, level) for place in places}
            if len(codes) == 1 and (code := codes.pop()) is not None:
                why = f"all {len(places)} points lie in this {level}"
                return Unit(level, code, why, self._territory_place(code))
        cities = {place.town[:6] for place in places if place.town}
        code = cities.pop() if len(cities) == 1 else None
        why = f"{lost} of {len(places)} points have no place" if lost else "the points lie in several towns"
        return Unit("city", code, why, self._territory_place(code or ""))

    def territories(self, lon: float, lat: float, within_m: float) -> list[TerritoryNear]:
        """Cells, villages and towns with ground within ``within_m`` of a point, finest and nearest first."""
        x, y = np.array([lon]), np.array([lat])
        found = []
        for layer in self.layers:
            near = layer.near(x, y, within_m)
            for _, row, metres in near.pairs():
                far = layer.farthest(row, lon, lat)
                found.append(TerritoryNear(layer.level, layer.codes[row], round(metres, 1), round(far, 1)))
        return found

    def addresses(self, lon: float, lat: float, within_m: float) -> Near:
        """Rows of the locator's addresses within ``within_m``, nearest first."""
        held = self.locator.addresses
        if not (np.isfinite(lon) and np.isfinite(lat)):
            return Near(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        rows = held.around(lon, lat, within_m * PLANE_SLACK)
        metres = ground_m(lon, lat, held.lon[rows], held.lat[rows])
        inside = metres <= within_m
        rows, metres = rows[inside], metres[inside]
        order = np.lexsort((rows, metres))
        return Near(np.zeros(len(rows), np.int64), rows[order], metres[order])

    def address(self, row: int) -> dict[str, Any]:
        """One address of the locator."""
        held = self.locator.addresses
        return {
            "id": held.id(row), "text": held.texts[row],
            "location": {"lon": float(held.lon[row]), "lat": float(held.lat[row])},
        }  # fmt: skip

    def name(self, code: str) -> dict[str, str]:
        """Chinese and English name of a territory; a cell is its village's name and its own number."""
        level = {6: "city", 9: "town"}.get(len(code), "village")
        names = self.locator.names_of(code)
        zh = names.get(level) or code[:12]
        english = names.get(f"{level}_en") or zh
        if len(code) == 15:
            return {"zh": f"{zh}{code[12:]}网格", "en": f"{english} cell {code[12:]}"}
        return {"zh": zh, "en": english}

    def _names_of(self, beside: Sequence[Neighbour]) -> dict[str, str]:
        """Names by code, down to the village, of what the neighbours lie in."""
        named: dict[str, str] = {}
        for neighbour in beside:
            names = self.locator.names_of(neighbour.code)
            for level, digits in (("village", 12), ("town", 9)):
                if level in names and len(neighbour.code) >= digits:
                    named[neighbour.code[:digits]] = names[level]
                    if f"{level}_en" in names:
                        named[f"{neighbour.code[:digits]}_en"] = names[f"{level}_en"]
        return named

    def _territory_place(self, code: str) -> Place:
        """A whole territory as a place: its codes and names, no address."""
        grid, village = (code if len(code) == 15 else None), (code[:12] if len(code) >= 12 else None)
        town = code[:9] if len(code) >= 9 else None
        names = self.locator.names_of(code) if code else {}
        return Place(
            None, None, None, 1.0 if town else 0.0, "area" if town else "none", grid, village, town, names,
            self.locator.version,
        )  # fmt: skip


def empty_ground(at_us: int | None = None) -> Ground:
    """Ground without any place."""
    return Ground(empty_locator())
