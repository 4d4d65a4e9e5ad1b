"""Addresses taken apart for the search: town, village, road, number and the rest, as columns.

An *entry* is an address or one of its aliases. Entries are sorted by street (one
road in one village), so that a street's are one slice. What no rule understands
becomes the rest of the text, and is searched as a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geo.addresses import AddressIndex
from geo.gazetteer import TOWN, VILLAGE, stem_of
from geo.han import normalise
from geo.parse import NAMES_A_ROAD, ROAD

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

NO_NUMBER = -1
NUMBER_MAX = 2_000_000
_NUMBERED = re.compile(r"(.{0,20}?)(\d+)(?:[-之](\d+))?号(?!楼|线)(.*)", re.DOTALL)


def number_key(number: str, part: str | None) -> int:
    """``12-3`` as 12003, so that numbers compare as integers; too large ones are none."""
    if len(number) > 7 or int(number) > NUMBER_MAX:
        return NO_NUMBER
    return int(number) * 1000 + (min(int(part[:4]), 999) if part and part.isdecimal() else 0)


@dataclass
class Streets:
    """Entries as columns, sorted by street, and the streets as columns.

    ``address``, ``street``, ``number``, ``rest`` have one row an entry; ``village``
    and ``road`` one a street; ``starts`` says where a street's entries begin.
    Row 0 of ``roads`` and ``rests`` is "no such".
    """

    town_codes: list[str]
    village_codes: list[str]
    town_of_village: Int64
    roads: list[str]
    rests: list[str]
    address: Int64
    street: Int32
    number: Int64
    rest: Int32
    alias: dict[int, str]
    village: Int32
    road: Int32
    starts: Int64
    town_row: dict[str, int] = field(init=False)
    village_row: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.town_row = {code: row for row, code in enumerate(self.town_codes)}
        self.village_row = {code: row for row, code in enumerate(self.village_codes)}
        self.town = self.town_of_village[self.village].astype(np.int32)
        self._by_road = np.argsort(self.road, kind="stable")
        self._road_starts = _starts(self.road, len(self.roads))
        self._by_rest = np.argsort(self.rest, kind="stable")
        self._rest_starts = _starts(self.rest, len(self.rests))
        self._road_row = {name: row for row, name in enumerate(self.roads)}

    def streets_of_road(self, road: int) -> Int64:
        """The streets of a road's row, by village."""
        return self._by_road[self._road_starts[road] : self._road_starts[road + 1]]

    def entries_of_rest(self, rest: int) -> Int64:
        """The entries whose rest is this row."""
        return self._by_rest[self._rest_starts[rest] : self._rest_starts[rest + 1]]

    def numbered(self, within: str, road: str, number: str) -> Int64:
        """The entries of this road (or locality) and number in the villages whose code begins so."""
        digits, _, part = number.partition("-")
        row = self._road_row.get(road, 0)
        if row == 0 or not digits.isdecimal():
            return np.empty(0, np.int64)
        key = number_key(digits, part or None)
        streets = [s for s in self.streets_of_road(row).tolist() if self._village(s).startswith(within)]
        parts = [np.arange(self.starts[s], self.starts[s + 1]) for s in streets]
        entries = np.concatenate(parts) if parts else np.empty(0, np.int64)
        return np.asarray(entries[(self.number[entries] == key) & (key >= 0)])

    def _village(self, street: int) -> str:
        return self.village_codes[int(self.village[street])]

    def towns_of_road(self, road: str) -> frozenset[str]:
        """The towns in which a road of this name has addresses."""
        row = self._road_row.get(road, 0)
        if row == 0:
            return frozenset()
        return frozenset(self.town_codes[town] for town in self.town[self.streets_of_road(row)].tolist())


def take_apart(
    addresses: AddressIndex, names: Mapping[str, str], aliases: Sequence[tuple[int, str, str]] = ()
) -> Streets:
    """``names``: code → name; ``aliases``: row of an address, another text of it, of which kind."""
    villages = sorted({c for c in names if len(c) == 12} | {c[:12] for c in addresses.cells})
    towns = sorted({c for c in names if len(c) == 9} | {v[:9] for v in villages})
    village_row = {code: row for row, code in enumerate(villages)}
    of_cell = np.array([village_row[c[:12]] for c in addresses.cells], np.int64)
    n = len(addresses)
    rows = np.concatenate([np.arange(n), [row for row, _, _ in aliases]]).astype(np.int64)
    village = of_cell[addresses.cell[rows]] if len(rows) else rows
    texts = (*(), *(text for _, text, _ in aliases))
    road, number, rest, roads, rests = _columns(_entries(addresses, texts), village, villages, names)
    key = village * len(roads) + road
    order = np.argsort(key, kind="stable")
    streets, street = np.unique(key[order], return_inverse=True)
    place_of = np.argsort(order, kind="stable")
    return Streets(
        towns, villages, np.array([towns.index(v[:9]) for v in villages], np.int64), roads, rests,
        rows[order], street.astype(np.int32), number[order], rest[order],
        {int(place_of[n + i]): f"{kind}: {text}" for i, (_, text, kind) in enumerate(aliases)},
        (streets // len(roads)).astype(np.int32), (streets % len(roads)).astype(np.int32),
        _starts(street, len(streets)),
    )  # fmt: skip


def _entries(addresses: AddressIndex, aliases: Sequence[str]) -> Iterator[str]:
    for row in range(len(addresses)):
        yield addresses.texts[row]
    yield from aliases


def _columns(
    texts: Iterator[str], village: Int64, villages: Sequence[str], names: Mapping[str, str]
) -> tuple[Int64, Int64, Int32, list[str], list[str]]:
    """Rows of roads, numbers and rests of each text; and the distinct roads and rests."""
    n = len(village)
    road, number, rest = np.zeros(n, np.int64), np.full(n, NO_NUMBER, np.int64), np.zeros(n, np.int32)
    prefixes = [_prefix(code, names) for code in villages]
    roads, rests = _Rows(), _Rows()
    for row, (text, where) in enumerate(zip(texts, village.tolist(), strict=True)):
        start = prefixes[where].match(text)
        tail = text[start.end() :] if start else text
        if found := _NUMBERED.match(tail):
            before, digits, part, left = found.groups()
            number[row] = number_key(digits, part)
        else:
            named = ROAD.match(tail)
            before, left = (named[0], tail[named.end() :]) if named else ("", tail)
        road[row], rest[row] = roads.of(before), rests.of(left)
    return road, number, rest, roads.names, rests.names


class _Rows:
    """Distinct texts, normalised, with a row each; row 0 is the empty one."""

    def __init__(self) -> None:
        self.names = [""]
        self._normal = {"": 0}
        self._raw = {"": 0}

    def of(self, text: str) -> int:
        """The row of a text."""
        if (row := self._raw.get(text)) is None:
            normal = normalise(text)
            row = self._normal.setdefault(normal, len(self.names))
            if row == len(self.names):
                self.names.append(normal)
            self._raw[text] = row
        return row


def _prefix(village: str, names: Mapping[str, str]) -> re.Pattern[str]:
    """What a text of this village begins with: city, town and village, each in full, short or left out."""
    city = re.escape(names.get(village[:6], ""))
    parts = [r"(?:中国)?(?:[一-鿿]{2,3}省)?", f"(?:{city})?" if city else ""]
    for code, level in ((village[:9], TOWN), (village, VILLAGE)):
        if name := names.get(code):
            stem = re.escape(stem_of(name, level))
            parts.append(f"(?:{re.escape(name)}|{stem}(?!{NAMES_A_ROAD.pattern}))?")
    return re.compile("".join(parts))


def _starts(rows: NDArray[np.integer], count: int) -> Int64:
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int64)
