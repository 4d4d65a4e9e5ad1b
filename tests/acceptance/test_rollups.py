"""The whole server: a late reading is marked, the server is killed, and the next one rolls it up and answers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.fix_server import LiveServer, Server

pytestmark = pytest.mark.stack


def test_a_late_reading_is_rolled_up_over_a_kill(own_server: Server) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    own_server.start("--no-demo", city=True)
    live = LiveServer(own_server, own_server.mqtt_url)
    url = own_server.database_url

    def count(sql: str) -> int:
        with psycopg.connect(url) as conn:
            row = conn.execute(sql.encode()).fetchone()
        return int(row[0] or 0) if row else 0

    for k, value in enumerate((1.0, 2.0, 6.0)):
        body = {"t": hour.timestamp() + 600 * k, "values": {"late_c": value}}
        asyncio.run(live.publish("sensors/late-1/readings", body))
    own_server.wait(lambda: count("SELECT count(*) FROM reading") == 3, "three readings")
    assert count("SELECT count(DISTINCT (device, hour)) FROM rollup_dirty") == 1
    own_server.kill()
    own_server.start("--no-demo")
    own_server.wait(lambda: count("SELECT sum(n) FROM reading_1h") == 3, "the hour to be rolled up")
    assert count("SELECT count(*) FROM rollup_dirty") == 0
    answer = own_server.get(
        "/readings", own_server.token(), device="late-1", step="1h", to=datetime.now(UTC).isoformat(),
        **{"from": (hour - timedelta(days=2)).isoformat()},
    )  # fmt: skip
    (b,) = answer["items"]
    assert (b["count"], b["value"], b["min"], b["max"], b["last"]) == (3, 3.0, 1.0, 6.0, 6.0)
