"""How many rows one commit takes, so that it takes no longer than it should. Pure.

A large batch costs less a row, in the database and in the detectors behind it, but whatever
arrives while it is committed waits for it. So the bound matters only where more comes in
than goes out: else a batch is what arrived during the one before. The size follows the speed
the database has shown: a slow disk or a busy machine gets smaller batches, within bounds.
"""

from __future__ import annotations

COMMIT_S = 0.15
ROWS_MIN, ROWS_MAX = 16_000, 60_000
WEIGHT = 0.2
"""Of the newest commit in the running mean."""


class Pace:
    """Rows to put into the next commit: what the database takes in ``COMMIT_S``."""

    def __init__(self) -> None:
        self._rows_s = ROWS_MAX / COMMIT_S

    @property
    def rows(self) -> int:
        """The bound of the next batch."""
        return min(max(int(self._rows_s * COMMIT_S), ROWS_MIN), ROWS_MAX)

    def learn(self, rows: int, seconds: float) -> None:
        """A commit of so many rows took so long; small ones say little about the speed."""
        if rows >= ROWS_MIN // 2 and seconds > 0:
            self._rows_s += WEIGHT * (rows / seconds - self._rows_s)
