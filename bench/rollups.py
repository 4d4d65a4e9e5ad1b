"""How long a year of readings takes to read by step, over HTTP, from a table with a year of many devices.

Rollups are written straight into their tables (a year of traffic would take a year);
readings are there for the newest days, as retention leaves them.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
import psycopg

from bench.server import Running, running_server

DEVICES = 200
METRICS = ("bench_a", "bench_b", "bench_c")
RAW_DAYS = 90
RAW_EVERY_S = 60
ROUNDS = 7

NAMES = "INSERT INTO metric (name) SELECT unnest(%s::text[]) RETURNING key"
MAKE_DEVICES = "INSERT INTO device (id) SELECT 'bench-' || i FROM generate_series(1, %s) AS i RETURNING key"
SERIES = "INSERT INTO series SELECT d, m FROM unnest(%s::int[]) AS d, unnest(%s::int[]) AS m"
ROLLUPS = """
INSERT INTO {table} (device, metric, bucket, n, sum, min, max, last, last_at)
SELECT d, m, at, 60, 60 * sin(extract(epoch FROM at)), -1, 1, 0, at + %s::interval / 2
FROM generate_series(%s::timestamptz, %s, %s::interval) AS at, unnest(%s::int[]) AS d, unnest(%s::int[]) AS m
"""
READINGS = """
INSERT INTO reading (time, device, metric, value, seq, late)
SELECT at, %s, m, sin(extract(epoch FROM at)), -1, false
FROM generate_series(%s::timestamptz, %s, make_interval(secs => %s)) AS at, unnest(%s::int[]) AS m
"""


def main() -> None:
    """Print the table; medians of ROUNDS."""
    with running_server() as server:
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        fill(server.database_url, now)
        token = server.cli("token", "--user", "dispatcher")
        print(f"{DEVICES} devices x {len(METRICS)} metrics by hour, one by minute, {RAW_DAYS} days of its readings")
        print(f"{'':<34}{'points':>8}{'median ms':>11}{'worst ms':>10}")
        year, month = timedelta(days=365), timedelta(days=30)
        for name, span, step, metrics in (
            ("a year by 1 h, 1 metric", year, "1h", 1),
            ("a year by 3 h, 3 metrics", year, "3h", 3),
            ("a year by 1 d, 3 metrics", year, "1d", 3),
            ("a year by 90 min, 1 metric", year, "90min", 1),
            ("30 days by 15 min, 3 metrics", month, "15min", 3),
        ):
            asked = {
                "device": "bench-1", "metric": ",".join(METRICS[:metrics]), "step": step,
                "from": (now - span).isoformat(), "to": now.isoformat(),
            }  # fmt: skip
            points, took_s = zip(*(ask(server, token, asked) for _ in range(ROUNDS)), strict=True)
            print(f"{name:<34}{points[0]:>8,}{np.median(took_s) * 1e3:>11.0f}{max(took_s) * 1e3:>10.0f}")


def fill(url: str, now: datetime) -> None:
    """A year of rollups, the newest days of one device's readings."""
    begin = now - timedelta(days=366)
    with psycopg.connect(url, autocommit=True) as conn:
        metrics = [row[0] for row in conn.execute(NAMES, [list(METRICS)])]
        devices = [row[0] for row in conn.execute(MAKE_DEVICES, [DEVICES])]
        conn.execute(SERIES, [devices, metrics])
        for table, width, of in (("reading_1h", "1 hour", devices), ("reading_1m", "1 minute", devices[:1])):
            conn.execute(ROLLUPS.format(table=table).encode(), [width, begin, now, width, of, metrics])
        raw_from = now - timedelta(days=RAW_DAYS)
        conn.execute(READINGS, [devices[0], raw_from, now, RAW_EVERY_S, metrics])
        conn.execute("UPDATE rollup_progress SET raw_from = %s", [raw_from])
        conn.execute("VACUUM ANALYZE")


def ask(server: Running, token: str, asked: dict[str, str]) -> tuple[int, float]:
    """Points answered and seconds taken."""
    request = Request(
        f"{server.base_url}/api/v1/readings?{urlencode(asked)}", headers={"Authorization": f"Bearer {token}"}
    )
    began = time.perf_counter()
    with urlopen(request, timeout=30) as answer:
        items = json.loads(answer.read())["items"]
    return len(items), time.perf_counter() - began


if __name__ == "__main__":
    main()
