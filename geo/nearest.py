"""The nearest of many points to many others, exactly, on a hash of square buckets.

Points are sorted by bucket, row of buckets by row, so that the buckets beside each
other in a row are one slice of the sorted columns. A query looks at the two by two
buckets round it, and at larger squares only while something outside could be nearer.
Queries are answered in the order of their buckets and a few thousand at a time:
what neighbours ask for is then in the processor's cache already.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geo.geodesy import LocalPlane

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

NOWHERE = -1
BUCKET_MIN_M = 10.0
PER_BUCKET = 1.0
"""Points a bucket where they are spread evenly; along real roads some times as many in those that have any."""
_CHUNK = 4096


class PointBuckets:
    """Points to find the nearest of; immutable. Row numbers are those of the points given."""

    def __init__(self, lon: Float64, lat: Float64) -> None:
        """``lon``, ``lat``: finite WGS-84 degrees, arrays of shape ``(n,)``."""
        self._count = len(lon)
        self._across, self._up, self._bucket_m = 1, 1, BUCKET_MIN_M
        self._west = self._south = self._east = self._north = 0.0
        self.plane = LocalPlane(0.0, 0.0)
        if not self._count:
            return
        self.plane = LocalPlane(float(np.median(lon)), float(np.median(lat)))
        x, y = self.plane.to_xy(lon, lat)
        self._west, self._east = float(x.min()), float(x.max())
        self._south, self._north = float(y.min()), float(y.max())
        area_m2 = max((self._east - self._west) * (self._north - self._south), 1.0)
        self._bucket_m = max(BUCKET_MIN_M, float(np.sqrt(PER_BUCKET * area_m2 / self._count)))
        self._across = int((self._east - self._west) // self._bucket_m) + 1
        self._up = int((self._north - self._south) // self._bucket_m) + 1
        key = self._key(x, y)
        self._starts: Int32 = np.zeros(self._across * self._up + 1, np.int32)
        np.cumsum(np.bincount(key, minlength=self._across * self._up), out=self._starts[1:])
        self._row: Int32 = np.argsort(key, kind="stable").astype(np.int32)
        del key  # of ten million points each column counts
        self._x = x[self._row]
        del x
        self._y = y[self._row]

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Memory of the columns."""
        return sum(column.nbytes for column in vars(self).values() if isinstance(column, np.ndarray))

    def nearest(self, lon: Float64, lat: Float64, within_m: float) -> tuple[Int64, Float64]:
        """The nearest point's row and metres to it; ``NOWHERE`` and inf if none is ``within_m``.

        Of several at the same distance it is the lowest row. Arrays of shape ``(n,)``.
        """
        row = np.full(len(lon), NOWHERE, np.int64)
        metres = np.full(len(lon), np.inf)
        if not self._count:
            return row, metres
        x, y = self.plane.to_xy(lon, lat)
        near = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & self._in_reach(x, y, within_m))
        if len(near) > 1:
            near = near[np.argsort(self._key(x[near], y[near]), kind="stable")]
        for start in range(0, len(near), _CHUNK):
            part = near[start : start + _CHUNK]
            row[part], metres[part] = self._nearest(x[part], y[part], within_m)
        return row, metres

    def around(self, lon: float, lat: float, within_m: float) -> Int64:
        """Rows of all points that can be within some metres of a point, rising; some are a little farther."""
        x, y = (float(v) for v in self.plane.to_xy(lon, lat))
        if not self._count or not self._in_reach(np.array([x]), np.array([y]), within_m)[0]:
            return np.empty(0, np.int64)
        both = (-within_m, within_m)
        left, right = (self._clipped((x + d - self._west) / self._bucket_m, self._across) for d in both)
        low, high = (self._clipped((y + d - self._south) / self._bucket_m, self._up) for d in both)
        lines = [line * self._across for line in range(low, high + 1)]
        slices = [self._row[self._starts[line + left] : self._starts[line + right + 1]] for line in lines]
        return np.sort(np.concatenate(slices)).astype(np.int64)

    @staticmethod
    def _clipped(at: float, size: int) -> int:
        return min(max(int(np.floor(at)), 0), size - 1)

    def _key(self, x: Float64, y: Float64) -> Int64:
        """The bucket of each point; those beside all buckets count to the nearest."""
        across = np.clip((x - self._west) / self._bucket_m, 0, self._across - 1).astype(np.int64)
        up = np.clip((y - self._south) / self._bucket_m, 0, self._up - 1).astype(np.int64)
        return np.asarray(up * self._across + across)

    def _in_reach(self, x: Float64, y: Float64, within_m: float) -> NDArray[np.bool_]:
        beside = (x >= self._west - within_m) & (x <= self._east + within_m)
        return np.asarray(beside & (y >= self._south - within_m) & (y <= self._north + within_m))

    def _nearest(self, x: Float64, y: Float64, within_m: float) -> tuple[Int64, Float64]:
        """In growing squares of buckets, until no bucket outside can hold a nearer one."""
        row = np.full(len(x), NOWHERE, np.int64)
        square = np.full(len(x), np.inf)
        # The square's middle is the corner of buckets nearest to the point.
        across = np.floor((x - self._west) / self._bucket_m + 0.5).astype(np.int64)
        up = np.floor((y - self._south) / self._bucket_m + 0.5).astype(np.int64)
        open_ = np.arange(len(x))
        reach = 1
        while len(open_):
            best_row, best_square = self._best_within(x[open_], y[open_], across[open_], up[open_], reach)
            row[open_], square[open_] = best_row, best_square
            sure_m = (reach - 0.5) * self._bucket_m  # nothing outside the square of buckets is nearer than this
            if sure_m >= within_m:
                break
            open_ = open_[best_square > sure_m**2]
            reach *= 2
        far = square > within_m**2
        row[far], square[far] = NOWHERE, np.inf
        return row, np.sqrt(square)

    def _best_within(
        self, x: Float64, y: Float64, across: Int64, up: Int64, reach: int
    ) -> tuple[Int64, Float64]:
        """The best point in the square of buckets ``reach`` around each query's corner."""
        n, lines = len(x), 2 * reach
        rows = up[:, None] + np.arange(-reach, reach)
        left = np.clip(across - reach, 0, self._across)[:, None]
        right = np.clip(across + reach, 0, self._across)[:, None]
        outside = (rows < 0) | (rows >= self._up)
        base = np.where(outside, 0, rows) * self._across
        begin = self._starts[base + left]
        length = np.where(outside, 0, self._starts[base + right] - begin).ravel()
        total = int(length.sum())
        best_row, best_square = np.full(n, NOWHERE, np.int64), np.full(n, np.inf)
        if not total:
            return best_row, best_square
        ends = np.cumsum(length)
        at = np.arange(total) + np.repeat(begin.ravel() - (ends - length), length)
        counts = length.reshape(n, lines).sum(axis=1)
        square = self._x[at]
        square -= np.repeat(x, counts)
        north = self._y[at]
        north -= np.repeat(y, counts)
        square *= square
        north *= north
        square += north
        some = np.flatnonzero(counts)
        first = (np.cumsum(counts) - counts)[some]
        best_square[some] = np.minimum.reduceat(square, first)
        tied = np.flatnonzero(square == np.repeat(best_square, counts))
        point = np.searchsorted(first, tied, side="right") - 1
        lowest = np.full(len(some), np.iinfo(np.int64).max)
        np.minimum.at(lowest, point, self._row[at[tied]])
        best_row[some] = lowest
        return best_row, best_square
