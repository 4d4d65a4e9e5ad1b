"""The duty tables in PostgreSQL: read whole for routing, written by batch for ``import``.

Rows come in and go out as the words of ``alerting/dispatch``; nothing is decided here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, LiteralString
from zoneinfo import ZoneInfo

from alerting.dispatch.batches import Batch, in_force
from alerting.dispatch.duties import Context, DutyRow
from alerting.dispatch.parties import Maintainer, Owner, Parties, Party, Permit
from alerting.dispatch.rota import Rota, Shift, Unit
from alerting.dispatch.windows import Calendar, Window, parse_window
from alerting.render import alert_of
from db.pool import Connection
from domain.alerts import Alert
from domain.clock import from_us, to_us

CHANNEL = "duty_changed"
NOTIFY = "SELECT pg_notify(%s, '')"
SELECT_DUTIES = """
SELECT kind, level, department, name, name_en, role, why, severity_min, place, valid_from, valid_to, matter,
       source, within_m, days, hours, batch
FROM duty ORDER BY id"""
SELECT_DUTY_FILE = """
SELECT kind, matter, severity_min, place, level, department, source, role, name, name_en, why, days, hours,
       valid_from, valid_to, within_m
FROM duty WHERE batch = %s ORDER BY id"""
SELECT_BATCHES = "SELECT name, starts_at, replaces, note FROM duty_batch ORDER BY starts_at, name"
SELECT_STAMP = "SELECT changes FROM duty_stamp"
SELECT_HOLIDAYS = "SELECT day, kind FROM holiday"
SELECT_OWNERS = "SELECT building, unit, name, name_en FROM building_owner"
SELECT_MAINTAINERS = "SELECT device, kind, place, unit, name, name_en FROM maintainer"
SELECT_PERMITS = "SELECT id, unit, name, name_en, lon, lat, radius_m, valid_from, valid_to FROM works_permit"
SELECT_UNITS = "SELECT id, name, name_en, desk, contact FROM unit"
SELECT_ROTA = "SELECT unit, person, contact, instead_of, days, hours, valid_from, valid_to FROM rota ORDER BY id"

PUT_BATCH = """
INSERT INTO duty_batch (name, starts_at, replaces, note, sha256) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (name) DO UPDATE SET starts_at = excluded.starts_at, replaces = excluded.replaces,
    note = excluded.note, sha256 = excluded.sha256, imported_at = now()"""
DELETE_BATCH = "DELETE FROM duty WHERE batch = %s"
COPY_DUTIES = """
COPY duty (kind, level, department, name, name_en, role, why, severity_min, place, valid_from, valid_to, matter,
           source, within_m, days, hours, batch) FROM STDIN"""
SELECT_ALERTS = """
SELECT rule, device, episode, body FROM alert
WHERE started_at >= %s AND started_at < %s AND exercise IS NULL ORDER BY started_at DESC, id DESC LIMIT %s"""

PUT: Mapping[str, LiteralString] = {
    "matters": """
INSERT INTO matter (code, name, name_en, standard, class, department) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (code) DO UPDATE SET name = excluded.name, name_en = excluded.name_en, standard = excluded.standard,
    class = excluded.class, department = excluded.department""",
    "units": """
INSERT INTO unit (id, name, name_en, desk, contact) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, name_en = excluded.name_en, desk = excluded.desk,
    contact = excluded.contact""",
    "rota": """
INSERT INTO rota (unit, person, contact, instead_of, days, hours, valid_from, valid_to)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
    "holidays": """
INSERT INTO holiday (day, kind, name) VALUES (%s, %s, %s)
ON CONFLICT (day) DO UPDATE SET kind = excluded.kind, name = excluded.name""",
    "owners": """
INSERT INTO building_owner (building, unit, name, name_en) VALUES (%s, %s, %s, %s)
ON CONFLICT (building) DO UPDATE SET unit = excluded.unit, name = excluded.name, name_en = excluded.name_en""",
    "maintainers": """
INSERT INTO maintainer (device, kind, place, unit, name, name_en) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (device, kind, place) DO UPDATE SET unit = excluded.unit, name = excluded.name,
    name_en = excluded.name_en""",
    "permits": """
INSERT INTO works_permit (id, name, name_en, unit, lon, lat, radius_m, valid_from, valid_to)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, name_en = excluded.name_en, unit = excluded.unit,
    lon = excluded.lon, lat = excluded.lat, radius_m = excluded.radius_m, valid_from = excluded.valid_from,
    valid_to = excluded.valid_to""",
    "sites": """
INSERT INTO works_site (id, kind, name, name_en, outline, lon, lat, radius_m, valid_from, valid_to)
VALUES (%s, %s, %s, %s, %s::jsonb, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, name = excluded.name, name_en = excluded.name_en,
    outline = excluded.outline, lon = excluded.lon, lat = excluded.lat, radius_m = excluded.radius_m,
    generated = false, valid_from = excluded.valid_from, valid_to = excluded.valid_to""",
    "truck-permits": """
INSERT INTO truck_permit (id, vehicle, towns, corridor, buffer_m, hours_from, hours_to, valid_from, valid_to)
VALUES (%s, %s, %s, %s::jsonb, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET vehicle = excluded.vehicle, towns = excluded.towns, corridor = excluded.corridor,
    buffer_m = excluded.buffer_m, hours_from = excluded.hours_from, hours_to = excluded.hours_to,
    generated = false, valid_from = excluded.valid_from, valid_to = excluded.valid_to""",
}
"""How one row of each kind of table is written; the same row again changes nothing."""

SELECT_THERE: Mapping[str, LiteralString] = {
    "matters": "SELECT code, name, name_en, standard, class, department FROM matter",
    "rules": "SELECT id, detector, kind, enabled, settings FROM rule",
    "units": SELECT_UNITS,
    "rota": "SELECT unit, person, contact, instead_of, days, hours, valid_from, valid_to FROM rota",
    "holidays": "SELECT day, kind, name FROM holiday",
    "owners": SELECT_OWNERS,
    "maintainers": SELECT_MAINTAINERS,
    "permits": "SELECT id, name, name_en, unit, lon, lat, radius_m, valid_from, valid_to FROM works_permit",
    "sites": "SELECT id, kind, name, name_en, outline, lon, lat, radius_m, valid_from, valid_to FROM works_site",
    "truck-permits": """
SELECT id, vehicle, towns, corridor, buffer_m, hours_from, hours_to, valid_from, valid_to FROM truck_permit""",
}
"""What is there, in the columns of ``PUT``; JSON comes as objects."""

JSON_COLUMN = {"rules": 4, "sites": 4, "truck-permits": 3}
KEY_COLUMNS = {"maintainers": 3, "rota": 8}

CLEAR_ROTA = "DELETE FROM rota WHERE unit = ANY(%s)"


async def read_duties(conn: Connection) -> tuple[list[DutyRow], list[Batch]]:
    """Rows as the table has them and their batches; ``in_force`` joins the two."""
    found = await (await conn.execute(SELECT_DUTIES)).fetchall()
    batches = await (await conn.execute(SELECT_BATCHES)).fetchall()
    rows = await asyncio.to_thread(_duty_rows, found)  # hundreds of thousands must not stop the event loop
    return rows, [Batch(name, to_us(starts), tuple(replaces), note) for name, starts, replaces, note in batches]


async def read_in_force(conn: Connection) -> list[DutyRow]:
    """Duty rows with the validity that follows from their batches."""
    rows, batches = await read_duties(conn)
    return await asyncio.to_thread(in_force, rows, batches)


async def read_stamp(conn: Connection) -> str:
    """Changes whenever a table of this module is written to."""
    row = await (await conn.execute(SELECT_STAMP)).fetchone()
    return str(row[0]) if row else ""


def _duty_rows(found: Sequence[Sequence[Any]]) -> list[DutyRow]:
    windows: dict[tuple[str, str], Window] = {}
    rows = []
    for row in found:
        valid_from, valid_to, matter, source, within_m, days, hours, batch = row[9:]
        until = None if valid_to is None else to_us(valid_to)
        window = windows.get((days, hours))
        if window is None:
            window = windows[days, hours] = parse_window(days, hours)
        words = [*row[:9], to_us(valid_from), until, matter, source, within_m, window, batch]
        rows.append(DutyRow(*words))
    return rows


async def read_context(conn: Connection, zone: ZoneInfo) -> tuple[Context, Rota]:
    """The calendar, owners, maintainers and permits; and who is on duty."""

    async def rows(query: LiteralString) -> Sequence[tuple[Any, ...]]:
        return await (await conn.execute(query)).fetchall()

    calendar = Calendar(zone, {day: kind == "workday" for day, kind in await rows(SELECT_HOLIDAYS)})
    parties = Parties.build(
        [Owner(building, Party(*party)) for building, *party in await rows(SELECT_OWNERS)],
        [Maintainer(Party(*row[3:]), *row[:3]) for row in await rows(SELECT_MAINTAINERS)],
        [_permit(row) for row in await rows(SELECT_PERMITS)],
    )
    shifts = [
        Shift(*[*row[:4], parse_window(row[4], row[5]), to_us(row[6]), None if row[7] is None else to_us(row[7])])
        for row in await rows(SELECT_ROTA)
    ]
    units = [Unit(*row) for row in await rows(SELECT_UNITS)]
    return Context(calendar, parties), Rota.build(units, shifts, calendar)


def _permit(row: Sequence[Any]) -> Permit:
    id, unit, name, name_en, lon, lat, radius_m, start, end = row
    return Permit(id, Party(unit, name, name_en), lon, lat, radius_m, to_us(start), to_us(end))


async def put_batch(
    conn: Connection, batch: Batch, rows: Sequence[tuple[DutyRow, str, str]], sha256: str
) -> None:
    """Write a batch in place of what it was, and wake the servers; ``rows`` carry days and hours as written."""
    put = [batch.name, from_us(batch.starts_us), list(batch.replaces), batch.note, sha256]
    async with conn.transaction():
        await conn.execute(PUT_BATCH, put)
        await conn.execute(DELETE_BATCH, [batch.name])
        async with conn.cursor() as cursor, cursor.copy(COPY_DUTIES) as copy:
            for row, days, hours in rows:
                until = None if row.valid_to_us is None else from_us(row.valid_to_us)
                await copy.write_row(
                    (row.kind, row.level, row.department, row.name, row.name_en, row.role, row.why,
                     row.severity_min, row.place, from_us(row.valid_from_us), until, row.matter, row.source,
                     row.within_m, days, hours, batch.name)
                )  # fmt: skip
        await conn.execute(NOTIFY, [CHANNEL])


async def put_rows(conn: Connection, what: str, rows: Sequence[Sequence[Any]]) -> None:
    """Write the rows of one of ``PUT``'s tables, and wake the servers; a rota replaces that of its units."""
    async with conn.transaction(), conn.cursor() as cursor:
        if what == "rota":
            await cursor.execute(CLEAR_ROTA, [sorted({row[0] for row in rows})])
        await cursor.executemany(PUT[what], rows)
        await cursor.execute(NOTIFY, [CHANNEL])


async def compare_rows(conn: Connection, what: str, rows: Sequence[Sequence[Any]]) -> tuple[int, int, int]:
    """How many of a table's rows would be new, changed, and the same."""
    width, json_at = KEY_COLUMNS.get(what, 1), JSON_COLUMN.get(what)
    there = {tuple(row[:width]): tuple(row) for row in await (await conn.execute(SELECT_THERE[what])).fetchall()}
    new = changed = 0
    for row in rows:
        ours = list(row)
        if json_at is not None and ours[json_at] is not None:
            ours[json_at] = json.loads(ours[json_at])
        known = there.get(tuple(ours[:width]))
        new += known is None
        changed += known is not None and known != tuple(ours)
    return new, changed, len(rows) - new - changed


async def read_alerts(conn: Connection, from_at_us: int, to_at_us: int, limit: int) -> list[Alert]:
    """Real alerts begun in ``[from, to)``, newest first."""
    found = await (await conn.execute(SELECT_ALERTS, [from_us(from_at_us), from_us(to_at_us), limit])).fetchall()
    return [alert_of(body, rule, device, to_us(episode)) for rule, device, episode, body in found]
