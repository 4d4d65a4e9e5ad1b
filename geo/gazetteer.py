"""The names of towns and villages in all the ways people write them, and which places they stand for.

A form keeps how it came about, because that is how far to trust it:

official    the name as registered: 石排镇, 石美社区
ending      the right stem with another ending of its level: 石美村, 东城街道办
old name    from ``old_names.csv`` (莞城区), so is ``other name`` and ``misspelling``
same sound  another character read the same, with an ending: 廖步镇
bare        the stem alone: 石排; a village's only counts behind its own town

One form may stand for several places: Dongguan has 25 doubled village names.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product

from geo.han import HERE, is_han, normalise, readings

TRUST = {
    "official": 1.0, "other name": 0.95, "ending": 0.95, "old name": 0.93, "bare": 0.85,
    "misspelling": 0.6, "same sound": 0.55,
}  # fmt: skip
CITY, TOWN, VILLAGE = "city", "town", "village"

_TOWN_ENDINGS = ("街道", "镇", "乡")
_TOWN_SAID = ("街道办事处", "街道办", "街道", "镇人民政府", "镇政府", "镇")
_VILLAGE_ENDINGS = ("虚拟社区", "生活区", "社区", "村")
_VILLAGE_SAID = (
    "村村民委员会", "村民委员会", "村委会", "社区居民委员会", "居民委员会", "社区居委会", "居委会", "社区",
    "管理区", "村",
)  # fmt: skip
_GENERIC = frozenset({"新村", "中心", "农场", "圩镇", "东方", "城中", "江南"} | set("一二三四五六七八九十"))


@dataclass(frozen=True, slots=True)
class Named:
    """A place as some text calls it: ``said`` in the text, ``name`` as registered."""

    code: str
    level: str
    name: str
    said: str
    kind: str

    @property
    def town(self) -> str:
        """The 9-digit town it is or lies in."""
        return self.code[:9]

    @property
    def trust(self) -> float:
        """How far to believe that this place is meant, by the way it is written."""
        return TRUST[self.kind]


class Gazetteer:
    """Towns and villages by every form of their names. Immutable."""

    def __init__(self, names: Mapping[str, str], other_names: Iterable[tuple[str, str, str]] | None = None) -> None:
        """``names``: code of 6, 9 or 12 digits → name; ``other_names``: code, name, kind; left out: ours."""
        self.names = dict(names)
        self._forms: dict[str, tuple[Named, ...]] = {}
        for code, name in self.names.items():
            if len(code) in (9, 12):
                for said, kind in town_forms(name) if len(code) == 9 else village_forms(name):
                    self._add(Named(code, TOWN if len(code) == 9 else VILLAGE, name, normalise(said), kind))
        for code, said, kind in _shipped() if other_names is None else other_names:
            if code in self.names:
                level = TOWN if len(code) == 9 else VILLAGE
                self._add(Named(code, level, self.names[code], normalise(said), kind))
        self.longest = max(map(len, self._forms), default=0)
        self._sounds = self._by_sound()
        self.city = normalise(next((n for c, n in self.names.items() if len(c) == 6), ""))

    def find(self, said: str) -> tuple[Named, ...]:
        """The places this form stands for, most trusted first."""
        return self._forms.get(said, ())

    def forms(self) -> Iterator[Named]:
        """Every form of every place."""
        for several in self._forms.values():
            yield from several

    def at(self, text: str, start: int) -> Iterator[tuple[Named, ...]]:
        """The forms that begin there, longest first."""
        for length in range(min(self.longest, len(text) - start), 1, -1):
            if found := self._forms.get(text[start : start + length]):
                yield found

    def sounds_like(self, text: str, start: int) -> tuple[Named, ...]:
        """Places whose form with an ending sounds like what begins there, written with other characters."""
        for length in range(min(6, len(text) - start), 2, -1):
            said = text[start : start + length]
            if said in self._forms or not all(map(is_han, said)):
                continue
            if found := next((self._sounds[key] for key in _keys(said) if key in self._sounds), ()):
                return tuple(Named(n.code, n.level, n.name, said, "same sound") for n in found)
        return ()

    def _add(self, named: Named) -> None:
        there = self._forms.get(named.said, ())
        if all(other.code != named.code for other in there):
            ranked = sorted((*there, named), key=lambda n: (-n.trust, n.code))
            self._forms[named.said] = tuple(ranked)

    def _by_sound(self) -> dict[tuple[str, ...], tuple[Named, ...]]:
        found: dict[tuple[str, ...], tuple[Named, ...]] = {}
        for said, several in self._forms.items():
            named = tuple(n for n in several if n.kind in ("official", "old name"))
            if named and len(said) > 2:
                # The ending is kept as written: 镇 and 村 are no slips of the pen.
                for key in _keys(said):
                    found[key] = (*found.get(key, ()), *named)
        return found


def town_forms(name: str) -> Iterator[tuple[str, str]]:
    """A town's name with what it is: as registered, with other endings, bare."""
    yield name, "official"
    stem = stem_of(name, TOWN)
    if stem != name:
        for ending in _TOWN_SAID:
            yield stem + ending, "ending"
        yield stem, "bare"


def village_forms(name: str) -> Iterator[tuple[str, str]]:
    """A village's or community's name with what it is."""
    yield name, "official"
    stem = stem_of(name, VILLAGE)
    own = next((ending for ending in ("村", "社区", "生活区") if name.endswith(ending)), "社区")
    for ending in _VILLAGE_SAID:
        kind = "official" if ending.startswith(own) and "委" in ending else "ending"
        if len(stem) > 1 or ending.startswith("村"):
            yield stem + ending, kind
    if len(stem) > 1 and not is_generic(stem):
        yield stem, "ending" if stem.endswith("村") else "bare"


def stem_of(name: str, level: str) -> str:
    """The name without the ending of its level."""
    for ending in _TOWN_ENDINGS if level == TOWN else _VILLAGE_ENDINGS:
        if name.endswith(ending) and len(name) > len(ending):
            return name.removesuffix(ending)
    return name


def is_generic(stem: str) -> bool:
    """Whether the stem is an ordinary word: 新村, 一村 name a village only in its own town."""
    return stem in _GENERIC


def _keys(said: str) -> Iterator[tuple[str, ...]]:
    """How a form sounds, its last character as written; nothing when a character has no known reading."""
    parts = [readings(c) for c in said[:-1]]
    if all(parts):
        for way in list(product(*parts))[:16]:
            yield (*way, said[-1])


@cache
def _shipped() -> tuple[tuple[str, str, str], ...]:
    with (HERE / "old_names.csv").open(encoding="utf-8", newline="") as file:
        return tuple((row["code"], row["name"], row["kind"]) for row in csv.DictReader(file))
