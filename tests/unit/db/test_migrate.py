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


def test_the_projects_own_migrations_are_numbered_without_a_gap() -> None:
    numbers = [int(m.name[:4]) for m in read_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers


@pytest.mark.parametrize(
    "names",
    [["0001_x.sql", "0001_y.sql"], ["1_x.sql"], ["0001_Ä.sql"], ["0001_x.sql", "0003_y.sql"], ["0002_x.sql"]],
)
def test_numbers_missing_or_given_twice_and_odd_names_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(SchemaError, match="expected a file named"):
        read_migrations(tmp_path)
