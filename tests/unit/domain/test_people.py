from __future__ import annotations

import pytest

from domain.people import Actor


@pytest.mark.parametrize(
    ("area", "codes", "sees"),
    [
        ("", (None,), True),
        ("441900003", ("441900003001001", "441900003001", "441900003"), True),
        ("441900003", ("441900004001001", "441900004001", "441900004"), False),
        ("441900003001", (None, None, "441900003"), False),
        ("441900003", (None, None, None), False),
    ],
)
def test_an_area_is_a_prefix_of_codes(area: str, codes: tuple[str | None, ...], sees: bool) -> None:
    assert Actor("a", "responder", area).sees(*codes) is sees
