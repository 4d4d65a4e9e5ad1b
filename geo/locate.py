"""Where a point or a device is: address, cell, village, town, with a score and the way it was found.

The territory (cell, village, town) of a bare point is decided by outlines alone;
the address is the nearest one within 150 m. Methods, and the score they earn
(d = metres from the point to the address):

device       the registry names the address                exp(-d / 150), at least 0.3;
                                                           0.9 without a coordinate to check it by
building     the registry names a room that is not known   as device, x 0.9
             of a building that is
nearest      an address is within 150 m                    0.95 exp(-d / 150); x 0.8 when it
                                                           lies in another cell than the point
town only    inside a town, but no address is near         0.3 with cell, 0.25 with village, 0.2 town
none         nobody can say                                0

A point outside every outline but within 50 m of one is given to the nearest one,
and otherwise an address within 150 m lends its territory; both halve the score.
Scores say how far to trust the *address*; they are no probabilities.

A Locator is immutable: new addresses or outlines make a new one, which replaces
the old whole. Nothing here reads a database or a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.addresses import address_rule
from domain.places import UNKNOWN_PLACE, Place
from geo.addresses import AddressColumns, AddressIndex, PackedAddresses
from geo.geodesy import distance_m
from geo.grids import Cell, Region
from geo.polygons import NOWHERE, PolygonIndex

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

ADDRESS_WITHIN_M = 150.0
OUTLINE_WITHIN_M = 50.0
SCORE_SCALE_M = 150.0
DEVICE_SCORE_MIN = 0.3
DEVICE_SCORE_UNCHECKED = 0.9
BUILDING_SCORE = 0.9
TERRITORY_SCORE = {"grid": 0.3, "village": 0.25, "town": 0.2}
_OTHER_CELL = 0.8
_LENT = 0.5


@dataclass(frozen=True, slots=True)
class Located:
    """Many points' places as columns of shape ``(n,)``; rows into the Locator's territories and addresses."""

    territory: Int64
    address: Int64
    distance_m: Float64
    score: Float64


@dataclass(frozen=True, slots=True)
class _Territory:
    grid: str | None
    village: str | None
    town: str | None
    names: dict[str, str]

    @property
    def finest(self) -> str:
        return "grid" if self.grid else "village" if self.village else "town"

    @property
    def code(self) -> str:
        return self.grid or self.village or self.town or ""


_NO_TERRITORY = _Territory(None, None, None, {})


class Locator:
    """Points and devices to places; see the module for the rules. Make one with ``build``."""

    def __init__(
        self,
        layers: Sequence[PolygonIndex],
        names: dict[str, tuple[str, str]],
        addresses: AddressIndex,
        version: str,
    ) -> None:
        self.version = version
        self.addresses = addresses
        self._layers = layers
        self._names = names
        # One list of all territories, finest layer first; the rows of a layer follow its offset.
        self._territories = [self._territory(code) for layer in layers for code in layer.codes]
        self._territories.append(_NO_TERRITORY)  # where NOWHERE points to
        self._row_of = {code: i for i, code in enumerate(code for layer in layers for code in layer.codes)}
        self._offsets = np.cumsum([0, *map(len, layers)]).tolist()
        self._address_territory = self._territories_of_addresses()

    @classmethod
    def build(
        cls,
        regions: Iterable[Region],
        cells: Iterable[Cell],
        addresses: AddressColumns | PackedAddresses,
        version: str,
    ) -> Locator:
        """A locator over towns and villages, cells and addresses; any of them may be empty."""
        every = list(regions)
        grid = list(cells)
        layers = [PolygonIndex([c.code for c in grid], [c.outline for c in grid])]
        for level in ("village", "town"):
            chosen = [r for r in every if r.level == level]
            layers.append(PolygonIndex([r.code for r in chosen], [r.outline for r in chosen]))
        packed = addresses if isinstance(addresses, PackedAddresses) else PackedAddresses.of(addresses)
        index = AddressIndex(packed)
        return cls(layers, {r.code: (r.name, r.name_en) for r in every}, index, version)

    @property
    def layers(self) -> Sequence[PolygonIndex]:
        """The outlines of cells, villages and towns, in this order."""
        return self._layers

    @property
    def names(self) -> dict[str, tuple[str, str]]:
        """Code → name and English name, of every territory."""
        return self._names

    def names_of(self, code: str) -> dict[str, str]:
        """Names of the city, town and village that a code lies in, as in ``Place.names``."""
        return self._territory(code).names

    def points(self, lon: Float64, lat: Float64) -> list[Place]:
        """The place of each WGS-84 point, arrays of shape ``(n,)``; unknown where a coordinate is NaN."""
        x, y = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
        found = self.columns(x, y)
        has_address = found.address != NOWHERE
        rows = found.address[has_address]
        ids = iter(self.addresses.some_ids(rows))
        texts = iter(self.addresses.texts.some(rows))
        places = zip(
            found.territory.tolist(),
            has_address.tolist(),
            np.round(found.distance_m, 1).tolist(),
            np.round(found.score, 3).tolist(),
            strict=True,
        )
        version, territories = self.version, self._territories
        made = []
        for territory, near, metres, score in places:
            where = territories[territory]
            if near:
                place = Place(
                    next(ids), next(texts), metres, score, "nearest", where.grid, where.village, where.town,
                    where.names, version,
                )  # fmt: skip
            elif territory == NOWHERE:
                place = UNKNOWN_PLACE
            else:
                place = Place(
                    None, None, None, score, "town only", where.grid, where.village, where.town,
                    where.names, version,
                )  # fmt: skip
            made.append(place)
        return made

    def device(self, address_id: str | None, lon: float | None, lat: float | None) -> Place:
        """The place of something registered: by its address, else by its point, else unknown.

        An address the index does not have counts as none.
        """
        row, method = self._registered(address_id)
        if row == NOWHERE:
            if lon is None or lat is None:
                return UNKNOWN_PLACE
            return self.points(np.array([lon]), np.array([lat]))[0]
        metres, score = None, DEVICE_SCORE_UNCHECKED
        if lon is not None and lat is not None:
            there = self.addresses.lon[row], self.addresses.lat[row]
            metres = round(float(distance_m(lon, lat, *there)), 1)
            score = max(DEVICE_SCORE_MIN, float(np.exp(-metres / SCORE_SCALE_M)))
        if method == "building":
            score *= BUILDING_SCORE
        where = self._where(row)
        return Place(
            self.addresses.id(row), self.addresses.texts[row], metres, round(score, 3), method,
            where.grid, where.village, where.town, where.names, self.version,
        )  # fmt: skip

    def _registered(self, address_id: str | None) -> tuple[int, str]:
        """The row of a registered address, or of its building where the room is not known; and the method."""
        row = self.addresses.row(address_id) if address_id else NOWHERE
        rule = address_rule()
        if row != NOWHERE or not address_id or len(address_id) != rule.length:
            return row, "device"
        return self.addresses.row(rule.whole_building(address_id)), "building"

    def _where(self, row: int) -> _Territory:
        """An address's territory: its cell where that is in force, else what holds its point.

        Its code says more than outlines do that hold its point and are less fine.
        """
        cell = self.addresses.cells[int(self.addresses.cell[row])]
        known = self._row_of.get(cell, NOWHERE)
        if known == NOWHERE:
            at = slice(row, row + 1)
            known = int(self._territory_of(self.addresses.lon[at], self.addresses.lat[at])[0][0])
        if known == NOWHERE:
            return self._territory(cell)
        where = self._territories[known]
        coarser = cell != where.code and cell.startswith(where.code)
        return self._territory(cell) if coarser else where

    def columns(self, lon: Float64, lat: Float64) -> Located:
        """The places of many points without an object for each."""
        address, metres = self.addresses.nearest(lon, lat, ADDRESS_WITHIN_M)
        territory, lent = self._territory_of(lon, lat)
        has_address = address != NOWHERE
        own = np.full(len(lon), NOWHERE, np.int64)
        own[has_address] = self._address_territory[self.addresses.cell[address[has_address]]]
        borrowed = (territory == NOWHERE) & has_address & (own != NOWHERE)
        territory = np.where(borrowed, own, territory)
        near = 0.95 * np.exp(-np.where(has_address, metres, 0.0) / SCORE_SCALE_M)
        near *= np.where(own != territory, _OTHER_CELL, 1.0)
        score = np.where(has_address, near, self._score_without_address(territory))
        score *= np.where(lent | borrowed, _LENT, 1.0)
        return Located(territory, address, metres, score)

    def _territory_of(self, lon: Float64, lat: Float64) -> tuple[Int64, NDArray[np.bool_]]:
        """Territory row by outline, finest layer first, then by the nearest outline within 50 m."""
        territory = np.full(len(lon), NOWHERE, np.int64)
        for layer, offset in zip(self._layers, self._offsets[:-1], strict=True):
            missing = np.flatnonzero(territory == NOWHERE)
            row = layer.containing(lon[missing], lat[missing])
            hit = row != NOWHERE
            territory[missing[hit]] = row[hit] + offset
        lent = np.zeros(len(lon), np.bool_)
        for layer, offset in zip(self._layers, self._offsets[:-1], strict=True):
            missing = np.flatnonzero((territory == NOWHERE) & np.isfinite(lon) & np.isfinite(lat))
            row, _ = layer.nearest(lon[missing], lat[missing], OUTLINE_WITHIN_M)
            hit = row != NOWHERE
            territory[missing[hit]] = row[hit] + offset
            lent[missing[hit]] = True
        return territory, lent

    def _score_without_address(self, territory: Int64) -> Float64:
        score = np.zeros(len(territory))
        levels = ("grid", "village", "town")
        for level, start, end in zip(levels, self._offsets[:-1], self._offsets[1:], strict=True):
            score[(territory >= start) & (territory < end)] = TERRITORY_SCORE[level]
        return score

    def _territories_of_addresses(self) -> Int64:
        """Territory row of each distinct cell the addresses name: the finest outline that is known."""
        rows = [
            next((self._row_of[code] for code in (c, c[:12], c[:9]) if code in self._row_of), NOWHERE)
            for c in self.addresses.cells
        ]
        return np.array(rows, np.int64)

    def _territory(self, code: str) -> _Territory:
        grid = code if len(code) == 15 else None
        village = code[:12] if len(code) >= 12 else None
        town = code[:9]
        names: dict[str, str] = {}
        for level, part in (("city", code[:6]), ("town", town), ("village", village)):
            name, english = self._names.get(part or "", ("", ""))
            if name:
                names[level] = name
            if english:
                names[f"{level}_en"] = english
        return _Territory(grid, village, town, names)

def empty_locator(version: str = "") -> Locator:
    """A locator that knows nothing: every place is unknown."""
    nothing: list[Any] = []
    none = np.empty(0)
    return Locator.build(nothing, nothing, AddressColumns((), (), (), (), (), none, none), version)
