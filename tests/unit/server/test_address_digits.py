from __future__ import annotations

from pathlib import Path

import pytest

from domain.addresses import AddressRule
from domain.errors import SettingsError
from server.run import settle_addresses
from server.settings import load_settings


def test_the_rule_that_is_asked_for(tmp_path: Path) -> None:
    assert load_settings({}, tmp_path).address_rule is None
    assert load_settings({"GRIDPULSE_ADDRESS_DIGITS": "3,4,4"}, tmp_path).address_rule == AddressRule(3, 4, 4)


async def test_the_demo_city_has_no_other_rule(tmp_path: Path) -> None:
    settings = load_settings({"GRIDPULSE_ADDRESS_DIGITS": "3,4,4"}, tmp_path)
    with pytest.raises(SettingsError, match="add --no-demo"):
        await settle_addresses(settings, "postgresql://nobody@127.0.0.1:1/none", demo=True, role="all")
