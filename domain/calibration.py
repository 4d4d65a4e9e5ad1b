"""Calibrations of a device: per metric or axis, what makes its raw value the quantity.

quantity = raw * scale + offset, in ``unit``, found on ``date``; of an axis also which raw
``axis`` lies along it. It holds ``from`` .. ``until``; a metric may have several, one after
the other. The registry keeps them beside the device. Readings are stored as they are sent;
`domain.calibrated` puts calibrations on what is looked at and read back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

from domain.clock import to_us
from domain.errors import PayloadError

METRICS_MAX = 64
SPANS_MAX = 16
"""Calibrations of one metric, one after the other."""
REASON = "bad_calibration"
AXES = ("x", "y", "z")
ALWAYS_US, NEVER_US = -(1 << 62), 1 << 62

_METRIC = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FIELDS = frozenset({"scale", "offset", "unit", "date", "from", "until", "axis"})
_UNIT_CHARS_MAX = 32
_ABS_MAX = 1e12


@dataclass(frozen=True, slots=True)
class Calibration:
    """What holds for one metric with ``from_us`` <= event time < ``until_us``.

    ``axis``: the raw axis to take in the place of ``metric``, which is an axis then.
    """

    metric: str
    scale: float = 1.0
    offset: float = 0.0
    from_us: int = ALWAYS_US
    until_us: int = NEVER_US
    axis: str | None = None


def calibrations_of(checked: Mapping[str, Any]) -> tuple[Calibration, ...]:
    """What ``checked_calibration`` answered, as values, by metric and time."""
    return tuple(
        Calibration(
            metric, one["scale"], one["offset"], _us(one.get("from"), ALWAYS_US), _us(one.get("until"), NEVER_US),
            one.get("axis"),
        )
        for metric, given in sorted(checked.items())
        for one in (given if isinstance(given, list) else [given])
    )  # fmt: skip


def checked_calibration(given: object) -> dict[str, dict[str, Any] | list[dict[str, Any]]]:
    """``{metric: {"scale", "offset", "unit", "date"}}`` with every one of these fields filled in.

    ``scale`` is not 0 and 1 unless given, ``offset`` 0, ``unit`` empty, ``date`` None; ``from``,
    ``until`` (whole hours UTC, as rollups are) and ``axis`` (of x, y, z) stand there if given.
    A metric with several in a row has a list of them. Raises: PayloadError ``bad_calibration``
    naming metric and field.
    """
    if not isinstance(given, Mapping):
        raise PayloadError(REASON, 'calibration must be an object, e.g. {"tilt_x_deg": {"scale": 1.02}}')
    if len(given) > METRICS_MAX:
        raise PayloadError(REASON, f"calibration has {len(given)} metrics; at most {METRICS_MAX}")
    return {_metric(name): _spans(str(name), one) for name, one in given.items()}


def _spans(metric: str, given: object) -> dict[str, Any] | list[dict[str, Any]]:
    if not isinstance(given, list):
        return _one(metric, given)
    if not 1 <= len(given) <= SPANS_MAX:
        raise PayloadError(REASON, f"{metric} has {len(given)} calibrations; 1 to {SPANS_MAX} in a row")
    spans = sorted((_one(metric, one) for one in given), key=lambda one: _us(one.get("from"), ALWAYS_US))
    for earlier, later in pairwise(spans):
        if _us(earlier.get("until"), NEVER_US) > _us(later.get("from"), ALWAYS_US):
            begins = later.get("from", "always")
            raise PayloadError(REASON, f"{metric}: until of one calibration lies behind from of the next, {begins}")
    return spans


def _metric(name: object) -> str:
    if not isinstance(name, str) or not _METRIC.fullmatch(name):
        raise PayloadError(REASON, f"{name!r} is no name of a metric or axis: use a-z, 0-9 and _")
    return name


def _one(metric: str, given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise PayloadError(REASON, f"{metric} must be an object with scale, offset, unit, date")
    if unknown := sorted(str(name) for name in given if name not in _FIELDS):
        known = ", ".join(sorted(_FIELDS))
        raise PayloadError(REASON, f"{metric} has the unknown field {unknown[0]}; known are {known}")
    scale = _number(metric, "scale", given.get("scale", 1.0))
    if scale == 0:
        raise PayloadError(REASON, f"{metric}: a scale of 0 would make every value the same")
    one = {
        "scale": scale,
        "offset": _number(metric, "offset", given.get("offset", 0.0)),
        "unit": _unit(metric, given.get("unit", "")),
        "date": _date(metric, given.get("date")),
    }
    times = {name: _hour(metric, name, given[name]) for name in ("from", "until") if given.get(name) is not None}
    if len(times) == 2 and times["from"] >= times["until"]:
        raise PayloadError(REASON, f"{metric}: from must be before until")
    axis = given.get("axis")
    if axis is not None and (axis not in AXES or metric not in AXES):
        raise PayloadError(REASON, f"{metric}: axis is the raw x, y or z that lies along {', '.join(AXES)}")
    return one | times | ({} if axis is None else {"axis": axis})


def _hour(metric: str, name: str, value: object) -> str:
    """A whole hour, UTC, as text: rollups by minute and hour are of one calibration each."""
    try:
        at = datetime.fromisoformat(str(value))
        if at.tzinfo is None:
            raise PayloadError(REASON, f"{metric}: {name} {value!r} has no zone; write 2026-05-01T08:00:00Z")
        at = at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise PayloadError(REASON, f"{metric}: {name} {value!r} must look like 2026-05-01T08:00:00Z") from error
    if at.minute or at.second or at.microsecond:
        raise PayloadError(REASON, f"{metric}: {name} {value!r} must be a whole hour of UTC, as rollups are")
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _us(text: str | None, otherwise: int) -> int:
    return otherwise if text is None else to_us(datetime.fromisoformat(text))


def _number(metric: str, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PayloadError(REASON, f"{metric}: {name} must be a finite number")
    if abs(value) > _ABS_MAX:
        raise PayloadError(REASON, f"{metric}: {name} {value} is beyond {_ABS_MAX:g}")
    return float(value)


def _unit(metric: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _UNIT_CHARS_MAX or not (value.isprintable()):
        raise PayloadError(REASON, f"{metric}: unit must be a text of at most {_UNIT_CHARS_MAX} characters")
    return value


def _date(metric: str, value: object) -> str | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError as error:
        raise PayloadError(REASON, f"{metric}: date {value!r} must look like 2026-05-01") from error
