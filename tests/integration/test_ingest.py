"""From the broker to the commit, on the real ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import aiomqtt
import msgspec
import numpy as np
import psycopg
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from db.pool import Pool
from domain.readings import Block
from ingest.adapters.routes import Adapters
from ingest.endpoint import Endpoint
from ingest.messages import Message, Rules
from ingest.registry import Registry
from ingest.service import IngestService, Sink
from ingest.session import MqttSession
from ingest.store import IngestStore
from ingest.topics import SUBSCRIPTIONS
from ingest.translation import Translation
from tests.fix_stack import Broker
from tests.waiting import ended, until

pytestmark = pytest.mark.stack

NOW_S = 1_795_400_000
RULES = Rules(ZoneInfo("Asia/Shanghai"), auto_register=True, runs_as_live=True)


@dataclass
class Running:
    """An ingest service at work, what it handed on, and ways to look at the database."""

    pool: Pool
    session: MqttSession
    service: IngestService
    registry: Registry
    blocks: list[Block]
    client_id: str

    async def scalar(self, sql: str, *args: Any) -> Any:
        async with self.pool.connection() as conn:
            row = await (await conn.execute(sql.encode(), args)).fetchone()
        return row[0] if row else None

    async def until_count(self, table: str, n: int) -> None:
        async def enough() -> bool:
            return bool(await self.scalar(f"SELECT count(*) >= {n} FROM {table}"))

        await until(enough, f"{n} rows in {table}")


_ids = iter(range(10_000))


@asynccontextmanager
async def running_ingest(
    pool: Pool,
    url: str,
    broker: Broker,
    rules: Rules = RULES,
    client_id: str = "",
    now_s: float = NOW_S,
    sink: Sink | None = None,
    adapters: Adapters | None = None,
    clock_s: Callable[[], float] | None = None,
) -> AsyncIterator[Running]:
    client_id = client_id or f"test-ingest-{next(_ids)}"
    adapters = adapters or Adapters((), rules.zone)
    session = MqttSession(
        broker.url, client_id, (*SUBSCRIPTIONS, *adapters.filters), retained_filters=adapters.retained_filters,
        now_us=lambda: int((clock_s() if clock_s else now_s) * 1e6),
    )  # fmt: skip
    stores = [IngestStore(url), IngestStore(url)]
    registry = Registry(pool)
    await registry.load()
    blocks: list[Block] = []

    async def keep(block: Block) -> None:
        blocks.append(block)

    translation = Translation(adapters, session.publish)
    service = IngestService(session, stores, registry, rules, sink or keep, translate=translation)
    tasks = [asyncio.create_task(work) for work in (session.run(), service.run(), registry.follow(url))]
    try:
        await session.wait_connected(10)
        yield Running(pool, session, service, registry, blocks, client_id)
    finally:
        await ended(*tasks)
        for store in stores:
            await store.close()
        broken = [task.exception() for task in tasks if not task.cancelled()]
        assert not broken, f"a part ended by itself: {broken!r}"


@pytest.fixture
async def ingest(pool: Pool, database_url: str, broker: Broker) -> AsyncIterator[Running]:
    async with running_ingest(pool, database_url, broker) as running:
        yield running
    await forget_session(broker, running.client_id)


async def forget_session(broker: Broker, client_id: str) -> None:
    """So that the broker does not queue for a session nobody will take up again."""
    endpoint = Endpoint.parse(broker.url)
    async with aiomqtt.Client(
        endpoint.host, endpoint.port, username=endpoint.username, password=endpoint.password,
        identifier=client_id, protocol=aiomqtt.ProtocolVersion.V5, clean_start=True,
    ):  # fmt: skip
        pass


@asynccontextmanager
async def device(broker: Broker) -> AsyncIterator[Callable[..., Any]]:
    endpoint = Endpoint.parse(broker.url)
    async with aiomqtt.Client(
        endpoint.host, endpoint.port, username=endpoint.username, password=endpoint.password
    ) as client:

        async def publish(topic: str, payload: Any, **options: Any) -> None:
            if not isinstance(payload, bytes):
                payload = json.dumps(payload).encode()
            await client.publish(topic, payload, qos=1, **options)

        yield publish


async def test_a_reading_is_stored_with_its_time_and_metric(ingest: Running, broker: Broker) -> None:
    async with device(broker) as publish:
        await publish("sensors/T-1/readings", {"t": NOW_S, "seq": 7, "values": {"temperature_c": 21.5}})
    await ingest.until_count("reading", 1)
    row = await ingest.scalar(
        "SELECT (d.id, m.name, r.value, extract(epoch FROM r.time)::bigint, r.seq, r.late)::text FROM reading r "
        "JOIN device d ON d.key = r.device JOIN metric m ON m.key = r.metric"
    )
    assert row == f"(T-1,temperature_c,21.5,{NOW_S},7,f)"
    assert sum(len(block.readings) for block in ingest.blocks) == 1


async def test_every_kind_of_message_arrives_in_its_table(ingest: Running, broker: Broker) -> None:
    packed = {"t": NOW_S, "rate_hz": 100, "unit": "gal", "scale": 0.5,
              "x": np.arange(4, dtype="<i2").tobytes(), "z": np.ones(4, dtype="<i2").tobytes()}  # fmt: skip
    async with device(broker) as publish:
        await publish("sensors/V-1/waveform", msgspec.msgpack.encode(packed))
        await publish("sensors/V-2/waveform", {"t": NOW_S, "rate_hz": 50, "unit": "mm/s", "x": [1.0, 2.0]})
        await publish("sensors/V-1/status", {"online": True, "battery_pct": 88})
        await publish(
            "cameras/C-1/events", {"event_id": "e1", "phase": "start", "t": NOW_S, "type": "fire", "score": 0.9}
        )
        await publish(
            "vehicles/M-1/position", {"t": NOW_S, "lon": 113.55, "lat": 23.05, "datum": "wgs84", "bed": "loaded"}
        )
    await ingest.until_count("position", 1)
    for table, n in {"waveform": 2, "device_status": 1, "camera_event": 1, "quarantine": 0}.items():
        assert await ingest.scalar(f"SELECT count(*) FROM {table}") == n, table
    stored = await ingest.scalar("SELECT (encoding, scale, axes, n)::text FROM waveform WHERE encoding = 'i2'")
    assert stored == "(i2,0.005,5,4)"
    kinds = await ingest.scalar("SELECT string_agg(DISTINCT kind, ',' ORDER BY kind) FROM device")
    assert kinds == "camera,vehicle,vibration"
    assert await ingest.scalar("SELECT battery_pct FROM device WHERE id = 'V-1'") == 88


BAD = {
    "not_json": b'{"t": 1795400000, "values": {"a": 1',
    "wrong_type": {"t": NOW_S, "values": {"a": "hot"}},
    "empty": b"",
    "bad_time": {"t": "yesterday", "values": {"a": 1}},
    "time_ahead": {"t": NOW_S + 301, "values": {"a": 1}},
    "time_unset": {"t": 17, "values": {"a": 1}},
    "bad_metric": {"t": NOW_S, "values": {"a b": 1}},
    "too_large": b'{"pad": "' + b"x" * 1_000_000 + b'"}',
    "too_many_values": [{"t": NOW_S + i / 1000, "values": {"a": 1, "b": 2}} for i in range(5001)],
}


async def test_bad_input_goes_to_quarantine_whole_and_stops_nobody(ingest: Running, broker: Broker) -> None:
    async with device(broker) as publish:
        for payload in BAD.values():
            await publish("sensors/B-1/readings", payload)
        await publish("sensors/B-1/readings", b'{"t": 1795400000, "values": {"a": NaN}}')
        await publish("sensors/B-1/readings", msgspec.msgpack.encode({"t": NOW_S, "values": {"a": float("inf")}}))
        await publish("sensors/B-1/readings", b"\x00\xff\xfe")
        await publish("sensors/B-1/nonsense", {"t": NOW_S})
        await publish("sensors/B 1/readings", {"t": NOW_S, "values": {"a": 1}})
        await publish("sensors/B-1/readings", {"t": NOW_S, "values": {"a": 1}})
    await ingest.until_count("reading", 1)
    async with ingest.pool.connection() as conn:
        cursor = await conn.execute("SELECT reason, count(*) FROM quarantine GROUP BY 1")
        reasons = {row[0]: row[1] for row in await cursor.fetchall()}
    assert reasons == {**dict.fromkeys(BAD, 1), "not_json": 3, "not_finite": 1, "foreign_topic": 1, "bad_id": 1}
    kept = await ingest.scalar("SELECT payload FROM quarantine WHERE reason = 'time_unset'")
    assert json.loads(kept) == BAD["time_unset"]


async def test_the_account_is_exact(ingest: Running, broker: Broker) -> None:
    async with device(broker) as publish:
        for i in range(50):
            await publish("sensors/L-1/readings", {"t": NOW_S + i / 10, "values": {"a": i}})
        for i in range(10):
            await publish("sensors/L-1/readings", {"t": NOW_S + i / 10, "values": {"a": i}})
        await publish("sensors/L-1/readings", b"[]")

    async def settled() -> bool:
        return bool(await ingest.scalar("SELECT coalesce(sum(received), 0) = 61 FROM ledger_minute"))

    await until(settled, "61 messages in the ledger")
    counts = await ingest.scalar(
        "SELECT (sum(received), sum(stored), sum(duplicate), sum(rejected), sum(quarantined))::text "
        "FROM ledger_minute"
    )
    assert counts == "(61,50,10,0,1)"
    assert await ingest.scalar("SELECT count(*) FROM reading") == 50


async def test_unknown_devices_are_quarantined_where_registering_is_off(
    pool: Pool, database_url: str, broker: Broker
) -> None:
    strict = Rules(RULES.zone, auto_register=False, runs_as_live=False)
    async with running_ingest(pool, database_url, broker, strict) as running:
        async with device(broker) as publish:
            await publish("sensors/U-1/readings", {"t": NOW_S, "values": {"a": 1}})
            await publish("runs/live/sensors/U-1/readings", {"t": NOW_S, "values": {"a": 1}})
            await publish("runs/r1/sensors/U-1/readings", {"t": NOW_S, "values": {"a": 1}})
        await running.until_count("reading", 1)
        reasons = await running.scalar("SELECT string_agg(reason, ',' ORDER BY reason) FROM quarantine")
        assert reasons == "live_run,unknown_device"
        assert await running.scalar("SELECT run FROM device WHERE id = 'U-1'") == "r1"
    await forget_session(broker, running.client_id)


async def test_a_runs_own_clock_takes_the_place_of_arrival(ingest: Running, broker: Broker) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [("gridpulse-clock", "1600000000.5")]
    endpoint = Endpoint.parse(broker.url)
    body = json.dumps({"t": 1_600_000_000.25, "values": {"a": 1}}).encode()
    ahead = json.dumps({"t": 1_600_000_400, "values": {"a": 1}}).encode()
    async with aiomqtt.Client(
        endpoint.host, endpoint.port, username=endpoint.username, password=endpoint.password,
        protocol=aiomqtt.ProtocolVersion.V5,
    ) as client:  # fmt: skip
        await client.publish("runs/old/sensors/R-1/readings", body, qos=1, properties=properties)
        await client.publish("runs/old/sensors/R-1/readings", ahead, qos=1, properties=properties)
    await ingest.until_count("quarantine", 1)
    assert await ingest.scalar("SELECT reason FROM quarantine") == "time_ahead"
    assert ingest.blocks[0].readings.received_us.tolist() == [1_600_000_000_500_000]


async def test_late_data_is_stored_and_marked(ingest: Running, broker: Broker) -> None:
    async with device(broker) as publish:
        for t in (10, 5, 11):
            await publish("sensors/Z-1/readings", {"t": NOW_S - 60 + t, "values": {"a": t}})
        await publish("sensors/Z-1/readings", {"t": NOW_S - 53, "values": {"other": 1}})
    await ingest.until_count("reading", 4)
    late = await ingest.scalar("SELECT string_agg(value::text, ',') FROM reading WHERE late")
    assert late == "5"


async def test_lateness_is_known_across_a_restart(pool: Pool, database_url: str, broker: Broker) -> None:
    import time

    now_s = int(time.time())
    for step, t in enumerate((10, 5), 1):
        async with running_ingest(pool, database_url, broker, client_id="restarted", now_s=now_s) as running:
            async with device(broker) as publish:
                await publish("sensors/Z-2/readings", {"t": now_s - 60 + t, "values": {"a": t}})
            await running.until_count("reading", step)
    assert await running.scalar("SELECT value FROM reading WHERE late") == 5
    await forget_session(broker, "restarted")


async def test_what_came_while_we_were_away_comes_after(pool: Pool, database_url: str, broker: Broker) -> None:
    async with running_ingest(pool, database_url, broker, client_id="away"):
        pass
    async with device(broker) as publish:
        for i in range(200):
            await publish("sensors/A-1/readings", {"t": NOW_S + i, "values": {"a": i}})
    async with running_ingest(pool, database_url, broker, client_id="away", now_s=NOW_S + 300) as running:
        await running.until_count("reading", 200)
    await forget_session(broker, "away")


async def test_a_row_the_database_never_takes_is_put_aside(
    ingest: Running, broker: Broker, database_url: str
) -> None:
    async with ingest.pool.connection() as conn:
        await conn.execute("ALTER TABLE reading ADD CONSTRAINT poison CHECK (value <> 666)")
    async with device(broker) as publish:
        for i in range(660, 670):
            await publish("sensors/P-1/readings", {"t": NOW_S + i - 660, "values": {"a": i}})
    await ingest.until_count("reading", 9)
    await ingest.until_count("quarantine", 1)
    assert await ingest.scalar("SELECT reason FROM quarantine") == "store_error"


async def test_a_cancelled_statement_is_tried_again_and_quarantines_nothing(
    ingest: Running, broker: Broker, database_url: str
) -> None:
    """An operator's pg_cancel_backend or a statement_timeout says nothing about the data."""
    async with ingest.pool.connection() as holder, device(broker) as publish:
        await publish("sensors/C-1/readings", {"t": NOW_S, "values": {"a": 0}})
        await ingest.until_count("reading", 1)
        await holder.execute("LOCK TABLE reading IN ACCESS EXCLUSIVE MODE")
        await publish("sensors/C-1/readings", {"t": NOW_S + 1, "values": {"a": 1}})
        await publish("sensors/C-1/readings", {"t": NOW_S + 2, "values": {"b": 2}})  # floors are asked for

        async def cancelled() -> bool:
            return bool(
                await ingest.scalar(
                    "SELECT coalesce(bool_or(pg_cancel_backend(pid)), false) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND application_name = 'gridpulse-ingest' "
                    "AND wait_event_type = 'Lock'"
                )
            )

        for _ in range(3):
            await until(cancelled, "ingest waiting for the lock")
    await ingest.until_count("reading", 3)
    assert await ingest.scalar("SELECT count(*) FROM quarantine") == 0


async def test_the_database_going_away_loses_nothing(ingest: Running, broker: Broker, admin_url: str) -> None:
    name = await ingest.scalar("SELECT current_database()")

    def lock_out() -> None:
        with psycopg.connect(admin_url, autocommit=True) as conn:
            conn.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false".encode())
            conn.execute(b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    def let_in() -> None:
        with psycopg.connect(admin_url, autocommit=True) as conn:
            conn.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true".encode())

    async with device(broker) as publish:
        await publish("sensors/D-1/readings", {"t": NOW_S, "values": {"a": 0}})
        await ingest.until_count("reading", 1)
        lock_out()
        for i in range(1, 100):
            await publish("sensors/D-1/readings", {"t": NOW_S + i, "values": {"a": i}})

        async def waiting() -> bool:
            return ingest.service.waiting_for_database

        await until(waiting, "ingest waiting for the database")
        let_in()
    await ingest.until_count("reading", 100)
    assert await ingest.scalar("SELECT sum(received) = sum(stored + duplicate) FROM ledger_minute") is True


async def test_messages_that_came_another_way_are_safe_when_take_returns(ingest: Running) -> None:
    good = json.dumps({"t": NOW_S, "values": {"a": 1}}).encode()
    messages = [Message("sensors/W-1/readings", body, NOW_S * 10**6, None, False, 0, None) for body in (good, b"{")]
    await asyncio.wait_for(ingest.service.submit(messages), 10)
    assert await ingest.scalar("SELECT count(*) FROM reading") == 1
    assert await ingest.scalar("SELECT count(*) FROM quarantine") == 1
    assert [block.readings.value.tolist() for block in ingest.blocks] == [[1.0]]


async def test_the_next_batch_is_committed_while_one_is_looked_at_and_none_is_acknowledged(
    pool: Pool, database_url: str, broker: Broker
) -> None:
    seen: list[float] = []
    go_on = asyncio.Event()

    async def looks_long(block: Block) -> None:
        await go_on.wait()
        seen.extend(block.readings.value.tolist())

    async with running_ingest(pool, database_url, broker, client_id="slow", sink=looks_long) as running:
        async with device(broker) as publish:
            for i in range(3):
                await publish("sensors/S-1/readings", {"t": NOW_S - 10 + i, "values": {"a": i}})
                await running.until_count("reading", i + 1)
        assert running.session.statistics().unacknowledged == 3
        assert not seen
        go_on.set()

        async def acknowledged() -> bool:
            return running.session.statistics().unacknowledged == 0

        await until(acknowledged, "all acknowledged")
        assert seen == [0, 1, 2]
    await forget_session(broker, "slow")


async def test_what_was_committed_but_never_looked_at_is_looked_at_after_a_crash(
    pool: Pool, database_url: str, broker: Broker
) -> None:
    """Hot, then cool, in one batch: committed, then the process dies before its detectors saw them."""
    committed = asyncio.Event()

    async def dies(_: Block) -> None:
        committed.set()
        await asyncio.get_running_loop().create_future()

    async with running_ingest(pool, database_url, broker, client_id="crash", sink=dies):
        async with device(broker) as publish:
            await publish("sensors/H-1/readings", [{"t": NOW_S, "values": {"a": 99}}])
            await publish("sensors/H-1/readings", [{"t": NOW_S + 1, "values": {"a": 1}}])
        await asyncio.wait_for(committed.wait(), 10)
    async with running_ingest(pool, database_url, broker, client_id="crash") as running:
        await running.until_count("reading", 2)

        async def both_seen() -> bool:
            return sum(len(block.readings) for block in running.blocks) == 2

        await until(both_seen, "both readings handed on")
        values = [v for block in running.blocks for v in block.readings.value[~block.readings.late].tolist()]
        assert values == [99, 1]
        assert await running.scalar("SELECT sum(duplicate) > 0 FROM ledger_minute") is True
    await forget_session(broker, "crash")


async def test_a_step_of_our_clock_loses_nothing(pool: Pool, database_url: str, broker: Broker) -> None:
    """Back by an hour: what then lies in the future is kept aside. Ahead by an hour: nothing is late for that."""
    clock_s = [float(NOW_S)]

    def message(seq: int) -> dict[str, Any]:
        return {"t": NOW_S + seq, "seq": seq, "values": {"a": seq}}

    async with (
        running_ingest(pool, database_url, broker, clock_s=lambda: clock_s[0]) as running,
        device(broker) as publish,
    ):
        for seq, step_s, stored, aside in ((1, 0, 1, 0), (2, -3600, 1, 1), (3, 3600, 2, 1), (4, 0, 3, 1)):
            clock_s[0] = NOW_S + seq + step_s
            await publish("sensors/CL-1/readings", message(seq))
            await running.until_count("reading", stored)
            await running.until_count("quarantine", aside)
        await publish("sensors/CL-1/readings", message(2))  # as on resend
        await running.until_count("reading", 4)
        assert await running.scalar("SELECT reason FROM quarantine") == "time_ahead"
        assert await running.scalar("SELECT array_agg(seq ORDER BY seq) FROM reading WHERE NOT late") == [1, 3, 4]
        assert await running.scalar("SELECT array_agg(seq) FROM reading WHERE late") == [2]
        sums = "array[sum(received), sum(stored), sum(duplicate), sum(quarantined)]::int[]"
        assert await running.scalar(f"SELECT {sums} FROM ledger_minute") == [5, 4, 0, 1]
    await forget_session(broker, running.client_id)
