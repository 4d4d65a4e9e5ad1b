"""Which postgres and which mosquitto to run: the machine's own first, else the private folder's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from domain.errors import EmbeddedError
from server.embedded import packages
from server.embedded.packages import PrivateFolder, Progress

#: Where packagers put PostgreSQL: (library folder, program folder, shared files), N the major.
_LAYOUTS = (
    ("usr/lib/postgresql/*/lib", "usr/share/postgresql/{major}"),
    ("usr/pgsql-*/lib", "usr/pgsql-{major}/share"),
)
TIMESCALE_MIN = (2, 14)
MOSQUITTO_MIN = (2, 0)


@dataclass(frozen=True)
class PostgresPrograms:
    """A PostgreSQL with TimescaleDB: the folder of its programs and its major version."""

    bin: Path
    major: int


@dataclass(frozen=True)
class Programs:
    """What will run; None where it was not asked for."""

    postgres: PostgresPrograms | None
    mosquitto: Path | None

    def folders(self) -> list[Path]:
        """The folders that the children's account must be able to enter."""
        found = [self.postgres.bin] if self.postgres else []
        return found + ([self.mosquitto.parent] if self.mosquitto else [])


def find(
    *,
    database: bool,
    broker: bool,
    major: int | None,
    caches: Iterable[Path],
    usable: Callable[[Path], bool],
    progress: Progress,
    cancelled: threading.Event,
) -> Programs:
    """Find what is asked for; blocking.

    ``major`` is what an existing data directory needs. ``caches`` are tried in order;
    ``usable(folder)`` says whether the children's account may enter one. Raises
    `EmbeddedError` with what to do.
    """
    root = Path("/")
    postgres = newest(postgres_in(root), major) if database else None
    mosquitto = mosquitto_on_machine() if broker else None
    if (postgres or not database) and (mosquitto or not broker):
        return Programs(postgres, mosquitto)
    try:
        private = _private_folder(caches, usable, progress, cancelled)
    except EmbeddedError as error:
        if postgres is None and major is not None:
            raise EmbeddedError(f"{_other_major(major)} ({error})") from error
        raise
    if database and postgres is None:
        postgres = newest(postgres_in(private.root), major)
        if postgres is None:
            raise EmbeddedError(_other_major(major))
    return Programs(postgres, mosquitto or (private.usr / "sbin/mosquitto" if broker else None))


def _other_major(major: int | None) -> str:
    return (
        f"the home's database was made by PostgreSQL {major}, which is not here: install "
        f"postgresql-{major}-timescaledb, or name another GRIDPULSE_HOME"
    )


def _private_folder(
    caches: Iterable[Path],
    usable: Callable[[Path], bool],
    progress: Progress,
    cancelled: threading.Event,
) -> PrivateFolder:
    places = list(caches)
    for cache in places:
        if packages.is_complete(packages.folder_in(cache)) and usable(cache):
            return PrivateFolder(packages.folder_in(cache))
    tried = []
    for cache in places:
        if not _writable(cache):
            tried.append(f"{cache} (not writable)")
        elif not usable(cache):
            tried.append(f"{cache} (closed to the account that the database runs as)")
        else:
            return packages.ensure(cache, progress, cancelled)
    raise EmbeddedError(
        f"no place for the database's programs: {', '.join(tried)}; set GRIDPULSE_CACHE to a folder that "
        "every account may enter, or start Gridpulse as an ordinary user"
    )


def _writable(folder: Path) -> bool:
    """Make the folder if it is missing; true when we may write there."""
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            # Not by the caller's umask: the database's account must be able to enter.
            folder.chmod(0o755)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def postgres_in(root: Path) -> list[PostgresPrograms]:
    """Every PostgreSQL under ``root`` that has a new enough TimescaleDB."""
    found = []
    for libraries, shared in _LAYOUTS:
        for module in sorted(root.glob(f"{libraries}/timescaledb.so")):
            folder = module.parent.parent
            number = re.search(r"\d+$", folder.name)
            if number is None or not all((folder / "bin" / name).exists() for name in ("postgres", "initdb")):
                continue
            control = root / shared.format(major=number[0]) / "extension/timescaledb.control"
            if _is_new_enough(control):
                found.append(PostgresPrograms(folder / "bin", int(number[0])))
    return found


def _is_new_enough(control: Path) -> bool:
    try:
        text = control.read_text()
    except OSError:
        return False
    match = re.search(r"default_version\s*=\s*'(\d+)\.(\d+)", text)
    return match is not None and (int(match[1]), int(match[2])) >= TIMESCALE_MIN


def newest(found: Iterable[PostgresPrograms], major: int | None) -> PostgresPrograms | None:
    """The newest, or the one of ``major`` when a data directory already needs it."""
    fitting = [p for p in found if major is None or p.major == major]
    return max(fitting, key=lambda p: p.major, default=None)


def mosquitto_on_machine() -> Path | None:
    """The machine's own Mosquitto, if it is new enough."""
    path = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        return None
    try:
        # Asked for help, Mosquitto prints its version and ends with code 3.
        shown = subprocess.run([path, "-h"], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = mosquitto_version(shown.stdout)
    return Path(path) if version is not None and version >= MOSQUITTO_MIN else None


def mosquitto_version(text: str) -> tuple[int, int] | None:
    """``(major, minor)`` from Mosquitto's help text."""
    match = re.search(r"mosquitto version (\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None
