from __future__ import annotations

import pytest

from ingest.pace import COMMIT_S, ROWS_MAX, ROWS_MIN, Pace


@pytest.mark.parametrize(
    ("rows_s", "expected"),
    [(1e9, ROWS_MAX), (300_000, int(300_000 * COMMIT_S)), (1_000, ROWS_MIN)],
)
def test_a_commit_takes_what_the_database_can_do_in_its_time(rows_s: float, expected: int) -> None:
    pace = Pace()
    for _ in range(100):
        pace.learn(pace.rows, pace.rows / rows_s)
    assert pace.rows == pytest.approx(expected, rel=0.01)


def test_small_commits_say_nothing_about_the_speed() -> None:
    pace = Pace()
    for _ in range(100):
        pace.learn(10, 0.01)
    assert pace.rows == ROWS_MAX
