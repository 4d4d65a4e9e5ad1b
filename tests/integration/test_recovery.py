"""A process that dies and one that goes on: the same alerts as if nothing had happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alerting.detectors.base import Rule
from alerting.recovery import Recovery
from alerting.rulebook import RuleBook
from alerting.rules import parse_rule, rule_json
from alerting.service import AlertService
from alerting.store import PostgresAlertStore
from db.devices import DeviceRow, upsert_devices
from db.pool import Pool
from domain.calibrated import Calibrations
from domain.calibration import Calibration
from domain.clock import from_us
from domain.devices import Device
from domain.readings import Block
from tests.unit.alerting.blocks import T0, S, block, readings
from tests.unit.alerting.fake_store import FakeStore
from tests.unit.alerting.store_contract import PLACE
from tests.unit.alerting.streams import METRICS, example_rules, signals

pytestmark = pytest.mark.stack

DEVICES = {key: Device(key, f"D-{key}", "vibration") for key in (1, 2, 3)}
SECONDS = 180
ALERTS = "SELECT body FROM alert"
Told = tuple[Any, ...]


class Clock:
    def __init__(self) -> None:
        self.us = T0

    def __call__(self) -> int:
        self.us += 10
        return self.us


def service(store: Any, rules: Sequence[Rule], clock: Clock) -> AlertService:
    return AlertService(
        store, rules, device=DEVICES.get, metric_names=lambda: METRICS, now_us=clock,
        place=lambda asked: [PLACE for _ in asked],
    )  # fmt: skip


def told(bodies: Sequence[dict[str, Any]]) -> list[Told]:
    """What matters of alerts, in one order."""
    names = ("severity", "condition", "count", "started_at", "cleared_at", "value", "limit", "late")
    return sorted(
        (b["evidence"]["rule"], b["device"]["id"], *(str(b[name]) for name in names)) for b in bodies
    )


async def uninterrupted(rules: Sequence[Rule], blocks: Sequence[Block]) -> list[Told]:
    store, clock = FakeStore(), Clock()
    one = service(store, rules, clock)
    await one.start()
    for number, b in enumerate(blocks):
        clock.us = T0 + number * S
        await one.handle(b)
    newest = {body["id"]: body for _, _, _, _, body in store.changes}
    return told(list(newest.values()))


async def prepare(pool: Pool) -> None:
    async with pool.connection() as conn:
        assert await upsert_devices(conn, [DeviceRow(d.id, d.kind) for d in DEVICES.values()]) == [1, 2, 3]
        for key, name in enumerate(METRICS):
            if name:
                await conn.execute(
                    "INSERT INTO metric (key, name) OVERRIDING SYSTEM VALUE VALUES (%s, %s)", [key, name]
                )


async def store(pool: Pool, b: Block) -> None:
    """What ingest makes durable of a block."""
    r = b.readings
    async with pool.connection() as conn, conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO reading VALUES (%s, %s, %s, %s, -1, false)",
            [(from_us(t), d, m, v) for t, d, m, v in
             zip(r.time_us.tolist(), r.device.tolist(), r.metric.tolist(), r.value.tolist(), strict=True)],
        )  # fmt: skip
        for w in b.waveforms:
            await cursor.executemany(
                "INSERT INTO waveform VALUES (%s, %s, %s, %s, %s, 7, 'f4', 1, -1, false, %s)",
                [(from_us(t), d, w.rate_hz, w.unit, w.samples.shape[2], x.astype("<f4").tobytes())
                 for t, d, x in zip(w.start_us.tolist(), w.device.tolist(), w.samples, strict=True)],
            )  # fmt: skip
        await cursor.executemany(
            "INSERT INTO position VALUES (%s, %s, %s, %s, %s, %s, %s, %s, -1, false)",
            [(from_us(p.time_us), p.device, p.lon, p.lat, p.speed_kmh, p.heading_deg, p.bed, p.cover)
             for p in b.positions],
        )  # fmt: skip
        await cursor.executemany(
            "INSERT INTO camera_event VALUES (%s, %s, %s, %s, %s, %s, %s, %s, NULL, NULL, NULL, false)",
            [(e.device, e.event_id, e.phase, from_us(e.time_us), e.type, e.score, list(e.box or ()),
              list(e.objects)) for e in b.camera_events],
        )  # fmt: skip


def recovery(pool: Pool, alerts: AlertService, clock: Clock) -> Recovery:
    return Recovery(pool, alerts, DEVICES.get, lambda: METRICS, clock)


async def begin(pool: Pool, rules: Sequence[Rule], clock: Clock) -> tuple[AlertService, Recovery]:
    alerts = service(PostgresAlertStore(pool), rules, clock)
    back = recovery(pool, alerts, clock)
    await back.recover(rules)
    return alerts, back


async def bodies(pool: Pool) -> list[dict[str, Any]]:
    async with pool.connection() as conn:
        return [row[0] for row in await (await conn.execute(ALERTS)).fetchall()]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_rule_goes_on_as_if_the_process_had_not_died(pool: Pool, seed: int) -> None:
    """Checkpoints and deaths at random; blocks after the death come again, some before it too."""
    rules, blocks = example_rules(), signals(seed, SECONDS)
    expected = await uninterrupted(rules, blocks)
    assert {row[3] for row in expected} == {"active", "cleared"}
    await prepare(pool)
    rng, clock = np.random.default_rng(seed), Clock()
    deaths = sorted(rng.choice(np.arange(20, SECONDS - 10), 3, replace=False).tolist())
    checkpoints = set(rng.choice(SECONDS, 5, replace=False).tolist())
    alerts, back = await begin(pool, rules, clock)
    await back.save()
    for number, b in enumerate(blocks):
        clock.us = T0 + number * S
        await store(pool, b)
        if number in deaths:
            # Committed, and the process died: before detection, or before the acknowledgement.
            if number % 2:
                await alerts.handle(b)
            alerts, back = await begin(pool, rules, clock)
        await alerts.handle(b)  # delivered (again)
        if number in checkpoints:
            assert await back.save()
    assert told(await bodies(pool)) == expected


async def test_a_back_test_of_every_rule_finds_the_alerts_that_were_raised(
    pool: Pool, database_url: str
) -> None:
    rules, blocks = example_rules(), signals(5, SECONDS)
    raised = await uninterrupted(rules, blocks)
    await prepare(pool)
    for b in blocks:
        await store(pool, b)
    book = RuleBook(pool, database_url, lambda: list(DEVICES.values()), lambda: T0 + SECONDS * S)
    spoke = 0
    for rule in rules:
        found = await book.backtest(rule.id, rule_json(rule), begin_us=T0, end_us=T0 + SECONDS * S)
        assert found["complete"]
        expected = sorted((row[1], row[5], row[2], row[4]) for row in raised if row[0] == rule.id)
        would = found["would"]["items"]
        told = sorted((a["device"], a["started_at"], str(a["severity"]), str(a["count"])) for a in would)
        assert told == expected, rule.id
        spoke += bool(told)
    assert spoke >= 5


async def test_stored_rows_are_calibrated_before_they_are_fed_again_or_back_tested(
    pool: Pool, database_url: str
) -> None:
    """Device 1 says ten times too much, device 2 a tenth of it; both are stored as they said it."""
    await prepare(pool)
    rules = [parse_rule({"id": "w", "detector": "threshold", "kind": "w.x", "settings": {
        "metric": METRICS[1], "levels": {"3": 1.0}, "clear": 0.5, "title": {"zh": "水", "en": "Water"},
    }})]  # fmt: skip
    scales = {1: 0.1, 2: 10.0}
    devices = [
        replace(DEVICES[key], calibration=(Calibration(METRICS[1], scale),)) for key, scale in scales.items()
    ]
    calibrate = Calibrations(devices, {name: key for key, name in enumerate(METRICS) if name}).block

    def raw(second: int, values: dict[int, float]) -> Block:
        return block(readings([(key, 1, T0 + second * S, value) for key, value in values.items()]))

    clock = Clock()
    alerts, back = await begin(pool, rules, clock)
    quiet = raw(0, {1: 0.1, 2: 0.01})
    await store(pool, quiet)
    await alerts.handle(calibrate(quiet))
    await back.save()
    for second in range(1, 6):
        await store(pool, raw(second, {1: 5.0, 2: 0.2}))  # and the process died
    anew = service(PostgresAlertStore(pool), rules, clock)
    again = Recovery(pool, anew, DEVICES.get, lambda: METRICS, clock, calibrate)
    await again.recover(rules)
    assert [(b["device"]["id"], b["value"]) for b in await bodies(pool)] == [("D-2", 2.0)]
    book = RuleBook(pool, database_url, lambda: devices, lambda: T0 + 60 * S)
    found = await book.backtest("w", rule_json(rules[0]), begin_us=T0, end_us=T0 + 60 * S)
    assert [(one["device"], one["value"]) for one in found["would"]["items"]] == [("D-2", 2.0)]


async def test_a_memory_of_a_changed_rule_is_used_only_where_it_fits(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    def rules(version: int, **settings: Any) -> list[Rule]:
        title = {"zh": "水", "en": "Water"}
        given = {"metric": METRICS[1], "levels": {"3": 1.0}, "clear": 0.5, "title": title, "on_delay_s": 60}
        return [parse_rule({"id": "w", "detector": "threshold", "kind": "w.x", "version": version,
                            "settings": {**given, **settings}})]  # fmt: skip

    await prepare(pool)
    clock = Clock()
    alerts, back = await begin(pool, rules(1), clock)
    blocks = signals(1, 30)
    for b in blocks:
        await alerts.handle(b)
    await back.save()
    kept = service(PostgresAlertStore(pool), rules(2, clear=0.4), clock)
    await recovery(pool, kept, clock).recover(rules(2, clear=0.4))
    assert len(kept._bank.detectors["w"].snapshot()["keys"]) == 3
    assert not caplog.records
    anew = service(PostgresAlertStore(pool), rules(2, levels={"3": 2.0}), clock)
    await recovery(pool, anew, clock).recover(rules(2, levels={"3": 2.0}))
    assert len(anew._bank.detectors["w"].snapshot()["keys"]) == 0
    assert "it was learnt under version 1" in caplog.text


async def test_without_a_checkpoint_active_episodes_are_taken_up_from_their_alerts(pool: Pool) -> None:
    await prepare(pool)
    rules, blocks, clock = example_rules(), signals(1, 40), Clock()
    alerts, _ = await begin(pool, rules, clock)
    for b in blocks[:30]:
        await alerts.handle(b)
    before = told(await bodies(pool))
    alerts, _ = await begin(pool, rules, clock)
    for b in blocks[:30]:
        await alerts.handle(b)
    assert told(await bodies(pool)) == before, "redelivery raises nothing"


async def test_no_checkpoint_is_made_while_alerts_wait_to_be_written() -> None:
    store_ = FakeStore()
    one = service(store_, example_rules(), Clock())
    await one.start()
    blocks = signals(1, 40)
    store_.down = 10_000
    failed = 0
    for b in blocks:
        try:
            await one.handle(b)
        except Exception:  # noqa: BLE001
            failed += 1
    assert failed
    assert await one.memory() is None
    store_.down = 0
    await one.handle(blocks[-1])
    assert await one.memory() is not None
