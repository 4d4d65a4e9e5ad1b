from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from domain.errors import EmbeddedError
from server.embedded.home import Home
from server.embedded.postgres import data_major, database_url, locale_options, settings_text


def test_settings_are_durable_and_private() -> None:
    lines = settings_text(Path("/h/it's/run"), lz4=True, own="work_mem = 1GB\n").splitlines()
    for expected in (
        "listen_addresses = ''",
        "unix_socket_directories = '/h/it''s/run'",
        "fsync = on",
        "synchronous_commit = on",
        "full_page_writes = on",
        "wal_compression = lz4",
        "timescaledb.telemetry_level = off",
        "shared_preload_libraries = 'timescaledb'",
    ):
        assert expected in lines
    assert lines[-1] == "work_mem = 1GB", "a person's own settings come last"
    assert "wal_compression = on" in settings_text(Path("/h"), lz4=False).splitlines()


@pytest.mark.parametrize("folder", ["/plain", "/with space/网格/it's", "/a&b=c?d#e%20"])
def test_database_url_survives_any_folder(folder: str) -> None:
    parts = conninfo_to_dict(database_url(Path(folder)))
    assert parts == {"user": "gridpulse", "dbname": "gridpulse", "host": folder, "port": "5432"}


def test_the_order_of_text_does_not_depend_on_the_libc_where_it_can() -> None:
    assert "--locale-provider=builtin" in locale_options(17)[0]
    assert locale_options(15) == [["--locale=C.UTF-8"], ["--locale=C"]]


def test_data_major(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    assert data_major(home) is None
    home.postgres.mkdir()
    (home.postgres / "PG_VERSION").write_text("17\n")
    assert data_major(home) == 17
    (home.postgres / "PG_VERSION").write_text("what\n")
    with pytest.raises(EmbeddedError, match="move it away"):
        data_major(home)
