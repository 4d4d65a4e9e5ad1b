"""One process detects: the second stands by and takes over, one that lost its place does not go on."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from db import lease as lease_module
from db.lease import Lease
from domain.errors import OwnershipLost
from tests.waiting import ended, until

pytestmark = pytest.mark.stack

CUT = b"""
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND objid = 7265041 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "TRY_EVERY_S", 0.05)
    monkeypatch.setattr(lease_module, "CHECK_EVERY_S", 0.05)


def cut(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        assert len(conn.execute(CUT).fetchall()) == 1


async def test_the_second_stands_by_until_the_first_lets_go(database_url: str) -> None:
    told: list[bool] = []
    first, second = Lease(database_url), Lease(database_url, told.append)
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())

    async def stands_by() -> bool:
        return second.waiting

    await until(stands_by, "the second to stand by")
    assert (first.held.is_set(), second.held.is_set()) == (True, False)
    await first.release()
    await asyncio.wait_for(waiting, 5)
    assert (second.held.is_set(), second.waiting, second.term, told) == (True, False, first.term + 1, [True])
    await second.release()


async def test_the_second_takes_over_when_the_firsts_connection_dies_and_the_first_ends(database_url: str) -> None:
    first, second = Lease(database_url), Lease(database_url)
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())

    async def stands_by() -> bool:
        return second.waiting

    await until(stands_by, "the second to stand by")
    cut(database_url)
    await asyncio.wait_for(waiting, 5)
    with pytest.raises(OwnershipLost, match="start again"):
        await asyncio.wait_for(first.keep(), 5)
    assert not first.held.is_set()
    await second.release()


async def test_a_broken_connection_that_nobody_used_is_made_good(database_url: str) -> None:
    told: list[bool] = []
    lease = Lease(database_url, told.append)
    await lease.acquire()
    term = lease.term
    keeping = asyncio.create_task(lease.keep())
    cut(database_url)

    async def held_again() -> bool:
        return told == [True, False, True]

    await until(held_again, "the lock to be held again")
    assert (lease.held.is_set(), lease.term) == (True, term)
    await ended(keeping)
    await lease.release()
