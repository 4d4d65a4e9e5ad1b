"""``gridpulse simulate, replay, record, load, exercise``: traffic for a running server."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from domain.errors import BrokerUnavailable, GridpulseError, NotAllowed, NotFound
from server.connect import runs_as_live, server_mqtt_url
from server.settings import load_settings
from server.tables import print_table

exercise = typer.Typer(help="Exercises: the runs of simulate and replay, and all they left.", no_args_is_help=True)


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
AsLive = Annotated[
    bool, typer.Option("--as-live", help="as ordinary traffic of ordinary devices; demo and test homes only")
]
Duration = Annotated[float | None, typer.Option(min=0.1, help="seconds")]


# -------------------------------------------------------------------- simulate


def simulate(
    scenario: Annotated[str | None, typer.Argument(help="see --list")] = None,
    seed: Seed = 1,
    speed: Speed = "1",
    duration: Annotated[
        float | None, typer.Option(min=1.0, help="seconds of the run's time; default the scenario's")
    ] = None,
    as_live: AsLive = False,
    list_: Annotated[bool, typer.Option("--list", help="show the scenarios")] = False,
) -> None:
    """Play a scenario over MQTT, as an exercise of its own or as live traffic.

    Example: gridpulse simulate shaking-house --as-live
    """
    from server.commands.traffic_runs import run_scenario
    from simulators.run import parse_speed
    from simulators.scenarios.catalogue import find_scenario

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
    from simulators.scenarios.catalogue import SCENARIOS

    print_table(
        ("name", "seconds", "中文", "English"),
        ((row.name, f"{row.duration_s:.0f}", row.zh, row.en) for row in SCENARIOS.values()),
    )


# -------------------------------------------------------------------- replay


def replay(
    files: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, help="own recordings, OpenEEW jsonl, CSV; .gz too")
    ],
    speed: Speed = "1",
    start_at: Annotated[
        str | None,
        typer.Option(
            metavar="T|now",
            help="time of the first packet; default: as recorded, with --as-live so that the end is now",
        ),
    ] = None,
    map_to: Annotated[
        str | None,
        typer.Option(metavar="demo|MAP.csv", help="put recorded devices in other devices' places (from,to)"),
    ] = None,
    devices: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="register them at their own places (OpenEEW device_locations.json)"
        ),
    ] = None,
    clock: Annotated[
        Clock, typer.Option("--time", help="OpenEEW's event time: the device's clock as it was, or the cloud's")
    ] = Clock.DEVICE,
    as_live: AsLive = False,
) -> None:
    """Send recorded traffic again, as an exercise of its own or as live traffic.

    Example: gridpulse replay 2018-02-16.jsonl.gz --map-to demo --as-live --speed 10
    """
    from server.commands.traffic_runs import run_replay, surveyed
    from simulators.replay import Recording
    from simulators.run import parse_speed, parse_start, placed_start_us

    with usage():
        pace = parse_speed(speed)
        start_us = None if start_at is None else parse_start(start_at, now_us())
    if map_to is not None and devices is not None:
        raise typer.BadParameter("--map-to and --devices exclude each other: a device has one place")
    run = run_name("replay", as_live)
    recording = Recording(files, ZoneInfo(load_settings().timezone), clock.value)
    found = surveyed(recording)
    if start_us is None:
        start_us = placed_start_us(now_us(), found.duration_us, pace) if as_live else found.first_us
    asyncio.run(run_replay(recording, found, start_us, pace, map_to, devices, run))


# -------------------------------------------------------------------- record


def record(
    out: Annotated[Path, typer.Option("--out", help="a new file; .gz packs it")],
    topics: Annotated[
        list[str] | None, typer.Option("--topics", help="topic filter, may be repeated; default ordinary traffic")
    ] = None,
    duration: Duration = None,
) -> None:
    """Write live MQTT traffic to a file that replay takes, until Ctrl-C or for --duration seconds.

    Example: gridpulse record --out night.jsonl.gz --duration 3600
    """
    from server.commands.traffic_runs import bar, record_for
    from simulators import recorder

    url = server_mqtt_url()
    try:
        with recorder.create(out) as file, bar("recorded", None) as sent:
            taking = recorder.Recorder(file, now_us, on_message=sent)
            asyncio.run(record_for(url, taking, topics or recorder.TOPICS, duration))
    except BrokerUnavailable:
        out.unlink(missing_ok=True)
        raise
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(taking.per_topic.items()))
    typer.echo(f"{out}: {taking.messages:,} messages" + (f" ({kinds})" if kinds else ""))
    if taking.gaps:
        typer.echo(
            f"the connection was lost {taking.gaps} times: what passed meanwhile is not in the file", err=True
        )


# -------------------------------------------------------------------- load


def load(
    rate: Annotated[
        str, typer.Option(metavar="R|max", help="messages a second over all devices; 0 or max = as fast as it goes")
    ],
    devices: Annotated[int, typer.Option(min=1, max=99_999, help="how many devices take turns")] = 100,
    duration: Annotated[float, typer.Option(min=0.1, help="seconds")] = 10.0,
    payload: Annotated[
        Payload, typer.Option(help="small: four values in JSON; waveform: 3 x 100 samples")
    ] = Payload.SMALL,
    window: Annotated[int, typer.Option(min=1, max=65_535, help="messages sent and not yet acknowledged")] = 2000,
    as_live: AsLive = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on standard output")] = False,
) -> None:
    """Load the server and account for every message; exit code 1 when one was lost or refused.

    Example: gridpulse load --rate 5000 --devices 1000 --duration 30 --json
    """
    from server.commands.traffic_runs import run_load
    from simulators.load import LoadPlan

    per_second = parse_rate(rate)
    run = run_name("load", as_live)
    plan = LoadPlan(per_second, devices, duration, payload.value, now_us())
    asyncio.run(run_load(plan, run, window, as_json))


def parse_rate(text: str) -> float:
    """Messages a second, 0 = as fast as it goes. Raises: BadParameter."""
    try:
        rate = 0.0 if text == "max" else float(text)
    except ValueError:
        rate = math.nan
    if not (math.isfinite(rate) and rate >= 0):
        raise typer.BadParameter("give messages a second, or max", param_hint="--rate")
    return rate


# -------------------------------------------------------------------- exercises


@exercise.command("list")
def exercise_list() -> None:
    """Show all runs, newest first.

    Example: gridpulse exercise list
    """
    from server.commands.traffic_runs import exercises

    print_table(
        ("run", "started (UTC)", "newest (UTC)", "devices", "alerts", "quarantined"),
        (
            (run, shown_time(started), shown_time(newest), *counts)
            for run, started, newest, *counts in asyncio.run(exercises())
        ),
    )


def shown_time(when: object) -> str:
    """A database time to the second, UTC."""
    assert isinstance(when, datetime)
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


@exercise.command("purge")
def exercise_purge(run: Annotated[str, typer.Argument(help="see `gridpulse exercise list`")]) -> None:
    """Remove a run and all it left: devices, readings, waveforms, alerts.

    Example: gridpulse exercise purge sim-20261123-142305-k3f9
    """
    from server.commands.traffic_runs import purge

    removed = {table: rows for table, rows in asyncio.run(purge(run)).items() if rows > 0}
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
        from simulators.run import run_id

        return run_id(kind, datetime.now(UTC), secrets.token_hex(2))
    if not runs_as_live():
        raise NotAllowed(
            "--as-live is refused here, because simulated alarms would reach people as real ones: leave it out, "
            "or start the server of a demo or test home with GRIDPULSE_RUNS_AS_LIVE=true"
        )
    return None


def now_us() -> int:
    """The wall clock."""
    return time.time_ns() // 1000
