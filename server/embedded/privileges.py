"""As whom the embedded programs run. Refuses to let them run as root.

An ordinary user's programs run as that user. Started as root, they run as an existing
unprivileged user, changed to by util-linux ``setpriv`` before the program begins. The
right to pass through folders closed to that user (``CAP_DAC_READ_SEARCH``, for a home
under ``/root``) is given only when the folder cannot be reached otherwise.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from domain.errors import EmbeddedError

#: Whom to become, first found: the database's own user where a package made one.
CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class RunAs:
    """The account of the children: ``uid`` is None when it is our own, unprivileged one."""

    name: str
    uid: int | None
    gid: int | None
    pass_closed_folders: bool = False

    def arguments(self, death_signal: str | None) -> list[str]:
        """``setpriv`` options; put them in front of the program.

        ``setpriv`` asks for the death signal after it has changed the user (the change
        would cancel it), then becomes the program: same process id.
        """
        options = [] if death_signal is None else ["--pdeathsig", death_signal]
        if self.uid is None:
            return options
        options += [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", "--no-new-privs"]
        if self.pass_closed_folders:
            # The secure bit makes the right count for access(2) too, with which PostgreSQL asks first.
            options.append("--securebits=+no_setuid_fixup")
            return [*options, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        return [*options, "--inh-caps=-all", "--bounding-set=-all"]

    def command(self, death_signal: str | None, *program: str) -> list[str]:
        """The full command line of ``program`` under this account."""
        return [setpriv_path(), *self.arguments(death_signal), "--", *program]


@cache
def setpriv_path() -> str:
    """util-linux' ``setpriv``: without it a child could outlive us."""
    found = shutil.which("setpriv", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/sbin:/bin:/sbin")
    if found is None:
        raise EmbeddedError("setpriv is missing: install the package util-linux")
    return found


def choose_user(euid: int, lookup: Callable[[str], pwd.struct_passwd] = pwd.getpwnam) -> RunAs:
    """Ourselves, or for root the first unprivileged account that exists."""
    if euid != 0:
        return RunAs("", None, None)
    for name in CANDIDATES:
        try:
            entry = lookup(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return RunAs(name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedError(
        "the database must not run as root and there is no user nobody or postgres: "
        "start Gridpulse as an ordinary user"
    )


def require_change(run_as: RunAs) -> None:
    """Raise `EmbeddedError` where root may not become another user (a container may forbid it)."""
    if run_as.uid is not None and not reaches(run_as, Path("/")):
        raise EmbeddedError(
            f"the database must not run as root, and we are not allowed to become {run_as.name!r} here: "
            "start Gridpulse as an ordinary user"
        )


def reaches(run_as: RunAs, folder: Path) -> bool:
    """Try it: can a program under this account enter ``folder``?"""
    if run_as.uid is None:
        return os.access(folder, os.X_OK)
    command = run_as.command(None, "/bin/sh", "-c", 'test -x "$1" && cd -- "$1"', "sh", str(folder))
    return subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0


def with_access(run_as: RunAs, folders: Iterable[Path]) -> RunAs | None:
    """The account with the least right that enters all ``folders``; None if none does."""
    wanted = list(folders)
    for candidate in (run_as, replace(run_as, pass_closed_folders=True)):
        if all(reaches(candidate, folder) for folder in wanted):
            return candidate
        if run_as.uid is None:
            break
    return None


def give(path: Path, run_as: RunAs, mode: int) -> None:
    """Hand one file or folder of the home to the children's account."""
    if run_as.uid is not None and run_as.gid is not None:
        os.chown(path, run_as.uid, run_as.gid, follow_symlinks=False)
    os.chmod(path, mode)


def give_tree(folder: Path, run_as: RunAs) -> None:
    """Hand over a folder with all in it, if its owner is another (root changed its choice)."""
    if run_as.uid is None or run_as.gid is None or folder.stat().st_uid == run_as.uid:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent, name), run_as.uid, run_as.gid, follow_symlinks=False)
    os.chown(folder, run_as.uid, run_as.gid)
