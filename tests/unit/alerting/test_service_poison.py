"""A detection that can never be written does not hold up the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from alerting.ports import Write
from tests.unit.alerting.fake_store import FakeStore
from tests.unit.alerting.test_service import City, at, build


class Refusing(FakeStore):
    """Breaks on whatever has to do with one device, as a bug of ours would."""

    async def write(self, writes: Sequence[Write], incidents: Any = ()) -> Any:
        if any(write.change.alert.device == 13 for write in writes):
            raise ValueError("no such thing as device 13")
        return await super().write(writes, incidents)


async def test_the_others_are_written_and_the_next_block_too(caplog: pytest.LogCaptureFixture) -> None:
    store = Refusing()
    service = build(store, City())
    await service.start()
    await service.handle(at(0, 80, device=13))
    await service.handle(at(1, 80, device=1))
    await service.handle(at(2, 80, device=2))
    raised = [body["device"]["id"] for _, change, _, _, body in store.changes if change == "raised"]
    assert raised == ["T-1", "T-2"]
    assert "given up" in caplog.text
