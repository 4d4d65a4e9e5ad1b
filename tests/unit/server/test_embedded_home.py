import os
import stat
from pathlib import Path

import pytest

from domain.errors import EmbeddedError
from server.embedded.home import (
    EmbeddedUrls,
    Home,
    fits_socket,
    forget_socket_folder,
    forget_urls,
    owner_lock,
    record_urls,
    running_urls,
    socket_folder,
)
from server.embedded.privileges import RunAs

OURSELVES = RunAs("", None, None)
URLS = EmbeddedUrls("postgresql://x", "mqtt://y", None)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.at(tmp_path / "home")
    home.create(OURSELVES)
    return home


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_home_is_closed_to_others(home: Home) -> None:
    for folder in (home.root, home.run, home.logs, home.secrets):
        assert mode(folder) == 0o700


def test_a_home_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match="GRIDPULSE_HOME"):
        Home.at(tmp_path / "file/home").create(OURSELVES)


def test_a_secret_is_made_once_and_private(home: Home) -> None:
    secret = home.secret("mqtt-server")
    assert len(secret) == 32
    assert home.secret("mqtt-server") == secret
    assert home.secret("mqtt-simulator") != secret
    assert mode(home.secrets / "mqtt-server") == 0o600
    assert sorted(os.listdir(home.secrets)) == ["mqtt-server", "mqtt-simulator"]


async def test_one_owner_at_a_time(home: Home) -> None:
    async with owner_lock(home):
        with pytest.raises(EmbeddedError, match=rf"already running \(pid {os.getpid()}\)"):
            async with owner_lock(home, patience_s=0.0):
                pass
    async with owner_lock(home, patience_s=0.0):
        pass


def test_urls_are_told_only_while_their_process_lives(home: Home) -> None:
    assert running_urls(home.root) is None
    record_urls(home, URLS)
    assert running_urls(home.root) == URLS
    assert mode(home.run / "stack.json") == 0o600
    record = (home.run / "stack.json").read_text()
    # The same process id, given to another process later.
    (home.run / "stack.json").write_text(record.replace('"started": ', '"started": 1'))
    assert running_urls(home.root) is None
    (home.run / "stack.json").write_text("{")
    assert running_urls(home.root) is None
    forget_urls(home)
    assert running_urls(home.root) is None


def test_a_socket_path_has_a_limit() -> None:
    assert fits_socket(Path("/" + "x" * 92))
    assert not fits_socket(Path("/" + "x" * 93))
    assert not fits_socket(Path("/" + "网" * 31))


def test_a_long_home_gets_a_short_socket_folder_and_loses_it_again(tmp_path: Path) -> None:
    home = Home.at(tmp_path / ("long" * 30))
    home.create(OURSELVES)
    folder = socket_folder(home, OURSELVES)
    assert fits_socket(folder)
    assert mode(folder) == 0o700
    (folder / ".s.PGSQL.5432.lock").touch()
    # A start after a crash: the old one goes, a new one comes.
    again = socket_folder(home, OURSELVES)
    assert not folder.exists()
    forget_socket_folder(home)
    assert not again.exists()


def test_forgetting_a_socket_folder_harms_nothing_else(home: Home, tmp_path: Path) -> None:
    other = tmp_path / "gridpulse-other"
    other.mkdir()
    (other / "precious").touch()
    (home.run / "socket-folder").write_text(str(other))
    forget_socket_folder(home)
    assert (other / "precious").exists()
