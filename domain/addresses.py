"""What an address id is made of: the village's 12 digits, then base grid, building and room by the city's rule.

Shenzhen's rule (SZDB/Z) is 2, 5 and 6 digits, 25 in all. Another city's ids are of
another length; the first digits, up to the building's last, name the building.
"""

from __future__ import annotations

from dataclasses import dataclass

VILLAGE_DIGITS = 12
ID_DIGITS_MIN, ID_DIGITS_MAX = 16, 25
BASE_GRID_DIGITS_MAX = 3
"""A cell has three digits of its own."""


@dataclass(frozen=True, slots=True)
class AddressRule:
    """Digits behind the village's; ``room_digits`` 0: ids name buildings only.

    Raises: ValueError where the numbers are out of bounds.
    """

    base_grid_digits: int = 2
    building_digits: int = 5
    room_digits: int = 6

    def __post_init__(self) -> None:
        if not 0 <= self.base_grid_digits <= BASE_GRID_DIGITS_MAX:
            raise ValueError(f"a base grid has 0 to {BASE_GRID_DIGITS_MAX} digits, not {self.base_grid_digits}")
        if self.building_digits < 1 or self.room_digits < 0:
            raise ValueError("a building has at least 1 digit, a room 0 or more")
        if not ID_DIGITS_MIN <= self.length <= ID_DIGITS_MAX:
            raise ValueError(
                f"an id of {VILLAGE_DIGITS} + {self} has {self.length} digits;"
                f" {ID_DIGITS_MIN} to {ID_DIGITS_MAX} can be"
            )

    @classmethod
    def parse(cls, text: str) -> AddressRule:
        """``2,5,6``. Raises: ValueError saying what is wrong with it."""
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 3 or not all(part.isascii() and part.isdecimal() and len(part) <= 2 for part in parts):
            raise ValueError("write the digits of base grid, building and room, e.g. 2,5,6")
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return f"{self.base_grid_digits},{self.building_digits},{self.room_digits}"

    @property
    def length(self) -> int:
        """Digits of an id."""
        return self.building_length + self.room_digits

    @property
    def building_length(self) -> int:
        """Digits that name the building."""
        return VILLAGE_DIGITS + self.base_grid_digits + self.building_digits

    def building(self, address_id: str) -> str:
        """The digits of an id that name its building."""
        return address_id[: self.building_length]

    def whole_building(self, address_id: str) -> str:
        """The id of the building as a whole: room 0."""
        return self.building(address_id) + "0" * self.room_digits

    def room(self, address_id: str) -> int:
        """The number of the room in its building, 0 = the building as a whole."""
        return int(address_id[self.building_length :] or "0")

    def make(self, village: str, base_grid: int, building: int, room: int = 0) -> str:
        """The id of these numbers. Raises: ValueError where one has too many digits."""
        made = village
        for number, digits, what in (
            (base_grid, self.base_grid_digits, "base grid"),
            (building, self.building_digits, "building"),
            (room, self.room_digits, "room"),
        ):
            if digits == 0 and what == "base grid":
                continue  # the rule leaves it out; the cell is known from elsewhere
            if not 0 <= number < 10**digits:
                raise ValueError(f"{what} {number}: the rule {self} has {digits} digits for it")
            made += f"{number:0{digits}d}" if digits else ""
        return made


SHENZHEN = AddressRule()
"""25 digits; the rule of a new home and of the demo city."""

# One rule a process, set once before anything reads an id. It is not handed down, because
# ids are taken apart in request schemas, file parsers, the locator and routing alike, and a
# database holds ids of one rule only: two in one process would be a mistake.
_in_use = SHENZHEN


def address_rule() -> AddressRule:
    """The rule of this process's database."""
    return _in_use


def use_address_rule(rule: AddressRule) -> None:
    """Say so at the start, before the first id is read."""
    global _in_use
    _in_use = rule
