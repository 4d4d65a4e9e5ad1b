"""Rollups against a naive computation from readings, whatever comes late, twice or is killed between two steps."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from api.queries.received import READINGS_BY_STEP
from api.reader import reading
from api.routes.received import by_step, calibration_parameters
from db.devices import register_devices
from db.maintenance import Retention, maintain
from db.pool import Pool, connect
from db.runs import purge_run
from domain.calibration import Calibration
from domain.clock import from_us, to_us
from domain.errors import DatabaseUnavailable
from ingest.batching import assemble, series_of
from ingest.ledger import Account
from ingest.messages import Message, Rules, decode
from ingest.rollup.horizon import HOUR_US, MINUTE_US, Horizon
from ingest.rollup.service import GRACE_US, RollupService
from ingest.rollup.store import RollupStore
from ingest.store import IngestStore, load_metrics

pytestmark = pytest.mark.stack

T0_US = 1_795_413_600_000_000 // HOUR_US * HOUR_US
RULES = Rules(ZoneInfo("UTC"), auto_register=True, runs_as_live=True)
METRICS = ("t_c", "p_kpa")
BUCKETS_FROM_US = 946_857_600_000_000
"""Monday, 3 January 2000: what time_bucket counts from."""

NAIVE = """
SELECT device, metric, time_bucket(%s::interval, time) AS bucket, count(*), avg(value), min(value), max(value),
       last(value, time), max(time)
FROM reading WHERE time >= %s AND time < %s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
ROLLED = """
SELECT device, metric, bucket, n, sum / n, min, max, last, last_at FROM {table}
WHERE bucket >= %s ORDER BY 1, 2, 3
"""


class Killed(Exception):
    """The process ends here."""


class House:
    """Ingest's writer and the rollups on one database; ``restart`` is what a kill leaves behind."""

    def __init__(self, pool: Pool, url: str) -> None:
        self.pool, self.url = pool, url
        self.keys: dict[tuple[str, str | None], int] = {}
        self.metrics: dict[str, int] = {}
        self.now_us = T0_US
        self.horizon = Horizon()
        self.store = IngestStore(url, self.horizon)
        self.rollup_store = RollupStore(pool)
        self.rollups = RollupService(self.rollup_store, self.horizon, lambda: self.now_us)

    async def begin(self, devices: Iterable[tuple[str, str | None]]) -> None:
        async with self.pool.connection() as conn:
            await register_devices(conn, [(id_, run, "sensor") for id_, run in devices])
            self.metrics = await load_metrics(conn, METRICS)
            rows = await (await conn.execute("SELECT id, run, key FROM device")).fetchall()
        self.keys = {(id_, run): key for id_, run, key in rows}
        await self.rollups.start()

    async def restart(self) -> None:
        await self.store.close()
        self.horizon = Horizon()
        self.store = IngestStore(self.url, self.horizon)
        self.rollups = RollupService(self.rollup_store, self.horizon, lambda: self.now_us)
        await self.rollups.start()

    async def write(self, *sent: tuple[str, int, float], run: str | None = None, again: bool = False) -> None:
        """(device, time_us, value) of both metrics, in one commit."""
        prefix = f"runs/{run}/" if run else ""
        messages = [
            Message(
                f"{prefix}sensors/{device}/readings",
                json.dumps({"t": time_us / 1e6, "values": {"t_c": value, "p_kpa": -value}}).encode(),
                time_us, f"{time_us / 1e6}" if run else None, again, 1, 1,
            )
            for device, time_us, value in sent
        ]  # fmt: skip
        decoded, refused = decode(messages, RULES)
        assert not refused
        rows = assemble(decoded, self.keys, self.metrics)
        device, series = series_of(rows)
        wanted = sorted(set(zip(device.tolist(), series.tolist(), strict=True)))
        await self.store.floors(wanted)
        await self.store.write(rows, [], Account(self.keys))

    async def rows(self, sql: str, *given: Any) -> list[tuple[Any, ...]]:
        async with self.pool.connection() as conn:
            return await (await conn.execute(sql.encode(), given)).fetchall()

    async def step_at(self, closed_us: int) -> None:
        """A step that finds everything before ``closed_us`` closed."""
        self.now_us = max(self.now_us, closed_us + GRACE_US)
        await self.rollups.step(self.now_us)

    async def check(self, since_us: int = 0) -> None:
        """Both tables say what a naive computation says."""
        (through,) = (await self.rows("SELECT through FROM rollup_progress"))[0]
        hour = through.replace(minute=0, second=0, microsecond=0)
        for table, width, to in (("reading_1m", "1 minute", through), ("reading_1h", "1 hour", hour)):
            naive = await self.rows(NAIVE, width, from_us(since_us), to)
            rolled = await self.rows(ROLLED.format(table=table), from_us(since_us))
            assert len(rolled) == len(naive), table
            for one, two in zip(rolled, naive, strict=True):
                assert one[:4] == two[:4], table
                assert one[5:] == two[5:], table
                assert math.isclose(one[4], two[4], rel_tol=1e-9, abs_tol=1e-9), table

    async def answer(
        self, device: int, from_: int, to: int, step_s: float, calibrations: Sequence[Calibration] = ()
    ) -> list[dict[str, Any]]:
        """What the API answers."""
        start, end = from_us(from_), from_us(to)
        given: dict[str, Any] = {"device": device, "metrics": list(self.metrics.values()), "from": start, "to": end}
        given |= calibration_parameters(calibrations, self.metrics)
        async with reading(self.pool) as reader:
            return await by_step(reader, {**given, "limit": 10_000}, start, end, step_s)

    async def check_answer(self, device: int, from_: int, to: int, step_s: float) -> None:
        """The API's buckets are those of the readings alone."""
        naive = await self.rows(NAIVE, timedelta(seconds=step_s), from_us(from_), from_us(to))
        expected = {(r[1], r[2]): r[3:8] for r in naive if r[0] == device}
        got = {(r["metric"], r["t"]): r for r in await self.answer(device, from_, to, step_s)}
        assert got.keys() == expected.keys()
        for key, (count, mean, least, most, last) in expected.items():
            b = got[key]
            assert (b["count"], b["min"], b["max"], b["last"]) == (count, least, most, last), key
            assert math.isclose(b["avg"], mean, rel_tol=1e-9, abs_tol=1e-9), key


@pytest.fixture
async def house(pool: Pool, database_url: str) -> AsyncIterator[House]:
    house = House(pool, database_url)
    await house.begin([("A", None), ("B", None), ("C", None), ("A", "r1")])
    yield house
    await house.store.close()


async def test_minutes_and_hours_are_rolled_when_they_have_closed(house: House) -> None:
    await house.write(*(("A", T0_US + k * 10_000_000, float(k)) for k in range(30)))
    await house.step_at(T0_US + 3 * MINUTE_US)
    assert (await house.rows("SELECT count(*), sum(n) FROM reading_1m"))[0] == (6, 36)
    assert (await house.rows("SELECT count(*) FROM reading_1h"))[0] == (0,)
    await house.step_at(T0_US + HOUR_US)
    assert (await house.rows("SELECT count(*), sum(n) FROM reading_1h"))[0] == (2, 60)
    await house.check()


async def test_late_readings_correct_their_hour_and_the_answer_is_right_before_that(house: House) -> None:
    await house.write(*(("A", T0_US + k * 60_000_000, 1.0) for k in range(120)))
    await house.step_at(T0_US + 2 * HOUR_US)
    await house.write(("A", T0_US + 30_000_000, 100.0), ("B", T0_US + 30_000_000, 5.0))
    assert (await house.rows("SELECT count(*) FROM rollup_dirty"))[0] == (2,)
    for device in (house.keys["A", None], house.keys["B", None]):
        await house.check_answer(device, T0_US, T0_US + 2 * HOUR_US, 3600)
        await house.check_answer(device, T0_US, T0_US + 2 * HOUR_US, 60)
    await house.step_at(T0_US + 2 * HOUR_US + MINUTE_US)
    assert (await house.rows("SELECT count(*) FROM rollup_dirty"))[0] == (0,)
    await house.check()


async def test_huge_values_stop_nothing(house: House) -> None:
    await house.write(("A", T0_US, 1.7e308), ("A", T0_US + 1, 1.7e308))
    await house.step_at(T0_US + HOUR_US)
    assert (await house.rows("SELECT max(max), sum(n) FROM reading_1h"))[0] == (1.7e308, 4)
    most = [Calibration(metric, 1e12, -1e12) for metric in METRICS]
    for step_s, calibrations in itertools.product((3600, 7), ([], most)):
        bucket, *_ = await house.answer(house.keys["A", None], T0_US, T0_US + HOUR_US, step_s, calibrations)
        assert bucket["count"] == 2


@pytest.mark.parametrize("step_s", [7.0, 60.0, 600.0, 3600.0, 7200.0])
async def test_calibrations_change_what_is_answered_and_not_what_is_stored(house: House, step_s: float) -> None:
    """Rolled hours, one that waits for a late reading, and minutes not rolled yet: all of them the same."""
    sent = {T0_US + k * 50_000_000: math.sin(k) for k in range(300)}
    await house.write(*(("A", time_us, value) for time_us, value in sent.items()))
    await house.step_at(T0_US + 3 * HOUR_US)
    late_us = T0_US + HOUR_US + 1_000_000
    sent[late_us] = 3.0
    await house.write(("A", late_us, 3.0))
    change_us = T0_US + 2 * HOUR_US
    calibrations = [
        Calibration("t_c", -2.0, 0.5, until_us=change_us), Calibration("t_c", 3.0, 1.0, from_us=change_us),
        Calibration("p_kpa", 10.0, until_us=T0_US), Calibration("elsewhere"),
    ]  # fmt: skip
    known = [c for c in calibrations if c.metric in house.metrics]
    key, end_us = house.keys["A", None], T0_US + 5 * HOUR_US
    got = await house.answer(key, T0_US, end_us, step_s, known)
    buckets: dict[tuple[int, int], list[float]] = {}
    for time_us, value in sorted(sent.items()):
        at_us = time_us - (time_us - BUCKETS_FROM_US) % round(step_s * 1e6)
        tilted = value * -2 + 0.5 if time_us < change_us else value * 3 + 1
        buckets.setdefault((house.metrics["t_c"], at_us), []).append(tilted)
        buckets.setdefault((house.metrics["p_kpa"], at_us), []).append(-value)
    assert {(b["metric"], to_us(b["t"])) for b in got} == buckets.keys()
    for b in got:
        values = buckets[b["metric"], to_us(b["t"])]
        expected = [len(values), sum(values) / len(values), min(values), max(values), values[-1]]
        answered = [b[name] for name in ("count", "avg", "min", "max", "last")]
        assert answered == pytest.approx(expected, abs=1e-9)
    stored = await house.rows("SELECT sum(value) FROM reading WHERE metric = %s", house.metrics["t_c"])
    assert stored[0][0] == pytest.approx(sum(sent.values()))


async def test_a_database_from_before_rollups_is_rolled_from_its_oldest_reading_on(house: House) -> None:
    await house.write(*(("A", T0_US - k * HOUR_US, float(k)) for k in range(60)))
    async with house.pool.connection() as conn:
        await conn.execute("UPDATE rollup_progress SET through = NULL")
        await conn.execute("TRUNCATE rollup_dirty")
    await house.restart()
    await house.step_at(T0_US + HOUR_US)
    assert (await house.rows("SELECT sum(n) FROM reading_1h"))[0] == (120,)
    await house.check()


KILL_POINTS = ("before", "moved", "rolled", "forgotten", "redone", "commit", "none", "none", "none")


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_is_killed_rollups_end_equal_to_the_readings(
    house: House, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    clock_us = T0_US
    everything: list[tuple[str, int, float]] = []
    for _ in range(40):
        clock_us += dice.choice([MINUTE_US // 3, MINUTE_US, 10 * MINUTE_US, HOUR_US])
        batch = []
        for _ in range(dice.randrange(1, 25)):
            back_us = dice.choice([0, 0, 0, dice.randrange(2 * MINUTE_US), dice.randrange(30 * HOUR_US)])
            ahead_us = dice.choice([0, 0, 0, dice.randrange(5 * MINUTE_US)])
            time_us = (clock_us - back_us + ahead_us) // 1000 * 1000
            batch.append((dice.choice("ABC"), time_us, round(dice.gauss(0, 10), 3)))
        again = dice.random() < 0.3 and bool(everything)
        batch = list({row[:2]: row for row in batch}.values()) + (dice.sample(everything, 1) if again else [])
        everything += batch
        kill = dice.choice(KILL_POINTS)
        with monkeypatch.context() as patch:
            arm(house, patch, kill)
            try:
                # A commit and a step beside each other, as in the server.
                writing = asyncio.create_task(house.write(*batch, again=again))
                if dice.random() < 0.5:
                    await writing
                await house.step_at(clock_us)
                await writing
            except Killed:
                pass
        if kill != "none":
            await asyncio.gather(writing, return_exceptions=True)
            await house.restart()
            await house.write(*batch, again=True)  # the broker delivers again what was not acknowledged
        device = house.keys[dice.choice("ABC"), None]
        start_us = T0_US - dice.randrange(30 * 60) * MINUTE_US - dice.randrange(60) * 1_000_000
        step_s = dice.choice([30, 60, 300, 3600, 7200, 86400])
        span_us = dice.randrange(1, 60) * HOUR_US
        await house.check_answer(device, start_us, start_us + span_us, step_s)
    await house.step_at((clock_us // HOUR_US + 2) * HOUR_US)
    assert (await house.rows("SELECT count(*) FROM rollup_dirty"))[0] == (0,)
    await house.check()


def arm(house: House, patch: pytest.MonkeyPatch, kill: str) -> None:
    """Let the process end at a point: before or after a call, or within its transaction, which is rolled back."""

    def dies(owner: Any, name: str, *, after: bool) -> None:
        real = getattr(owner, name)

        async def call(*given: Any, **named: Any) -> Any:
            if after:
                await real(*given, **named)
            raise Killed

        patch.setattr(owner, name, call)

    match kill:
        case "before":
            dies(house.rollup_store, "roll", after=False)
        case "moved":
            dies(house.horizon, "move", after=True)
        case "rolled":
            dies(house.rollup_store, "roll", after=True)
        case "forgotten":
            dies(house.horizon, "forget", after=True)
        case "redone":
            dies(house.rollup_store, "redo", after=True)
        case "commit":
            patch.setattr("ingest.rollup.store.SET_THROUGH", "SELECT 1 / 0, %s::timestamptz")
            real = house.rollup_store.roll

            async def call(*given: Any) -> Any:
                try:
                    return await real(*given)
                except Exception as error:
                    raise Killed from error

            patch.setattr(house.rollup_store, "roll", call)


async def test_hours_whose_readings_retention_took_stay_as_they_are(house: House, database_url: str) -> None:
    old_us = T0_US - 100 * 24 * HOUR_US
    await house.write(*(("A", old_us + k * 60_000_000, float(k)) for k in range(120)))
    await house.step_at(T0_US)
    keep = Retention(readings_days=90, waveforms_days=30, positions_days=30)
    async with await connect(database_url, name="test") as conn:
        removed = await maintain(conn, keep, from_us(T0_US))
    assert removed["reading"] == 1
    before = await house.rows("SELECT * FROM reading_1h ORDER BY 1, 2, 3")
    assert len(before) == 4
    await house.write(("A", old_us + 1, 1000.0))
    await house.step_at(T0_US + MINUTE_US)
    assert (await house.rows("SELECT count(*) FROM rollup_dirty"))[0] == (0,)
    assert await house.rows("SELECT * FROM reading_1h ORDER BY 1, 2, 3") == before
    buckets = await house.answer(house.keys["A", None], old_us + 5, old_us + 2 * HOUR_US, 3600)
    assert sum(bucket["count"] for bucket in buckets) == 240


async def test_readings_are_not_dropped_before_they_are_rolled(house: House, database_url: str) -> None:
    await house.step_at(T0_US)
    await house.write(("A", T0_US - 100 * 24 * HOUR_US, 1.0))
    keep = Retention(readings_days=90, waveforms_days=30, positions_days=30)
    async with await connect(database_url, name="test") as conn:
        assert (await maintain(conn, keep, from_us(T0_US)))["reading"] == 0
        await house.step_at(T0_US + MINUTE_US)
        assert (await maintain(conn, keep, from_us(T0_US)))["reading"] == 1
    assert (await house.rows("SELECT sum(n) FROM reading_1h"))[0] == (2,)


async def test_rollups_have_days_of_their_own(house: House, database_url: str) -> None:
    await house.write(("A", T0_US - 500 * 24 * HOUR_US, 1.0))
    await house.step_at(T0_US)
    keep = Retention(readings_days=90, waveforms_days=30, positions_days=30, minutes_days=400, hours_days=None)
    async with await connect(database_url, name="test") as conn:
        await maintain(conn, keep, from_us(T0_US))
    assert await house.rows("SELECT count(*) FROM reading_1m") == [(0,)]
    assert await house.rows("SELECT count(*) FROM reading_1h") == [(2,)]


async def test_a_purged_run_leaves_no_rollups(house: House) -> None:
    await house.write(("A", T0_US, 1.0))
    await house.write(("A", T0_US, 1.0), ("A", T0_US - 5 * HOUR_US, 1.0), run="r1")
    await house.step_at(T0_US + HOUR_US)
    assert await house.rows("SELECT count(*) FROM reading_1h") == [(6,)]
    async with house.pool.connection() as conn:
        await purge_run(conn, "r1")
    key = house.keys["A", None]
    for table in ("reading_1m", "reading_1h", "series"):
        assert await house.rows(f"SELECT DISTINCT device FROM {table}") == [(key,)]


async def test_retention_and_rollups_beside_ingest_know_no_deadlock(house: House, database_url: str) -> None:
    """Old and new readings all the time, chunks dropped all the time: no deadlock, all new ones there."""
    keep = Retention(readings_days=90, waveforms_days=30, positions_days=30)
    done = asyncio.Event()
    written = 0
    refused: list[str] = []

    async def write() -> None:
        nonlocal written
        for k in range(150):
            old = ("C", T0_US - (95 + k % 5) * 24 * HOUR_US + k, 1.0)
            batch = [("A", T0_US + k * 1_000_000 + i * 1000, 1.0) for i in range(100)]
            for _ in range(20):  # as ingest does: a chunk that goes under a writer costs it a second try
                try:
                    await house.write(*batch, old)
                    written += len(batch)
                    break
                except DatabaseUnavailable as error:
                    refused.append(str(error))
        done.set()

    async def drop() -> int:
        removed = 0
        async with await connect(database_url, name="test-maintenance") as conn:
            while not done.is_set():
                removed += (await maintain(conn, keep, from_us(T0_US + HOUR_US)))["reading"]
                await asyncio.sleep(0.01)
        return removed

    async def roll() -> None:
        while not done.is_set():
            await house.step_at(house.now_us + MINUTE_US)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        dropping = tasks.create_task(drop())
        tasks.create_task(roll())
    assert dropping.result() > 0
    assert not [why for why in refused if "could not open relation" not in why]
    assert written == 150 * 100
    key = house.keys["A", None]
    assert await house.rows("SELECT count(*) FROM reading WHERE device = %s", key) == [(2 * written,)]
    await house.step_at((house.now_us // HOUR_US + 2) * HOUR_US)
    await house.check(T0_US)


def test_the_sql_of_the_api_and_of_the_rollups_bound_values_alike() -> None:
    from ingest.rollup.store import OF_READINGS

    assert "least(greatest(r.value, -1e290), 1e290)" in OF_READINGS
    assert "least(greatest(v.value, -1e290), 1e290)" in READINGS_BY_STEP
    assert "least(greatest(r.value, -1e290), 1e290) * c.scale" in READINGS_BY_STEP
