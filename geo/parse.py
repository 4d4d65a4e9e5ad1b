"""The levels of a Chinese address in a city without districts: city, town, village, road, number, room.

The parser walks from the left and takes the longest name the gazetteer knows at
each step, so that 石排村 is a village before 石排 is a town, and 松山湖大道 is a
road before 松山湖 is a park. It never chooses between places of the same name: all
of them stay in ``towns`` and ``villages``, and what it did is said in ``notes``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from geo.gazetteer import TOWN, VILLAGE, Gazetteer, Named, is_generic, stem_of
from geo.han import is_traditional, normalise

_HAN = r"[㐀-鿿]"
_ROAD_END = r"(?:大道|公路|大街|路|街(?!道|大道)|巷)"
ROAD = re.compile(
    rf"(?:[gsx]?\d{{1,4}}(?:国道|省道|县道|线)|{_HAN}{{1,8}}?{_ROAD_END})"
    rf"(?:[东南西北中](?=\d|$|段)|[一二三四五六七八九十]{{1,2}}[路街巷横])?"
)
NAMES_A_ROAD = re.compile(rf"(?:[东南西北中内外新环]|[一二三四五六七八九十]){{0,2}}{_ROAD_END}")
_SECTION = re.compile(rf"({_HAN}{{2,4}}?)(?:路?段)")
_AREA = re.compile(
    rf"{_HAN}{{0,6}}?(?:中心区|工业区|工业园|工业城|开发区|科技园|产业园|镇区|小区|花园)(?![东南西北中]?{_ROAD_END})"
)
_HAMLET = re.compile(rf"{_HAN}{{1,4}}?(?:新村|村|围|坊|队)(?![东南西北中一二三四五六七八九]?(?:大道|路|街|巷))")
_LOCALITY = re.compile(rf"{_HAN}{{1,6}}(?=\d+(?:[-之]\d+)*号(?!楼|线))")
_HAS_ENDING = re.compile(r".*(?:镇|乡|街道|区|办|处|会|府|园)$")
_NUMBER = re.compile(r"第?((?:\d+[a-z]?)(?:[-之]\d+)*)号(?!楼|线)(?:之(\d+))?")
_INNER = (
    ("building", re.compile(r"([0-9a-z]+|[东南西北中])(?:号楼|栋|座|幢)")),
    ("unit", re.compile(r"([0-9a-z]+)单元")),
    ("floor", re.compile(r"(\d+)(?:楼|层)")),
    ("room", re.compile(r"([a-z]?\d+)(?:室|房|号房|号铺|铺)")),
)
_PROVINCE = re.compile(r"^(?:中国)?(?:广东省|广东)")


@dataclass(frozen=True, slots=True)
class ParsedAddress:
    """What a text says, level by level; empty where it says nothing.

    ``towns`` and ``villages`` hold every place the words may stand for;
    ``section`` the towns a stretch of road is named by (莞太路厚街段).
    """

    text: str
    towns: tuple[Named, ...] = ()
    villages: tuple[Named, ...] = ()
    area: str = ""
    hamlet: str = ""
    road: str = ""
    section: tuple[Named, ...] = ()
    number: str = ""
    building: str = ""
    unit: str = ""
    floor: str = ""
    room: str = ""
    rest: str = ""
    notes: tuple[str, ...] = ()


class _Reader:
    """One text on its way through the levels."""

    def __init__(self, text: str, gazetteer: Gazetteer) -> None:
        self.text, self.gazetteer = text, gazetteer
        self.at = 0
        self.before = ""
        self.notes: list[str] = []

    def take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def city(self) -> None:
        """Past province and city; what stands before the city's full name is the name of something there."""
        if found := _PROVINCE.match(self.text):
            self.at = found.end()
        city = self.gazetteer.city
        if not city:
            return
        start = self.text.find(city, self.at)
        if start >= 0:
            self.before = self.text[self.at : start]
            self.at = start + len(city)
            if self.text.startswith(city, self.at):
                self.at += len(city)
            return
        stem = city.removesuffix("市")
        after = self.at + len(stem)
        longer = any(found[0].said != stem for found in self.gazetteer.at(self.text, self.at))
        if self.text.startswith(stem, self.at) and not longer and not NAMES_A_ROAD.match(self.text, after):
            self.at = after

    def named(self, level: str, towns: tuple[Named, ...] = ()) -> tuple[Named, ...]:
        """The places of a level named here, longest form first; moves past the name."""
        for found in self.gazetteer.at(self.text, self.at):
            several = tuple(n for n in found if self._meant(n, level, towns))
            if several:
                said = several[0].said
                other = [n for n in found if n.level != level and n.kind != "bare"]
                if level == TOWN and other:
                    return ()  # 塘厦社区, not 塘厦
                self.at += len(said)
                return self._noted(several)
            if any(n.kind != "bare" for n in found):
                return ()  # a longer name of the other level stands here
        return ()

    def misspelt(self, level: str) -> tuple[Named, ...]:
        """The places of a level that sound like what is written here."""
        several = tuple(n for n in self.gazetteer.sounds_like(self.text, self.at) if n.level == level)
        if several:
            self.at += len(several[0].said)
        return self._noted(several)

    def later(self) -> tuple[Named, ...]:
        """The first town further on that is named with its ending."""
        for start in range(self.at + 1, len(self.text) - 2):
            for found in self.gazetteer.at(self.text, start):
                towns = tuple(n for n in found if n.level == TOWN and n.kind != "bare")
                if towns and not NAMES_A_ROAD.match(self.text, start + len(towns[0].said)):
                    self.before += self.text[self.at : start]
                    self.at = start + len(towns[0].said)
                    return self._noted(towns)
        return ()

    def _meant(self, named: Named, level: str, towns: tuple[Named, ...]) -> bool:
        if named.level != level:
            return False
        names_a_road = NAMES_A_ROAD.match(self.text, self.at + len(named.said))
        if level == TOWN:
            return _HAS_ENDING.match(named.said) is not None or names_a_road is None
        own = any(town.code == named.town for town in towns)
        needs_town = named.kind == "bare" or (bool(towns) and is_generic(stem_of(named.name, VILLAGE)))
        return names_a_road is None and (own or not needs_town)  # 新村南路 is a road

    def _noted(self, several: tuple[Named, ...]) -> tuple[Named, ...]:
        for named in several:
            if named.kind in ("old name", "misspelling", "same sound"):
                self.notes.append(f"{named.said} is taken for {named.name} ({named.kind})")
        return several


def parse_address(text: str, gazetteer: Gazetteer) -> ParsedAddress:
    """The levels of an address; see the module."""
    reader = _Reader(normalise(text), gazetteer)
    if is_traditional(text):
        reader.notes.append("written in traditional characters")
    reader.city()
    towns, villages = _territory(reader)
    for several in (towns, villages):
        if len({n.name for n in several}) < len(several):
            reader.notes.append(f"{several[0].said} may be any of {len(several)} places")
    area = reader.take(_AREA) if not _starts_with_road(reader) else ""
    hamlet = reader.take(_HAMLET)
    road = reader.take(ROAD)
    if not road and not hamlet:
        hamlet = reader.take(_LOCALITY)
    section = _section(reader) if road else ()
    levels = _numbers(reader)
    return ParsedAddress(
        reader.text, towns, villages, area, hamlet, road, section, *levels, tuple(dict.fromkeys(reader.notes))
    )


def _territory(reader: _Reader) -> tuple[tuple[Named, ...], tuple[Named, ...]]:
    towns = _towns(reader)
    villages = reader.named(VILLAGE, towns)
    if not towns and not villages:
        towns = reader.misspelt(TOWN) or reader.later()
        villages = reader.named(VILLAGE, towns)
    if not villages:
        villages = reader.misspelt(VILLAGE)
    if villages and not towns:
        towns = reader.named(TOWN)  # 石美社区, 万江街道: the wrong way round
    return towns, _within(villages, towns)


def _towns(reader: _Reader) -> tuple[Named, ...]:
    """The town at the start; two when two follow each other, and a full name further on before a bare one."""
    towns = reader.named(TOWN)
    if towns and not _HAS_ENDING.match(towns[0].said) and (full := reader.later()):
        reader.notes.append(f"{towns[0].said} at the start is taken for a part of a name")
        return full
    if towns and (second := reader.named(TOWN)):
        return towns + tuple(n for n in second if n.code not in {t.code for t in towns})
    return towns


def _within(villages: tuple[Named, ...], towns: tuple[Named, ...]) -> tuple[Named, ...]:
    """Of villages of one name the best written in the town that is named; all of them when none is."""
    codes = {town.code for town in towns}
    own = tuple(v for v in villages if v.town in codes)
    return tuple(v for v in own if v.trust == own[0].trust) or villages


def _starts_with_road(reader: _Reader) -> bool:
    road, area = ROAD.match(reader.text, reader.at), _AREA.match(reader.text, reader.at)
    return bool(road and (area is None or area.end() > road.end()))


def _section(reader: _Reader) -> tuple[Named, ...]:
    """The town a stretch of the road is named by: 厚街段."""
    found = _SECTION.match(reader.text, reader.at)
    towns = tuple(n for n in reader.gazetteer.find(found[1]) if n.level == TOWN) if found else ()
    if found and towns:
        reader.at = found.end()
    return towns


def _numbers(reader: _Reader) -> tuple[str, str, str, str, str, str]:
    """Number, building, unit, floor, room, and whatever is left of the text."""
    number = ""
    if found := _NUMBER.match(reader.text, reader.at):
        number = found[1].replace("之", "-") + (f"-{found[2]}" if found[2] else "")
        reader.at = found.end()
    rest = reader.text[reader.at :]
    levels = dict.fromkeys((level for level, _ in _INNER), "")
    for level, pattern in _INNER:
        if inner := pattern.search(rest):
            levels[level] = inner[1]
            rest = rest[: inner.start()] + rest[inner.end() :]
    rest = (reader.before + rest).strip()
    return number, levels["building"], levels["unit"], levels["floor"], levels["room"], rest
