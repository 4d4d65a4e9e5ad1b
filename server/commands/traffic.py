"""``gridpulse simulate, replay, record, load, exercise``: traffic for a running server."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from db.devices import DeviceRow, register_devices, upsert_devices
from db.devices import notify as notify_devices
from db.pool import Connection, connect, unavailable
from db.runs import list_runs, purge_run, run_counts
from domain.clock import US_PER_S, from_us
from domain.errors import GridpulseError, NotAllowed, NotFound
from geo.store import load_locator
from server.connect import database_url, runs_as_live, running_server, server_mqtt_url, simulator_mqtt_url
from server.settings import load_settings
from simulators import recorder
from simulators.demo import lineup
from simulators.devices import Site
from simulators.load import LoadPlan
from simulators.mapping import map_to_demo, read_map, read_places
from simulators.performance import Stage, perform_load, perform_recording, perform_scenario
from simulators.publisher import Counts
from simulators.replay import Recording, Survey, survey
from simulators.run import describe_times, parse_speed, parse_start, placed_start_us, run_id
from simulators.scenarios.catalogue import SCENARIOS, Scenario, find_scenario
from simulators.scenarios.scene import Scene
from simulators.sites import load_sites

# A run's devices are copies of the real ones, so that its alerts have places too.
COPY_DEVICES = """
INSERT INTO device (id, run, kind, name, lon, lat, datum_given, address_id, building_class, mount, period_s,
                    town, village, grid, generated)
SELECT id, %(run)s, kind, name, lon, lat, datum_given, address_id, building_class, mount, period_s,
       town, village, grid, generated
FROM device WHERE run IS NULL AND id = ANY(%(ids)s)
ON CONFLICT (id, coalesce(run, '')) DO NOTHING
"""
COPY_CAMERAS = """
INSERT INTO camera (device, bearing_deg, fov_deg, range_m, height_m, gb28181_id)
SELECT mine.key, camera.bearing_deg, camera.fov_deg, camera.range_m, camera.height_m, camera.gb28181_id
FROM device mine JOIN device theirs ON theirs.id = mine.id AND theirs.run IS NULL
     JOIN camera ON camera.device = theirs.key
WHERE mine.run = %(run)s
ON CONFLICT (device) DO NOTHING
"""
SELECT_BUSY = """
SELECT DISTINCT device.id FROM waveform JOIN device ON device.key = waveform.device
WHERE device.run IS NULL AND waveform.time > %s
"""
BUSY_MARGIN_S = 60.0

exercise = typer.Typer(help="Exercises: the runs of simulate and replay, and all they left.", no_args_is_help=True)
console = Console(stderr=True, highlight=False, soft_wrap=True)


class Payload(StrEnum):
    """What ``load`` sends."""

    SMALL = "small"
    WAVEFORM = "waveform"


class Clock(StrEnum):
    """Which of OpenEEW's two times becomes the event time."""

    DEVICE = "device"
    CLOUD = "cloud"


Seed = Annotated[int, typer.Option(min=0, help="the same seed gives the same traffic")]
Speed = Annotated[str, typer.Option(metavar="X|max", help="how much faster than the wall clock")]
AsLive = Annotated[bool, typer.Option("--as-live", help="as ordinary traffic of ordinary devices; demo and test homes only")]
Duration = Annotated[float | None, typer.Option(min=0.1, help="seconds")]


# -------------------------------------------------------------------- simulate


def simulate(
    scenario: Annotated[str | None, typer.Argument(help="see --list")] = None,
    seed: Seed = 1,
    speed: Speed = "1",
    duration: Annotated[float | None, typer.Option(min=1.0, help="seconds of the run's time; default the scenario's")] = None,
    as_live: AsLive = False,
    list_: Annotated[bool, typer.Option("--list", help="show the scenarios")] = False,
) -> None:
    """Play a scenario over MQTT, as an exercise of its own or as live traffic.

    Example: gridpulse simulate shaking-house --as-live
    """
    if list_:
        show_scenarios()
        return
    if scenario is None:
        raise typer.BadParameter("name a scenario, or use --list", param_hint="SCENARIO")
    with usage():
        chosen, pace = find_scenario(scenario), parse_speed(speed)
    asyncio.run(run_scenario(chosen, seed, pace, duration or chosen.duration_s, run_name("sim", as_live)))


def show_scenarios() -> None:
    """The catalogue on standard output."""
    table = Table("name", "seconds", "", box=None)
    for row in SCENARIOS.values():
        table.add_row(row.name, f"{row.duration_s:.0f}", f"{row.zh}\n{row.en}")
    Console().print(table)


async def run_scenario(scenario: Scenario, seed: int, speed: float, duration_s: float, run: str | None) -> None:
    """Play it and say what became of it."""
    broker_url, sites = simulator_mqtt_url(), await load_sites(database_url())
    start_us = placed_start_us(now_us(), round(duration_s * US_PER_S), speed)
    scene = Scene(free_sites(sites) if run is None else sites, seed, start_us, duration_s)
    cast = scenario.cast(scene)
    if run is not None:
        async with await connect(database_url(), name="gridpulse-simulate") as conn:
            await copy_devices(conn, run, [site.id for site in cast])
    say(f"{scenario.name} as {run or 'live traffic'}: {len(cast)} devices, {describe_times(start_us, duration_s, speed)}")
    with bar(f"{scenario.name}", None) as sent:
        counts, _ = await perform_scenario(Stage(broker_url, client_id("sim"), run, speed, sent), scenario, scene)
    conclude(counts, run)


def free_sites(sites: Sequence[Site]) -> list[Site]:
    """The sites that the demo's own traffic leaves free: a sensor has one voice."""
    server = running_server(load_settings().home)
    if server is None or not server.demo:
        return list(sites)
    taken = lineup(sites).always
    return [site for site in sites if site.id not in taken]


# -------------------------------------------------------------------- replay


def replay(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="own recordings, OpenEEW jsonl, CSV; .gz too")],
    speed: Speed = "1",
    start_at: Annotated[
        str | None,
        typer.Option(metavar="T|now", help="time of the first packet; default: as recorded, with --as-live so that the end is now"),
    ] = None,
    map_to: Annotated[
        str | None, typer.Option(metavar="demo|MAP.csv", help="put recorded devices in other devices' places (from,to)")
    ] = None,
    devices: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="register them at their own places (OpenEEW device_locations.json)")
    ] = None,
    clock: Annotated[
        Clock, typer.Option("--time", help="OpenEEW's event time: the device's clock as it was, or the cloud's")
    ] = Clock.DEVICE,
    as_live: AsLive = False,
) -> None:
    """Send recorded traffic again, as an exercise of its own or as live traffic.

    Example: gridpulse replay 2018-02-16.jsonl.gz --map-to demo --as-live --speed 10
    """
    with usage():
        pace = parse_speed(speed)
        start_us = None if start_at is None else parse_start(start_at, now_us())
    if map_to is not None and devices is not None:
        raise typer.BadParameter("--map-to and --devices exclude each other: a device has one place")
    run = run_name("replay", as_live)
    recording = Recording(files, ZoneInfo(load_settings().timezone), clock.value)
    with console.status("reading the recording") if console.is_terminal else contextlib.nullcontext():
        found = survey(recording)
    if start_us is None:
        start_us = placed_start_us(now_us(), found.duration_us, pace) if as_live else found.first_us
    asyncio.run(run_replay(recording, found, start_us, pace, map_to, devices, run))


async def run_replay(
    recording: Recording,
    found: Survey,
    start_us: int,
    speed: float,
    map_to: str | None,
    places: Path | None,
    run: str | None,
) -> None:
    """Register what is asked for, replay, and say what became of it."""
    broker_url = simulator_mqtt_url()
    async with await connect(database_url(), name="gridpulse-replay") as conn:
        mapping = await device_map(conn, map_to, found, start_us, run)
        published = sorted(found.per_device if mapping is None else (mapping[d] for d in found.per_device if d in mapping))
        if places is not None:
            await register_places(conn, run, read_places(places), found)
        if run is not None:
            await copy_devices(conn, run, published)
    duration_s = found.duration_us / US_PER_S
    say(f"{found.packets:,} packets of {len(found.per_device)} devices as {run or 'live traffic'}: "
        f"{describe_times(start_us, duration_s, speed)}")
    for device, lag_s in found.clock_behind_s.items():
        say(f"  {device}: its clock is {abs(lag_s):,.0f} s {'behind' if lag_s > 0 else 'ahead'}; its data keeps its own time")
    with bar("replay", found.packets) as sent:
        stage = Stage(broker_url, client_id("replay"), run, speed, sent)
        replayed = await perform_recording(stage, recording, found, start_us, mapping)
    show_replayed(found, replayed.per_device, mapping, replayed.left_out)
    conclude(replayed.counts, run)


async def device_map(
    conn: Connection, map_to: str | None, found: Survey, start_us: int, run: str | None
) -> Mapping[str, str] | None:
    """Recorded id → published id; None = as recorded. Raises: GridpulseError, ImportFileError."""
    if map_to is None:
        return None
    if map_to != "demo":
        return read_map(Path(map_to))
    if not found.waveform_devices:
        raise GridpulseError("--map-to demo needs recorded waveforms, and there are none: give a CSV file with from,to")
    sites = await load_sites(database_url())
    busy: set[str] = set()
    if run is None:
        busy = await busy_sensors(conn, start_us) | {site.id for site in sites} - {s.id for s in free_sites(sites)}
    mapping = map_to_demo(found.waveform_devices, sites, busy)
    if late := sorted(set(mapping.values()) & busy):
        say(f"  {', '.join(late)}: already have newer data; what is older than that is stored as late and alarms nobody")
    return {device: mapping.get(device, device) for device in found.per_device}


async def busy_sensors(conn: Connection, start_us: int) -> set[str]:
    """Real sensors with waveforms newer than the replay's start."""
    with unavailable("looking for sensors with newer data"):
        rows = await (await conn.execute(SELECT_BUSY, [from_us(start_us - round(BUSY_MARGIN_S * US_PER_S))])).fetchall()
    return {str(row[0]) for row in rows}


async def register_places(
    conn: Connection, run: str | None, places: Mapping[str, tuple[float, float]], found: Survey
) -> None:
    """Register the recorded devices at their own places."""
    locator = await load_locator(conn)
    rows = [
        DeviceRow(
            id=device,
            kind="vibration" if device in found.waveform_devices else "sensor",
            run=run,
            lon=places[device][0],
            lat=places[device][1],
            datum_given="wgs84",
            place=locator.device(None, *places[device]),
        )
        for device in sorted(found.per_device)
        if device in places
    ]
    with unavailable("registering devices"):
        await upsert_devices(conn, rows)
    if missing := sorted(found.per_device.keys() - places.keys()):
        say(f"  without a place in the file: {', '.join(missing)}")


async def copy_devices(conn: Connection, run: str, ids: Sequence[str]) -> None:
    """Give the run its own copies of these devices, as far as they are registered."""
    with unavailable("registering the run's devices"):
        async with conn.transaction():
            await conn.execute(COPY_DEVICES, {"run": run, "ids": list(ids)})
            await conn.execute(COPY_CAMERAS, {"run": run})
            await notify_devices(conn)


def show_replayed(
    found: Survey, per_device: Counter[str], mapping: Mapping[str, str] | None, left_out: Counter[str]
) -> None:
    """Which recorded device became which, and how many packets each sent."""
    for device in sorted(found.per_device):
        if device in left_out:
            typer.echo(f"  {device:<12} left out: not in the map ({left_out[device]:,} packets)")
            continue
        target = mapping[device] if mapping is not None else device
        typer.echo(f"  {device:<12} → {target:<12} {per_device[target]:>8,} packets")
    if found.duplicates:
        typer.echo(f"  {found.duplicates:,} packets stand twice in the recording")


# -------------------------------------------------------------------- record


def record(
    out: Annotated[Path, typer.Option("--out", help="a new file; .gz packs it")],
    topics: Annotated[list[str] | None, typer.Option("--topics", help="topic filter, may be repeated; default ordinary traffic")] = None,
    duration: Duration = None,
) -> None:
    """Write live MQTT traffic to a file that ``replay`` takes, until Ctrl-C or for --duration seconds.

    Example: gridpulse record --out night.jsonl.gz --duration 3600
    """
    url = server_mqtt_url()
    with recorder.create(out) as file, bar("recorded", None) as sent:
        taking = recorder.Recorder(file, now_us, on_message=sent)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(record_for(url, taking, topics or recorder.TOPICS, duration))
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(taking.per_topic.items()))
    typer.echo(f"{out}: {taking.messages:,} messages" + (f" ({kinds})" if kinds else ""))
    if taking.gaps:
        typer.echo(f"the connection was lost {taking.gaps} times: what passed meanwhile is not in the file", err=True)


async def record_for(url: str, taking: recorder.Recorder, topics: Sequence[str], duration_s: float | None) -> None:
    """Record for a time, or until cancelled."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(duration_s):
            await recorder.record(url, client_id("record"), taking, topics)


# -------------------------------------------------------------------- load


def load(
    rate: Annotated[str, typer.Option(metavar="R|max", help="messages a second over all devices; 0 or max = as fast as it goes")],
    devices: Annotated[int, typer.Option(min=1, max=99_999, help="how many devices take turns")] = 100,
    duration: Annotated[float, typer.Option(min=0.1, help="seconds")] = 10.0,
    payload: Annotated[Payload, typer.Option(help="small: four values in JSON; waveform: 3 x 100 samples")] = Payload.SMALL,
    window: Annotated[int, typer.Option(min=1, max=65_535, help="messages sent and not yet acknowledged")] = 2000,
    as_live: AsLive = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on standard output")] = False,
) -> None:
    """Load the server and account for every message; exit code 1 when one was lost or refused.

    Example: gridpulse load --rate 5000 --devices 1000 --duration 30 --json
    """
    if rate == "max":
        per_second = 0.0
    else:
        try:
            per_second = float(rate)
        except ValueError:
            per_second = math.nan
    if not (math.isfinite(per_second) and per_second >= 0):
        raise typer.BadParameter("give messages a second, or max", param_hint="--rate")
    run = run_name("load", as_live)
    plan = LoadPlan(per_second, devices, duration, payload.value, now_us())
    asyncio.run(run_load(plan, run, window, as_json))


async def run_load(plan: LoadPlan, run: str | None, window: int, as_json: bool) -> None:
    """Send it, wait for the database, print the account. Raises: Exit(1) when something was lost."""
    broker_url = simulator_mqtt_url()
    kind = "vibration" if plan.payload == "waveform" else "sensor"
    async with await connect(database_url(), name="gridpulse-load") as conn:
        with unavailable("registering the load's devices"):
            await register_devices(conn, [(device, run, kind) for device in plan.device_ids()])

        async def count_stored() -> tuple[int, int, int]:
            with unavailable("counting what was stored"):
                return await run_counts(conn, run)

        total = round(plan.rate * plan.duration_s) or None
        with bar("load", total, absolute=True) as sent:
            stage = Stage(broker_url, client_id("load"), run, 1.0, sent)
            report = await perform_load(stage, plan, window, count_stored)
    if as_json:
        typer.echo(report.as_json())
    else:
        latency = ", ".join(f"{name} {ms:.1f}" for name, ms in report.latency_ms.items() if ms is not None)
        typer.echo(
            f"run {report.run}\n"
            f"published    {report.published:>10,}   {report.msg_s:,.0f} msg/s\n"
            f"acknowledged {report.acknowledged:>10,}   latency of the broker, ms: {latency}\n"
            f"stored       {report.stored:>10,}   {report.stored_msg_s:,.0f} msg/s\n"
            f"duplicated   {report.duplicated:>10,}\nquarantined  {report.quarantined:>10,}\n"
            f"refused      {report.refused:>10,}\nlost         {report.lost:>10,}"
        )
    if report.lost or report.refused:
        raise typer.Exit(1)


# -------------------------------------------------------------------- exercises


@exercise.command("list")
def exercise_list() -> None:
    """Show all runs, newest first.

    Example: gridpulse exercise list
    """

    async def runs() -> list[tuple[object, ...]]:
        async with await connect(database_url(), name="gridpulse-exercise") as conn:
            with unavailable("listing the exercises"):
                return await list_runs(conn)

    table = Table("run", "started (UTC)", "newest (UTC)", "devices", "alerts", "quarantined", box=None)
    for run, started, newest, *numbers in asyncio.run(runs()):
        times = [f"{t:%Y-%m-%d %H:%M:%S}" if isinstance(t, datetime) else str(t) for t in (started, newest)]
        table.add_row(str(run), *times, *map(str, numbers))
    Console().print(table)


@exercise.command("purge")
def exercise_purge(run: Annotated[str, typer.Argument(help="see `gridpulse exercise list`")]) -> None:
    """Remove a run and all it left: devices, readings, waveforms, alerts.

    Example: gridpulse exercise purge sim-20261123-142305-k3f9
    """

    async def purge() -> dict[str, int]:
        async with await connect(database_url(), name="gridpulse-exercise") as conn:
            with unavailable("removing the exercise"):
                return await purge_run(conn, run)

    removed = {table: rows for table, rows in asyncio.run(purge()).items() if rows > 0}
    if not removed:
        raise NotFound(f"there is no run {run}: see `gridpulse exercise list`")
    typer.echo(f"{run} removed: " + ", ".join(f"{rows:,} {table}" for table, rows in removed.items()))


# -------------------------------------------------------------------- shared


@contextmanager
def usage() -> Iterator[None]:
    """What is wrong with an argument is wrong usage: exit code 2."""
    try:
        yield
    except GridpulseError as error:
        raise typer.BadParameter(str(error)) from error


def run_name(kind: str, as_live: bool) -> str | None:
    """A new run's id, None for live. Raises: NotAllowed when live is not allowed here."""
    if not as_live:
        return run_id(kind, datetime.now(UTC), secrets.token_hex(2))
    if not runs_as_live():
        raise NotAllowed(
            "--as-live is refused here, because simulated alarms would reach people as real ones: leave it out, "
            "or start the server of a demo or test home with GRIDPULSE_RUNS_AS_LIVE=true"
        )
    return None


def client_id(kind: str) -> str:
    """An MQTT client id of our own."""
    return f"gridpulse-{kind}-{secrets.token_hex(4)}"


def now_us() -> int:
    """The wall clock."""
    return time.time_ns() // 1000


def say(line: str) -> None:
    """A line for the person watching, on standard error."""
    typer.echo(line, err=True)


@contextmanager
def bar(description: str, total: int | None, *, absolute: bool = False) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, nothing elsewhere; the callable takes how many more (or how many)."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(description, total=total)
        if absolute:
            yield lambda number: progress.update(task, completed=number)
        else:
            yield lambda number: progress.advance(task, number)


def conclude(counts: Counts, run: str | None) -> None:
    """The account of a run. Raises: Exit(1) when the broker refused something."""
    typer.echo(f"{counts.published:,} published, {counts.acknowledged:,} acknowledged")
    if run is not None:
        typer.echo(f"exercise {run}; remove all it left with: gridpulse exercise purge {run}")
    if counts.refused:
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.refused.items())
        typer.echo(f"refused by the broker: {reasons}", err=True)
        raise typer.Exit(1)
