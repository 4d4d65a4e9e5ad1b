from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db import locks
from db.edition import SEGMENTS, SELECT_EDITION, SELECT_ENABLED, SELECT_OLD, Edition, compress_old, compress_table
from db.maintenance import Retention, maintain
from db.pool import Pool, connect

pytestmark = pytest.mark.stack

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
KEEP = Retention(readings_days=90, waveforms_days=30, positions_days=30)
READING = "INSERT INTO reading (time, device, metric, value, seq, late) VALUES (%s, 7, 1, 0, -1, false)"


async def scalar(pool: Pool, sql: str, *args: Any) -> Any:
    async with pool.connection() as conn:
        row = await (await conn.execute(sql.encode(), args)).fetchone()
    return row[0] if row else None


async def test_what_is_older_than_its_days_goes_and_the_rest_stays(pool: Pool, database_url: str) -> None:
    async with pool.connection() as conn:
        for days in (1, 89, 92, 400):
            await conn.execute(READING.encode(), [NOW - timedelta(days=days)])
        for days in (1, 100):
            await conn.execute(
                "INSERT INTO quarantine (received_at, topic, reason, detail, payload, digest) "
                "VALUES (%s, 't', 'r', 'd', '', %s)",
                [NOW - timedelta(days=days), bytes([days])],
            )
    async with await connect(database_url, name="test") as conn:
        removed = await maintain(conn, KEEP, NOW)
    assert removed["reading"] == 2
    assert removed["quarantine"] == 1
    assert await scalar(pool, "SELECT count(*) FROM reading") == 2
    assert await scalar(pool, "SELECT count(*) FROM quarantine") == 1


async def test_chunks_are_there_before_the_traffic_and_nothing_else_is(pool: Pool, database_url: str) -> None:
    async with await connect(database_url, name="test") as conn:
        await maintain(conn, KEEP, NOW)
    covers = (
        "SELECT bool_and(EXISTS (SELECT FROM timescaledb_information.chunks WHERE hypertable_name = %s "
        "AND range_start <= at AND at < range_end)) FROM unnest(%s::timestamptz[]) AS at"
    )
    hours = [NOW + timedelta(hours=hour) for hour in range(13)]
    for table in ("reading", "waveform", "position"):
        assert await scalar(pool, covers, table, hours)
        assert await scalar(pool, f"SELECT count(*) FROM {table}") == 0


async def test_the_next_chunks_are_as_long_as_the_traffic_allows(
    pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = "SELECT time_interval FROM timescaledb_information.dimensions WHERE hypertable_name = 'reading'"
    async with await connect(database_url, name="test") as conn:
        await conn.execute(
            "INSERT INTO reading SELECT t, 7, 1, 0, -1, false FROM generate_series(%s::timestamptz, %s, '1s') AS t",
            [NOW - timedelta(hours=6), NOW],
        )
        await maintain(conn, KEEP, NOW)
        assert await scalar(pool, length) == timedelta(days=1)
        monkeypatch.setattr("db.chunks.CHUNK_BYTES_MAX", 4_000_000)
        await maintain(conn, KEEP, NOW)
        assert await scalar(pool, length) == timedelta(hours=6)
        # A day later: what comes next goes into the shorter ones.
        await maintain(conn, KEEP, NOW + timedelta(hours=24))
    lengths = "SELECT min(range_end - range_start) FROM timescaledb_information.chunks WHERE hypertable_name = %s"
    assert await scalar(pool, lengths, "reading") < timedelta(days=1)


async def test_one_process_at_a_time(pool: Pool, database_url: str) -> None:
    async with await connect(database_url, name="one") as one, await connect(database_url, name="two") as two:
        await one.execute("SELECT pg_advisory_lock(%s)", [locks.MAINTENANCE])
        assert await maintain(two, KEEP, NOW) == {}
        await one.execute("SELECT pg_advisory_unlock(%s)", [locks.MAINTENANCE])
        assert await maintain(two, KEEP, NOW) != {}


async def test_a_locked_table_waits_for_the_next_round(pool: Pool, database_url: str) -> None:
    async with pool.connection() as conn:
        await conn.execute(READING.encode(), [NOW - timedelta(days=400)])
    async with await connect(database_url, name="maintenance") as conn, pool.connection() as writer:
        await writer.execute(READING.encode(), [NOW - timedelta(days=400, seconds=1)])
        removed = await maintain(conn, KEEP, NOW)
        assert removed["reading"] == 0
        await writer.rollback()
        assert (await maintain(conn, KEEP, NOW))["reading"] == 1


async def test_on_this_edition_compression_changes_nothing(
    pool: Pool, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Installed here is the Apache edition: it is left alone, and its refusal, were it asked, stops nothing."""
    async with pool.connection() as conn:
        await conn.execute(READING.encode(), [NOW - timedelta(days=30)])
    async with await connect(database_url, name="test") as conn:
        license_ = Edition.of(await (await conn.execute(SELECT_EDITION)).fetchone()).license
        assert license_ == "apache"
        assert await compress_old(conn, NOW) == 0
        assert caplog.messages == []
        for table in SEGMENTS:
            assert await compress_table(conn, table, NOW) == 0
        assert [message.split(":")[0] for message in caplog.messages] == [
            f"chunks of {table} are not compressed" for table in SEGMENTS
        ]
        assert "apache" in caplog.text
        assert (await maintain(conn, KEEP, NOW))["reading"] == 0
    assert await scalar(pool, "SELECT count(*) FROM reading") == 1
    assert await scalar(pool, "SELECT bool_or(is_compressed) FROM timescaledb_information.chunks") is False


async def test_the_statements_about_chunks_fit_the_views(pool: Pool, database_url: str) -> None:
    async with pool.connection() as conn:
        await conn.execute(READING.encode(), [NOW - timedelta(days=30)])
        await conn.execute(READING.encode(), [NOW])
        enabled = await (await conn.execute(SELECT_ENABLED, ["reading"])).fetchone()
        old = await (await conn.execute(SELECT_OLD, ["reading", NOW - timedelta(days=7), 8])).fetchall()
        rows = await (await conn.execute(f"SELECT time FROM {old[0][0]}".encode())).fetchall()
    assert enabled == (False,)
    assert len(old) == 1
    assert rows == [(NOW - timedelta(days=30),)]
