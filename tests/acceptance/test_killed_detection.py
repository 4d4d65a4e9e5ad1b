"""kill -9 in the middle of a delay and of what a detector learns: the same alerts as without it."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import psycopg
import pytest

from simulators.publisher import Publisher
from tests.fix_server import Server, server_home

pytestmark = [pytest.mark.stack, pytest.mark.alone]

Message = tuple[str, bytes]
ALERTS = """
SELECT rule, replace(body #>> '{device,id}', %s, '') AS device, episode, severity, condition, body ->> 'value',
       body ->> 'late' FROM alert WHERE body #>> '{device,id}' LIKE %s ORDER BY 1, 2, 3"""


def recording(who: str, begin_s: float) -> list[list[Message]]:
    """Second by second: water rises for 50 s, an accelerometer hears noise for 40 s and then a faint shaking."""
    rng = np.random.default_rng(3)
    seconds = []
    for second in range(70):
        t = begin_s + second
        level = 0.02 if second < 15 else 0.4
        water = {"t": t, "seq": second, "values": {"water_level_m": level + 0.001 * (second % 3)}}
        amplitude = 0.03 if 40 <= second < 50 else 0.0
        samples = rng.normal(scale=0.0008, size=(3, 100)) + amplitude * np.sin(np.arange(100) / 2)
        packet: dict[str, Any] = {"t": t, "seq": second, "rate_hz": 100, "unit": "m/s2"}
        packet |= {axis: np.round(samples[i], 6).tolist() for i, axis in enumerate("xyz")}
        seconds.append(
            [
                (f"sensors/{who}WL-1/readings", json.dumps(water).encode()),
                (f"sensors/{who}VB-1/waveform", json.dumps(packet).encode()),
            ]
        )
    return seconds


async def publish(url: str, seconds: list[list[Message]]) -> None:
    async with Publisher(url, "recording", patience_s=20) as publisher:
        for messages in seconds:
            for topic, payload in messages:
                await publisher.publish(topic, payload)
        await publisher.flush()


def wait_stored(server: Server, who: str, n: int) -> None:
    sql = """SELECT (SELECT count(*) FROM reading r JOIN device d ON d.key = r.device WHERE d.id = %s)
                  + (SELECT count(*) FROM waveform w JOIN device d ON d.key = w.device WHERE d.id = %s)"""
    with psycopg.connect(server.database_url, autocommit=True) as conn:

        def all_there() -> bool:
            row = conn.execute(sql.encode(), [f"{who}WL-1", f"{who}VB-1"]).fetchone()
            return row is not None and row[0] == n

        server.wait(all_there, f"{n} rows of {who} stored")


def alerts(server: Server, who: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.database_url) as conn:
        return conn.execute(ALERTS.encode(), [who, f"{who}%"]).fetchall()


async def test_a_killed_server_raises_what_one_that_lived_raises() -> None:
    with server_home(GRIDPULSE_AUTO_REGISTER="true") as server:
        server.start("--no-demo")
        begin_s = round(time.time()) - 100.0
        url = server.mqtt_url
        await publish(url, recording("live-", begin_s))
        wait_stored(server, "live-", 140)
        server.wait_seen()
        expected = alerts(server, "live-")
        # The delay of 30 s began at second 15; the long window was full at second 11; the shaking is at 40.
        assert {row[0] for row in expected} >= {"flood.water-level", "vibration.shaking"}
        killed = recording("dead-", begin_s)
        await publish(url, killed[:25])
        wait_stored(server, "dead-", 50)
        server.kill()
        server.start("--no-demo")
        await publish(url, killed[25:38])
        wait_stored(server, "dead-", 76)
        server.kill()
        server.start("--no-demo")
        await publish(url, killed[38:])
        wait_stored(server, "dead-", 140)
        server.wait_seen()
        assert alerts(server, "dead-") == expected


def test_a_second_process_on_the_database_stands_by_and_takes_over(database_url: str) -> None:
    outside = {"GRIDPULSE_AUTO_REGISTER": "true", "GRIDPULSE_DATABASE_URL": database_url}
    with server_home(**outside) as first:
        first.start("--no-demo")
        broker = first.mqtt_url
        with server_home(**outside, GRIDPULSE_MQTT_URL=broker) as second:
            second.start("--no-demo")
            second.wait(lambda: "standing by" in second.output, "the second to stand by")
            assert second.is_ready(), "it answers questions"
            with psycopg.connect(database_url, autocommit=True) as conn:

                def term() -> int:
                    row = conn.execute(b"SELECT term FROM detection_owner").fetchone()
                    assert row is not None
                    return int(row[0])

                assert term() == 1
                first.kill()
                second.wait(lambda: term() == 2, "the second to take over")
