"""A small made-up city: two towns that touch at x = 0, to stand on borders in."""

from __future__ import annotations

import numpy as np
from shapely.geometry import box

from geo.addresses import AddressColumns
from geo.geodesy import LocalPlane
from geo.grids import Cell, Region

PLANE = LocalPlane(113.75, 23.0)
EAST, NORTH = PLANE.metres_per_degree
A, B = "441900003", "441900004"


def square(west_m: float, south_m: float, east_m: float, north_m: float) -> object:
    """Rounded to 1e-7 degrees, so that outlines that touch share their corners exactly."""
    (west, east), (south, north) = PLANE.to_lonlat([west_m, east_m], [south_m, north_m])
    return box(*np.round([west, south, east, north], 7).tolist())


def two_towns() -> tuple[list[Region], list[Cell], AddressColumns]:
    """Two towns side by side at x = 0; town A has villages south and north, with two cells each."""
    regions = [
        Region(A, "town", "甲镇", square(-2000, 0, 0, 2000), "Jia"),
        Region(B, "town", "乙镇", square(0, 0, 2000, 2000)),
        Region("441900", "city", "东莞市", square(-2000, 0, 2000, 2000), "Dongguan"),
        Region(f"{A}001", "village", "甲一村", square(-2000, 0, 0, 1000), "Jia One"),
        Region(f"{A}002", "village", "甲二村", square(-2000, 1000, 0, 2000)),
        Region(f"{B}001", "village", "乙一村", square(0, 0, 2000, 2000)),
    ]  # fmt: skip
    grid = [
        Cell(f"{A}001001", square(-2000, 0, -1000, 1000)), Cell(f"{A}001002", square(-1000, 0, 0, 1000)),
        Cell(f"{A}002001", square(-2000, 1000, -1000, 2000)), Cell(f"{A}002002", square(-1000, 1000, 0, 2000)),
        Cell(f"{B}001001", square(0, 0, 2000, 2000)),
    ]  # fmt: skip
    lon, lat = PLANE.to_lonlat([-500.0, -480.0, 600.0], [500.0, 500.0, 500.0])
    ids = [f"441900003001020000{i}000000" for i in (1, 2)] + ["4419000040010100001000000"]
    addresses = AddressColumns(
        ids, ["一号", "二号", "三号"], [""] * 3, [""] * 3, [f"{A}001002"] * 2 + [f"{B}001001"], lon, lat
    )  # fmt: skip
    return regions, grid, addresses
