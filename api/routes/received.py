"""What devices sent: readings and waveforms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import waves
from api.auth import Ports, SignedIn
from api.ports import ApiPorts
from api.queries.received import (
    DIRTY_HOURS,
    KNOWN_METRICS,
    METRICS_OF_DEVICE,
    READINGS,
    READINGS_BY_UNIT,
    ROLLUP_STATE,
    WAVEFORMS,
)
from api.reader import Reader, reading
from api.rollups import Rolled, parts_of, unit_of
from api.routes.devices import find_device
from api.schemas import DEVICE_ID, Exercise, From, Many, To, page, split, step_seconds
from domain.calibration import ALWAYS_US, AXES, NEVER_US, Calibration, calibrations_of
from domain.clock import from_us, iso
from domain.errors import NotFound, PayloadError

router = APIRouter(tags=["received"])

POINTS_MAX = 10_000
PACKETS_MAX = 20_000
PACKET_SPAN_MAX = timedelta(minutes=10)
"""A packet that began this much before the window may still reach into it."""

DEFAULT_SPAN = timedelta(hours=1)

Device = Annotated[str, Query(pattern=DEVICE_ID)]
Raw = Annotated[bool, Query(description="as the device sent it, without its calibration")]


def window(ports: ApiPorts, from_: datetime | None, to: datetime | None) -> tuple[datetime, datetime]:
    """The asked time; left out: the last hour. Raises: PayloadError ``bad_time``."""
    end = to or from_us(ports.now_us())
    try:
        start = from_ or end - DEFAULT_SPAN
    except OverflowError as error:
        raise PayloadError("bad_time", "to: no such time") from error
    if start >= end:
        raise PayloadError("bad_time", "from must be before to")
    return start, end


def check_step(step_s: float, span_s: float, metrics: int) -> None:
    """Raises PayloadError ``step_too_small`` that names the smallest step which fits."""
    if (math.ceil(span_s / step_s) + 1) * max(1, metrics) > POINTS_MAX:
        smallest = math.ceil(span_s * max(1, metrics) / (POINTS_MAX - 2 * max(1, metrics)))
        raise PayloadError(
            "step_too_small", f"more than {POINTS_MAX} points; the smallest step here is {smallest} s"
        )


@router.get("/readings")
async def readings(
    session: SignedIn,
    ports: Ports,
    device: Device,
    metric: Many = [],  # noqa: B006  FastAPI copies it
    from_: From = None,
    to: To = None,
    step: Annotated[str | None, Query(max_length=20, description="rollup: 30, 30s, 5m, 1h, 1d")] = None,
    raw: Raw = False,
    exercise: Exercise = None,
) -> Response:
    """Readings by time; with `step` the average, smallest, largest, last and count of each bucket.

    The device's calibration is put on; `calibrated` names the metrics that have one.
    """
    start, end = window(ports, from_, to)
    span_s = (end - start).total_seconds()
    step_s = step_seconds(step) if step else None
    names = split(metric)
    async with reading(ports.pool) as reader:
        row = await find_device(reader, ports, session.actor, device, exercise)
        parameters = {"device": row["key"], "from": start, "to": end, "names": names or None}
        parameters |= {"rolled": step_s is not None and unit_of(step_s) is not None, "limit": POINTS_MAX + 1}
        await check_metrics(reader, names)
        metrics = {m["key"]: m["name"] for m in await reader.rows(METRICS_OF_DEVICE, parameters)}
        parameters["metrics"] = list(metrics)
        given = [] if raw else [c for c in calibrations_of(row["calibration"]) if c.metric in metrics.values()]
        parameters |= calibration_parameters(given, {name: key for key, name in metrics.items()})
        if step_s is None:
            rows = await reader.rows(READINGS, parameters)
        else:
            check_step(step_s, span_s, len(metrics))
            rows = await by_step(reader, parameters, start, end, step_s)
    if len(rows) > POINTS_MAX:
        check_step(span_s / POINTS_MAX / 2, span_s, len(metrics))
    items = [reading_json(row, metrics) for row in rows]
    names = sorted(metrics.values())
    return page(items, None, device=device, metrics=names, step_s=step_s, calibrated=named(given))


def calibration_parameters(given: Sequence[Calibration], metrics: Mapping[str, int]) -> dict[str, Any]:
    """For ``CALIBRATION``; ``metrics``: name to key."""
    return {
        "calibrated": [metrics[c.metric] for c in given],
        "calibrated_from": ["-infinity" if c.from_us == ALWAYS_US else iso(c.from_us) for c in given],
        "calibrated_until": ["infinity" if c.until_us == NEVER_US else iso(c.until_us) for c in given],
        "scale": [c.scale for c in given],
        "offset": [c.offset for c in given],
    }


def named(given: Sequence[Calibration]) -> list[str]:
    """The metrics or axes that have a calibration."""
    return sorted({c.metric for c in given})


async def by_step(
    reader: Reader, parameters: dict[str, Any], start: datetime, end: datetime, step_s: float
) -> list[dict[str, Any]]:
    """Buckets from rollups where they say what readings would, and from readings elsewhere."""
    unit_s = unit_of(step_s)
    rolled: Rolled | None = None
    if unit_s is not None and (state := await reader.row(ROLLUP_STATE)) and state["through"]:
        dirty = [row["hour"] for row in await reader.rows(DIRTY_HOURS, parameters)]
        rolled = Rolled(state["through"], state["raw_from"], dirty)
    parts = parts_of(start, end, unit_s, rolled)
    sql = READINGS_BY_UNIT[unit_s or 60]
    return await reader.rows(sql, {**parameters, "step_s": step_s, **parts.sql_parameters()})


async def check_metrics(reader: Reader, names: list[str]) -> None:
    """Raises NotFound for a metric that nothing ever sent."""
    known = {row["name"] for row in await reader.rows(KNOWN_METRICS, {"names": names})} if names else set()
    if missing := sorted(set(names) - known):
        raise NotFound(f"no device ever sent the metric {', '.join(missing)}")


def reading_json(row: dict[str, Any], metrics: dict[int, str]) -> dict[str, Any]:
    """A reading, or a bucket whose ``value`` is its average."""
    shown = {**row, "metric": metrics[row["metric"]]}
    return shown if "value" in shown else {**shown, "value": shown["avg"]}


@router.get("/waveforms")
async def waveforms(
    session: SignedIn,
    ports: Ports,
    device: Device,
    from_: From = None,
    to: To = None,
    raw: Raw = False,
    exercise: Exercise = None,
) -> Response:
    """Samples in their unit, joined where packets touch; over 10,000 of them only the envelope (`decimated`).

    The device's calibration is put on; `calibrated` names the axes that have one.
    """
    start, end = window(ports, from_, to)
    async with reading(ports.pool) as reader:
        row = await find_device(reader, ports, session.actor, device, exercise)
        parameters = {
            "device": row["key"],
            "before": start - PACKET_SPAN_MAX,
            "to": end,
            "limit": PACKETS_MAX + 1,
        }
        rows = await reader.rows(WAVEFORMS, parameters)
    if len(rows) > PACKETS_MAX:
        raise PayloadError("too_much", f"more than {PACKETS_MAX} packets; ask for a shorter time")
    given = [] if raw else [c for c in calibrations_of(row["calibration"]) if c.metric in AXES]
    items, decimated = waves.items_of(rows, start, end, given)
    return page(items, None, device=device, decimated=decimated, calibrated=named(given))
