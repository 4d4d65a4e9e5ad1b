"""A whole city's worth, pure but slow: the demo city made again, duties at the size of the seed."""

from __future__ import annotations

import numpy as np

from alerting.dispatch.defaults import DEFAULT_DUTIES
from alerting.dispatch.duties import Asked
from alerting.dispatch.table import LOST_ROWS_MAX, DutyTable
from simulators.city import build_city
from tests.integration.test_city import lattice_area
from tests.unit.alerting import duty_city


def test_the_same_seed_gives_the_same_city_and_another_one_another() -> None:
    one, two = (build_city(5, addresses=4000) for _ in range(2))
    other = build_city(6, addresses=4000)
    assert [(c.code, c.outline.wkb) for c in one.cells] == [(c.code, c.outline.wkb) for c in two.cells]
    assert one.addresses.text == two.addresses.text
    np.testing.assert_array_equal(one.addresses.lon, two.addresses.lon)
    assert one.devices == two.devices
    assert one.key_places == two.key_places
    assert one.version != other.version
    assert one.addresses.text[:100] != other.addresses.text[:100]
    tiling = sum(lattice_area(cell.outline) for cell in one.cells)
    assert tiling == lattice_area(one.regions[0].outline)


def test_duties_at_the_size_of_the_seed_find_the_one_village_and_department() -> None:
    """18 departments, 475 matters, 600 villages; `python -m bench.route` gives the times."""
    rows = [*DEFAULT_DUTIES, *duty_city.rows()]
    assert len(rows) > 285_000
    table = DutyTable(rows)
    asked = [
        Asked(duty_city.kind_of_matter(n).replace("*", "x"), 1 + n % 4, duty_city.place_in(village), 0, matter)
        for n, matter in enumerate(duty_city.MATTERS)
        for village in duty_city.VILLAGES[n % 40 :: 40]
    ]
    for one in asked[:3000]:
        duties = table.route(one)
        assert duties[0].role == "lead"
        assert duties[0].unit.startswith(f"village:{one.place.village}:dep-")
    explained = table.explain(asked[0])
    assert explained.duties == table.route(asked[0])
    assert len(explained.steps) < LOST_ROWS_MAX + 40
    assert explained.steps[LOST_ROWS_MAX].row.endswith("more rows")
