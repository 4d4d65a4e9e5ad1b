"""A large batch in two transactions at once: as exact as one, whatever happens to either."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable

import pytest

from db.pool import Pool
from ingest import batching
from tests.fix_stack import Broker
from tests.integration.test_ingest import NOW_S, Running, device, forget_session, running_ingest
from tests.waiting import until

pytestmark = pytest.mark.stack

DEVICES, LISTS, VALUES = 12, 6, 40

WRITERS = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'gridpulse-ingest' AND datname = current_database()
"""
ACCOUNT = """
SELECT coalesce(sum(received), 0), coalesce(sum(stored), 0),
    coalesce(sum(duplicate), 0), coalesce(sum(quarantined), 0)
FROM ledger_minute
"""

KILL_ONE = """
SELECT count(pg_terminate_backend(pid)) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'gridpulse-ingest' AND state <> 'idle' LIMIT 1
) AS one
"""


@pytest.fixture
async def ingest(
    pool: Pool, database_url: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    monkeypatch.setattr(batching, "LANE_ROWS", 1)
    async with running_ingest(pool, database_url, broker) as running:
        yield running
    await forget_session(broker, running.client_id)


async def publish_all(broker: Broker, poison: int | None = None) -> None:
    async with device(broker) as publish:
        for n in range(LISTS):
            sent = []
            for key in range(DEVICES):
                values = list(range(VALUES))
                if poison and (n, key) == (0, 0):
                    values[0] = poison
                sent.append(publish(f"sensors/L-{key}/readings", listed(NOW_S - 400 + n * VALUES, values)))
            await asyncio.gather(*sent)


async def test_a_batch_is_written_on_two_connections_and_looked_at_whole(ingest: Running, broker: Broker) -> None:
    await publish_all(broker)
    await ingest.until_count("reading", DEVICES * LISTS * VALUES)
    assert await ingest.scalar(WRITERS) == 2
    await until(lambda: done(ingest), "all to be looked at")
    assert await account(ingest) == (DEVICES * LISTS, DEVICES * LISTS, 0, 0)


async def test_a_row_the_database_never_takes_is_put_aside_in_its_lane(ingest: Running, broker: Broker) -> None:
    async with ingest.pool.connection() as conn:
        await conn.execute("ALTER TABLE reading ADD CONSTRAINT poison CHECK (value <> 666)")
    await publish_all(broker, poison=666)
    await ingest.until_count("reading", (DEVICES * LISTS - 1) * VALUES)
    await ingest.until_count("quarantine", 1)
    assert await account(ingest) == (DEVICES * LISTS, DEVICES * LISTS - 1, 0, 1)


async def test_a_lane_whose_connection_dies_is_written_again_alone(ingest: Running, broker: Broker) -> None:
    async with ingest.pool.connection() as holder:
        await publish_all(broker)
        await ingest.until_count("reading", DEVICES * LISTS * VALUES)
        before = await account(ingest)
        await holder.execute("LOCK TABLE ledger_minute IN ACCESS EXCLUSIVE MODE")  # both have copied and wait
        sending = asyncio.create_task(publish_again(broker))
        for _ in range(3):
            await until(lambda: killed_one(ingest), "a lane at work")
        await holder.rollback()
        await sending
    await ingest.until_count("reading", DEVICES * (LISTS + 1) * VALUES)
    await until(lambda: grown(ingest, before[0] + DEVICES), "the account")
    received, stored, twice, aside = await account(ingest)
    assert (received, stored + twice, aside) == (before[0] + DEVICES, before[0] + DEVICES, 0)


async def publish_again(broker: Broker) -> None:
    async with device(broker) as publish:
        body = listed(NOW_S - 100, range(VALUES))
        await asyncio.gather(*(publish(f"sensors/L-{key}/readings", body) for key in range(DEVICES)))


def listed(start_s: int, values: Iterable[int]) -> bytes:
    """A list of readings, one a second."""
    return json.dumps([{"t": start_s + k, "values": {"a": value}} for k, value in enumerate(values)]).encode()


async def killed_one(ingest: Running) -> bool:
    return bool(await ingest.scalar(KILL_ONE))


async def grown(ingest: Running, received: int) -> bool:
    return (await account(ingest))[0] == received


async def done(ingest: Running) -> bool:
    return sum(len(block.readings) for block in ingest.blocks) == DEVICES * LISTS * VALUES


async def account(ingest: Running) -> tuple[int, int, int, int]:
    """Messages received, stored, duplicate and in quarantine."""
    async with ingest.pool.connection() as conn:
        row = await (await conn.execute(ACCOUNT)).fetchone()
    assert row is not None
    received, stored, twice, aside = (int(n) for n in row)
    return received, stored, twice, aside
