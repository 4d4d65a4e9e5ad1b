from __future__ import annotations

import asyncio

import numpy as np
import pytest

from domain.readings import Readings
from ingest.rollup import horizon as horizon_module
from ingest.rollup.horizon import HOUR_US, MINUTE_US, Horizon, Marks
from ingest.rollup.service import GRACE_US, closed_minute

T0_US = 1_795_413_600_000_000 // HOUR_US * HOUR_US


def readings(*rows: tuple[int, int]) -> Readings:
    """(device, time_us) rows."""
    n = len(rows)
    return Readings(
        np.array([d for d, _ in rows], dtype=np.int32), np.ones(n, dtype=np.int32),
        np.array([t for _, t in rows], dtype=np.int64), np.zeros(n), np.full(n, -1, dtype=np.int64),
        np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.bool_),
    )  # fmt: skip


def pairs(marks: Marks) -> list[tuple[int, int]]:
    return list(zip(marks.device.tolist(), marks.hour_us.tolist(), strict=True))


async def test_what_comes_before_the_horizon_is_marked_once_an_hour_and_device() -> None:
    horizon = Horizon()
    assert pairs(horizon.marks(readings((1, T0_US)))) == []
    await horizon.move(T0_US + HOUR_US)
    batch = readings((1, T0_US), (1, T0_US + 5), (2, T0_US - 1), (1, T0_US + HOUR_US), (2, T0_US + HOUR_US - 1))
    marks = horizon.marks(batch)
    assert pairs(marks) == [(1, T0_US), (2, T0_US - HOUR_US), (2, T0_US)]
    horizon.committed(marks)
    assert pairs(horizon.marks(batch)) == []


async def test_what_is_forgotten_is_marked_again_and_what_failed_too() -> None:
    horizon = Horizon()
    await horizon.move(T0_US)
    batch = readings((1, T0_US - 1))
    assert len(horizon.marks(batch)) == 1
    marks = horizon.marks(batch)
    assert len(marks) == 1, "a commit that failed marked nothing"
    horizon.committed(marks)
    await horizon.forget([(1, T0_US - HOUR_US)])
    assert len(horizon.marks(batch)) == 1


async def test_too_many_marks_are_written_again_rather_than_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(horizon_module, "MARKED_MAX", 3)
    horizon = Horizon()
    await horizon.move(T0_US)
    for device in (1, 2, 3, 4):
        horizon.committed(horizon.marks(readings((device, T0_US - 1))))
    assert len(horizon.marks(readings((1, T0_US - 1)))) == 1
    assert len(horizon.marks(readings((4, T0_US - 1)))) == 0


async def test_the_horizon_moves_when_no_commit_is_under_way() -> None:
    horizon = Horizon()
    async with horizon.standing():
        moving = asyncio.create_task(horizon.move(T0_US))
        await asyncio.sleep(0)
        assert len(horizon.marks(readings((1, T0_US - 1)))) == 0
        assert not moving.done()
    await moving
    assert len(horizon.marks(readings((1, T0_US - 1)))) == 1
    await horizon.move(T0_US - HOUR_US)
    assert horizon.at_us == T0_US, "it never goes back"


async def test_commits_stand_side_by_side_and_wait_while_the_horizon_moves() -> None:
    horizon, order = Horizon(), []

    async def commit(name: str, may_end: asyncio.Event) -> None:
        async with horizon.standing():
            order.append(f"{name} begins")
            await may_end.wait()
            order.append(f"{name} ends")

    ends = asyncio.Event()
    first, second = (asyncio.create_task(commit(name, ends)) for name in ("one", "two"))
    await asyncio.sleep(0)
    moving = asyncio.create_task(horizon.move(T0_US))
    await asyncio.sleep(0)
    third = asyncio.create_task(commit("three", ends))
    for _ in range(5):
        await asyncio.sleep(0)
    assert order == ["one begins", "two begins"]
    second.cancel()
    await asyncio.wait({second})
    assert not moving.done()
    ends.set()
    await moving
    await asyncio.gather(first, third)
    assert order == ["one begins", "two begins", "one ends", "three begins", "three ends"]


def test_devices_are_active_as_long_as_their_newest_reading_may_not_be_rolled() -> None:
    horizon = Horizon()
    horizon.marks(readings((1, T0_US + 5), (1, T0_US), (5000, T0_US + MINUTE_US)))
    horizon.begin([(7, T0_US + 1)])
    assert horizon.active(T0_US) == [1, 7, 5000]
    assert horizon.active(T0_US + 5) == [1, 5000]
    assert horizon.active(T0_US + MINUTE_US + 1) == []


def test_a_minute_is_closed_a_while_after_its_end() -> None:
    assert closed_minute(T0_US + MINUTE_US + GRACE_US) == T0_US + MINUTE_US
    assert closed_minute(T0_US + MINUTE_US + GRACE_US - 1) == T0_US
