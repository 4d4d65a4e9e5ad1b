from __future__ import annotations

import numpy as np
import pytest

from bench.labelled import FAMILIES, KEPT_OUT, make
from bench.nab_score import FALSE_POSITIVE_COST, probation_rows, tally
from domain.readings import Bool

WINDOWS = ((400, 449), (800, 849))


def alert(*rows: int) -> Bool:
    out = np.zeros(1_000, bool)
    out[list(rows)] = True
    return out


def test_silence_is_0_the_first_rows_are_100_and_later_is_less() -> None:
    assert tally(alert(), WINDOWS).score == 0
    assert tally(alert(400, 800), WINDOWS).score == pytest.approx(100)
    assert 90 < tally(alert(420, 820), WINDOWS).score < tally(alert(410, 810), WINDOWS).score < 100
    assert tally(alert(400, 800, 801, 840), WINDOWS).score == pytest.approx(100), "the first one counts"
    assert tally(alert(448, 848), WINDOWS).score == pytest.approx(50, abs=8)


def test_what_is_outside_costs_and_less_just_behind_a_window() -> None:
    whole = tally(alert(400, 800), WINDOWS).gain
    assert whole - tally(alert(300, 400, 800), WINDOWS).gain == pytest.approx(FALSE_POSITIVE_COST)
    behind = whole - tally(alert(400, 452, 800), WINDOWS).gain
    assert 0 < behind < FALSE_POSITIVE_COST / 2
    assert tally(alert(100, 400, 800), WINDOWS).gain == whole, "the first 15 % do not count"
    assert (probation_rows(1_000), probation_rows(20_000)) == (150, 750)
    found = tally(alert(300, 400), WINDOWS)
    assert (found.found, found.false, found.recall, found.precision) == (1, 1, 0.5, 0.5)


@pytest.mark.parametrize("family", [*FAMILIES, *KEPT_OUT])
def test_labelled_series_are_the_same_each_time_and_windows_lie_within(family: str) -> None:
    one, two = make(family, 3), make(family, 3)
    np.testing.assert_array_equal(one.value, two.value)
    assert one.windows == two.windows
    assert len(one.windows) == len(one.kinds)
    assert all(0 <= a < b < len(one.value) for a, b in one.windows)
    assert not np.array_equal(one.value[:500], make(family, 4).value[:500])
