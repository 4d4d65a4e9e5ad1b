"""Beidou grid position codes in two dimensions (GB/T 39409-2020), both ways.

A code names a cell of latitude and longitude; a longer code names a smaller cell in it:

level  cell of lon x lat   digits   written as
1      6 deg x 4 deg        4       N or S, column 01-60 from 180 W, row A-V from the equator
2      30' x 30'            6       column, row                     (12 x 8)
3      15' x 10'            7       one digit 0-5, rows of two      (2 x 3)
4      1' x 1'              9       column, row                     (15 x 10)
5      4" x 4"             11       column, row                     (15 x 15), about 120 m
6      2" x 2"             12       one digit 0-3, rows of two      (2 x 2)
7-10   1/4, 1/32, 1/256, 1/2048 "   14, 16, 18, 20   column, row    (8 x 8 each), 1.5 cm at last

Columns and rows are hexadecimal digits. They count away from the prime meridian
and from the equator, so in the west and in the south a cell is the mirror image.
Beyond 88 degrees the standard has polar grids; they are refused here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from domain.errors import CodeError

LENGTHS = (4, 6, 7, 9, 11, 12, 14, 16, 18, 20)
_DIVISIONS = ((12, 8), (2, 3), (15, 10), (15, 15), (2, 2), (8, 8), (8, 8), (8, 8), (8, 8))
_ONE_DIGIT = (3, 6)
_WIDTH_DEG, _HEIGHT_DEG = Fraction(6), Fraction(4)
_ROWS = "ABCDEFGHIJKLMNOPQRSTUV"
_HEX = "0123456789ABCDEF"


@dataclass(frozen=True, slots=True)
class BeidouCell:
    """A cell in degrees (WGS-84, which CGCS2000 equals here)."""

    code: str
    level: int
    west: float
    south: float
    east: float
    north: float

    @property
    def middle(self) -> tuple[float, float]:
        """Longitude and latitude of its middle."""
        return (self.west + self.east) / 2, (self.south + self.north) / 2


def beidou_code(lon: float, lat: float, level: int = 10) -> str:
    """The code of the cell of ``level`` (1-10) that holds a point; raises CodeError beyond 88 degrees."""
    if not 1 <= level <= 10:
        raise CodeError(f"Beidou grid level {level}: there are levels 1 to 10")
    if not (-180 <= lon <= 180 and -88 < lat < 88):
        raise CodeError(f"lon {lon:g}, lat {lat:g}: Beidou grid codes are made for lon within 180, lat below 88")
    # 180 E is 180 W: the columns begin there. Fractions keep points on a border on it.
    x, y = _exact(-180.0 if lon == 180 else lon), _exact(lat)
    column, row = int((x + 180) // _WIDTH_DEG), int(abs(y) // _HEIGHT_DEG)
    code = f"{'N' if y >= 0 else 'S'}{column + 1:02d}{_ROWS[row]}"
    from_west = x - (_WIDTH_DEG * column - 180)
    x_rest = from_west if x >= 0 else _WIDTH_DEG - from_west
    y_rest = abs(y) - _HEIGHT_DEG * row
    width, height = _WIDTH_DEG, _HEIGHT_DEG
    for number, (columns, rows) in enumerate(_DIVISIONS[: level - 1], 2):
        width, height = width / columns, height / rows
        # In the west the mirror image may end exactly on the last border: that is the last cell's.
        i, j = min(int(x_rest // width), columns - 1), min(int(y_rest // height), rows - 1)
        x_rest, y_rest = x_rest - i * width, y_rest - j * height
        code += _HEX[j * columns + i] if number in _ONE_DIGIT else _HEX[i] + _HEX[j]
    return code


def parse_beidou(code: str) -> BeidouCell:
    """The cell of a code; raises CodeError with the level that is wrong."""
    given, code = code, code.upper()
    if len(code) not in LENGTHS:
        raise CodeError(f"Beidou grid code {given!r} has {len(code)} characters; it needs one of {LENGTHS}")
    level = LENGTHS.index(len(code)) + 1
    if code[0] not in "NS" or not code[1:3].isdecimal() or not 1 <= int(code[1:3]) <= 60 or code[3] not in _ROWS:
        raise CodeError(f"Beidou grid code {given!r}: level 1 must be N or S, 01 to 60, A to V, as in N50J")
    width, height = _WIDTH_DEG, _HEIGHT_DEG
    west = width * (int(code[1:3]) - 1) - 180
    eastern = west >= 0
    x, y = (west if eastern else -(west + width)), height * _ROWS.index(code[3])
    at = 4
    for number, (columns, rows) in enumerate(_DIVISIONS[: level - 1], 2):
        width, height = width / columns, height / rows
        i, j = _column_row(given, code[at : LENGTHS[number - 1]], number, columns, rows)
        x, y, at = x + i * width, y + j * height, LENGTHS[number - 1]
    west, east = (x, x + width) if eastern else (-x - width, -x)
    south, north = (y, y + height) if code[0] == "N" else (-y - height, -y)
    return BeidouCell(code, level, float(west), float(south), float(east), float(north))


def _column_row(code: str, part: str, level: int, columns: int, rows: int) -> tuple[int, int]:
    digits = [_HEX.find(letter) for letter in part]
    i, j = (digits[0] % columns, digits[0] // columns) if level in _ONE_DIGIT else (digits[0], digits[1])
    if min(digits) < 0 or i >= columns or j >= rows:
        raise CodeError(f"Beidou grid code {code!r}: level {level} ({part}) is no cell of {columns} x {rows}")
    return i, j


def _exact(degrees: float) -> Fraction:
    return Fraction(repr(float(degrees)))
