from __future__ import annotations

import numpy as np
import pytest
import shapely

from domain.errors import CodeError
from geo.generate import cut_village
from geo.grids import Region
from geo.validate import check_division

SHAPE = shapely.Polygon([(113.70, 23.00), (113.72, 23.00), (113.72, 23.01), (113.71, 23.012), (113.70, 23.02)])
VILLAGE = Region("441900101001", "village", "村", SHAPE)


def test_cells_tile_their_village_and_are_numbered_from_north_west() -> None:
    cells = cut_village(VILLAGE, 50_000)
    assert [cell.code for cell in cells] == [f"{VILLAGE.code}{n:03d}" for n in range(1, len(cells) + 1)]
    assert 40 < len(cells) < 70
    _, _, faults = check_division([VILLAGE], cells)
    assert faults == []
    area = np.array([cell.outline.area for cell in cells])
    assert area.sum() == pytest.approx(SHAPE.area, rel=1e-5)
    assert area.max() < 3 * area.mean()
    assert cells[0].outline.centroid.y > cells[-1].outline.centroid.y


def test_the_same_seed_gives_the_same_cells() -> None:
    one, two, other = (cut_village(VILLAGE, 50_000, seed) for seed in (1, 1, 2))
    assert one == two
    assert one != other


def test_a_small_village_is_one_cell() -> None:
    (cell,) = cut_village(VILLAGE, 1e9)
    assert cell.code == VILLAGE.code + "001"
    assert cell.outline.equals_exact(SHAPE, 1e-6)


def test_more_than_999_cells_have_no_codes() -> None:
    with pytest.raises(CodeError, match="codes end at 999; make cells of at least"):
        cut_village(VILLAGE, 100)
