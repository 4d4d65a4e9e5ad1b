"""An array of which few rows hold anything, against a plain one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alerting.detectors.rows import Lent

ROWS = 12
rows = st.lists(st.integers(0, ROWS - 1), unique=True, max_size=ROWS)
moves = st.lists(st.tuples(st.sampled_from(["zero", "set", "write"]), rows, st.integers(0, 3)), max_size=25)


@given(moves)
def test_it_reads_as_the_plain_array_and_holds_only_what_is_not_zero(
    given_moves: list[tuple[str, list[int], int]],
) -> None:
    lent, plain = Lent((2, 3), np.float16), np.zeros((ROWS, 2, 3), np.float16)
    lent.grow(ROWS)
    holders: set[int] = set()
    for what, some, number in given_moves:
        which = np.array(some, np.intp)
        values = np.full((len(some), 2, 3), number, np.float16)
        if what == "zero":
            lent[which] = plain[which] = 0
            holders -= set(some)
        elif what == "set":
            lent[which] = plain[which] = values
            holders = holders | set(some) if number else holders - set(some)
        else:  # a part of each row
            place = lent.places(which)
            assert len(set(place.tolist())) == len(some)
            lent.held[place, 1] = number
            plain[which, 1] = number
            holders |= set(some)
        np.testing.assert_array_equal(lent[:ROWS], plain)
        np.testing.assert_array_equal(lent[which], plain[which])
        assert (lent._place >= 0).sum() == len(holders)
    assert lent.shape == (len(lent), 2, 3)


def test_places_that_were_given_back_are_used_again() -> None:
    lent = Lent((4,), np.float32)
    lent.grow(10_000)
    for begin in range(0, 10_000, 100):
        which = np.arange(begin, begin + 100)
        place = lent.places(which)
        lent.held[place] = 1
        lent[which] = 0
    assert len(lent.held) < 300
    assert lent.nbytes < 10_000 * 4 * 2 + 300 * 16
