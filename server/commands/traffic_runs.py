"""What ``simulate``, ``replay``, ``record``, ``load`` and ``exercise`` do once their arguments are known.

Here the run meets the server: its devices are registered, its traffic sent, and
the account printed. The commands import it late, for it takes long to load.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from db.devices import DeviceRow, register_devices, upsert_devices
from db.devices import notify as notify_devices
from db.pool import Connection, connect, unavailable
from db.runs import list_runs, purge_run, run_counts
from domain.clock import US_PER_S, from_us
from domain.errors import GridpulseError
from geo.store import load_locator
from server.connect import database_url, running_server, simulator_mqtt_url
from server.settings import load_settings
from simulators import recorder
from simulators.demo import lineup
from simulators.devices import Site
from simulators.load import LoadPlan
from simulators.mapping import map_to_demo, read_map, read_places
from simulators.performance import Stage, perform_load, perform_recording, perform_scenario
from simulators.publisher import Counts
from simulators.replay import Recording, Survey, survey
from simulators.run import describe_times, placed_start_us
from simulators.scenarios.catalogue import Scenario
from simulators.scenarios.scene import Scene
from simulators.sites import load_sites

# A run's devices are copies of the real ones, so that its alerts have places too. Calibrations go with what a
# device said itself: a scenario's values are right as they are, and so is another device's in its place.
COPY_DEVICES = """
INSERT INTO device (id, run, kind, name, lon, lat, datum_given, address_id, building_class, mount, period_s,
                    building, floor, calibration, town, village, grid, generated)
SELECT id, %(run)s, kind, name, lon, lat, datum_given, address_id, building_class, mount, period_s,
       building, floor, CASE WHEN id = ANY(%(own)s) THEN calibration ELSE '{}' END, town, village, grid, generated
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

console = Console(stderr=True, highlight=False, soft_wrap=True)


async def run_scenario(scenario: Scenario, seed: int, speed: float, duration_s: float, run: str | None) -> None:
    """Play it and say what became of it."""
    broker_url, sites = simulator_mqtt_url(), await load_sites(database_url())
    start_us = placed_start_us(now_us(), round(duration_s * US_PER_S), speed)
    scene = Scene(free_sites(sites) if run is None else sites, seed, start_us, duration_s)
    cast = scenario.cast(scene)
    if run is not None:
        async with await connect(database_url(), name="gridpulse-simulate") as conn:
            await copy_devices(conn, run, [site.id for site in cast])
    say(
        f"{scenario.name} as {run or 'live traffic'}: {len(cast)} devices, "
        f"{describe_times(start_us, duration_s, speed)}"
    )
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


def surveyed(recording: Recording) -> Survey:
    """Read the recording once. Raises: ImportFileError."""
    with console.status("reading the recording") if console.is_terminal else contextlib.nullcontext():
        return survey(recording)


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
        published = sorted(
            found.per_device if mapping is None else (mapping[d] for d in found.per_device if d in mapping)
        )
        if places is not None:
            await register_places(conn, run, read_places(places), found)
        if run is not None:
            own = [d for d in found.per_device if mapping is None or mapping.get(d) == d]
            await copy_devices(conn, run, published, own)
    duration_s = found.duration_us / US_PER_S
    say(
        f"{found.packets:,} packets of {len(found.per_device)} devices as {run or 'live traffic'}: "
        f"{describe_times(start_us, duration_s, speed)}"
    )
    for device, lag_s in found.clock_behind_s.items():
        say(
            f"  {device}: its clock is {abs(lag_s):,.0f} s {'behind' if lag_s > 0 else 'ahead'}; "
            "its data keeps its own time (--time cloud takes the arrival's)"
        )
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
        raise GridpulseError(
            "--map-to demo needs recorded waveforms, and there are none: give a CSV file with from,to"
        )
    sites = await load_sites(database_url())
    busy: set[str] = set()
    if run is None:
        busy = await busy_sensors(conn, start_us) | {site.id for site in sites} - {s.id for s in free_sites(sites)}
    mapping = map_to_demo(found.waveform_devices, sites, busy)
    if late := sorted(set(mapping.values()) & busy):
        say(f"  {', '.join(late)}: already have newer data; what is older is stored as late and alarms nobody")
    return {device: mapping.get(device, device) for device in found.per_device}


async def busy_sensors(conn: Connection, start_us: int) -> set[str]:
    """Real sensors with waveforms newer than the replay's start."""
    with unavailable("looking for sensors with newer data"):
        rows = await (
            await conn.execute(SELECT_BUSY, [from_us(start_us - round(BUSY_MARGIN_S * US_PER_S))])
        ).fetchall()
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


async def copy_devices(conn: Connection, run: str, ids: Sequence[str], own: Sequence[str] = ()) -> None:
    """Give the run its own copies of these devices, as far as they are registered.

    ``own``: those that say again what they said themselves; only they keep their calibration.
    """
    with unavailable("registering the run's devices"):
        async with conn.transaction():
            await conn.execute(COPY_DEVICES, {"run": run, "ids": list(ids), "own": list(own)})
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


async def record_for(url: str, taking: recorder.Recorder, topics: Sequence[str], duration_s: float | None) -> None:
    """Record for a time, or until SIGINT or SIGTERM; what was received is then in the file."""
    recording = asyncio.create_task(recorder.record(url, client_id("record"), taking, topics), name="record")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, recording.cancel)
    with contextlib.suppress(TimeoutError, asyncio.CancelledError):
        async with asyncio.timeout(duration_s):
            await recording


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
            f"refused      {report.refused:>10,}\n"
            f"sent again   {report.resent:>10,}\nlost         {report.lost:>10,}"
        )
    if report.lost or report.refused:
        raise typer.Exit(1)


async def exercises() -> list[tuple[Any, ...]]:
    """All runs, as ``list_runs`` gives them."""
    async with await connect(database_url(), name="gridpulse-exercise") as conn:
        with unavailable("listing the exercises"):
            return await list_runs(conn)


async def purge(run: str) -> dict[str, int]:
    """Remove a run; table → rows."""
    async with await connect(database_url(), name="gridpulse-exercise") as conn:
        with unavailable("removing the exercise"):
            return await purge_run(conn, run)


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
