"""Incidents in PostgreSQL, within the transaction that writes their alerts. Refuses to decide anything but sums.

Lock order, as everywhere in alerting: alerts by id, incidents by id, then the cursor. What
an incident's state and condition are follows from its alerts as they stand in the
transaction: it closes when its last alert does, whoever closed that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import dict_row

from alerting.incidents.desk import IncidentWrite, StoredIncident
from domain.clock import from_us, iso, to_us

ASSOCIATION = "association"
RECENT = timedelta(hours=1)

LOCK = "SELECT id, version, state, condition, exercise FROM incident WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
BODIES = "SELECT id, body FROM incident WHERE id = ANY(%s)"
NEXT_CURSORS = "SELECT next_alert_cursor() FROM generate_series(1, %s)"
SUMS = """
SELECT incident_id, count(*) FILTER (WHERE state <> 'closed') AS open,
       count(*) FILTER (WHERE condition = 'active') AS active
FROM alert WHERE incident_id = ANY(%s) GROUP BY incident_id"""
UPSERT = """
INSERT INTO incident (id, kind, severity, state, condition, started_at, detected_at, updated_at, exercise, version,
                      cursor, places, body, memory)
VALUES (%(id)s, %(kind)s, %(severity)s, %(state)s, %(condition)s, %(started_at)s, %(detected_at)s, %(updated_at)s,
        %(exercise)s, %(version)s, %(cursor)s, %(places)s, %(body)s::jsonb, %(memory)s::jsonb)
ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, severity = excluded.severity, state = excluded.state,
    condition = excluded.condition, started_at = excluded.started_at, detected_at = excluded.detected_at,
    updated_at = excluded.updated_at, version = excluded.version, cursor = excluded.cursor,
    places = excluded.places, body = excluded.body,
    memory = CASE WHEN excluded.memory = '{}' THEN incident.memory ELSE excluded.memory END"""
APPEND = """
INSERT INTO incident_change (cursor, incident_id, version, change, actor, at, reason, exercise, body)
VALUES (%(cursor)s, %(id)s, %(version)s, %(change)s, %(actor)s, %(at)s, %(reason)s, %(exercise)s,
        %(body)s::jsonb)"""
SELECT_RECENT = """
SELECT id, exercise, memory, body FROM incident
WHERE memory <> '{}' AND body ->> 'merged_into' IS NULL AND (state = 'open' OR updated_at >= %s) ORDER BY id"""

COLUMNS = (
    "id", "kind", "severity", "state", "condition", "started_at", "detected_at", "updated_at", "exercise", "places",
)  # fmt: skip

Connection = AsyncConnection[Any]
Row = dict[str, Any]


async def lock_incidents(conn: Connection, ids: Iterable[str]) -> AsyncCursor[Row] | None:
    """Ask for the incidents there are of these ids, locked; ``locked`` reads the answer."""
    wanted = sorted(set(ids))
    return await conn.cursor(row_factory=dict_row).execute(LOCK, (wanted,)) if wanted else None


async def locked(answer: AsyncCursor[Row] | None) -> dict[str, Row]:
    """The incidents that ``lock_incidents`` asked for, by id. Bodies are read only when they are written."""
    return {row["id"]: row for row in await answer.fetchall()} if answer is not None else {}


async def write_incidents(
    conn: Connection, known: dict[str, Row], writes: Sequence[IncidentWrite], cursors: Sequence[int]
) -> None:
    """What association found, each change with its cursor; ``known`` follows."""
    bodies = await _bodies(conn, [write.id for write in writes if write.id in known])
    for write, cursor in zip(writes, cursors, strict=True):
        row = known.get(write.id)
        if row is None and write.change == "merged":
            continue  # purged meanwhile
        before = bodies.get(write.id) or {"state": "open", "condition": "active"}
        ended = {"state": "closed", "condition": "cleared", "updated_at": iso(write.at_us)}
        body = {**before, **write.body, **(ended if write.change == "merged" else {})}
        version = (row["version"] if row else 0) + 1
        known[write.id] = await _put(
            conn, body, version, cursor, write.change, ASSOCIATION, write.reason, from_us(write.at_us), write.memory
        )
        bodies[write.id] = body


async def sum_up(conn: Connection, known: dict[str, Row], ids: Iterable[str], actor: str, at: datetime) -> None:
    """State and condition of incidents by their alerts as they are now."""
    rows = {i: known[i] for i in sorted(set(ids)) if i in known}
    if not rows:
        return
    sums = {i: (o, a) for i, o, a in await (await conn.execute(SUMS, (list(rows),))).fetchall()}
    now: dict[str, tuple[str, str]] = {}
    for incident, row in rows.items():
        still_open, active = sums.get(incident, (1, 1))  # no alert yet: picks alone
        stands = ("open" if still_open else "closed"), ("active" if active else "cleared")
        if stands != (row["state"], row["condition"]):
            now[incident] = stands
    bodies = await _bodies(conn, now)
    for incident, (state, condition) in now.items():
        before, row = bodies[incident], rows[incident]
        if before.get("merged_into") is not None:
            continue
        change, reason = _word(row["state"], state, condition)
        [(cursor,)] = await (await conn.execute(NEXT_CURSORS, (1,))).fetchall()
        body = {**before, "state": state, "condition": condition, "updated_at": iso(to_us(at))}
        known[incident] = await _put(conn, body, row["version"] + 1, cursor, change, actor, reason, at, {})


async def _bodies(conn: Connection, ids: Iterable[str]) -> dict[str, Row]:
    wanted = list(ids)
    return dict(await (await conn.execute(BODIES, (wanted,))).fetchall()) if wanted else {}


async def read_recent(conn: Connection, now: datetime | None = None) -> list[StoredIncident]:
    """Open incidents and those of the last hour, to be taken up after a restart."""
    rows = await (await conn.execute(SELECT_RECENT, ((now or datetime.now(UTC)) - RECENT,))).fetchall()
    return [StoredIncident(*row) for row in rows]


def _word(before: str, state: str, condition: str) -> tuple[str, str]:
    if state == "closed":
        return "closed", "all its alerts are closed"
    if before == "closed":
        return "reopened", "an alert of it is open again"
    if condition == "cleared":
        return "cleared", "all its alerts have cleared"
    return "active", "an alert of it is active again"


async def _put(
    conn: Connection, body: Mapping[str, Any], version: int, cursor: int, change: str, actor: str, reason: str,
    at: datetime, memory: Mapping[str, Any],
) -> Row:  # fmt: skip
    """The row and its change; returns the row as ``lock_incidents`` gives it."""
    full = {**body, "version": version, "cursor": cursor}
    text = msgspec.json.encode(full).decode()
    await conn.execute(UPSERT, {
        **{name: full[name] for name in COLUMNS},
        "version": version, "cursor": cursor, "body": text, "memory": msgspec.json.encode(memory).decode(),
    })  # fmt: skip
    await conn.execute(APPEND, {
        "cursor": cursor, "id": full["id"], "version": version, "change": change, "actor": actor, "at": at,
        "reason": reason, "exercise": full["exercise"], "body": text,
    })  # fmt: skip
    return {
        "id": full["id"], "version": version, "state": full["state"], "condition": full["condition"],
        "exercise": full["exercise"],
    }  # fmt: skip


