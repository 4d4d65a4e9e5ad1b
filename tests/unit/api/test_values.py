"""Newest values: newest wins, thinned, only for who may see them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from api.client import Client, Identity
from api.feed import Feed
from api.registry import Known
from api.values import Board, merge_items, newest_rows
from domain.people import Actor
from domain.places import UNKNOWN_PLACE, Place
from domain.readings import Block, DeviceStatus, Position, Readings, Waveforms

NAMES = {1: "ppv_mm_s", 2: "freq_hz"}
DEVICES = {
    1: Known("VB-1", "vibration", None, "441900126", "441900126001", "441900126001001"),
    2: Known("VB-2", "vibration", None, "441900006", None, None),
    3: Known("VB-3", "vibration", "run-1", None, None, None),
    4: Known("MT-1", "vehicle", None, None, None, None),
}
MACHONG = Place(None, None, None, 1.0, "device", None, None, "441900126", {}, "v")


def block(rows: list[tuple[int, int, int, float]] = [], **parts: Any) -> Block:  # noqa: B006
    device, metric, time_us, value = (np.array(c) for c in zip(*rows, strict=True)) if rows else (np.empty(0),) * 4
    n = len(rows)
    readings = Readings(
        device.astype(np.int32), metric.astype(np.int32), time_us.astype(np.int64), value.astype(np.float64),
        np.full(n, -1), time_us.astype(np.int64), np.zeros(n, np.bool_),
    )  # fmt: skip
    empty: dict[str, Any] = {"waveforms": (), "statuses": (), "camera_events": (), "positions": ()}
    return Block(readings, **{**empty, **parts}, committed_us=0)


def packets(device: int, count: int = 1) -> Waveforms:
    return Waveforms(
        np.full(count, device, np.int32), np.arange(count, dtype=np.int64), 100.0, "mm/s",
        np.ones((count, 3, 4), np.float32), np.tile([True, False, True], (count, 1)),
        np.arange(count), np.zeros(count, np.int64), np.zeros(count, np.bool_),
    )  # fmt: skip


class Nowhere:
    async def send_text(self, data: str) -> None:
        return

    async def close(self, code: int, reason: str | None = None) -> None:
        return


def client(area: str = "") -> Client:
    return Client(Nowhere(), Identity(Actor("a", "responder", area), None, 2**60))


def sent(c: Client) -> list[dict[str, Any]]:
    found = [json.loads(text) for text, _ in c.queue]
    c.queue.clear()
    c.values_waiting.clear()
    return found


def feed() -> Feed:
    def locate(lon: Any, lat: Any) -> list[Place]:
        return [MACHONG if x < 113.65 else UNKNOWN_PLACE for x in lon]

    return Feed(lambda: DEVICES, NAMES.get, locate)


def test_the_newest_row_of_each_pair() -> None:
    device, metric = np.array([1, 1, 2, 1]), np.array([1, 1, 1, 2])
    assert sorted(newest_rows(device, metric, np.array([5, 9, 1, 1]))) == [1, 2, 3]
    assert newest_rows(np.empty(0), np.empty(0), np.empty(0)) == []


def test_a_board_keeps_the_newest_blocks_and_counts_the_others() -> None:
    board = Board(blocks_max=2)
    for value in (1.0, 2.0, 3.0):
        board.take(block([(1, 1, int(value), value)]))
    fresh = board.fresh(NAMES.get, set(), devices=True)
    assert fresh.devices[1]["values"] == {"ppv_mm_s": 3.0}
    assert board.dropped == 1
    assert not board.fresh(NAMES.get, set(), devices=True).devices


def test_nothing_is_kept_while_nobody_watches() -> None:
    watched = feed()
    watched.offer_block(block([(1, 1, 1, 1.0)]))
    assert not watched.board.blocks


def test_devices_by_area_and_exercise_with_metrics_merged() -> None:
    watched, all_, mine, drill = feed(), client(), client("441900126"), client()
    watched.add(all_, "d", "devices", None, None)
    watched.add(mine, "d", "devices", None, None)
    watched.add(drill, "d", "devices", None, "any")
    status = DeviceStatus(1, 2_000_000, False, 50.0, None, None)
    rows = [(1, 1, 1_000_000, 0.5), (2, 1, 1, 1.0), (3, 1, 1, 1.0), (9, 1, 1, 1.0), (1, 7, 1, 1.0)]
    watched.offer_block(block(rows, statuses=(status,)))
    watched.tick()
    assert [item["id"] for item in sent(all_)[0]["items"]] == ["VB-1", "VB-2"]
    (item,) = sent(mine)[0]["items"]
    assert (item["values"], item["online"], item["battery_pct"]) == ({"ppv_mm_s": 0.5}, False, 50.0)
    assert item["t"] == "1970-01-01T00:00:02.000000Z"
    assert [item["id"] for item in sent(drill)[0]["items"]] == ["VB-1", "VB-2", "VB-3"]


def test_a_slow_client_gets_the_newest_merged_and_others_are_not_touched() -> None:
    watched, slow, quick = feed(), client(), client()
    watched.add(slow, "d", "devices", None, None)
    watched.add(quick, "d", "devices", None, None)
    frames = []
    for n in range(1, 4):
        watched.offer_block(block([(1, 1, n, float(n)), (1, 2, n, float(-n))] if n < 3 else [(1, 1, n, 3.0)]))
        watched.tick()
        frames += sent(quick)
    assert [f["items"][0]["values"].get("ppv_mm_s") for f in frames] == [1.0, 2.0, 3.0]
    assert len(slow.queue) == 1
    assert sent(slow)[0]["items"][0]["values"] == {"ppv_mm_s": 1.0, "freq_hz": -1.0}
    watched.tick()
    assert sent(slow)[0]["items"][0]["values"] == {"ppv_mm_s": 3.0, "freq_hz": -2.0}
    watched.tick()
    assert not slow.queue


def test_waveforms_of_the_watched_device_only_each_packet_once() -> None:
    watched, c = feed(), client()
    watched.add(c, "w", "waveform", 1, None)
    watched.offer_block(block(waveforms=(packets(1, 2), packets(2))))
    watched.tick()
    (message,) = sent(c)
    assert (message["device"], len(message["items"])) == ("VB-1", 2)
    assert set(message["items"][0]) == {"t", "rate_hz", "unit", "x", "z"}
    watched.tick()
    assert not c.queue
    watched.offer_block(block(waveforms=(packets(1, 30),)))
    watched.tick()
    assert len(sent(c)[0]["items"]) == 8


def test_vehicles_are_seen_where_they_are_now() -> None:
    watched, all_, mine = feed(), client(), client("441900126")
    for c in (all_, mine):
        watched.add(c, "v", "vehicles", None, None)

    def at(lon: float) -> Block:
        return block(positions=(Position(4, 1, 1, 1, False, lon, 23.0, 40.0, 90.0, "loaded", "open"),))

    watched.offer_block(at(113.60))
    watched.tick()
    assert (sent(all_)[0]["items"][0]["lon"], sent(mine)[0]["items"][0]["id"]) == (113.60, "MT-1")
    watched.offer_block(at(113.70))
    watched.tick()
    assert (len(sent(all_)), sent(mine)) == (1, [])


def test_merging_items() -> None:
    waiting: dict[int, dict[str, Any]] = {}
    merge_items(waiting, {1: {"values": {"a": 1}, "online": True}})
    merge_items(waiting, {1: {"values": {"b": 2}}, 2: {"lon": 1}})
    merge_items(waiting, {2: {"lon": 2}})
    assert waiting == {1: {"values": {"a": 1, "b": 2}, "online": True}, 2: {"lon": 2}}
