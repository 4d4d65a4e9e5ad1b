"""Codes of places: what they are made of, and what is wrong with a bad one.

division  6 digits city or county (GB/T 2260), 9 town, 12 village (statistics bureau);
          a 12-digit code that ends in 000 is the town's
cell      15 digits = 12 of the village + 3 of the cell in it, 001-999 (GB/T 47678.3)
address   12 of the village + base grid + building + room as ``domain.addresses`` says:
          25 digits with 2 + 5 + 6 (Shenzhen's SZDB/Z rule); room 0 is the building as a
          whole. The base grid is the cell's number, so with two digits addresses
          reach cells 001-099 only.
component 17 digits = 6 division + 2 major + 3 minor + 6 sequence (GB/T 47678.5-2026)
matter    11 digits = 6 division + 2 major + 3 minor (GB/T 47678.5-2026); a kind of
          matter in a city, no single event
device    20 digits = 8 centre (2 province, 2 city, 2 district, 2 base) + 2 industry
          + 3 type + 1 network + 6 sequence (GB/T 28181, rule A)

A shorter code is a prefix of the longer one, except that an address carries the
cell's number with the digits of its rule. Cities without districts write district 00.
Nothing here knows which divisions exist; that is what the region table is for.
Major classes and the industries and types of GB/T 28181 are short lists of their
standards and are checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from domain.addresses import VILLAGE_DIGITS, AddressRule, address_rule
from domain.errors import CodeError

CITIES_WITHOUT_DISTRICTS = frozenset({"4419", "4420", "4604", "6202"})
"""Dongguan, Zhongshan, Danzhou, Jiayuguan: towns come directly below the city."""

_TOWN_KINDS = ((1, 99, "街道"), (100, 199, "镇"), (200, 399, "乡"), (400, 599, "类似乡级"))
_VILLAGE_KINDS = ((1, 199, "居委会"), (200, 399, "村委会"), (400, 499, "类似居委会"), (500, 599, "类似村委会"))


COMPONENT_CLASSES = {"01": "市政公用设施", "02": "交通设施", "03": "市容环卫", "04": "园林绿化", "05": "其他"}
MATTER_CLASSES = {
    **{number: f"{name}异常" for number, name in COMPONENT_CLASSES.items()},
    "06": "市容环境", "07": "宣传广告", "08": "施工管理", "09": "街面秩序", "10": "其他事项",
}  # fmt: skip

_GB28181_INDUSTRIES = frozenset({*range(15), *range(40, 46)})
_GB28181_TYPES = ((111, 139, "front-end device"), (200, 216, "centre"), (300, 399, "user at the centre"),
                  (400, 499, "user at a terminal"), (500, 599, "platform"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Division:
    """A city (6 digits), town (9) or village (12); ``kind`` is the class its number range stands for."""

    code: str
    level: str
    kind: str

    @property
    def parent(self) -> str | None:
        """The code one level up; None for a city."""
        return {"city": None, "town": self.code[:6], "village": self.code[:9]}[self.level]


@dataclass(frozen=True, slots=True)
class CellCode:
    """A grid cell: the village it lies in and its number there."""

    code: str
    village: str
    sequence: int

    @property
    def town(self) -> str:
        """The 9-digit town."""
        return self.village[:9]


@dataclass(frozen=True, slots=True)
class AddressCode:
    """An address, taken apart; room 0 is the building as a whole, base grid 0 one that the rule leaves out."""

    code: str
    village: str
    base_grid: int
    building: int
    room: int
    building_code: str

    @property
    def cell(self) -> str | None:
        """The 15-digit cell this address was numbered in; None where the rule has no base grid."""
        return f"{self.village}{self.base_grid:03d}" if self.base_grid else None


@dataclass(frozen=True, slots=True)
class ComponentCode:
    """One piece of city furniture: where it is registered, what it is, its number."""

    code: str
    division: str
    kind: str
    sequence: int


@dataclass(frozen=True, slots=True)
class MatterCode:
    """A kind of matter as a city uses it; ``kind`` are the five digits of the standard."""

    code: str
    division: str
    kind: str

    @property
    def class_name(self) -> str:
        """The major class's Chinese name."""
        return MATTER_CLASSES[self.kind[:2]]


@dataclass(frozen=True, slots=True)
class VideoDeviceCode:
    """A GB/T 28181 device; ``kind`` is the three digits of its type (131 camera, 134 alarm input)."""

    code: str
    centre: str
    industry: str
    kind: str
    network: str
    sequence: int

    @property
    def division(self) -> str:
        """The 6-digit division of its centre."""
        return self.centre[:6]

    @property
    def family(self) -> str:
        """What its type's range stands for."""
        return next(name for low, high, name in _GB28181_TYPES if low <= int(self.kind) <= high)


def parse_division(code: str) -> Division:
    """A 6, 9 or 12-digit division; 12 digits ending in 000 are the town of the first 9."""
    _digits(code, (6, 9, 12), "a division")
    _check_city(code)
    if len(code) == 6:
        return Division(code, "city", "")
    town_kind = _kind(int(code[6:9]), _TOWN_KINDS, code, "town", 7, 9)
    if len(code) == 9 or code.endswith("000"):
        return Division(code[:9], "town", town_kind)
    return Division(code, "village", _kind(int(code[9:12]), _VILLAGE_KINDS, code, "village", 10, 12))


def parse_town(code: str) -> Division:
    """A town's code: 9 digits, or 12 ending in 000."""
    return _at_level(code, "town")


def parse_village(code: str) -> Division:
    """A village's or community's 12-digit code."""
    return _at_level(code, "village")


def parse_cell(code: str) -> CellCode:
    """A 15-digit grid cell."""
    _digits(code, (15,), "a grid cell")
    village = _part(code, 12, "grid cell")
    sequence = int(code[12:])
    if sequence == 0:
        raise CodeError(f"grid cell {code!r}: digits 13-15 are 000; cells of a village are numbered from 001")
    return CellCode(code, village, sequence)


def parse_address(code: str, rule: AddressRule | None = None) -> AddressCode:
    """An address by a rule, else by this process's."""
    rule = rule or address_rule()
    _digits(code, (rule.length,), "an address")
    village = _part(code, VILLAGE_DIGITS, "address")
    at = VILLAGE_DIGITS + rule.base_grid_digits
    base_grid, building = int(code[VILLAGE_DIGITS:at] or "0"), int(code[at : rule.building_length])
    if rule.base_grid_digits and base_grid == 0:
        raise CodeError(f"address {code!r}: {_zeros(VILLAGE_DIGITS, at)} (base grid); grids are numbered from 1")
    if building == 0:
        raise CodeError(f"address {code!r}: {_zeros(at, rule.building_length)} (building); buildings start at 1")
    return AddressCode(code, village, base_grid, building, rule.room(code), rule.building(code))


def parse_component(code: str) -> ComponentCode:
    """A 17-digit component."""
    _digits(code, (17,), "a component")
    kind = _standard_kind(code, COMPONENT_CLASSES, "component")
    sequence = int(code[11:])
    if sequence == 0:
        raise CodeError(f"component {code!r}: digits 12-17 are 000000; components are numbered from 000001")
    return ComponentCode(code, code[:6], kind, sequence)


def parse_matter_code(code: str) -> MatterCode:
    """An 11-digit matter."""
    _digits(code, (11,), "a matter")
    return MatterCode(code, code[:6], _standard_kind(code, MATTER_CLASSES, "matter"))


def parse_video_device(code: str) -> VideoDeviceCode:
    """A 20-digit GB/T 28181 device, rule A."""
    _digits(code, (20,), "a GB/T 28181 device")
    _check_city(code)
    if int(code[8:10]) not in _GB28181_INDUSTRIES:
        raise CodeError(f"GB/T 28181 device {code!r}: digits 9-10 ({code[8:10]}) are no industry (00-14, 40-45)")
    if not any(low <= int(code[10:13]) <= high for low, high, _ in _GB28181_TYPES):
        raise CodeError(f"GB/T 28181 device {code!r}: digits 11-13 ({code[10:13]}) are no type (111-599)")
    return VideoDeviceCode(code, code[:8], code[8:10], code[10:13], code[13], int(code[14:]))


def cell_code(village: str, sequence: int) -> str:
    """The 15-digit code of cell number ``sequence`` (1-999) of a village."""
    if not 1 <= sequence <= 999:
        raise CodeError(f"cell number {sequence} of village {village}: a village has cells 1 to 999; divide it")
    return f"{parse_village(village).code}{sequence:03d}"


def address_code(cell: str, building: int, room: int = 0, rule: AddressRule | None = None) -> str:
    """The code of a building, or of a room in it, numbered in a cell; by a rule, else by this process's."""
    parsed = parse_cell(cell)
    if building < 1:
        raise CodeError(f"building {building} in cell {cell}: buildings are numbered from 1")
    try:
        return (rule or address_rule()).make(parsed.village, parsed.sequence, building, room)
    except ValueError as error:
        raise CodeError(f"an address in cell {cell}: {error}") from error


def _zeros(start: int, stop: int) -> str:
    where = f"digit {stop} is" if stop - start == 1 else f"digits {start + 1}-{stop} are"
    return f"{where} {'0' * (stop - start)}"


def _digits(code: str, lengths: tuple[int, ...], what: str) -> None:
    if not code.isascii() or not code.isdigit():
        raise CodeError(f"{what} code {code!r} must consist of the digits 0-9")
    if len(code) not in lengths:
        allowed = " or ".join(str(n) for n in lengths)
        raise CodeError(f"{what} code {code!r} has {len(code)} digits; it needs {allowed}")


def _check_city(code: str) -> None:
    if not 11 <= int(code[:2]) <= 82:
        raise CodeError(f"code {code!r}: digits 1-2 ({code[:2]}) are no province (11-82)")
    if code[:4] in CITIES_WITHOUT_DISTRICTS and code[4:6] != "00":
        raise CodeError(
            f"code {code!r}: digits 5-6 (district) are {code[4:6]}; city {code[:4]} has no districts, write 00"
        )


def _kind(number: int, kinds: tuple[tuple[int, int, str], ...], code: str, what: str, at: int, to: int) -> str:
    for low, high, kind in kinds:
        if low <= number <= high:
            return kind
    raise CodeError(f"code {code!r}: digits {at}-{to} ({number:03d}) are outside every {what} range (001-599)")


def _standard_kind(code: str, classes: Mapping[str, str], what: str) -> str:
    _check_city(code)
    if code[6:8] not in classes:
        last = list(classes)[-1]
        raise CodeError(f"{what} {code!r}: digits 7-8 ({code[6:8]}) are no class of the standard (01-{last})")
    if code[8:11] == "000":
        raise CodeError(f"{what} {code!r}: digits 9-11 are 000; kinds are numbered from 001")
    return code[6:11]


def _at_level(code: str, level: str) -> Division:
    division = parse_division(code)
    if division.level != level:
        raise CodeError(f"code {code!r} is a {division.level}'s; a {level}'s is needed here")
    return division


def _part(code: str, length: int, what: str) -> str:
    try:
        return parse_village(code[:length]).code
    except CodeError as error:
        raise CodeError(f"{what} {code!r}: its village part is wrong: {error}") from error
