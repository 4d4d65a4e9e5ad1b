"""The private folder of programs: TimescaleDB and Mosquitto without an installation.

apt itself fetches and verifies the packages (own sources, lists, cache and an empty
status), ``dpkg-deb`` unpacks them, ``patchelf`` points each program to the loader and
libraries beside it. Refuses to install anything, to run a package's scripts, to accept
an unsigned archive, and to write outside its folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from domain.errors import EmbeddedError
from server.embedded import sources
from server.embedded.privileges import setpriv_path

#: Raise it when what is unpacked or how it is patched changes: old folders are then not used.
RECIPE = 1

#: ``progress(step, done, total)``; total 0 when it is not known.
Progress = Callable[[str, int, int], None]

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_LOCK_WAIT_S = 900.0


def quiet(step: str, done: int, total: int) -> None:
    """The progress callback of who does not want to know."""


@dataclass(frozen=True)
class PrivateFolder:
    """An unpacked, patched folder of programs."""

    root: Path

    @property
    def usr(self) -> Path:
        """Where the packages' ``/usr`` is."""
        return self.root / "usr"


def cache_root(environ: Mapping[str, str]) -> Path:
    """Where programs are kept, shared by all homes of this account."""
    if named := environ.get("GRIDPULSE_CACHE"):
        return Path(named).expanduser().absolute()
    if xdg := environ.get("XDG_CACHE_HOME"):
        return Path(xdg).absolute() / "gridpulse"
    return Path(environ.get("HOME") or Path.home()).absolute() / ".cache" / "gridpulse"


def folder_name(suite: str, architecture: str) -> str:
    """The folder's name: what it was made from and how."""
    return f"programs-{suite}-{architecture}-r{RECIPE}"


def architecture() -> str:
    """The machine's architecture in Debian's words; an error on others than x86-64 and arm64."""
    machine = platform.machine()
    try:
        return _ARCHITECTURES[machine]
    except KeyError:
        raise EmbeddedError(_advice(f"this machine is {machine}, not x86-64 or arm64")) from None


def ensure(cache: Path, progress: Progress = quiet, cancelled: threading.Event | None = None) -> PrivateFolder:
    """The private folder in ``cache``, made if it is not there yet.

    Blocking; run it in a thread. Safe for any number of callers at once: one builds,
    the others wait for it. Raises `EmbeddedError` with what to do instead.
    """
    codename, suite = _suites()
    folder = folder_in(cache)
    if is_complete(folder):
        return PrivateFolder(folder)
    _require_tools()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _build_lock(cache / f"{folder.name}.lock", progress, cancelled):
            if not is_complete(folder):
                _build(folder, codename, suite, progress, cancelled or threading.Event())
    except OSError as error:
        raise EmbeddedError(
            f"cannot write the programs' folder {folder}: {error}; set GRIDPULSE_CACHE to a writable folder"
        ) from error
    return PrivateFolder(folder)


def folder_in(cache: Path) -> Path:
    """Where this machine's private folder is in ``cache``, made or not."""
    return cache / folder_name(_suites()[1] or "unknown", architecture())


def _suites() -> tuple[str, str]:
    """The machine's own suite and the one to take the programs from."""
    os_id, codename = sources.os_release(_read(Path("/etc/os-release")))
    return codename, sources.target_suite(os_id, codename)


def is_complete(folder: Path) -> bool:
    """True when the folder was finished at this very place (programs carry absolute paths)."""
    try:
        marker = json.loads((folder / "complete.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(marker.get("place") == str(folder))


def _advice(reason: str) -> str:
    return (
        f"no TimescaleDB and Mosquitto of our own can be had here: {reason}. Install TimescaleDB for "
        "PostgreSQL and Mosquitto, or set GRIDPULSE_DATABASE_URL and GRIDPULSE_MQTT_URL to running "
        "ones; without internet see docs/howto/operate.md"
    )


def _require_tools() -> None:
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise EmbeddedError(_advice(f"{tool} is not there (not a Debian or Ubuntu system?)"))


def patchelf_path() -> str:
    """The patchelf binary that came with our own requirements, else the machine's."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.distribution("patchelf").files or []:
            if file.name == "patchelf" and file.parent.name == "bin":
                return str(file.locate())
    if found := shutil.which("patchelf"):
        return found
    raise EmbeddedError("patchelf is missing: install our requirements again (`make run` does)")


@contextlib.contextmanager
def _build_lock(path: Path, progress: Progress, cancelled: threading.Event | None) -> Iterator[None]:
    deadline = time.monotonic() + _LOCK_WAIT_S
    with open(path, "a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline or (cancelled and cancelled.is_set()):
                    raise EmbeddedError(f"another program holds {path}; wait for it or end it") from None
                progress("waiting for another start that fetches the programs", 0, 0)
                time.sleep(0.2)
        yield


def _build(folder: Path, codename: str, suite: str, progress: Progress, cancelled: threading.Event) -> None:
    # Left over from a build that was killed: whoever holds the lock may clear it away.
    for old in folder.parent.glob(f"{folder.name}.new-*"):
        shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f"{folder.name}.new-", dir=folder.parent))
    try:
        names = _download(work / "apt", codename, suite, progress, cancelled)
        _unpack(work / "apt" / "debs", work / "root", progress, cancelled)
        _patch(work / "root", folder, progress)
        marker = {"place": str(folder), "suite": suite, "recipe": RECIPE, "packages": names}
        os.chmod(work / "root", 0o755)
        os.rename(work / "root", folder)
        _verify(folder)
        # The marker comes last: without it the folder counts as not there.
        partial = folder / "complete.json.new"
        partial.write_text(json.dumps(marker, indent=1))
        os.chmod(partial, 0o644)
        os.rename(partial, folder / "complete.json")
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Apt:
    """apt-get with a configuration of its own; the machine's is only read."""

    def __init__(self, folder: Path, cancelled: threading.Event) -> None:
        self.folder = folder
        self.cancelled = cancelled
        for name in ("state/lists/partial", "cache/archives/partial", "none", "log", "debs"):
            (folder / name).mkdir(parents=True)
        (folder / "state/status").touch()
        machine_main = "/etc/apt/apt.conf" if Path("/etc/apt/apt.conf").exists() else None
        first, last = sources.apt_configuration(str(folder), machine_main)
        (folder / "first.conf").write_text(first)
        (folder / "last.conf").write_text(last)

    def use(self, source: sources.Source) -> None:
        """From now on take packages from ``source``."""
        (self.folder / "archive.sources").write_text(source.stanza())

    def run(self, *arguments: str, tick: Callable[[], None] = lambda: None) -> str:
        """Run one apt command to its end; its output, or `EmbeddedError` with its complaint."""
        out = self.folder / "out"
        err = self.folder / "err"
        environment = {**os.environ, "APT_CONFIG": str(self.folder / "first.conf"), "LC_ALL": "C"}
        # Should we be killed, apt goes too.
        guard = [setpriv_path(), "--pdeathsig", "TERM", "--"]
        with open(out, "w") as stdout, open(err, "w") as stderr:
            child = subprocess.Popen(
                [*guard, *arguments],
                cwd=self.folder / "debs",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
            _wait(child, self.cancelled, tick)
        if child.returncode:
            raise EmbeddedError(_apt_complaint(err.read_text(errors="replace")))
        return out.read_text(errors="replace")


def _wait(child: subprocess.Popen[bytes], cancelled: threading.Event, tick: Callable[[], None]) -> None:
    while True:
        try:
            child.wait(timeout=0.1)
            return
        except subprocess.TimeoutExpired:
            tick()
            if cancelled.is_set():
                child.terminate()
                child.wait()
                raise EmbeddedError("stopped while fetching the programs; the next start goes on") from None


def _apt_complaint(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("E:")] or text.splitlines()
    said = " ".join(line.removeprefix("E:").strip().rstrip(".") + "." for line in lines[:1] if line.strip())
    return said.rstrip(".") or "apt failed without a word"


def _download(folder: Path, codename: str, suite: str, progress: Progress, cancelled: threading.Event) -> list[str]:
    candidates = sources.archive_candidates(_machine_sources(), codename, suite)
    if not candidates:
        raise EmbeddedError(_advice("the machine's apt sources name no main archive"))
    apt = _Apt(folder, cancelled)
    reasons = []
    for source in candidates:
        apt.use(source)
        try:
            progress("reading the package lists", 0, 0)
            apt.run("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")
            packages = _closure(apt)
        except EmbeddedError as error:
            if cancelled.is_set():
                raise
            reasons.append(str(error))
            continue
        return _fetch(apt, packages, progress)
    raise EmbeddedError(_advice("; ".join(dict.fromkeys(reasons))))


def _closure(apt: _Apt) -> list[sources.Package]:
    major = sources.newest_timescale(apt.run("apt-cache", "pkgnames", "postgresql-").split())
    if major is None:
        raise EmbeddedError("the machine's package archive has no TimescaleDB")
    wanted = [f"postgresql-{major}", f"postgresql-{major}-timescaledb", "mosquitto"]
    listing = apt.run("apt-get", "install", "--print-uris", "-qq", "-y", *wanted)
    return sources.needed(sources.parse_print_uris(listing))


def _fetch(apt: _Apt, packages: Sequence[sources.Package], progress: Progress) -> list[str]:
    total = sum(p.size_bytes for p in packages)

    def tick() -> None:
        done = 0
        for file in [*(apt.folder / "debs").glob("*.deb"), *(apt.folder / "cache").rglob("*.deb")]:
            with contextlib.suppress(OSError):
                done += file.stat().st_size
        progress("fetching the database and the broker", min(done, total), total)

    apt.run("apt-get", "download", "-q", *(p.name for p in packages), tick=tick)
    progress("fetching the database and the broker", total, total)
    return [p.name for p in packages]


def _machine_sources() -> list[sources.Source]:
    found = sources.parse_one_line(_read(Path("/etc/apt/sources.list")))
    parts = Path("/etc/apt/sources.list.d")
    for file in sorted(parts.glob("*.sources")):
        found += sources.parse_deb822(_read(file))
    for file in sorted(parts.glob("*.list")):
        found += sources.parse_one_line(_read(file))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _unpack(debs: Path, root: Path, progress: Progress, cancelled: threading.Event) -> None:
    files = sorted(debs.glob("*.deb"))
    for done, file in enumerate(files):
        if cancelled.is_set():
            raise EmbeddedError("stopped while unpacking the programs; the next start goes on")
        progress("unpacking", done, len(files))
        subprocess.run(["dpkg-deb", "-x", str(file), str(root)], check=True, stdin=subprocess.DEVNULL)
    # Without its compiler PostgreSQL must not believe that it has one.
    for leftover in root.glob("usr/lib/postgresql/*/lib/llvmjit*"):
        leftover.unlink()
    for unused in (*root.glob("usr/lib/postgresql/*/lib/bitcode"), root / "usr/share/doc"):
        shutil.rmtree(unused, ignore_errors=True)
    progress("unpacking", len(files), len(files))


def _patch(root: Path, place: Path, progress: Progress) -> None:
    """Give each program the loader and libraries it will find at ``place``."""
    loader = _loader(root)
    rpath = ":".join(str(place / d.relative_to(root)) for d in _library_folders(root))
    programs = [p for p in (*root.glob("usr/lib/postgresql/*/bin/*"), *root.glob("usr/sbin/*")) if _is_elf(p)]
    for done, program in enumerate(programs):
        progress("setting up the programs", done, len(programs))
        # RPATH, not RUNPATH: only that also counts for what the libraries load themselves.
        subprocess.run(
            [
                *(patchelf_path(), "--set-interpreter", str(place / loader.relative_to(root))),
                *("--force-rpath", "--set-rpath", rpath, str(program)),
            ],
            check=True,
            stdin=subprocess.DEVNULL,
        )
    progress("setting up the programs", len(programs), len(programs))


def _loader(root: Path) -> Path:
    found = [p for p in root.glob("usr/lib/**/ld-linux-*.so.*") if p.is_file() and not p.is_symlink()]
    if not found:
        raise EmbeddedError(_advice("the fetched packages hold no program loader"))
    return found[0]


def _library_folders(root: Path) -> list[Path]:
    folders = [p.parent for p in root.glob("usr/lib/**/libc.so.6")]
    return [*folders, *root.glob("usr/lib/postgresql/*/lib")]


def _is_elf(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def _verify(folder: Path) -> None:
    """Run each program once: a missing library shows now, with its name."""
    programs = [*folder.glob("usr/lib/postgresql/*/bin/postgres"), *folder.glob("usr/sbin/mosquitto")]
    for program in programs:
        flag = "-h" if program.name == "mosquitto" else "--version"
        shown = subprocess.run([str(program), flag], capture_output=True, text=True, check=False)
        if program.name not in shown.stdout:
            raise EmbeddedError(_advice(f"{program.name} does not run: {shown.stderr.strip()[:200]}"))
    if len(programs) < 2:
        raise EmbeddedError(_advice("the fetched packages lack a program"))
