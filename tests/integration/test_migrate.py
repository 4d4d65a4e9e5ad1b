from __future__ import annotations

import psycopg
import pytest

from db.migrate import migrate, read_migrations
from db.pool import Pool
from domain.errors import DatabaseUnavailable, SchemaError

pytestmark = pytest.mark.stack

CONTRACT_TABLES = {
    "reading", "waveform", "position", "device_status", "device", "camera", "alert", "alert_change", "incident",
    "case_file", "case_step", "region", "grid_cell", "address", "duty", "matter", "rule", "quarantine",
    "ledger_minute", "app_user", "audit",
}  # fmt: skip


def test_a_second_run_does_nothing(database_url: str) -> None:
    assert migrate(database_url) == []


async def test_all_tables_of_the_contract_are_there(pool: Pool) -> None:
    async with pool.connection() as conn:
        cursor = await conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = {row[0] for row in await cursor.fetchall()}
        cursor = await conn.execute("SELECT hypertable_name FROM timescaledb_information.hypertables")
        hypertables = {row[0] for row in await cursor.fetchall()}
    assert tables >= CONTRACT_TABLES
    assert hypertables == {"reading", "waveform", "position", "device_status", "reading_1m", "reading_1h"}


def test_a_changed_migration_is_refused(database_url: str) -> None:
    name = read_migrations()[0].name
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("UPDATE schema_migration SET sha256 = 'other' WHERE name = %s", [name])
    with pytest.raises(SchemaError, match=f"{name} was changed"):
        migrate(database_url)


def test_a_newer_database_is_refused(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO schema_migration (name, sha256) VALUES ('9999_future', 'x')")
    with pytest.raises(SchemaError, match="newer than this program"):
        migrate(database_url)


def test_no_database_is_said_plainly() -> None:
    with pytest.raises(DatabaseUnavailable, match="connecting to the database"):
        migrate("postgresql://nobody@127.0.0.1:1/none")
