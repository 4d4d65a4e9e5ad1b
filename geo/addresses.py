"""Addresses as columns: found by id, and the nearest to many points at once.

Ten million addresses fit in 2 GB: ids are fixed 25-byte strings, texts one long
UTF-8 buffer, cells numbers into a list. The nearest is found on a hash of square
buckets: addresses are sorted by bucket, row of buckets by row, so that the
buckets beside each other in a row are one slice of the sorted column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geo.geodesy import LocalPlane

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

NOWHERE = -1
_CHUNK = 50_000
_BUCKET_MIN_M = 20.0


class Texts:
    """An immutable column of strings in one UTF-8 buffer; indexed like a list."""

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [text.encode() for text in texts]
        self._ends: Int64 = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        self._buffer = b"".join(encoded)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> str:
        return self._buffer[int(self._ends[row]) : int(self._ends[row + 1])].decode()


@dataclass(frozen=True, slots=True)
class AddressColumns:
    """Addresses as they are stored; all of length n. ``lon``, ``lat``: WGS-84 degrees."""

    id: Sequence[str]
    text: Sequence[str]
    road: Sequence[str]
    number: Sequence[str]
    grid: Sequence[str]
    lon: Float64
    lat: Float64

    def __len__(self) -> int:
        return len(self.id)


class AddressIndex:
    """Addresses to look up, immutable. Row numbers are in order of the ids.

    ``cells`` lists the distinct 15-digit cells, ``cell`` ``(n,)`` points into it.
    """

    def __init__(
        self, ids: Sequence[str], texts: Sequence[str], cells: Sequence[str], lon: Float64, lat: Float64
    ) -> None:
        names = np.array(ids, dtype="S25") if len(ids) else np.empty(0, "S25")
        order = np.argsort(names, kind="stable")
        self.ids = names[order]
        self.texts = Texts(texts[i] for i in order.tolist())
        distinct, inverse = np.unique(np.array(cells, dtype="S15"), return_inverse=True)
        self.cells: list[str] = [code.decode() for code in distinct.tolist()]
        self.cell: Int32 = inverse.astype(np.int32)[order]
        self.lon, self.lat = np.asarray(lon, np.float64)[order], np.asarray(lat, np.float64)[order]
        self._sort_into_buckets()

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, address_id: str) -> int:
        """The row of an address id, or ``NOWHERE``."""
        try:
            wanted = np.bytes_(address_id.encode("ascii"))
        except UnicodeEncodeError:
            return NOWHERE
        at = int(np.searchsorted(self.ids, wanted))
        return at if at < len(self.ids) and self.ids[at] == wanted else NOWHERE

    def id(self, row: int) -> str:
        """The 25-digit id of a row."""
        return bytes(self.ids[row]).decode()

    def nearest(self, lon: Float64, lat: Float64, within_m: float) -> tuple[Int64, Float64]:
        """The nearest address's row and metres to it; ``NOWHERE`` and inf if none is ``within_m``.

        Of several at the same distance it is the lowest id. Arrays of shape ``(n,)``.
        """
        row = np.full(len(lon), NOWHERE, np.int64)
        metres = np.full(len(lon), np.inf)
        if not len(self):
            return row, metres
        x, y = self.plane.to_xy(lon, lat)
        near = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & self._in_reach(x, y, within_m))
        for start in range(0, len(near), _CHUNK):
            part = near[start : start + _CHUNK]
            row[part], metres[part] = self._nearest(x[part], y[part], within_m)
        return row, metres

    def _sort_into_buckets(self) -> None:
        self._columns, self._bucket_m = 1, _BUCKET_MIN_M
        self._west = self._south = self._east = self._north = 0.0
        self.plane = LocalPlane(0.0, 0.0)
        if not len(self):
            return
        middle = float(np.median(self.lon)), float(np.median(self.lat))
        self.plane = LocalPlane(*middle)
        x, y = self.plane.to_xy(self.lon, self.lat)
        self._west, self._east = float(x.min()), float(x.max())
        self._south, self._north = float(y.min()), float(y.max())
        # About two addresses a bucket where they are spread evenly: few to compare, few rings to look at.
        area_m2 = max((self._east - self._west) * (self._north - self._south), 1.0)
        self._bucket_m = max(_BUCKET_MIN_M, float(np.sqrt(2.0 * area_m2 / len(self))))
        self._columns = int((self._east - self._west) // self._bucket_m) + 1
        across, up = self._bucket(x, y)
        key = up * self._columns + across
        self._order: Int64 = np.lexsort((np.arange(len(key)), key)).astype(np.int64)
        self._x, self._y = x[self._order], y[self._order]
        rows = int((self._north - self._south) // self._bucket_m) + 1
        counts = np.bincount(key, minlength=self._columns * rows)
        self._rows = rows
        self._starts: Int64 = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)

    def _bucket(self, x: Float64, y: Float64) -> tuple[Int64, Int64]:
        across = np.floor((x - self._west) / self._bucket_m).astype(np.int64)
        up = np.floor((y - self._south) / self._bucket_m).astype(np.int64)
        return across, up

    def _in_reach(self, x: Float64, y: Float64, within_m: float) -> NDArray[np.bool_]:
        beside = (x >= self._west - within_m) & (x <= self._east + within_m)
        return np.asarray(beside & (y >= self._south - within_m) & (y <= self._north + within_m))

    def _nearest(self, x: Float64, y: Float64, within_m: float) -> tuple[Int64, Float64]:
        """In growing squares of buckets, until no bucket outside can hold a nearer one."""
        row = np.full(len(x), NOWHERE, np.int64)
        square = np.full(len(x), np.inf)
        across, up = self._bucket(x, y)
        open_ = np.arange(len(x))
        reach = 1
        while len(open_):
            best_row, best_square = self._best_within(x[open_], y[open_], across[open_], up[open_], reach)
            row[open_], square[open_] = best_row, best_square
            sure_m = reach * self._bucket_m  # nothing outside the square of buckets is nearer than this
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
        """The best address in the square of buckets ``reach`` around each point's own."""
        n, lines = len(x), 2 * reach + 1
        rows = up[:, None] + np.arange(-reach, reach + 1)
        left = np.clip(across - reach, 0, self._columns)[:, None]
        right = np.clip(across + reach + 1, 0, self._columns)[:, None]
        outside = (rows < 0) | (rows >= self._rows)
        base = np.where(outside, 0, rows) * self._columns
        begin = self._starts[base + left]
        length = np.where(outside, 0, self._starts[base + right] - begin).ravel()
        total = int(length.sum())
        best_row, best_square = np.full(n, NOWHERE, np.int64), np.full(n, np.inf)
        if not total:
            return best_row, best_square
        ends = np.cumsum(length)
        at = np.arange(total) + np.repeat(begin.ravel() - (ends - length), length)
        counts = length.reshape(n, lines).sum(axis=1)
        point = np.repeat(np.arange(n), counts)
        square = (self._x[at] - x[point]) ** 2 + (self._y[at] - y[point]) ** 2
        some = np.flatnonzero(counts)
        first = (np.cumsum(counts) - counts)[some]
        best_square[some] = np.minimum.reduceat(square, first)
        tied = np.where(square == best_square[point], self._order[at], np.iinfo(np.int64).max)
        best_row[some] = np.minimum.reduceat(tied, first)
        return best_row, best_square
