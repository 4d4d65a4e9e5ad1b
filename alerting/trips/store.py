"""Trips, hand-overs and prepared city cases in PostgreSQL. Refuses to decide anything.

A case is rewritten only while its stage is ``prepared``: once people work on it, late
points no longer change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import shapely
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from alerting.trips.permits import Permissions, Permit, Site
from alerting.trips.ports import CaseWrite, HandoverWrite, Row, StoredCrossing, StoredTrip, TripWrite
from db.pool import Pool, unavailable
from domain.clock import from_us, to_us

SELECT_SITES = """
SELECT id, kind, name, name_en, outline, lon, lat, radius_m, valid_from, valid_to FROM works_site ORDER BY id"""
SELECT_PERMITS = """
SELECT id, vehicle, towns, corridor, buffer_m, extract(epoch FROM hours_from)::int,
       extract(epoch FROM hours_to)::int, valid_from, valid_to
FROM truck_permit ORDER BY id"""
SELECT_TRIP_AT = """
SELECT id, started_at, newest_at, state, case_id FROM trip
WHERE device = %s AND started_at <= %s AND state <> 'withdrawn' ORDER BY started_at DESC LIMIT 1"""
SELECT_POSITIONS = """
SELECT time, lon, lat, speed_kmh, bed, cover FROM position
WHERE device = %s AND time >= %s ORDER BY time LIMIT %s"""
SELECT_TRIPS_SINCE = """
SELECT id, started_at, newest_at, state, case_id FROM trip
WHERE device = %s AND newest_at >= %s AND state <> 'withdrawn' ORDER BY started_at"""
SELECT_HANDOVERS_SINCE = """
SELECT change, left_town, entered_town, crossed_at, body FROM handover
WHERE device = %s AND crossed_at >= %s ORDER BY seq"""
INSERT_SITE = """
INSERT INTO works_site (id, kind, name, name_en, outline, lon, lat, radius_m, generated, valid_from, valid_to)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING"""
INSERT_PERMIT = """
INSERT INTO truck_permit (id, vehicle, towns, corridor, buffer_m, hours_from, hours_to, generated, valid_from,
                          valid_to)
VALUES (%s, %s, %s, %s, %s, time '00:00' + make_interval(secs => %s), time '00:00' + make_interval(secs => %s),
        %s, %s, %s) ON CONFLICT (id) DO NOTHING"""

UPSERT_TRIP = """
INSERT INTO trip (id, device, exercise, state, started_at, newest_at, ended_because, towns, case_id, updated_at,
                  body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, started_at = excluded.started_at,
    newest_at = excluded.newest_at, ended_because = excluded.ended_because, towns = excluded.towns,
    case_id = excluded.case_id, updated_at = excluded.updated_at, body = excluded.body"""
DELETE_LEGS = "DELETE FROM trip_leg WHERE trip_id = %s"
INSERT_LEG = """
INSERT INTO trip_leg (trip_id, level, number, code, started_at, ended_at, ended_because)
VALUES (%s, %s, %s, %s, %s, %s, %s)"""
UPSERT_CASE = """
INSERT INTO case_file (id, stage, opened_at, updated_at, body) VALUES (%s, 'prepared', %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET updated_at = excluded.updated_at, body = excluded.body
WHERE case_file.stage = 'prepared' RETURNING id"""
DELETE_PARTS = "DELETE FROM case_step WHERE case_id = %s AND step = 'part'"
INSERT_PART = """
INSERT INTO case_step (case_id, step, actor, at, reason, body) VALUES (%s, 'part', 'system', %s, %s, %s)"""
INSERT_HANDOVER = """
INSERT INTO handover (seq, device, trip_id, change, left_town, entered_town, crossed_at, at, exercise, body)
VALUES (next_handover_seq(), %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
NOTIFY = "SELECT pg_notify('handover', '')"
WITHDRAW = "UPDATE trip SET state = 'withdrawn', updated_at = %s WHERE id = ANY(%s)"
CANCEL_CASES = """
UPDATE case_file SET stage = 'cancelled', updated_at = %s WHERE id = ANY(%s) AND stage = 'prepared'"""

Connection = AsyncConnection[tuple[Any, ...]]


class PostgresTripStore:
    """``TripStore`` on a psycopg pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def load_permissions(self) -> Permissions:
        """All works sites and truck permits."""
        sites, permits = await self._rows(SELECT_SITES, []), await self._rows(SELECT_PERMITS, [])
        return Permissions(tuple(_site(row) for row in sites), tuple(_permit(row) for row in permits))

    async def trip_at(self, device: int, at_us: int) -> StoredTrip | None:
        """The newest trip of a vehicle that began at or before a time and was not withdrawn."""
        rows = await self._rows(SELECT_TRIP_AT, [device, from_us(at_us)])
        return _trip(rows[0]) if rows else None

    async def positions(self, device: int, from_us_: int, limit: int) -> list[Row]:
        """A vehicle's positions from a time on, by time, at most ``limit``."""
        rows = await self._rows(SELECT_POSITIONS, [device, from_us(from_us_), limit])
        return [(to_us(t), lon, lat, speed, bed, cover) for t, lon, lat, speed, bed, cover in rows]

    async def told(self, device: int, from_us_: int) -> tuple[list[StoredTrip], list[StoredCrossing]]:
        """The trips that reach beyond a time, and the hand-overs since it that still stand."""
        since = from_us(from_us_)
        trips = [_trip(row) for row in await self._rows(SELECT_TRIPS_SINCE, [device, since])]
        standing: dict[tuple[str | None, str | None, int], StoredCrossing] = {}
        for change, left, entered, at, body in await self._rows(SELECT_HANDOVERS_SINCE, [device, since]):
            key = (left, entered, to_us(at))
            if change == "crossed":
                standing[key] = StoredCrossing(*key, body)
            else:
                standing.pop(key, None)
        return trips, list(standing.values())

    async def write(self, trips: Sequence[TripWrite], handovers: Sequence[HandoverWrite], at_us: int) -> None:
        """All of it in one transaction; whoever waits for hand-overs is woken by the commit."""
        with unavailable("writing trips"):
            async with self._pool.connection() as conn, conn.transaction():
                for trip in trips:
                    await _write_trip(conn, trip, at_us)
                for h in handovers:
                    c = h.crossing
                    await conn.execute(INSERT_HANDOVER, [
                        h.device, h.trip_id, h.change, c.left, c.entered, from_us(c.at_us), from_us(at_us),
                        h.exercise, Jsonb(c.body),
                    ])  # fmt: skip
                if handovers:
                    await conn.execute(NOTIFY)

    async def withdraw(self, trips: Sequence[StoredTrip], at_us: int) -> None:
        """Late points disproved these trips; their prepared cases are cancelled."""
        cases = [trip.case_id for trip in trips if trip.case_id is not None]
        with unavailable("withdrawing trips"):
            async with self._pool.connection() as conn, conn.transaction():
                await conn.execute(WITHDRAW, [from_us(at_us), [trip.id for trip in trips]])
                await conn.execute(CANCEL_CASES, [from_us(at_us), cases])

    async def _rows(self, query: Any, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        with unavailable("reading trips"):
            async with self._pool.connection() as conn:
                return await (await conn.execute(query, parameters)).fetchall()


async def add_permissions(conn: Connection, permissions: Permissions, *, generated: bool) -> None:
    """Add sites and permits; those whose id is there already stay as they are."""
    async with conn.cursor() as cursor:
        await cursor.executemany(INSERT_SITE, [
            [s.id, s.kind, s.name["zh"], s.name["en"],
             None if s.outline is None else Jsonb(msgspec.json.decode(shapely.to_geojson(s.outline))),
             s.lon, s.lat, s.radius_m, generated, from_us(s.valid_from_us), _time(s.valid_to_us)]
            for s in permissions.sites
        ])  # fmt: skip
        await cursor.executemany(INSERT_PERMIT, [
            [p.id, p.vehicle, list(p.towns),
             Jsonb({"type": "LineString", "coordinates": p.corridor}) if p.corridor else None,
             p.buffer_m, *(p.hours or (None, None)), generated, from_us(p.valid_from_us), _time(p.valid_to_us)]
            for p in permissions.permits
        ])  # fmt: skip


def _time(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)


async def _write_trip(conn: Connection, trip: TripWrite, at_us: int) -> None:
    stored, at = trip.stored, from_us(at_us)
    if trip.case is not None:
        await _write_case(conn, trip.case, stored.from_us, at_us)
    await conn.execute(UPSERT_TRIP, [
        stored.id, trip.device, trip.exercise, stored.state, from_us(stored.from_us), from_us(stored.to_us),
        trip.because, list(trip.towns), stored.case_id, at, Jsonb(trip.body),
    ])  # fmt: skip
    await conn.execute(DELETE_LEGS, [stored.id])
    async with conn.cursor() as cursor:
        await cursor.executemany(INSERT_LEG, [
            [stored.id, leg.level, leg.number, leg.code, from_us(leg.from_us), from_us(leg.to_us), leg.because]
            for leg in trip.legs
        ])  # fmt: skip


async def _write_case(conn: Connection, case: CaseWrite, opened_us: int, at_us: int) -> None:
    given = [case.id, from_us(opened_us), from_us(at_us), Jsonb(case.body)]
    if await (await conn.execute(UPSERT_CASE, given)).fetchone() is None:
        return  # people work on it: it is theirs now
    await conn.execute(DELETE_PARTS, [case.id])
    async with conn.cursor() as cursor:
        await cursor.executemany(
            INSERT_PART, [[case.id, from_us(time_us), why, Jsonb(body)] for time_us, why, body in case.parts]
        )


def _trip(row: Sequence[Any]) -> StoredTrip:
    id_, started, newest, state, case_id = row
    return StoredTrip(id_, to_us(started), to_us(newest), state, case_id)


def _site(row: Sequence[Any]) -> Site:
    id_, kind, name, name_en, outline, lon, lat, radius_m, valid_from, valid_to = row
    shape = None if outline is None else shapely.from_geojson(msgspec.json.encode(outline))
    return Site(
        id_, kind, {"zh": name, "en": name_en or name}, shape, lon, lat, radius_m, to_us(valid_from),
        None if valid_to is None else to_us(valid_to),
    )  # fmt: skip


def _permit(row: Sequence[Any]) -> Permit:
    id_, vehicle, towns, corridor, buffer_m, hours_from, hours_to, valid_from, valid_to = row
    points = tuple((float(p[0]), float(p[1])) for p in corridor["coordinates"]) if corridor else ()
    return Permit(
        id_, vehicle, tuple(towns), points, buffer_m, None if hours_from is None else (hours_from, hours_to),
        to_us(valid_from), None if valid_to is None else to_us(valid_to),
    )  # fmt: skip
