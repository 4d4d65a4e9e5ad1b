"""Addresses as columns: found by id, and the nearest to many points at once.

Ten million addresses fit in 2 GB: ids are strings of at most 25 bytes, texts one long
UTF-8 buffer, cells numbers into a list; the nearest is found by ``geo.nearest``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.addresses import ID_DIGITS_MAX
from geo.nearest import NOWHERE, PointBuckets

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Uint8 = NDArray[np.uint8]

__all__ = ["NOWHERE", "AddressColumns", "AddressIndex", "PackedAddresses", "Texts"]

_UINT32_MAX = 2**32 - 1
ID_TYPE = f"S{ID_DIGITS_MAX}"


class Texts:
    """An immutable column of strings in one UTF-8 buffer; indexed like a list."""

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [text.encode() for text in texts]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        self._hold(np.frombuffer(b"".join(encoded), np.uint8), lengths)

    @classmethod
    def packed(cls, buffer: Uint8, lengths: NDArray[np.integer]) -> Texts:
        """Texts of ``lengths`` bytes each, one after the other in a buffer that nobody writes to any more."""
        made = cls.__new__(cls)
        made._hold(buffer, lengths)
        return made

    def _hold(self, buffer: Uint8, lengths: NDArray[np.integer]) -> None:
        self._buffer = buffer
        self._bytes = buffer.data
        wide = len(buffer) > _UINT32_MAX
        self._ends: NDArray[np.integer] = np.zeros(len(lengths) + 1, np.int64 if wide else np.uint32)
        np.cumsum(lengths, out=self._ends[1:])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> str:
        return str(self._bytes[int(self._ends[row]) : int(self._ends[row + 1])], "utf-8")

    def some(self, rows: Int64) -> list[str]:
        """The texts of these rows."""
        held = self._bytes
        starts, ends = self._ends[rows].tolist(), self._ends[rows + 1].tolist()
        return [str(held[start:end], "utf-8") for start, end in zip(starts, ends, strict=True)]

    def slice(self, start: int, stop: int) -> tuple[bytes, Int64]:
        """The bytes of consecutive rows, and where each of them begins and the last ends."""
        ends = self._ends[start : stop + 1].astype(np.int64)
        return bytes(self._bytes[int(ends[0]) : int(ends[-1])]), ends - ends[0]

    @property
    def nbytes(self) -> int:
        """Memory of the column."""
        return int(self._buffer.nbytes + self._ends.nbytes)


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


@dataclass(frozen=True, slots=True)
class PackedAddresses:
    """Addresses without an object each, in order of their ids, as they come from the database.

    ``ids``: ``S25``, or as wide as they are; ``cell`` ``(n,)`` points into the distinct
    15-digit ``cells``, which are sorted.
    """

    ids: NDArray[np.bytes_]
    texts: Texts
    cells: Sequence[str]
    cell: Int32
    lon: Float64
    lat: Float64

    @classmethod
    def of(cls, columns: AddressColumns) -> PackedAddresses:
        """The same addresses, sorted and packed."""
        names = np.array(columns.id, dtype=ID_TYPE) if len(columns) else np.empty(0, ID_TYPE)
        order = np.argsort(names, kind="stable")
        distinct, inverse = np.unique(np.array(columns.grid, dtype="S15"), return_inverse=True)
        return cls(
            names[order],
            Texts(columns.text[i] for i in order.tolist()),
            [code.decode() for code in distinct.tolist()],
            inverse.astype(np.int32)[order],
            np.asarray(columns.lon, np.float64)[order],
            np.asarray(columns.lat, np.float64)[order],
        )


class AddressIndex:
    """Addresses to look up, immutable. Row numbers are in order of the ids.

    ``cells`` lists the distinct 15-digit cells, ``cell`` ``(n,)`` points into it.
    """

    def __init__(self, addresses: PackedAddresses) -> None:
        self.ids, self.texts = addresses.ids, addresses.texts
        self.cells, self.cell = list(addresses.cells), addresses.cell
        self.lon, self.lat = addresses.lon, addresses.lat
        self._buckets = PointBuckets(self.lon, self.lat)
        self.plane = self._buckets.plane

    @classmethod
    def of(cls, columns: AddressColumns) -> AddressIndex:
        """An index of addresses in any order."""
        return cls(PackedAddresses.of(columns))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Memory of the columns."""
        columns = sum(column.nbytes for column in (self.ids, self.cell, self.lon, self.lat))
        return int(columns + self.texts.nbytes + self._buckets.nbytes)

    def row(self, address_id: str) -> int:
        """The row of an address id, or ``NOWHERE``."""
        try:
            wanted = np.bytes_(address_id.encode("ascii"))
        except UnicodeEncodeError:
            return NOWHERE
        at = int(np.searchsorted(self.ids, wanted))
        return at if at < len(self.ids) and self.ids[at] == wanted else NOWHERE

    def id(self, row: int) -> str:
        """The id of a row."""
        return bytes(self.ids[row]).decode()

    def some_ids(self, rows: Int64) -> list[str]:
        """The ids of these rows."""
        found: list[str] = self.ids[rows].astype("U25").tolist()
        return found

    def nearest(self, lon: Float64, lat: Float64, within_m: float) -> tuple[Int64, Float64]:
        """The nearest address's row and metres to it; ``NOWHERE`` and inf if none is ``within_m``.

        Of several at the same distance it is the lowest id. Arrays of shape ``(n,)``.
        """
        return self._buckets.nearest(lon, lat, within_m)

    def around(self, lon: float, lat: float, within_m: float) -> Int64:
        """Rows of all addresses that can be within some metres of a point; some are a little farther."""
        return self._buckets.around(lon, lat, within_m)
