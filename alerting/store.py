"""Alerts in PostgreSQL: each change is one row of ``alert_change`` and one NOTIFY.

Every writer takes row locks first (by id) and the cursor's transaction lock
second, so writers of several processes cannot deadlock, and cursors become
visible in order. A batch of detections is one transaction of a handful of
statements, whatever its size. Refuses to decide anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString
from zoneinfo import ZoneInfo

import msgspec
from psycopg import AsyncConnection, AsyncCursor

from alerting.default_rules import DEFAULT_RULES
from alerting.detectors.base import Rule
from alerting.dispatch.defaults import DEFAULT_DUTIES
from alerting.dispatch.duties import Context, DutyRow
from alerting.dispatch.matters import MATTERS
from alerting.dispatch.rota import Rota
from alerting.duty_store import read_context, read_in_force, read_stamp
from alerting.incidents.desk import IncidentWrite, StoredIncident
from alerting.incidents.store import lock_incidents, locked, read_recent, sum_up, write_incidents
from alerting.ports import Decide, Pair, Stale, Write
from alerting.render import alert_json, alert_of
from alerting.rule_store import read_rows
from alerting.rules import parse_rules
from db import locks
from db.pool import Pool, unavailable
from domain.alerts import Alert
from domain.clock import from_us, to_us
from domain.errors import NotFound

SEED_LOCK = "SELECT pg_advisory_xact_lock(%s)"
SEED_RULES = """
INSERT INTO rule (id, detector, kind, settings)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::jsonb[])
WHERE NOT EXISTS (SELECT 1 FROM rule)"""

SEED_DUTIES = """
INSERT INTO duty (kind, severity_min, level, department, name, name_en, role, place, why, source, within_m)
SELECT * FROM unnest(%s::text[], %s::int2[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                     %s::text[], %s::text[], %s::text[], %s::float8[])
WHERE NOT EXISTS (SELECT 1 FROM duty)"""
SEED_MATTERS = """
INSERT INTO matter (code, name, name_en, standard)
SELECT code, name, name_en, split_part(code, ':', 1) FROM unnest(%s::text[], %s::text[], %s::text[])
     AS given (code, name, name_en)
WHERE NOT EXISTS (SELECT 1 FROM matter)"""

ALERT_COLUMNS: LiteralString = "rule, device, episode, body"
SELECT_OPEN = f"""
SELECT {ALERT_COLUMNS} FROM alert WHERE state <> 'closed' OR condition = 'active' ORDER BY episode, id"""
SELECT_NEWEST = """
SELECT DISTINCT ON (a.rule, a.device) a.rule, a.device, a.episode, a.body
FROM alert a JOIN unnest(%s::text[], %s::int[]) AS p (rule, device) USING (rule, device)
ORDER BY a.rule, a.device, a.episode DESC"""
LOCK_VERSIONS = "SELECT id, version FROM alert WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
LOCK_ONE = f"SELECT {ALERT_COLUMNS} FROM alert WHERE id = %s FOR UPDATE"
NEXT_CURSORS = "SELECT next_alert_cursor() FROM generate_series(1, %s)"
# Bodies go as binary arrays: in a textual one psycopg escapes each quote of the JSON with a call.
INSERT_ALERTS = """
INSERT INTO alert (id, rule, device, episode, version, cursor, kind, severity, condition, state, shelved_until,
                   town, village, grid, exercise, incident_id, started_at, updated_at, body)
SELECT * FROM unnest(%s::text[], %s::text[], %s::int[], %s::timestamptz[], %s::int[], %s::bigint[], %s::text[],
                     %s::int2[], %s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::text[],
                     %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %b::text[]::jsonb[])
ON CONFLICT DO NOTHING RETURNING id"""
UPDATE_ALERTS = """
UPDATE alert a
SET version = n.version, cursor = n.cursor, severity = n.severity, condition = n.condition, state = n.state,
    shelved_until = n.shelved_until, town = n.town, village = n.village, grid = n.grid,
    incident_id = n.incident_id, updated_at = n.updated_at, body = n.body
FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::int2[], %s::text[], %s::text[], %s::timestamptz[],
            %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %b::text[]::jsonb[])
     AS n (id, version, cursor, severity, condition, state, shelved_until, town, village, grid, incident_id,
           updated_at, body)
WHERE a.id = n.id"""
INSERT_CHANGES = """
INSERT INTO alert_change (cursor, alert_id, version, change, actor, at, reason, exercise, body)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::int[], %s::text[], %s::text[], %s::timestamptz[], %s::text[],
                     %s::text[], %b::text[]::jsonb[])"""
NOTIFY = "SELECT pg_notify('alert_change', %s)"
DUE_SHELVES = "SELECT id FROM alert WHERE shelved_until <= %s AND state <> 'closed' ORDER BY id"

ENDING = ("cleared", "closed", "reopened")

Connection = AsyncConnection[tuple[Any, ...]]


class _Rollback(Exception):
    """Leaves the transaction without writing; never leaves this module."""

    def __init__(self, stale: Stale) -> None:
        super().__init__()
        self.stale = stale


def _json(body: dict[str, Any]) -> str:
    return msgspec.json.encode(body).decode()


def _time(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)


def _alert(row: Sequence[Any]) -> Alert:
    rule, device, episode, body = row
    return alert_of(body, rule, device, to_us(episode))


class PostgresAlertStore:
    """``AlertStore`` on a psycopg pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def load_rules(self) -> list[Rule]:
        """All rules, the defaults put in first when there are none; raises SettingsError."""
        columns = [[r["id"], r["detector"], r["kind"], _json(r["settings"])] for r in DEFAULT_RULES]
        with unavailable("reading rules"):
            async with self._pool.connection() as conn, conn.transaction():
                await conn.execute(SEED_LOCK, [locks.ALERT_DEFAULTS])
                await conn.execute(SEED_RULES, _columns(columns))
                rows = await read_rows(conn)
        return parse_rules([row for row in rows if not row["deleted"]])

    async def load_duties(self) -> list[DutyRow]:
        """All duty rows, the defaults (and our matters) put in first when there are none."""
        duties = [
            [d.kind, d.severity_min, d.level, d.department, d.name, d.name_en, d.role, d.place, d.why,
             d.source, d.within_m]
            for d in DEFAULT_DUTIES
        ]
        matters = {code: [code, name, name_en] for code, name, name_en in MATTERS.values()}
        with unavailable("reading duties"):
            async with self._pool.connection() as conn, conn.transaction():
                await conn.execute(SEED_LOCK, [locks.ALERT_DEFAULTS])
                await conn.execute(SEED_DUTIES, _columns(duties))
                await conn.execute(SEED_MATTERS, _columns(list(matters.values())))
                return await read_in_force(conn)

    async def duty_stamp(self) -> str:
        """Changes whenever what ``load_duties`` and ``load_duty_context`` read has changed."""
        with unavailable("reading duties"):
            async with self._pool.connection() as conn:
                return await read_stamp(conn)

    async def load_duty_context(self, zone: ZoneInfo) -> tuple[Context, Rota]:
        """What duty rows refer to: the calendar in the city's zone, whose things are, and who is on duty."""
        with unavailable("reading duties"):
            async with self._pool.connection() as conn:
                return await read_context(conn, zone)

    async def load_open(self) -> list[Alert]:
        """Alerts not closed, or closed with their condition still active; oldest episode first."""
        with unavailable("reading open alerts"):
            async with self._pool.connection() as conn:
                rows = await (await conn.execute(SELECT_OPEN)).fetchall()
        return [_alert(row) for row in rows]

    async def newest(self, pairs: Sequence[Pair]) -> dict[Pair, Alert]:
        """The newest alert of each pair that has one."""
        given = ([rule for rule, _ in pairs], [device for _, device in pairs])
        with unavailable("reading alerts"):
            async with self._pool.connection() as conn:
                rows = await (await conn.execute(SELECT_NEWEST, given)).fetchall()
        return {(row[0], row[1]): _alert(row) for row in rows}

    async def write(self, writes: Sequence[Write], incidents: Sequence[IncidentWrite] = ()) -> list[int] | Stale:
        """All changes in one transaction, in order; the alerts' cursors, or Stale and nothing written."""
        if not writes and not incidents:
            return []
        try:
            with unavailable("writing alerts"):
                async with self._pool.connection() as conn, conn.pipeline(), conn.transaction():
                    return await _write(conn, writes, incidents)
        except _Rollback as rollback:
            return rollback.stale

    async def act(self, alert_id: str, decide: Decide, actor: str, at_us: int) -> tuple[Alert, dict[str, Any]]:
        """Lock one alert, decide, write; the alert and its JSON as they stand. Raises NotFound."""
        with unavailable("writing an alert"):
            async with self._pool.connection() as conn, conn.transaction():
                row = await (await conn.execute(LOCK_ONE, (alert_id,))).fetchone()
                if row is None:
                    raise NotFound(f"no alert {alert_id}; list them with GET /api/v1/alerts")
                alert, body = _alert(row), row[3]
                change = decide(alert, body)
                if change is None:
                    return alert, body
                mine = [alert.incident_id] if alert.incident_id else []
                incidents = await locked(await lock_incidents(conn, mine))
                [cursor] = await _numbers(await _cursors(conn, 1))
                body = alert_json(change.alert, cursor)
                write = Write(change, actor, at_us)
                await conn.execute(UPDATE_ALERTS, _columns([_update_row(write, cursor, _json(body))]))
                await _append(conn, [(write, cursor, _json(body))])
                await sum_up(conn, incidents, incidents, actor, from_us(at_us))
                return change.alert, body

    async def load_incidents(self) -> list[StoredIncident]:
        """Incidents that are open or were until lately."""
        with unavailable("reading incidents"):
            async with self._pool.connection() as conn:
                return await read_recent(conn)

    async def due_shelves(self, now_us: int) -> list[str]:
        """Ids of alerts whose shelving is over."""
        with unavailable("reading shelved alerts"):
            async with self._pool.connection() as conn:
                rows = await (await conn.execute(DUE_SHELVES, (from_us(now_us),))).fetchall()
        return [row[0] for row in rows]


# ---------------------------------------------------------------- one transaction


async def _write(conn: Connection, writes: Sequence[Write], incidents: Sequence[IncidentWrite]) -> list[int]:
    """In a pipeline: a statement waits only for what the next one needs, so an alert takes three round trips."""
    first: dict[str, Alert] = {}
    for write in writes:
        first.setdefault(write.change.alert.id, write.change.alert)
    older_alerts = [alert for alert in first.values() if alert.version > 1]
    touched = {write.change.alert.incident_id for write in writes} - {None}
    versions = await conn.execute(LOCK_VERSIONS, ([a.id for a in older_alerts],)) if older_alerts else None
    lock = await lock_incidents(conn, [*(i.id for i in incidents), *(i for i in touched if i)])
    numbers = await _cursors(conn, len(incidents) + len(writes))
    if versions is not None:
        _check_versions(await versions.fetchall(), older_alerts)
    known = await locked(lock)
    cursors = await _numbers(numbers)
    await write_incidents(conn, known, incidents, cursors[: len(incidents)])
    cursors = cursors[len(incidents) :]
    rendered = [
        (write, cursor, _json(alert_json(write.change.alert, cursor)))
        for write, cursor in zip(writes, cursors, strict=True)
    ]
    last = {write.change.alert.id: (write, cursor, body) for write, cursor, body in rendered}
    fresh = [row for alert_id, row in last.items() if first[alert_id].version == 1]
    older = [row for alert_id, row in last.items() if first[alert_id].version > 1]
    if not rendered:
        await conn.execute(NOTIFY, ("",))
        return cursors
    inserted = await conn.execute(INSERT_ALERTS, _columns([_insert_row(*row) for row in fresh])) if fresh else None
    if older:
        await conn.execute(UPDATE_ALERTS, _columns([_update_row(*row) for row in older]))
    await _append(conn, rendered)
    if inserted is not None:
        _check_inserted(await inserted.fetchall(), [write.change.alert for write, _, _ in fresh])
    await sum_up(conn, known, _to_sum(writes, known), writes[-1].actor, from_us(writes[-1].at_us))
    return cursors


def _check_versions(rows: Sequence[Sequence[Any]], alerts: Sequence[Alert]) -> None:
    """Leave when an alert that exists already, and is locked now, is not as the writer thought."""
    stored = {row[0]: row[1] for row in rows}
    stale = [(a.rule, a.device) for a in alerts if stored.get(a.id) != a.version - 1]
    if stale:
        raise _Rollback(Stale(tuple(stale)))


def _check_inserted(rows: Sequence[Sequence[Any]], alerts: Sequence[Alert]) -> None:
    """Leave when an episode was there already: somebody else raised its alert."""
    made = {row[0] for row in rows}
    stale = [(a.rule, a.device) for a in alerts if a.id not in made]
    if stale:
        raise _Rollback(Stale(tuple(stale)))


async def _cursors(conn: Connection, count: int) -> AsyncCursor[tuple[Any, ...]]:
    """Ask for the next cursors; ``_numbers`` reads the answer."""
    return await conn.execute(NEXT_CURSORS, (count,))


async def _numbers(answer: AsyncCursor[tuple[Any, ...]]) -> list[int]:
    return [row[0] for row in await answer.fetchall()]


async def _append(conn: Connection, rows: list[tuple[Write, int, str]]) -> None:
    columns = [
        [cursor, w.change.alert.id, w.change.alert.version, w.change.change, w.actor, from_us(w.at_us),
         w.change.reason, w.change.alert.exercise, body]
        for w, cursor, body in rows
    ]  # fmt: skip
    await conn.execute(INSERT_CHANGES, _columns(columns))
    await conn.execute(NOTIFY, (str(rows[-1][1]),))


def _to_sum(writes: Sequence[Write], known: dict[str, dict[str, Any]]) -> set[str]:
    """Incidents whose state may differ after these writes: an alert of them ended, or they had ended."""
    ended = {w.change.alert.incident_id for w in writes if w.change.change in ENDING}
    quiet = {i for i, row in known.items() if (row["state"], row["condition"]) != ("open", "active")}
    return {i for i in ended if i} | quiet


def _insert_row(write: Write, cursor: int, body: str) -> list[Any]:
    a = write.change.alert
    return [
        a.id, a.rule, a.device, from_us(a.episode_us), a.version, cursor, a.kind, a.severity, a.condition, a.state,
        _time(a.shelved_until_us), a.place.town, a.place.village, a.place.grid, a.exercise, a.incident_id,
        from_us(a.started_us), from_us(a.updated_us), body,
    ]  # fmt: skip


def _update_row(write: Write, cursor: int, body: str) -> list[Any]:
    a = write.change.alert
    return [
        a.id, a.version, cursor, a.severity, a.condition, a.state, _time(a.shelved_until_us),
        a.place.town, a.place.village, a.place.grid, a.incident_id, from_us(a.updated_us), body,
    ]  # fmt: skip


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
