"""Rules in PostgreSQL: read, written with a version, and their history.

The table's triggers count versions, keep every version whole in ``rule_version`` and
wake the servers, whoever writes (migration 0008). A removed rule stays as a row
marked ``deleted``, so that its alerts and its history keep a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString

import msgspec

from db.pool import Connection
from domain.errors import NotFound, VersionConflict

CHANNEL = "rule_changed"

COLUMNS: LiteralString = (
    "id, detector, kind, version, enabled, settings, applies_to, valid_from, valid_to, deleted, note, "
    "updated_at, updated_by"
)
NAMES = tuple(COLUMNS.split(", "))
SELECT_RULES: LiteralString = f"SELECT {COLUMNS} FROM rule ORDER BY id"
LOCK_RULE: LiteralString = f"SELECT {COLUMNS} FROM rule WHERE id = %s FOR UPDATE"
SELECT_STAMP = "SELECT count(*), coalesce(sum(version), 0), coalesce(max(updated_at)::text, '') FROM rule"
PUT: LiteralString = f"""
INSERT INTO rule (id, detector, kind, enabled, settings, applies_to, valid_from, valid_to, note, updated_by)
VALUES (%(id)s, %(detector)s, %(kind)s, %(enabled)s, %(settings)s::jsonb, %(applies_to)s::jsonb, %(valid_from)s,
        %(valid_to)s, %(note)s, %(actor)s)
ON CONFLICT (id) DO UPDATE SET detector = excluded.detector, kind = excluded.kind, enabled = excluded.enabled,
    settings = excluded.settings, applies_to = excluded.applies_to, valid_from = excluded.valid_from,
    valid_to = excluded.valid_to, note = excluded.note, updated_by = excluded.updated_by, deleted = false
RETURNING {COLUMNS}"""
DELETE = """
UPDATE rule SET deleted = true, enabled = false, note = %(note)s, updated_by = %(actor)s WHERE id = %(id)s"""
SELECT_VERSIONS = """
SELECT version, at, actor, note, body FROM rule_version WHERE rule = %s ORDER BY version DESC LIMIT %s"""
SELECT_METRICS = "SELECT key, name FROM metric"
AUDIT = "INSERT INTO audit (actor, action, target, body) VALUES (%s, %s, %s, %s::jsonb)"

Row = dict[str, Any]


async def read_rows(conn: Connection) -> list[Row]:
    """All rules, the removed ones too, by id."""
    rows = await (await conn.execute(SELECT_RULES)).fetchall()
    return [_named(row) for row in rows]


async def read_stamp(conn: Connection) -> str:
    """Changes whenever a rule has changed."""
    row = await (await conn.execute(SELECT_STAMP)).fetchone()
    return repr(row)


async def read_metrics(conn: Connection) -> dict[str, int]:
    """Keys of all metrics that any device has sent, by name."""
    return {str(name): int(key) for key, name in await (await conn.execute(SELECT_METRICS)).fetchall()}


async def lock_row(conn: Connection, rule_id: str) -> Row | None:
    """One rule, held until the transaction ends; None when there never was one."""
    row = await (await conn.execute(LOCK_RULE, [rule_id])).fetchone()
    return None if row is None else _named(row)


async def put_row(conn: Connection, row: Mapping[str, Any], actor: str, note: str) -> Row | None:
    """Write a rule of ``alerting.rules.FIELDS``; the row as it is then, None when that changes nothing."""
    given = {
        "settings": _json(row["settings"]), "applies_to": _json(row.get("applies_to") or {}),
        "valid_from": _time(row.get("valid_from")), "valid_to": _time(row.get("valid_to")),
        "id": row["id"], "detector": row["detector"], "kind": row["kind"],
        "enabled": bool(row.get("enabled", True)), "note": note, "actor": actor,
    }  # fmt: skip
    written = await (await conn.execute(PUT, given)).fetchone()
    if written is None:
        return None
    named = _named(written)
    await _audit(conn, actor, "rule.put", named)
    return named


async def delete_row(conn: Connection, rule_id: str, version: int | None, actor: str, note: str) -> None:
    """Remove a rule. Raises NotFound, VersionConflict."""
    row = await lock_row(conn, rule_id)
    check_version(rule_id, row, version)
    await conn.execute(DELETE, {"id": rule_id, "actor": actor, "note": note})
    await _audit(conn, actor, "rule.delete", {"id": rule_id, "note": note})


def check_version(rule_id: str, row: Row | None, version: int | None) -> None:
    """``version``: the one that was read, None = does not matter. Raises NotFound, VersionConflict."""
    if row is None or row["deleted"]:
        raise NotFound(f"there is no rule {rule_id!r}; GET /api/v1/rules lists them")
    if version is not None and row["version"] != version:
        raise VersionConflict(
            f"rule {rule_id} is at version {row['version']}, you have read {version}: look again, then decide",
            shown(row),
        )


async def read_versions(conn: Connection, rule_id: str, limit: int) -> list[Row]:
    """What the rule was, newest first: version, at, actor, note and the whole row as ``body``."""
    rows = await (await conn.execute(SELECT_VERSIONS, [rule_id, limit])).fetchall()
    return [dict(zip(("version", "at", "actor", "note", "body"), row, strict=True)) for row in rows]


def shown(row: Row) -> Row:
    """A row as JSON values."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


async def _audit(conn: Connection, actor: str, action: str, row: Row) -> None:
    await conn.execute(AUDIT, [actor, action, row["id"], _json(shown(row))])


def _named(row: Sequence[Any]) -> Row:
    return {**dict(zip(NAMES, row, strict=True)), "changed_by": row[NAMES.index("updated_by")]}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _time(given: Any) -> Any:
    return given if isinstance(given, datetime) or not given else datetime.fromisoformat(str(given))
