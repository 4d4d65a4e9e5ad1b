"""Names found in what somebody typed: with wrong, missing and same-sounding characters, in pinyin, by initials.

A name is laid along the query where it costs least. A character of the same sound
costs 0.25, another one 1, one too many 0.7, one too few 0.8; endings such as 路 or
镇, which people leave out, weigh 0.4. What comes out is the stretch of the query
that a name explains, as bits of an integer, so that the names of one address are
put together with OR. Costs are crude and chosen by hand.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from geo.han import initials, is_han, normalise, readings, spellings, syllables

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

QUERY_MAX = 60
"""Characters of a query that are looked at: one bit each."""
NAME_MAX = 14
SHORTLIST = 160
"""Names whose sounds occur in the query most: only these are laid along it."""
QUALITY_MIN = 0.6
SURE = 0.9
"""From this quality on a name is taken to be the one that was meant."""
SPELLED_MAX = 100_000
"""Tables of more names than this are not searched by pinyin."""
WEAK = 0.4

_SAME_SOUND, _OTHER, _TOO_MANY, _TOO_FEW = 0.25, 1.0, 0.7, 0.8
_POSTINGS_MAX = 400_000
_WEAK_CHARACTERS = frozenset("省市区镇乡村号路街巷道大社委会办处栋座幢楼层室房之-()第")
_SYLLABLES_MAX = 6
_PREFIX_MIN, _PREFIX_NAMES_MAX = 3, 40


@lru_cache(maxsize=65_536)
def sounds_of(character: str) -> tuple[int, int]:
    """Numbers of the character's first and second sound; one without a reading sounds like itself.

    Southern speech and typing mix zh and z, ch and c, sh and s, -ng and -n: they count as one.
    The numbers are the same in every process and thread, and with them what is found.
    """
    known = _syllable_numbers()
    ways = (readings(character) or (character,))[:2]
    numbers = [known.get(_southern(way), len(known) + 1 + ord(way[0])) for way in ways]
    return numbers[0], numbers[-1]


@cache
def _syllable_numbers() -> dict[str, int]:
    return {syllable: n for n, syllable in enumerate(sorted(set(map(_southern, syllables()))), 1)}


class Query:
    """What was typed, normalised, with its characters' sounds and weights.

    ``total``: the weight of all of it that is not the city's own name.
    """

    def __init__(self, typed: str, city: str = "") -> None:
        words = [word for word in map(normalise, re.split(r"[\s,，;；、]+", typed)) if word]
        text = "".join(words)[:QUERY_MAX]
        self.text = text
        self.codes = np.array([ord(c) for c in text], np.int32)
        self.sounds = np.array([sounds_of(c) for c in text], np.int32).reshape(len(text), 2)
        self.weights = weights_of(text)
        self.strong = _bits(self.weights == 1.0)
        self.weak = _bits(self.weights != 1.0)
        self.ignored = _city_bits(text, city)
        self.total = float(self.weight(np.array([((1 << len(text)) - 1) & ~self.ignored], np.int64))[0])
        self.latin = [(m.start(), m[0]) for m in re.finditer(r"[a-z]+", text)]
        self._ends = {0, *np.cumsum([len(word) for word in words]).tolist()}

    def weight(self, bits: Int64) -> Float64:
        """The weight of the characters whose bits are set."""
        strong = np.bitwise_count(bits & np.int64(self.strong)).astype(np.float64)
        weak = np.bitwise_count(bits & np.int64(self.weak)).astype(np.float64)
        return np.asarray(strong + WEAK * weak)

    def is_word(self, start: int, end: int) -> bool:
        """Whether these characters are whole words as they were typed."""
        return start in self._ends and end in self._ends


@dataclass(frozen=True, slots=True)
class Hit:
    """One name in the query: its row, the bits it explains, how well, and how it was recognised."""

    row: int
    bits: int
    quality: float
    how: str

    @property
    def rank(self) -> tuple[bool, float]:
        """Sure ones first, then by how much of the query they explain."""
        return self.quality >= SURE, self.quality * self.bits.bit_count()


class NameTable:
    """Distinct names of one sort (towns and villages, roads, or names of buildings), immutable."""

    def __init__(self, names: Sequence[str]) -> None:
        """``names`` are normalised; longer than 14 characters they are compared by their first 14."""
        self.names = list(names)
        cut = [name[:NAME_MAX] for name in self.names]
        width = max(map(len, cut), default=1) or 1
        self._length = np.array([len(name) for name in cut], np.int32)
        self._codes = np.zeros((len(cut), width), np.int32)
        self._sounds = np.zeros((len(cut), width, 2), np.int32)
        self._weak = np.zeros((len(cut), width), np.bool_)
        self._total = np.full(len(cut), 1e-9)
        for row, name in enumerate(cut):
            n = len(name)
            self._codes[row, :n] = [ord(c) for c in name]
            self._sounds[row, :n] = [sounds_of(c) for c in name] if n else np.zeros((0, 2))
            if n:
                weights = weights_of(name)
                self._weak[row, :n] = weights == WEAK
                self._total[row] = weights.sum()
        self._post()
        self._spell()

    def __len__(self) -> int:
        return len(self.names)

    def hits(self, query: Query) -> list[Hit]:
        """Every name that the query has in it, at its best place."""
        found: dict[int, Hit] = {}
        for hit in (*self._written(query), *self._spelled(query)):
            there = found.get(hit.row)
            if there is None or hit.rank > there.rank:
                found[hit.row] = hit
        return list(found.values())

    def _post(self) -> None:
        """Rows and weights by sound."""
        row, column = np.nonzero(self._codes)
        sound = self._sounds[row, column]
        twice = sound[:, 0] != sound[:, 1]
        key = np.concatenate([sound[:, 0], sound[twice, 1]])
        rows = np.concatenate([row, row[twice]]).astype(np.int32)
        weak = self._weak[rows, np.concatenate([column, column[twice]])]
        order = np.argsort(key, kind="stable")
        self._post_rows, self._post_weak = rows[order], weak[order]
        self._post_starts = np.concatenate([[0], np.cumsum(np.bincount(key, minlength=1))]).astype(np.int64)

    def _spell(self) -> None:
        self._by_spelling: dict[str, list[int]] = {}
        self._by_initials: dict[str, list[int]] = {}
        if len(self.names) > SPELLED_MAX:
            return
        for row, name in enumerate(self.names):
            for spelling in spellings(name) if len(name) > 1 else ():
                self._by_spelling.setdefault(spelling, []).append(row)
            for letters in initials(name) if len(name) > 1 else ():
                self._by_initials.setdefault(letters, []).append(row)
        self._sorted = sorted(self._by_spelling)
        self._longest = max(map(len, self._sorted), default=0)

    def _written(self, query: Query) -> list[Hit]:
        rows = self._shortlist(query)
        if not len(rows):
            return []
        cost, start, end = self._laid_along(rows, query)
        quality = 1.0 - cost / self._total[rows]
        exact = cost < 1e-9
        return [
            Hit(row, ((1 << e) - 1) & ~((1 << s) - 1), q, "as written" if sure else "like")
            for row, q, s, e, sure in zip(
                rows.tolist(), quality.tolist(), start.tolist(), end.tolist(), exact.tolist(), strict=True
            )
            if q >= QUALITY_MIN and e > s
        ]

    def _shortlist(self, query: Query) -> Int64:
        """The rows that share most sounds with the query, rare sounds first."""
        wanted = np.unique(query.sounds[[is_han(c) or c.isdigit() for c in query.text]].ravel())
        wanted = wanted[wanted < len(self._post_starts) - 1]
        starts, ends = self._post_starts[wanted], self._post_starts[wanted + 1]
        order = np.argsort(ends - starts, kind="stable")
        within = order[np.cumsum((ends - starts)[order]) <= _POSTINGS_MAX]
        if not len(within):
            return np.empty(0, np.int64)
        at = np.concatenate([np.arange(starts[i], ends[i]) for i in within.tolist()])
        weights = np.where(self._post_weak[at], WEAK, 1.0)
        share = np.bincount(self._post_rows[at], weights, len(self.names)) / self._total
        near = np.flatnonzero(share >= 0.5)
        if len(near) > SHORTLIST:
            # Of equal shares the longer name: it explains more.
            rank = share[near] + 0.05 * self._total[near]
            near = near[np.argpartition(-rank, SHORTLIST)[:SHORTLIST]]
        return near

    def _laid_along(self, rows: Int64, query: Query) -> tuple[Float64, Int64, Int64]:
        """Least cost of each name anywhere in the query, and where: row by row of the edit distance."""
        n, m = len(rows), len(query.text)
        place = np.arange(m + 1)
        cost = np.zeros((n, m + 1))
        start = np.tile(place, (n, 1))
        line = np.arange(n)[:, None]
        for k in range(int(self._length[rows].max())):
            weight = np.where(self._weak[rows, k], WEAK, 1.0)[:, None]
            mine = self._sounds[rows, k]
            same = self._codes[rows, k][:, None] == query.codes
            alike = (mine[:, :, None, None] == query.sounds[None, None]).any(axis=(1, 3))
            step = np.where(same, 0.0, np.where(alike, _SAME_SOUND, _OTHER)) * weight
            few = cost + _TOO_FEW * weight
            change = np.concatenate([np.full((n, 1), np.inf), cost[:, :-1] + step], axis=1)
            moved = np.concatenate([start[:, :1], start[:, :-1]], axis=1)
            fresh = np.minimum(change, few)
            begun = np.where(change <= few, moved, start)
            # One character too many in the query: the best of all places to the left, plus its price.
            slanted = fresh - _TOO_MANY * place
            best = np.minimum.accumulate(slanted, axis=1)
            source = np.maximum.accumulate(np.where(slanted == best, place, 0), axis=1)
            live = self._length[rows][:, None] > k
            cost = np.where(live, best + _TOO_MANY * place, cost)
            start = np.where(live, begun[line, source], start)
        end = np.argmin(cost, axis=1)
        return cost[line[:, 0], end], start[line[:, 0], end], end

    def _spelled(self, query: Query) -> list[Hit]:
        if not self._by_spelling:
            return []
        found: list[Hit] = []
        for offset, run in query.latin:
            for start in range(len(run)):
                for end in range(start + 2, min(len(run), start + self._longest) + 1):
                    rows = self._by_spelling.get(run[start:end], ())
                    found += [_hit(row, offset + start, offset + end, 0.95, "pinyin") for row in rows]
            if not found and not is_pinyin(run):
                found += self._by_first_letters(query, offset, run)
        if not found and query.latin:
            found = self._begun(*query.latin[-1])
        return found

    def _by_first_letters(self, query: Query, offset: int, run: str) -> list[Hit]:
        return [
            _hit(row, offset + start, offset + end, 0.8, "initials")
            for start in range(len(run))
            for end in range(start + 2, len(run) + 1)
            if end - start > 2 or query.is_word(offset + start, offset + end)
            for row in self._by_initials.get(run[start:end], ())
        ]

    def _begun(self, offset: int, run: str) -> list[Hit]:
        """Names whose pinyin begins with what stands at the end."""
        if len(run) < _PREFIX_MIN:
            return []
        first = bisect.bisect_left(self._sorted, run)
        found = []
        for spelling in self._sorted[first : first + _PREFIX_NAMES_MAX]:
            if spelling.startswith(run):
                found += [_hit(r, offset, offset + len(run), 0.85, "pinyin") for r in self._by_spelling[spelling]]
        return found


def weights_of(text: str) -> Float64:
    """1 for each character that tells something, 0.4 for endings, units and brackets."""
    return np.array([WEAK if c in _WEAK_CHARACTERS else 1.0 for c in text])


def is_pinyin(run: str) -> bool:
    """Whether letters fall apart into syllables."""
    fits = [True] + [False] * len(run)
    known = syllables()
    for end in range(1, len(run) + 1):
        fits[end] = any(
            fits[start] and run[start:end] in known for start in range(max(0, end - _SYLLABLES_MAX), end)
        )
    return fits[-1]


def _southern(syllable: str) -> str:
    """``zhang`` and ``zan`` alike."""
    return re.sub(r"^([zcs])h", r"\1", re.sub(r"ng$", "n", syllable))


def _hit(row: int, start: int, end: int, quality: float, how: str) -> Hit:
    return Hit(row, ((1 << end) - 1) & ~((1 << start) - 1), quality, how)


def _bits(mask: NDArray[np.bool_]) -> int:
    return sum(1 << i for i in np.flatnonzero(mask).tolist())


def _city_bits(text: str, city: str) -> int:
    """The bits of province and city at the start: they say nothing within the city."""
    found = re.match(rf"(?:中国)?(?:广东省?)?(?:{re.escape(city)})?", text) if city else None
    return (1 << found.end()) - 1 if found else 0
