"""Alerts in the real database: the store's contract, cursors, two processes, storms."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from alerting.ports import AlertStore
from alerting.service import AlertService
from alerting.store import PostgresAlertStore
from db.pool import Pool, open_pool
from domain.devices import Device
from domain.errors import DatabaseUnavailable, VersionConflict
from domain.people import Actor
from domain.readings import Block
from tests.unit.alerting.blocks import METRICS, T0, TEMPERATURE, S, block, default_rules, readings
from tests.unit.alerting.store_contract import CONTRACT, PLACE, alert, write

pytestmark = pytest.mark.stack

LI = Actor("li", "dispatcher", "")


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda c: c.__name__)
async def test_the_store_keeps_the_contract(
    clause: Callable[[AlertStore], Awaitable[None]], pool: Pool
) -> None:
    await clause(PostgresAlertStore(pool))


async def build(pool: Pool) -> AlertService:
    ticks = iter(range(T0 + 10 * S, T0 + 10**12, 1000))
    service = AlertService(
        PostgresAlertStore(pool), default_rules(), device=lambda key: Device(key, f"T-{key}", "smoke"),
        metric_names=lambda: METRICS, place=lambda asked: [PLACE for _ in asked], now_us=lambda: next(ticks),
    )  # fmt: skip
    await service.start()
    return service


def at(second: float, value: float, *devices: int) -> Block:
    t = T0 + round(second * S)
    return block(readings([(d, TEMPERATURE, t, value) for d in devices or (1,)]), committed_us=t)


async def rows(pool: Pool, query: str) -> list[tuple[Any, ...]]:
    async with pool.connection() as conn:
        return list(await (await conn.execute(query.encode())).fetchall())


CHANGES = "SELECT cursor, alert_id, version, change, actor, body FROM alert_change ORDER BY cursor"


async def test_every_change_is_appended_and_the_alert_row_is_its_newest(pool: Pool) -> None:
    service = await build(pool)
    await service.handle(at(0, 80))
    await service.handle(at(1, 95))
    [(first, alert_id, *_), _] = await rows(pool, CHANGES)
    await service.act("acknowledge", alert_id, {"version": 2, "reason": "on my way"}, LI)
    await service.handle(at(2, 20))
    changes = await rows(pool, CHANGES)
    assert [c[3] for c in changes] == ["raised", "updated", "acknowledged", "cleared"]
    assert [c[4] for c in changes] == ["detector", "detector", "li", "detector"]
    assert [c[2] for c in changes] == [1, 2, 3, 4]
    assert all(c[5]["cursor"] == c[0] and c[5]["version"] == c[2] for c in changes)
    query = "SELECT cursor, version, severity, state, condition, town, village, grid, body FROM alert"
    [row] = await rows(pool, query)
    assert row[:5] == (changes[-1][0], 4, 1, "acknowledged", "cleared")
    assert row[5:8] == (PLACE.town, PLACE.village, PLACE.grid)
    assert row[8] == changes[-1][5]
    assert first < changes[-1][0]


async def test_listeners_hear_the_newest_cursor_after_the_commit(pool: Pool, database_url: str) -> None:
    service = await build(pool)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as listener:
        await listener.execute("LISTEN alert_change")
        await service.handle(at(0, 80, 1, 2, 3))
        heard = [n.payload async for n in listener.notifies(timeout=5, stop_after=1)]
    [(newest,)] = await rows(pool, "SELECT max(cursor) FROM alert_change")
    assert heard == [str(newest)]


async def test_redelivery_to_a_restarted_process_writes_nothing(pool: Pool) -> None:
    await (await build(pool)).handle(at(0, 80, 1, 2))
    restarted = await build(pool)
    await restarted.handle(at(0, 80, 1, 2))
    assert len(await rows(pool, CHANGES)) == 2
    await restarted.handle(at(1, 20, 1, 2))
    assert [c[3] for c in await rows(pool, CHANGES)] == ["raised", "raised", "cleared", "cleared"]


async def test_people_in_another_process_and_detectors_do_not_overwrite_each_other(pool: Pool) -> None:
    detecting, serving = await build(pool), await build(pool)
    await detecting.handle(at(0, 61))
    [(_, alert_id, *_)] = await rows(pool, CHANGES)

    conflicts: list[int] = []

    async def people() -> None:
        for n in range(20):
            version = (await rows(pool, "SELECT version FROM alert"))[0][0]
            try:
                await serving.act("comment", alert_id, {"version": version, "text": f"look {n}"}, LI)
            except VersionConflict:
                conflicts.append(n)

    async def detectors() -> None:
        for n in range(1, 21):
            while True:  # as ingest does: people may be faster five times running
                try:
                    await detecting.handle(at(n, 20 if n % 2 else 61))
                    break
                except DatabaseUnavailable:
                    await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(people())
        group.create_task(detectors())
    changes = await rows(pool, CHANGES)
    assert [c[2] for c in changes] == list(range(1, len(changes) + 1)), "no version twice, none left out"
    assert len(changes) == 21 + 20 - len(conflicts)
    kinds = [c[3] for c in changes if c[4] == "detector"]
    assert kinds == ["raised"] + ["cleared", "updated"] * 10


async def test_cursors_become_visible_in_order(pool: Pool) -> None:
    stores = [PostgresAlertStore(pool) for _ in range(4)]
    seen: list[int] = []
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            new = await rows(
                pool, f"SELECT cursor FROM alert_change WHERE cursor > {max(seen, default=0)} ORDER BY 1"
            )
            seen.extend(c for (c,) in new)

    async def insert(n: int) -> None:
        for i in range(15):
            await stores[n].write(
                [write(alert(f"{n}-{i}-{k}", device=1000 * n + 10 * i + k)) for k in range(5)]
            )

    watching = asyncio.create_task(watch())
    async with asyncio.TaskGroup() as group:
        for n in range(4):
            group.create_task(insert(n))
    done.set()
    await watching
    seen.extend(
        c
        for (c,) in await rows(pool, f"SELECT cursor FROM alert_change WHERE cursor > {max(seen)} ORDER BY 1")
    )
    assert len(seen) == 300, "whoever follows the cursor misses nothing"


async def test_a_storm_of_two_thousand_is_written_whole(pool: Pool) -> None:
    service = await build(pool)
    for start in range(0, 2000, 500):
        await service.handle(at(0, 80, *range(start + 1, start + 501)))
    assert await rows(pool, "SELECT count(*), count(DISTINCT device) FROM alert") == [(2000, 2000)]


async def test_a_shelf_ends_and_survives_a_restart(pool: Pool) -> None:
    service = await build(pool)
    await service.handle(at(0, 80))
    [(_, alert_id, *_)] = await rows(pool, CHANGES)
    await service.act("shelve", alert_id, {"version": 1, "minutes": 1, "reason": "works"}, LI)
    restarted = await build(pool)
    await restarted.tick(T0 + 3600 * S)
    assert [c[3] for c in await rows(pool, CHANGES)] == ["raised", "shelved", "unshelved"]
    assert await rows(pool, "SELECT shelved_until FROM alert") == [(None,)]


async def test_a_lost_database_is_said_and_the_same_block_works_later(database_url: str) -> None:
    async with open_pool(database_url, name="lost", max_size=1) as pool:
        service = await build(pool)
        async with pool.connection() as conn:
            [(pid,)] = await (await conn.execute("SELECT pg_backend_pid()")).fetchall()

        original = pool.connection

        def killed(*args: Any, **kwargs: Any) -> Any:
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        pool.connection = killed  # type: ignore[method-assign]
        with pytest.raises(DatabaseUnavailable, match="writing alerts"):
            await service.handle(at(0, 80))
        pool.connection = original  # type: ignore[method-assign]
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (pid,))
        await service.handle(at(0, 80))
        assert [c[3] for c in await rows(pool, CHANGES)] == ["raised"]


async def test_engineers_rules_and_duties_are_kept(pool: Pool) -> None:
    store = PostgresAlertStore(pool)
    await store.load_rules()
    await store.load_duties()
    async with pool.connection() as conn:
        await conn.execute("DELETE FROM rule WHERE id <> 'fire.smoke'")
        await conn.execute("UPDATE rule SET enabled = false, version = 2")
        await conn.execute("DELETE FROM duty WHERE kind <> 'truck.*'")
    [rule] = await store.load_rules()
    assert (rule.id, rule.enabled, rule.version) == ("fire.smoke", False, 2)
    assert {d.kind for d in await store.load_duties()} == {"truck.*"}
    assert replace(rule, enabled=True, version=1) in default_rules()
    [(matters,)] = await rows(pool, "SELECT count(*) FROM matter")
    assert matters > 8
