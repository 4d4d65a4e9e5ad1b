"""The compiled table: the plain meaning of all rows, at the size of a city, and never nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.dispatch.batches import Batch, in_force
from alerting.dispatch.defaults import DEFAULT_DUTIES
from alerting.dispatch.duties import Asked, Context, DutyRow, rank, route_asked
from alerting.dispatch.parties import Maintainer, Owner, Parties, Party, Permit
from alerting.dispatch.table import DutyTable
from alerting.dispatch.windows import parse_window
from domain.places import UNKNOWN_PLACE, Place

GRID = "441900003001004"
HERE = Place(
    GRID[:12] + "0001" + "000000000", "某地", 1.0, 0.9, "device", GRID, GRID[:12], GRID[:9],
    {"village": "岗贝社区", "town": "东城街道"}, "v1",
)  # fmt: skip
PLACES = (HERE, UNKNOWN_PLACE, replace(HERE, grid=None, address_id=None), replace(HERE, grid=None, village=None),
          replace(HERE, names={}))  # fmt: skip
LEAD = DutyRow("vibration.*", "town", "housing", "{place}住建局", "Housing of {place}", "lead", "why")
OWNER, SITE = Party("owner:1", "业主"), Party("site:1", "工地")
PARTIES = Parties.build(
    [Owner(HERE.address_id[:19] if HERE.address_id else "", OWNER)], [Maintainer(Party("keeper:1", "养护"))],
    [Permit("P-1", SITE, 113.75, 23.0, 20.0, 0, 10**18)],
)  # fmt: skip

CODES = ("", "441900", "441900003", "441900003001", GRID, "441900101")
KINDS = ("*", "vibration.*", "vibration.limit", "fire.*", "vib*", "device.*")
WINDOWS = tuple(
    parse_window(d, h) for d, h in (("", ""), ("workday", ""), ("", "18:00-08:30"), ("6,7", "08:00-12:00"))
)

rows_given = st.lists(
    st.builds(
        DutyRow,
        kind=st.sampled_from(KINDS),
        level=st.sampled_from(("grid", "village", "town", "city")),
        department=st.sampled_from(("", "a", "b")),
        name=st.just("{place}x"),
        name_en=st.just("x of {place}"),
        role=st.sampled_from(("lead", "co", "owner", "maintainer")),
        why=st.just("w"),
        severity_min=st.integers(1, 4),
        place=st.sampled_from(CODES),
        valid_from_us=st.sampled_from((0, 500)),
        valid_to_us=st.sampled_from((None, 1000, 10**18)),
        matter=st.sampled_from(("", "local:08999")),
        source=st.sampled_from(("unit", "owner", "maintainer", "permit")),
        within_m=st.sampled_from((50.0, 500.0)),
        window=st.sampled_from(WINDOWS),
        batch=st.sampled_from(("default", "new")),
    ),
    max_size=12,
)
asked_given: Any = st.builds(
    Asked,
    kind=st.sampled_from(("vibration.limit", "fire.smoke", "unheard.of", "", "device.offline")),
    severity=st.integers(1, 4),
    place=st.sampled_from(PLACES),
    at_us=st.sampled_from((0, 700, 2000, 1_790_000_000_000_000, 1_790_030_000_000_000)),
    matter=st.sampled_from(("", "local:08999")),
    device=st.sampled_from(("", "VB-1")),
    lon=st.sampled_from((None, 113.7504)),
    lat=st.just(23.0),
)


@settings(max_examples=200, deadline=None)
@given(rows_given, asked_given, st.sampled_from((0, 600)))
def test_the_table_says_what_all_rows_say_and_never_nobody(rows: list[DutyRow], asked: Asked, starts: int) -> None:
    rows = in_force(rows, [Batch("default"), Batch("new", starts, ("default",) if starts else ())])
    context = Context(parties=PARTIES)
    plain, table = route_asked(asked, rows, context), DutyTable(rows, context)
    assert table.route(asked) == plain.duties
    explained = table.explain(asked)
    assert explained.duties == plain.duties
    assert sorted(explained.steps, key=str) == sorted(plain.steps, key=str)
    assert [duty.role for duty in plain.duties].count("lead") == 1
    assert plain.duties[0].role == "lead"
    assert all(duty.name["zh"] and "{place}" not in duty.name["zh"] and duty.why for duty in plain.duties)
    assert len({duty.unit for duty in plain.duties}) == len(plain.duties)


def test_the_stated_order_decides_one_step_at_a_time() -> None:
    weaker = replace(LEAD, severity_min=4)
    ladder = [
        replace(weaker, level="city", department="city"),
        replace(weaker, department="level"),
        replace(weaker, department="hours", window=parse_window("1-7", "00:00-23:59")),
        replace(weaker, department="severity", severity_min=3),
        replace(weaker, department="batch", batch_us=5),
        replace(weaker, department="kind", kind="vibration.limit"),
        replace(weaker, department="matter", kind="*", matter="local:08999"),
        replace(weaker, department="place", kind="*", place="441900003"),
    ]
    assert [rank(row) for row in ladder] == sorted(rank(row) for row in ladder)
    asked = Asked("vibration.limit", 2, HERE, 10, "local:08999")
    for upto in range(1, len(ladder) + 1):
        routing = DutyTable(ladder[:upto]).explain(asked)
        assert routing.duties[0].unit.split(":")[-1] == ladder[upto - 1].department
    words = [s.why for s in routing.steps if s.outcome == "demoted"]
    assert all("its place is narrower" in word for word in words)


def test_a_row_of_a_matter_is_for_that_matter_only() -> None:
    table = DutyTable([LEAD, replace(LEAD, kind="*", matter="gb47678-2026:08011", department="cg")])
    asked = Asked("truck.uncovered", 3, HERE, 0, "gb47678-2026:08011")
    assert table.route(asked)[0].unit == "town:441900003:cg"
    assert table.route(replace(asked, kind=""))[0].unit == "town:441900003:cg", "a matter without an alert kind"
    lost = table.explain(replace(asked, matter="")).steps
    assert "matter unknown is not gb47678-2026:08011" in [step.why for step in lost]


def test_owner_maintainer_and_works_nearby() -> None:
    table = DutyTable(DEFAULT_DUTIES, Context(parties=PARTIES))
    near = Asked("vibration.limit", 3, HERE, 0, device="VB-1", lon=113.7515, lat=23.0)
    told = {duty.unit: duty for duty in table.route(near)}
    assert told["owner:1"].role == "owner"
    assert told["site:1"].why.endswith("(P-1)")
    assert "town:441900003:urban-management" in told
    far = {duty.unit for duty in table.route(replace(near, lon=113.7545))}
    assert "site:1" not in far
    lost = {step.why for step in table.explain(replace(near, lon=113.7545)).steps}
    assert "no works with a permit within 200 m" in lost
    over = replace(near, at_us=10**18)
    assert "site:1" not in {duty.unit for duty in table.route(over)}
    assert table.route(replace(near, kind="device.offline"))[0].unit == "keeper:1"
    unknown = DutyTable(DEFAULT_DUTIES).route(replace(near, kind="device.offline"))
    assert unknown[0].unit == "city:441900:maintainer"


def test_a_device_has_its_own_maintainer_before_its_kind_and_place() -> None:
    rows = [
        Maintainer(Party("any", "x")), Maintainer(Party("kind", "x"), kind="smoke"),
        Maintainer(Party("town", "x"), place="441900003"), Maintainer(Party("own", "x"), device="S-1"),
    ]  # fmt: skip
    parties = Parties.build(maintainers=rows)
    found = [
        parties.maintainer("S-1", "smoke", HERE),
        parties.maintainer("S-2", "smoke", HERE),
        parties.maintainer("S-2", "smoke", UNKNOWN_PLACE),
        parties.maintainer("S-2", "tilt", UNKNOWN_PLACE),
    ]
    assert [party.unit for party in found if party] == ["own", "town", "kind", "any"]


def test_permits_are_found_over_the_borders_of_their_squares() -> None:
    permits = [
        Permit(f"P-{n}", SITE, 113.70 + n * 0.0005, 22.999 + (n % 5) * 0.0007, 10.0, 0, 10) for n in range(200)
    ]
    parties = Parties.build(permits=permits)
    for lon in (113.7199, 113.72, 113.7201, 113.76):
        found = {p.id for p in parties.permits(lon, 23.0, 5, 300.0)}
        naive = {
            p.id for p in permits
            if ((p.lon - lon) ** 2 * 0.8473 + (p.lat - 23.0) ** 2) ** 0.5 * 111_195 - p.radius_m <= 300.0
        }  # fmt: skip
        assert found == naive
        assert found


@pytest.mark.parametrize(
    ("at_us", "expected"), [(50, "old"), (150, "new"), (250, "newest")], ids=["before", "second", "third"]
)
def test_batches_take_over_at_their_start(at_us: int, expected: str) -> None:
    batches = [Batch("a"), Batch("b", 100, ("a",)), Batch("c", 200, ("*",))]
    rows = in_force(
        [
            replace(LEAD, batch="a", department="old"),
            replace(LEAD, batch="b", department="new"),
            replace(LEAD, batch="c", department="newest"),
        ],
        batches,
    )
    duties = DutyTable(rows).route(Asked("vibration.limit", 2, HERE, at_us))
    assert [duty.unit.split(":")[-1] for duty in duties] == [expected]


def test_a_newer_batch_takes_the_place_of_the_same_row_only() -> None:
    rows = in_force(
        [
            replace(LEAD, batch="a", department="old"),
            replace(LEAD, batch="a", role="co", department="kept"),
            replace(LEAD, batch="b", department="new"),
        ],
        [Batch("a"), Batch("b", 100)],
    )
    routing = DutyTable(rows).explain(Asked("vibration.limit", 2, HERE, 150))
    assert [duty.unit.split(":")[-1] for duty in routing.duties] == ["new", "kept"]
    assert "batch b took its place" in {step.why for step in routing.steps}
