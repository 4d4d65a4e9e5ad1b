from __future__ import annotations

import numpy as np
import shapely

from geo.grids import Cell, Region, numbering_order, overlaps


def test_cells_are_numbered_from_west_to_east_from_the_north_on() -> None:
    x = np.array([900.0, 100.0, 500.0, 300.0])
    y = np.array([1000.0, 950.0, 100.0, 120.0])
    assert numbering_order(x, y, 800.0).tolist() == [1, 0, 3, 2]


def test_overlaps_name_both_and_say_how_much() -> None:
    boxes = [shapely.box(0, 0, 2, 2), shapely.box(2, 0, 4, 2), shapely.box(3, 0, 5, 2)]
    found = overlaps(["a", "b", "c"], boxes)
    assert [(o.code, o.other, o.area_deg2) for o in found] == [("b", "c", 2.0)]


def test_rows_know_their_parents() -> None:
    outline = shapely.box(0, 0, 1, 1)
    assert Region("441900003001", "village", "岗贝社区", outline).parent == "441900003"
    cell = Cell("441900003001004", outline)
    assert (cell.village, cell.town) == ("441900003001", "441900003")
