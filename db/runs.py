"""Exercises: the runs of ``simulate`` and ``replay``, and the removal of all they left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from db.pool import Connection

UPSERT = """
INSERT INTO run (id) SELECT unnest(%s::text[])
ON CONFLICT (id) DO UPDATE SET newest_at = now()
"""

SELECT = """
SELECT run.id, run.started_at, run.newest_at,
       (SELECT count(*) FROM device WHERE device.run = run.id) AS devices,
       (SELECT count(*) FROM alert WHERE alert.exercise = run.id) AS alerts,
       (SELECT count(*) FROM quarantine WHERE quarantine.run = run.id) AS quarantined
FROM run ORDER BY run.started_at DESC, run.id
"""

KEYS = "SELECT key FROM device WHERE run = %s"

BY_DEVICE = ("reading", "waveform", "position", "device_status", "camera_event", "ledger_minute", "seq_gap",
             "seq_count", "reading_1m", "reading_1h", "rollup_dirty", "series")
# Nobody rolls up meanwhile: what is removed here would come back.
HOLD_ROLLUPS = "SELECT 1 FROM rollup_progress FOR UPDATE"

COUNTS = """
SELECT coalesce(sum(stored), 0), coalesce(sum(duplicate), 0), coalesce(sum(quarantined), 0)
FROM ledger_minute WHERE device IN (SELECT key FROM device WHERE coalesce(run, '') = %s)
"""


async def touch_runs(conn: Connection, runs: Sequence[str]) -> None:
    """Note that these runs sent something now."""
    await conn.execute(UPSERT, [sorted(runs)])


async def list_runs(conn: Connection) -> list[tuple[Any, ...]]:
    """Rows of (id, started_at, newest_at, devices, alerts, quarantined), newest first."""
    return await (await conn.execute(SELECT)).fetchall()


async def purge_run(conn: Connection, run: str) -> dict[str, int]:
    """Remove a run and all it left, in one transaction; returns table → rows removed."""
    removed: dict[str, int] = {}
    async with conn.transaction():
        await conn.execute(HOLD_ROLLUPS)
        keys = [row[0] for row in await (await conn.execute(KEYS, [run])).fetchall()]
        for table in BY_DEVICE:
            cursor = await conn.execute(f"DELETE FROM {table} WHERE device = ANY(%s)".encode(), [keys])
            removed[table] = cursor.rowcount
        statements = {
            "handover": "DELETE FROM handover WHERE exercise = %s",
            "case_step": "DELETE FROM case_step WHERE case_id IN (SELECT case_id FROM trip WHERE exercise = %s)",
            "trip": "DELETE FROM trip WHERE exercise = %s",
            "case_file": "DELETE FROM case_file WHERE body ->> 'exercise' = %s",
            "alert_change": "DELETE FROM alert_change WHERE exercise = %s",
            "alert": "DELETE FROM alert WHERE exercise = %s",
            "incident_change": "DELETE FROM incident_change WHERE exercise = %s",
            "incident": "DELETE FROM incident WHERE exercise = %s",
            "quarantine": "DELETE FROM quarantine WHERE run = %s",
            "device": "DELETE FROM device WHERE run = %s",
            "run": "DELETE FROM run WHERE id = %s",
        }
        for table, statement in statements.items():
            removed[table] = (await conn.execute(statement.encode(), [run])).rowcount
        await conn.execute("SELECT pg_notify('device_changed', '')")
    return removed


async def run_counts(conn: Connection, run: str | None) -> tuple[int, int, int]:
    """Messages (stored, duplicate, quarantined) of a run's devices; ``None`` = the real devices."""
    row = await (await conn.execute(COUNTS, [run or ""])).fetchone()
    assert row is not None
    return int(row[0]), int(row[1]), int(row[2])
