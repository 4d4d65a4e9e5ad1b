from __future__ import annotations

from dataclasses import replace

import pytest

from alerting.default_rules import DEFAULT_RULES
from alerting.dispatch.defaults import DEFAULT_DUTIES
from alerting.dispatch.duties import DutyRow, route
from domain.places import UNKNOWN_PLACE, Place

HERE = Place(
    "a", "东城街道岗贝社区", 3.2, 0.98, "device", "441900003001004", "441900003001", "441900003",
    {"village": "岗贝社区", "town": "东城街道", "village_en": "Gangbei", "town_en": "Dongcheng"}, "v1",
)  # fmt: skip
LEAD = DutyRow("vibration.*", "town", "housing", "{place}住建局", "Housing of {place}", "lead", "why")


def units(kind: str, severity: int, place: Place = HERE) -> dict[str, str]:
    return {d.unit: d.role for d in route(kind, severity, place, DEFAULT_DUTIES, 0).duties}


def test_a_shaking_house_climbs_with_severity() -> None:
    assert units("vibration.limit", 4) == {"grid:441900003001004": "lead", "village:441900003001": "co"}
    three = units("vibration.limit", 3)
    assert three["town:441900003:housing"] == "lead"
    assert three["grid:441900003001004"] == "co"
    two = units("vibration.limit", 2)
    assert {"city:441900:housing", "town:441900003:emergency"} <= set(two)
    assert "town:441900003:fire" in units("vibration.limit", 1)


def test_names_in_both_languages_and_the_reason() -> None:
    (lead,) = [d for d in route("vibration.limit", 3, HERE, DEFAULT_DUTIES, 0).duties if d.role == "lead"]
    assert lead.name == {"zh": "东城街道住房和城乡建设局", "en": "Housing office of Dongcheng"}
    assert "房屋安全" in lead.why
    assert "safety of houses" in lead.why
    (grid,) = [d for d in route("vibration.limit", 4, HERE, DEFAULT_DUTIES, 0).duties if d.role == "lead"]
    assert grid.name == {"zh": "岗贝社区004网格网格员", "en": "Grid worker of Gangbei cell 004"}


def test_the_place_of_the_violation_decides_for_a_truck() -> None:
    there = replace(HERE, town="441900119", village=None, grid=None)
    assert units("truck.uncovered", 3, there)["town:441900119:urban-management"] == "lead"


@pytest.mark.parametrize(
    "kind", sorted({r["kind"] for r in DEFAULT_RULES} | {"unheard.of", "device.offline"})
)
@pytest.mark.parametrize("severity", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "place",
    [HERE, UNKNOWN_PLACE, replace(HERE, grid=None), replace(HERE, grid=None, village=None, names={})],
    ids=["known", "unknown", "village", "town"],
)
def test_there_is_always_one_lead(kind: str, severity: int, place: Place) -> None:
    routing = route(kind, severity, place, DEFAULT_DUTIES, 0)
    assert [d.role for d in routing.duties].count("lead") == 1
    assert routing.duties[0].role == "lead"
    assert all(d.why and d.name["zh"] and "{place}" not in d.name["zh"] for d in routing.duties)


def test_nobody_matching_falls_to_the_smallest_known_territory() -> None:
    assert route("odd", 4, HERE, [], 0).duties[0].unit == "grid:441900003001004"
    assert route("odd", 4, replace(HERE, grid=None), [], 0).duties[0].unit == "village:441900003001"
    (desk,) = route("odd", 4, UNKNOWN_PLACE, [LEAD], 0).duties
    assert desk.unit == "city:441900:desk"
    assert "地点不明" in desk.why


def test_the_most_specific_lead_wins_and_the_others_help() -> None:
    rows = [
        LEAD,
        replace(LEAD, department="mine", place="441900003"),
        replace(LEAD, kind="*", department="any"),
    ]
    routing = route("vibration.limit", 2, HERE, rows, 0)
    assert [(d.unit.rsplit(":", 1)[1], d.role) for d in routing.duties] == [
        ("mine", "lead"),
        ("housing", "co"),
        ("any", "co"),
    ]
    assert [s.outcome for s in routing.steps] == ["told", "demoted", "demoted"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (replace(LEAD, kind="fire.*"), "is not fire.*"),
        (replace(LEAD, severity_min=1), "milder than 1"),
        (replace(LEAD, valid_to_us=5), "not valid"),
        (replace(LEAD, valid_from_us=20), "not valid"),
        (replace(LEAD, place="441900101"), "not within 441900101"),
    ],
)
def test_every_row_that_loses_says_why(row: DutyRow, why: str) -> None:
    routing = route("vibration.limit", 3, HERE, [row], 10)
    assert routing.steps[0].outcome == "lost"
    assert why in routing.steps[0].why
    assert routing.steps_json()[0]["row"].startswith(row.kind)
    lost = route("vibration.limit", 3, replace(HERE, town=None, village=None, grid=None), [LEAD], 10).steps[0]
    assert lost.why == "the town is unknown"
