"""Chinese text made comparable: widths, traditional characters, and how characters are read.

Two tables of facts lie beside this file: ``han_pinyin.csv`` (the characters of
GB 2312 and of Dongguan's place names by syllable, a second column for readings
that place names use besides, such as 涌 chong and yong) and ``han_traditional.csv``.
Made from the tables of pypinyin (MIT) and OpenCC (Apache-2.0). Tones are left out,
because nobody types them.
"""

from __future__ import annotations

import csv
import itertools
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
READINGS_MAX = 8
"""Of a name with several readings: how many of their combinations are kept."""

_NUMERALS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_NUMBER_BEFORE_UNIT = re.compile(r"[零〇一二两三四五六七八九十百]+(?=[号栋座幢楼层室]|单元)")
_SEPARATORS = re.compile(r"[\s,，。;；、·|]+")


def normalise(text: str) -> str:
    """One width, simplified, lower case, no blanks but between digits; numbers before 号 and the like in digits."""
    folded = unicodedata.normalize("NFKC", text).lower().translate(_simplified())
    numbered = _NUMBER_BEFORE_UNIT.sub(lambda found: _digits(found[0]), folded)
    return _SEPARATORS.sub(lambda found: " " if _between_digits(found) else "", numbered)


def _between_digits(found: re.Match[str]) -> bool:
    before, after = found.string[: found.start()][-1:], found.string[found.end() :][:1]
    return before.isdigit() and after.isdigit()


def is_traditional(text: str) -> bool:
    """Whether the text has a character that has a simplified form."""
    return any(ord(c) in _simplified() for c in text)


def is_han(character: str) -> bool:
    """Whether it is a Chinese character."""
    return "㐀" <= character <= "鿿"


@cache
def readings(character: str) -> tuple[str, ...]:
    """Its syllables without tones, the usual one first; none when it is not in the table."""
    return _readings().get(character, ())


def spellings(name: str) -> list[str]:
    """The whole name in pinyin without blanks, in each of its readings (at most 8)."""
    return ["".join(way) for way in _ways(name)]


def initials(name: str) -> set[str]:
    """The first letters of its syllables, in each of its readings."""
    return {"".join(syllable[0] for syllable in way) for way in _ways(name)}


@cache
def syllables() -> frozenset[str]:
    """Every syllable of the table."""
    return frozenset(way for ways in _readings().values() for way in ways)


def _ways(name: str) -> Iterator[tuple[str, ...]]:
    parts = [readings(c) or (c,) for c in name]
    return itertools.islice(itertools.product(*parts), READINGS_MAX)


@cache
def _simplified() -> dict[int, str]:
    with (HERE / "han_traditional.csv").open(encoding="utf-8", newline="") as file:
        return {ord(c): row["simplified"] for row in csv.DictReader(file) for c in row["traditional"]}


@cache
def _readings() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    with (HERE / "han_pinyin.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for column in ("characters", "second_reading_of"):
        for row in rows:
            for c in row[column]:
                found[c] = (*found.get(c, ()), row["syllable"])
    return found


def _digits(numeral: str) -> str:
    """``二十一`` → ``21``, ``一〇七`` → ``107``."""
    if not set(numeral) & {"十", "百"}:
        return "".join(str(_NUMERALS[c]) for c in numeral)
    total, last = 0, None
    for c in numeral:
        if c in "十百":
            total += (1 if last is None else last) * (10 if c == "十" else 100)
            last = 0
        else:
            last = _NUMERALS[c]
    return str(total + (last or 0))
