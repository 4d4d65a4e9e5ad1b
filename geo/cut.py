"""Many address texts cut at once into what stands before the number, the number, and what follows.

Nearly all texts of a city are written alike: city, town and village in full, a road,
digits, 号, the rest. Those are cut here as columns of characters, some ten thousand
at a time, which takes a tenth of a regular expression's time and leaves the
processor to others meanwhile. What is written otherwise is marked, and left to the
regular expressions of ``geo.streets``; both give the same.

Distinct pieces are told apart by 64-bit fingerprints (polynomials over scrambled
characters): of a million pieces, two different ones share one with odds of 1 to 10⁷.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from geo.addresses import Texts

Bool = NDArray[np.bool_]
Int64 = NDArray[np.int64]
Uint32 = NDArray[np.uint32]
Uint64 = NDArray[np.uint64]

ROWS = 20_000
"""Texts at a time: their characters and what is counted over them stay within some MB."""
BEFORE_MAX = 20
DIGITS_MAX = 7
_NUMBER_SIGN, _NOT_AFTER = ord("号"), np.array([ord("楼"), ord("线")], np.uint32)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Pieces:
    """Consecutive texts, cut; arrays of one row a text, places in ``characters``.

    ``sure``: cut here. Where not: ``start`` to ``end`` is the text and nothing else counts.
    """

    characters: str
    start: Int64
    end: Int64
    sure: Bool
    before_start: Int64
    before_end: Int64
    rest_start: Int64
    number: Int64
    before_print: Uint64
    rest_print: Uint64

    def text(self, row: int) -> str:
        """The whole text of a row."""
        return self.characters[int(self.start[row]) : int(self.end[row])]

    def before(self, row: int) -> str:
        """What stands between village and number."""
        return self.characters[int(self.before_start[row]) : int(self.before_end[row])]

    def rest(self, row: int) -> str:
        """What follows the number."""
        return self.characters[int(self.rest_start[row]) : int(self.end[row])]


class Openings:
    """What the texts of each village begin with when they are written in full; "" where that is not known."""

    def __init__(self, openings: Sequence[str]) -> None:
        self._length = np.array([len(opening) for opening in openings], np.int64)
        self._width = int(self._length.max(initial=1)) or 1
        self._codes = np.zeros((len(openings), self._width), np.uint32)
        for row, opening in enumerate(openings):
            self._codes[row, : len(opening)] = [ord(c) for c in opening]

    def passed(self, codes: Uint32, start: Int64, end: Int64, village: NDArray[np.integer]) -> tuple[Int64, Bool]:
        """Where each text goes on after its village's opening, and whether it begins with it."""
        length = self._length[village]
        at = np.minimum(start[:, None] + np.arange(self._width), len(codes) - 1)
        same = (codes[at] == self._codes[village]) | (np.arange(self._width) >= length[:, None])
        return start + length, same.all(axis=1) & (length > 0) & (start + length <= end)


def cut(texts: Texts, first: int, stop: int, village: NDArray[np.integer], openings: Openings) -> Pieces:
    """The texts of rows ``first`` to ``stop`` (at least one), cut; ``village``: each one's row in ``openings``."""
    raw, byte_ends = texts.slice(first, stop)
    characters = raw.decode()
    begins = (np.frombuffer(raw, np.uint8) & 0xC0) != 0x80
    ends = np.append(0, np.cumsum(begins))[byte_ends]
    start, end = ends[:-1], ends[1:]
    # A character that is no digit and no 号 at the end: nothing below runs out of the array.
    codes = np.append(np.frombuffer(characters.encode("utf-32-le"), np.uint32), np.uint32(0))
    at, sure = openings.passed(codes, start, end, village)
    digit = _decimal(codes)
    digits, others = np.flatnonzero(digit), np.flatnonzero(~digit)
    number_start = np.append(digits, len(codes) - 1)[np.searchsorted(digits, at)]
    number_end = others[np.minimum(np.searchsorted(others, number_start), len(others) - 1)]
    after = number_end + 1
    sure &= (number_end < end) & (codes[number_end] == _NUMBER_SIGN)
    sure &= (after >= end) | ~np.isin(codes[np.minimum(after, len(codes) - 1)], _NOT_AFTER)
    sure &= (number_start - at <= BEFORE_MAX) & (number_end - number_start <= DIGITS_MAX)
    number, plain = _number(codes, number_start, number_end)
    sure &= plain
    at, number_start, after = (np.where(sure, place, start) for place in (at, number_start, after))
    prints = _Prints(codes)
    before_print, rest_print = prints.of(at, number_start), prints.of(after, np.where(sure, end, start))
    return Pieces(characters, start, end, sure, at, number_start, after, number, before_print, rest_print)


def _number(codes: Uint32, start: Int64, end: Int64) -> tuple[Int64, Bool]:
    """The value of up to seven digits, and whether all of them are ASCII."""
    value, plain = np.zeros(len(start), np.int64), np.ones(len(start), np.bool_)
    for k in range(DIGITS_MAX):
        at = np.minimum(start + k, len(codes) - 1)
        within = start + k < end
        figure = codes[at].astype(np.int64) - ord("0")
        plain &= ~within | ((figure >= 0) & (figure <= 9))
        value = np.where(within, value * 10 + figure, value)
    return value, plain


class _Prints:
    """Fingerprints of stretches of characters: sums of scrambled characters times powers, modulo 2⁶⁴."""

    def __init__(self, codes: Uint32) -> None:
        mixed = (codes.astype(np.uint64) + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(31)
        mixed *= np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(29)
        mixed *= _powers(len(codes), int(_FACTOR))
        self._sums = np.append(np.uint64(0), np.cumsum(mixed, dtype=np.uint64))

    def of(self, start: Int64, end: Int64) -> Uint64:
        """One of each stretch; 0 where it is empty."""
        inverse = _powers(len(self._sums), pow(int(_FACTOR), -1, 2**64))
        found: Uint64 = (self._sums[end] - self._sums[start]) * inverse[start]
        return found


@cache
def _grown_powers(size: int, factor: int) -> Uint64:
    powers = np.full(size, factor, np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _powers(count: int, factor: int) -> Uint64:
    """``factor`` to the powers 0, 1, 2 …; kept in sizes of powers of two."""
    return _grown_powers(1 << max(count - 1, 1).bit_length(), factor)[:count]


@cache
def _decimals() -> Bool:
    return np.array([chr(code).isdecimal() for code in range(0x10000)])


def _decimal(codes: Uint32) -> Bool:
    """Which characters are decimal digits of any script; those beyond the BMP count as such, for safety."""
    table = _decimals()
    return np.asarray((codes > 0xFFFF) | table[np.minimum(codes, 0xFFFF)])
