"""Publisher, recorder and replay against the real broker; a cut in the line where one is needed."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import mqtt5
import pytest

from db.devices import DeviceRow, load_devices, upsert_devices
from db.pool import connect
from domain.clock import from_us
from domain.errors import BrokerUnavailable, NotAllowed
from server.commands.traffic_runs import busy_sensors, copy_devices, register_places
from simulators.city import build_city, muck_truck_route
from simulators.connection import Connection, open_connection
from simulators.demo import demo_traffic
from simulators.devices import SimulatedDevice
from simulators.load import LoadPlan
from simulators.performance import Stage, perform_load, perform_recording, perform_scenario
from simulators.publisher import Publisher
from simulators.recorder import Recorder, record, run_clock_us
from simulators.replay import Recording, Survey, survey
from simulators.run import MAX_SPEED
from simulators.scenarios.catalogue import SCENARIOS
from simulators.scenarios.route import MUCK_ROUTE
from simulators.scenarios.scene import Scene
from simulators.wire import BrokerAddress
from tests.fix_stack import Broker
from tests.unit.simulators.sites import town_sites

DEADLINE_S = 20.0
START_US = 1_795_442_400_000_000


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for happens elsewhere
            await asyncio.sleep(0.01)


class Ear:
    """Subscribes with the server's account and keeps what comes."""

    def __init__(self) -> None:
        self.packets: list[mqtt5.PublishPacket] = []
        self.connection: Connection | None = None

    def received(self, packet: mqtt5.PublishPacket) -> None:
        self.packets.append(packet)
        assert self.connection is not None
        if packet.packet_id is not None:
            self.connection.write(mqtt5.PubAckPacket(packet.packet_id).write())

    def acknowledged(self, packet_ids: object) -> None: ...

    def refused(self, packet_id: int, reason: mqtt5.PubAckReasonCode) -> None: ...

    @property
    def payloads(self) -> list[bytes]:
        return [packet.payload for packet in self.packets]


@asynccontextmanager
async def listening(url: str, *filters: str) -> AsyncIterator[Ear]:
    ear = Ear()
    ear.connection, _ = await open_connection(BrokerAddress.parse(url), f"ear-{id(ear):x}", ear)
    await ear.connection.subscribe(filters)
    try:
        yield ear
    finally:
        await ear.connection.close()


class Line:
    """A TCP line to the broker that can be cut."""

    def __init__(self, url: str) -> None:
        self._target = BrokerAddress.parse(url)
        self._parts = urlsplit(url)
        self._pairs: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    async def __aenter__(self) -> Line:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.down()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        login = self._parts.netloc.rpartition("@")[0]
        return urlunsplit(self._parts._replace(netloc=f"{login}@127.0.0.1:{self._port}"))

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        for writer in self._pairs:
            writer.transport.abort()
        self._pairs.clear()

    async def down(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._target.host, self._target.port)
        self._pairs += [writer, back]
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(65536):
                sink.write(chunk)
                await sink.drain()
        sink.transport.abort()


# -------------------------------------------------------------------- publisher


@pytest.mark.stack
async def test_every_message_is_acknowledged_within_a_small_window(broker: Broker) -> None:
    async with listening(broker.url, "runs/t1/#") as ear:
        async with Publisher(broker.simulator_url, "t1", window=7) as publisher:
            for n in range(1000):
                await publisher.publish("runs/t1/sensors/a/readings", b"%d" % n, clock_us=START_US + n)
            await publisher.flush()
            assert publisher.counts.published == publisher.counts.acknowledged == 1000
            assert publisher.latency.summary_ms()["p50"] is not None
        await until(lambda: len(ear.packets) >= 1000)
        assert ear.payloads == [b"%d" % n for n in range(1000)], "in order, each once"
        assert run_clock_us(ear.packets[7]) == START_US + 7


@pytest.mark.stack
async def test_nothing_is_lost_when_the_line_is_cut(broker: Broker) -> None:
    async with listening(broker.url, "runs/t2/#") as ear, Line(broker.simulator_url) as line:
        async with Publisher(line.url, "t2", window=100) as publisher:
            for n in range(3000):
                if n in (700, 1400, 2999):
                    line.cut()
                await publisher.publish("runs/t2/sensors/a/readings", b"%d" % n)
            await publisher.flush()
            assert publisher.counts.acknowledged == publisher.counts.published == 3000
            assert publisher.counts.reconnects >= 1
            assert publisher.counts.sent_again >= 1
        await until(lambda: len(set(ear.payloads)) == 3000)


@pytest.mark.stack
async def test_a_broker_that_does_not_come_back_is_told(broker: Broker) -> None:
    async with Line(broker.simulator_url) as line, Publisher(line.url, "t3", patience_s=0.4) as publisher:
        await line.down()
        await publisher.publish("runs/t3/sensors/a/readings", b"x")
        with pytest.raises(BrokerUnavailable, match=r"did not come back within 0\.4 s"):
            await publisher.flush()


@pytest.mark.stack
async def test_it_waits_for_a_broker_that_comes_back(broker: Broker) -> None:
    async with listening(broker.url, "runs/t4/#") as ear, Line(broker.simulator_url) as line:
        async with Publisher(line.url, "t4", patience_s=None) as publisher:
            await line.down()
            await publisher.publish("runs/t4/sensors/a/readings", b"x")
            await line.mend()
            await publisher.flush()
        await until(lambda: set(ear.payloads) == {b"x"})


async def test_no_broker_at_all_is_told() -> None:
    with pytest.raises(BrokerUnavailable, match="start `gridpulse up` first"):
        async with Publisher("mqtt://127.0.0.1:1", "t5"):
            pass


@pytest.mark.stack
async def test_a_wrong_password_is_told(broker: Broker) -> None:
    parts = urlsplit(broker.simulator_url)
    url = urlunsplit(parts._replace(netloc=f"nobody:wrong@{parts.hostname}:{parts.port}"))
    with pytest.raises(BrokerUnavailable, match="refuses this account: not authorized"):
        async with Publisher(url, "t6"):
            pass


@pytest.mark.stack
async def test_a_topic_without_the_right_is_told(broker: Broker) -> None:
    async with Publisher(broker.simulator_url, "t7") as publisher:
        await publisher.publish("sensors/a/readings", b"{}")
        with pytest.raises(NotAllowed, match="under sensors/a/readings"):
            await publisher.flush()
        assert publisher.counts.refused == {"not authorized": 1}


@pytest.mark.stack
async def test_the_last_will_is_sent_when_a_run_breaks(broker: Broker) -> None:
    will = SimulatedDevice("GW-1").offline(0)
    async with listening(broker.url, "runs/t8/#") as ear:
        with contextlib.suppress(ZeroDivisionError):
            async with Publisher(
                broker.simulator_url,
                "t8",
                will=mqtt5.Will("runs/t8/" + will.topic, payload=will.payload, qos=mqtt5.QoS.AT_LEAST_ONCE),
            ):
                raise ZeroDivisionError
        await until(lambda: ear.payloads == [b'{"online":false}'])


# -------------------------------------------------------------------- runs


def stage(broker: Broker, run: str | None) -> Stage:
    return Stage(broker.simulator_url, f"c-{run}", run, MAX_SPEED, lambda _: None)


@pytest.mark.stack
async def test_a_scenario_is_published_under_its_run_with_its_clock(broker: Broker) -> None:
    scene = Scene(town_sites(), 1, START_US, 30.0)
    scenario = SCENARIOS["shaking-house"]
    expected = list(scenario.play(Scene(town_sites(), 1, START_US, 30.0)))
    async with listening(broker.url, "runs/t9/#") as ear:
        counts, per_device = await perform_scenario(stage(broker, "t9"), scenario, scene)
        await until(lambda: len(ear.packets) == counts.acknowledged)
    assert per_device.total() == len(expected)
    heard = [packet for packet in ear.packets if "GW-1" not in packet.topic]
    assert [(p.topic, p.payload) for p in heard] == [("runs/t9/" + e.topic, e.payload) for e in expected]
    assert [run_clock_us(packet) for packet in heard] == [e.at_us for e in expected]
    gateway = [json.loads(packet.payload)["online"] for packet in ear.packets if "GW-1" in packet.topic]
    assert gateway == [True, False]


@pytest.mark.stack
async def test_a_device_answers_a_resend(broker: Broker) -> None:
    scene = Scene(town_sites(), 1, START_US, 8.0)
    paced = Stage(broker.simulator_url, "c-t10", "t10", 2.0, lambda _: None)
    topic = "runs/t10/sensors/VB-0001/waveform"
    async with listening(broker.url, "runs/t10/#") as ear, Publisher(broker.url, "t10-server") as server:
        playing = asyncio.create_task(perform_scenario(paced, SCENARIOS["shaking-house"], scene))
        await until(lambda: sum(p.topic == topic for p in ear.packets) >= 3)
        await server.publish("runs/t10/sensors/VB-0001/command", b'{"resend": [1, 2]}')
        await playing
        packets = [p.payload for p in ear.packets if p.topic == topic]
    again = Counter(packets)
    assert again[packets[0]] == again[packets[1]] == 2
    assert set(again.values()) == {1, 2}


@pytest.mark.stack
async def test_what_is_recorded_can_be_replayed(broker: Broker, tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    scene = Scene(town_sites(), 1, START_US, 20.0)
    await recorded(
        broker, path, "t11", lambda: perform_scenario(stage(broker, "t11"), SCENARIOS["kitchen-fire"], scene)
    )
    recording = Recording([path], ZoneInfo("Asia/Shanghai"))
    found = survey(recording)
    assert (found.first_us, found.duplicates) == (START_US, 0)

    shift_us = 86_400_000_000
    again = tmp_path / "again.jsonl"
    await recorded(
        broker,
        again,
        "t12",
        lambda: perform_recording(stage(broker, "t12"), recording, found, START_US + shift_us, None),
    )
    first, second = ([*Recording([file], ZoneInfo("UTC")).packets()] for file in (path, again))
    assert [(p.at_us + shift_us, p.topic) for p in first] == [(p.at_us, p.topic) for p in second]
    for before, after in zip(first, second, strict=True):
        old, new = json.loads(before.payload), json.loads(after.payload)
        assert new.pop("t", 0) == pytest.approx(old.pop("t", -86_400.0) + 86_400.0, abs=1e-6)
        assert new == old


async def recorded(broker: Broker, path: Path, run: str, play: Callable[[], object]) -> None:
    """Record a run while ``play()`` publishes it."""
    with path.open("wb") as file:
        taking = Recorder(file, lambda: START_US)
        recording = asyncio.create_task(record(broker.url, f"rec-{run}", taking, [f"runs/{run}/#"]))
        await until(lambda: taking.connection is not None and taking.subscribed)
        result = play()
        assert asyncio.iscoroutine(result)
        await result
        await until(lambda: taking.messages > 0 and settled(taking))
        recording.cancel()
        await asyncio.gather(recording, return_exceptions=True)


def settled(taking: Recorder, seen: dict[int, tuple[int, float]] = {}) -> bool:  # noqa: B006
    """Whether nothing new has come for 0.3 s."""
    now_s = asyncio.get_running_loop().time()
    count, since_s = seen.get(id(taking), (-1, now_s))
    if taking.messages != count:
        seen[id(taking)] = (taking.messages, now_s)
        return False
    return now_s - since_s > 0.3


@pytest.mark.stack
async def test_recording_goes_on_after_the_line_was_cut(broker: Broker) -> None:
    file = io.BytesIO()
    taking = Recorder(file, lambda: START_US)
    async with Line(broker.url) as line, Publisher(broker.simulator_url, "t13") as publisher:
        recording = asyncio.create_task(record(line.url, "rec-t13", taking, ["runs/t13/#"]))
        await until(lambda: taking.subscribed)
        line.cut()
        await until(lambda: taking.gaps == 1 and taking.subscribed)
        await publisher.publish("runs/t13/sensors/a/readings", b"\xff")
        await until(lambda: taking.messages == 1)
        recording.cancel()
        await asyncio.gather(recording, return_exceptions=True)
    assert json.loads(file.getvalue())["payload"] == {"b64": "/w=="}


@pytest.mark.stack
@pytest.mark.parametrize(("rate", "payload"), [(2000.0, "small"), (0.0, "waveform")])
async def test_a_load_is_accounted_for(broker: Broker, rate: float, payload: str) -> None:
    plan = LoadPlan(rate, 50, 0.5, payload, 0)
    run = f"t14-{payload}"
    async with listening(broker.url, f"runs/{run}/#") as ear:

        async def count_stored() -> tuple[int, int, int]:
            return len({(p.topic, p.payload) for p in ear.packets}), 0, 0

        report = await perform_load(stage(broker, run), plan, 500, count_stored)
    assert report.published == report.acknowledged == report.stored > 0
    assert report.lost == report.refused == 0
    if rate:
        assert report.published == 1000
    assert json.loads(report.as_json())["latency_ms"]["p99"] > 0


@pytest.mark.stack
@pytest.mark.parametrize(
    ("run", "published", "asked"), [("t15", "runs/t15/", "runs/t15/"), (None, "runs/live/", "")]
)
async def test_a_loads_devices_answer_what_they_are_asked_for(
    broker: Broker, run: str | None, published: str, asked: str
) -> None:
    async with listening(broker.url, f"{published}sensors/+/readings") as ear:

        async def count_stored() -> tuple[int, int, int]:
            different = len({(p.topic, p.payload) for p in ear.packets})
            return different, len(ear.packets) - different, 0

        async def ask() -> None:
            await until(lambda: len(ear.packets) > 500)
            async with Publisher(broker.url, "asks-t15") as server:
                await server.publish(f"{asked}sensors/LD-00007/command", b'{"resend": [2, 4]}')

        plan = LoadPlan(1000.0, 50, 1.5, "small", 0)
        report, _ = await asyncio.gather(perform_load(stage(broker, run), plan, 500, count_stored), ask())
    assert (report.resent, report.duplicated, report.stored) == (3, 3, 1500)
    assert (report.published, report.acknowledged, report.lost) == (1503, 1503, 0)


# -------------------------------------------------------------------- the demo


@pytest.mark.stack
async def test_the_demo_publishes_as_live_traffic(broker: Broker) -> None:
    async with listening(broker.url, "runs/live/#") as ear:
        demo = asyncio.create_task(demo_traffic(broker.simulator_url))
        await until(
            lambda: any(p.topic == "runs/live/sensors/VB-0001/waveform" for p in ear.packets) or demo.done()
        )
        demo.cancel()
        await asyncio.gather(demo, return_exceptions=True)
        topics = {packet.topic for packet in ear.packets}
        assert "runs/live/sensors/GW-1/status" in topics
        assert "runs/live/sensors/VB-0001/waveform" in topics
        await until(lambda: ear.payloads[-1] == b'{"online":false}' or b'{"online":false}' in ear.payloads)


def test_the_copied_route_is_the_citys() -> None:
    assert list(MUCK_ROUTE) == muck_truck_route(build_city(addresses=5000))


# -------------------------------------------------------------------- a run's devices


@pytest.mark.stack
async def test_a_run_gets_copies_of_the_devices_it_uses(database_url: str) -> None:
    async with await connect(database_url, name="test") as conn:
        await upsert_devices(
            conn,
            [
                DeviceRow("VB-1", "vibration", lon=113.7, lat=23.0, building_class="sensitive", mount="top_floor"),
                DeviceRow("CM-1", "camera", lon=113.7, lat=23.0, camera=(90.0, 70.0, 120.0, 6.0, None)),
                DeviceRow("VB-2", "vibration", lon=113.7, lat=23.0),
            ],
        )
        for _ in range(2):
            await copy_devices(conn, "t15", ["VB-1", "CM-1", "unknown"])
        copies = {device.id: device for device in await load_devices(conn) if device.run == "t15"}
        cameras = await (await conn.execute("SELECT bearing_deg FROM camera")).fetchall()
    assert copies.keys() == {"VB-1", "CM-1"}
    assert (copies["VB-1"].building_class, copies["VB-1"].mount, copies["VB-1"].lat) == (
        "sensitive",
        "top_floor",
        23.0,
    )
    assert cameras == [(90.0,), (90.0,)]


@pytest.mark.stack
async def test_recorded_devices_can_be_registered_at_their_own_places(database_url: str) -> None:
    found = Survey(per_device=Counter({"000": 3, "001": 2, "X": 1}), waveform_devices={"000", "X"})
    async with await connect(database_url, name="test") as conn:
        await register_places(conn, "t16", {"000": (-99.18, 19.33), "001": (-96.5, 15.67)}, found)
        rows = {d.id: (d.kind, d.run, d.lon, d.lat) for d in await load_devices(conn)}
    assert rows == {
        "000": ("vibration", "t16", -99.18, 19.33),
        "001": ("sensor", "t16", -96.5, 15.67),
    }


@pytest.mark.stack
async def test_sensors_with_newer_waveforms_are_found(database_url: str) -> None:
    async with await connect(database_url, name="test") as conn:
        keys = await upsert_devices(conn, [DeviceRow("VB-1", "vibration"), DeviceRow("VB-2", "vibration")])
        for key, at_us in zip(keys, (START_US, START_US - 3_600_000_000), strict=True):
            await conn.execute(
                "INSERT INTO waveform (time, device, rate_hz, unit, n, axes, encoding, scale, seq, late, samples) "
                "VALUES (%s, %s, 100, 'm/s2', 0, 7, 'i2', 1, -1, false, '')",
                [from_us(at_us), key],
            )
        assert await busy_sensors(conn, START_US - 600_000_000) == {"VB-1"}
