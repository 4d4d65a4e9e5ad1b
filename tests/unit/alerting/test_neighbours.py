from __future__ import annotations

from collections.abc import Sequence

from alerting.dispatch.defaults import DEFAULT_DUTIES
from alerting.dispatch.duties import Routing, route
from alerting.neighbours import explained, neighbour_places, with_neighbours
from alerting.render import alert_json, alert_of
from domain.alerts import Alert
from domain.places import UNKNOWN_PLACE, Duty, Place

HERE = Place(
    None, None, None, 0.9, "nearest", "441900003001001", "441900003001", "441900003",
    {"city": "东莞市", "town": "东城街道", "village": "岗贝社区", "441900004": "南城街道",
     "441900004005": "元美社区", "441900004005_en": "Yuanmei"},
    "v1", ("441900004005002", "441900003001002"),
)  # fmt: skip


def explain(place: Place, severity: int = 2) -> Routing:
    return route("fire.smoke", severity, place, DEFAULT_DUTIES, 0)


def duties_of(place: Place) -> Sequence[Duty]:
    return explain(place).duties


def test_the_territory_next_door_is_told_and_one_lead_stays() -> None:
    own = duties_of(HERE)
    duties = with_neighbours(own, HERE, duties_of)
    assert duties[: len(own)] == tuple(own)
    assert [duty.unit for duty in duties if duty.role == "lead"] == ["town:441900003:fire"]
    added = {duty.unit: duty for duty in duties[len(own) :]}
    assert {"grid:441900004005002", "village:441900004005", "grid:441900003001002"} <= set(added)
    fire = added["town:441900004:fire"]
    assert fire.role == "co"
    assert fire.name["zh"] == "南城街道消防救援大队"
    assert "元美社区002网格" in fire.why
    assert "Yuanmei cell 002" in fire.why
    assert fire.why.count(" · ") == 1, "both languages in one, as the page reads it"


def test_each_unit_is_told_once() -> None:
    units = [duty.unit for duty in with_neighbours(duties_of(HERE), HERE, duties_of)]
    assert len(units) == len(set(units))
    assert units.count("village:441900003001") == 1


def test_maintainers_and_owners_next_door_are_left_in_peace() -> None:
    other = [Duty("x", "maintainer", "", {}), Duty("y", "owner", "", {})]
    assert with_neighbours([Duty("a", "lead", "", {})], HERE, lambda _: other) == (Duty("a", "lead", "", {}),)


def test_without_neighbours_nothing_changes() -> None:
    own = explain(UNKNOWN_PLACE)
    assert explained(own, UNKNOWN_PLACE, explain) == own
    assert list(neighbour_places(UNKNOWN_PLACE)) == []


def test_the_steps_show_who_is_told_next_door() -> None:
    own, whole = explain(HERE), explained(explain(HERE), HERE, explain)
    added = whole.steps[len(own.steps) :]
    assert [step.row for step in added] == [duty.unit for duty in whole.duties[len(own.duties) :]]
    assert all(step.outcome == "told" and "border" in step.why for step in added)


def test_a_town_only_neighbour_is_a_town() -> None:
    names = {"441900004": "南城街道"}
    place = Place(None, None, None, 0.2, "town only", None, None, "441900003", names, "v", ("441900004",))
    (beside,) = neighbour_places(place)
    assert (beside.grid, beside.village, beside.town) == (None, None, "441900004")
    assert beside.names == {"town": "南城街道"}


def test_neighbours_are_in_the_alert_only_where_there_are_some_and_come_back() -> None:
    alert = Alert(
        "01J", 1, "fire.smoke", None, "r", 2, "active", "new", {"zh": "火"}, 1, "D", "smoke", 0, 0, 0, None,
        False, 1, 1.0, 0.5, "", "m", None, None, None, place=HERE,
    )  # fmt: skip
    body = alert_json(alert, 7)
    assert body["place"]["neighbours"] == ["441900004005002", "441900003001002"]
    assert alert_of(body, "r", 1, 0).place == HERE
    alert.place = UNKNOWN_PLACE
    assert "neighbours" not in alert_json(alert, 7)["place"]
