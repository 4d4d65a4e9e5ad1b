"""Trips on the real database: rows of trip, leg, hand-over and case; and the hand-over's way to a client."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from alerting.trips.permits import Permissions, Permit
from alerting.trips.service import TripService
from alerting.trips.store import PostgresTripStore, add_permissions
from db.devices import DeviceRow, upsert_devices
from db.pool import Pool
from db.runs import purge_run
from domain.alerts import Detection
from domain.clock import from_us
from domain.devices import Device
from domain.places import Duty, Place
from domain.readings import Position
from server.commands.import_duties import TableReport, import_rows
from tests.integration.api_house import MACHONG, WANJIANG, House, house, now_us, place_at
from tests.unit.alerting.blocks import block
from tests.unit.alerting.test_trips import LOAD, SHANGHAI, TIP

pytestmark = pytest.mark.stack
__all__ = ["house"]

S = 1_000_000


def west_or_east(lon: Any, lat: Any, at_us: Any) -> list[Place]:
    """West of 113.65 is Machong, east of it Wanjiang, as in the house."""
    return [place_at(MACHONG if x < 113.65 else WANJIANG) for x in lon]


def way(end_us: int, *, empties: bool = True) -> list[tuple[int, float, str, str]]:
    """From 113.640 over the border at 113.650 to 113.660: time, lon, bed, cover; open in the second half."""
    return [
        (end_us - (40 - n) * 5 * S, 113.64 + n * 0.0005, "empty" if n == 40 and empties else "loaded",
         "open" if 24 <= n < 36 else "closed")
        for n in range(41)
    ]  # fmt: skip


class Truck:
    """A vehicle whose positions are stored and then handled, as the wiring does it."""

    def __init__(self, pool: Pool, key: int, run: str | None = None) -> None:
        self.pool, self.key, self.run = pool, key, run
        self.detections: list[Detection] = []
        self.restart()

    def restart(self) -> None:
        async def take(found: Sequence[Detection], _: int) -> None:
            self.detections += found

        self.service = TripService(
            PostgresTripStore(self.pool), lambda key: Device(key, "MT-01", "vehicle", run=self.run), west_or_east,
            lambda kind, place: [Duty(f"{place.town}/urban-management", "lead", kind, {})], take, now_us, SHANGHAI,
        )  # fmt: skip

    async def send(self, rows: Sequence[tuple[int, float, str, str]]) -> None:
        async with self.pool.connection() as conn:
            for time_us, lon, bed, cover in rows:
                await conn.execute(
                    "INSERT INTO position (time, device, lon, lat, speed_kmh, bed, cover, seq, late)"
                    " VALUES (%s, %s, %s, 23.0, 37, %s, %s, -1, false) ON CONFLICT DO NOTHING",
                    [from_us(time_us), self.key, lon, bed, cover],
                )
        await self.service.handle(block(positions=tuple(
            Position(self.key, t, -1, t, False, lon, 23.0, 37.0, None, bed, cover) for t, lon, bed, cover in rows
        )))  # fmt: skip


async def rows(pool: Pool, query: str) -> list[tuple[Any, ...]]:
    async with pool.connection() as conn:
        return list(await (await conn.execute(query.encode())).fetchall())


async def truck(pool: Pool, run: str | None = None) -> Truck:
    async with pool.connection() as conn:
        [key] = await upsert_devices(conn, [DeviceRow(id="MT-01", kind="vehicle", run=run)])
    return Truck(pool, key, run)


LEGS = "SELECT number, code FROM trip_leg WHERE level = 'town' ORDER BY number"
PARTS = "SELECT body ->> 'town', jsonb_array_length(body -> 'violations') FROM case_step ORDER BY id"


async def test_a_trip_over_a_border_is_two_legs_one_handover_and_one_prepared_case(pool: Pool) -> None:
    mt01 = await truck(pool)
    sent = way(now_us())
    for start in range(0, len(sent), 6):
        await mt01.send(sent[start : start + 6])
        if start == 24:
            mt01.restart()
    await mt01.send(sent[-6:])
    assert await rows(pool, LEGS) == [(1, MACHONG), (2, WANJIANG)]
    assert await rows(pool, "SELECT state, ended_because, towns FROM trip") == [
        ("ended", "emptied", [MACHONG, WANJIANG])
    ]
    assert await rows(pool, "SELECT seq, change, left_town, entered_town FROM handover") == [
        (1, "crossed", MACHONG, WANJIANG)
    ]
    assert await rows(pool, "SELECT stage, body ->> 'level' FROM case_file") == [("prepared", "city")]
    assert await rows(pool, PARTS) == [(MACHONG, 0), (WANJIANG, 1)]
    assert (await rows(pool, "SELECT case_id FROM trip")) == (await rows(pool, "SELECT id FROM case_file"))
    assert mt01.detections == []


async def test_a_late_open_cover_changes_the_prepared_case_and_none_that_people_work_on(pool: Pool) -> None:
    mt01 = await truck(pool)
    sent = way(now_us())
    held = [row for row in sent if row[3] == "open"]
    await mt01.send([row for row in sent if row not in held])
    assert await rows(pool, PARTS) == [(MACHONG, 0), (WANJIANG, 0)]
    await mt01.send(held[:6])
    assert await rows(pool, PARTS) == [(MACHONG, 0), (WANJIANG, 1)]
    async with pool.connection() as conn:
        await conn.execute("UPDATE case_file SET stage = 'accepted'")
        before = await rows(pool, "SELECT updated_at, body FROM case_file")
    await mt01.send(held)
    assert await rows(pool, "SELECT updated_at, body FROM case_file") == before
    assert len(await rows(pool, "SELECT id FROM trip")) == 1


async def test_sites_and_permits_come_back_as_written(pool: Pool) -> None:
    permit = Permit("P1", "MT-01", (MACHONG,), ((113.6, 23.0), (113.7, 23.0)), 150.0, (75_600, 21_600), 0, None)
    wanted = Permissions((TIP, LOAD), (permit,))
    async with pool.connection() as conn:
        await add_permissions(conn, wanted, generated=True)
        await add_permissions(conn, wanted, generated=True)
    assert await PostgresTripStore(pool).load_permissions() == wanted


async def test_an_exercise_leaves_nothing_when_it_is_purged(pool: Pool) -> None:
    mt01 = await truck(pool, "r1")
    await mt01.send(way(now_us()))
    async with pool.connection() as conn:
        await purge_run(conn, "r1")
    for table in ("trip", "trip_leg", "handover", "case_file", "case_step"):
        assert await rows(pool, f"SELECT * FROM {table}") == [], table


async def test_who_loses_and_who_gets_the_truck_are_told_live(house: House) -> None:
    mt01 = await truck(house.pool)
    async with house.live("machong") as machong, house.live() as city:
        for client in (machong, city):
            await client.send(type="subscribe", id="v", channel="vehicles")
            await client.send(type="ping")
            await client.until("pong")
        assert house.hub.handovers.newest == 0
        await mt01.send(way(now_us()))
        left, seen = await machong.until("handover"), await city.until("handover")
    assert (left["id"], left["seq"], left["vehicle"], left["yours"]) == ("v", 1, "MT-01", False)
    assert left["text"]["en"].startswith("MT-01 has left town 441900126")
    assert (seen["yours"], seen["entered"]["town"], seen["trip"] is not None) == (None, WANJIANG, True)
    whole = (await house.get("/api/v1/vehicles/MT-01/trips")).json()["items"]
    [mine] = (await house.get("/api/v1/vehicles/MT-01/trips", user="machong")).json()["items"]
    assert [leg["town"] for leg in whole[0]["legs"]] == [MACHONG, WANJIANG]
    assert [v["town"] for v in whole[0]["violations"]] == [WANJIANG]
    assert ([leg["town"] for leg in mine["legs"]], mine["violations"], mine["destination"]) == ([MACHONG], [], None)
    assert [h["seq"] for h in mine["handovers"]] == [1]
    # Who was away reads the same: all trips and hand-overs of the account's area.
    [told] = (await house.get("/api/v1/handovers", user="machong")).json()["items"]
    assert {name: told[name] for name in ("seq", "yours", "text")} == {
        name: left[name] for name in ("seq", "yours", "text")
    }
    assert (await house.get("/api/v1/trips")).json()["items"] == whole
    assert (await house.get("/api/v1/trips", user="machong")).json()["items"] == [mine]
    assert (await house.get("/api/v1/trips", state="under way")).json()["items"] == []
    assert (await house.get("/api/v1/handovers", exercise="r1")).json()["items"] == []


async def test_trips_are_listed_newest_first_and_in_pages(house: House) -> None:
    mt01 = await truck(house.pool)
    for hours in (5, 3, 1):
        await mt01.send(way(now_us() - hours * 3600 * S))
    first = (await house.get("/api/v1/vehicles/MT-01/trips", limit=2)).json()
    second = (await house.get("/api/v1/vehicles/MT-01/trips", limit=2, cursor=first["next"])).json()
    started = [trip["started_at"] for trip in (*first["items"], *second["items"])]
    assert len(started) == 3
    assert started == sorted(started, reverse=True)
    assert second["next"] is None


async def test_imported_sites_and_permits_are_what_trips_are_held_against(
    pool: Pool, database_url: str, tmp_path: Path
) -> None:
    sites, permits = tmp_path / "sites.csv", tmp_path / "permits.csv"
    sites.write_text(
        "id,kind,name,lon,lat,datum,radius_m\n"
        "S-1,load,工地,113.64,23.0,wgs84,300\nT-1,tip,消纳场,113.66,23.0,wgs84,300\nT-2,tip,x,113.66,23.0,,300\n"
    )
    permits.write_text("id,vehicle,towns,hours\nP-1,MT-01,441900126,00:00-23:59\n")

    async def bring(what: str, path: Path, *, dry_run: bool = False) -> TableReport:
        return await import_rows(database_url, what, path, dry_run=dry_run, strict=False, now_us=now_us())

    dry = await bring("sites", sites, dry_run=True)
    assert dry.lines() == ["sites: 2 rows, 1 bad (2 new, 0 changed, 0 the same); dry run, nothing written"]
    assert [str(problem) for problem in dry.table.problems] == [
        "line 4: datum: write one of wgs84, cgcs2000, gcj02, bd09; it is never guessed"
    ]
    assert await rows(pool, "SELECT id FROM works_site") == []
    for what, path in (("sites", sites), ("truck-permits", permits)):
        await bring(what, path)
        again = await bring(what, path)
        assert again.difference == (0, 0, again.table.count)
    loaded = await PostgresTripStore(pool).load_permissions()
    assert [(s.id, s.kind, s.radius_m) for s in loaded.sites] == [("S-1", "load", 300), ("T-1", "tip", 300)]
    assert [(p.vehicle, p.towns, p.hours) for p in loaded.permits] == [("MT-01", ("441900126",), (0, 86_340))]
    mine = await truck(pool)
    await mine.send(way(now_us() - 60 * S))
    [(body,)] = await rows(pool, "SELECT body FROM trip")
    assert body["origin"]["site"]["id"] == "S-1"
    assert body["destination"]["site"]["id"] == "T-1"
    assert "truck.route" in {violation["kind"] for violation in body["violations"]}  # Wanjiang is not permitted
    sites.write_text("id,kind,name,lon,lat,datum,radius_m\nT-1,tip,消纳场,113.661,23.0,wgs84,300\n")
    assert (await bring("sites", sites)).difference == (0, 1, 0)
