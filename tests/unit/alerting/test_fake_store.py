from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from alerting.ports import AlertStore
from tests.unit.alerting.fake_store import FakeStore
from tests.unit.alerting.store_contract import CONTRACT


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda c: c.__name__)
async def test_the_fake_keeps_the_contract(clause: Callable[[AlertStore], Awaitable[None]]) -> None:
    await clause(FakeStore())
