"""Addresses taken apart for the search: town, village, road, number and the rest, as columns.

An *entry* is an address or one of its aliases. Entries are sorted by street (one
road in one village), so that a street's are one slice. What no rule understands
becomes the rest of the text, and is searched as a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geo.addresses import AddressIndex, Texts
from geo.cut import ROWS, Openings, cut
from geo.gazetteer import TOWN, VILLAGE, stem_of
from geo.han import normalise
from geo.parse import NAMES_A_ROAD, ROAD

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

NO_NUMBER = -1
NUMBER_MAX = 2_000_000
NAMES_MAX = 300_000
"""Distinct roads, and distinct rests, that are searched by; addresses with further ones are found without them."""
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
    Row 0 of ``roads`` and ``rests`` is "no such"; ``left_out`` counts how often a name beyond
    ``NAMES_MAX`` was met.
    """

    town_codes: list[str]
    village_codes: list[str]
    town_of_village: Int64
    roads: list[str]
    rests: list[str]
    address: Int32
    street: Int32
    number: Int32
    rest: Int32
    alias: dict[int, str]
    village: Int32
    road: Int32
    starts: Int32
    left_out: int
    town_row: dict[str, int] = field(init=False)
    village_row: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.town_row = {code: row for row, code in enumerate(self.town_codes)}
        self.village_row = {code: row for row, code in enumerate(self.village_codes)}
        self.town = self.town_of_village[self.village].astype(np.int32)
        self._by_road = np.argsort(self.road, kind="stable")
        self._road_starts = _starts(self.road, len(self.roads))
        # Most addresses have no rest: those that have one, by it.
        some = np.flatnonzero(self.rest).astype(np.int32)
        self._by_rest = some[np.argsort(self.rest[some], kind="stable")]
        self._rest_starts = _starts(self.rest[some], len(self.rests))
        self._road_row = {name: row for row, name in enumerate(self.roads)}

    def streets_of_road(self, road: int) -> Int64:
        """The streets of a road's row, by village."""
        return self._by_road[self._road_starts[road] : self._road_starts[road + 1]]

    def entries_of_rest(self, rest: int) -> Int32:
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
    of_cell = np.array([village_row[c[:12]] for c in addresses.cells], np.int32)
    n = len(addresses)
    rows = np.concatenate([np.arange(n, dtype=np.int32), np.array([row for row, _, _ in aliases], np.int32)])
    village = of_cell[addresses.cell[rows]] if len(rows) else rows
    cutter = _Cutter(villages, names)
    for first in range(0, n, ROWS):
        stop = min(first + ROWS, n)
        cutter.cut(addresses.texts, first, stop, village[first:stop])
    cutter.by_rule([text for _, text, _ in aliases], village[n:])
    road, number, rest = cutter.done()
    key = village * np.int64(len(cutter.roads.names)) + road
    del village, road
    order = np.argsort(key, kind="stable").astype(np.int32)
    key = key[order]
    begins = np.append(True, key[1:] != key[:-1]) if len(key) else np.empty(0, np.bool_)
    streets = key[begins]
    del key
    starts = np.append(np.flatnonzero(begins), len(rows)).astype(np.int32)
    street = np.repeat(np.arange(len(streets), dtype=np.int32), np.diff(starts))
    place_of = {int(order[at]): at for at in np.flatnonzero(order >= n).tolist()}
    return Streets(
        towns, villages, np.array([towns.index(v[:9]) for v in villages], np.int64),
        cutter.roads.names, cutter.rests.names,
        rows[order], street, number[order], rest[order],
        {place_of[n + i]: f"{kind}: {text}" for i, (_, text, kind) in enumerate(aliases)},
        (streets // len(cutter.roads.names)).astype(np.int32), (streets % len(cutter.roads.names)).astype(np.int32),
        starts, cutter.roads.left_out + cutter.rests.left_out,
    )  # fmt: skip


class _Cutter:
    """Texts in, in their order; rows of roads, numbers and rests of each out, and the distinct roads and rests."""

    def __init__(self, villages: Sequence[str], names: Mapping[str, str]) -> None:
        self._villages, self._names = villages, names
        self._prefixes: dict[int, re.Pattern[str]] = {}  # compiled where needed: that takes 2 ms each
        self._openings = Openings([_opening(code, names) for code in villages])
        self.roads, self.rests = _Rows(NAMES_MAX), _Rows(NAMES_MAX)
        self._road: list[Int32] = []
        self._number: list[Int32] = []
        self._rest: list[Int32] = []

    def cut(self, texts: Texts, first: int, stop: int, village: Int32) -> None:
        """The next texts: those written in full at once, the others one by one."""
        pieces = cut(texts, first, stop, village, self._openings)
        sure = np.flatnonzero(pieces.sure)
        road, number, rest = (np.zeros(stop - first, np.int32) for _ in range(3))
        road[sure] = self.roads.of_prints(pieces.before_print[sure], lambda at: pieces.before(int(sure[at])))
        rest[sure] = self.rests.of_prints(pieces.rest_print[sure], lambda at: pieces.rest(int(sure[at])))
        number[sure] = np.where(pieces.number[sure] <= NUMBER_MAX, pieces.number[sure] * 1000, NO_NUMBER)
        for at in np.flatnonzero(~pieces.sure).tolist():
            road[at], number[at], rest[at] = self._one(pieces.text(at), int(village[at]))
        self._add(road, number, rest)

    def by_rule(self, texts: Sequence[str], village: Int32) -> None:
        """The next texts, all one by one."""
        rows = [self._one(text, where) for text, where in zip(texts, village.tolist(), strict=True)]
        self._add(*np.array(rows, np.int32).reshape(-1, 3).T)

    def done(self) -> tuple[Int32, Int32, Int32]:
        """Road, number and rest of all texts."""
        columns = (self._road, self._number, self._rest)
        road, number, rest = (np.concatenate(parts or [np.empty(0, np.int32)]) for parts in columns)
        return road, number, rest

    def _add(self, road: Int32, number: Int32, rest: Int32) -> None:
        self._road.append(road)
        self._number.append(number)
        self._rest.append(rest)

    def _one(self, text: str, village: int) -> tuple[int, int, int]:
        if (prefix := self._prefixes.get(village)) is None:
            prefix = self._prefixes[village] = _prefix(self._villages[village], self._names)
        start = prefix.match(text)
        tail = text[start.end() :] if start else text
        number = NO_NUMBER
        if found := _NUMBERED.match(tail):
            before, digits, part, left = found.groups()
            number = number_key(digits, part)
        else:
            named = ROAD.match(tail)
            before, left = (named[0], tail[named.end() :]) if named else ("", tail)
        return self.roads.of(before), number, self.rests.of(left)


class _Rows:
    """Distinct texts, normalised, with a row each; row 0 is the empty one, and all those beyond ``most``."""

    def __init__(self, most: int) -> None:
        self.names = [""]
        self.left_out = 0
        self._most = most
        self._normal = {"": 0}
        self._raw = {"": 0}
        self._printed: dict[int, int] = {}

    def of_prints(self, prints: NDArray[np.uint64], text_of: Callable[[int], str]) -> Int32:
        """The rows of texts known by fingerprints (``geo.cut``); ``text_of``: the text at a place in ``prints``."""
        distinct, first, which = np.unique(prints, return_index=True, return_inverse=True)
        rows = np.empty(len(distinct), np.int32)
        for k, print_ in enumerate(distinct.tolist()):
            if (row := self._printed.get(print_)) is None:
                row = self.of(text_of(int(first[k])))
                if not self.full:
                    self._printed[print_] = row
            rows[k] = row
        return rows[which]

    def of(self, text: str) -> int:
        """The row of a text."""
        if (row := self._raw.get(text)) is None:
            normal = normalise(text) if not self.full else text
            row = self._normal.get(normal, 0)
            if not row and normal:
                if self.full:
                    self.left_out += 1
                    return 0
                row = self._normal[normal] = len(self.names)
                self.names.append(normal)
            self._raw[text] = row
        return row

    @property
    def full(self) -> bool:
        """Whether no further text gets a row."""
        return len(self.names) > self._most


def _opening(village: str, names: Mapping[str, str]) -> str:
    """How a text of this village that leaves nothing out begins; "" where ``_prefix`` may read it otherwise."""
    parts = [names.get(code, "") for code in (village[:6], village[:9], village)]
    opening = "".join(parts)
    return opening if all(parts) and "省" not in opening[:4] and not opening.startswith("中国") else ""


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
