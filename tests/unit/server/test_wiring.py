from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from db.pool import Pool
from server import wiring
from server.wiring import check_readiness


class Stuck:
    """A pool whose connection is there and never answers: the database's disk hangs, or it is stopped."""

    @asynccontextmanager
    async def connection(self, timeout: float) -> AsyncIterator[Any]:  # noqa: ASYNC109  psycopg's own name
        yield self

    async def execute(self, _: str) -> None:
        await asyncio.Event().wait()


async def test_a_database_that_hangs_is_not_ready_and_is_said_so_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "READY_WITHIN_S", 0.05)
    checks = await asyncio.wait_for(check_readiness(cast(Pool, Stuck()), None, None), 5)
    assert checks["database"]["ok"] is False
    assert "no answer" in checks["database"]["detail"]
