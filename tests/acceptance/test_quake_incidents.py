"""Five real earthquakes through broker, database and detectors: each one area event, none before its origin."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.fix_server import SHARED, Server, server_home

pytestmark = [pytest.mark.stack, pytest.mark.alone]

FOLDER = SHARED / "openeew"
ORIGIN = {
    "2017-12-16": "2017-12-16T04:07:30", "2018-01-08": "2018-01-08T17:01:03", "2018-02-16": "2018-02-16T23:39:39",
    "2020-01-24": "2020-01-24T10:47:49", "2020-06-23": "2020-06-23T15:29:03",
}  # fmt: skip
DELAY_S = {"2017-12-16": 24.2, "2018-01-08": 14.0, "2018-02-16": 29.4, "2020-01-24": 15.6, "2020-06-23": 18.9}
"""After the origin, by the event times at which the needed stations had begun: as the reference counts."""

ARRIVAL_S_MAX = 1.1
"""A packet holds a second of samples: what made it known arrives up to that much later."""

WRONG_CLOCKS = {"2018-01-08": {"018"}, "2018-02-16": {"012", "015"}}

if not FOLDER.exists():
    pytest.skip(f"{FOLDER} is not here", allow_module_level=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with server_home() as home:
        home.start("--no-demo", city=True)
        yield home


def seconds(iso: str) -> float:
    return datetime.fromisoformat(iso.replace("Z", "+00:00")).timestamp()


def first_arrival(day: str) -> str:
    with gzip.open(FOLDER / f"{day}.jsonl.gz", "rt") as lines:
        at = min(json.loads(line)["cloud_t"] for line in lines)
    return datetime.fromtimestamp(at, UTC).isoformat()


@pytest.fixture(scope="module")
async def played(server: Server) -> dict[str, list[dict[str, Any]]]:
    """All five at once, each in its run, at their own times and places: day → its run's incidents."""

    async def play(day: str) -> None:
        await asyncio.to_thread(
            server.cli, "replay", str(FOLDER / f"{day}.jsonl.gz"), "--devices",
            str(FOLDER / "device_locations.json"), "--speed", "20", "--start-at", first_arrival(day), timeout=170,
        )  # fmt: skip

    await asyncio.gather(*(play(day) for day in ORIGIN))
    token = server.token()
    items: list[dict[str, Any]] = server.get("/incidents", token, exercise="any", limit=1000)["items"]
    found: dict[str, list[dict[str, Any]]] = {day: [] for day in ORIGIN}
    for item in items:
        found[item["started_at"][:10]].append(item)
    return found


@pytest.mark.parametrize("day", sorted(ORIGIN))
def test_each_real_quake_is_one_area_event(
    server: Server, played: dict[str, list[dict[str, Any]]], day: str
) -> None:
    assert [item["kind"] for item in played[day]] == ["area"]
    [item] = played[day]
    origin = seconds(ORIGIN[day] + "+00:00")
    assert seconds(item["started_at"]) > origin, "no area event before the quake"
    delay, arrival = seconds(item["detected_at"]) - origin, seconds(item["known_at"]) - origin
    assert delay <= DELAY_S[day]
    assert arrival <= DELAY_S[day] + ARRIVAL_S_MAX
    assert item["devices"] >= 5
    assert len({m["device"] for m in item["members"]}) == item["devices"]
    assert item["exercise"]
    assert {fault["device"] for fault in item["clock_faults"]} == WRONG_CLOCKS.get(day, set())
    assert not WRONG_CLOCKS.get(day, set()) & {m["device"] for m in item["members"]}


def test_a_wrong_clock_is_named_in_its_alert_and_in_the_reasons(
    server: Server, played: dict[str, list[dict[str, Any]]]
) -> None:
    [item] = played["2018-02-16"]
    assert sum("s behind" in reason["en"] for reason in item["why"]) == 2
    alerts = server.get("/alerts", server.token(), exercise=item["exercise"], limit=1000)["items"]
    for device in ("012", "015"):
        mine = [a for a in alerts if a["device"]["id"] == device]
        assert mine
        for alert in mine:
            assert alert["incident_id"] is None
            assert alert["evidence"]["association"]["decision"] == "fault"
            assert abs(alert["evidence"]["association"]["offset_s"] + 1900) < 100


def test_its_alerts_lead_to_the_incident_and_back(server: Server, played: dict[str, list[dict[str, Any]]]) -> None:
    token = server.token()
    for [item] in played.values():
        one = server.get(f"/incidents/{item['id']}", token)
        alerts = server.get("/alerts", token, exercise=item["exercise"], limit=1000)["items"]
        assert {a["id"] for a in alerts if a["incident_id"] == item["id"]} == set(one["alerts"])
        assert one["duty"]
        assert one["history"][0]["change"] == "raised"
