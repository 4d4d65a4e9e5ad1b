"""One recording, live-like, late, backfilled, and at any speed through MQTT: the same alerts."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from tests.fix_server import Server, server_home

pytestmark = [pytest.mark.stack, pytest.mark.alone]

BEGIN_S = 1_790_000_000
SECONDS = 60
ALERTS = """
SELECT rule, body #>> '{device,id}', episode, severity, condition, body ->> 'value', body ->> 'late',
       body ->> 'count'
FROM alert WHERE exercise = %s ORDER BY 1, 2, 3"""


def packet(second: int, loud: bool, rng: np.random.Generator) -> dict[str, Any]:
    samples = rng.normal(scale=0.0008, size=(3, 100)) + loud * 0.05 * np.sin(np.arange(100) / 2)
    body: dict[str, Any] = {"t": BEGIN_S + second, "seq": second, "rate_hz": 100, "unit": "m/s2"}
    return body | {axis: np.round(samples[i], 6).tolist() for i, axis in enumerate("xyz")}


def messages() -> list[tuple[float, str, dict[str, Any]]]:
    """(arrival, topic, payload): a sensor in time, one that was away, one with old values, shaking, a camera."""
    rng = np.random.default_rng(11)
    sent: list[tuple[float, str, dict[str, Any]]] = []

    def reading(arrives: float, device: str, sampled: float, metric: str, value: float) -> None:
        body = {"t": BEGIN_S + sampled, "values": {metric: value}}
        sent.append((BEGIN_S + arrives, f"sensors/{device}/readings", body))

    for s in range(SECONDS):
        hot = 70.0 + s % 2 if 10 <= s < 30 else 21.0
        reading(s, "SM-live", s, "temperature_c", hot)
        # Away from second 5 to 50, then its whole memory in order.
        reading(s if s < 5 or s >= 50 else 50, "SM-away", s, "temperature_c", hot)
        # In time and calm; at second 30 an old, hot value comes, which is only stored.
        reading(s, "SM-late", s, "temperature_c", 21.0)
        reading(s, "WL-1", s - 1000, "water_level_m", 0.4)  # true, but long ago
        sent.append((BEGIN_S + s + 1, "sensors/VB-1/waveform", packet(s, 25 <= s < 32, rng)))
    reading(30, "SM-late", 12.5, "temperature_c", 95.0)
    for s, phase, score in ((8, "start", 0.7), (15, "update", 0.95), (22, "end", 0.8)):
        event = {"event_id": "e", "phase": phase, "t": BEGIN_S + s, "type": "fire", "score": score}
        sent.append((BEGIN_S + s, "cameras/CAM-1/events", event))
    return sorted(sent, key=lambda m: m[0])


def write(path: Path) -> None:
    lines = [json.dumps({"t": at, "topic": topic, "payload": json.dumps(body)}) for at, topic, body in messages()]
    path.write_text("\n".join(lines) + "\n")


def alerts_of(server: Server, run: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.database_url) as conn:
        return conn.execute(ALERTS.encode(), [run]).fetchall()


def is_over(server: Server, run: str) -> bool:
    """Whether all five alerts are there, and both heats have ended."""
    alerts = alerts_of(server, run)
    return len(alerts) >= 5 and all(row[4] == "cleared" for row in alerts if row[0] == "fire.temperature")


def replayed(server: Server, path: Path, speed: str) -> str:
    """Replay it whole; the run's name once all of it is stored."""
    with psycopg.connect(server.database_url, autocommit=True) as conn:
        known = {row[0] for row in conn.execute(b"SELECT id FROM run")}
        done = server.cli("replay", str(path), "--speed", speed)
        runs = [row[0] for row in conn.execute(b"SELECT id FROM run") if row[0] not in known]
        assert len(runs) == 1, done.stdout + done.stderr
        assert re.search(r"\d", done.stdout + done.stderr)
        sql = b"SELECT count(*) FROM reading r JOIN device d ON d.key = r.device WHERE d.run = %s"

        def stored() -> bool:
            row = conn.execute(sql, [runs[0]]).fetchone()
            return row is not None and row[0] == 4 * SECONDS + 1

        server.wait(stored, f"the recording stored at speed {speed}")
    return str(runs[0])


def test_the_same_recording_gives_the_same_alerts_at_any_speed(tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    write(path)
    with server_home() as server:
        server.start("--no-demo")
        found = {}
        for speed in ("4", "20", "max"):
            run = replayed(server, path, speed)
            server.wait(partial(is_over, server, run), f"alerts at speed {speed}, as it leaves them")
            found[speed] = alerts_of(server, run)
        assert found["20"] == found["4"]
        assert found["max"] == found["4"]
        told = {(row[0], row[1]): row for row in found["4"]}
        assert set(told) == {
            ("fire.temperature", "SM-live"), ("fire.temperature", "SM-away"), ("flood.water-level", "WL-1"),
            ("vibration.shaking", "VB-1"), ("camera.fire", "CAM-1"),
        }  # fmt: skip
        live, away = told["fire.temperature", "SM-live"], told["fire.temperature", "SM-away"]
        assert live[2:] == away[2:], "what was sent later is judged by when it was"
        assert told["flood.water-level", "WL-1"][6] == "true", "never as if it were live"
