from __future__ import annotations

import numpy as np
import pytest

from domain.errors import PayloadError
from geo.geodesy import LocalPlane, distance_m
from geo.zones import (
    Recipient,
    TerritoryNear,
    ZoneRule,
    check_radii,
    draw_rings,
    ground_m,
    radii_of,
    ring_of,
    rules_in_force,
)

LON, LAT = 113.75, 23.02


def rule(
    radius_m: float, action: str, level: str, department: str = "", kind: str = "fire.*", min_: int = 1
) -> ZoneRule:
    return ZoneRule(kind, min_, radius_m, action, level, department, "{place}站", "Desk of {place}", "why")


def name(code: str) -> dict[str, str]:
    return {"zh": f"[{code}]", "en": f"<{code}>"}


RULES = [
    rule(50, "evacuate", "town", "fire"), rule(50, "evacuate", "grid"), rule(200, "control", "village"),
    rule(500, "notify", "village"),
]  # fmt: skip
AROUND = [
    TerritoryNear("grid", "441900003001001", 0.0, 400.0),
    TerritoryNear("grid", "441900003001002", 120.0, 900.0),
    TerritoryNear("village", "441900003001", 0.0, 1500.0),
    TerritoryNear("village", "441900004001", 300.0, 2500.0),
    TerritoryNear("town", "441900003", 0.0, 5000.0),
    TerritoryNear("town", "441900004", 300.0, 5000.0),
]


def test_an_edge_belongs_to_the_inner_ring() -> None:
    metres = [0.0, 50.0, 50.001, 200.0, 500.0, 500.001, np.nan]
    assert ring_of(metres, (50, 200, 500)).tolist() == [0, 0, 1, 1, 2, 3, 3]


@pytest.mark.parametrize(
    "wrong", [[], [0], [-5, 5], [50, 50], [200, 50], [6000], [float("nan")], list(range(1, 10))]
)
def test_radii_that_make_no_rings_are_refused(wrong: list[float]) -> None:
    with pytest.raises(PayloadError, match="50,200,500"):
        check_radii(wrong)


def test_near_distances_agree_with_the_sphere_and_are_better_than_it() -> None:
    east, north = LocalPlane(LON, LAT).metres_per_degree
    assert ground_m(LON, LAT, LON + 500 / east, LAT) == pytest.approx(500, abs=0.01)
    assert ground_m(LON, LAT, LON, LAT + 500 / north) == pytest.approx(500, abs=0.01)
    assert ground_m(LON, LAT, LON + 0.004, LAT + 0.002) == pytest.approx(
        distance_m(LON, LAT, LON + 0.004, LAT + 0.002), rel=0.005
    )


def test_rules_of_the_longest_pattern_replace_the_others_whole() -> None:
    general = [rule(500, "notify", "village", kind="*"), rule(300, "control", "town", kind="*", min_=2)]
    assert radii_of(rules_in_force([*general, *RULES], 1)) == (50, 200, 500)
    assert [r.kind for r in rules_in_force([*general, *RULES], 2)] == ["*"]
    assert rules_in_force([*general, *RULES], 3) == []
    assert radii_of([]) == (50, 200, 500)


def test_each_ring_tells_the_units_of_the_territories_in_it() -> None:
    inner, middle, outer = draw_rings((50, 200, 500), rules_in_force(RULES, 1), AROUND, name)
    assert [ring.action for ring in (inner, middle, outer)] == ["evacuate", "control", "notify"]
    assert [r.unit for r in inner.recipients] == ["grid:441900003001001", "town:441900003:fire"]
    assert inner.recipients[0].name == {"zh": "[441900003001001]站", "en": "Desk of <441900003001001>"}
    assert [r.unit for r in middle.recipients] == ["village:441900003001"]
    assert [r.unit for r in outer.recipients] == ["village:441900003001", "village:441900004001"]
    assert [t.code for t in middle.territories if t.level == "grid"] == ["441900003001001", "441900003001002"]


def test_a_territory_that_ends_inside_is_not_in_the_rings_beyond() -> None:
    small = TerritoryNear("grid", "441900003001001", 0.0, 60.0)
    assert [small.in_ring(a, b) for a, b in ((0, 50), (50, 200), (200, 500))] == [True, True, False]
    assert TerritoryNear("grid", "1", 0.0, 0.0).in_ring(0, 50)


def test_a_ring_takes_the_strictest_action_wanted_anywhere_in_it() -> None:
    rings = draw_rings((100, 300, 800), rules_in_force(RULES, 1), AROUND, name)
    assert [ring.action for ring in rings] == ["evacuate", "control", "notify"]
    assert [ring.action for ring in draw_rings((500, 800), RULES, AROUND, name)] == ["evacuate", None]
    assert [ring.recipients for ring in draw_rings((50,), [], AROUND, name)] == [()]


def test_a_level_that_is_unknown_climbs_and_nobody_is_never_told() -> None:
    towns_only = [t for t in AROUND if t.level == "town"]
    (ring,) = draw_rings((50,), [rule(50, "evacuate", "grid")], towns_only, name)
    assert [r.unit for r in ring.recipients] == ["town:441900003"]
    (ring,) = draw_rings((50,), [rule(50, "evacuate", "city", "fire")], towns_only, name)
    assert [r.unit for r in ring.recipients] == ["city:441900:fire"]
    lead = Recipient("town:441900003:fire", {}, "leads")
    (ring,) = draw_rings((50,), [rule(50, "evacuate", "grid")], [], name, lead)
    assert ring.recipients == (lead,)
