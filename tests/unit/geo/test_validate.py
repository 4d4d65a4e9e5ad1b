from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from shapely import Polygon, box

from geo.geodesy import LocalPlane
from geo.grids import Cell, Region
from geo.validate import FRAGMENT_M2, Fault, check_division

PLANE = LocalPlane(113.75, 23.0)
TOWNS = ("441900101", "441900102", "441900103")


def degrees(shape: Any) -> Any:
    """A shape drawn in metres, as an outline."""
    return shapely.transform(shape, lambda xy: np.column_stack(PLANE.to_lonlat(xy[:, 0], xy[:, 1])))


def town(code: str, shape: Any) -> Region:
    return Region(code, "town", code, degrees(shape))


def faults_of(*regions: Region, cells: tuple[Cell, ...] = (), known: tuple[Region, ...] = ()) -> list[Fault]:
    return check_division(regions, cells, known)[2]


def kinds(faults: list[Fault]) -> list[tuple[str, str, str]]:
    return [(fault.kind, fault.code, fault.other) for fault in faults]


def test_outlines_that_tile_have_no_fault() -> None:
    city = Region("441900", "city", "city", degrees(box(0, 0, 3000, 1000)))
    towns = [town(code, box(1000 * i, 0, 1000 * i + 1000, 1000)) for i, code in enumerate(TOWNS)]
    assert faults_of(city, *towns) == []


def test_an_overlap_with_its_ground_and_place() -> None:
    (fault,) = faults_of(town(TOWNS[1], box(900, 0, 2000, 1000)), town(TOWNS[0], box(0, 0, 1000, 1000)))
    assert (fault.kind, fault.code, fault.other) == ("overlap", TOWNS[0], TOWNS[1])
    assert fault.area_m2 == pytest.approx(100_000, rel=0.001)
    assert fault.width_m == pytest.approx(90.9, abs=0.5)
    assert fault.lon is not None
    assert 113.75 < fault.lon < 113.77
    assert "both have 99,997 m2, 90.9 m wide" in str(fault)


def test_a_border_drawn_twice_is_a_sliver_that_goes_to_the_lower_code() -> None:
    given = [town(TOWNS[0], box(0, 0, 1000, 1000)), town(TOWNS[1], box(995, 0, 2000, 1000))]
    assert kinds(faults_of(*given)) == [("sliver", TOWNS[0], TOWNS[1])]
    repaired, _, faults = check_division(given, repair=True)
    assert [fault.repaired for fault in faults] == [True]
    assert repaired[0] is not given[0]
    assert repaired[0].outline.equals(given[0].outline)
    assert faults_of(*repaired) == []


def test_a_gap_a_hole_and_a_sliver_of_nobody() -> None:
    ring = Polygon(box(0, 0, 1000, 1000).exterior, [box(300, 300, 500, 500).exterior.coords])
    assert kinds(faults_of(town(TOWNS[0], ring))) == [("hole", TOWNS[0], "")]
    left = Polygon([(0, 0), (1000, 0), (1000, 400), (900, 400), (900, 600), (1000, 600), (1000, 1000), (0, 1000)])
    assert kinds(faults_of(town(TOWNS[0], left), town(TOWNS[1], box(1000, 0, 2000, 1000)))) == [
        ("gap", TOWNS[0], "")
    ]
    thin = Polygon([(0, 0), (1000, 0), (1000, 400), (996, 500), (1000, 600), (1000, 1000), (0, 1000)])
    given = [town(TOWNS[0], thin), town(TOWNS[1], box(1000, 0, 2000, 1000))]
    assert kinds(faults_of(*given)) == [("sliver", TOWNS[0], "")]
    assert faults_of(*check_division(given, repair=True)[0]) == []


def test_a_hole_that_another_fills_is_none() -> None:
    ring = Polygon(box(0, 0, 1000, 1000).exterior, [box(300, 300, 500, 500).exterior.coords])
    assert faults_of(town(TOWNS[0], ring), town(TOWNS[1], box(300, 300, 500, 500))) == []


def test_a_ring_that_crosses_itself_is_rebuilt_only_while_its_area_stays() -> None:
    spike = Polygon([(0, 0), (1000, 0), (1000, 1000), (500, 1000), (500, 1001), (500, 1000), (0, 1000)])
    bow = Polygon([(2000, 0), (3000, 1000), (3000, 0), (2000, 1000)])
    given = [town(TOWNS[0], spike), town(TOWNS[1], bow)]
    repaired, _, faults = check_division(given, repair=True)
    assert [(f.kind, f.code, f.repaired) for f in faults] == [
        ("self-intersection", TOWNS[0], True),
        ("self-intersection", TOWNS[1], False),
    ]
    assert repaired[0].outline.is_valid
    assert not repaired[1].outline.is_valid


def test_crumbs_are_taken_away() -> None:
    crumb = shapely.union_all([box(0, 0, 1000, 1000), box(1500, 0, 1520, 20)])
    island = shapely.union_all([box(0, 2000, 1000, 3000), box(1500, 2000, 1600, 2100)])
    given = [town(TOWNS[0], crumb), town(TOWNS[1], island)]
    repaired, _, faults = check_division(given, repair=True)
    assert kinds(faults) == [("fragment", TOWNS[0], "")]
    assert faults[0].area_m2 == pytest.approx(400, abs=1)
    assert faults[0].area_m2 < FRAGMENT_M2
    assert len(shapely.get_parts(repaired[0].outline)) == 1
    assert repaired[1].outline is given[1].outline


VILLAGE = "441900101001"


def village(code: str, shape: Any) -> Region:
    return Region(code, "village", code, degrees(shape))


def test_cells_outside_their_village() -> None:
    home = village(VILLAGE, box(0, 0, 1000, 1000))
    cells = (
        Cell(VILLAGE + "001", degrees(box(0, 0, 500, 1000))),
        Cell(VILLAGE + "002", degrees(box(500, 0, 1200, 1000))),
    )
    assert kinds(faults_of(home, cells=cells)) == [("outside", VILLAGE + "002", "")]
    assert kinds(faults_of(cells=cells, known=(home,))) == [("outside", VILLAGE + "002", "")]


def test_a_narrow_protrusion_is_cut_off() -> None:
    home = village(VILLAGE, box(0, 0, 1000, 1000))
    cells = [Cell(VILLAGE + "001", degrees(box(0, 0, 1004, 1000)))]
    _, repaired, faults = check_division([home], cells, repair=True)
    assert [(f.kind, f.repaired) for f in faults] == [("outside", True)]
    assert faults_of(home, cells=tuple(repaired)) == []


def test_ground_of_a_village_without_a_cell() -> None:
    home = village(VILLAGE, box(0, 0, 1000, 1000))
    cells = (Cell(VILLAGE + "001", degrees(box(0, 0, 800, 1000))),)
    (fault,) = faults_of(home, cells=cells)
    assert (fault.kind, fault.code) == ("uncovered", VILLAGE)
    assert fault.area_m2 == pytest.approx(200_000, rel=0.001)


def test_a_code_that_names_another_parent() -> None:
    homes = (village(VILLAGE, box(0, 0, 1000, 1000)), village("441900101002", box(1000, 0, 2000, 1000)))
    cells = (
        Cell(VILLAGE + "001", degrees(box(0, 0, 1000, 1000))),
        Cell("441900101002001", degrees(box(1000, 0, 1900, 1000))),
        Cell(VILLAGE + "002", degrees(box(1900, 0, 2000, 1000))),
    )
    faults = faults_of(*homes, cells=cells)
    assert ("wrong code", VILLAGE + "002", "") in kinds(faults)
    assert any("100% lie outside 441900101001, which it names" in str(fault) for fault in faults)


def test_codes_twice_malformed_and_without_a_parent() -> None:
    towns = (town(TOWNS[0], box(0, 0, 1000, 1000)), town(TOWNS[0], box(1000, 0, 2000, 1000)))
    assert kinds(faults_of(*towns)) == [("wrong code", TOWNS[0], "")]
    assert kinds(faults_of(town("441901101", box(0, 0, 1, 1000)))) == [("wrong code", "441901101", "")]
    homes = (village(VILLAGE, box(0, 0, 1000, 1000)), village("441900102001", box(1000, 0, 2000, 1000)))
    faults = faults_of(towns[0], *homes)
    assert kinds(faults) == [("missing parent", "441900102001", "")]


def test_nothing_to_check() -> None:
    assert check_division([]) == ([], [], [])
