"""The home folder: who owns it, where things lie, what it keeps secret.

Refuses a second owner: one process at a time holds ``run/lock``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from domain.errors import EmbeddedError
from server.embedded.privileges import RunAs, give
from server.embedded.process import start_ticks

#: Linux' ``sun_path`` holds 108 bytes, the last one zero.
SOCKET_PATH_BYTES_MAX = 107
_SOCKET_NAME = ".s.PGSQL.5432"


@dataclass(frozen=True)
class EmbeddedUrls:
    """Where the embedded services answer; None for what is not embedded."""

    database_url: str | None
    mqtt_url: str | None
    simulator_mqtt_url: str | None


@dataclass(frozen=True)
class Home:
    """The places in a home. ``root`` is absolute and without symbolic links."""

    root: Path

    @classmethod
    def at(cls, folder: Path) -> Home:
        """The home at ``folder``, which need not exist yet."""
        return cls(Path(os.path.realpath(folder)))

    @property
    def run(self) -> Path:
        """What is true only while the server runs: lock, urls, socket."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """The programs' logs."""
        return self.root / "logs"

    @property
    def secrets(self) -> Path:
        """Passwords, one a file."""
        return self.root / "secrets"

    @property
    def postgres(self) -> Path:
        """The database's data directory."""
        return self.root / "postgres"

    @property
    def broker(self) -> Path:
        """The broker's configuration, accounts and kept messages."""
        return self.root / "broker"

    @property
    def tls(self) -> Path:
        """The broker's authority and certificate."""
        return self.root / "tls"

    def create(self, run_as: RunAs) -> None:
        """Make the folders: ours, with just enough for the children to pass through.

        Closed to everybody else. For root that means the children's group may pass
        through ``home`` and ``home/run``, and read neither.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for folder in (self.root, self.run):
                folder.mkdir(exist_ok=True)
                if run_as.gid is not None:
                    os.chown(folder, -1, run_as.gid)
                folder.chmod(0o700 if run_as.gid is None else 0o710)
            for folder in (self.logs, self.secrets):
                folder.mkdir(exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            raise EmbeddedError(
                f"cannot make the home {self.root}: {error}; set GRIDPULSE_HOME to another folder"
            ) from error

    def secret(self, name: str) -> str:
        """The secret of this name, made once and then kept (safe in a URL)."""
        path = self.secrets / name
        with contextlib.suppress(FileNotFoundError):
            if kept := path.read_text().strip():
                return kept
        made = secrets.token_urlsafe(24)
        write_private(path, made + "\n")
        return made


def write_private(path: Path, text: str, run_as: RunAs | None = None) -> None:
    """Put ``text`` at ``path`` all at once, readable by its owner only."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with open(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if run_as is not None:
            give(temporary, run_as, 0o600)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.asynccontextmanager
async def owner_lock(home: Home, patience_s: float = 2.0) -> AsyncIterator[None]:
    """Own the home until the block ends or this process does.

    A moment's patience: the lock of a server that is just stopping is worth waiting for.
    """
    with (home.run / "lock").open("a+") as lock:
        deadline = asyncio.get_running_loop().time() + patience_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if asyncio.get_running_loop().time() > deadline:
                    lock.seek(0)
                    pid = lock.read().strip() or "unknown"
                    raise EmbeddedError(
                        f"already running (pid {pid}) on {home.root}: stop it, or set GRIDPULSE_HOME"
                    ) from None
                await asyncio.sleep(0.02)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def record_urls(home: Home, urls: EmbeddedUrls) -> None:
    """Tell other commands where the services of this home are."""
    record = {"pid": os.getpid(), "started": start_ticks(os.getpid()), **asdict(urls)}
    write_private(home.run / "stack.json", json.dumps(record))


def forget_urls(home: Home) -> None:
    """Take the record away again."""
    (home.run / "stack.json").unlink(missing_ok=True)


def running_urls(home: Path) -> EmbeddedUrls | None:
    """Where the embedded services of ``home`` answer now; None when they do not run."""
    try:
        record: dict[str, Any] = json.loads((Home.at(home).run / "stack.json").read_text())
        if start_ticks(int(record["pid"])) != record["started"]:
            return None
        return EmbeddedUrls(record["database_url"], record["mqtt_url"], record["simulator_mqtt_url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def socket_folder(home: Home, run_as: RunAs) -> Path:
    """A folder for the database's socket: in the home, or short and private if that is too long."""
    folder = home.run / "pg"
    record = home.run / "socket-folder"
    forget_socket_folder(home)
    if not fits_socket(folder):
        folder = Path(tempfile.mkdtemp(prefix="gridpulse-", dir="/tmp"))
        write_private(record, str(folder))
    folder.mkdir(exist_ok=True)
    give(folder, run_as, 0o700)
    _clear_socket(folder)
    return folder


def _clear_socket(folder: Path) -> None:
    """Remove a killed database's socket and its lock.

    The lock names a process id, which may be another's by now. The caller owns the home
    and has ended what ran in it.
    """
    for leftover in (_SOCKET_NAME, _SOCKET_NAME + ".lock"):
        (folder / leftover).unlink(missing_ok=True)


def forget_socket_folder(home: Home) -> None:
    """Remove a short socket folder that an earlier start had to make."""
    record = home.run / "socket-folder"
    with contextlib.suppress(OSError):
        folder = Path(record.read_text())
        record.unlink()
        # Only what looks like ours and holds nothing else: the record is a file like any other.
        if folder.name.startswith("gridpulse-") and not folder.is_symlink():
            _clear_socket(folder)
            folder.rmdir()


def fits_socket(folder: Path) -> bool:
    """True when a socket in ``folder`` has a path that the kernel takes."""
    return len(os.fsencode(folder / _SOCKET_NAME)) <= SOCKET_PATH_BYTES_MAX
