from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from api import live


async def test_a_task_that_loses_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "CANCEL_AGAIN_S", 0.01)

    async def loses_the_first() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def fails() -> None:
        raise OSError("gone")

    tasks = [asyncio.create_task(work) for work in (loses_the_first(), fails())]
    await asyncio.sleep(0)
    errors = await asyncio.wait_for(live.ended(*tasks), 5)
    assert [str(error) for error in errors] == ["gone"]
    assert all(task.done() for task in tasks)
