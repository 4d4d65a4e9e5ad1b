"""Addresses as they come from the database, some thousand rows as one: bytes in, columns out.

An address that becomes Python objects on its way costs ten times its memory and
stalls everything else in the process meanwhile. So the database joins the values of
a *part* (consecutive rows in the order of ids) into one long value a column, and
here these are laid end to end. A column is never there twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.addresses import SHENZHEN
from geo.addresses import PackedAddresses, Texts

Int32 = NDArray[np.int32]

CELL_BYTES = 15
BLOCK_BYTES = 40_000_000


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive rows. ``cells`` are filled up with blanks to 15 bytes; numbers are big-endian.

    ``lengths``: bytes of each text, int32; ``lon``, ``lat``: float64.
    """

    ids: bytes
    texts: bytes
    lengths: bytes
    cells: bytes
    lon: bytes
    lat: bytes

    @property
    def last_id(self) -> str:
        """The highest id: the next part begins after it."""
        rows = len(self.lengths) // 4
        return self.ids[-(len(self.ids) // rows) :].decode()


class _Column:
    """One growing column, in blocks large enough that the operating system gets each back when it is freed."""

    def __init__(self, type_: Any) -> None:
        self._type = np.dtype(type_)
        self._room = BLOCK_BYTES // self._type.itemsize
        self._blocks: list[NDArray[Any]] = []
        self._length = 0

    def add(self, values: NDArray[Any]) -> None:
        while len(values):
            used = self._length % self._room
            if not used:
                self._blocks.append(np.empty(self._room, self._type))
            taken = min(len(values), self._room - used)
            self._blocks[-1][used : used + taken] = values[:taken]
            self._length += taken
            values = values[taken:]

    def done(self) -> NDArray[Any]:
        """The whole column; each block goes as soon as it is copied."""
        whole = np.empty(self._length, self._type)
        for start in range(0, self._length, self._room):
            block = self._blocks.pop(0)
            whole[start : start + self._room] = block[: self._length - start]
        return whole


class AddressPacker:
    """Parts of addresses in, in order of ids; ``done`` gives all of them packed.

    ``id_bytes``: of each id, by the database's rule.
    """

    def __init__(self, id_bytes: int = SHENZHEN.length) -> None:
        self._id_bytes, self._id_type = id_bytes, f"S{id_bytes}"
        self._ids, self._texts = _Column(self._id_type), _Column(np.uint8)
        self._lengths, self._cell = _Column(np.int32), _Column(np.int32)
        self._lon, self._lat = _Column(np.float64), _Column(np.float64)
        self._numbers: dict[bytes, int] = {}

    def add(self, part: Part) -> None:
        """The next rows."""
        lengths = np.frombuffer(part.lengths, ">i4")
        assert len(part.ids) == self._id_bytes * len(lengths), f"an id is not of {self._id_bytes} characters"
        assert len(part.texts) == int(lengths.sum()), "the database's encoding is not UTF-8"
        self._ids.add(np.frombuffer(part.ids, self._id_type))
        self._texts.add(np.frombuffer(part.texts, np.uint8))
        self._lengths.add(lengths)
        self._cell.add(self._numbered(np.frombuffer(part.cells, f"S{CELL_BYTES}")))
        self._lon.add(np.frombuffer(part.lon, ">f8"))
        self._lat.add(np.frombuffer(part.lat, ">f8"))

    def done(self) -> PackedAddresses:
        """All rows that were added. For ten million it takes a second: not for the event loop."""
        cells = sorted(self._numbers)
        rank = np.empty(len(cells), np.int32)
        rank[[self._numbers[code] for code in cells]] = np.arange(len(cells), dtype=np.int32)
        cell = self._cell.done()
        if len(cell):
            np.take(rank, cell, out=cell, mode="clip")
        texts = Texts.packed(self._texts.done(), self._lengths.done())
        names = [code.decode().rstrip() for code in cells]
        return PackedAddresses(self._ids.done(), texts, names, cell, self._lon.done(), self._lat.done())

    def _numbered(self, cells: NDArray[np.bytes_]) -> Int32:
        """A number for each cell; addresses of one cell mostly follow each other."""
        changed = np.flatnonzero(np.append(True, cells[1:] != cells[:-1])) if len(cells) else np.empty(0, np.int64)
        numbers = [self._numbers.setdefault(code, len(self._numbers)) for code in cells[changed].tolist()]
        return np.repeat(np.array(numbers, np.int32), np.diff(np.append(changed, len(cells))))
