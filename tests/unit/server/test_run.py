from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from server import run


async def test_a_part_that_swallows_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CANCEL_AGAIN_S", 0.01)
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    part = asyncio.create_task(run.must_not_end("deaf", deaf))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    part.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await part
    assert swallowed == 3


async def test_a_part_has_time_to_end_in_order() -> None:
    done = False

    async def orderly() -> None:
        nonlocal done
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            done = True

    part = asyncio.create_task(run.must_not_end("orderly", orderly))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    part.cancel()
    with pytest.raises(asyncio.CancelledError):
        await part
    assert done


async def test_a_part_that_ends_or_breaks_is_said() -> None:
    async def ends() -> None:
        return

    async def breaks() -> None:
        raise ValueError("a mistake")

    with pytest.raises(run.PartEnded, match="ended by itself"):
        await run.must_not_end("page", ends)
    with pytest.raises(run.PartEnded, match="ValueError: a mistake"):
        await run.must_not_end("page", breaks)


async def test_a_start_whose_cancellation_was_swallowed_ends_all_the_same() -> None:
    async def start() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        run.stop_if_told()

    starting = asyncio.create_task(start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
