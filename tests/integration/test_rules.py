"""Rules in the real database: versions, conflicts, a running service that follows, files, back-tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alerting.rulebook import RuleBook
from alerting.service import AlertService
from alerting.store import PostgresAlertStore
from db.devices import DeviceRow, load_devices, upsert_devices
from db.pool import Pool
from domain.clock import from_us
from domain.devices import Device
from domain.errors import NotFound, PayloadError, VersionConflict
from server.commands.import_rules import import_rule_file
from tests.unit.alerting.blocks import METRICS, T0, TEMPERATURE, S, block, readings
from tests.unit.alerting.store_contract import PLACE
from tests.waiting import ended, until

pytestmark = pytest.mark.stack

HEAT: dict[str, Any] = {
    "detector": "threshold", "kind": "fire.temperature",
    "settings": {
        "metric": "temperature_c", "unit": "°C", "levels": {"3": 60}, "clear": 55,
        "title": {"zh": "温度过高", "en": "Temperature too high"},
    },
}  # fmt: skip
ALERTS = "SELECT rule, device, condition, body FROM alert ORDER BY started_at, device, rule"
REASONS = "SELECT change, actor, reason FROM alert_change ORDER BY cursor"


def heat(**settings: Any) -> dict[str, Any]:
    return {**HEAT, "settings": {**HEAT["settings"], **settings}}


class House:
    """A service that follows the rules of a database, with devices 1 to 9."""

    def __init__(self, pool: Pool, url: str) -> None:
        self.pool = pool
        self.known = {key: Device(key, f"T-{key}", "smoke") for key in range(1, 10)}
        self.version = 0
        ticks = iter(range(T0 + 10_000 * S, T0 + 10**13, 1000))
        self.book = RuleBook(pool, url, lambda: list(self.known.values()), lambda: next(ticks))
        self.service = AlertService(
            PostgresAlertStore(pool), [], device=self.known.get, metric_names=lambda: METRICS,
            place=lambda asked: [PLACE for _ in asked], now_us=lambda: next(ticks),
        )  # fmt: skip

    async def heat(self, second: float, value: float, *devices: int) -> None:
        t = T0 + round(second * S)
        await self.service.handle(
            block(readings([(d, TEMPERATURE, t, value) for d in devices or (1,)]), committed_us=t)
        )

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with self.pool.connection() as conn:
            return list(await (await conn.execute(query.encode())).fetchall())

    async def until_judged_by(self, rule_id: str, version: int | None) -> None:
        async def there() -> bool:
            rules = {rule.id: rule.version for rule in self.service._bank.rules}
            return rules.get(rule_id) == version

        await until(there, f"rule {rule_id} at version {version}", 4.0)


@asynccontextmanager
async def house(pool: Pool, url: str) -> AsyncIterator[House]:
    async with pool.connection() as conn:
        await conn.execute("DELETE FROM rule")
    made = House(pool, url)
    await made.service.start()
    follow = asyncio.create_task(made.book.follow(made.service, lambda: made.version))
    try:
        yield made
    finally:
        await ended(follow)


async def test_a_rule_is_written_with_versions_and_a_stale_writer_is_told(pool: Pool, database_url: str) -> None:
    async with house(pool, database_url) as h:
        written, new = await h.book.put("heat", {**HEAT, "note": "first"}, "li.wei")
        assert (written["version"], new, written["warnings"]) == (1, True, [])
        assert written["settings"]["gap_s"] == 600.0
        with pytest.raises(PayloadError, match="version"):
            await h.book.put("heat", HEAT, "li.wei")
        written, new = await h.book.put("heat", {**heat(clear=50), "version": 1}, "wang")
        assert (written["version"], new) == (2, False)
        with pytest.raises(VersionConflict) as stale:
            await h.book.put("heat", {**heat(clear=40), "version": 1}, "li.wei")
        assert stale.value.current["version"] == 2
        same, _ = await h.book.put("heat", {**heat(clear=50), "version": 2}, "wang")
        assert same["version"] == 2, "what changes nothing is no version"
        versions = (await h.book.get("heat"))["versions"]
        told = [(v["version"], v["actor"], v["note"]) for v in versions]
        assert told == [(2, "wang", ""), (1, "li.wei", "first")]
        assert versions[1]["body"]["settings"]["clear"] == 55
        audit = await h.rows("SELECT actor, action, target FROM audit ORDER BY id")
        assert audit[:2] == [("li.wei", "rule.put", "heat"), ("wang", "rule.put", "heat")]
        await h.book.delete("heat", 2, "li.wei", "not needed")
        with pytest.raises(NotFound):
            await h.book.delete("heat", None, "li.wei", "")
        assert [rule["id"] for rule in await h.book.all()] == []
        again, new = await h.book.put("heat", HEAT, "li.wei")
        assert (again["version"], new) == (4, True), "an id that was removed goes on counting"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metric": "temperature_c", "unit": "F"}, "does not fit temperature_c"),
        ({"levels": {"3": 6000}}, "impossible for temperature_c"),
        ({"levels": {"3": 60, "2": 50}}, "worse severity"),
        ({"claer": 3}, "claer"),
    ],
)
async def test_what_cannot_be_is_refused(
    pool: Pool, database_url: str, change: dict[str, Any], said: str
) -> None:
    async with house(pool, database_url) as h:
        with pytest.raises(PayloadError, match=said):
            await h.book.put("heat", heat(**change), "li.wei")


async def test_an_unknown_metric_is_a_warning_with_the_near_names(pool: Pool, database_url: str) -> None:
    async with house(pool, database_url) as h:
        written, _ = await h.book.put("heat", heat(metric="temperatur_c"), "li.wei")
        assert "did you mean temperature_c" in written["warnings"][0]
        twin, _ = await h.book.put("heat-2", heat(metric="temperatur_c"), "li.wei")
        assert any("rule heat is for the same" in warning for warning in twin["warnings"])


async def test_a_running_service_follows_and_an_edited_rule_keeps_its_episodes(
    pool: Pool, database_url: str
) -> None:
    async with house(pool, database_url) as h:
        await h.book.put("heat", heat(on_delay_s=10), "li.wei")
        await h.book.put("other", heat(metric="smoke_ppm", unit="ppm", levels={"3": 500}, clear=400), "li.wei")
        await h.until_judged_by("heat", 1)
        await h.heat(0, 70)
        await h.heat(10, 72)
        [(_, _, _, raised)] = await h.rows(ALERTS)
        assert raised["evidence"]["rule_version"] == 1
        await h.heat(20, 30, 2)
        await h.heat(21, 70, 2)  # a delay begins
        await h.book.put("heat", {**heat(on_delay_s=10, clear=58), "version": 1}, "li.wei")
        await h.until_judged_by("heat", 2)
        await h.heat(31, 70, 2)  # and ends under the changed rule: it was not begun anew
        await h.heat(32, 90)
        rows = await h.rows(ALERTS)
        assert [(rule, device, condition) for rule, device, condition, _ in rows] == [
            ("heat", 1, "active"), ("heat", 2, "active"),
        ]  # fmt: skip
        assert rows[0][3]["evidence"]["rule_version"] == 2
        assert (rows[0][3]["id"], rows[0][3]["value"]) == (raised["id"], 90.0)
        await h.heat(40, 57)
        assert (await h.rows(ALERTS))[0][2] == "cleared", "by the new clear level"


async def test_new_levels_judge_a_running_episode_anew(pool: Pool, database_url: str) -> None:
    async with house(pool, database_url) as h:
        await h.book.put("heat", HEAT, "li.wei")
        await h.until_judged_by("heat", 1)
        await h.heat(0, 70, 1, 2)
        await h.book.put("heat", {**heat(levels={"3": 80, "2": 100}, clear=75), "version": 1}, "li.wei")
        await h.until_judged_by("heat", 2)
        await h.heat(1, 70, 1)
        await h.heat(1, 101, 2)
        rows = await h.rows(ALERTS)
        assert [(device, condition, body["severity"]) for _, device, condition, body in rows] == [
            (1, "cleared", 3), (2, "active", 2),
        ]  # fmt: skip
        assert len(rows) == 2, "the same alerts go on"


async def test_a_rule_switched_off_ends_its_alerts_and_a_delay_under_way_stays_silent(
    pool: Pool, database_url: str
) -> None:
    async with house(pool, database_url) as h:
        await h.book.put("heat", heat(on_delay_s=10), "li.wei")
        await h.until_judged_by("heat", 1)
        await h.heat(0, 70)
        await h.heat(10, 70, 1, 2)  # device 1 is raised, device 2 has begun to wait
        await h.book.put("heat", {**heat(on_delay_s=10), "enabled": False, "version": 1, "note": "steam"}, "li.wei")
        await h.until_judged_by("heat", None)
        await h.heat(25, 70, 1, 2)

        async def cleared() -> bool:
            return [row[2] for row in await h.rows(ALERTS)] == ["cleared"]

        await until(cleared, "the alert of a rule that is off ends", 4.0)
        change, actor, reason = (await h.rows(REASONS))[-1]
        assert (change, actor) == ("cleared", "system")
        assert reason == "rule heat: switched off by li.wei (version 2): steam"
        [(_, _, _, body)] = await h.rows(ALERTS)
        assert body["state"] == "new", "a person still decides"
        await h.book.put("heat", {**heat(on_delay_s=10), "enabled": True, "version": 2}, "li.wei")
        await h.until_judged_by("heat", 3)
        await h.heat(30, 70, 1, 2)
        assert len(await h.rows(ALERTS)) == 1, "the delay begins anew"
        await h.heat(40, 70, 1, 2)
        assert {row[1] for row in await h.rows(ALERTS) if row[2] == "active"} == {1, 2}


async def test_the_more_specific_rule_takes_a_device_over(pool: Pool, database_url: str) -> None:
    async with house(pool, database_url) as h:
        await h.book.put("heat", HEAT, "li.wei")
        await h.until_judged_by("heat", 1)
        await h.heat(0, 70, 1, 2)
        kiln = {**heat(levels={"3": 200}, clear=150), "applies_to": {"devices": ["T-2"]}, "note": "a kiln"}
        await h.book.put("heat.kiln", kiln, "li.wei")
        await h.until_judged_by("heat.kiln", 1)

        async def taken() -> bool:
            return [row[2] for row in await h.rows(ALERTS)] == ["active", "cleared"]

        await until(taken, "the general rule's alert of the kiln ends", 4.0)
        assert (await h.rows(REASONS))[-1][2] == "rule heat: it judges this device no longer"
        await h.heat(1, 75, 1, 2)
        await h.heat(2, 250, 2)
        active = [(row[0], row[1]) for row in await h.rows(ALERTS) if row[2] == "active"]
        assert active == [("heat", 1), ("heat.kiln", 2)]
        await h.book.delete("heat.kiln", 1, "li.wei", "")
        await h.until_judged_by("heat.kiln", None)
        await h.heat(3, 70, 2)
        active = [(row[0], row[1]) for row in await h.rows(ALERTS) if row[2] == "active"]
        assert ("heat", 2) in active, "the general rule judges it again, and is not blind"


async def test_a_device_that_moves_is_another_rules(pool: Pool, database_url: str) -> None:
    async with house(pool, database_url) as h:
        await h.book.put("heat", {**HEAT, "applies_to": {"places": ["441900003"]}}, "li.wei")
        await h.until_judged_by("heat", 1)
        await h.heat(0, 70)
        assert await h.rows(ALERTS) == []
        h.known[1] = Device(1, "T-1", "smoke", town="441900003")
        h.version += 1
        await h.book.put("other", heat(metric="smoke_ppm", unit=""), "li.wei")  # any wake-up
        await h.until_judged_by("other", 1)
        await h.heat(1, 70)
        assert len(await h.rows(ALERTS)) == 1


async def test_a_wrong_rule_by_hand_is_not_followed_and_the_one_before_stays(
    pool: Pool, database_url: str
) -> None:
    async with house(pool, database_url) as h:
        await h.book.put("heat", HEAT, "li.wei")
        await h.until_judged_by("heat", 1)
        async with pool.connection() as conn:
            await conn.execute("UPDATE rule SET settings = settings || '{\"clear\": 99}' WHERE id = 'heat'")
        await h.book.put("other", heat(metric="smoke_ppm", unit=""), "li.wei")
        await h.until_judged_by("other", 1)
        await h.until_judged_by("heat", 1)
        [shown] = [rule for rule in await h.book.all() if rule["id"] == "heat"]
        assert "clear 99" in shown["error"]


RULES = """
[[rule]]
id = "heat"
detector = "threshold"
kind = "fire.temperature"
applies_to = { kinds = ["smoke"], places = ["441900003"] }
valid_from = 2020-01-01
note = "from the fire brigade"
[rule.settings]
metric = "temperature_c"
unit = "°C"
levels = { 3 = 60 }
clear = 55
title = { zh = "温度过高", en = "Temperature too high" }

[[rule]]
id = "heat.wrong"
detector = "threshold"
kind = "fire.temperature"
[rule.settings]
metric = "temperature_c"
levels = { 3 = 60000 }
clear = 55
title = { zh = "温度过高", en = "Temperature too high" }
"""


async def test_a_file_is_compared_tried_and_written(pool: Pool, database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    given: dict[str, Any] = {"strict": False, "actor": "cli:li", "now_us": T0, "zone": ZoneInfo("Asia/Shanghai")}
    dry = await import_rule_file(database_url, path, dry_run=True, **given)
    assert (dry.new, dry.written) == (["heat"], False)
    assert [str(p) for p in dry.parsed.problems] == [
        "line 22: rule heat.wrong: levels: 60000 °C is impossible for temperature_c; it lies in -273.15 … 3000"
    ]
    assert "0 of 0 devices read" in dry.lines()[1]
    done = await import_rule_file(database_url, path, dry_run=False, **given)
    assert done.written
    again = await import_rule_file(database_url, path, dry_run=False, **given)
    assert (again.new, again.changed, again.same) == ([], [], 1)
    refused = await import_rule_file(database_url, path, dry_run=False, **{**given, "strict": True})
    assert "1 bad" in refused.refused
    book = RuleBook(pool, database_url, list, lambda: T0)
    [version] = (await book.get("heat"))["versions"]
    assert (version["actor"], version["note"]) == ("cli:li", "from the fire brigade")
    assert (await book.get("heat"))["valid_from"] == "2019-12-31T16:00:00.000000Z"


# ---------------------------------------------------------------- back-tests


async def stored_week(pool: Pool) -> list[Device]:
    """Three sensors for two days, each minute; the second has one hot hour, the third three."""
    async with pool.connection() as conn:
        await upsert_devices(conn, [DeviceRow(f"T-{n}", "smoke") for n in (1, 2, 3)])
        await conn.execute("INSERT INTO metric (name) VALUES ('temperature_c') ON CONFLICT DO NOTHING")
        devices = await load_devices(conn)
        for number, device in enumerate(devices):
            await conn.execute(
                "INSERT INTO reading SELECT t, %s, (SELECT key FROM metric WHERE name = 'temperature_c'),"
                " CASE WHEN extract(hour FROM t AT TIME ZONE 'UTC') < %s"
                "      AND extract(minute FROM t) < 30 THEN 70 ELSE 20 END, -1, false"
                " FROM generate_series(%s::timestamptz, %s::timestamptz - interval '1 minute', '1 minute') AS t",
                [device.key, number * 2 - 1, DAY, DAY + timedelta(days=2)],
            )
    return devices


DAY = from_us(1_700_006_400_000_000)  # 2023-11-15T00:00Z


async def test_a_back_test_says_what_would_have_fired_and_what_the_rule_did(pool: Pool, database_url: str) -> None:
    devices = await stored_week(pool)
    end_us = 1_700_006_400_000_000 + 2 * 86_400 * S
    book = RuleBook(pool, database_url, lambda: devices, lambda: end_us)
    await book.put("heat", HEAT, "li.wei")
    steps: list[float] = []

    async def heard(share: float, what: str) -> None:
        steps.append(share)

    found = await book.backtest("heat", heat(levels={"3": 71}), progress=heard)
    assert found["complete"]
    assert found["read"] == {"readings": 3 * 2880, "devices": 3, "of_devices": 3}
    assert found["would"]["alerts"] == 0
    # Half-hours within 30 minutes of each other come more than 10 minutes after clearing: each is an alert.
    assert found["does"]["alerts"] == 2 * 1 + 2 * 3
    assert found["difference"] == {"same": 0, "new": 0, "gone": 8, "worse": 0, "milder": 0}
    assert steps == sorted(steps)
    assert steps[-1] == 1.0
    as_it_is = await book.backtest("heat", None)
    assert as_it_is["difference"]["same"] == 8
    first = as_it_is["would"]["items"][0]
    assert (first["device"], first["started_at"], first["severity"], first["value"]) == (
        "T-2", "2023-11-15T00:00:00.000000Z", 3, 70.0,
    )  # fmt: skip
    assert {d["device"]: d["alerts"] for d in as_it_is["would"]["by_device"]} == {"T-2": 2, "T-3": 6}
    assert [d["alerts"] for d in as_it_is["would"]["by_day"]] == [4, 4]
    narrow = await book.backtest("heat", {"applies_to": {"devices": ["T-2"]}})
    assert (narrow["would"]["alerts"], narrow["difference"]["gone"]) == (2, 6)
    stopped = await book.backtest("heat", None, seconds=0.000001)
    assert not stopped["complete"]
    assert stopped["read"]["devices"] == 0
    assert "the time of 1e-06 s was over" in stopped["incomplete_because"]
    with pytest.raises(NotFound):
        await book.backtest("unknown", None)
