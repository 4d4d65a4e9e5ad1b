from __future__ import annotations

import json
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ingest import batching
from ingest.batching import Rows, assemble, mark_late, series_of
from ingest.ledger import Account
from ingest.messages import Message, Refusal, Rules, decode, metric_names
from ingest.timeliness import Timeliness

NOW_S = 1_795_413_600
RULES = Rules(ZoneInfo("Asia/Shanghai"), auto_register=True, runs_as_live=True)
KEYS: dict[tuple[str, str | None], int] = {("A", None): 1, ("B", None): 2, ("A", "r1"): 3}
METRICS = {"t_c": 1, "p_kpa": 2}


def message(topic: str, body: Any, *, clock: str | None = None, at_s: int = NOW_S) -> Message:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Message(topic, payload, at_s * 1_000_000, clock, False, 1, 1)


def reading(t: float, **values: float) -> dict[str, Any]:
    return {"t": t, "values": values}


def rows_of(*messages: Message) -> tuple[Rows, list[Refusal]]:
    decoded, refused = decode(messages, RULES)
    rows = assemble(decoded, KEYS, METRICS)
    mark_late(rows, Timeliness())
    return rows, refused


def test_readings_of_many_messages_become_columns_in_the_order_received() -> None:
    rows, refused = rows_of(
        message("sensors/B/readings", reading(NOW_S, t_c=1.0, p_kpa=2.0)),
        message("sensors/A/readings", [reading(NOW_S - 1, t_c=3.0), reading(NOW_S, t_c=4.0)]),
    )
    assert refused == []
    assert rows.readings.device.tolist() == [2, 2, 1, 1]
    assert rows.readings.metric.tolist() == [1, 2, 1, 1]
    assert rows.readings.value.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert rows.readings_message.tolist() == [0, 0, 1, 1]
    assert not rows.readings.late.any()


def test_a_run_is_another_device_and_has_its_own_clock() -> None:
    rows, refused = rows_of(
        message("runs/r1/sensors/A/readings", reading(1_600_000_000, t_c=1.0), clock="1600000000.5"),
        message("runs/r1/sensors/A/readings", reading(1_600_000_000, t_c=1.0), clock="soon"),
        message("sensors/A/readings", reading(NOW_S, t_c=1.0), clock="1600000000.5"),
    )
    assert [refusal.reason for refusal in refused] == ["bad_clock"]
    assert rows.readings.device.tolist() == [3, 1]
    assert rows.readings.received_us.tolist() == [1_600_000_000_500_000, NOW_S * 1_000_000]


def test_packets_of_one_shape_are_one_block() -> None:
    wave = {"t": NOW_S - 2, "rate_hz": 100, "unit": "gal", "x": [1, 2]}
    rows, _ = rows_of(
        message("sensors/A/waveform", wave),
        message("sensors/B/waveform", wave),
        message("sensors/B/waveform", {**wave, "t": NOW_S - 1, "rate_hz": 50}),
    )
    first, second = rows.waveforms()
    assert (first.samples.shape, first.rate_hz, first.device.tolist()) == ((2, 3, 2), 100, [1, 2])
    assert (second.samples.shape, second.rate_hz) == ((1, 3, 2), 50)
    assert first.end_us.tolist() == [(NOW_S - 2) * 1_000_000 + 10_000] * 2


def test_packets_of_changing_length_stay_in_order_for_each_device() -> None:
    def wave(device: str, t: int, n: int) -> Message:
        body = {"t": NOW_S - 20 + t, "rate_hz": 100, "unit": "gal", "x": [1] * n}
        return message(f"sensors/{device}/waveform", body)

    rows, _ = rows_of(wave("A", 0, 2), wave("A", 1, 3), wave("B", 0, 2), wave("A", 2, 2), wave("A", 3, 3))
    blocks = rows.waveforms()
    for device in (1, 2):
        starts = [t for w in blocks for t in w.start_us[w.device == device].tolist()]
        assert starts == sorted(starts)
    assert sum(len(w) for w in blocks) == 5
    assert len(blocks) == 4


def test_a_part_of_a_batch_keeps_its_rows_and_their_lateness() -> None:
    rows, _ = rows_of(
        message("sensors/A/readings", reading(NOW_S, t_c=1.0)),
        message("vehicles/B/position", {"t": NOW_S, "lon": 113.7, "lat": 23.0, "datum": "wgs84"}),
        message("sensors/A/readings", reading(NOW_S - 5, t_c=2.0)),
    )
    part = rows.part([1, 2])
    assert [d.topic.kind for d in part.decoded] == ["position", "readings"]
    assert part.readings.value.tolist() == [2.0]
    assert part.readings.late.tolist() == [True]
    assert part.readings_message.tolist() == [1]
    assert [index for index, _ in part.positions] == [0]
    assert rows.part([]).device.tolist() == []


def test_a_lane_of_a_large_batch_has_all_messages_of_its_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = [message(f"sensors/{name}/readings", reading(NOW_S + i, t_c=i)) for i, name in enumerate("ABAABA")]
    rows, _ = rows_of(*sent)
    assert rows.lanes(2) == [rows], "small"
    monkeypatch.setattr(batching, "LANE_ROWS", 2)
    assert rows.lanes(1) == [rows]
    lanes = rows.lanes(2)
    assert [set(lane.device.tolist()) for lane in lanes] == [{2}, {1}]
    assert [lane.readings.value.tolist() for lane in lanes] == [[1.0, 4.0], [0.0, 2.0, 3.0, 5.0]]
    assert [lane.readings_message.tolist() for lane in lanes] == [[0, 1], [0, 1, 2, 3]]
    alone, _ = rows_of(*(message("sensors/A/readings", reading(NOW_S + i, t_c=1.0)) for i in range(4)))
    assert len(alone.lanes(2)) == 1, "an empty lane is none"


def test_what_a_batch_asks_of_the_registry() -> None:
    decoded, _ = decode(
        [
            message("sensors/A/readings", reading(NOW_S, t_c=1.0)),
            message("sensors/B/waveform", {"t": NOW_S, "rate_hz": 1, "unit": "mm/s", "x": [1]}),
        ],
        RULES,
    )
    assert metric_names(decoded) == {"t_c"}
    device, series = series_of(assemble(decoded, KEYS, METRICS))
    assert list(zip(device.tolist(), series.tolist(), strict=True)) == [(1, 5), (2, 1)]


def test_live_runs_are_refused_where_the_operator_says_so() -> None:
    strict = Rules(RULES.zone, auto_register=True, runs_as_live=False)
    decoded, refused = decode([message("runs/live/sensors/A/readings", reading(NOW_S, t_c=1.0))], strict)
    assert decoded == []
    assert refused[0].reason == "live_run"


def test_the_account_adds_up_per_device_and_minute() -> None:
    rows, refused = rows_of(
        message("sensors/A/readings", reading(NOW_S, t_c=1.0)),
        message("sensors/A/readings", reading(NOW_S, t_c=1.0)),
        message("sensors/A/readings", b"{"),
        message("sensors/X/readings", b"{", at_s=NOW_S + 60),
    )
    ledger = Account(KEYS).columns(rows, np.array([True, False]), refused)
    minute = NOW_S // 60
    table = [row.tolist() for row in np.array(ledger).T]
    assert table == [[minute, 1, 3, 1, 1, 0, 1], [minute + 1, 0, 1, 0, 0, 0, 1]]
    assert (ledger.received == ledger.stored + ledger.duplicate + ledger.rejected + ledger.quarantined).all()
