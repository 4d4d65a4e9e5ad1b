"""A duty table of the size the seed names: 18 departments × 475 matters × 600 villages."""

from __future__ import annotations

import random

from alerting.dispatch.duties import DutyRow
from alerting.dispatch.windows import parse_window
from domain.places import Place

DEPARTMENTS = tuple(f"dep-{n:02d}" for n in range(18))
MATTERS = tuple(f"test:{n:05d}" for n in range(475))
VILLAGES = tuple(f"4419001{town:02d}{village:03d}" for town in range(30) for village in range(1, 21))
KINDS = ("vibration.*", "fire.*", "truck.*", "gas.*", "site.*", "flood.*", "camera.*", "structure.*")


def kind_of_matter(number: int) -> str:
    return KINDS[number % len(KINDS)]


def place_in(village: str) -> Place:
    names = {"village": "某村", "village_en": "Some village", "town": "某镇", "town_en": "Some town"}
    return Place(None, None, None, 0.9, "nearest", f"{village}001", village, village[:9], names, "v")


def rows(seed: int = 1) -> list[DutyRow]:
    """For each matter in each village the department that leads, by the year's table: 285,000 rows; and
    town and city rows above them."""
    draw = random.Random(seed)
    found: list[DutyRow] = []
    night = parse_window("workday", "18:00-08:30")
    for number, matter in enumerate(MATTERS):
        kind = kind_of_matter(number)
        high, helping = DEPARTMENTS[number % 18], DEPARTMENTS[(number + 1) % 18]
        found += [
            DutyRow(kind, "city", high, "{place}局", "Bureau of {place}", "lead", "市级", matter=matter),
            DutyRow(kind, "town", helping, "{place}分局", "Office of {place}", "co", "夜间", 3, "441900",
                    matter=matter, window=night),
        ]  # fmt: skip
        found += [
            DutyRow(kind, "village", DEPARTMENTS[draw.randrange(18)], "{place}办", "Desk of {place}", "lead",
                    "属地", 4, village, matter=matter)
            for village in VILLAGES
        ]  # fmt: skip
    return found
