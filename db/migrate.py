"""Migrations: numbered SQL files, run once, in order, under one lock.

``migrations/NNNN_what.sql`` is never edited after it landed; the runner keeps a
checksum and refuses to go on when a file changed. A file whose first line is
``-- edition: timescale`` is run only where the community edition is, and again
looked at on the next start otherwise. Each file is one transaction.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from db import locks
from db.edition import SELECT_EDITION, Edition
from db.pool import CONNECT_TIMEOUT_S, unavailable
from domain.errors import SchemaError

MIGRATIONS = Path(__file__).parent / "migrations"
MINIMUM_TIMESCALE = (2, 14)

CREATE_LOG = """
CREATE TABLE IF NOT EXISTS schema_migration (
    name text PRIMARY KEY, sha256 text NOT NULL, ran_at timestamptz NOT NULL DEFAULT now()
)
"""
SELECT_LOG = "SELECT name, sha256 FROM schema_migration"
INSERT_LOG = "INSERT INTO schema_migration (name, sha256) VALUES (%s, %s)"
SELECT_EXTENSION = "SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name without ``.sql``, its text, and the edition it needs."""

    name: str
    sql: str
    edition: str | None

    @property
    def sha256(self) -> str:
        """Checksum of the text as it is now."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """All migrations in order, numbered from 0001 without a gap.

    What a gap would take in later had run before the numbers behind it on new databases, and after them on others.
    Raises: SchemaError when a name is odd, or a number is missing or there twice.
    """
    found = []
    for expected, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        if not re.fullmatch(rf"{expected:04}_[a-z0-9_]+", path.stem):
            raise SchemaError(f"{path.name}: expected a file named {expected:04}_what.sql here")
        sql = path.read_text(encoding="utf-8")
        first = re.match(r"-- edition: (\w+)\n", sql)
        found.append(Migration(path.stem, sql, first.group(1) if first else None))
    return found


def pending(all_of_them: list[Migration], ran: dict[str, str], edition: str) -> list[Migration]:
    """Which migrations have to run on a database that ran ``ran`` (name → checksum).

    Raises: SchemaError when one changed after it ran, or the database is newer.
    """
    known = {migration.name for migration in all_of_them}
    if unknown := sorted(set(ran) - known):
        raise SchemaError(f"the database has {unknown[-1]}: it is newer than this program, install a newer one")
    for migration in all_of_them:
        if ran.get(migration.name, migration.sha256) != migration.sha256:
            raise SchemaError(f"{migration.name} was changed after it ran; add a new migration instead")
    return [m for m in all_of_them if m.name not in ran and m.edition in (None, edition)]


def migrate(url: str) -> list[str]:
    """Bring the schema up to date; returns the names that ran. Idempotent.

    Raises: DatabaseUnavailable, SchemaError.
    """
    with (
        unavailable("connecting to the database to bring its schema up to date"),
        psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as conn,
    ):
        check_extension(conn)
        conn.execute("SELECT pg_advisory_lock(%s)", [locks.MIGRATIONS])
        conn.execute("SET client_min_messages TO warning")
        conn.execute(CREATE_LOG)
        ran = {str(name): str(sha256) for name, sha256 in conn.execute(SELECT_LOG)}
        conn.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        edition = Edition.of(conn.execute(SELECT_EDITION).fetchone())
        todo = pending(read_migrations(), ran, edition.license)
        for migration in todo:
            run_one(conn, migration)
        return [migration.name for migration in todo]


def run_one(conn: psycopg.Connection[tuple[Any, ...]], migration: Migration) -> None:
    """One migration in one transaction."""
    try:
        with conn.transaction():
            conn.execute(migration.sql.encode())
            conn.execute(INSERT_LOG, [migration.name, migration.sha256])
    except psycopg.Error as error:
        raise SchemaError(f"{migration.name} failed: {str(error).splitlines()[0]}") from error


def check_extension(conn: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Refuse a server without a TimescaleDB new enough for ``by_range``."""
    row = conn.execute(SELECT_EXTENSION).fetchone()
    if row is None:
        raise SchemaError(
            "this PostgreSQL has no TimescaleDB: install the timescaledb extension for its version, "
            "or leave GRIDPULSE_DATABASE_URL empty to use the embedded one"
        )
    version = tuple(int(part) for part in re.findall(r"\d+", str(row[0]))[:2])
    if version < MINIMUM_TIMESCALE:
        raise SchemaError(f"TimescaleDB {row[0]} is too old; Gridpulse needs 2.14 or newer")
