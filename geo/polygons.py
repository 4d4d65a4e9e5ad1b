"""Which polygon a point lies in, for many points at once, by rules that leave no doubt.

- A point belongs to exactly one polygon. On a border, and where polygons overlap
  as real outlines do, it belongs to the one with the lowest code.
- A point in no polygon may be given to the nearest one within some metres; the
  caller asks for that and says so in the result.

Containment is decided in degrees, on the outline exactly as stored; only the
distance to the nearest outline is measured on the local plane. Points go through
a tree of bounding boxes, then polygon by polygon through GEOS' prepared locator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.geodesy import LocalPlane

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Geometries = NDArray[np.object_]

NOWHERE = -1
_CHUNK = 100_000


class PolygonIndex:
    """Polygons with codes, immutable; row numbers are those of ``codes``, which are sorted."""

    def __init__(self, codes: Sequence[str], outlines: Sequence[Any]) -> None:
        order = sorted(range(len(codes)), key=codes.__getitem__)
        self.codes: list[str] = [codes[i] for i in order]
        self.outlines: Geometries = np.array([outlines[i] for i in order], dtype=object)
        shapely.prepare(self.outlines)
        self._tree = shapely.STRtree(self.outlines)
        west, south, east, north = shapely.total_bounds(self.outlines) if len(codes) else (0.0,) * 4
        self.plane = LocalPlane(float((west + east) / 2), float((south + north) / 2))
        self._metric: Geometries | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def containing(self, lon: Float64, lat: Float64) -> Int32:
        """The row each WGS-84 point lies in, ``NOWHERE`` for none; arrays of shape ``(n,)``."""
        found = np.full(len(lon), NOWHERE, np.int32)
        if not len(self):
            return found
        for start in range(0, len(lon), _CHUNK):
            part = slice(start, start + _CHUNK)
            found[part] = self._containing(lon[part], lat[part])
        return found

    def nearest(self, lon: Float64, lat: Float64, within_m: float) -> tuple[Int32, Float64]:
        """The row with the nearest outline and its distance in metres; ``NOWHERE`` and inf beyond."""
        row = np.full(len(lon), NOWHERE, np.int32)
        distance = np.full(len(lon), np.inf)
        if not len(self) or not len(lon):
            return row, distance
        east, north = self.plane.metres_per_degree
        reach_deg = within_m / min(east, north) * 1.02
        points = shapely.points(lon, lat)
        point, polygon = self._tree.query(points, predicate="dwithin", distance=reach_deg)
        if not len(point):
            return row, distance
        x, y = self.plane.to_xy(lon[point], lat[point])
        metres = shapely.distance(self._in_metres()[polygon], shapely.points(x, y))
        order = np.lexsort((polygon, metres, point))
        first, where = np.unique(point[order], return_index=True)
        best = order[where]
        near = metres[best] <= within_m
        row[first[near]] = polygon[best][near]
        distance[first[near]] = metres[best][near]
        return row, distance

    def _containing(self, lon: Float64, lat: Float64) -> Int32:
        found = np.full(len(lon), len(self), np.int64)
        finite = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
        point, polygon = self._tree.query(shapely.points(lon[finite], lat[finite]))
        order = np.argsort(polygon, kind="stable")
        point, polygon = finite[point[order]], polygon[order]
        starts = np.flatnonzero(np.diff(polygon, prepend=-1))
        ends = np.append(starts, len(polygon))[1:]
        # Rising rows: a point already given to a lower code keeps it.
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            candidates = point[start:end]
            inside = shapely.intersects_xy(self.outlines[polygon[start]], lon[candidates], lat[candidates])
            hit = candidates[inside]
            found[hit] = np.minimum(found[hit], polygon[start])
        found[found == len(self)] = NOWHERE
        return found.astype(np.int32)

    def _in_metres(self) -> Geometries:
        if self._metric is None:
            plane = self.plane
            self._metric = shapely.transform(
                self.outlines, lambda xy: np.column_stack(plane.to_xy(xy[:, 0], xy[:, 1]))
            )
        return self._metric
