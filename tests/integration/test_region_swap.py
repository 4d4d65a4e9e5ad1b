"""A new division takes effect under load: nothing dropped, nothing doubled, open alerts follow with a record."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import shapely

from alerting.service import AlertService
from alerting.store import PostgresAlertStore
from db.devices import DeviceRow, load_devices, upsert_devices
from db.pool import Connection, Pool
from domain.devices import Device
from domain.people import Actor
from geo.divisions import next_division
from geo.store import load_locator
from server.commands.imports import ImportReport, Options, import_file
from server.places import Places, read_divisions
from tests.unit.alerting.blocks import METRICS, TEMPERATURE, S, block, default_rules, readings
from tests.waiting import ended, until

pytestmark = pytest.mark.stack

TOWN = "441900101"
WEST, EAST, MERGED = f"{TOWN}001", f"{TOWN}002", f"{TOWN}003"
HOUSES = 60
T0 = 1_700_000_000 * S


def feature(code: str, west: float, east: float, **more: str) -> dict[str, Any]:
    geometry = json.loads(shapely.to_geojson(shapely.box(west, 23.0, east, 23.02)))
    return {"type": "Feature", "properties": {"code": code, "name": code, **more}, "geometry": geometry}


def collection(path: Path, *features: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


async def bring(conn: Connection, what: str, path: Path, **options: Any) -> ImportReport:
    report = await import_file(conn, what, path, Options(datum="wgs84", **options))
    assert report.exit_code == 0, report
    return report


async def two_villages(conn: Connection, folder: Path) -> None:
    regions = (feature(TOWN, 113.70, 113.74), feature(WEST, 113.70, 113.72), feature(EAST, 113.72, 113.74))
    await bring(conn, "regions", collection(folder / "before.geojson", *regions))
    cells = (feature(f"{WEST}001", 113.70, 113.72), feature(f"{EAST}001", 113.72, 113.74))
    await bring(conn, "grids", collection(folder / "cells.geojson", *cells))


async def rows(pool: Pool, query: str, *given: Any) -> list[tuple[Any, ...]]:
    async with pool.connection() as conn:
        return list(await (await conn.execute(query.encode(), given)).fetchall())


async def test_a_merged_village_ends_with_its_cells_and_the_past_stays(pool: Pool, tmp_path: Path) -> None:
    at = datetime(2027, 1, 1, tzinfo=UTC)
    async with pool.connection() as conn:
        await two_villages(conn, tmp_path)
        merged = collection(tmp_path / "merged.geojson", feature(MERGED, 113.70, 113.74))
        dry = await bring(conn, "regions", merged, valid_from=at, dry_run=True)
        wet = await bring(conn, "regions", merged, valid_from=at)
        again = await bring(conn, "regions", merged, valid_from=at)
        before = await load_locator(conn, at - timedelta(seconds=1))
        after = await load_locator(conn, at)
        assert await next_division(conn, datetime.now(UTC)) == at
        assert await next_division(conn, at) is None
    assert dry.summary() == "regions: 1 new, 0 changed, 0 the same, 0 bad, 2 end; dry run, nothing written"
    assert wet.difference == dry.difference
    assert again.summary() == "regions: 0 new, 0 changed, 1 the same, 0 bad"
    assert before.device(None, 113.71, 23.01).grid == f"{WEST}001"
    place = after.device(None, 113.71, 23.01)
    assert (place.grid, place.village, place.town) == (None, MERGED, TOWN)


async def test_what_stays_the_same_stays_one_row_and_corrections_change_what_is_in_force(
    pool: Pool, tmp_path: Path
) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    async with pool.connection() as conn:
        await two_villages(conn, tmp_path)
        moved = (feature(WEST, 113.70, 113.72), feature(EAST, 113.72, 113.75))
        division = await bring(conn, "regions", collection(tmp_path / "d.geojson", *moved), valid_from=at)
        renamed = collection(tmp_path / "c.geojson", feature(EAST, 113.72, 113.75, name="东村"))
        correction = await bring(conn, "regions", renamed)
        returned = collection(tmp_path / "r.geojson", feature(WEST, 113.70, 113.72))
        await bring(conn, "regions", returned, valid_from=at + timedelta(days=1))
        revived = await bring(conn, "regions", renamed)
    assert division.summary() == "regions: 0 new, 1 changed, 1 the same, 0 bad"
    assert correction.summary() == "regions: 0 new, 1 changed, 0 the same, 0 bad"
    assert revived.summary() == "regions: 1 new, 0 changed, 0 the same, 0 bad"
    found = await rows(
        pool, "SELECT code, name, valid_from > '2000-01-01', valid_to FROM region WHERE level = 'village'"
        " ORDER BY code, valid_from",
    )  # fmt: skip
    assert found[0] == (WEST, WEST, False, None)
    assert [row[:3] for row in found[1:]] == [
        (EAST, EAST, False), (EAST, "东村", True), (EAST, "东村", True),
    ]  # fmt: skip
    assert [row[3] for row in found[1:]] == [at, at + timedelta(days=1), None]


async def test_cells_cut_anew_replace_those_of_their_village(pool: Pool, tmp_path: Path) -> None:
    at = datetime(2027, 1, 1, tzinfo=UTC)
    async with pool.connection() as conn:
        await two_villages(conn, tmp_path)
        halves = (feature(f"{WEST}002", 113.70, 113.71), feature(f"{WEST}003", 113.71, 113.72))
        report = await bring(conn, "grids", collection(tmp_path / "halves.geojson", *halves), valid_from=at)
        after = await load_locator(conn, at)
    assert report.summary() == "grids: 2 new, 0 changed, 0 the same, 0 bad, 1 end"
    assert after.device(None, 113.705, 23.01).grid == f"{WEST}002"
    assert after.device(None, 113.73, 23.01).grid == f"{EAST}001"


async def test_villages_without_cells_are_cut(pool: Pool, tmp_path: Path) -> None:
    villages = (feature(WEST, 113.70, 113.72), feature(EAST, 113.72, 113.74))
    async with pool.connection() as conn:
        cells = collection(tmp_path / "cells.geojson", feature(f"{WEST}001", 113.70, 113.72))
        await bring(conn, "grids", cells)
        path = collection(tmp_path / "villages.geojson", *villages)
        report = await bring(conn, "regions", path, cut_cells_ha=20.0)
        again = await bring(conn, "regions", path, cut_cells_ha=20.0)
        locator = await load_locator(conn)
    assert report.notes == ["note: 23 cells cut in 1 villages that had none"]
    assert again.notes == ["note: 0 cells cut in 0 villages that had none"]
    assert locator.device(None, 113.71, 23.01).grid == f"{WEST}001"
    assert str(locator.device(None, 113.73, 23.01).grid).startswith(EAST)


class House:
    """Devices, places and an alert service as the server joins them."""

    def __init__(self, pool: Pool, places: Places, devices: list[Device]) -> None:
        self.keys = [device.key for device in devices]
        by_key = {device.key: device for device in devices}
        self.alerts = AlertService(
            PostgresAlertStore(pool), default_rules(), device=by_key.get, metric_names=lambda: METRICS,
            place=places.of_detections, now_us=lambda: time.time_ns() // 1000,
            division_changed_since=places.changed_since,
        )  # fmt: skip

    async def shake(self, second: float, value: float, keys: list[int]) -> None:
        t = T0 + round(second * S)
        await self.alerts.handle(
            block(readings([(key, TEMPERATURE, t, value) for key in keys]), committed_us=t)
        )


async def test_a_division_swapped_in_under_load(pool: Pool, database_url: str, tmp_path: Path) -> None:
    """Half the alerts are open when the villages merge, the others come while it happens."""
    async with pool.connection() as conn:
        await two_villages(conn, tmp_path)
        devices = [
            DeviceRow(f"T-{i}", "smoke", lon=113.7003 + i * 0.0006, lat=23.01, datum_given="wgs84")
            for i in range(HOUSES)
        ]
        await upsert_devices(conn, devices)
    async with pool.connection() as conn:
        registered = await load_devices(conn)
    places = Places(*await read_divisions(pool))
    house = House(pool, places, registered)
    await house.alerts.start()
    early, late = house.keys[: HOUSES // 2], house.keys[HOUSES // 2 :]
    await house.shake(0, 80, early)
    closed = (await rows(pool, "SELECT id FROM alert ORDER BY device LIMIT 1"))[0][0]
    await house.alerts.act(
        "close", closed, {"version": 1, "force": True, "reason": "drill"}, Actor("li", "dispatcher", "")
    )
    following = asyncio.create_task(places.follow(database_url, pool, house.alerts))
    keeping = asyncio.create_task(places.keep_time(pool))

    async def load() -> None:
        """New alerts, updates and clears without a pause, until every late house has its alert."""
        for step, key in enumerate(late, 1):
            await house.shake(step, 80 + step % 3, [key, *early[: step % 7]])
            await asyncio.sleep(0.02)

    loading = asyncio.create_task(load())
    merged = collection(tmp_path / "merged.geojson", feature(MERGED, 113.70, 113.74))
    at = datetime.now(UTC) + timedelta(seconds=0.3)
    async with pool.connection() as conn:
        await bring(conn, "regions", merged, valid_from=at)
    await loading

    async def moved() -> bool:
        left = await rows(pool, "SELECT 1 FROM alert WHERE state <> 'closed' AND village <> %s LIMIT 1", MERGED)
        return not left

    await until(moved, "every open alert is in the merged village")

    async def placed() -> bool:
        return not await rows(pool, "SELECT 1 FROM device WHERE village IS DISTINCT FROM %s LIMIT 1", MERGED)

    await until(placed, "every device is in the merged village")
    await ended(following, keeping)
    raised = await rows(pool, "SELECT device FROM alert ORDER BY device")
    assert [key for (key,) in raised] == sorted(house.keys)  # none dropped, none doubled
    assert await rows(pool, "SELECT village FROM alert WHERE id = %s", closed) == [(WEST,)]  # keeps its place
    records = await rows(
        pool, "SELECT alert_id, change, actor, body->'place'->>'village' FROM alert_change"
        " WHERE reason LIKE 'new division %%: %% is now %%'",
    )  # fmt: skip
    assert len(records) == len({alert for alert, *_ in records})  # each moved once
    assert {row[1:] for row in records} == {("updated", "system", MERGED)}
    assert len(records) >= len(early) - 1
    versions = await rows(pool, "SELECT alert_id, array_agg(version ORDER BY cursor) FROM alert_change GROUP BY 1")
    assert all(found == list(range(1, len(found) + 1)) for _, found in versions)


async def test_a_start_makes_up_for_a_division_that_came_while_nothing_ran(
    pool: Pool, database_url: str, tmp_path: Path
) -> None:
    async with pool.connection() as conn:
        await two_villages(conn, tmp_path)
        await upsert_devices(conn, [DeviceRow("T-1", "smoke", lon=113.71, lat=23.01, datum_given="wgs84")])
    async with pool.connection() as conn:
        registered = await load_devices(conn)
    first = House(pool, Places(*await read_divisions(pool)), registered)
    await first.alerts.start()
    await first.shake(0, 80, first.keys)
    merged = collection(tmp_path / "merged.geojson", feature(MERGED, 113.70, 113.74))
    async with pool.connection() as conn:
        await bring(conn, "regions", merged, valid_from=datetime.now(UTC))
    places = Places(*await read_divisions(pool))
    second = House(pool, places, registered)
    await second.alerts.start()
    following = asyncio.create_task(places.follow(database_url, pool, second.alerts))

    async def moved() -> bool:
        return await rows(pool, "SELECT village FROM alert") == [(MERGED,)]

    await until(moved, "the open alert is in the merged village")
    await ended(following)
    assert await second.alerts.replace_places("again") == 0


async def test_late_data_lie_in_the_division_of_their_own_time(pool: Pool, tmp_path: Path) -> None:
    """A buffer empties after the villages merged: the alert and the legs are those of before; the alert follows."""
    at = datetime.now(UTC) - timedelta(hours=1)
    before_us, after_us = (round((at + timedelta(minutes=m)).timestamp() * 1e6) for m in (-30, 30))
    async with pool.connection() as conn:
        await two_villages(conn, tmp_path)
        merged = collection(tmp_path / "merged.geojson", feature(MERGED, 113.70, 113.74))
        await bring(conn, "regions", merged, valid_from=at)
        row = DeviceRow("T-1", "smoke", lon=113.71, lat=23.01, datum_given="wgs84")
        await upsert_devices(conn, [row, replace(row, id="T-2")])
    async with pool.connection() as conn:
        registered = await load_devices(conn)
    places = Places(*await read_divisions(pool))
    points = places.of_points([113.71, 113.73, 113.71], [23.01] * 3, [before_us, before_us, after_us])
    assert [(place.village, place.grid) for place in points] == [
        (WEST, f"{WEST}001"), (EAST, f"{EAST}001"), (MERGED, None),
    ]  # fmt: skip
    house = House(pool, places, registered)
    await house.alerts.start()
    for key, t in zip(house.keys, (before_us, after_us), strict=True):
        await house.alerts.handle(block(readings([(key, TEMPERATURE, t, 80)]), committed_us=t))
    late, live = house.keys
    changes = await rows(
        pool, "SELECT a.device, c.change, c.actor, c.body->'place'->>'village' FROM alert_change c"
        " JOIN alert a ON a.id = c.alert_id ORDER BY c.cursor",
    )  # fmt: skip
    assert changes == [
        (late, "raised", "detector", WEST),
        (late, "updated", "system", MERGED),
        (live, "raised", "detector", MERGED),
    ]  # fmt: skip
    assert await house.alerts.replace_places("again") == 0


async def test_a_planned_division_decides_from_its_moment_on_before_it_is_swapped_in(
    pool: Pool, tmp_path: Path
) -> None:
    at = datetime.now(UTC) + timedelta(days=1)
    async with pool.connection() as conn:
        await two_villages(conn, tmp_path)
        merged = collection(tmp_path / "merged.geojson", feature(MERGED, 113.70, 113.74))
        await bring(conn, "regions", merged, valid_from=at)
    places = Places(*await read_divisions(pool))
    at_us = round(at.timestamp() * 1e6)
    found = places.of_points([113.71] * 2, [23.01] * 2, [at_us - 1, at_us])
    assert [place.village for place in found] == [WEST, MERGED]
    assert places.locator.device(None, 113.71, 23.01).village == WEST
    assert not places.changed_since(at_us)
