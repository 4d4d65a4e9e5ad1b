"""The demo city's key places: generated, and no list of Dongguan's real ones.

Each town gets some of each kind at addresses drawn from a seed. Names carry the
village's real name and 示例 ("example"), so that nobody takes one for a real school.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geo.addresses import AddressColumns
from geo.grids import Region
from geo.key_places import KeyPlace
from geo.locate import Locator

A_TOWN: Sequence[tuple[str, int, str, str, tuple[int, int]]] = (
    # kind, how many a town, name, English name, people from and to
    ("school", 4, "示例小学", "example school", (400, 2500)),
    ("kindergarten", 4, "示例幼儿园", "example kindergarten", (80, 400)),
    ("hospital", 1, "示例医院", "example hospital", (150, 1500)),
    ("nursing_home", 2, "示例养老院", "example old people's home", (40, 300)),
    ("market", 2, "示例市场", "example market", (100, 1200)),
    ("fuel_station", 1, "示例加油站", "example fuel station", (5, 30)),
    ("transport", 1, "示例客运站", "example bus station", (50, 800)),
)


def build_key_places(
    addresses: AddressColumns, regions: Sequence[Region], locator: Locator, rng: np.random.Generator
) -> list[KeyPlace]:
    """About fifteen key places a town, in the order of their ids ``KP-0001`` on."""
    names = {region.code: (region.name, region.name_en or region.name) for region in regions}
    by_town: dict[str, list[int]] = {}
    for row, cell in enumerate(addresses.grid):
        by_town.setdefault(cell[:9], []).append(row)
    made: list[KeyPlace] = []
    for _, rows in sorted(by_town.items()):
        wanted = [each for each in A_TOWN for _ in range(each[1])]
        chosen = rng.permutation(rows)[: len(wanted)].tolist()
        for (kind, _, name, english, (least, most)), row in zip(wanted, chosen, strict=False):
            village, village_en = names[addresses.grid[row][:12]]
            lon, lat = float(addresses.lon[row]), float(addresses.lat[row])
            made.append(
                KeyPlace(
                    f"KP-{len(made) + 1:04d}", kind, f"{village}{name}", lon, lat, f"{village_en} {english}",
                    addresses.id[row], int(rng.integers(least, most)),
                    locator.device(addresses.id[row], lon, lat), generated=True,
                )
            )  # fmt: skip
    return made
