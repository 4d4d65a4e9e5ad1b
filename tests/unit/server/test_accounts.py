from __future__ import annotations

import pytest

from server.accounts import expand

IDS = ["VB-1", "VB-2", "SM-1"]


@pytest.mark.parametrize(
    ("children", "expanded"),
    [
        ([], ()),
        (["*"], ("*",)),
        (["VB-*"], ("VB-1", "VB-2")),
        (["later-1"], ("later-1",)),
        (["SM-?", "later-1"], ("SM-1", "later-1")),
        (["ZZ-*"], ()),
    ],
)
def test_globs_match_registered_devices_and_plain_ids_stay(children: list[str], expanded: tuple[str, ...]) -> None:
    assert expand(children, IDS) == expanded
