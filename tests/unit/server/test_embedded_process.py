import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from domain.errors import EmbeddedError
from server.embedded.privileges import RunAs, choose_user, reaches, setpriv_path, with_access
from server.embedded.process import (
    Child,
    clean_environment,
    log_tail,
    processes_at,
    start_ticks,
    stop_orphans,
    trim_log,
)

OURSELVES = RunAs("", None, None)


def passwd(*names: str) -> Callable[[str], pwd.struct_passwd]:
    def lookup(name: str) -> pwd.struct_passwd:
        if name not in names:
            raise KeyError(name)
        return pwd.struct_passwd((name, "x", 70 + len(name), 80, "", "/", "/bin/sh"))

    return lookup


def test_an_ordinary_user_stays_that_user() -> None:
    assert choose_user(1000, passwd("postgres")) == OURSELVES


def test_root_becomes_somebody_else() -> None:
    assert choose_user(0, passwd("postgres", "nobody")) == RunAs("postgres", 78, 80)
    assert choose_user(0, passwd("nobody")) == RunAs("nobody", 76, 80)
    with pytest.raises(EmbeddedError, match="ordinary user"):
        choose_user(0, passwd())


def test_the_death_signal_is_asked_for_in_every_case() -> None:
    assert OURSELVES.arguments("INT") == ["--pdeathsig", "INT"]
    dropped = RunAs("postgres", 70, 80).arguments("INT")
    assert dropped[:2] == ["--pdeathsig", "INT"]
    assert {"--reuid=70", "--regid=80", "--clear-groups", "--no-new-privs", "--bounding-set=-all"} <= set(dropped)
    passing = RunAs("postgres", 70, 80, pass_closed_folders=True).arguments(None)
    assert "--ambient-caps=+dac_read_search" in passing
    assert "--bounding-set=-all" not in passing


def test_no_more_right_than_is_needed(tmp_path: Path) -> None:
    assert with_access(OURSELVES, [tmp_path]) == OURSELVES
    assert with_access(OURSELVES, [tmp_path / "missing"]) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its user")
def test_a_closed_folder_needs_the_right_to_pass(tmp_path: Path) -> None:
    nobody = RunAs("nobody", 65534, 65534)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert not reaches(nobody, closed)
    found = with_access(nobody, [closed])
    assert found is None or found.pass_closed_folders


def test_a_childs_environment_has_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/elsewhere")
    assert set(clean_environment()) == {"PATH", "LC_ALL", "TZ"}


async def test_a_child_runs_is_found_and_stops(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = Child.start(
        "sh",
        ["/bin/sh", "-c", "echo hello; read forever < fifo"],
        run_as=OURSELVES,
        death_signal="KILL",
        cwd=_with_fifo(tmp_path),
        log=log,
    )
    assert child.running
    assert start_ticks(child.pid) is not None
    assert os.getsid(child.pid) == child.pid, "Ctrl-C in our terminal must not reach it"
    await child.stop(((signal.SIGTERM, 10.0),))
    assert not child.running
    assert "sh was killed by signal 15" in child.obituary()
    assert start_ticks(child.pid) is None


def _with_fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder


async def test_a_stubborn_child_is_killed(tmp_path: Path) -> None:
    ready = _with_fifo(tmp_path) / "fifo"
    script = "trap '' TERM; echo ready > fifo; while :; do read x < fifo; done"
    child = Child.start(
        "sh",
        ["/bin/sh", "-c", script],
        run_as=OURSELVES,
        death_signal="KILL",
        cwd=tmp_path,
        log=tmp_path / "log",
    )
    assert ready.read_text() == "ready\n"
    await child.stop(((signal.SIGTERM, 0.05),))
    assert "killed by signal 9" in child.obituary()


async def test_an_obituary_has_the_logs_end(tmp_path: Path) -> None:
    child = Child.start(
        "sh",
        ["/bin/sh", "-c", "echo no luck >&2; exit 3"],
        run_as=OURSELVES,
        death_signal="KILL",
        cwd=tmp_path,
        log=tmp_path / "log",
    )
    assert await child.exited == 3
    assert child.obituary() == f"sh ended with code 3; the end of {tmp_path}/log says: no luck"


PROGRAM = os.path.basename(os.path.realpath(sys.executable))


@pytest.fixture
def strays(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The same program twice: in the folder ``ours`` and beside it."""
    (tmp_path / "ours").mkdir()
    script = "print(flush=True); input()"
    command = [setpriv_path(), "--pdeathsig", "KILL", "--", sys.executable, "-c", script]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen(command, cwd=tmp_path / "ours", **pipes) as ours,  # type: ignore[call-overload]
        subprocess.Popen(command, cwd=tmp_path, **pipes) as other,  # type: ignore[call-overload]
    ):
        assert ours.stdout.readline() == other.stdout.readline() == b"\n"
        yield [ours, other]
        other.kill()


async def test_orphans_are_known_by_program_and_folder(
    tmp_path: Path, strays: list[subprocess.Popen[bytes]]
) -> None:
    ours, other = strays
    assert processes_at(tmp_path / "ours", PROGRAM) == [ours.pid]
    assert processes_at(tmp_path / "ours", "postgres") == []
    assert await stop_orphans(tmp_path / "ours", PROGRAM, ((signal.SIGTERM, 10.0),)) == 1
    assert ours.wait() == -signal.SIGTERM
    assert other.poll() is None


def test_log_tail_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert log_tail(log) == "(no log)"
    log.write_text("".join(f"line {n}\n" for n in range(1000)))
    assert log_tail(log, lines=2) == "line 998 | line 999"


def test_a_log_is_bounded_while_its_program_writes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("a") as program:
        program.write("x" * 100)
        program.flush()
        trim_log(log, bytes_max=99)
        program.write("new")
    assert log.read_text() == "new"
    assert (tmp_path / "log.1").read_text() == "x" * 100
    trim_log(log, bytes_max=99)
    assert log.read_text() == "new"
    trim_log(tmp_path / "missing")
