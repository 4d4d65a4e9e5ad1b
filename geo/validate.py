"""What is wrong with the outlines of a division, and the repair of what is safe.

wrong code         malformed, used twice, or the outline lies in another parent than its code says
missing parent     no outline under the code one level up
self-intersection  the ring crosses or touches itself
overlap            two outlines of one level share ground
gap                ground between outlines of one level that nobody has
hole               an inner ring that no other outline of the level fills (a gap with one neighbour)
sliver             an overlap or gap that is narrow: the same border drawn twice
fragment           a part of an outline, far smaller than the rest
outside            a village beyond its town, a cell beyond its village
uncovered          ground of a parent, some of whose children are there, that none of them has

Safe is what moves no border by more than ``SLIVER_WIDTH_M`` and gives ground as the
locator would give it anyway (an overlap to the lower code): crossed rings rebuilt while
the area stays, slivers, narrow protrusions out of the parent, and fragments of less
than ``FRAGMENT_M2``. Everything else is a question for whoever drew it, and is only reported.

Measures are metres on the plane around the outlines' middle. Ground below ``AREA_MIN_M2``
or narrower than ``WIDTH_MIN_M`` is rounding (outlines are stored to 0.1 m).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray

from domain.errors import CodeError
from geo.codes import parse_cell, parse_division
from geo.geodesy import LocalPlane
from geo.grids import Cell, Region

AREA_MIN_M2 = 1.0
WIDTH_MIN_M = 0.3
SLIVER_WIDTH_M = 15.0
FRAGMENT_M2 = 3000.0
REBUILT_SHARE = 0.01
MISPLACED_SHARE = 0.5

Geometries = NDArray[np.object_]
Outlined = TypeVar("Outlined", Region, Cell)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: of which outline (and which other), how much ground, how wide, where (WGS-84)."""

    kind: str
    code: str
    detail: str
    other: str = ""
    area_m2: float = 0.0
    width_m: float = 0.0
    lon: float | None = None
    lat: float | None = None
    repaired: bool = False

    def __str__(self) -> str:
        at = "" if self.lon is None else f" near {self.lon:.5f}, {self.lat:.5f}"
        what = f"{self.kind}: {self.code}{' and ' + self.other if self.other else ''}: {self.detail}{at}"
        return f"repaired {what}" if self.repaired else what


@dataclass(frozen=True, slots=True)
class Checked:
    """One level of outlines after the check: as given, or repaired, and all faults found."""

    outlines: list[Any]
    faults: list[Fault]


def check_division(
    regions: Sequence[Region],
    cells: Sequence[Cell] = (),
    known: Sequence[Region] = (),
    *,
    repair: bool = False,
) -> tuple[list[Region], list[Cell], list[Fault]]:
    """Check regions and cells level by level, from the city down; ``known`` are parents not in the file.

    With ``repair`` the shapes that come back are repaired where that is safe, and
    their faults say so.
    """
    every: list[Region | Cell] = [*regions, *cells]
    if not every:
        return [], [], []
    plane = _plane([one.outline for one in every])
    parents = {region.code: region.outline for region in [*known, *regions]}
    faults = _code_faults([one.code for one in every])
    out: dict[int, Any] = {}
    for length in (6, 9, 12, 15):
        rows = [i for i, one in enumerate(every) if len(one.code) == length]
        if not rows:
            continue
        codes = [every[i].code for i in rows]
        above = {code: parents[_parent(code)] for code in codes if _parent(code) in parents}
        checked = check_layer(codes, [every[i].outline for i in rows], above, plane, repair=repair)
        faults += checked.faults
        for i, outline in zip(rows, checked.outlines, strict=True):
            out[i] = outline
            parents[every[i].code] = outline
        # Where no parent is there at all, the level above was never drawn; that is no fault of each child.
        if above:
            faults += [Fault("missing parent", c, f"no outline of {_parent(c)}") for c in codes if c not in above]
    kept = _with(regions, out, 0), _with(cells, out, len(regions))
    return (*kept, faults)


def check_layer(
    codes: Sequence[str],
    outlines: Sequence[Any],
    parents: dict[str, Any],
    plane: LocalPlane | None = None,
    *,
    repair: bool = False,
) -> Checked:
    """Check outlines of one level (WGS-84); ``parents``: the outline above, by the child's code."""
    layer = _Layer(codes, outlines, plane or _plane(outlines), repair)
    layer.rebuild()
    layer.fragments()
    layer.overlaps()
    layer.gaps()
    layer.nesting({code: layer.to_metres(shapely.make_valid(outline)) for code, outline in parents.items()})
    return Checked(layer.result(), layer.faults)


def _code_faults(codes: Sequence[str]) -> list[Fault]:
    faults, seen = [], set()
    for code in codes:
        if code in seen:
            faults.append(Fault("wrong code", code, "used twice"))
        seen.add(code)
        try:
            parse_cell(code) if len(code) == 15 else parse_division(code)
        except CodeError as error:
            faults.append(Fault("wrong code", code, str(error)))
    return faults


def _parent(code: str) -> str:
    return code[: {9: 6, 12: 9, 15: 12}.get(len(code), 0)]


def _with(given: Sequence[Outlined], out: dict[int, Any], first: int) -> list[Outlined]:
    return [replace(one, outline=out.get(first + i, one.outline)) for i, one in enumerate(given)]


def _plane(outlines: Sequence[Any]) -> LocalPlane:
    west, south, east, north = shapely.total_bounds(np.array(outlines, dtype=object))
    return LocalPlane(float((west + east) / 2), float((south + north) / 2))


class _Layer:
    """The outlines of one level in metres, with the faults found so far."""

    def __init__(self, codes: Sequence[str], outlines: Sequence[Any], plane: LocalPlane, repair: bool) -> None:
        self.codes = list(codes)
        self.faults: list[Fault] = []
        self._plane = plane
        self._repair = repair
        self._given = list(outlines)
        self._shapes: Geometries = np.array([self.to_metres(outline) for outline in outlines], dtype=object)
        self._touched: set[int] = set()

    def to_metres(self, outline: Any) -> Any:
        plane = self._plane
        return shapely.transform(outline, lambda xy: np.column_stack(plane.to_xy(xy[:, 0], xy[:, 1])))

    def result(self) -> list[Any]:
        """The outlines in degrees; those nobody touched are exactly the ones given."""
        plane = self._plane
        return [
            shapely.transform(
                self._shapes[i], lambda xy: np.round(np.column_stack(plane.to_lonlat(xy[:, 0], xy[:, 1])), 7)
            )
            if i in self._touched
            else self._given[i]
            for i in range(len(self._given))
        ]

    def rebuild(self) -> None:
        """Rings that cross themselves; all that follows needs them valid, repaired or not."""
        for i in np.flatnonzero(~shapely.is_valid(self._shapes)).tolist():
            why = shapely.is_valid_reason(self._shapes[i])
            built = _polygons(shapely.make_valid(self._shapes[i]))
            drawn = float(shapely.area(self._shapes[i]))
            safe = built.area > 0 and abs(built.area - drawn) <= REBUILT_SHARE * built.area
            self._shapes[i] = built
            self._note("self-intersection", i, why.split("[")[0].strip().lower(), built, repaired=safe)
            if self._repair and safe:
                self._touched.add(i)

    def fragments(self) -> None:
        """Parts that are crumbs beside the rest."""
        for i, shape in enumerate(self._shapes):
            parts = shapely.get_parts(shape)
            if len(parts) < 2:
                continue
            area = shapely.area(parts)
            crumbs = np.flatnonzero((area < FRAGMENT_M2) & (area < area.max()))
            for part in parts[crumbs]:
                self._note("fragment", i, f"a part of {part.area:,.0f} m2", part, repaired=True)
            if self._repair and len(crumbs):
                self._set(i, shapely.union_all(np.delete(parts, crumbs)))

    def overlaps(self) -> None:
        """Ground of two; a sliver goes to the lower code, as the locator decides."""
        for i, j in self._pairs():
            shared = _polygons(shapely.intersection(self._shapes[i], self._shapes[j]))
            slivers = []
            for part in _real_parts(shared):
                narrow = _width(part) <= SLIVER_WIDTH_M
                kind = "sliver" if narrow else "overlap"
                self._note(kind, i, f"both have {_ground(part)}", part, j, repaired=narrow)
                slivers += [part] if narrow else []
            if self._repair and slivers:
                self._set(j, shapely.difference(self._shapes[j], shapely.union_all(slivers)))

    def gaps(self) -> None:
        """Ground inside the level's outer border that nobody has."""
        union = shapely.union_all(self._shapes)
        rings = [ring for part in shapely.get_parts(union) for ring in part.interiors]
        tree = shapely.STRtree(self._shapes)
        for gap in (shapely.Polygon(ring) for ring in rings):
            if not _real_parts(gap):
                continue
            around = sorted(int(i) for i in tree.query(gap, predicate="intersects"))
            border = [shapely.length(shapely.intersection(self._shapes[i].boundary, gap.boundary)) for i in around]
            if not around:
                continue
            longest = around[int(np.argmax(border))]
            narrow = _width(gap) <= SLIVER_WIDTH_M
            kind = "sliver" if narrow else "hole" if len(around) == 1 else "gap"
            names = ", ".join(self.codes[i] for i in around)
            self._note(kind, longest, f"nobody has {_ground(gap)} between {names}", gap, repaired=narrow)
            if self._repair and narrow:
                self._set(longest, shapely.union(self._shapes[longest], gap))

    def nesting(self, parents: dict[str, Any]) -> None:
        """Children beyond their parent or in another one, and ground of a parent that no child has."""
        children: dict[bytes, list[int]] = {}
        for i, code in enumerate(self.codes):
            if code not in parents or not self._shapes[i].area:
                continue
            parent = parents[code]
            children.setdefault(shapely.to_wkb(parent), []).append(i)
            beyond = _polygons(shapely.difference(self._shapes[i], parent))
            if beyond.area > MISPLACED_SHARE * self._shapes[i].area:
                share = beyond.area / self._shapes[i].area
                self._note("wrong code", i, f"{share:.0%} lie outside {_parent(code)}, which it names", beyond)
                continue
            parts = _real_parts(beyond)
            narrow = [part for part in parts if _width(part) <= SLIVER_WIDTH_M]
            for part in parts:
                safe = _width(part) <= SLIVER_WIDTH_M
                self._note("outside", i, f"{_ground(part)} beyond {_parent(code)}", part, repaired=safe)
            if self._repair and narrow:
                self._set(i, shapely.difference(self._shapes[i], shapely.union_all(narrow)))
        for known, rows in children.items():
            self._uncovered(shapely.from_wkb(known), rows)

    def _uncovered(self, parent: Any, rows: list[int]) -> None:
        covered = shapely.union_all(self._shapes[rows])
        for part in _real_parts(_polygons(shapely.difference(parent, covered))):
            if _width(part) > SLIVER_WIDTH_M:
                code = _parent(self.codes[rows[0]])
                self._note("uncovered", rows[0], f"{_ground(part)} of {code} are in no part of it", part, code=code)

    def _pairs(self) -> list[tuple[int, int]]:
        """Rows that meet, the lower code first."""
        one, two = shapely.STRtree(self._shapes).query(self._shapes, predicate="intersects")
        pairs = [(i, j) for i, j in zip(one.tolist(), two.tolist(), strict=True) if i != j]
        return sorted((i, j) for i, j in pairs if (self.codes[i], i) < (self.codes[j], j))

    def _set(self, i: int, shape: Any) -> None:
        self._shapes[i] = _polygons(shape)
        self._touched.add(i)

    def _note(
        self, kind: str, i: int, detail: str, at: Any, j: int | None = None,
        *, repaired: bool = False, code: str = "",
    ) -> None:  # fmt: skip
        lon = lat = None
        if not at.is_empty:
            point = shapely.point_on_surface(at)
            x, y = self._plane.to_lonlat(point.x, point.y)
            lon, lat = float(x), float(y)
        self.faults.append(
            Fault(
                kind, code or self.codes[i], detail, "" if j is None else self.codes[j],
                round(float(at.area), 1), round(_width(at), 2), lon, lat, repaired and self._repair,
            )
        )  # fmt: skip


def _polygons(shape: Any) -> Any:
    """The polygons of a geometry, without the lines and points that overlays leave."""
    if shape.geom_type in ("Polygon", "MultiPolygon"):
        return shape
    parts = shapely.get_parts(shape)
    flat = [p for part in parts for p in shapely.get_parts(part) if p.geom_type == "Polygon"]
    return shapely.union_all(flat) if flat else shapely.Polygon()


def _real_parts(shape: Any) -> list[Any]:
    parts = shapely.get_parts(shape).tolist()
    return [part for part in parts if part.area >= AREA_MIN_M2 and _width(part) >= WIDTH_MIN_M]


def _width(shape: Any) -> float:
    """About how wide a long thin shape is: twice its area by its outline's length."""
    return float(2 * shape.area / shape.length) if shape.length else 0.0


def _ground(shape: Any) -> str:
    return f"{shape.area:,.0f} m2, {_width(shape):.1f} m wide"
