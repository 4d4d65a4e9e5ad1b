from __future__ import annotations

from db import locks
from db.migrate import MIGRATIONS


def test_no_two_purposes_share_a_lock() -> None:
    numbers = [value for name, value in vars(locks).items() if name.isupper()]
    assert len(numbers) == len(set(numbers))


def test_the_cursors_lock_is_the_one_the_schema_takes() -> None:
    assert f"pg_advisory_xact_lock({locks.ALERT_CURSOR})" in (MIGRATIONS / "0001_base.sql").read_text()
