import json
import os
import threading
from pathlib import Path

import pytest

from domain.errors import EmbeddedError
from server.embedded import packages, programs
from server.embedded.packages import cache_root, folder_in, is_complete, quiet
from server.embedded.programs import PostgresPrograms, mosquitto_version, newest, postgres_in


def make_postgres(root: Path, major: int, timescale: str = "2.19.3") -> Path:
    folder = root / f"usr/lib/postgresql/{major}"
    shared = root / f"usr/share/postgresql/{major}/extension"
    for needed in (folder / "lib", folder / "bin", shared):
        needed.mkdir(parents=True)
    (folder / "lib/timescaledb.so").touch()
    for name in ("postgres", "initdb"):
        (folder / "bin" / name).touch()
    (shared / "timescaledb.control").write_text(f"# x\ndefault_version = '{timescale}'\n")
    return folder


def test_only_a_postgres_with_a_new_enough_timescale_counts(tmp_path: Path) -> None:
    make_postgres(tmp_path, 15, "2.13.1")
    make_postgres(tmp_path, 16)
    make_postgres(tmp_path, 17)
    (make_postgres(tmp_path, 18) / "bin/initdb").unlink()
    (make_postgres(tmp_path, 14) / "lib/timescaledb.so").unlink()
    found = postgres_in(tmp_path)
    assert [p.major for p in found] == [16, 17]
    assert newest(found, None) == PostgresPrograms(tmp_path / "usr/lib/postgresql/17/bin", 17)
    assert newest(found, 16) == PostgresPrograms(tmp_path / "usr/lib/postgresql/16/bin", 16)
    assert newest(found, 15) is None


def test_mosquitto_version() -> None:
    assert mosquitto_version("mosquitto version 2.0.21\n\nmosquitto is an MQTT") == (2, 0)
    assert mosquitto_version("mosquitto version 1.6.12") == (1, 6)
    assert mosquitto_version("") is None


def test_cache_root_by_precedence() -> None:
    assert cache_root({"GRIDPULSE_CACHE": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"}) == Path("/c")
    assert cache_root({"XDG_CACHE_HOME": "/x", "HOME": "/h"}) == Path("/x/gridpulse")
    assert cache_root({"HOME": "/h"}) == Path("/h/.cache/gridpulse")


def make_complete(cache: Path) -> Path:
    folder = folder_in(cache)
    make_postgres(folder, 17)
    (folder / "usr/sbin").mkdir()
    (folder / "complete.json").write_text(json.dumps({"place": str(folder)}))
    return folder


def find(caches: list[Path], closed: Path | None = None, major: int | None = None) -> programs.Programs:
    return programs.find(
        database=True,
        broker=True,
        major=major,
        caches=caches,
        usable=lambda folder: closed is None or closed not in (folder, *folder.parents),
        progress=quiet,
        cancelled=threading.Event(),
    )


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a TimescaleDB or Mosquitto of its own."""
    real = postgres_in
    monkeypatch.setattr(programs, "postgres_in", lambda root: [] if root == Path("/") else real(root))
    monkeypatch.setattr(programs, "mosquitto_on_machine", lambda: None)


@pytest.mark.usefixtures("bare_machine")
def test_a_finished_folder_anywhere_is_taken_before_one_is_made(tmp_path: Path) -> None:
    folder = make_complete(tmp_path / "second")
    found = find([tmp_path / "first", tmp_path / "second"])
    assert found.postgres == PostgresPrograms(folder / "usr/lib/postgresql/17/bin", 17)
    assert found.mosquitto == folder / "usr/sbin/mosquitto"


@pytest.mark.usefixtures("bare_machine")
def test_a_folder_closed_to_the_database_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_complete(tmp_path / "closed")
    made: list[Path] = []

    def ensure(cache: Path, *_: object) -> packages.PrivateFolder:
        made.append(cache)
        return packages.PrivateFolder(make_complete(cache))

    monkeypatch.setattr(packages, "ensure", ensure)
    find([tmp_path / "closed", tmp_path / "open"], closed=tmp_path / "closed")
    assert made == [tmp_path / "open"]


@pytest.mark.usefixtures("bare_machine")
def test_no_place_says_what_was_tried(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match=r"file/c \(not writable\), .*closed to the account.*GRIDPULSE_CACHE"):
        find([tmp_path / "file/c", tmp_path / "x"], closed=tmp_path / "x")


@pytest.mark.usefixtures("bare_machine")
def test_data_of_another_major_are_not_touched(tmp_path: Path) -> None:
    make_complete(tmp_path)
    with pytest.raises(EmbeddedError, match="postgresql-14-timescaledb"):
        find([tmp_path], major=14)


def test_a_folder_that_was_moved_is_not_complete(tmp_path: Path) -> None:
    folder = make_complete(tmp_path / "old")
    assert is_complete(folder)
    os.rename(tmp_path / "old", tmp_path / "new")
    assert not is_complete(folder_in(tmp_path / "new"))


def test_a_machine_without_apt_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedError, match=r"apt-get is not there.*Mosquitto.*GRIDPULSE_DATABASE_URL"):
        packages.ensure(tmp_path / "cache")


def test_other_architectures_are_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(EmbeddedError, match=r"riscv64.*GRIDPULSE_DATABASE_URL"):
        packages.architecture()
