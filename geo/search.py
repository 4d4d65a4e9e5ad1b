"""Addresses, roads, villages and towns found by what people type; in memory, for a million addresses.

    finder = AddressFinder.build(locator.addresses, locator.names, aliases)
    finder.find("莞城区震兴路12号", 20)      # also "mcz zxl 12", "麻三村", "zhenxinglu"

The query is compared with names, never with a million texts: distinct towns,
villages, roads and names of buildings (``geo.matching``). Addresses hang on streets,
a street being one road in one village, so some ten thousand of them are scored as
columns, and only the best ones' addresses after that.

The score is the share of the query that the answer explains, by weight, times how
well its names were matched; an address earns all of it only when the query says
road and number too. Equal scores are in the order of ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geo.addresses import NOWHERE, AddressIndex
from geo.gazetteer import Gazetteer, Named, stem_of
from geo.han import normalise
from geo.matching import SURE, Hit, NameTable, Query
from geo.streets import NO_NUMBER, Streets, number_key, take_apart

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
_Part = tuple[Int64, Float64]

SCORE_MIN = 0.35
PLACES_MAX = 10
CANDIDATES = 4000
"""Addresses that are scored one by one; the streets they stand in are chosen before."""
_NEARLY = 0.75
_REST_ROWS_MAX = 2000
_NUMBER = re.compile(r"(\d+)(?:[-之](\d+))?号(?!楼|线)")
_BARE_NUMBER = re.compile(r"(?<!\d)(\d+)(?:-(\d+))?(?!\d|国道|省道|县道|栋|座|幢|楼|层|室|单元)")
_MANNERS = {
    "as written": "", "like": ", written otherwise", "pinyin": ", in pinyin", "initials": ", by its initials",
}  # fmt: skip
_FORM_MAX = 2
"""Endings longer than this are left to the parser; in a search they only crowd the list."""


@dataclass(frozen=True, slots=True)
class Alias:
    """Another text of an address: how it was called, or is by some."""

    address_id: str
    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Found:
    """One answer. ``kind``: address (``code`` is its id), road (the village's code), village, town."""

    kind: str
    code: str
    text: str
    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Level:
    """What the query says about each row of one level: bits, quality, weight of the bits, and the hit."""

    bits: Int64
    quality: Float64
    weight: Float64
    why: dict[int, str]


class AddressFinder:
    """Addresses and places to be found by text. Immutable; make one with ``build``."""

    def __init__(self, addresses: AddressIndex, gazetteer: Gazetteer, english: Mapping[str, str], streets: Streets):
        self._addresses, self.streets = addresses, streets
        self._gazetteer = gazetteer
        forms: dict[str, list[Named]] = {}
        for named in gazetteer.forms():
            if named.kind != "ending" or len(named.said) <= len(stem_of(named.name, named.level)) + _FORM_MAX:
                forms.setdefault(named.said, []).append(named)
        for code, name in english.items():
            if len(code) in (9, 12) and (said := re.sub(r"[^a-z]", "", name.lower())):
                forms.setdefault(said, []).append(Named(code, "", gazetteer.names[code], said, "official"))
        self._forms = list(forms.values())
        self._divisions = NameTable(list(forms))
        self._roads = NameTable(streets.roads)
        self._rests = NameTable(streets.rests)

    @classmethod
    def build(
        cls, addresses: AddressIndex, names: Mapping[str, tuple[str, str]], aliases: Iterable[Alias] = ()
    ) -> AddressFinder:
        """``names``: code → name and English name of city, towns and villages."""
        chinese = {code: name for code, (name, _) in names.items()}
        english = {code: name for code, (_, name) in names.items() if name}
        others = [(addresses.row(alias.address_id), alias) for alias in aliases]
        extra = [(row, alias.text, alias.kind) for row, alias in others if row != NOWHERE]
        return cls(addresses, Gazetteer(chinese), english, take_apart(addresses, chinese, extra))

    @property
    def gazetteer(self) -> Gazetteer:
        """The names of towns and villages it searches by."""
        return self._gazetteer

    def exact(self, within: str, road: str, number: str) -> list[str]:
        """Ids of the addresses with just this road and number in a town or village (a code's prefix)."""
        entries = self.streets.numbered(within, normalise(road), number)
        return [self._addresses.id(row) for row in np.unique(self.streets.address[entries]).tolist()]

    def towns_of_road(self, road: str) -> frozenset[str]:
        """The 9-digit towns in which a road of this name has addresses."""
        return self.streets.towns_of_road(normalise(road))

    def find(self, typed: str, limit: int) -> list[Found]:
        """Up to ten places and then up to ``limit`` addresses, each sort best first."""
        query = Query(typed, self._gazetteer.city)
        if query.total <= 0.0 or limit < 1:
            return []
        levels = self._levels(query)
        return [*self._places(query, levels), *self._addresses_of(query, levels, limit)]

    def _levels(self, query: Query) -> tuple[_Level, _Level, _Level]:
        """Towns, villages and roads, as the query names them."""
        towns: dict[int, tuple[Hit, str]] = {}
        villages: dict[int, tuple[Hit, str]] = {}
        for hit in self._divisions.hits(query):
            for named in self._forms[hit.row]:
                rows, into = (
                    (self.streets.town_row, towns) if len(named.code) == 9 else (self.streets.village_row, villages)
                )
                _keep_best(into, rows[named.code], _trusted(hit, named), _why(hit, named))
        roads = {
            hit.row: (hit, f"road {self._roads.names[hit.row]}{_manner(hit)}") for hit in self._roads.hits(query)
        }
        s = self.streets
        return (
            _level(query, towns, len(s.town_codes)),
            _level(query, villages, len(s.village_codes)),
            _level(query, roads, len(s.roads)),
        )

    def _places(self, query: Query, levels: tuple[_Level, _Level, _Level]) -> list[Found]:
        """Towns, villages and roads the query names; scored as columns, put into words only when shown."""
        towns, villages, roads = levels
        s = self.streets
        town = np.flatnonzero(towns.bits)
        village = np.flatnonzero(villages.bits)
        village = village[_adds(villages, village, towns, s.town_of_village[village])]
        named = [s.streets_of_road(row)[:PLACES_MAX] for row in np.flatnonzero(roads.bits).tolist()]
        street = np.concatenate(named) if named else np.empty(0, np.int64)
        road, around, above = s.road[street], s.village[street], s.town[street]
        street = street[_adds(roads, road, towns, above) & _adds(roads, road, villages, around)]
        scored = (
            self._scored(query, ((towns, town),)),
            self._scored(query, ((villages, village), (towns, s.town_of_village[village]))),
            self._scored(query, ((roads, s.road[street]), (villages, s.village[street]), (towns, s.town[street]))),
        )
        least = _least_shown(np.concatenate(scored))
        found = [
            self._place(levels, kind, row, float(score[i]))
            for kind, rows, score in zip(("town", "village", "road"), (town, village, street), scored, strict=True)
            for i, row in ((i, int(rows[i])) for i in np.flatnonzero(score >= least).tolist())
        ]
        return sorted(found, key=lambda f: (-f.score, len(f.code), f.code, f.text))[:PLACES_MAX]

    @staticmethod
    def _scored(query: Query, parts: Sequence[tuple[_Level, NDArray[np.integer]]]) -> Float64:
        explained, quality = _explained(query, [(level.bits[rows], level.quality[rows]) for level, rows in parts])
        return np.asarray(np.round(explained * quality / query.total, 3))

    def _place(self, levels: tuple[_Level, _Level, _Level], kind: str, row: int, score: float) -> Found:
        """One answer; ``row``: of the town, the village or the street."""
        s = self.streets
        towns, villages, roads = levels
        if kind == "town":
            return Found(kind, s.town_codes[row], self._name(s.town_codes[row]), score, _whys(((towns, row),)))
        village = row if kind == "village" else int(s.village[row])
        parts = [(towns, int(s.town_of_village[village])), (villages, village)]
        road = ""
        if kind == "road":
            parts.append((roads, int(s.road[row])))
            road = s.roads[int(s.road[row])]
        code = s.village_codes[village]
        return Found(kind, code, self._name(code) + road, score, _whys(parts))

    def _addresses_of(self, query: Query, levels: tuple[_Level, _Level, _Level], limit: int) -> list[Found]:
        s = self.streets
        rest, named = self._named_rests(query)
        number, number_bits = number_in(query)
        entries = np.union1d(self._entries_of_best(query, levels), named)
        if not len(entries):
            return []
        there = s.number[entries]
        near = (number >= 0) & (there >= 0) & (there // 1000 == number // 1000)
        towns, villages, roads = self._of_streets(levels, s.street[entries])
        numbered = (np.where(near, number_bits, 0).astype(np.int64), np.where(there == number, 1.0, 0.9))
        called = rest.bits[s.rest[entries]], rest.quality[s.rest[entries]]
        explained, quality = _explained(query, (towns, villages, roads, numbered, called))
        territory = (towns[0] | villages[0]) != 0
        known = 0.5 + 0.1 * territory + 0.2 * (roads[0] != 0) + 0.2 * near + 0.5 * (called[0] != 0)
        score = np.round(explained / query.total * quality * np.minimum(known, 1.0), 3)
        gap = np.abs(there - number) if number >= 0 else np.zeros(len(there), np.int64)
        order = np.lexsort((s.address[entries], gap, -score))
        order = order[score[order] >= SCORE_MIN * 0.5]
        reasons = _Reasons(self, levels, rest, number)
        return self._listed(entries[order], score[order], limit, reasons)

    def _listed(self, entries: Int64, score: Float64, limit: int, reasons: _Reasons) -> list[Found]:
        """One answer an address: an alias and its address are the same."""
        found: dict[int, Found] = {}
        for entry, points in zip(entries.tolist(), score.tolist(), strict=True):
            row = int(self.streets.address[entry])
            if row not in found:
                text = self._addresses.texts[row]
                found[row] = Found("address", self._addresses.id(row), text, points, reasons.of(entry))
                if len(found) == limit:
                    break
        return list(found.values())

    def _entries_of_best(self, query: Query, levels: tuple[_Level, _Level, _Level]) -> Int64:
        """The entries of the streets that the query explains best, some thousands."""
        s = self.streets
        if not any(level.why for level in levels) or not len(s.village):
            return np.empty(0, np.int64)
        explained, quality = _explained(query, self._of_streets(levels, np.arange(len(s.village))))
        score = explained * quality
        best = np.flatnonzero(score >= max(float(score.max()) * _NEARLY, 1e-9))
        best = best[np.argsort(-score[best], kind="stable")]
        sizes = s.starts[best + 1] - s.starts[best]
        best = best[: int(np.searchsorted(np.cumsum(sizes), CANDIDATES)) + 1]
        slices = [np.arange(s.starts[i], s.starts[i + 1]) for i in best.tolist()]
        return np.concatenate(slices) if slices else np.empty(0, np.int64)

    def _of_streets(self, levels: tuple[_Level, _Level, _Level], street: NDArray[np.integer]) -> list[_Part]:
        """Bits and quality of each street's town, village and road."""
        s = self.streets
        rows = (s.town[street], s.village[street], s.road[street])
        return [(level.bits[row], level.quality[row]) for level, row in zip(levels, rows, strict=True)]

    def _named_rests(self, query: Query) -> tuple[_Level, NDArray[np.integer]]:
        """Names of buildings and the like in the query, and the entries that have them."""
        hits = {hit.row: (hit, f"{self._rests.names[hit.row]}{_manner(hit)}") for hit in self._rests.hits(query)}
        rest = _level(query, hits, len(self._rests))
        rows = sorted(hits, key=lambda row: -float(rest.weight[row] * rest.quality[row]))
        parts = [self.streets.entries_of_rest(row)[:_REST_ROWS_MAX] for row in rows[:PLACES_MAX]]
        return rest, np.concatenate(parts)[:_REST_ROWS_MAX] if parts else np.empty(0, np.int64)

    def _name(self, code: str) -> str:
        names = self._gazetteer.names
        return names.get(code[:9], "") + (names.get(code, "") if len(code) > 9 else "")


class _Reasons:
    """Why an entry was found, put into words only for those that are shown."""

    def __init__(
        self, finder: AddressFinder, levels: tuple[_Level, _Level, _Level], rest: _Level, number: int
    ) -> None:
        self._streets = finder.streets
        self._levels, self._rest, self._number = levels, rest, number

    def of(self, entry: int) -> tuple[str, ...]:
        """The reasons of one entry."""
        s = self._streets
        street = int(s.street[entry])
        rows = (int(s.town[street]), int(s.village[street]), int(s.road[street]))
        said = list(_whys(tuple(zip(self._levels, rows, strict=True))))
        if (row := int(s.rest[entry])) in self._rest.why:
            said.append(self._rest.why[row])
        if self._number >= 0:
            there, wanted = shown_number(int(s.number[entry])), shown_number(self._number)
            said.append(f"number {there}" if there == wanted else f"number {there or 'none'}, not {wanted}")
        if entry in s.alias:
            said.append(s.alias[entry])
        return tuple(said)


def number_in(query: Query) -> tuple[int, int]:
    """The house number a query names, as ``number_key``, and its bits; -1 and 0 when it names none."""
    found = _NUMBER.search(query.text) or _BARE_NUMBER.search(query.text)
    if found is None:
        return NO_NUMBER, 0
    bits = ((1 << found.end()) - 1) & ~((1 << found.start()) - 1)
    return number_key(found[1], found[2]), bits


def shown_number(key: int) -> str:
    """``12003`` as ``12-3``."""
    if key < 0:
        return ""
    return f"{key // 1000}-{key % 1000}" if key % 1000 else str(key // 1000)


def _level(query: Query, hits: Mapping[int, tuple[Hit, str]], size: int) -> _Level:
    bits, quality = np.zeros(size, np.int64), np.zeros(size)
    for row, (hit, _) in hits.items():
        bits[row], quality[row] = hit.bits, hit.quality
    bits &= ~np.int64(query.ignored)
    return _Level(bits, quality, query.weight(bits), {row: why for row, (_, why) in hits.items()})


def _explained(query: Query, parts: Sequence[_Part]) -> tuple[Float64, Float64]:
    """The weight of all that the parts explain together, and their quality by weight.

    What a sure part explains, a doubtful one does not explain again; and one bad
    match spoils the whole, for a name that is not in the query explains nothing.
    """
    sure = np.bitwise_or.reduce([np.where(quality >= SURE, bits, 0) for bits, quality in parts])
    own = [np.where(quality >= SURE, bits, bits & ~sure) for bits, quality in parts]
    weights = [query.weight(bits) for bits in own]
    good = np.sum([weight * quality for weight, (_, quality) in zip(weights, parts, strict=True)], axis=0)
    worst = np.min([np.where(bits != 0, q, 1.0) for bits, (_, q) in zip(own, parts, strict=True)], axis=0)
    total = np.maximum(np.sum(weights, axis=0), 1e-9)
    return query.weight(np.bitwise_or.reduce(own)), good / total * np.where(worst < SURE, np.sqrt(worst), 1.0)


def _whys(parts: Sequence[tuple[_Level, int]]) -> tuple[str, ...]:
    """What each level contributed; a doubtful name that adds nothing is left out."""
    sure = 0
    for level, row in parts:
        sure |= int(level.bits[row]) if level.quality[row] >= SURE else 0
    return tuple(
        level.why[row]
        for level, row in parts
        if row in level.why and (level.quality[row] >= SURE or int(level.bits[row]) & ~sure)
    )


def _adds(
    level: _Level, rows: NDArray[np.integer], larger: _Level, around: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Whether each name explains something that the surely named larger place does not."""
    more = (level.bits[rows] & ~larger.bits[around]) != 0
    return np.asarray((level.quality[rows] >= SURE) | (larger.quality[around] < SURE) | more)


def _least_shown(score: Float64) -> float:
    """The score from which on places can be among those that are shown."""
    best = float(score.max(initial=0.0))
    last = float(np.partition(score, -PLACES_MAX)[-PLACES_MAX]) if len(score) > PLACES_MAX else 0.0
    return max(SCORE_MIN, _NEARLY * best, last)


def _keep_best(into: dict[int, tuple[Hit, str]], row: int, hit: Hit, why: str) -> None:
    there = into.get(row)
    if there is None or hit.rank > there[0].rank:
        into[row] = hit, why


def _trusted(hit: Hit, named: Named) -> Hit:
    """A form that is no registered name counts a little less than the name itself."""
    return Hit(hit.row, hit.bits, hit.quality * (1.0 - 0.1 * (1.0 - named.trust)), hit.how)


def _why(hit: Hit, named: Named) -> str:
    level = "town" if len(named.code) == 9 else "village"
    by = f" by its {named.kind} {named.said}" if named.kind in ("old name", "other name", "misspelling") else ""
    return f"{level} {named.name}{by}{_manner(hit)}"


def _manner(hit: Hit) -> str:
    return _MANNERS[hit.how]
