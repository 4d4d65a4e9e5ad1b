"""The private TimescaleDB: its settings, its start and its end.

Reached through a Unix socket in a closed folder, never over the network; nothing it
has told us is committed is left to chance (``fsync``, ``synchronous_commit`` and
``full_page_writes`` stay on). Refuses to run as root and to touch a data directory of
another major version.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psycopg

from domain.errors import EmbeddedError
from server.embedded.home import Home, forget_socket_folder, socket_folder, write_private
from server.embedded.privileges import RunAs, give, give_tree
from server.embedded.process import (
    Child,
    StopPlan,
    clean_environment,
    in_thread,
    log_tail,
    processes_at,
    stop_orphans,
)
from server.embedded.programs import PostgresPrograms

NAME = "gridpulse"

#: Fast shutdown first (ends sessions, writes a checkpoint), then an immediate one.
STOP_PLAN: StopPlan = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0))
#: What a server that was killed left behind: no hurry is worth a recovery, but no wait either.
_ORPHAN_PLAN: StopPlan = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0))

_ANSWER_S = 30.0
#: A database that says it is recovering may take long after a crash with much written.
_RECOVERY_S = 600.0

_HBA = "# Only through the socket, whose folder is closed to other accounts.\nlocal all all trust\n"


def settings_text(socket_dir: Path, *, lz4: bool, own: str = "") -> str:
    """``postgresql.conf``: name, value and why; ``own`` are a person's additions."""
    quoted = str(socket_dir).replace("'", "''")
    return f"""\
# Written by Gridpulse at each start. Own settings go into postgres.conf in the home: they are
# put at the end here, and the last one counts.

# Reach: the socket only; its folder admits one account.
listen_addresses = ''
port = 5432
unix_socket_directories = '{quoted}'
unix_socket_permissions = 0700
max_connections = 60

# Durability: a device forgets a message once we have acknowledged it.
fsync = on
synchronous_commit = on
full_page_writes = on
wal_compression = {"lz4" if lz4 else "on"}
max_wal_size = 2GB
checkpoint_timeout = 15min

# Memory: a small machine shared with the broker and the server itself.
shared_buffers = 256MB
effective_cache_size = 1GB
maintenance_work_mem = 128MB
work_mem = 16MB

# TimescaleDB. Its workers count among the worker processes.
shared_preload_libraries = 'timescaledb'
timescaledb.telemetry_level = off
timescaledb.max_background_workers = 4
max_worker_processes = 12

# Our queries are short: compiling them costs more than it saves.
jit = off
random_page_cost = 1.1

# UTC inside; people's zone is the program's business.
timezone = 'UTC'
log_timezone = 'UTC'
datestyle = 'iso, ymd'
lc_messages = 'C'

# The server's log, bounded by whoever started us.
log_destination = 'stderr'
logging_collector = off
log_checkpoints = off
log_line_prefix = '%m [%p] '

{own}"""


def database_url(socket_dir: Path, database: str = NAME) -> str:
    """The address of the private database."""
    return f"postgresql://{NAME}@/{database}?host={quote(str(socket_dir), safe='/')}&port=5432"


def locale_options(major: int) -> list[list[str]]:
    """``initdb`` locale options, best first.

    From 17 on PostgreSQL brings its own C.UTF-8, so that the order of text never
    depends on the libc that the data were made with.
    """
    if major >= 17:
        return [["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]]
    return [["--locale=C.UTF-8"], ["--locale=C"]]


def data_major(home: Home) -> int | None:
    """The major version that made the home's data directory; None when there is none."""
    try:
        return int((home.postgres / "PG_VERSION").read_text().split(".")[0])
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EmbeddedError(f"{home.postgres} is not a database's folder: {error}; move it away") from error


class Postgres:
    """One running private database."""

    def __init__(self, home: Home, child: Child, socket_dir: Path) -> None:
        self.child = child
        self.url = database_url(socket_dir)
        self._home = home

    @classmethod
    async def start(cls, home: Home, programs: PostgresPrograms, run_as: RunAs) -> Postgres:
        """Bring the database of ``home`` up, made first if need be; ready when this returns."""
        await stop_orphans(home.postgres, "postgres", _ORPHAN_PLAN)
        if data_major(home) is None:
            await in_thread(_init, home, programs, run_as)
        await in_thread(give_tree, home.postgres, run_as)
        socket_dir = socket_folder(home, run_as)
        _forget_dead_owner(home.postgres)
        lz4 = await in_thread(_has_lz4, programs, run_as, home.postgres)
        settings = settings_text(socket_dir, lz4=lz4, own=_own_settings(home))
        write_private(home.postgres / "postgresql.conf", settings, run_as)
        write_private(home.postgres / "pg_hba.conf", _HBA, run_as)
        child = Child.start(
            "postgres",
            [str(programs.bin / "postgres"), "-D", str(home.postgres)],
            run_as=run_as,
            death_signal="INT",
            cwd=home.postgres,
            log=home.logs / "postgres.log",
        )
        started = cls(home, child, socket_dir)
        try:
            await started._ready(socket_dir)
        except BaseException:
            await started.stop()
            raise
        return started

    async def _ready(self, socket_dir: Path) -> None:
        await _answers(self.child, database_url(socket_dir, "postgres"))
        try:
            await _make_database(socket_dir)
        except psycopg.Error as error:
            raise EmbeddedError(
                f"cannot set up the private database: {error}; the end of {self.child.log} says: "
                f"{log_tail(self.child.log)}"
            ) from error

    async def stop(self) -> None:
        """End the database; nothing is left running when this returns."""
        await self.child.stop(STOP_PLAN)
        # After a SIGKILL the backends notice their postmaster's end by themselves.
        await stop_orphans(self._home.postgres, "postgres", ((signal.SIGQUIT, 5.0),))
        forget_socket_folder(self._home)


def _own_settings(home: Home) -> str:
    try:
        return (home.root / "postgres.conf").read_text()
    except FileNotFoundError:
        return ""


def _init(home: Home, programs: PostgresPrograms, run_as: RunAs) -> None:
    """Make the data directory, all or nothing: ``initdb`` beside it, then rename."""
    fresh = home.root / "postgres.new"
    shutil.rmtree(fresh, ignore_errors=True)
    if home.postgres.exists():
        if any(home.postgres.iterdir()):
            raise EmbeddedError(f"{home.postgres} is not a database's folder: move it away")
        home.postgres.rmdir()
    complaints = ""
    for locale in locale_options(programs.major):
        fresh.mkdir()
        give(fresh, run_as, 0o700)
        options = [f"--username={NAME}", "--auth=trust", "--encoding=UTF8", "--no-instructions", *locale]
        made = subprocess.run(
            run_as.command("KILL", str(programs.bin / "initdb"), "-D", str(fresh), *options),
            cwd=fresh,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if made.returncode == 0:
            fresh.rename(home.postgres)
            return
        complaints = " ".join((made.stderr or made.stdout).split())[-400:]
        shutil.rmtree(fresh, ignore_errors=True)
    raise EmbeddedError(f"cannot make the database in {home.root}: {complaints}")


def _has_lz4(programs: PostgresPrograms, run_as: RunAs, data: Path) -> bool:
    """Ask the program itself: a build without LZ4 refuses the setting."""
    asked = subprocess.run(
        run_as.command(
            "KILL", str(programs.bin / "postgres"), "-D", str(data), "-c", "wal_compression=lz4", "-C", "port"
        ),
        cwd="/",
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return asked.returncode == 0


def _forget_dead_owner(data: Path) -> None:
    """Remove ``postmaster.pid`` of a killed server.

    PostgreSQL looks only whether the process id is alive; after a restart of the
    machine or container it may be anybody's. We hold the home's lock and have just
    looked: nobody works in this folder.
    """
    if not processes_at(data, "postgres"):
        (data / "postmaster.pid").unlink(missing_ok=True)


async def _answers(child: Child, url: str) -> None:
    """Wait until the database takes connections."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _ANSWER_S
    last_word = "no answer"
    while loop.time() < deadline:
        if not child.running:
            raise EmbeddedError(f"the private database did not start: {child.obituary()}")
        try:
            connection = await psycopg.AsyncConnection.connect(url, connect_timeout=5)
        except psycopg.OperationalError as error:
            last_word = str(error).strip()
            if "starting up" in last_word or "recovery" in last_word:
                deadline = max(deadline, min(loop.time() + _ANSWER_S, deadline + _RECOVERY_S))
            await asyncio.sleep(0.03)
            continue
        await connection.close()
        return
    raise EmbeddedError(
        f"the private database does not answer ({last_word}); the end of {child.log} says: {log_tail(child.log)}"
    )


async def _make_database(socket_dir: Path) -> None:
    """The database and its extension, as far as they are missing."""
    async with await psycopg.AsyncConnection.connect(
        database_url(socket_dir, "postgres"), autocommit=True
    ) as connection:
        found = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (NAME,))
        if await found.fetchone() is None:
            await connection.execute(f"CREATE DATABASE {NAME}")
    if await _extension_is_old(socket_dir):
        # Must be the first command of its session, before the old version's library is loaded.
        async with await psycopg.AsyncConnection.connect(database_url(socket_dir), autocommit=True) as connection:
            await connection.execute("ALTER EXTENSION timescaledb UPDATE")


async def _extension_is_old(socket_dir: Path) -> bool:
    """Create the extension if it is missing; true when the program has a newer version of it."""
    async with await psycopg.AsyncConnection.connect(database_url(socket_dir), autocommit=True) as connection:
        cursor = await connection.execute(
            "SELECT installed_version, default_version FROM pg_available_extensions WHERE name = 'timescaledb'"
        )
        row = await cursor.fetchone()
        if row is None:
            raise EmbeddedError("this PostgreSQL has no TimescaleDB: install its package")
        if row[0] is None:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
            return False
        return bool(row[0] != row[1])
