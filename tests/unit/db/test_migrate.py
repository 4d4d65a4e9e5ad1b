from __future__ import annotations

from pathlib import Path

import pytest

from db.migrate import Migration, pending, read_migrations
from domain.errors import SchemaError

ONE, TWO = Migration("0001_one", "SELECT 1", None), Migration("0002_two", "SELECT 2", "timescale")


def test_only_what_did_not_run_and_fits_the_edition_is_pending() -> None:
    assert pending([ONE, TWO], {}, "timescale") == [ONE, TWO]
    assert pending([ONE, TWO], {}, "apache") == [ONE]
    assert pending([ONE, TWO], {"0001_one": ONE.sha256}, "timescale") == [TWO]


def test_the_projects_own_migrations_each_have_a_number() -> None:
    numbers = [m.name[:4] for m in read_migrations()]
    assert numbers == sorted(set(numbers))


def test_a_number_may_be_missing(tmp_path: Path) -> None:
    for name in ("0001_x.sql", "0003_y.sql"):
        (tmp_path / name).write_text("SELECT 1")
    assert [m.name for m in read_migrations(tmp_path)] == ["0001_x", "0003_y"]


@pytest.mark.parametrize("names", [["0001_x.sql", "0001_y.sql"], ["1_x.sql"], ["0001_Ä.sql"]])
def test_numbers_given_twice_and_odd_names_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(SchemaError, match="expected a file named"):
        read_migrations(tmp_path)
